"""sup |x f'(x)/f(x)|: the elasticity of a function, bounded from both sides.

Branch and bound over boxes: the quotient as a tree, with its derivative, bounds it on a box; its value at ends of boxes
is taken; boxes that cannot reach the best value by more than 1e-12 are dropped. Towards a zero at 0 the quotient is
0/0; there f(x)/x is the mean of f' between 0 and x, so the quotient lies in F'(box)/F'(all from 0 to the box), and
at a zero of order k it is k F^(k)(box)/F^(k)(all from 0).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ogive import intervals as iv
from ogive.derive.signs.asymptotic import far_out
from ogive.derive.signs.bisection import sharpened
from ogive.derive.signs.crossing import Points, between
from ogive.derive.signs.enclosure import Enclosure
from ogive.derive.signs.exact_trees import slope_tree
from ogive.expr import Expr, var
from ogive.intervals import LARGEST, Box

Range = tuple[float, float]
_LEAST = 1e-290  # the quotient is not looked at closer to 0
_TOLERANCE, _ROUNDS, _BUDGET = 1e-12, 48, 40_000


def supremum(
    source: tuple[Expr, str, tuple[tuple[str, Any], ...]], lo: float, hi: float, zeros: Sequence[Range]
) -> tuple[float, float, Range | None]:
    """(low, high, at) of sup |x f'/f| on [lo, hi] without the zeros of f; infinite where f has one other than 0."""
    for z in zeros:
        # A stretch of zeros at the very end is left out; one that ends inside is a zero next to other values.
        for edge in z:
            if abs(edge) > 1e-300 and abs(edge) < LARGEST and lo < edge < hi:
                return math.inf, math.inf, z
    expr, name, values = source
    f = Enclosure.of(expr, name, dict(values), 4)
    quotient = var(name) * f.trees[1] / f.trees[0]
    g = Enclosure((quotient, slope_tree(quotient, name), *f.trees), name, f.values)
    boxes = _grid(max(lo, -LARGEST), min(hi, LARGEST))
    for a, b in zeros:
        boxes = boxes[:, ~((boxes[0] >= a) & (boxes[1] <= b))]
    if not boxes.shape[1]:
        return 0.0, 0.0, None
    return _maximum(g, boxes[0], boxes[1], _order(f, boxes))


def _grid(lo: float, hi: float) -> Box:
    small, large = 2.0 ** np.arange(-960, -8, 8), [*2.0 ** np.arange(4, 64, 2), *2.0 ** np.arange(64, 1024, 32)]
    half = np.concatenate([[_LEAST], small, np.arange(1, 256) / 16.0, large, [LARGEST]])
    half = half[half >= _LEAST]
    out = []
    for side in (half, -half):
        ends = np.unique(np.concatenate([side[(side > lo) & (side < hi)], [e for e in (lo, hi) if e * side[0] > 0.0]]))
        if len(ends) > 1:
            out.append(np.array([ends[:-1], ends[1:]]))
    return np.concatenate(out, axis=1) if out else np.zeros((2, 0))


def _order(f: Enclosure, boxes: Box) -> int:
    """The order of the zero of f at 0: that of the first derivative that stays away from zero down to 0, if those
    before it are exactly 0 there and f does not jump (0: none)."""
    at = f.at(np.array([0.0]), (0, 1, 2)).boxes
    sides = np.sign(boxes[1, np.abs(boxes).min(0) <= _LEAST])
    near = np.sort(np.array([sides * _LEAST, sides * 1e-150]), axis=0)
    if at[0].any() or not len(sides) or np.abs(f.at(sides * _LEAST, (0,)).boxes[0]).max() > 1e-40:
        return 0
    for k in (1, 2, 3):
        top = f(near, (k,)).boxes[0]
        size = np.sort(np.abs(top), axis=0)
        if ((top[0] > 0.0) | (top[1] < 0.0)).all() and (size[0] > 1e-3 * size[1]).all():
            return k
        if k < 3 and at[k].any():
            return 0
    return 0


def _maximum(g: Enclosure, lo: Points, hi: Points, order: int) -> tuple[float, float, Range | None]:
    best, place, spent, top = 0.0, 0.0, 0, 0.0
    from_zero = _from_zero(g, lo, hi, order) if order else None
    for turn in range(_ROUNDS):
        y, taken, at = _sizes(g, lo, hi, order, from_zero, best)
        upper = np.abs(y).max(0)
        spent += len(lo)
        i = int(np.argmax(taken))
        if taken[i] > best:
            best, place = float(taken[i]), float(at[i])
        keep = upper > best * (1.0 + _TOLERANCE)
        tiny = hi - lo <= 4e-16 * np.maximum(np.abs(lo), np.abs(hi))
        stop = keep & (tiny | (turn == _ROUNDS - 1) | (spent > _BUDGET))
        if stop.any():
            top = max(top, float(upper[stop].max()))
        keep &= ~stop
        lo, hi = lo[keep], hi[keep]
        if not len(lo):
            break
        cuts = between(lo, hi, 4)
        lo, hi = cuts[:-1].T.ravel(), cuts[1:].T.ravel()
        fresh = lo < hi
        lo, hi = lo[fresh], hi[fresh]
    if best > 1e290:
        end = math.copysign(math.inf, place)
        return math.inf, math.inf, (end, end)
    return best, max(top, best * (1.0 + _TOLERANCE)), (place, place)


def _sizes(
    g: Enclosure, lo: Points, hi: Points, order: int, from_zero: tuple[Points, Box, Box] | None, best: float
) -> tuple[Box, Points, Points]:
    """Enclosures of the quotient on the boxes; sizes that are surely taken, and where."""
    n, x = len(lo), iv.box(lo, hi)
    seen = g(x)
    ends = g.at(x.ravel(), (0,)).boxes[0]
    y = seen.boxes[0]
    with np.errstate(all="ignore"):
        width = iv.sub(iv.box(hi, hi), iv.box(lo, lo))
        width[0] = 0.0
        y = np.where(seen.broken, y, sharpened(y, ends[:, :n], ends[:, n:], seen.boxes[1], width))
        if order and from_zero is not None:
            near = np.minimum(np.searchsorted(from_zero[0], np.abs(x).max(0)), len(from_zero[0]) - 1)
            side = (lo < 0.0).astype(np.int64)
            whole = from_zero[1][:, side, near]
            ratio = iv.mul(iv.box(float(order), float(order)), iv.div(seen.boxes[2 + order], whole))
            # F of one sign that falls in size on the way out is below its mean, so the quotient is at most the order.
            outward = np.where(side == 0, 1.0, -1.0) * from_zero[2][:, side, near] * np.sign(whole[0])
            falls = ((whole[0] > 0.0) | (whole[1] < 0.0)) & (outward.max(0) <= 0.0)
            ratio[1] = np.where(falls, np.minimum(ratio[1], float(order)), ratio[1])
            slack = 1e-15 * np.abs(ratio)
            y = iv.meet(y, np.array([ratio[0] - slack[0], ratio[1] + slack[1]]))
        loose = np.flatnonzero((np.abs(y).max(0) > best * (1.0 + _TOLERANCE)) & (np.abs(x).min(0) > 8.0))
        if loose.size:
            loose = np.sort(loose[np.argsort(-np.abs(lo[loose]), kind="stable")][:256])
            _, fine = far_out(g.trees[0], g.nodes(x[:, loose], (0,)), var(g.name), len(loose))
            y[:, loose] = iv.meet(y[:, loose], fine)
    every = np.concatenate([ends, y], axis=1)
    taken = np.where((every[0] <= 0.0) & (every[1] >= 0.0), 0.0, np.minimum(np.abs(every[0]), np.abs(every[1])))
    return (
        y,
        np.where(np.isfinite(taken), taken, 0.0),
        np.concatenate([lo, hi, np.where(np.abs(lo) > np.abs(hi), lo, hi)]),
    )


def _from_zero(g: Enclosure, lo: Points, hi: Points, order: int) -> tuple[Points, Box, Box]:
    """Of the derivative of f of that order, and of the next, all they can be between 0 and each of the sizes given
    first: boxes of shape (2, 2, m), right side then left; the whole line where the boxes do not reach down to 0."""
    seen = g(iv.box(lo, hi)).boxes
    sizes = np.unique(np.maximum(np.abs(lo), np.abs(hi)))
    return sizes, _hulls(seen[2 + order], lo, hi, sizes), _hulls(seen[3 + order], lo, hi, sizes)


def _hulls(top: Box, lo: Points, hi: Points, sizes: Points) -> Box:
    out = np.empty((2, 2, len(sizes)))
    out[0], out[1] = -math.inf, math.inf
    for i, side in enumerate((1.0, -1.0)):
        index = np.flatnonzero((hi > 0.0) == (side > 0.0))
        if not index.size:
            continue
        index = index[np.argsort(np.maximum(np.abs(lo), np.abs(hi))[index])]
        near, far = (f(np.abs(lo), np.abs(hi))[index] for f in (np.minimum, np.maximum))
        whole = np.logical_and.accumulate(np.concatenate([[near[0] <= _LEAST], near[1:] <= far[:-1]]))
        hulls = np.minimum.accumulate(top[0, index]), np.maximum.accumulate(top[1, index])
        at = np.searchsorted(sizes, far)
        for row in (0, 1):
            out[row, i, at] = np.where(whole, hulls[row], out[row, i, at])
    return out

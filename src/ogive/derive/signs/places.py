"""Where a function takes its extremes, its zeros and its fixed points, from boxes of known slope."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ogive.derive.pieces import Piece, Range, slight
from ogive.derive.signs.bisection import UNKNOWN, Cut, bisect, joined, measured
from ogive.derive.signs.crossing import crossing
from ogive.derive.signs.enclosure import Enclosure


def extreme(f: Enclosure, which: int, cut: Cut, rows: Sequence[Piece], sign: int) -> tuple[float, float, Range | None]:
    """(low, high, at): the least (sign -1) or greatest value of f (which 0) or of f' (which 1) on the boxes."""
    ends = np.unique(np.concatenate([cut.lo, cut.hi]))
    seen = f.at(ends, (which,)).boxes[0]
    taken = sign * (seen[0] if sign > 0 else seen[1])  # a value that is surely reached
    best = int(np.argmax(taken))
    outer = [sign * (r.value if which == 0 else _slopes(r))[1 if sign > 0 else 0] for r in rows]
    top = max(outer)
    # The rows that can hold the extreme: those whose bound reaches the best value taken.
    near = [r for r, v in zip(rows, outer) if v >= taken[best]]
    at: Range | None = (float(ends[best]), float(ends[best]))
    if near:  # none: the steepest point lies in the sliver of a jump, whose slopes are left out
        low, high = min(r.lo for r in near), max(r.hi for r in near)
        if high - low <= 1e-6 * max(1.0, abs(low), abs(high)):
            at = (low, high)
    low, high = float(taken[best]), float(max(top, taken[best]))
    return (low, high, at) if sign > 0 else (-high, -low, at)


def _slopes(r: Piece) -> Range:
    """The slopes on a row; those of a jump are left out."""
    return (math.inf, -math.inf) if slight(r) and r.derivative == (-math.inf, math.inf) else r.derivative


def stretches(rows: Sequence[Piece], what: str) -> list[tuple[float, float, int]]:
    """(lo, hi, sign) of the runs of rows with one sign of "slope" or "curvature", across slivers that have none."""
    found: list[tuple[float, float, int]] = []
    gap = True
    for r in rows:
        s = getattr(r, what)
        if s is None:
            # A kink ends a convex stretch unless the slope goes the right way; a jump ends every stretch.
            gap = gap or not slight(r) or r.derivative == (-math.inf, math.inf) or (what == "curvature" and _bends(r))
            continue
        if found and not gap and found[-1][2] == s:
            found[-1] = (found[-1][0], r.hi, s)
        else:
            found.append((r.lo, r.hi, s))
        gap = False
    return found


def _bends(r: Piece) -> bool:
    return r.derivative[1] - r.derivative[0] > 1e-9 * max(map(abs, r.derivative))


def sign_changes(rows: Sequence[Piece]) -> list[tuple[float, float, int, int, Range]]:
    """(lo, hi, before, after, value): where the slope changes sign, with what f can be there."""
    signed = [(i, r.slope) for i, r in enumerate(rows) if r.slope in (1, -1)]
    found = []
    for (i, before), (j, after) in pairwise(signed):
        between = rows[i + 1 : j]
        if before == after or before is None or after is None:
            continue
        if not all(slight(r) or r.slope == 0 for r in between):
            continue
        inner = [r.value for r in between]
        edge = rows[i].value[1 if before > 0 else 0], rows[j].value[1 if before > 0 else 0]
        value = (min([*(v[0] for v in inner), *edge]), max([*(v[1] for v in inner), *edge]))
        found.append((rows[i].hi, rows[j].lo, before, after, value))
    return found


def zeros_of(f: Enclosure, cut: Cut) -> tuple[Range, ...]:
    """Where f is zero: enclosures of the sign changes on boxes of one slope, points where it is exactly zero and
    stretches where it is zero throughout, neighbours joined."""
    n = len(cut)
    ends = f.at(np.concatenate([cut.lo, cut.hi]), (0,)).boxes[0]
    left, right = ends[:, :n], ends[:, n:]
    found: list[Range] = []
    nothing = (cut.value[0] == 0.0) & (cut.value[1] == 0.0) & (cut.slope == 0)
    found += list(zip(cut.lo[nothing].tolist(), cut.hi[nothing].tolist()))
    for x, y in ((cut.lo, left), (cut.hi, right)):
        at = np.unique(x[(y[0] == 0.0) & (y[1] == 0.0)])
        found += list(zip(at.tolist(), at.tolist()))
    steady = (cut.slope != UNKNOWN) & (cut.slope != 0) & ~cut.torn
    rises = cut.slope > 0
    # The start must not be proved past zero, nor the end before it; far out an end may be unknown.
    start = np.where(rises, left[0], -left[1]), np.where(rises, left[1], -left[0])
    end = np.where(rises, right[0], -right[1]), np.where(rises, right[1], -right[0])
    change = steady & (start[0] < 0.0) & (end[1] > 0.0) & ((start[1] < 0.0) | (end[0] > 0.0))
    index = np.flatnonzero(change)
    if index.size:
        up = rises[index]
        a, b = crossing(f, 0, cut.lo[index], cut.hi[index], up)
        y = f.at(np.concatenate([a, b]), (0,)).boxes[0].reshape(2, 2, -1)
        before, after = np.where(up, y[1, 0], -y[0, 0]) <= 0.0, np.where(up, y[0, 1], -y[1, 1]) >= 0.0
        found += list(zip(a[before & after].tolist(), b[before & after].tolist()))
    # A sliver of unknown slope whose ends have opposite signs, and ends that cannot be told from zero.
    sliver = ~steady & (((left[1] < 0.0) & (right[0] > 0.0)) | ((left[0] > 0.0) & (right[1] < 0.0)))
    found += list(zip(cut.lo[sliver].tolist(), cut.hi[sliver].tolist()))
    narrow = cut.hi - cut.lo <= 1e-12 * np.maximum(np.maximum(np.abs(cut.lo), np.abs(cut.hi)), 1.0)
    touch = narrow & ~sliver & ~change & ~nothing & (cut.value[0] <= 0.0) & (cut.value[1] >= 0.0)
    found += list(zip(cut.lo[touch].tolist(), cut.hi[touch].tolist()))
    return joined_ranges(found)


def joined_ranges(found: Sequence[Range]) -> tuple[Range, ...]:
    """Overlapping or touching ranges as one, from left to right."""
    out: list[Range] = []
    for lo, hi in sorted(found):
        if out and lo <= out[-1][1] + 1e-15 * max(1.0, abs(lo)) * (out[-1][1] == out[-1][0] or lo == hi):
            out[-1] = (out[-1][0], max(out[-1][1], hi))
        else:
            out.append((lo, hi))
    return tuple(out)


def fixed(f: Enclosure, rows: Sequence[Piece]) -> tuple[Range, ...]:
    """Where f(x) = x, as :func:`zeros_of` has zeros: rows of one curvature are cut where f' = 1."""
    h = f.less_identity()
    lo, hi = (np.array([getattr(r, k) for r in rows]) for k in ("lo", "hi"))
    bend = np.array([UNKNOWN if r.curvature is None else r.curvature for r in rows])
    low, high = (np.array([r.derivative[i] for r in rows]) for i in (0, 1))
    slope = np.where(low >= 1.0, 1, np.where(high <= 1.0, -1, UNKNOWN))
    parts = [measured(h, lo[slope != UNKNOWN], hi[slope != UNKNOWN], slope[slope != UNKNOWN], bend[slope != UNKNOWN])]
    open_ = (slope == UNKNOWN) & (np.abs(bend) == 1)
    if open_.any():
        a, b = crossing(h, 1, lo[open_], hi[open_], bend[open_] > 0)
        up, unknown = bend[open_], np.full(int(open_.sum()), UNKNOWN)
        parts.append(measured(h, np.concatenate([lo[open_], a, b]), np.concatenate([a, b, hi[open_]]),
                              np.concatenate([-up, unknown, up]), np.concatenate([up, up, up])))  # fmt: skip
    rest = np.flatnonzero((slope == UNKNOWN) & ~open_)
    for i in rest[:8]:
        parts.append(bisect(h, np.array([lo[i], hi[i]]))[0])
    for i in rest[8:]:  # many waves: what is between is not looked at
        parts.append(measured(h, lo[i : i + 1], hi[i : i + 1], slope[i : i + 1], bend[i : i + 1]))
    return zeros_of(h, joined(parts))


__all__ = ["extreme", "fixed", "joined_ranges", "sign_changes", "stretches", "zeros_of"]

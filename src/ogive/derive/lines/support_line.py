"""Lines above a function on an interval: the highest point over a line's slope, and the best slope.

Everything is about lines above ``sign * f``; a line below f is one above -f with both signs turned. The line of slope
a above g on [l, u] has the intercept ``sup (g(x) - a x)``. On a concave arc any tangent, at t say, is above g, so

    g(x) - a x <= g(t) - a t + max((g'(t) - a)(p - t), (g'(t) - a)(q - t))    on the part [p, q] of the arc;

on a convex arc and on a straight row the ends decide, in a box the value it encloses. The bound is therefore right
whatever a and t are, and sharp where g'(t) = a.

The line that is lowest at a point m, which is the one of least area for the midpoint m, supports the concave hull of
g at m: the tangent there if nothing sticks out above it, otherwise the bridge between two points of the graph on
either side. The bridge is found by Newton's method on the dual: from contacts L < m < R the slope of the chord L-R is
tried, and the point that sticks out most above it replaces the contact on its side. A chord with one fixed end is
exactly a Newton step for the convex function ``sup (g - a x)`` of a, so contacts double their digits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ogive.derive.image import moved
from ogive.derive.lines.arcs import Arc, touch
from ogive.derive.lines.outline import Outline, Turn, narrow
from ogive.derive.lines.rounding import EPS
from ogive.derive.lines.unproved import parts

ROUNDS = 24  # of the bridge search; three are usual
NEAR = 1e-6  # what sticks out by less, relative to the rise between the contacts, is gone after one more step
NARROW = 1e-9  # an interval this narrow, relative to its ends, is met by its tangent


@dataclass(frozen=True)
class Ends:
    """Intervals ``[l, u]`` and what is known of g at their ends: enclosed from above by ``yl`` and ``yu``."""

    l: Tensor
    u: Tensor
    yl: Tensor
    yu: Tensor

    def take(self, index: Tensor) -> Ends:
        """The intervals of ``index``."""
        return Ends(*(t.index_select(0, index) for t in (self.l, self.u, self.yl, self.yu)))


def crest(shape: Outline, sign: int, ends: Ends, m: Tensor, a: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where ``g(x) - a x`` is greatest on each interval: x, g(x) and the difference there, to the accuracy of a search.

    A sliver that holds ``m`` is taken to be touched there, one beside a concave arc is left to the arc."""
    low, high = ends.yl - a * ends.l, ends.yu - a * ends.u
    right = high > low
    x, y, most = torch.where(right, ends.u, ends.l), torch.where(right, ends.yu, ends.yl), torch.maximum(low, high)
    for move in shape.moves(ends.l, ends.u):
        for box in shape.landmarks[sign]:
            lo, hi, least, greatest = moved(box, move)
            inside = (ends.l < hi) & (ends.u > lo)
            if move is not None:
                inside &= move.only
            top = greatest if sign == 1 else -least
            nearest = torch.minimum(torch.maximum(m, _full(lo, a)), _full(hi, a))
            for place in (nearest,) if narrow(box) else (nearest, lo, hi):
                at = torch.minimum(torch.maximum(ends.l, _full(place, a)), ends.u)
                here = top - a * at
                better = inside & (here > most)
                x, y = torch.where(better, at, x), torch.where(better, top, y)
                most = torch.where(better, here, most)
        for arc in shape.mirrored(sign)[0]:
            found = _over(arc, move, ends)
            if found is None:
                continue
            index, p, q, shift = found
            slopes = a.index_select(0, index)
            t = touch(shape.rounded, arc, slopes * sign, p, q, steps, shift)
            g = shape.rounded.value(t) * sign
            here = g - slopes * t
            before = most.index_select(0, index)
            better = here > before
            x.index_copy_(0, index, torch.where(better, t, x.index_select(0, index)))
            y.index_copy_(0, index, torch.where(better, g, y.index_select(0, index)))
            most.index_copy_(0, index, torch.where(better, here, before))
    for index, grid, _ in _wild(shape, sign, ends):
        g = (shape.rounded.value(grid.reshape(-1)) * sign).reshape(grid.shape)
        over = torch.nan_to_num(g - a[index, None] * grid, nan=-math.inf)
        here, best = over.max(1)
        some = here > most[index]
        to, pick = index[some], best[some, None]
        x[to], y[to], most[to] = grid[some].gather(1, pick)[:, 0], g[some].gather(1, pick)[:, 0], here[some]
    return x, y, most


def intercept(
    shape: Outline, sign: int, ends: Ends, a: Tensor, steps: int, where: bool = False
) -> tuple[Tensor, Tensor]:
    """A bound of ``sup (g(x) - a x)`` over each interval, rounded up, and (if ``where``) about where it is taken."""
    at_l, at_u, size = a * ends.l, a * ends.u, a.abs()
    low = ends.yl - at_l + (4.0 * EPS) * (ends.yl.abs() + at_l.abs())
    high = ends.yu - at_u + (4.0 * EPS) * (ends.yu.abs() + at_u.abs())
    point = ends.l == ends.u
    most, x = torch.where(point, low, torch.maximum(low, high)), ends.l
    if where:
        x = torch.where(high > low, ends.u, ends.l)
    for move in shape.moves(ends.l, ends.u):
        for box in shape.boxes:
            lo, hi, least, greatest = moved(box, move)
            top = greatest if sign == 1 else -least
            outside = (ends.l > hi) | (ends.u < lo) | point
            if move is not None:
                outside |= ~move.only
            if move is None and narrow(box):  # the whole of it, whatever of it the interval holds
                middle, half = 0.5 * (lo + hi), 0.5 * (hi - lo)
                at = _full(middle, a)
                here = (top + 4.0 * EPS * abs(top)) - a * middle
                here += size * (half + 8.0 * EPS * abs(middle))
            else:
                at = torch.where(a > 0.0, torch.maximum(ends.l, _full(lo, a)), torch.minimum(ends.u, _full(hi, a)))
                here = top - a * at
                here = here + 4.0 * EPS * (abs(top) + (a * at).abs())
            here = here.masked_fill_(outside, -math.inf)
            if where:
                x = torch.where(here > most, at, x)
            most = torch.maximum(most, here)
        for arc in shape.mirrored(sign)[0]:
            found = _over(arc, move, ends)
            if found is None:
                continue
            index, p, q, shift = found
            slopes = a.index_select(0, index)
            t, here = _tangent(shape, arc, sign, slopes, p, q, shift, move, index, steps)
            before = most.index_select(0, index)
            if where:
                x = x.index_copy(0, index, torch.where(here > before, t, x.index_select(0, index)))
            most.index_copy_(0, index, torch.maximum(here, before))
    for index, grid, tops in _wild(shape, sign, ends):
        lines = a[index, None] * grid
        at = torch.minimum(lines[:, :-1], lines[:, 1:])
        here, best = (tops - at + 4.0 * EPS * (tops.abs() + lines.abs().amax(1, keepdim=True))).max(1)
        if where:
            x[index] = torch.where(here > most[index], grid.gather(1, best[:, None])[:, 0], x[index])
        most[index] = torch.maximum(most[index], torch.nan_to_num(here, nan=math.inf, posinf=math.inf))
    return most, x


def _wild(shape: Outline, sign: int, ends: Ends) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Intervals that reach into a wild stretch, cut into parts there: which, the parts' ends, bounds of g on them."""
    for box in shape.wild:
        index = ((ends.l < box.hi) & (ends.u > box.lo) & (ends.l < ends.u)).nonzero().squeeze(1)
        if len(index):
            p, q = ends.l[index].clamp_(min=box.lo), ends.u[index].clamp_(max=box.hi)
            grid, low, high = parts(shape.enclosure, p, q)
            low, high = low.clamp_(min=box.low), high.clamp_(max=box.high)
            yield index, grid, high if sign == 1 else -low


def _tangent(
    shape: Outline, arc: Arc, sign: int, a: Tensor, p: Tensor, q: Tensor, shift: Tensor | None,
    move: Turn | None, index: Tensor, steps: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The bound above for one arc, with everything rounding may have done added to it."""
    code = shape.rounded
    t = touch(code, arc, a * sign, p, q, steps, shift)
    f, d = code.value(t), code.slope(t)
    here, off = code.value_error(t, f), code.slope_error(t, d)
    at, width = a * t, q - p
    if sign == -1:
        f, d = -f, -d
    d = d - a
    here += (8.0 * EPS) * (f.abs() + at.abs())
    here += f.sub_(at)
    here += torch.maximum(d * (p - t), d * (q - t))
    here += off.add_(arc.slack).add_(d.abs_(), alpha=8.0 * EPS).mul_(width)
    lost = torch.isnan(here)
    if bool(lost.any()):  # a vertical tangent: what the arc's values say
        top = _full(arc.value[1] if sign == 1 else -arc.value[0], a)
        if move is not None:
            rise = move.rise.index_select(0, index)
            top = top + sign * rise + 4.0 * EPS * rise.abs()
        coarse = top - torch.minimum(a * p, a * q)
        coarse = coarse + 4.0 * EPS * (top.abs() + torch.maximum((a * p).abs(), (a * q).abs()))
        here = torch.where(lost, torch.nan_to_num(coarse, nan=math.inf, posinf=math.inf), here)
    return t, here


def best_slope(shape: Outline, sign: int, ends: Ends, m: Tensor, sharp: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The slope of a line above g that is lowest at ``m``, and the two contacts it comes from (both m: the tangent).

    ``sharp`` asks for the accuracy of float64, otherwise float32's is enough."""
    l, u, yl, yu = ends.l, ends.u, ends.yl, ends.yu
    chord = (yu - yl) / (u - l)
    curved, straight, a = _place(shape, sign, l, u, m, chord)
    left, right = torch.where(curved, m, l), torch.where(curved, m, u)
    active = (~straight).nonzero().squeeze(1)
    part, at, slope = ends.take(active), m.index_select(0, active), a.index_select(0, active)
    alone, top = curved.index_select(0, active), shape.rounded.value(at) * sign
    level = torch.where(alone, top - slope * at, part.yl - slope * part.l)
    x0, y0, x1, y1 = part.l, part.yl, part.u, part.yu
    steep = slope.abs() + ((y1 - y0) / (x1 - x0)).abs()
    tiny = (4.0 * EPS) * (y0.abs() + y1.abs() + top.abs() + steep * (x0.abs() + x1.abs()))
    near = tiny + NEAR * ((y1 - y0).abs() + (top - y0).abs() + steep * (x1 - x0))
    for turn in range(ROUNDS):
        if not len(active):
            break
        x, y, most = crest(shape, sign, part, at, slope, 1 if sharp and turn > 1 else 0)
        over = most - level
        # one more step follows what nearly meets: its slope is good to the square of that. A tangent has to meet
        done = over <= (tiny if sharp and turn < 2 else near if turn else torch.where(alone, tiny, near))
        first = x < at
        x0, y0 = torch.where(first, x, x0), torch.where(first, y, y0)
        x1, y1 = torch.where(first, x1, x), torch.where(first, y1, y)
        new = (y1 - y0) / (x1 - x0)
        finished = done
        if shape.landmarks[sign]:
            kink = x == at  # whatever line is met by a kink at m is one of the lowest there
            new = torch.where(kink, slope, new)
            x0, x1 = torch.where(kink, at, x0), torch.where(kink, at, x1)
            done = finished = done | kink
        slope = new
        if turn == 0:
            finished = done & ~(alone & (over <= tiny))  # those tangents stand as they are
        write = (finished if turn < ROUNDS - 1 else torch.ones_like(done)).nonzero().squeeze(1)
        to = active.index_select(0, write)
        for whole, some in ((a, slope), (left, x0), (right, x1)):
            whole.index_copy_(0, to, some.index_select(0, write))
        go = (~done).nonzero().squeeze(1)
        active, part = active.index_select(0, go), part.take(go)
        at, slope, x0, y0, x1, y1, tiny, near = (v.index_select(0, go) for v in (at, slope, x0, y0, x1, y1, tiny, near))
        level = y0 - slope * x0
    return torch.nan_to_num_(a, nan=0.0, posinf=0.0, neginf=0.0), left, right


def _place(shape: Outline, sign: int, l: Tensor, u: Tensor, m: Tensor, chord: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where the tangent at m is tried first, where nothing else has to be, and the slope to begin with.

    An interval within one concave arc has its tangent, one within a convex arc its chord. On a kink the flat line is
    tried first: of all that are lowest at m its greatest value is least."""
    caps, cups = shape.mirrored(sign)
    slope = shape.rounded.slope(m)
    if sign == -1:
        slope = slope.neg_()
    far = torch.maximum(l.abs(), u.abs())
    narrow_ = u - l <= NARROW * far
    if shape.period is not None:
        move = torch.floor((m - shape.start) / shape.period) * shape.period
        l, u, m = l - move, u - move, m - move
    curved, straight = narrow_.clone(), narrow_
    for arc in caps:
        inside = (m >= arc.lo) & (m <= arc.hi)
        curved |= inside
        straight |= inside & (l >= arc.lo) & (u <= arc.hi)
    for arc in cups:
        straight |= (l >= arc.lo) & (u <= arc.hi)
    for box in shape.landmarks[sign]:
        if narrow(box):
            on = (m >= box.lo) & (m <= box.hi)
            if bool(on.any()):
                slope, curved = slope.masked_fill(on, 0.0), curved | on
    curved &= torch.isfinite(slope)
    return curved, straight, torch.where(curved, slope, chord)


def _over(arc: Arc, move: Turn | None, ends: Ends) -> tuple[Tensor, Tensor, Tensor, Tensor | None] | None:
    """Which intervals meet the arc, and from where to where; None if none does."""
    if move is None:
        index = ((ends.u > arc.lo) & (ends.l < arc.hi) & (ends.l < ends.u)).nonzero().squeeze(1)
        if not len(index):
            return None
        l, u = ends.l.index_select(0, index), ends.u.index_select(0, index)
        return index, l.clamp_(min=arc.lo), u.clamp_(max=arc.hi), None
    lo, hi = arc.lo + move.shift + move.blur, arc.hi + move.shift - move.blur
    p, q = torch.maximum(ends.l, lo), torch.minimum(ends.u, hi)
    index = (move.only & (p < q)).nonzero().squeeze(1)
    if not len(index):
        return None
    return index, p.index_select(0, index), q.index_select(0, index), move.shift.index_select(0, index)


def _full(value: float | Tensor, like: Tensor) -> Tensor:
    return value if isinstance(value, Tensor) else torch.full_like(like, value)

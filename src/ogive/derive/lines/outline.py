"""What bounds need to know of a formula, laid out once: arcs, boxes, turning points, ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ogive.activation import Activation, Param
from ogive.derive.lines.arcs import Arc, arcs
from ogive.derive.lines.rounding import EPS, Rounded, rounded
from ogive.derive.pieces import Piece, Pieces, enclosure, pieces
from ogive.derive.signs.enclosure import Enclosure
from ogive.lookup import scalar

SLIVER = 1e-9  # a box this narrow, relative to 1 + its place, is searched like a point


@dataclass(frozen=True)
class Box:
    """``low <= f <= high`` on ``[lo, hi]``, nothing else known; ``steep`` is sup |f'| beside it."""

    lo: float
    hi: float
    low: float
    high: float
    steep: float


@dataclass(frozen=True)
class Turn:
    """Whole periods by which the outline is moved, per interval: ``count`` of them, ``shift`` = count * period, with an
    error of at most ``blur``; ``rise`` = count * drift. ``only`` marks the intervals that need this turn."""

    only: Tensor
    shift: Tensor
    rise: Tensor
    blur: Tensor


@dataclass(frozen=True)
class Outline:
    """One formula at one choice of parameters.

    ``caps`` are its concave arcs, ``cups`` its convex ones, ``boxes`` what is neither (slivers about inflections and
    breaks, and the points where arcs or straight rows meet); ``landmarks`` are, by sign, those of them where
    ``sign * f`` may be touched by a line above it, ``turns`` the boxes about extrema and jumps. ``wild`` are the wide
    boxes, where nothing is proved of f'', and ``lost`` those where nothing is of f': what f does there is asked of
    ``enclosure``. ``ends`` encloses the limits of f at -inf and at +inf, ``floor`` and ``ceiling`` all values, ``lows``
    and ``highs`` those of every row; rows meet at ``cuts``.
    """

    label: str
    rounded: Rounded
    caps: tuple[Arc, ...]
    cups: tuple[Arc, ...]
    boxes: tuple[Box, ...]
    landmarks: Mapping[int, tuple[Box, ...]]
    turns: tuple[Box, ...]
    wild: tuple[Box, ...]
    lost: tuple[Box, ...]
    enclosure: Enclosure
    ends: tuple[tuple[float, float], tuple[float, float]]
    floor: float
    ceiling: float
    cuts: Tensor
    lows: Tensor
    highs: Tensor
    start: float
    period: float | None
    drift: float

    def values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Enclosures of f(x), one number each; NaN where f has no value that float64 code finds."""
        f = self.rounded.value(x)
        e = self.rounded.value_error(x, f)
        low, high = f - e, f + e
        if self.period is None:
            row = torch.bucketize(x.contiguous(), self.cuts)
            low = torch.maximum(low, self.lows.take(row))
            high = torch.minimum(high, self.highs.take(row))
        else:
            low, high = low.clamp_(min=self.floor), high.clamp_(max=self.ceiling)
        for end, limit in zip((-math.inf, math.inf), self.ends):
            there = x == end
            if bool(there.any()):
                low = torch.where(there, limit[0], low)
                high = torch.where(there, limit[1], high)
        return low, high

    def moves(self, l: Tensor, u: Tensor) -> Iterator[Turn | None]:
        """The whole periods by which arcs and boxes have to be moved to meet ``[l, u]``; one None without a period.

        A line of slope a less f changes by a fixed amount per period, so its extremes over ``[l, u]`` lie within a
        period of l or within one of u: four copies do for any width.
        """
        if self.period is None:
            yield None
            return
        first = torch.floor((l - self.start) / self.period)
        last = torch.floor((u - self.start) / self.period)
        blur = 4.0 * EPS * (torch.maximum(l.abs(), u.abs()) + abs(self.start) + 2.0 * self.period)
        for count, only in (
            (first, torch.ones_like(l, dtype=torch.bool)),
            (first + 1.0, last > first),
            (last - 1.0, last > first + 2.0),
            (last, last > first + 1.0),
        ):
            yield Turn(only, count * self.period, count * self.drift, blur)

    def mirrored(self, sign: int) -> tuple[tuple[Arc, ...], tuple[Arc, ...]]:
        """Concave and convex arcs of ``sign * f``."""
        return (self.caps, self.cups) if sign == 1 else (self.cups, self.caps)


def outline(spec: Any, what: str, params: Mapping[str, Any], device: torch.device) -> Outline:
    """The :class:`Outline` of ``spec``, from a cache. Raises as :func:`ogive.lookup.scalar` does."""
    act, values = scalar(spec, what, params)
    return _outline(act.written, act.inputs[0], tuple(values.items()), act.label, device)


@lru_cache(maxsize=1024)
def _outline(
    written: Any, name: str, values: tuple[tuple[str, float], ...], label: str, device: torch.device
) -> Outline:
    act = Activation(written, (name,), {k: Param(v) for k, v in values})
    return laid_out(pieces(act), rounded(act, dict(values)), enclosure(act.expr, name, values), label, device)


def laid_out(cut: Pieces, code: Rounded, boxes_of: Enclosure, label: str, device: torch.device) -> Outline:
    """The outline of the function whose pieces are ``cut`` and whose float64 code is ``code``."""
    rows = cut.rows
    caps, cups = (arcs(cut, code, sign, device) for sign in (-1, 1))
    turns = [_box(r, rows) for r in rows if r.slope is None]
    turns += [_point(p.hi, (p, q), code) for before, p, q in _neighbours(rows) if _turns(before, p, q)]
    boxes = [_box(r, rows) for r in rows if r.curvature is None]
    boxed = {v for b in boxes for v in (b.lo, b.hi)}
    inner = [(a.lo, a.hi) for a in (*caps, *cups)]
    meets = [(p, q) for p, q in pairwise(rows) if p.hi not in boxed and not any(lo < p.hi < hi for lo, hi in inner)]
    boxes += [_point(p.hi, (p, q), code) for p, q in meets]
    if cut.period is not None:
        boxes += _wrapped(cut, boxes, lambda r: r.curvature is None, code)
        turns += _wrapped(cut, turns, lambda r: r.slope is None, code) if _seam(rows) else []
    wild = [] if cut.period is not None else [b for b in boxes if not narrow(b)]
    lost = [] if cut.period is not None else [b for b in turns if not narrow(b)]
    boxes, turns = [b for b in boxes if b not in wild], [b for b in turns if b not in lost]
    floor, ceiling = min(r.value[0] for r in rows), max(r.value[1] for r in rows)
    if cut.period is None:
        ends = (_end(rows[0], -1), _end(rows[-1], 1))
    else:
        if cut.drift != 0.0:
            floor, ceiling = -math.inf, math.inf
        ends = ((floor, ceiling), (floor, ceiling))
        if cut.drift != 0.0:
            up = (math.inf, math.inf) if cut.drift > 0.0 else (-math.inf, -math.inf)
            ends = ((-up[0], -up[0]), up)
    wide: dict[str, Any] = {"dtype": torch.float64, "device": device}
    landmarks = {1: _landmarks(boxes, caps), -1: _landmarks(boxes, cups)}
    lows, highs = (torch.tensor([r.value[i] for r in rows], **wide) for i in (0, 1))
    cuts = torch.tensor([r.hi for r in rows[:-1]], **wide)
    return Outline(
        label, code, caps, cups, tuple(boxes), landmarks, tuple(turns), tuple(wild), tuple(lost), boxes_of,
        ends, floor, ceiling, cuts, lows, highs, rows[0].lo, cut.period, cut.drift,
    )  # fmt: skip


def narrow(box: Box) -> bool:
    """Whether the box may be taken for a point while searching."""
    return box.hi - box.lo <= SLIVER * (1.0 + abs(box.lo))


def _landmarks(boxes: list[Box], caps: tuple[Arc, ...]) -> tuple[Box, ...]:
    """All boxes but slivers that a concave arc runs into without a jump: the arc's end stands for them."""
    ends = {v for a in caps for v in (a.lo, a.hi)}
    return tuple(
        b for b in boxes
        if not (narrow(b) and b.high - b.low <= SLIVER * (1.0 + abs(b.low)) and (b.lo in ends or b.hi in ends))
    )  # fmt: skip


def _parted(p: Piece, q: Piece) -> bool:
    """Whether f need not be continuous where ``p`` ends and ``q`` begins: an infinite end, or values with a gap."""
    left = p.value if p.slope is None else (p.value[1],) if p.slope > 0 else (p.value[0],)
    right = q.value if q.slope is None else (q.value[0],) if q.slope > 0 else (q.value[1],)
    return any(map(math.isinf, (*left, *right))) or p.value[1] < q.value[0] or q.value[1] < p.value[0]


def _neighbours(rows: tuple[Piece, ...]) -> Iterator[tuple[int | None, Piece, Piece]]:
    """Rows next to one another, and the way f went before the second: flat rows keep the way it went before them."""
    before = rows[0].slope
    for p, q in pairwise(rows):
        before = before if p.slope == 0 else p.slope
        yield before, p, q


def _turns(before: int | None, p: Piece, q: Piece) -> bool:
    return _parted(p, q) or (before is not None and q.slope is not None and before * q.slope < 0)


def _seam(rows: tuple[Piece, ...]) -> bool:
    """Whether f may turn where one period ends and the next begins."""
    last = [r.slope for r in rows if r.slope != 0][-1:]
    first = [r.slope for r in rows if r.slope != 0][:1]
    if not last or last[0] is None or first[0] is None:
        return True
    return _parted(rows[-1], rows[0]) or last[0] * first[0] < 0


def _wrapped(cut: Pieces, boxes: list[Box], open_: Callable[[Piece], bool], code: Rounded) -> list[Box]:
    """What is needed at the seam: the open rows beside it once more across it, or else the two points themselves."""
    first, last, length = cut.rows[0], cut.rows[-1], float(cut.period or 0.0)
    if not open_(first) and not open_(last):
        return [_point(k, (first, last), code) for k in (first.lo, last.hi)]
    found = []
    for row, side in ((last, -1.0), (first, 1.0)):
        for b in boxes:
            if open_(row) and (b.lo, b.hi) == (row.lo, row.hi):
                step, rise = side * length, side * cut.drift
                found.append(Box(b.lo + step, b.hi + step, b.low + rise, b.high + rise, b.steep))
    return found


def _steep(*rows: Piece) -> float:
    return max(abs(v) for r in rows for v in r.derivative)


def _box(row: Piece, rows: tuple[Piece, ...]) -> Box:
    i = rows.index(row)
    beside = [rows[k % len(rows)] for k in (i - 1, i + 1)]
    return Box(row.lo, row.hi, *row.value, _steep(*beside))


def _point(x: float, beside: tuple[Piece, Piece], code: Rounded) -> Box:
    at = torch.tensor([x], dtype=torch.float64)
    f = code.value(at)
    e = float(code.value_error(at, f))
    low, high = float(f) - e, float(f) + e
    if beside[0].hi == x == beside[1].lo:
        if _parted(*beside):  # a pole, or a jump: whatever the two rows hold
            low, high = min(r.value[0] for r in beside), max(r.value[1] for r in beside)
        else:
            low, high = max(low, *(r.value[0] for r in beside)), min(high, *(r.value[1] for r in beside))
    if math.isnan(low) or math.isnan(high):
        low, high = -math.inf, math.inf
    return Box(x, x, low, high, _steep(*beside))


def _end(row: Piece, side: int) -> tuple[float, float]:
    """What encloses f at the infinite end of the outermost row: a row that does not fall ends at its extremes."""
    if row.slope is None:
        return row.value
    end = row.value[1] if row.slope * side > 0 else row.value[0]
    return row.value if row.slope == 0 else (end, end)

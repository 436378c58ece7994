"""A formula cut into pieces on which the signs of its slope and of its curvature are proved."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ogive.activation import Activation
from ogive.derive.signs.bisection import UNKNOWN, Cut, bisect, sign_of
from ogive.derive.signs.continuity import break_values, continuous, kink_slopes
from ogive.derive.signs.enclosure import Enclosure
from ogive.derive.signs.periods import period
from ogive.errors import ParameterError
from ogive.expr import Expr
from ogive.intervals import LARGEST, box
from ogive.lookup import scalar

Range = tuple[float, float]


@dataclass(frozen=True)
class Piece:
    """What is proved of ``f`` on the closed interval ``[lo, hi]``.

    ``slope`` is +1 where f does not fall, -1 where it does not rise, 0 where it is constant, None where nothing is
    proved; ``curvature`` is +1 where f is convex, -1 where it is concave, 0 where it is a line. ``value`` encloses
    every f(x), ``derivative`` every difference quotient (f(y) - f(x))/(y - x) of the piece: (-inf, inf) at a jump.
    """

    lo: float
    hi: float
    slope: int | None
    curvature: int | None
    value: Range
    derivative: Range

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Pieces:
    """Rows that cover every finite double from left to right, each ending where the next starts; or, with
    ``period``, one period from ``rows[0].lo`` on, with ``f(x + period) = f(x) + drift``.

    ``proved`` says that each row without a sign is a sliver a few units in the last place wide (about a critical
    point, an inflection or a break) or a stretch where f itself is no larger than the smallest normal double;
    ``why`` says what is missing where it is not.
    """

    activation: str
    rows: tuple[Piece, ...]
    period: float | None = None
    drift: float = 0.0
    proved: bool = True
    why: str = ""

    def knots(self) -> tuple[float, ...]:
        """The ends of all rows, sorted: one more than there are rows."""
        return (*(r.lo for r in self.rows), self.rows[-1].hi)

    def at(self, x: float) -> Piece:
        """The row that holds ``x``, moved by whole periods where the formula is periodic; of two rows that
        share an end the left one. A moved row keeps its signs, its ends and values are those of the first period."""
        if math.isnan(x):
            raise ValueError(f"{self.activation}: no piece holds {x!r}")
        first, last = self.rows[0].lo, self.rows[-1].hi
        if self.period is not None and not first <= x <= last:
            x = first + math.fmod(x - first, self.period) + (self.period if x < first else 0.0)
        ends = [r.hi for r in self.rows]
        return self.rows[min(bisect_left(ends, min(max(x, first), last)), len(ends) - 1)]

    def __repr__(self) -> str:
        known = sum(r.slope is not None for r in self.rows)
        turn = "" if self.period is None else f", period {self.period:.12g}"
        return f"Pieces({self.activation}: {len(self.rows)} rows, {known} with a sign{turn})"

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


def pieces(spec: Any, **params: Any) -> Pieces:
    """Cut ``f`` where its slope, its curvature or its formula changes, with every sign proved on all doubles.

    ``spec`` is a name, a formula of one input, an Activation or an ``ogive.Act``; ``params`` are numbers, or pairs
    (lo, hi) for all values between. The signs are those of f' and f'' on real x, from outward rounded float64
    (:mod:`ogive.derive.signs.bisection`); only library functions are trusted, to the units in the last place that
    :data:`ogive.intervals.ULPS` states. Raises :class:`~ogive.errors.InputError` for a gate of two inputs and
    :class:`~ogive.errors.ParameterError` for parameters.

    >>> [(row.lo, row.hi, row.slope) for row in pieces("relu6").rows if row.hi - row.lo > 1][:3]
    [(-1.7976931348623157e+308, -5e-324, 0), (5e-324, 5.999999999999999, 1), (6.000000000000001, 1.797...e+308, 0)]
    """
    act, values = settled(spec, "the pieces", params)
    return _pieces(act.label, act.expr, act.inputs[0], tuple(values.items()))


def settled(spec: Any, what: str, params: Mapping[str, Any]) -> tuple[Activation, dict[str, Any]]:
    """The activation of one input and its parameters, numbers or (lo, hi), checked at both ends."""
    wide = {k: v for k, v in params.items() if isinstance(v, (tuple, list))}
    act, numbers = scalar(spec, what, {k: v for k, v in params.items() if k not in wide})
    values: dict[str, Any] = dict(numbers)
    for key, pair in wide.items():
        if len(pair) != 2 or not all(isinstance(v, (int, float)) for v in pair) or not pair[0] <= pair[1]:
            raise ParameterError(f"{what} of {act.label}: {key}={pair!r}; a range is a pair (lo, hi) with lo <= hi")
        ends = [act.settle({key: v})[key] for v in pair]
        values[key] = (ends[0], ends[1])
    return act, values


@lru_cache(maxsize=1024)
def _pieces(label: str, expr: Expr, name: str, values: tuple[tuple[str, Any], ...]) -> Pieces:
    f = enclosure(expr, name, values)
    turn = period(f)
    cut, reach = whole_line(expr, name, values)
    rows = tuple(mended(f, r) for r in merged(f, cut))
    wide = [r for r in rows if (r.slope is None or r.curvature is None) and not slight(r)]
    length, drift = turn or (None, 0.0)
    return Pieces(label, rows, length, drift, not wide, unfound(wide, reach))


def unfound(wide: list[Piece], reach: float) -> str:
    """Where a sign is missing, nearest to 0 first: there it changes too often to follow, or enclosures are too wide."""
    if not wide:
        return ""
    if reach < LARGEST:
        return f"beyond |x| = {reach:.6g} not every sign of f' and f'' was found"
    first = min(wide, key=lambda r: 0.0 if r.lo <= 0.0 <= r.hi else min(abs(r.lo), abs(r.hi)))
    return f"no sign of f' or f'' was found from {first.lo:.6g} to {first.hi:.6g}"


@lru_cache(maxsize=1024)
def whole_line(expr: Expr, name: str, values: tuple[tuple[str, Any], ...]) -> tuple[Cut, float]:
    """The decided boxes of all doubles or of one period, and how far from 0 they reach."""
    f = enclosure(expr, name, values)
    turn = period(f)
    return bisect(f, knots(f, None if turn is None else turn[0]))


def mended(f: Enclosure, row: Piece) -> Piece:
    """A sliver with a break: continuous where that is proved, with the values and the slopes of its two sides and no
    others."""
    least, most = row.value
    if slight(row) and row.curvature is None and most - least > 1e-9 * max(abs(least), abs(most)):
        values = break_values(f, row.lo, row.hi)
        if values is not None:
            row = replace(row, value=(max(least, float(values[0, 0])), min(most, float(values[1, 0]))))
    low, high = row.derivative
    wide = math.isinf(low) or high - low > 1e-9 * max(abs(low), abs(high))
    kink = wide and slight(row) and row.curvature is None
    if not kink or (math.isinf(low) and not continuous(f, row.lo, row.hi)):
        return row
    rate = kink_slopes(f, row.lo, row.hi)
    if rate is None:
        rate = f(box(row.lo, row.hi), (1,)).boxes[0]
    sign = int(sign_of(rate)[0])
    return replace(row, slope=None if sign == UNKNOWN else sign, derivative=(float(rate[0, 0]), float(rate[1, 0])))


@lru_cache(maxsize=1024)
def enclosure(expr: Expr, name: str, values: tuple[tuple[str, Any], ...]) -> Enclosure:
    """f, f', f'' and f''' of a formula as a program on boxes."""
    return Enclosure.of(expr, name, dict(values))


def slight(row: Piece) -> bool:
    """Whether a row is so narrow that what happens inside it is a matter of rounding."""
    return row.hi - row.lo <= 1e-12 * max(abs(row.lo), abs(row.hi), 1.0)


# Ends of the first boxes: eighths to 16, then powers of two, ever further apart.
_FAR = [2.0**k for k in (5, 6, 7, 8, 9, 10, 12, 16, 32, 64, 128, 256, 512, 1023)]
_GRID = np.unique(np.concatenate([np.arange(-128, 129) / 8.0, _FAR, np.negative(_FAR), [-LARGEST, LARGEST]]))


def knots(f: Enclosure, length: float | None) -> NDArray[np.float64]:
    """Where the first boxes end: a fixed grid, or 64 parts of one period, and both sides of every break."""
    grid = _GRID if length is None else np.linspace(0.0, float(np.nextafter(length, math.inf)), 65)
    breaks = np.array([b for pair in f.breaks() for b in pair if grid[0] < b < grid[-1]])
    sides = np.concatenate([np.nextafter(breaks, -math.inf), np.nextafter(breaks, math.inf)])
    far = grid[~np.isin(grid, breaks)]
    return np.unique(np.concatenate([far, sides[(sides >= grid[0]) & (sides <= grid[-1])]]))


def merged(f: Enclosure, cut: Cut) -> tuple[Piece, ...]:
    """Boxes as rows: neighbours with the same signs, or with no sign at all, become one. Where f or f' is monotone on
    a row its values at the ends bound it."""
    known = (cut.slope != UNKNOWN) & (cut.curvature != UNKNOWN) & ~cut.broken
    same = (cut.slope[1:] == cut.slope[:-1]) & (cut.curvature[1:] == cut.curvature[:-1])
    same &= known[1:] & known[:-1] | ~(known[1:] | known[:-1])
    starts = np.flatnonzero(np.concatenate([[True], ~same]))
    slope = np.where(cut.torn, UNKNOWN, cut.slope)[starts]
    low, high = np.minimum.reduceat(cut.value[0], starts), np.maximum.reduceat(cut.value[1], starts)
    torn = np.logical_or.reduceat(cut.torn, starts)
    least = np.where(torn, -math.inf, np.minimum.reduceat(cut.rate[0], starts))
    most = np.where(torn, math.inf, np.maximum.reduceat(cut.rate[1], starts))
    bend = np.where(cut.broken, UNKNOWN, cut.curvature)[starts]
    lo, hi = cut.lo[starts], cut.hi[np.concatenate([starts[1:] - 1, [len(cut) - 1]])]
    ends = f.at(np.concatenate([lo, hi]), (0, 1)).boxes
    for k, sign, low_, high_ in ((0, slope, low, high), (1, bend, least, most)):
        at_lo, at_hi = ends[k][:, : len(lo)], ends[k][:, len(lo) :]
        for way, first, last in ((1, at_lo, at_hi), (-1, at_hi, at_lo)):
            low_[:] = np.where((sign == way) & (first[0] <= high_), np.maximum(low_, first[0]), low_)
            high_[:] = np.where((sign == way) & (last[1] >= low_), np.minimum(high_, last[1]), high_)
    columns = zip(*(c.tolist() for c in (lo, hi, slope, bend, low, high, least, most)))
    return tuple(
        Piece(a, b, None if s == UNKNOWN else s, None if c == UNKNOWN else c, (u, v), (p, q))
        for a, b, s, c, u, v, p, q in columns
    )

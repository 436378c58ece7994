"""What a formula does on an interval, proved: range, extrema, zeros, inflections, slopes and stretches.

Everything is read off the boxes of :mod:`ogive.derive.signs.bisection`: on each the signs of f' and f'' are known, so
extremes lie at ends of boxes, zeros are found by comparing points, and neighbours with one sign make one stretch. "The
whole line" is every finite double, to 1.8e308. What happens beyond them is not proved: a bound is said to be infinite
where steps up to there do not shrink.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from ogive.activation import Activation, Param
from ogive.derive.limits import Limits, limits
from ogive.derive.pieces import (
    Piece,
    Range,
    enclosure,
    knots,
    mended,
    merged,
    settled,
    slight,
    unfound,
    whole_line,
)
from ogive.derive.signs.bisection import bisect
from ogive.derive.signs.elasticity import supremum
from ogive.derive.signs.enclosure import Enclosure
from ogive.derive.signs.periods import period
from ogive.derive.signs.places import extreme, fixed, sign_changes, stretches, zeros_of
from ogive.derive.signs.proof import Proof
from ogive.derive.signs.symmetry import homogeneity, parity
from ogive.errors import InputError
from ogive.expr import Expr
from ogive.intervals import LARGEST, sub


@dataclass(frozen=True)
class Bound:
    """The least or greatest value of something: it lies in ``[low, high]``. ``at`` encloses a place where it is
    taken or, where that is the end of the doubles, approached; None where the place is not known."""

    low: float
    high: float
    at: Range | None = None

    def __repr__(self) -> str:
        value = f"{0.5 * self.low + 0.5 * self.high:.13g}" if self.high - self.low < 1e-11 * abs(self.high) else (
            f"{self.low:.13g}" if self.low == self.high else f"[{self.low:.13g}, {self.high:.13g}]")  # fmt: skip
        return f"{value} at {self.at[0]:.12g}" if self.at else value


@dataclass(frozen=True)
class Extremum:
    """A local "minimum" or "maximum": a value in ``value`` taken somewhere in ``at`` (a stretch where f is flat)."""

    kind: str
    at: Range
    value: Range


@dataclass(frozen=True)
class Stretch:
    """A stretch on which a sign is proved, +1, -1 or 0, but for slivers inside it that are ``slight``."""

    lo: float
    hi: float
    sign: int


@dataclass(frozen=True)
class Jump:
    """A place in ``at`` where f may jump; between the ends of ``at`` f rises by an amount in ``size``, and ``proved``
    says that this is not 0."""

    at: Range
    size: Range

    @property
    def proved(self) -> bool:
        return not self.size[0] <= 0.0 <= self.size[1]


@dataclass(frozen=True)
class Shape:
    """What is proved of ``activation`` on ``[lo, hi]`` at ``params``.

    ``minimum`` and ``maximum`` bound f; ``slopes`` bounds f', least and greatest, and ``steepest`` is sup |f'|
    (sides of jumps and kinks included, jumps themselves not). ``monotone``, ``convex``
    and ``flat`` are stretches; places come as enclosures (lo, hi). ``jumps`` lists breaks at which f is not proved
    continuous. ``period`` and ``drift``: f(x + period) = f(x) + drift; places are those of the first period from 0.
    ``homogeneity`` is k where f(tx) = t^k f(x) for all t > 0. ``proved`` and ``why``: as in
    :class:`~ogive.derive.pieces.Pieces`.
    """

    activation: str
    params: dict[str, Any]
    lo: float
    hi: float
    minimum: Bound
    maximum: Bound
    slopes: tuple[Bound, Bound]
    extrema: tuple[Extremum, ...]
    zeros: tuple[Range, ...]
    inflections: tuple[Range, ...]
    monotone: tuple[Stretch, ...]
    convex: tuple[Stretch, ...]
    flat: tuple[Range, ...]
    kinks: tuple[Range, ...]
    jumps: tuple[Jump, ...]
    parity: str | None
    homogeneity: float | None
    period: float | None
    drift: float
    proved: bool
    why: str
    proof: Proof
    source: tuple[Expr, str, tuple[tuple[str, Any], ...]] = field(repr=False, compare=False)

    @cached_property
    def fixed_points(self) -> tuple[Range, ...]:
        """Where f(x) = x, in ``[lo, hi]``."""
        f = enclosure(*self.source)
        rows = self.proof.rows
        if self.period is not None:
            cut, _ = bisect(f, _within(knots(f, None), self.lo, self.hi))
            rows = merged(f, cut)
        return fixed(f, rows)

    @cached_property
    def elasticity(self) -> Bound:
        """sup |x f'(x)/f(x)| over [lo, hi] where f is not 0: how many per cent f changes at most when x changes by
        one. Infinite at a zero other than 0."""
        return Bound(*supremum(self.source, self.lo, self.hi, self.zeros))

    @cached_property
    def growth(self) -> Limits:
        """Limits and asymptotes at both ends, from samples (:func:`ogive.derive.limits.limits`): not proved. Raises
        :class:`~ogive.errors.InputError` for parameters that are ranges."""
        expr, name, values = self.source
        if any(isinstance(v, tuple) for _, v in values):
            raise InputError(f"the growth of {self.activation}: its parameters are ranges; ask at one value of each")
        return limits(Activation(expr, (name,), {k: Param(v) for k, v in values}))

    @property
    def range(self) -> Range:
        """An interval that holds every value."""
        return (self.minimum.low, self.maximum.high)

    @property
    def steepest(self) -> Bound:
        """sup |f'|."""
        low, high = self.slopes
        a, b = Bound(-low.high, -low.low, low.at), high
        return Bound(max(0.0, a.low, b.low), max(0.0, a.high, b.high), (a if a.low > b.low else b).at)

    @property
    def lipschitz(self) -> float:
        """An upper bound on |f(x) - f(y)|/|x - y|: that of :attr:`steepest`, infinite where f may jump."""
        return math.inf if self.jumps else self.steepest.high

    @property
    def bounded(self) -> bool:
        """Whether f is bounded."""
        return math.isfinite(self.minimum.low) and math.isfinite(self.maximum.high)

    @property
    def equivariance(self) -> str:
        """The diagonal maps D with f(Dx) = Df(x) that hold whatever D's entries: "scalings", "positive scalings",
        "signs" or "none"; permutations always commute with an elementwise map."""
        if self.homogeneity == 1.0:
            return "scalings" if self.parity == "odd" else "positive scalings"
        return "signs" if self.parity == "odd" else "none"

    def monotone_on(self, lo: float, hi: float) -> int | None:
        """The sign of the slope on [lo, hi], None where it changes."""
        signs = {s.sign for s in self.monotone if s.lo < hi and s.hi > lo} - {0}
        covered = any(s.lo <= lo for s in self.monotone) and any(s.hi >= hi for s in self.monotone)
        return (signs.pop() if signs else 0) if covered and len(signs) < 2 else None

    def __repr__(self) -> str:
        where = "" if self.lo == -math.inf and self.hi == math.inf else f" on [{self.lo:g}, {self.hi:g}]"
        kinds = ", ".join(f"{e.kind} at {0.5 * (e.at[0] + e.at[1]):.12g}" for e in self.extrema[:4])
        more = ", ..." if len(self.extrema) > 4 else ""
        return (
            f"Shape({self.activation}{where}: values {self.minimum!r} to {self.maximum!r}; sup |f'| {self.steepest!r}"
            f"{'; ' + kinds + more if kinds else ''}{'' if self.proved else '; not all proved: ' + self.why})"
        )

    def to_dict(self) -> dict[str, Any]:
        """All fields and properties, ready for JSON (infinities stay floats); the proof left out."""
        keys = [f.name for f in fields(self) if f.name not in ("proof", "source")]
        rows = {k: getattr(self, k) for k in keys}
        rows |= {k: asdict(rows[k]) for k in ("minimum", "maximum")}
        for key in ("slopes", "extrema", "monotone", "convex", "jumps"):
            rows[key] = [asdict(v) for v in rows[key]]
        return {**rows, "steepest": asdict(self.steepest), "lipschitz": self.lipschitz, "bounded": self.bounded,
                "equivariance": self.equivariance}  # fmt: skip


def shape(spec: Any, lo: float = -math.inf, hi: float = math.inf, **params: Any) -> Shape:
    """What ``spec`` does on ``[lo, hi]``, every number an enclosure proved in float64 rounded outward.

    ``spec`` is a name, a formula of one input, an Activation or an ``ogive.Act``; ``params`` are numbers, or pairs
    (lo, hi): then the bounds hold for every value between and places are where they may lie. Raises
    :class:`~ogive.errors.InputError` for a gate of two inputs or an empty interval, and
    :class:`~ogive.errors.ParameterError`.

    >>> s = shape("silu")
    >>> round(s.minimum.low, 12), round(s.steepest.high, 12), s.extrema[0].kind
    (-0.278464542761, 1.099839320129, 'minimum')
    >>> shape("tanh").range, shape("relu").equivariance, shape("x*x").homogeneity
    ((-1.0, 1.0), 'positive scalings', 2.0)
    """
    act, values = settled(spec, "the shape", params)
    lo, hi = float(lo), float(hi)
    if not lo < hi:
        raise InputError(f"the shape of {act.label} on [{lo!r}, {hi!r}]: the interval is empty; give lo < hi")
    return _shape(act.label, act.expr, act.inputs[0], tuple(values.items()), lo, hi)


@lru_cache(maxsize=1024)
def _shape(label: str, expr: Expr, name: str, values: tuple[tuple[str, Any], ...], lo: float, hi: float) -> Shape:
    f = enclosure(expr, name, values)
    whole = lo == -math.inf and hi == math.inf
    turn = period(f) if whole else None
    cut, reach = whole_line(expr, name, values) if whole else bisect(f, _within(knots(f, None), lo, hi))
    rows = tuple(mended(f, r) for r in merged(f, cut))
    least, most = extreme(f, 0, cut, rows, -1), extreme(f, 0, cut, rows, 1)
    low, high = extreme(f, 1, cut, rows, -1), extreme(f, 1, cut, rows, 1)
    drift = 0.0 if turn is None else turn[1]
    far = [_ends(f, k, rows, lo, hi) if turn is None else {} for k in (0, 1)]
    wide = [r for r in rows if (r.slope is None or r.curvature is None) and not slight(r)]
    bounds = (
        _bound(least, -1, far[0], drift), _bound(most, 1, far[0], drift),
        _bound(low, -1, far[1], 0.0), _bound(high, 1, far[1], 0.0),
    )  # fmt: skip
    return Shape(
        label, dict(values), lo, hi, bounds[0], bounds[1], (bounds[2], bounds[3]),
        _extrema(rows), zeros_of(f, cut), _inflections(rows),
        tuple(Stretch(*s) for s in stretches(rows, "slope")), tuple(Stretch(*s) for s in stretches(rows, "curvature")),
        tuple((r.lo, r.hi) for r in rows if r.slope == 0 and not slight(r)),
        tuple((r.lo, r.hi) for r in rows if slight(r) and _kinked(r)), _jumps(f, rows),
        parity(expr, name), homogeneity(expr, name), None if turn is None else turn[0], drift,
        not wide, unfound(wide, reach),
        Proof(str(expr), name, values, rows, (least, most, low, high)), (expr, name, values),
    )  # fmt: skip


def _within(grid: Any, lo: float, hi: float) -> Any:
    """The first boxes cut down to an interval, with 32 of its own."""
    a, b = max(lo, -LARGEST), min(hi, LARGEST)
    own = np.linspace(a, b, 33) if b - a < 64.0 else np.array([a, b])
    return np.unique(np.concatenate([grid[(grid > a) & (grid < b)], own]))


_STEPS = (2.0**256, 2.0**512, 2.0**1023)


def _ends(f: Enclosure, which: int, rows: tuple[Piece, ...], lo: float, hi: float) -> dict[float, float]:
    """Where f or f' goes on without bound: {end: +-inf}. Nothing beyond the doubles is proved: a tree that is
    monotone on an outer row is said to be unbounded when its steps from 2^256 to 2^512 to 2^1023 do not shrink, as
    those of log log x just do not (those of any convergent c - 1/log x shrink to a half)."""
    found: dict[float, float] = {}
    for end, row in ((lo, rows[0]), (hi, rows[-1])):
        if math.isfinite(end) or (row.slope if which == 0 else row.curvature) not in (1, -1):
            continue
        at = math.copysign(1.0, end) * np.array(_STEPS)
        y = f.at(at, (which,)).boxes[0]
        # What is surely reached in size: 0 where the value may have underflowed.
        mid = np.where(y[0] > 0.0, y[0], np.where(y[1] < 0.0, y[1], 0.0))
        with np.errstate(over="ignore"):
            first, second = abs(mid[1] - mid[0]), abs(mid[2] - mid[1])
        if second > 0.75 * first and second > 1e-9 * abs(mid[2]):
            found[end] = math.copysign(math.inf, mid[2] - mid[1])
    return found


def _bound(found: tuple[float, float, Range | None], sign: int, ends: dict[float, float], drift: float) -> Bound:
    limit = sign * math.inf
    if drift:
        end = math.copysign(math.inf, drift) * sign
        return Bound(limit, limit, (end, end))
    for end, goes in ends.items():
        if goes == limit:
            return Bound(limit, limit, (end, end))
    return Bound(*found)


def _extrema(rows: tuple[Piece, ...]) -> tuple[Extremum, ...]:
    return tuple(
        Extremum("minimum" if before < after else "maximum", (lo, hi), value)
        for lo, hi, before, after, value in sign_changes(rows)
    )


def _inflections(rows: tuple[Piece, ...]) -> tuple[Range, ...]:
    """Slivers on whose sides f'' has opposite signs, kinks left out."""
    signed = [(i, r.curvature) for i, r in enumerate(rows) if r.curvature in (1, -1)]
    found = []
    for (i, before), (j, after) in pairwise(signed):
        between = rows[i + 1 : j]
        if before != after and all(slight(r) for r in between) and not any(_kinked(r) for r in between):
            found.append((rows[i].hi, rows[j].lo))
    return tuple(found)


def _kinked(r: Piece) -> bool:
    """Whether the slope changes by more than rounding inside a sliver."""
    a, b = r.derivative
    return r.curvature is None and b - a > 1e-9 * max(abs(a), abs(b)) and (r.hi - r.lo) * 1e3 < b - a


def _jumps(f: Enclosure, rows: tuple[Piece, ...]) -> tuple[Jump, ...]:
    torn = [r for r in rows if slight(r) and r.derivative == (-math.inf, math.inf)]
    if not torn:
        return ()
    ends = f.at(np.array([x for r in torn for x in (r.lo, r.hi)]), (0,)).boxes[0]
    gaps = sub(ends[:, 1::2], ends[:, ::2]).T.tolist()
    return tuple(Jump((r.lo, r.hi), (low, high)) for r, (low, high) in zip(torn, gaps))

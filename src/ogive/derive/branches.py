"""The stretches on which a formula is strictly monotone: the domains of its inverses.

The signs of the slope come proved from :func:`ogive.derive.pieces.pieces`. What is left undecided there, slivers a few
doubles wide about a critical or a break point, is settled here in twice double precision: a turn is put at the double
with the extreme value, a jump between the two doubles that it separates, the end of a flat stretch at the last double
with its value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.derive.pieces import Piece, Pieces, pieces
from ogive.derive.signs.slivers import FEW, end_of_flat, greatest, jump, one, turn_in
from ogive.derive.solving.bracketed import double_at, middle, order_of
from ogive.derive.solving.double_double import Wide
from ogive.derive.solving.precise_formula import Sharp
from ogive.lookup import scalar

LARGEST = 1.7976931348623157e308
_NOTHING = 2.3e-308  # below the smallest normal double a value carries no sign of a slope


@dataclass(frozen=True)
class Branch:
    """A stretch from ``lo`` to ``hi`` on which f is strictly monotone, and its image from ``low`` to ``high``.

    ``closed`` says of lo and of hi whether they are part of the domain, ``attained`` of low and of high whether f takes
    them. ``knots`` are the break and inflection points inside.
    """

    lo: float
    hi: float
    rising: bool
    low: float
    high: float
    closed: tuple[bool, bool]
    knots: tuple[float, ...] = ()

    @property
    def attained(self) -> tuple[bool, bool]:
        """Whether f takes the values ``low`` and ``high``."""
        return self.closed if self.rising else self.closed[::-1]

    def __str__(self) -> str:
        domain = _interval(self.lo, self.hi, self.closed)
        way = "rises" if self.rising else "falls"
        return f"{way} on {domain}, image {_interval(self.low, self.high, self.attained)}"

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return {**asdict(self), "attained": list(self.attained)}


@dataclass(frozen=True)
class Flat:
    """A stretch on which f is constant: it has no inverse there."""

    lo: float
    hi: float
    value: float

    def __str__(self) -> str:
        return f"is {self.value:.12g} all over {_interval(self.lo, self.hi, (True, True))}"


@dataclass(frozen=True)
class Branches:
    """The branches of one function from left to right, what is flat in it, and what could not be proved.

    Of a periodic function these are the branches that begin within one period; ``turn`` says which.
    """

    activation: str
    branches: tuple[Branch, ...]
    flats: tuple[Flat, ...] = ()
    unproved: tuple[tuple[float, float], ...] = ()
    period: float | None = None
    turn: int = 0

    def __len__(self) -> int:
        return len(self.branches)

    def __iter__(self) -> Iterator[Branch]:
        return iter(self.branches)

    def __getitem__(self, i: int) -> Branch:
        return self.branches[i]

    @property
    def bijective(self) -> bool:
        """Whether f is strictly monotone on the whole line."""
        return (
            len(self) == 1 and not (self.flats or self.unproved) and self[0].lo == -math.inf and self[0].hi == math.inf
        )

    def __repr__(self) -> str:
        lines = [f"  {i}: {b}" for i, b in enumerate(self)]
        lines += [f"  {f}" for f in self.flats]
        lines += [f"  not proved on {_interval(*u, (True, True))}" for u in self.unproved]
        turn = "" if self.period is None else f", period {self.period:.12g}, turn {self.turn}"
        return "\n".join([f"Branches({self.activation}{turn}", *lines]) + ")"

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


def _interval(lo: float, hi: float, closed: tuple[bool, bool]) -> str:
    left = "[" if closed[0] and math.isfinite(lo) else "("
    right = "]" if closed[1] and math.isfinite(hi) else ")"
    return f"{left}{lo:.12g}, {hi:.12g}{right}"


def branches(spec: Any, turn: int = 0, **params: float) -> Branches:
    """The stretches on which f is strictly monotone, each with its domain and image.

    ``turn`` moves a periodic function by so many periods. Raises :class:`~ogive.errors.InputError` for a gate of two
    inputs. Where f is smaller than the smallest normal double its slope is taken to keep its sign.

    >>> branches("silu")
    Branches(silu
      0: falls on (-inf, -1.27846454276], image [-0.278464542761, 0)
      1: rises on [-1.27846454276, inf), image [-0.278464542761, inf))
    """
    act, values = scalar(spec, "the branches", params)
    return of_pieces(act, pieces(act, **values), values, turn)


def of_pieces(act: Activation, found: Pieces, values: Mapping[str, float], turn: int = 0) -> Branches:
    """:func:`branches` of pieces that are already there."""
    sharp = Sharp(act.with_params(**values))
    rows = [
        _Run(_strict(r), r.lo, r.hi, [r.lo, r.hi], not math.isfinite(r.derivative[1] - r.derivative[0]))
        for r in found.rows
    ]
    rows = _settle_negligible(rows, found.rows)
    signs = {r.sign for r in rows if not r.narrow}
    period = found.period
    if period is not None and found.drift and len(signs) == 1 and signs <= {1, -1}:
        rising = signs == {1}
        whole = Branch(-math.inf, math.inf, rising, -math.inf, math.inf, (False, False), tuple(found.knots()))
        return Branches(act.label, (whole,))
    if period is not None:
        rows = [r.moved(k * period) for k in (turn, turn + 1) for r in rows]
    runs = _joined(rows, sharp)
    if period is not None:  # what begins in the period; the last one ends in the next
        start, end = rows[0].lo, rows[0].lo + period
        runs = [r for r in runs if start <= r.lo < end and not (r.lo == start and rows[0].sign == rows[-1].sign)]
    strict = tuple(_branch(r, sharp) for r in runs if r.sign)
    flats = tuple(Flat(*_ends(r), float(sharp.value(one(_inner(r)))) + 0.0) for r in runs if r.sign == 0)
    gaps = tuple(_ends(r) for r in runs if r.sign is None)
    return Branches(act.label, strict, flats, gaps, period, turn)


def _strict(row: Piece) -> int | None:
    """The sign of a row's slope; none for a sliver that may be flat in part, as at a kink: its end is looked for."""
    partly = row.curvature is None and row.derivative[0] <= 0.0 <= row.derivative[1]
    return None if partly and _distance(row.lo, row.hi) <= FEW else row.slope


@dataclass
class _Run:
    """Neighbouring rows with one sign."""

    sign: int | None
    lo: float
    hi: float
    knots: list[float]
    torn: bool = False

    @property
    def narrow(self) -> bool:
        wide = self.hi - self.lo
        return self.sign is None and (
            _distance(self.lo, self.hi) <= FEW or wide <= 1e-9 * abs(self.lo) or wide < 1e-150
        )

    def moved(self, by: float) -> _Run:
        return _Run(self.sign, self.lo + by, self.hi + by, [k + by for k in self.knots], self.torn)


def _settle_negligible(rows: list[_Run], pieces_: tuple[Piece, ...]) -> list[_Run]:
    """Undecided rows on which nothing but zeros and subnormals are taken continue the neighbour that is decided."""
    new = [_Run(r.sign, r.lo, r.hi, r.knots, r.torn) for r in rows]
    tiny = [r.sign is None and max(map(abs, p.value)) <= _NOTHING and not r.narrow for r, p in zip(rows, pieces_)]
    for order in (range(len(new)), reversed(range(len(new)))):
        before: int | None = None
        for i in order:
            if tiny[i] and new[i].sign is None and before:
                new[i].sign = before
            before = new[i].sign
    return new


def _distance(a: float, b: float) -> int:
    return int(order_of(one(b)) - order_of(one(a)))


def _ends(r: _Run) -> tuple[float, float]:
    return (-math.inf if r.lo <= -LARGEST else r.lo, math.inf if r.hi >= LARGEST else r.hi)


def _inner(r: _Run) -> float:
    return float(middle(one(r.lo), one(r.hi)))


def _joined(rows: list[_Run], sharp: Sharp) -> list[_Run]:
    runs: list[_Run] = []
    for row in rows:
        if runs and runs[-1].sign == row.sign and row.sign is not None:
            runs[-1].hi = row.hi
            runs[-1].knots += row.knots
        else:
            runs.append(_Run(row.sign, row.lo, row.hi, list(row.knots), row.torn))
    turns = _turns(runs, sharp)
    merged = [runs[0]]
    i = 1
    while i < len(runs):
        row, before = runs[i], merged[-1]
        after = runs[i + 1] if i + 1 < len(runs) else None
        if row.narrow and before.sign is not None and after is not None and after.sign is not None:
            _meet(before, row, after, sharp, merged, turns.get(row.lo))
            i += 2
        elif row.sign is not None and before.sign is not None:  # they share an end, which both hold
            _meet(before, _Run(None, before.hi, before.hi, []), row, sharp, merged, before.hi)
            i += 1
        else:
            merged.append(row)
            i += 1
    return [r for r in merged if not (r.narrow and len(merged) > 1)]


def _turns(runs: list[_Run], sharp: Sharp) -> dict[float, float]:
    """By the start of each sliver between opposite signs, the double with the extreme value: all in one evaluation."""
    found: dict[float, float] = {}
    groups: list[tuple[float, float, Tensor]] = []
    for before, row, after in zip(runs, runs[1:], runs[2:]):
        opposite = before.sign is not None and after.sign is not None and before.sign * after.sign < 0
        if row.sign is None and opposite and _distance(row.lo, row.hi) <= FEW:
            first = int(order_of(one(row.lo)))
            places = double_at(torch.arange(first, first + _distance(row.lo, row.hi) + 1, dtype=torch.int64))
            groups.append((row.lo, float(before.sign or 0), places))
    if not groups:
        return found
    y = sharp.wide(torch.cat([g[2] for g in groups]))
    start = 0
    for lo, sign, x in groups:
        part = slice(start, start + len(x))
        start += len(x)
        found[lo] = greatest(x, Wide(sign * y.hi[part], sign * y.lo[part]))
    return found


def _meet(before: _Run, sliver: _Run, after: _Run, sharp: Sharp, merged: list[_Run], turn: float | None) -> None:
    """Settle the sliver between two runs: one run, or where each ends."""
    p, q = sliver.lo, sliver.hi
    torn = jump(p, q, sharp) if sliver.torn else None
    if torn is not None:
        before.hi, after.lo = torn  # the outermost ones: sign(x) jumps on both sides of 0
        while (more := jump(p, before.hi, sharp)) is not None:
            before.hi = more[0]
        while (more := jump(after.lo, q, sharp)) is not None:
            after.lo = more[1]
    elif before.sign == after.sign and before.sign is not None:
        before.hi = after.hi
        before.knots += [p, q, *after.knots]
        return
    elif 0 in (before.sign, after.sign):
        before.hi = after.lo = end_of_flat(p, q, sharp, left=before.sign == 0)
    else:
        before.hi = after.lo = turn if turn is not None else turn_in(p, q, sharp, top=before.sign == 1)
    merged.append(after)


def _branch(r: _Run, sharp: Sharp) -> Branch:
    lo, hi = _ends(r)
    # a pole is no place of the domain
    values = [float(sharp.value(one(e))) + 0.0 for e in (lo, hi)]
    closed = (math.isfinite(lo) and math.isfinite(values[0]), math.isfinite(hi) and math.isfinite(values[1]))
    low, high = values if r.sign == 1 else values[::-1]
    knots = tuple(sorted({k for k in r.knots if lo < k < hi}))
    return Branch(lo, hi, r.sign == 1, low, high, closed, knots)

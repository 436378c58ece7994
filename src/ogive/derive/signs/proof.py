"""A proof of the signs of :func:`ogive.derive.shape.shape`, and a checker that shares no bound with its maker.

The checker parses the formula again and works with python-flint's Taylor series of error balls: over a ball that covers
a stretch the coefficients of the series enclose f, f' and f''/2 there. A stretch whose signs a ball does not show is
halved. Balls have an unbounded exponent but only a middle and a radius, so one that covers exp(x) from -1e308 to -700
holds zero: on such stretches the checker looks at points only and says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from ogive.balls import Undecided
from ogive.errors import OgiveError
from ogive.expr import Expr
from ogive.ops import OPS

BITS, BALLS, POINTS = 128, 1500, 3
_CORE = (2.0**-30, 64.0)
_SIZES = [2.0**k for k in range(6, 1024, 2)]
_SMALL = [2.0**k for k in range(-30, -1074, -4)]
_SCALES = sorted({s * v for v in (*_SIZES, *_SMALL) for s in (1.0, -1.0)} | {0.0, -8.0, -1.0, 1.0, 8.0})


@dataclass(frozen=True)
class Proof:
    """What is claimed of f on ``[rows[0].lo, rows[-1].hi]``: on every row of ``rows`` the signs of f' and f'' and
    what f and f' can be; that the rows leave no gap; and in ``bounds`` (least and greatest f, least and greatest f',
    each (low, high, place)) what follows from the rows. ``formula`` is the text of f."""

    formula: str
    name: str
    params: tuple[tuple[str, Any], ...]
    rows: tuple[Any, ...]
    bounds: tuple[tuple[float, float, tuple[float, float] | None], ...] = ()

    def __repr__(self) -> str:
        return f"Proof({self.formula}: {len(self.rows)} rows)"

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Checked:
    """The verdict of :func:`check`: whether the proof ``holds``, else what ``refuted`` it; over how many ``balls``,
    and the stretches that were seen ``at_points`` only."""

    holds: bool
    refuted: str
    balls: int
    at_points: tuple[tuple[float, float], ...]

    @property
    def complete(self) -> bool:
        """Whether balls covered all rows that carry a sign."""
        return self.holds and not self.at_points

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


class _Refuted(Exception):
    pass


def check(proof: Proof) -> Checked:
    """Verify ``proof`` with balls of 128 bits.

    Raises :class:`~ogive.errors.OgiveError` without python-flint (``pip install 'ogive[certify]'``).

    >>> from ogive.derive.shape import shape  # needs python-flint
    >>> check(shape("relu6").proof).complete
    True
    """
    try:
        import flint
    except ImportError:
        raise OgiveError("checking a proof needs python-flint: pip install 'ogive[certify]'") from None
    before = flint.ctx.prec
    flint.ctx.prec = BITS
    run = _Checker(flint, proof)
    try:
        run.whole()
    except _Refuted as found:
        return Checked(False, str(found), run.count, tuple(run.at_points))
    finally:
        flint.ctx.prec = before
    return Checked(True, "", run.count, tuple(run.at_points))


class _Checker:
    def __init__(self, flint: Any, proof: Proof) -> None:
        from ogive.parse import parse

        self.flint, self.proof, self.count = flint, proof, 0
        self.at_points: list[tuple[float, float]] = []
        self.tree: Expr = parse(proof.formula, (proof.name, *(k for k, _ in proof.params)), {})
        self.values = {k: self._ball(*v) if isinstance(v, tuple) else flint.arb(v) for k, v in proof.params}

    def _ball(self, lo: float, hi: float) -> Any:
        return self.flint.arb(lo).union(self.flint.arb(hi))

    def series(self, x: Any) -> list[Any] | None:
        """f, f', f'' and f''' over the ball ``x``; None where a choice is open or a value missing."""
        self.count += 1
        kind, value = self.flint.arb_series, {}

        def of(n: Expr) -> Any:
            if n not in value:
                if n.op == "const":
                    value[n] = kind([float(n.data)], prec=4)  # type: ignore[arg-type]
                elif n.op == "var":
                    value[n] = kind([x, 1] if n.data == self.proof.name else [self.values[str(n.data)]], prec=4)
                elif n.op == "where":
                    value[n] = of(n.args[1] if of(n.args[0]) else n.args[2])
                else:
                    extra = () if n.data is None else (int(n.data),)
                    value[n] = OPS[n.op].exact(*(of(a) for a in n.args), *extra)
            return value[n]

        try:
            got = of(self.tree)
        except (Undecided, ZeroDivisionError, ValueError):
            return None
        coefficients = [got[k] * math.factorial(k) for k in range(4)]
        if not all(c.is_finite() for c in coefficients):
            return None
        return coefficients

    def whole(self) -> None:
        rows = self.proof.rows
        for a, b in pairwise(rows):
            if a.hi != b.lo:
                raise _Refuted(f"between {a.hi!r} and {b.lo!r} there is a gap or an overlap")
        for r in rows:
            if not r.lo < r.hi:
                raise _Refuted(f"the row from {r.lo!r} to {r.hi!r} is empty")
            self.ends(r)
            self.signs(r)
        self.summary(rows)

    def ends(self, r: Any) -> None:
        """What f and f' are at both ends lies in what the row says; with the signs that is all of a monotone row."""
        for x in (r.lo, r.hi, 0.5 * r.lo + 0.5 * r.hi):
            if abs(x) > 1e30:
                continue
            got = self.series(self.flint.arb(x))
            if got is None:
                continue
            for v, (low, high), what in ((got[0], r.value, "f"), (got[1], r.derivative, "f'")):
                # What the series gives at a kink is a convention.
                if what == "f'" and self.series(self._around(x)) is None:
                    continue
                if v < low or v > high:
                    raise _Refuted(f"{what}({x!r}) = {float(v):.17g} is not in [{low!r}, {high!r}]")

    def _around(self, x: float) -> Any:
        return self._ball(math.nextafter(x, -math.inf), math.nextafter(x, math.inf))

    def signs(self, r: Any) -> None:
        """The signs of f' and f'' on all of a row: by halving where |x| is between 1e-9 and 64, on stretches of
        ever larger (smaller) size beyond."""
        wanted = [(k, s) for k, s in ((1, r.slope), (2, r.curvature)) if s is not None]
        if not wanted:
            return
        cuts = [r.lo, *(c for c in _SCALES if r.lo < c < r.hi), r.hi]
        for lo, hi in pairwise(cuts):
            core = max(abs(lo), abs(hi)) <= _CORE[1] and max(abs(lo), abs(hi)) > _CORE[0]
            work, spent = [(lo, hi)], 0
            while work:
                a, b = work.pop()
                spent += 1
                if not self._missing(a, b, wanted):
                    continue
                middle = _middle(a, b)
                if spent >= (BALLS if core else 1) or not a < middle < b:
                    self._points(a, b, wanted)
                else:
                    work += [(middle, b), (a, middle)]

    def _missing(self, lo: float, hi: float, wanted: Sequence[tuple[int, int]]) -> bool:
        """Whether some sign does not show on [lo, hi]."""
        ball = self._ball(lo, hi)
        got = self.series(ball)
        if got is None:
            return True
        if all(self._shown(got[k], k, sign, lo, hi) for k, sign in wanted):
            return False
        # The mean value theorem from the middle.
        x = _middle(lo, hi)
        centre = self.series(self.flint.arb(x))
        if centre is None:
            return True
        return not all(
            self._shown(got[k], k, sign, lo, hi) or self._shown(centre[k] + got[k + 1] * (ball - x), k, sign, lo, hi)
            for k, sign in wanted
        )

    def _shown(self, v: Any, k: int, sign: int, lo: float, hi: float) -> bool:
        if (sign == 0 and (v > 0 or v < 0)) or (sign > 0 and v < 0) or (sign < 0 and v > 0):
            raise _Refuted(
                f"the sign {sign} of f{k * chr(39)} on [{lo!r}, {hi!r}] is wrong: it is {float(v.mid()):.6g}"
            )
        return bool(v == 0 if sign == 0 else v >= 0 if sign > 0 else v <= 0)

    def _points(self, lo: float, hi: float, wanted: Sequence[tuple[int, int]]) -> None:
        if hi - lo > 1e-300 and hi - lo > 4e-16 * max(abs(lo), abs(hi)):
            start = self.at_points.pop()[0] if self.at_points and self.at_points[-1][1] == lo else lo
            self.at_points.append((start, hi))
        for i in range(POINTS):
            x = _between(lo, hi, (i + 0.5) / POINTS)
            if not lo < x < hi or abs(x) > 1e15:
                continue
            got = self.series(self.flint.arb(x))
            for k, sign in wanted if got is not None else ():
                v = got[k]  # type: ignore[index]
                if (sign == 0 and (v > 0 or v < 0)) or (sign > 0 and v < 0) or (sign < 0 and v > 0):
                    raise _Refuted(f"the sign {sign} of f{k * chr(39)} at {x!r} is wrong: it is {float(v):.6g}")

    def summary(self, rows: Sequence[Any]) -> None:
        """The bounds follow from the rows: none is exceeded, and each is reached at its place."""
        for i, (low, high, at) in enumerate(self.proof.bounds):
            what, top = "f'" if i > 1 else "f", i % 2 == 1
            every = [r.derivative if i > 1 else r.value for r in rows]
            every = [v for v in every if i < 2 or v != (-math.inf, math.inf)]
            worst = max(v[1] for v in every) if top else min(v[0] for v in every)
            if (worst > high) if top else (worst < low):
                raise _Refuted(f"the {'greatest' if top else 'least'} {what} is said to be {high if top else low!r}, "
                               f"but a row allows {worst!r}")  # fmt: skip
            if at is None or max(map(abs, at)) > 1e15 or not math.isfinite(low + high):
                continue
            seen = [self.series(self.flint.arb(x)) for x in (*at, 0.5 * at[0] + 0.5 * at[1])]
            values = [got[1 if i > 1 else 0] for got in seen if got is not None]
            if len(values) == 3 and all((v < low) if top else (v > high) for v in values):
                raise _Refuted(f"{what} does not reach [{low!r}, {high!r}] in {at!r}")


def _middle(lo: float, hi: float) -> float:
    """Half way, in size where the ends are of different sizes."""
    if lo < 0.0 < hi:
        return 0.0
    a, b = sorted((abs(lo), abs(hi)))
    if b <= 4.0 * a:
        return lo + 0.5 * (hi - lo)
    size = math.sqrt(max(a, 5e-324)) * math.sqrt(b)
    return size if hi > 0.0 else -size


def _between(lo: float, hi: float, t: float) -> float:
    a, b = abs(lo), abs(hi)
    if lo < 0.0 < hi or max(a, b) <= 4.0 * min(a, b):
        return lo * (1.0 - t) + hi * t
    size = math.exp((1.0 - t) * math.log(max(a, 5e-324)) + t * math.log(max(b, 5e-324)))
    return size if hi > 0.0 else -size

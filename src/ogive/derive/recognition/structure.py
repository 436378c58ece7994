"""Recognition by formula: entries whose normal form has the shape of the function's, their numbers solved for.

Every entry is filed under the shape of its normal form (:mod:`ogive.derive.recognition.normal`). A function's own shape
names the candidates; their parameters and the transform follow from setting the coefficients of the two forms equal,
a small system that Newton's method solves in a few steps, since most of it is linear. The check grid has the last
word on what comes out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ogive.activation import Activation
from ogive.derive.recognition.fit import Array
from ogive.derive.recognition.normal import Normal, Poly, TooLong
from ogive.derive.recognition.normal_forms import normal
from ogive.expr import Expr

_X = ((0, 1.0),)
_TRIES = 6  # starts of one candidate
_STEPS = 12


@dataclass(frozen=True)
class Layout:
    """The coefficients of a normal form by their place; ``top`` are those of the outermost sum."""

    coefficients: Mapping[str, Array]
    shape: str

    def row(self, places: Sequence[str], rows: int) -> Array:
        """The coefficients at ``places``, zero where there is none: (rows, places)."""
        zero = np.zeros(rows)
        return np.stack([self.coefficients.get(p, zero) for p in places], 1) if places else np.zeros((rows, 0))

    def places(self, outer: bool) -> tuple[str, ...]:
        """Where there are coefficients, without those of a line if that is left outside."""
        return tuple(sorted(p for p in self.coefficients if not (outer and p in ("=", "=x^1"))))


def layout(expr: Expr, values: Mapping[str, Array | float], x: str, scale: Array | float = 1.0,
           shift: Array | float = 0.0, rows: int = 1) -> Layout | None:  # fmt: skip
    """The normal form of ``expr`` at ``scale x + shift``, None where it is too long."""
    form = Normal(rows)
    try:
        with np.errstate(all="ignore"):
            inner = form.add(form.mul(form.number(scale), {_X: np.ones(rows)}), form.number(shift))
            top = normal(expr, {**{k: form.number(v) for k, v in values.items()}, x: inner}, form)
            return _laid_out(form, top)
    except (TooLong, OverflowError, ZeroDivisionError):
        return None


def _laid_out(form: Normal, top: Poly) -> Layout:
    used: set[int] = set()
    waiting = [top]
    while waiting:
        for m in waiting.pop():
            for g, _ in m:
                if g not in used:
                    used.add(g)
                    waiting += form.generators[g].args
    names = {0: "x"}
    groups: dict[str, list[int]] = {}
    for g in sorted(used - {0}):
        groups.setdefault(form.generators[g].shape, []).append(g)

    def numbers(g: int) -> tuple[float, ...]:
        args = form.generators[g].args
        return tuple(float(v[0]) for a in args for m, v in sorted(a.items(), key=lambda t: form.rank(t[0])))

    for shape, members in groups.items():
        members.sort(key=numbers)
        for i, g in enumerate(members):
            names[g] = f"{shape}#{i}"

    def place(m: tuple[tuple[int, float], ...]) -> str:
        return "*".join(sorted(f"{names[g]}^{e:g}" for g, e in m))

    found = {f"={place(m)}": v for m, v in top.items()}
    for g in used - {0}:
        for i, arg in enumerate(form.generators[g].args):
            found.update({f"{names[g]}:{i}={place(m)}": v for m, v in arg.items()})
    shape = ";".join(sorted(f"{k}*{len(v)}" for k, v in groups.items()))
    if not groups:  # a polynomial: its degree
        shape = f"x{max((m[0][1] for m in top if m), default=0.0):g}"
    return Layout(found, shape)


def filed(act: Activation) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The shape of the entry's form and the places of its coefficients, in general: with its parameters, scaled and
    shifted as published, and both. An empty shape where the form is too long or there is no parameter."""
    names = [k for k in act.defaults if k in act.expr.variables()]
    moved = {k: np.array([act.defaults[k], 1.0137 * act.defaults[k] + 0.0113]) for k in names}
    as_published = {k: act.defaults[k] for k in names}
    one, off = np.array([1.0, 1.0071]), np.array([0.0, 0.0193])
    found = []
    for how in range(3):
        laid = None
        if names or how == 1:
            values = as_published if how == 1 else moved
            laid = layout(act.expr, values, act.inputs[0], one if how else 1.0, off if how else 0.0, 2)
        found.append(("", ()) if laid is None else (laid.shape, laid.places(how > 0)))
    return tuple(found)


@dataclass(frozen=True)
class Solution:
    """Parameters, then a and b; c is the factor outside. d and e are left to the values."""

    theta: Array
    c: float


class Equations:
    """Coefficients of an entry's form set equal to those of a function's."""

    def __init__(self, act: Activation, names: Sequence[str], target: Layout) -> None:
        self.act, self.names, self.target = act, tuple(names), target
        self.base = np.array([*(act.defaults[k] for k in names), 1.0, 0.0])

    def at(self, theta: Array) -> Layout | None:
        """The entry's form at rows of theta."""
        values = {k: theta[:, i] for i, k in enumerate(self.names)}
        n = len(self.names)
        return layout(self.act.expr, values, self.act.inputs[0], theta[:, n], theta[:, n + 1], len(theta))

    def solve(self, start: Array, free: Sequence[int], outer: bool) -> Solution | None:
        """Newton's method from ``start`` in the columns ``free``; ``outer`` leaves a factor and a line outside."""
        theta, c = start.copy(), 1.0
        least = np.inf
        for step in range(_STEPS):
            rows = np.tile(theta, (1 + len(free), 1))
            h = 1e-6 * (1.0 + np.abs(theta[list(free)]))
            rows[np.arange(1, 1 + len(free)), list(free)] += h
            laid = self.at(rows)
            if laid is None or laid.shape != self.target.shape:
                return None
            places = sorted({*laid.coefficients, *self.target.coefficients})
            if outer:
                places = [p for p in places if p not in ("=", "=x^1")]
            mine = laid.row(places, len(rows))
            goal = self.target.row(places, 1)[0]
            top = np.array([p.startswith("=") for p in places])
            if not np.isfinite(mine).all():
                return None
            if outer and step == 0:
                size = float(mine[0, top] @ mine[0, top])
                c = float(mine[0, top] @ goal[top]) / size if size > 0 else 1.0
            factor = np.where(top, c, 1.0)
            scale = 1.0 / (1e-3 + np.abs(goal))
            left = (mine[0] * factor - goal) * scale
            worst = float(np.abs(left).max(initial=0.0))
            if worst < 1e-10 or (worst < 1e-7 and worst > 0.3 * least):
                return Solution(theta, c)
            if step > 2 and worst > 0.5 * least:
                return None
            least = min(least, worst)
            columns = [((mine[1 + k] - mine[0]) / h[k]) * factor * scale for k in range(len(free))]
            if outer:
                columns.append(np.where(top, mine[0], 0.0) * scale)
            if not columns:
                return None
            move = -np.linalg.lstsq(np.stack(columns, 1), left, rcond=1e-9)[0]
            inner = move[: len(free)]
            reach = 3.0 * (1.0 + np.abs(theta[list(free)]))
            theta[list(free)] += np.clip(inner, -reach, reach)
            c += float(move[-1]) if outer else 0.0
        return None

    def places(self) -> Iterator[Array]:
        """Where to start: scales and shifts that put one affine argument of the entry on one of the function's."""
        n, told = len(self.names), set()
        for sign in (1.0, -1.0):
            start = self.base.copy()
            start[n] = sign
            laid = self.at(start[None, :])
            if laid is None:
                continue
            for a, b in _laid_on(laid, self.target):
                trial = start.copy()
                trial[n], trial[n + 1] = sign * a, sign * b
                key = (round(trial[n], 6), round(trial[n + 1], 6))
                if key not in told and a > 0:
                    told.add(key)
                    yield trial


def _laid_on(mine: Layout, goal: Layout) -> Iterator[tuple[float, float]]:
    """(a, b) for which an argument of a generator of ``mine`` at a x + b is one of ``goal``: of affine ones
    u (a x + b) + v = p x + q, of quadratic ones the same by their two highest terms, of steps by two places."""
    ours, theirs = _arguments(mine), _arguments(goal)
    for shape, places in theirs.items():
        if not shape.startswith("step") and len(places) == len(ours.get(shape, ())):
            for second, first, last in places[:1]:
                for w, u, v in ours[shape]:
                    if second and w and second / w > 0:
                        a = (second / w) ** 0.5
                        yield a, (first - u * a) / (2.0 * w * a)
                    elif not second and not w and u:
                        yield first / u, (last - v) / u
    for shape, places in theirs.items():
        if shape.startswith("step") and len(places) == len(ours.get(shape, ())):
            s, t = [-v for *_, v in ours[shape]], [-v for *_, v in places]
            if len(s) > 1 and max(t) > min(t):
                a = (max(s) - min(s)) / (max(t) - min(t))
                yield a, min(s) - a * min(t)
            else:
                yield 1.0, s[0] - t[0]
    yield 1.0, 0.0


def _arguments(laid: Layout) -> dict[str, list[tuple[float, float, float]]]:
    """Arguments that are polynomials of degree one or two in x, (square, slope, constant), by shape."""
    owners: dict[str, dict[str, float]] = {}
    for place, v in laid.coefficients.items():
        owner, _, monomial = place.partition("=")
        if owner:
            owners.setdefault(owner, {})[monomial] = float(v[0])
    found: dict[str, list[tuple[float, float, float]]] = {}
    for owner, terms in sorted(owners.items()):
        if set(terms) <= {"", "x^1", "x^2"}:
            numbers = (terms.get("x^2", 0.0), terms.get("x^1", 0.0), terms.get("", 0.0))
            found.setdefault(owner.partition("#")[0], []).append(numbers)
    return found


def solutions(act: Activation, names: Sequence[str], goal: Layout, how: int) -> Iterator[Solution]:
    """Numbers that make the entry's form the function's: ``how`` 0 its parameters, 1 a scaling and shift around it
    as published, 2 all of them."""
    n = len(names)
    equations = Equations(act, names, goal)
    if how == 0:
        starts: Iterator[Array] = iter([equations.base])
    else:
        starts = islice(equations.places(), _TRIES)
    free = (range(n), (n, n + 1), range(n + 2))[how]
    for start in starts:
        got = equations.solve(start, tuple(free), how > 0)
        if got is not None:
            yield got
            return

"""The explanations of a function by catalogue entries, from the plainest to the freest.

As published; with other parameters; scaled and shifted, ``c*f(a*x + b) + d*x + e``; both together. Each stage
first looks at all entries roughly, then refines the few that promise something, and accepts an explanation
only when it reproduces the function on a grid it was not fitted to, to 1e-9.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ogive.activation import Activation
from ogive.derive.candidates import Row, ranked, table
from ogive.derive.fit import Array, Linear, Model, Problem, Transform, minimise
from ogive.derive.target import CHECK, FIT, Target, gap, mismatch
from ogive.expr import Expr, number_text, value_of
from ogive.rewrite import match

TOLERANCE = 1e-9
_PROMISING = 16  # entries that are refined in a stage
_LOOKED_AT = 56  # of which a few steps are tried


@dataclass(frozen=True)
class Explanation:
    """``row`` at ``parameters`` (those that are not the defaults), transformed; ``gap`` for |x| <= 8."""

    row: Row
    parameters: Mapping[str, float]
    how: Transform
    gap: float

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def complexity(self) -> int:
        """How many numbers had to be chosen."""
        return len(self.parameters) + self.how.changed

    @property
    def rank(self) -> tuple[Any, ...]:
        """Fewest numbers to choose, fewest parameters, not a copy of another entry, plainest numbers,
        parameters before scalings, oldest."""
        act, how = self.row.act, self.how
        numbers = [*self.parameters.values(), *(v for v in (how.a, how.b, how.c, how.d, how.e) if v not in (0.0, 1.0))]
        length = sum(len(number_text(abs(v))) for v in numbers)
        return (self.complexity, len(act.params), act.same_as is not None, length, sum(map(abs, numbers)),
                how.changed, self.row.year, self.name)  # fmt: skip


@dataclass(frozen=True)
class Fits:
    """Entries that are the function with other parameters, and how near the others came."""

    exact: tuple[Explanation, ...]
    near: tuple[Explanation, ...]


def identical(target: Target, tol: float) -> list[Explanation]:
    """Entries that are the function as published, the one others refer to first."""
    found = [r for r in table() if mismatch(target.check, r.check) <= tol]
    if target.act is not None and found:
        tree, back = _fixed(target.act)

        def key(row: Row) -> tuple[bool, bool, bool, int, int, str]:
            # The entry itself, then the same declared backward, then the same tree.
            theirs = _fixed(row.act)
            return (row.act is not target.act, theirs[1] is not back, row.act.same_as is not None,
                    theirs[0] is not tree, len(row.act.params), row.name)  # fmt: skip

        found.sort(key=key)
    else:
        found.sort(key=lambda r: (r.act.same_as is not None, len(r.act.params), r.year, r.name))
    return [Explanation(r, {}, Transform(), gap(target.check, r.check)) for r in found]


def _fixed(act: Activation) -> tuple[Expr, Expr | None]:
    fixed = act.fixed()
    return fixed.expr, fixed.form.surrogate


def _explanation(row: Row, theta: Array, how: Transform, target: Target, tol: float) -> Explanation | None:
    """The fit as an explanation when it holds on the whole grid, its numbers rounded where that costs nothing."""
    best: Explanation | None = None
    # The shortest that still holds; no grid sees the place of a jump.
    for digits in (17, 12) if row.jumps else (17, 12, 9, 7):

        def cut(v: float, digits: int = digits) -> float:
            return float(f"{v:.{digits}g}") + 0.0

        params = {k: cut(v) for k, v in zip(row.model.names, theta[:-2])}
        a, b, c, d, e = (cut(v) if abs(v) > 1e-11 else 0.0 for v in (how.a, how.b, how.c, how.d, how.e))
        with np.errstate(all="ignore"):
            y = row.model.at(CHECK, params, Transform(a, b, c, d, e))
        if mismatch(target.check, y) > tol:
            break
        changed = {k: v for k, v in params.items() if v != row.act.defaults[k]}
        best = Explanation(row, changed, Transform(a, b, c, d, e), gap(target.check, y))
    return best


def other_parameters(target: Target, tol: float) -> Fits:
    """Entries that are the function with other parameters: by their trees, then by fitting."""
    exact: dict[str, Explanation] = {}
    rows = [r for r in table() if r.model.names]
    if target.act is not None:
        tree = target.act.fixed().expr
        for row in rows:
            bound = match(row.pattern, tree, {})
            if bound is not None and set(bound) <= {row.act.inputs[0], *("#" + k for k in row.model.names)}:
                given = [value_of(bound["#" + k]) if "#" + k in bound else None for k in row.model.names]
                theta = np.array([v if u is None else u for u, v in zip(given, row.model.defaults)] + [1.0, 0.0])
                got = _explanation(row, theta, Transform(), target, tol)
                if got is not None and _admitted(got):
                    exact[row.name] = got
    near: list[Explanation] = []
    if any(e.complexity == 1 for e in exact.values()):  # nothing plainer is left to find
        return Fits(tuple(exact.values()), ())
    problem = Problem(FIT, target.fit, Linear())
    rough = []
    for row in rows:
        if row.name not in exact:
            n = len(row.model.names)
            rough.append((minimise(row.model, problem, _starts(row.model), range(n), 5), row))
    rough.sort(key=lambda t: t[0].residual)
    for fitted, row in rough[:_PROMISING]:
        free = range(len(row.model.names))
        last = minimise(row.model, problem, fitted.theta[None, :], free, 40)
        got = _explanation(row, last.theta, Transform(), target, tol)
        if got is not None:
            exact[row.name] = _plainer(got, target, tol)
        else:
            params = {k: float(f"{v:.4g}") for k, v in zip(row.model.names, last.theta)}
            y = row.model.at(CHECK, params)
            near.append(Explanation(row, params, Transform(), gap(target.check, y)))
    return Fits(tuple(sorted(exact.values(), key=lambda e: e.rank)), tuple(near))


def _admitted(e: Explanation) -> bool:
    return all(e.row.act.params[k].admits(v) for k, v in e.parameters.items())


def _starts(model: Model) -> Array:
    """The defaults, and each parameter halved, doubled, turned round and at 1."""
    rows = [model.start]
    for i in range(len(model.names)):
        for v in (0.5 * model.start[i], 2.0 * model.start[i], -model.start[i], 1.0):
            row = model.start.copy()
            row[i] = v
            rows.append(row)
    return np.unique(np.array(rows), axis=0)


def _plainer(e: Explanation, target: Target, tol: float) -> Explanation:
    """The same with as many parameters at their defaults as the function allows."""
    model = e.row.model
    for name in tuple(e.parameters):
        free = [i for i, k in enumerate(model.names) if k in e.parameters and k != name]
        theta = model.start
        for i, k in enumerate(model.names):
            theta[i] = e.parameters.get(k, theta[i]) if k != name else theta[i]
        fitted = minimise(model, Problem(FIT, target.fit, Linear()), theta[None, :], free, 20)
        e = _explanation(e.row, fitted.theta, Transform(), target, tol) or e
    return e


def straight(target: Target, tol: float) -> Explanation | None:
    """A straight line as the scaled and shifted identity; many entries reach it in the limit, which says nothing."""
    how = Problem(FIT, target.fit, Linear(slope=True, shift=True)).factors(np.zeros_like(FIT))
    row = next(r for r in table() if r.name == "identity")
    return _explanation(row, row.model.start, Transform(c=how.d, e=how.e), target, tol)


def rescaled(target: Target, tol: float) -> list[Explanation]:
    """Entries that are the function scaled and shifted: as published first, then with parameters too."""
    jumps = target.jumps()
    for slope in (False, True):
        linear = Linear(scale=True, slope=slope, shift=True)
        problem = Problem(FIT, target.fit, linear)
        order = ranked(problem, jumps)
        found = []
        rough = []
        for row, looks in [(r, looks) for r, looks in order if r.act.same_as is None][:_LOOKED_AT]:
            n = len(row.model.names)
            starts = np.concatenate([np.tile(row.model.defaults, (len(looks), 1)), looks], 1)
            rough.append((minimise(row.model, problem, starts, (n, n + 1), 5), row))
        rough.sort(key=lambda t: t[0].residual)
        for first, row in rough[:_PROMISING]:
            n = len(row.model.names)
            fine = minimise(row.model, problem, first.theta[None, :], (n, n + 1), 40)
            got = _explanation(row, fine.theta, fine.how, target, tol)
            if got is not None:
                found.append(_simpler(got, fine.theta, (n, n + 1), linear, target, tol))
        found += _jumping(order, jumps, linear, target, tol)
        if found:
            return found
        wanted = [(r, looks) for r, looks in order if r.model.names][: _PROMISING // 2]
        for row, looks in wanted:
            starts = np.concatenate([np.tile(row.model.defaults, (len(looks), 1)), looks], 1)
            free = range(len(row.model.names) + 2)
            first = minimise(row.model, problem, starts, free, 12)
            if first.residual < 0.01:
                fine = minimise(row.model, problem, first.theta[None, :], free, 60)
                got = _explanation(row, fine.theta, fine.how, target, tol)
                if got is not None:
                    found.append(_simpler(got, fine.theta, free, linear, target, tol))
        if found:
            return found
    return []


def _jumping(
    order: list[tuple[Row, Array]], jumps: Array, linear: Linear, target: Target, tol: float
) -> list[Explanation]:
    """Explanations by entries that jump, with a jump held on the function's first."""
    found = []
    for row, looks in order[:_PROMISING] if len(jumps) else ():
        if row.act.same_as is not None:
            continue
        n = len(row.model.names)
        for a, b in looks:
            problem = Problem(FIT, target.fit, linear, anchor=(float(jumps[0]), float(a * jumps[0] + b)))
            theta = np.concatenate([row.model.defaults, [a, b]])
            fine = minimise(row.model, problem, theta[None, :], (n,), 30)
            got = _explanation(row, fine.theta, fine.how, target, tol)
            if got is not None:
                found.append(_simpler(got, fine.theta, (n, n + 1), linear, target, tol))
                break
    return found


def _simpler(
    e: Explanation, theta: Array, free: Sequence[int], linear: Linear, target: Target, tol: float
) -> Explanation:
    """The same explanation with every number it does not need put back to its plain value."""
    model, free = e.row.model, tuple(free)
    n = len(model.names)
    plain = model.start
    for i in (n + 1, n, *range(n)):  # the shift, the scale, the parameters
        for value in (plain[i], -plain[i]) if i == n else (plain[i],):
            if i not in free:
                continue
            trial = theta.copy()
            trial[i] = value
            if i == n and theta[n]:
                trial[n + 1] *= value / theta[n]  # the zero of a*x + b stays where it is
            fewer = tuple(j for j in free if j != i)
            fitted = minimise(model, Problem(FIT, target.fit, linear), trial[None, :], fewer, 20)
            got = _explanation(e.row, fitted.theta, fitted.how, target, tol)
            if got is not None and got.complexity <= e.complexity:
                e, theta, free = got, fitted.theta, fewer
    for fewer_factors in (replace(linear, slope=False), replace(linear, shift=False), replace(linear, scale=False)):
        fitted = minimise(model, Problem(FIT, target.fit, fewer_factors), theta[None, :], free, 20)
        got = _explanation(e.row, fitted.theta, fitted.how, target, tol)
        if got is not None and got.complexity <= e.complexity:
            e, theta, linear = got, fitted.theta, fewer_factors
    return e

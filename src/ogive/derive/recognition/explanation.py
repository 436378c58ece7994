"""One explanation of a function by an entry: accepted on a grid it was not fitted to, its numbers made plain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ogive.activation import Param
from ogive.derive.recognition.candidates import Row, table
from ogive.derive.recognition.fit import Array, Fitted, Linear, Problem, Transform, minimise
from ogive.derive.recognition.target import CHECK, FIT, Target, gap, mismatch
from ogive.expr import number_text

FREE = Linear(scale=True, slope=True, shift=True)
_LOST = 1e-6  # a singular value below it, of columns of length one, is a direction that changes nothing


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


def accepted(row: Row, fitted: Fitted, target: Target, tol: float) -> Explanation | None:
    """The fit as an explanation when it holds on the whole grid, its numbers rounded where that costs nothing."""
    if not fitted.residual < 1e-4:
        return None
    best: Explanation | None = None
    theta, how = fitted.theta, fitted.how
    # The shortest that still holds; no grid sees the place of a jump.
    for digits, zero in ((17, 1e-11), (12, 1e-11)) if row.jumps else ((17, 1e-11), (12, 1e-11), (9, 1e-8), (7, 1e-8)):

        def cut(v: float, digits: int = digits) -> float:
            return float(f"{v:.{digits}g}") + 0.0

        params = {k: u if abs(v - u) < zero * (1.0 + abs(u)) else cut(v) if abs(v) > zero else 0.0
                  for (k, u), v in zip(row.act.defaults.items(), theta[:-2])}  # fmt: skip
        a, b, c, d, e = (cut(v) if abs(v) > zero else 0.0 for v in (how.a, how.b, how.c, how.d, how.e))
        with np.errstate(all="ignore"):
            y = row.model.at(CHECK, params, Transform(a, b, c, d, e))
        if mismatch(target.check, y) > tol or not all(inside_interval(row.act.params[k], v) for k, v in params.items()):
            break
        changed = {k: v for k, v in params.items() if v != row.act.defaults[k]}
        best = Explanation(row, changed, Transform(a, b, c, d, e), gap(target.check, y))
    return best


def written_alike(e: Explanation) -> Iterator[Explanation]:
    """The same explanation by the other entries that have the same formula."""
    names = e.row.names
    for row in table().written_alike.get(e.row.numbered, ()):
        values = {new: e.parameters.get(k, e.row.act.defaults[k]) for k, new in zip(names, row.names)}
        if row is not e.row and all(inside_interval(row.act.params[k], v) for k, v in values.items()):
            changed = {k: v for k, v in values.items() if v != row.act.defaults[k]}
            yield Explanation(row, changed, e.how, e.gap)


def inside_interval(p: Param, value: float) -> bool:
    """Whether the parameter may be ``value``; at an open end of its interval it is a limit, no member."""
    return p.admits(value) and (p.closed or min(abs(value - p.low), abs(value - p.high)) > 1e-6)


def plainest(
    e: Explanation, fitted: Fitted, free: Sequence[int], linear: Linear, target: Target, tol: float
) -> Explanation:
    """The same explanation with every number it does not need put back to its plain value.

    An isolated solution has no other numbers near; only along directions in which the fit does not change (the
    null space of its derivatives) can a number be chosen, and each choice uses up one of them.
    """
    if e.complexity < 2 and not (e.how.a < 0 and linear.scale):
        return e
    row, n = e.row, len(e.row.names)
    problem = Problem(FIT, target.fit, linear)
    theta, left = fitted.theta, tuple(free)
    for _ in range(len(left)):
        spare = _undecided(row, theta, left, linear, problem)
        step = None
        for i, trial in _plainer(row, theta, n, [i for i in left if spare.get(i, False)]):
            fewer = tuple(j for j in left if j != i)
            again = minimise(row.model, problem, trial[None, :], fewer, 25)
            got = accepted(row, again, target, tol)
            if got is not None and got.complexity <= e.complexity:
                step = (got, again.theta, fewer)
                break
        if step is None:
            break
        e, theta, left = step
    if linear.scale and e.how.a < 0:  # odd and even functions: a sign inside is a sign outside
        turned = theta.copy()
        turned[-2:] = -turned[-2:]
        again = minimise(row.model, problem, turned[None, :], (), 0)
        got = accepted(row, again, target, tol)
        if got is not None and got.complexity <= e.complexity:
            e, theta = got, again.theta
    for fewer_factors in _less(linear) if e.how.changed and _undecided(row, theta, left, linear, problem) else ():
        again = minimise(row.model, Problem(FIT, target.fit, fewer_factors), theta[None, :], left, 20)
        got = accepted(row, again, target, tol)
        if got is not None and got.complexity < e.complexity:
            e, theta = got, again.theta
    return e


def _less(linear: Linear) -> Iterator[Linear]:
    if linear.slope:
        yield replace(linear, slope=False)
        yield replace(linear, slope=False, shift=False)
    if linear.shift:
        yield replace(linear, shift=False)
    if linear.scale:
        yield replace(linear, scale=False)


def _plainer(row: Row, theta: Array, n: int, spare: Sequence[int]) -> Iterator[tuple[int, Array]]:
    """Trials with one number at its plain value: the shift, the scale, then the parameters."""
    plain = row.model.start
    for i in (n + 1, n, *range(n)):
        for value in (plain[i], -plain[i]) if i == n else (plain[i],):
            if i in spare:
                trial = theta.copy()
                trial[i] = value
                if i == n and theta[n]:
                    trial[n + 1] *= value / theta[n]  # the zero of a*x + b stays where it is
                yield i, trial


def _undecided(row: Row, theta: Array, free: Sequence[int], linear: Linear, problem: Problem) -> dict[int, bool]:
    """The columns of theta that a direction in which nothing changes moves; empty when there is none."""
    if not free:
        return {}
    rows = [theta]
    steps = []
    for i in free:
        h = 1e-5 * (1.0 + abs(theta[i]))
        steps.append(h)
        for sign in (1.0, -1.0):
            moved = theta.copy()
            moved[i] += sign * h
            rows.append(moved)
    v = row.model.values(problem.x, np.array(rows))
    slopes = [(v[1 + 2 * k] - v[2 + 2 * k]) / (2.0 * h) for k, h in enumerate(steps)]
    columns = [*slopes] + [v[0]] * linear.scale + [problem.x] * linear.slope + [np.ones_like(problem.x)] * linear.shift
    a = np.stack(columns, 1) * problem.weight[:, None]
    if not np.isfinite(a).all():
        return {}
    size = np.sqrt((a * a).sum(0))
    _, s, vt = np.linalg.svd(a / np.where(size > 1e-12, size, 1.0), full_matrices=False)
    lost = vt[s < _LOST]
    return {i: bool((np.abs(lost[:, k]) > 1e-4).any()) for k, i in enumerate(free)} if len(lost) else {}

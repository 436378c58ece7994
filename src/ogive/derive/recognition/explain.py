"""The explanations of a function by catalogue entries, from the plainest to the freest.

As published; with other parameters; scaled and shifted, ``c*f(a*x + b) + d*x + e``; both together. Each stage
starts from the index of looks, tries a few steps of a fit on the entries that promise most, finishes the best of
them, and accepts an explanation only when it reproduces the function on a grid it was not fitted to, to 1e-9.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ogive.activation import Activation
from ogive.derive.recognition.candidates import Row, preference, table
from ogive.derive.recognition.explanation import FREE, Explanation, accepted, plainest
from ogive.derive.recognition.fit import Descent, Fitted, Linear, Problem, Transform
from ogive.derive.recognition.looks import Start, nearest, plain, signature
from ogive.derive.recognition.structure import Solution, layout, solutions
from ogive.derive.recognition.target import CHECK, FIT, Target, gap, mismatches
from ogive.errors import FormulaError
from ogive.expr import Expr

TOLERANCE = 1e-9
Columns = Callable[[Row], Sequence[int]]
# By effort: the entries a step is tried on (from, to, so many at a time until there is an explanation), of how many
# more steps are tried, and how many that converge slowly are finished all the same. Of 270 disguised functions the
# right entry is among the first ten in four of five.
_EFFORT = ((0, 10, 10, 5, 1), (10, 130, 24, 10, 4), (0, 48, 16, 8, 4))
_EXACT = 1e-12  # a root mean square residual that only rounding leaves
_ENOUGH = 6  # explanations of one kind
_CANDIDATES = 10  # entries of one shape that are solved for
_FOUND = 4  # explanations by formula


@dataclass(frozen=True)
class Fits:
    """Entries that are the function, and how near the others came."""

    exact: tuple[Explanation, ...]
    near: tuple[Explanation, ...]


def identical(target: Target, tol: float) -> list[Explanation]:
    """Entries that are the function as published, the one others refer to first."""
    t = table()
    far = mismatches(target.check, t.check)
    found = [t.rows[i] for i in np.flatnonzero(far <= tol) if _same_breaks(target, t.rows[i].act, tol)]
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


def _same_breaks(target: Target, act: Activation, tol: float) -> bool:
    """Whether the values also agree beside every break point of either, which may lie between two grid points."""
    breaks = {*act.breakpoints(), *(target.act.breakpoints() if target.act is not None else ())}
    if not breaks:
        return True
    at = np.array([b + side * 1e-6 * (1.0 + abs(b)) for b in breaks for side in (-1.0, 1.0)])
    theirs = act(torch.from_numpy(at)).double().numpy()
    return bool(mismatches(target(at), theirs[None])[0] <= tol)


def _fixed(act: Activation) -> tuple[Expr, Expr | None]:
    try:
        fixed = act.fixed()
    except FormulaError:  # 0/0 at the defaults, where the formula's limit is meant
        return act.expr, act.form.surrogate
    return fixed.expr, fixed.form.surrogate


def by_formula(target: Target, tol: float) -> list[Explanation]:
    """Entries whose formula is the function's for some parameters, or around some scaling and shift, or both."""
    if target.act is None:
        return []
    goal = layout(target.act.fixed().expr, {}, target.act.inputs[0])
    if goal is None:
        return []
    found: list[Explanation] = []
    for how in (0, 1, 2):
        have = set(goal.places(how > 0))
        fitting = [(len(places), row) for row, places in table().shaped.get((how, goal.shape), ()) if have <= places]
        fitting.sort(key=lambda t: (t[0], preference(t[1])))
        for _, row in fitting[:_CANDIDATES]:
            for solution in solutions(row.act, row.names, goal, how):
                got = _told(row, solution, how, target, tol)
                if got is not None:
                    found.append(got)
            if len(found) >= _FOUND or any(e.complexity == 1 for e in found):
                return found
        if found and how:
            break
    return found


def _told(row: Row, solution: Solution, how: int, target: Target, tol: float) -> Explanation | None:
    """The solution with its line, as far as the values agree."""
    if how == 0:
        return accepted(row, Fitted(solution.theta, Transform(), 0.0), target, tol)
    with np.errstate(all="ignore"):
        v = row.model.values(FIT, solution.theta[None, :])[0]
    if not np.isfinite(v).all():
        return None
    around = Problem(FIT, target.fit, FREE).factors(v)
    a, b = (float(u) for u in solution.theta[-2:])
    fitted = Fitted(solution.theta, replace(around, a=a, b=b), 0.0)
    got = accepted(row, fitted, target, tol)
    if got is None:
        return None
    n = len(row.names)
    return plainest(got, fitted, (n, n + 1) if how == 1 else range(n + 2), FREE, target, tol)


def other_parameters(target: Target, tol: float, effort: int, known: Iterable[Explanation] = ()) -> Fits:
    """Entries that are the function with other parameters, by fitting; ``known`` need no more of it."""
    done = {e.name for e in known}

    def columns(row: Row) -> Sequence[int]:
        return range(len(row.names))

    starts = [s for s in plain().starts(target.fit) if s.row.name not in done]
    return _fitted(starts, Linear(), columns, target, tol, effort)


def rescaled(target: Target, tol: float, effort: int, with_parameters: bool) -> Fits:
    """Entries that are the function scaled and shifted, as published or with other parameters too."""
    y = signature(target.fit)
    if y is None:
        return Fits((), ())

    def columns(row: Row) -> Sequence[int]:
        p = len(row.names)
        return range(p + 2) if with_parameters else (p, p + 1)

    return _fitted(nearest(y, with_parameters), FREE, columns, target, tol, effort)


def _fitted(starts: Sequence[Start], linear: Linear, columns: Columns, target: Target, tol: float, effort: int) -> Fits:
    exact, near = [], []
    for row, fitted in _finished(starts, Problem(FIT, target.fit, linear), columns, effort):
        got = accepted(row, fitted, target, tol)
        if got is not None:
            exact.append(plainest(got, fitted, columns(row), linear, target, tol))
        else:
            near.append(_nearly(row, fitted, target))
    return Fits(tuple(exact), tuple(near))


def _finished(starts: Sequence[Start], problem: Problem, columns: Columns, effort: int) -> Iterable[tuple[Row, Fitted]]:
    """Fits from ``starts``: one step of each, three of the better half, and to the end those that converge."""
    done, (first, last, at_once, promise, slow) = 0, _EFFORT[effort]
    with np.errstate(all="ignore"):
        for lo in range(first, min(len(starts), last), at_once):
            group = starts[lo : lo + at_once]
            rough = [(s.row, Descent(s.row.model, problem, s.theta, columns(s.row)).run(1)) for s in group]
            rough.sort(key=lambda t: t[1].residual)
            promising = []
            for row, descent in rough[:promise]:
                before = descent.residual
                after = descent.alone().run(2).residual
                # The right entry converges, the like of it stay where they are.
                promising.append((not (after < 0.1 * before or after < _EXACT), after > _EXACT, after, row, descent))
            promising.sort(key=lambda t: (*t[:2], preference(t[3]) if not t[1] else (), t[2]))
            for k, (creeps, _, after, row, descent) in enumerate(promising):
                if done and after > 1e-4:
                    continue  # there is an explanation, and this is no other one
                if not (creeps and k >= slow):
                    descent.run(30)
                done += descent.residual < 10.0 * _EXACT
                yield row, descent.fitted()
                if done >= _ENOUGH:
                    return
            if done:
                return


def straight(target: Target, tol: float) -> Explanation | None:
    """A straight line as the scaled and shifted identity; many entries reach it in the limit, which says nothing."""
    how = Problem(FIT, target.fit, Linear(slope=True, shift=True)).factors(np.zeros_like(FIT))
    row = table().named["identity"]
    return accepted(row, Fitted(row.model.start, Transform(c=how.d, e=how.e), 0.0), target, tol)


def _nearly(row: Row, fitted: Fitted, target: Target) -> Explanation:
    """A fit that is not exact, with four digits of its numbers."""
    params = {k: float(f"{v:.4g}") for k, v in zip(row.names, fitted.theta)}
    how = Transform(**{k: float(f"{v:.4g}") for k, v in vars(fitted.how).items()})
    return Explanation(row, params, how, gap(target.check, row.model.at(CHECK, params, how)))

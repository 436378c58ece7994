"""The search for relations between all entries, and the count of distinct functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np

from ogive.derive.calculus import derivative
from ogive.derive.recognition.candidates import Row, Table, table
from ogive.derive.recognition.explanation import accepted, inside_interval, plainest
from ogive.derive.recognition.fit import Array, Descent, Fitted, Linear, Model, Problem, Transform
from ogive.derive.recognition.looks import plain
from ogive.derive.recognition.target import CHECK, FIT, NEAR, Target, gap, mismatch, mismatches
from ogive.derive.relations import Fact

NEAREST = 3  # that are told of every function
NEAR_GAP = 0.5  # and are no further away
_TOLERANCE = 1e-10  # stricter than the law
_SPECIAL = (0.0, 1.0, -1.0, 0.5, 2.0)  # values of parameters that publications single out
_COMBINATIONS = 256  # of special values tried on an entry
_FITTED = 64  # entries fitted to every function
_SECOND = np.concatenate([np.linspace(-30.0, 30.0, 1201), np.array([-75.5, -47.3, 44.9, 81.7])])


@dataclass(frozen=True)
class Count:
    """How many entries of one input there are, how many different functions they are at default parameters, and
    how many when a declared backward makes a difference too."""

    entries: int
    functions: int
    with_backward: int

    def __str__(self) -> str:
        return (f"{self.entries} entries of one input; {self.functions} numerically distinct functions at default "
                f"parameters, {self.with_backward} with the declared backwards told apart")  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


def distinct() -> Count:
    """Functions that differ by more than 1e-9 (relative to 1 + |y|) somewhere on a grid of |x| <= 101.

    Declared backwards are compared the same way, with each other and with the true derivatives.
    """
    t = table()
    groups: dict[int, list[Row]] = {}
    for i, row in enumerate(t.rows):
        groups.setdefault(t.first[i], []).append(row)
    total = 0
    for group in groups.values():
        if len(group) == 1 or all(r.act.backward is None for r in group):
            total += 1
            continue
        apart: list[Array] = []
        for row in group:
            with np.errstate(all="ignore"):
                slope = Model(derivative(row.act)).at(CHECK, {})
            if not apart or mismatches(slope, np.stack(apart)).min() > 1e-9:
                apart.append(slope)
        total += len(apart)
    return Count(len(t.rows), len(groups), total)


def search(progress: Callable[[str], None] = lambda text: None) -> Iterator[Fact]:
    """Every fact about the catalogue as it is now."""
    t = table()
    standing = [t.rows[i] for i in sorted(set(t.first))]
    for i, row in enumerate(t.rows):
        if t.first[i] != i:
            first = t.rows[t.first[i]]
            yield Fact(row.name, "same as", first.name, {}, gap(first.check, row.check))
    yield from _near(t, standing)
    found = _at_special_values(standing)
    progress(f"{len(found)} containments at special values of the parameters")
    fits = np.stack([r.model.at(FIT, {}) for r in standing])
    for k, row in enumerate(standing):
        if k % 50 == 0:
            progress(f"{k} of {len(standing)} functions fitted")
        _contained(row, fits[k], found, t)
    yield from found.values()


def _near(t: Table, standing: list[Row]) -> Iterator[Fact]:
    values = np.stack([r.check[: len(NEAR)] for r in standing])
    for k, row in enumerate(standing):
        with np.errstate(all="ignore"):
            far = np.nan_to_num(np.abs(values - values[k]).max(1), nan=np.inf)
        far[k] = np.inf
        for j in np.argsort(far)[:NEAREST]:
            if far[j] <= NEAR_GAP:
                yield Fact(row.name, "near", standing[j].name, {}, float(far[j]))


Found = dict[tuple[str, str], Fact]


def _at_special_values(standing: list[Row]) -> Found:
    """Entries that become others where their parameters are 0, 1, -1, 1/2, 2 or the defaults."""
    t, found = table(), Found()
    weighted = np.stack([r.model.at(FIT, {}) for r in standing])
    scale = 1e-9 * (1.0 + np.abs(weighted))
    for row in t.learned:
        combinations = _combinations(row)
        theta = np.concatenate([combinations, np.tile([1.0, 0.0], (len(combinations), 1))], 1)
        with np.errstate(all="ignore"):
            values = row.model.values(FIT, theta)
            for i, v in enumerate(values):
                for k in np.flatnonzero((np.abs(weighted - v) <= scale).all(1)):
                    fact = _fact(row, standing[k], Fitted(theta[i], Transform(), 0.0))
                    if fact is not None:
                        _keep(found, fact)
    return found


def _combinations(row: Row) -> Array:
    model = row.model
    choices = []
    for k, v in zip(model.names, model.defaults):
        p = row.act.params[k]
        choices.append([float(v), *(s for s in _SPECIAL if s != v and p.admits(s))])
    total = 1
    for i, c in enumerate(choices):  # with many parameters, only the defaults, 0 and 1 of the later ones
        total *= len(c)
        if total > _COMBINATIONS:
            choices[i] = c[:1] + [s for s in (0.0, 1.0) if s in c[1:]]
    combinations = list(product(*choices))
    combinations.sort(key=lambda c: sum(u != v for u, v in zip(c, model.defaults)))
    return np.array(combinations[: 4 * _COMBINATIONS])


def _contained(row: Row, y: Array, found: Found, t: Table) -> None:
    """Add the entries that fitting makes equal to ``row``."""
    target = Target(row.act)
    if not target.fittable:
        return
    problem = Problem(FIT, y, Linear())
    with np.errstate(all="ignore"):
        for start in plain().starts(y, _FITTED):
            other = start.row
            if other is row or (other.name, row.name) in found:
                continue
            free = range(len(other.model.names))
            descent = Descent(other.model, problem, start.theta, free).run(2)
            before = descent.residual
            if not (descent.alone().run(2).residual < 0.3 * before or descent.residual < 1e-9):
                continue
            fitted = descent.run(20).fitted()
            got = accepted(other, fitted, target, _TOLERANCE) if fitted.residual < 1e-10 else None
            if got is not None:
                got = plainest(got, fitted, free, Linear(), target, _TOLERANCE)
                theta = np.array([*(got.parameters.get(k, v) for k, v in other.act.defaults.items()
                                    if k in other.model.names), 1.0, 0.0])  # fmt: skip
                fact = _fact(other, row, Fitted(theta, Transform(), 0.0))
                if fact is not None:
                    _keep(found, fact)


def _keep(found: Found, fact: Fact) -> None:
    """The fact with fewest parameters changed."""
    old = found.get((fact.name, fact.other))
    if old is None or len(fact.parameters) < len(old.parameters):
        found[fact.name, fact.other] = fact


def _fact(row: Row, inside: Row, fitted: Fitted) -> Fact | None:
    """``row`` contains ``inside``, when it does on both grids; not at its own defaults, which is being the same."""
    params = {k: float(v) for k, v in zip(row.model.names, fitted.theta)}
    changed = {k: v for k, v in params.items() if v != row.act.defaults[k]}
    if not changed or row is inside or any(abs(v) > 1e4 for v in changed.values()):
        return None
    if not all(inside_interval(row.act.params[k], v) for k, v in changed.items()):
        return None
    with np.errstate(all="ignore"):
        y = row.model.at(CHECK, params)
        if mismatch(inside.check, y) > _TOLERANCE:
            return None
        if mismatch(inside.model.at(_SECOND, {}), row.model.at(_SECOND, params)) > _TOLERANCE:
            return None
    return Fact(row.name, "contains", inside.name, changed, gap(inside.check, y))

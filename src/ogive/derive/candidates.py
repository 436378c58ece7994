"""The catalogue prepared for recognition: every entry on the grids, plain and roughly scaled and shifted."""

from __future__ import annotations

from functools import cached_property, lru_cache
from itertools import pairwise, product

import numpy as np

from ogive.activation import Activation
from ogive.catalogue import entries
from ogive.derive.fit import Array, Model, Problem
from ogive.derive.target import CHECK, FIT
from ogive.errors import UnknownName
from ogive.expr import Expr, var
from ogive.references import reference

# Input scalings and shifts tried on every entry; halfway between two of them a fit still finds its way.
SCALES = (0.25, 0.4, 0.6, 0.8, 1.0, 1.3, 1.7, 2.2, 3.0, 4.5)
SHIFTS = (-3.0, -2.0, -1.25, -0.6, 0.0, 0.6, 1.25, 2.0, 3.0)
LOOKS = np.array([(s * a, b) for a, s, b in product(SCALES, (1.0, -1.0), SHIFTS)])


class Row:
    """One entry with its values on the grids, as published and under every rough scaling."""

    def __init__(self, act: Activation) -> None:
        self.act, self.name = act, str(act.name)
        self.model = Model(act)
        self.check = self.model.at(CHECK, {})

    @cached_property
    def looks(self) -> Array:
        """f(a x + b) on the fitting grid for every (a, b); rows of zeros where it has no value."""
        theta = np.concatenate([np.tile(self.model.defaults, (len(LOOKS), 1)), LOOKS], 1)
        v = self.model.values(FIT, theta)
        with np.errstate(invalid="ignore", over="ignore"):
            v[~(np.abs(v).max(1) < 1e30)] = 0.0
        return v

    @cached_property
    def jumps(self) -> tuple[float, ...]:
        """Where the value jumps."""

        def at(s: float) -> bool:
            h = 1e-9 * (1.0 + abs(s))
            left, right = self.model.at(np.array([s - h, s + h]), {})
            return bool(abs(right - left) > 1e-6 * (1.0 + abs(left)))

        return tuple(s for s in self.act.breakpoints() if at(s))

    @cached_property
    def pattern(self) -> Expr:
        """The formula with its parameters as metavariables that match constants."""
        return self.act.expr.substitute({k: var("#" + k) for k in self.model.names})

    @cached_property
    def year(self) -> int:
        """Of the oldest source."""
        years = []
        for key in self.act.cite:
            try:
                years.append(reference(key).year or 9999)
            except UnknownName:
                years.append(9999)
        return min(years, default=9999)


@lru_cache(maxsize=1)
def table() -> tuple[Row, ...]:
    """Every entry of one input."""
    return tuple(Row(act) for act in entries().values() if len(act.inputs) == 1)


def ranked(problem: Problem, jumps: Array) -> list[tuple[Row, Array]]:
    """Entries by how well their best rough scaling fits, each with its three best."""
    scored = []
    for row in table():
        if row.act.same_as is not None and not row.model.names:
            continue  # as published it is another entry
        share = _shares(problem, row.looks)
        best = np.argsort(-share)[:3]
        score, looks = float(share[best[0]]), LOOKS[best]
        if len(jumps):
            aligned = _aligned(row, jumps)
            if not len(aligned):
                continue  # a continuous entry does not jump
            theta = np.concatenate([np.tile(row.model.defaults, (len(aligned), 1)), aligned], 1)
            share = _shares(problem, row.model.values(problem.x, theta))
            best = np.argsort(-share)[:4]
            score, looks = float(share[best[0]]), aligned[best]
        scored.append((score, row, looks))
    scored.sort(key=lambda t: -t[0])
    return [(row, looks) for _, row, looks in scored]


def _shares(problem: Problem, v: Array) -> Array:
    """How much of the function's square each row explains."""
    v = np.where(np.isfinite(v), v, 0.0)
    inner = v @ (problem.rest * problem.weight)
    across = v @ (problem.q * problem.weight[:, None])
    norm = (v * v) @ (problem.weight**2) - (across * across).sum(1)
    return np.asarray(inner * inner / np.where(norm > 1e-12, norm, np.inf))


def _aligned(row: Row, jumps: Array) -> Array:
    """Scalings and shifts (a, b) that put a jump of the entry on a jump of the function; with two jumps each,
    those that match both."""
    own = row.jumps[:8]
    found = [(a * sign, s - a * sign * t) for s in own for t in jumps[:8] for a in SCALES for sign in (1.0, -1.0)]
    for t, u in pairwise(jumps):
        for p, q in pairwise(own):
            a = (q - p) / (u - t)
            found += [(a, p - a * t), (-a, q + a * t)]
    return np.array(found).reshape(-1, 2)

"""The catalogue prepared for recognition: every entry as a function of x, its parameters, a scaling and a shift,
with its values on the checking grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product

import numpy as np

from ogive.activation import Activation
from ogive.catalogue import entries
from ogive.derive.fit import Array, Model
from ogive.derive.structure import filed
from ogive.derive.target import CHECK, mismatches
from ogive.expr import Expr, var
from ogive.ops import OPS
from ogive.references import references

_TRIES = 4  # sets of parameters at which jumps are looked for
SAME = 1e-9  # entries closer than this, relative to 1 + |y|, are one function


class Row:
    """One entry with its values on the checking grid, as published."""

    def __init__(self, act: Activation) -> None:
        self.act, self.name = act, str(act.name)
        self.model = Model(act)
        with np.errstate(all="ignore"):
            self.check = self.model.at(CHECK, {})
        self.year = _year(act)

    @cached_property
    def numbered(self) -> Expr:
        """The formula with its parameters named by their order."""
        return self.act.expr.substitute({k: var(f"#{i}") for i, k in enumerate(self.model.names)})

    @cached_property
    def base(self) -> Array:
        """Parameters at which the value jumps, if it does anywhere: the defaults, or else some others."""
        if self.model.names and any(n.args and OPS[n.op].facts.breaks for n in self.act.expr.walk()):
            for params in draws(self.model, _TRIES):
                if self.jumps_at(params):
                    return params
        return self.model.defaults

    @cached_property
    def jumps(self) -> tuple[float, ...]:
        """Where the value jumps, at ``base``."""
        return self.jumps_at(self.base)

    def jumps_at(self, params: Array) -> tuple[float, ...]:
        """Where the value jumps at these parameters."""
        settled = dict(zip(self.model.names, map(float, params)))
        at = np.array(self.act.breakpoints(**settled))
        if not len(at):
            return ()
        h = 1e-9 * (1.0 + np.abs(at))
        y = self.model.at(np.concatenate([at - h, at + h]), settled)
        left, right = y[: len(at)], y[len(at) :]
        return tuple(map(float, at[np.abs(right - left) > 1e-6 * (1.0 + np.abs(left))]))

    @cached_property
    def moves(self) -> Array:
        """How far each jump moves when a parameter does: (jumps, parameters); 0 where jumps come and go."""
        found = np.zeros((len(self.jumps), len(self.model.names)))
        for i, v in enumerate(self.base):
            other = self.base.copy()
            h = 1e-3 * (1.0 + abs(v))
            other[i] = v + h if v + h <= self.model.high[i] else v - h
            there = self.jumps_at(other)
            if len(there) == len(self.jumps):
                found[:, i] = (np.array(there) - np.array(self.jumps)) / (other[i] - v)
        return found


def _year(act: Activation) -> int:
    """Of the oldest source."""
    years = []
    for key in act.cite:
        known = references().get(key)
        years.append(known.year or 9999 if known else 9999)
    return min(years, default=9999)


def draws(model: Model, n: int) -> Array:
    """``n`` sets of parameters, the defaults first: one moved, then all at random, inside the constraints."""
    found, p = [model.defaults], len(model.names)
    if p:
        low, high = model.low[:-2], model.high[:-2]
        plain = [(0.5, 2.0, -1.0) if v else (1.0, -0.5, 0.5) for v in model.defaults]
        for k in range(3):
            for i, v in enumerate(model.defaults):
                other = model.defaults.copy()
                other[i] = plain[i][k] * v if v else plain[i][k]
                found.append(other)
        for v in product((0.0, 1.0), repeat=min(p, 3)):  # published special cases
            found.append(np.array([*v, *model.defaults[3:]]))
        chance = np.random.default_rng(7)
        while len(found) < n:
            factor = np.exp(chance.uniform(-1.1, 1.1, p)) * np.where(chance.random(p) < 0.15, -1.0, 1.0)
            found.append(np.where(model.defaults == 0.0, chance.uniform(-1.0, 1.0, p), model.defaults * factor))
        found = list(np.unique(np.clip(np.array(found), low, high), axis=0))
        found.sort(key=lambda d: not np.array_equal(d, model.defaults))
    return np.array(found[:n]).reshape(len(found[:n]), p)


@dataclass(frozen=True)
class Table:
    """Every entry of one input. ``first`` says for each row the row that is the same function as published and
    stands for it: the one that is not declared a copy, of fewest parameters, oldest."""

    rows: tuple[Row, ...]
    check: Array
    first: tuple[int, ...]

    @cached_property
    def named(self) -> dict[str, Row]:
        return {r.name: r for r in self.rows}

    @cached_property
    def jumping(self) -> tuple[Row, ...]:
        """Rows with a jump that stand for themselves or have parameters."""
        return tuple(r for i, r in enumerate(self.rows) if (self.first[i] == i or r.model.names) and r.jumps)

    @cached_property
    def written_alike(self) -> dict[Expr, list[Row]]:
        """Rows with parameters by their formula, the parameters numbered: swish and acon_a are one formula."""
        found: dict[Expr, list[Row]] = {}
        for r in self.learned:
            found.setdefault(r.numbered, []).append(r)
        return found

    @cached_property
    def shaped(self) -> dict[tuple[int, str], list[tuple[Row, frozenset[str]]]]:
        """Rows by what may vary (parameters, a scaling and shift, both) and the shape of their formula, each with
        the places of its coefficients."""
        found: dict[tuple[int, str], list[tuple[Row, frozenset[str]]]] = {}
        for i, r in enumerate(self.rows):
            if self.first[i] == i or r.names:
                for how, (shape, places) in enumerate(self.filed[i]):
                    if shape:
                        found.setdefault((how, shape), []).append((r, frozenset(places)))
        return found

    @cached_property
    def learned(self) -> tuple[Row, ...]:
        """Rows with parameters."""
        return tuple(r for r in self.rows if r.model.names)


@lru_cache(maxsize=1)
def table() -> Table:
    """The catalogue, prepared at first use."""
    rows = tuple(Row(act) for act in entries().values() if len(act.inputs) == 1)
    check = np.stack([r.check for r in rows])
    order = sorted(range(len(rows)), key=lambda i: preference(rows[i]))
    first = list(range(len(rows)))
    standing: list[int] = []
    for i in order:
        if standing:
            near = mismatches(check[i], check[standing])
            best = int(near.argmin())
            if near[best] <= SAME:
                first[i] = standing[best]
                continue
        standing.append(i)
    return Table(rows, check, tuple(first))


def preference(row: Row) -> tuple[bool, int, int, str]:
    """Which of several entries that are one function to name first."""
    return (row.act.same_as is not None, len(row.act.params), row.year, row.name)

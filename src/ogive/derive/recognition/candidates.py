"""The catalogue prepared for recognition: every entry as a function of x, its parameters, a scaling and a shift,
with its values on the checking grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ogive.activation import Activation
from ogive.catalogue import entries
from ogive.derive.kept import Arrays, digest, kept, text, value
from ogive.derive.recognition.fit import Array, Model
from ogive.derive.recognition.structure import filed
from ogive.derive.recognition.target import CHECK, mismatches
from ogive.expr import Expr, var
from ogive.ops import OPS
from ogive.references import references

_TRIES = 4  # sets of parameters at which jumps are looked for
SAME = 1e-9  # entries closer than this, relative to 1 + |y|, are one function


class Row:
    """One entry with its values on the checking grid, as published."""

    def __init__(self, act: Activation, check: Array | None = None) -> None:
        self.act, self.name = act, str(act.name)
        self._check = check

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Parameters of the value."""
        free = self.act.expr.variables()
        return tuple(k for k in self.act.defaults if k in free)

    @cached_property
    def model(self) -> Model:
        return Model(self.act)

    @cached_property
    def check(self) -> Array:
        if self._check is not None:
            return self._check
        with np.errstate(all="ignore"):
            return self.model.at(CHECK, {})

    @cached_property
    def year(self) -> int:
        return _year(self.act)

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

    @property
    def jumping(self) -> tuple[list[float], list[float], list[list[float]]]:
        """Base, jumps and moves, to be kept."""
        return self.base.tolist(), list(self.jumps), self.moves.tolist()

    def told(self, jumping: Any) -> None:
        """Take what was kept of :attr:`jumping`; None for an entry that does not jump."""
        if jumping is None:
            self.__dict__["jumps"] = ()
        else:
            base, jumps, moves = jumping
            self.__dict__.update(base=np.array(base), jumps=tuple(jumps),
                                 moves=np.array(moves).reshape(len(jumps), len(base)))  # fmt: skip

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


def _made_from(acts: Sequence[Activation]) -> str:
    """A digest of the formulas of the catalogue, of the code that looks at them, and of what computes."""
    here = Path(__file__).parent
    code = [(here / f"{name}.py").read_text() for name in
            ("candidates", "fit", "looks", "normal", "normal_forms", "structure", "target")]  # fmt: skip
    entries = [f"{a.name}|{a.written}|{a.same_as}|{a.inputs}|"
               + ";".join(f"{k}={p.default},{p.low},{p.high},{p.closed}" for k, p in a.params.items())
               for a in acts]  # fmt: skip
    return digest([*code, *entries, *(f"{a.name}{_year(a)}" for a in acts), torch.__version__, np.__version__])


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
    filed: Sequence[Any]
    key: str

    @cached_property
    def named(self) -> dict[str, Row]:
        return {r.name: r for r in self.rows}

    @cached_property
    def jumping(self) -> tuple[Row, ...]:
        """Rows with a jump that stand for themselves or have parameters."""
        rows = [r for i, r in enumerate(self.rows) if self.first[i] == i or r.names]
        known = kept("jumps", self.key, lambda: {"jumps": text({r.name: r.jumping for r in rows if r.jumps})})
        told = value(known["jumps"])
        for r in rows:
            r.told(told.get(r.name))
        return tuple(r for r in rows if r.name in told)

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
        return tuple(r for r in self.rows if r.names)


@lru_cache(maxsize=1)
def table() -> Table:
    """The catalogue, prepared at first use; values and shapes are kept on disk."""
    acts = [act for act in entries().values() if len(act.inputs) == 1]
    key = _made_from(acts)
    known = kept("entries", key, lambda: _prepared(acts))
    rows = tuple(Row(act, check) for act, check in zip(acts, known["check"]))
    return Table(rows, known["check"], tuple(map(int, known["first"])), value(known["filed"]), key)


def _prepared(acts: Sequence[Activation]) -> Arrays:
    rows = [Row(act) for act in acts]
    check = np.stack([r.check for r in rows])
    order = sorted(range(len(rows)), key=lambda i: preference(rows[i]))
    first = list(range(len(rows)))
    standing: list[int] = []
    few = np.ascontiguousarray(check[:, ::17])
    for i in order:
        with np.errstate(all="ignore"):  # most are ruled out at a few points; where one has no value, none are
            apart = (np.abs(few[i] - few[standing]) > 1e-6 * (1.0 + np.abs(few[i]))).any(1)
        close = [j for j, far in zip(standing, apart) if not far]
        if close:
            near = mismatches(check[i], check[close])
            best = int(near.argmin())
            if near[best] <= SAME:
                first[i] = close[best]
                continue
        standing.append(i)
    return {"check": check, "first": np.array(first), "filed": text([filed(a) for a in acts])}


def preference(row: Row) -> tuple[bool, int, int, str]:
    """Which of several entries that are one function to name first."""
    return (row.act.same_as is not None, len(row.act.params), row.year, row.name)

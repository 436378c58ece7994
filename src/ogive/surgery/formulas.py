"""Formulas of followed tensors: what a nonlinearity is called, and what of it is only a scale."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import nn

from ogive import catalogue
from ogive.activation import Activation
from ogive.breaks import affine
from ogive.errors import ParameterError
from ogive.expr import Expr, const, value_of, var

X = var("x")


class Operand(NamedTuple):
    """A parameter or a buffer inside a formula: its mean, its mean square, whether it is learned, its name."""

    mean: float
    square: float
    learned: bool
    name: str
    size: int


class Line(NamedTuple):
    """``a x + b`` with the mean squares of a and b."""

    factor: float
    offset: float
    learned: bool
    scale_name: str


def line(expr: Expr, operands: Mapping[str, Operand]) -> Line | None:
    """The scale and shift that ``expr`` is, or None for a nonlinear one."""
    parts = affine(expr, "x")
    if parts is None:
        return None
    # of one vector the mean square is exact; of a product of vectors it is that of independent ones
    roots = {k: const(o.square**0.5) for k, o in operands.items()}
    squares = [_number(p.substitute(roots)) ** 2 for p in parts]
    used = parts[0].variables()
    names = [o.name for k, o in operands.items() if k in used and o.learned]
    return Line(squares[0], squares[1], any(operands[k].learned for k in expr.variables() if k in operands),
                names[0] if len(names) == 1 else "")  # fmt: skip


def _number(expr: Expr) -> float:
    known = value_of(expr)
    if known is not None:
        return float(known)
    return float(Activation(expr + 0.0 * X)(torch.zeros((), dtype=torch.float64)))


def nonlinearity(expr: Expr, operands: Mapping[str, Operand]) -> tuple[Activation, str, str]:
    """The activation that ``expr`` is with every operand at its mean, what to call it, and a note."""
    used = {k: o for k, o in operands.items() if k in expr.variables()}
    fixed = expr.substitute({k: const(o.mean) for k, o in used.items()})
    act = _activation(fixed)
    spread = [o for o in used.values() if o.size > 1 and o.square - o.mean**2 > 1e-12 * max(o.square, 1e-30)]
    note = f"the mean of {spread[0].size} values of {spread[0].name}" if spread else ""
    entry = known().get(act.expr)
    return (act if entry is None else entry), "" if entry is None else str(entry.name), note


@lru_cache(maxsize=1024)
def _activation(expr: Expr) -> Activation:
    return Activation(expr)  # the same object for the same formula: moments are kept by object


@lru_cache(maxsize=1)
def known() -> Mapping[Expr, Activation]:
    """Catalogue entries by formula, where no two mean the same: the one with the fewest parameters."""
    found: dict[Expr, Activation] = {}
    for entry in sorted(catalogue.entries().values(), key=lambda e: (e.same_as is not None, len(e.params))):
        if len(entry.inputs) == 1 and entry.backward is None:
            expr = entry.fixed().expr.substitute({entry.inputs[0]: X})
            found.setdefault(expr, entry)
    return found


def carries_formula(module: nn.Module) -> bool:
    """Whether a module says itself which activation it computes (``ogive.Act`` and what is made of it)."""
    return isinstance(getattr(type(module), "activation", None), property) and isinstance(
        getattr(module, "entry", None), Activation
    )


def formula_of(module: Any) -> tuple[Activation, str]:
    """The activation that such a module computes now, and a note where it is several."""
    try:
        return module.activation, ""
    except ParameterError:  # learned per channel: one function each, here the one of the mean
        means = {k: float(torch.as_tensor(module._current(k)).mean()) for k in module.entry.params}
        return module.entry.with_params(**means), "the mean of several learned values"


def inputs_of(act: Activation) -> dict[str, Expr]:
    """What to put for the names in the formula of ``act``: x and the numbers of its parameters."""
    return {act.inputs[0]: X, **{k: const(v) for k, v in act.defaults.items()}}

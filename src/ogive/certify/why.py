"""Why a computation is wrong at one input: the first operation that loses the value, found by running the formula
as written next to exact arithmetic."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.derive.exact import Oracle
from ogive.diff import differentiate
from ogive.errors import OgiveError
from ogive.expr import Expr
from ogive.ops import OPS

_SHOWN = 60


def why(act: Activation, order: int, x: float, dtype: torch.dtype, got: float) -> str:
    """One or two sentences on where ``f`` (or its derivative of ``order``), computed step by step in ``dtype`` as the
    formula is written, loses its value at ``x`` and ends in ``got``; empty where step by step it does not."""
    expr = act.fixed().written
    for _ in range(order):
        expr = differentiate(expr, act.inputs[0])
    what = ("f", "f'", "f''")[order]
    lost = not math.isfinite(got)
    untaken = _untaken(act, x, dtype) if order and lost else ""
    if untaken:
        return f"{what} at x = {x:.6g}: {untaken}"
    steps = [n for n in expr.walk() if n.op not in ("const", "var")]
    rough = _in(dtype, expr, x, act.inputs[0])
    exact = {n: _exact(n, act.inputs[0], x) for n in steps}
    eps = torch.finfo(dtype).eps
    for n in steps:
        here, want = rough.get(n), exact[n]
        if here is None or want is None or n.op in ("gt", "ge"):
            continue
        inputs = ", ".join(f"{_short(a)} = {_of(rough, a)}" for a in n.args if a.op not in ("const", "var"))
        place = f"{what} at x = {x:.6g}: {_short(n)}" + (f" with {inputs}" if inputs else "")
        if math.isnan(here) and not math.isnan(want):
            return f"{place} is not a number ({_cause(n, rough)})"
        if math.isinf(here) and abs(want) < torch.finfo(dtype).max:
            return f"{place} overflows to {here}, its exact value is {want:.6g}"
        if lost or math.isinf(here):
            continue  # too large for the dtype; what uses it may still survive
        error = abs(here - want) / abs(want) if want else float(here != 0.0)
        carried = max((_relative(rough.get(a), exact.get(a)) for a in n.args), default=0.0)
        if error > 64 * eps and error > 16 * carried and n.op in ("add", "sub"):
            return f"{place} cancels: {here:.9g} for {want:.9g}, an error of {error:.1e} of the value"
    return ""


def _untaken(act: Activation, x: float, dtype: torch.dtype) -> str:
    """Whether a branch not taken at ``x`` has a slope that is not finite, which code multiplies by zero."""
    expr, name = act.fixed().written, act.inputs[0]
    rough = _in(dtype, expr, x, name)
    for n in expr.walk():
        if n.op != "where":
            continue
        off = n.args[2] if rough.get(n) == rough.get(n.args[1]) else n.args[1]
        slopes = _in(dtype, differentiate(off, name), x, name).values()
        if not all(map(math.isfinite, slopes)):
            return (f"the branch not taken, {_short(off)}, has a slope that is not finite there, and "
                    "backward multiplies it by zero")  # fmt: skip
    return ""


def _cause(n: Expr, rough: dict[Expr, float]) -> str:
    values = [rough[a] for a in n.args if a in rough]
    if n.op == "div":
        return "infinity over infinity" if any(map(math.isinf, values)) else "zero over zero"
    if n.op == "mul":
        return "infinity times zero"
    if n.op in ("add", "sub"):
        return "infinity minus infinity"
    return "outside the domain of " + n.op


def _relative(got: float | None, want: float | None) -> float:
    if got is None or want is None or not want or not math.isfinite(got):
        return 0.0
    return abs(got - want) / abs(want)


def _short(n: Expr) -> str:
    text = str(n)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _of(rough: dict[Expr, float], a: Expr) -> str:
    return f"{rough[a]:.6g}" if a in rough else "?"


def _in(dtype: torch.dtype, expr: Expr, x: float, name: str) -> dict[Expr, float]:
    """The value of every node in ``dtype``, each operation by itself as torch computes it there."""
    value: dict[Expr, Any] = {}
    for n in expr.walk():
        if n.op == "const":
            value[n] = torch.tensor(float(n.data), dtype=dtype)  # type: ignore[arg-type]
        elif n.op == "var":
            value[n] = torch.tensor(x if n.data == name else 0.7, dtype=dtype)
        else:
            extra = () if n.data is None else (int(n.data),)
            value[n] = OPS[n.op].torch(*(value[a] for a in n.args), *extra)
    return {n: float(v) for n, v in value.items() if isinstance(v, Tensor) and v.dtype == dtype}


def _exact(n: Expr, name: str, x: float) -> float | None:
    if not n.variables():
        return None
    try:
        return float(Oracle(Activation(n, (name,)), 0, bits=64)(x)[0])
    except (OgiveError, ArithmeticError, ValueError, AttributeError, TypeError):
        return None

"""A formula evaluated in twice double precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.derive.calculus import derivative
from ogive.derive.solving import precise
from ogive.derive.solving.double_double import Wide, magnitude, pick, wide
from ogive.expr import Expr
from ogive.kernels import apply


def _power(a: Wide, b: Wide) -> Wide:
    exponent = b.hi
    if exponent.numel() == 1 and float(b.lo.sum()) == 0.0 and float(exponent).is_integer() and abs(exponent) <= 64:
        n = int(exponent)
        total, base = wide(torch.ones_like(a.hi)), a
        for bit in reversed(bin(abs(n))[2:]):
            total = total * base if bit == "1" else total
            base = precise.square(base)
        return total if n >= 0 else 1.0 / total
    size = precise.exp(precise.log(magnitude(a)) * b)
    zero = wide(torch.zeros_like(size.hi))
    size = pick((a.hi == 0) & (exponent > 0), zero, size)
    odd = torch.remainder(exponent, 2.0) == 1.0
    whole = torch.round(exponent) == exponent
    value = pick((a.hi < 0) & odd, -size, size)
    nothing = wide(torch.full_like(size.hi, float("nan")))
    return pick((a.hi < 0) & ~whole, nothing, value)


def _xlogy(a: Wide, b: Wide) -> Wide:
    return pick(a.hi == 0, wide(torch.zeros_like(a.hi + b.hi)), a * precise.log(b))


def _floor(a: Wide) -> Wide:
    low = torch.floor(a.hi)
    return wide(torch.where((low == a.hi) & (a.lo < 0), low - 1.0, low))


def _round(a: Wide) -> Wide:
    near = torch.round(a.hi)
    tie = torch.abs(a.hi - near) == 0.5
    up = torch.where(a.lo > 0, torch.ceil(a.hi), torch.floor(a.hi))
    return wide(torch.where(tie & (a.lo != 0), up, near))


def _sign(a: Wide) -> Wide:
    return wide(torch.sign(a.hi))


_RULES: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "div": lambda a, b: a / b,
    "neg": lambda a: -a, "pow": _power, "xlogy": _xlogy, "abs": magnitude, "sign": _sign, "floor": _floor,
    "round": _round, "gt": lambda a, b: b.below(a), "ge": lambda a, b: ~a.below(b),
    "maximum": lambda a, b: pick(b.below(a), a, b), "minimum": lambda a, b: pick(a.below(b), a, b), "where": pick,
}  # fmt: skip


def value(expr: Expr, known: Mapping[str, Tensor | float]) -> Wide:
    """``expr`` on float64 tensors, as two doubles: to about 2**-72, less what the formula itself cancels.

    >>> from ogive.parse import parse
    >>> y = value(parse("exp(x)"), {"x": torch.tensor([1.0], dtype=torch.float64)})
    >>> float(y.hi), f"{float(y.lo):.10e}"  # e = 2.718281828459045 + 1.4456468917292501578...e-16
    (2.718281828459045, '1.4456468917e-16')
    """
    like = next(v for v in known.values() if isinstance(v, Tensor))
    found: dict[Expr, Any] = {}
    for n in expr.walk():
        if n.op == "const":
            found[n] = wide(torch.tensor(float(n.data), dtype=torch.float64, device=like.device))  # type: ignore[arg-type]
        elif n.op == "var":
            given = known[str(n.data)]
            found[n] = wide(torch.as_tensor(given, dtype=torch.float64, device=like.device))
        else:
            rule = _RULES.get(n.op) or getattr(precise, n.op)
            extra = () if n.data is None else (int(n.data),)
            found[n] = rule(*(found[a] for a in n.args), *extra)
    got: Wide = found[expr]
    return Wide(got.hi.expand_as(like), got.lo.expand_as(like))


class Sharp:
    """One function at fixed parameters: in doubles, its true slope, and in twice double precision."""

    def __init__(self, act: Activation) -> None:
        # the tree with its parameters as they are: folded into numbers they would round on the way
        self.expr, self.numbers = act.expr, act.defaults
        self.act = replace(act.fixed(), backward=None)
        self.slope_of = derivative(self.act)
        self.name = self.act.inputs[0]

    def value(self, x: Tensor) -> Tensor:
        """f(x) in doubles."""
        y: Tensor = apply(self.act.form, torch.float64, (x,))
        return y

    def slope(self, x: Tensor) -> Tensor:
        """f'(x) in doubles."""
        y: Tensor = apply(self.slope_of.form, torch.float64, (x,))
        return y

    def wide(self, x: Tensor) -> Wide:
        """f(x) as two doubles; as one where an intermediate result overflows or is lost."""
        y = value(self.expr, {self.name: x, **self.numbers})
        plain = self.value(x)
        lost = ~torch.isfinite(y.hi) | (torch.abs(plain) < 1e-290)
        return pick(lost, wide(plain), y)

"""Gradients of an equation's solution: of ``f(x, p) = y``, dx/dy = 1/f' and dx/dp = -f_p/f'."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.derive.calculus import derivative
from ogive.diff import differentiate

if TYPE_CHECKING:
    from ogive.derive.inverse import Inverse


def _partials(act: Activation) -> tuple[Activation, dict[str, Activation]]:
    true = replace(act, backward=None)
    by: dict[str, Activation] = {}
    for k in act.params:
        expr = differentiate(true.expr, k)
        free = expr.variables()
        by[k] = replace(true, written=expr, params={n: p for n, p in act.params.items() if n in free},
                        name=None, aliases=(), same_as=None)  # fmt: skip
    return derivative(true), by


def _at(act: Activation, x: Tensor, given: dict[str, Any]) -> Tensor:
    value: Tensor = act(x, **{k: v for k, v in given.items() if k in act.params})
    return value


class Implicit(torch.autograd.Function):
    """The solution x of ``f(x, *parameters) = y``; what it saves is x, so that every derivative is one of formulas."""

    @staticmethod
    def forward(inverse: Inverse, y: Tensor, *params: Any) -> Tensor:
        return inverse.solve(y)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        inverse, _, *params = inputs
        ctx.inverse = inverse
        ctx.numbers = tuple(None if isinstance(p, Tensor) else p for p in params)
        kept = (output, *(p for p in params if isinstance(p, Tensor)))
        ctx.save_for_backward(*kept)
        ctx.save_for_forward(*kept)

    @staticmethod
    def _given(ctx: Any) -> tuple[Tensor, dict[str, Any]]:
        x, *rest = ctx.saved_tensors
        saved = iter(rest)
        names = ctx.inverse.params
        return x, {k: next(saved) if n is None else n for k, n in zip(names, ctx.numbers)}

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        g = grads[0]
        x, given = Implicit._given(ctx)
        slope, by = _partials(ctx.inverse.activation)
        # at the ends of the domain f' can be zero; no gradient is then none
        part = torch.where(g == 0, g, g / _at(slope, x, given))
        out: list[Tensor | None] = [None, part if ctx.needs_input_grad[1] else None]
        for i, (k, value) in enumerate(given.items()):
            if isinstance(value, Tensor) and ctx.needs_input_grad[i + 2]:
                total = -(part * _at(by[k], x, given)).sum()
                out.append(total.to(value.dtype).reshape(value.shape))
            else:
                out.append(None)
        return tuple(out)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        x, given = Implicit._given(ctx)
        slope, by = _partials(ctx.inverse.activation)
        total = torch.zeros_like(x) if tangents[1] is None else tangents[1]
        for k, t in zip(given, tangents[2:]):
            if isinstance(t, Tensor):
                total = total - _at(by[k], x, given) * t
        return total / _at(slope, x, given)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], inverse: Inverse, y: Tensor, *params: Any) -> tuple[Tensor, int]:
        # elementwise: the batch comes along as one more dimension; parameters are single values
        if in_dims[1] is not None:
            y = y.movedim(in_dims[1], 0)
        return Implicit.apply(inverse, y, *params), 0

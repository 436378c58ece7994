"""Gates of the two halves of one tensor, without cutting it: what a fused gate-and-up projection gives."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ogive.kernels import gate, native, saving
from ogive.kernels.eager import Form, apply, evaluate


class Halves(torch.autograd.Function):
    """A gate of the two halves of one tensor along its last dimension; keeps that tensor, and backward writes
    one gradient of its size."""

    @staticmethod
    def forward(ctx: Any, whole: Tensor, form: Form, numbers: tuple[float, ...], flip: bool) -> Tensor:
        ctx.save_for_backward(whole)
        ctx.form, ctx.numbers, ctx.flip = form, numbers, flip
        x, y = _cut(whole, flip)
        made = gate.run(form, numbers, x, y, None)
        return made[0] if made is not None else evaluate(form, whole.dtype, False, (x, y, *numbers))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        (whole,) = ctx.saved_tensors
        form, numbers = ctx.form, ctx.numbers
        if not torch.is_grad_enabled():
            grad = torch.empty_like(whole)
            x, y = _cut(whole, ctx.flip)
            if gate.run(form, numbers, x, y, g, _cut(grad, ctx.flip)) is not None:
                return grad, None, None, None
        x, y = _cut(whole, ctx.flip)
        parts = [apply(form.vjp(i), whole.dtype, (x, y, *numbers, g)) for i in (0, 1)]
        return torch.cat(parts[::-1] if ctx.flip else parts, dim=-1), None, None, None


def _cut(whole: Tensor, flip: bool) -> tuple[Tensor, Tensor]:
    first, second = whole.chunk(2, -1)
    return (second, first) if flip else (first, second)


def halves(form: Form, whole: Tensor, numbers: tuple[float, ...], flip: bool) -> Tensor | None:
    """``form(first half, second half)`` of ``whole`` along its last dimension (``flip`` swaps them), or None where
    cutting and the general way have to do."""
    usual = (
        native.plain(whole)
        and whole.is_contiguous()
        and not torch._C._len_torch_dispatch_stack()
        and not torch._C._are_functorch_transforms_active()
        and torch.autograd.forward_ad._current_level < 0
        and gate.factor(form) is not None
    )
    if saving.in_use or not usual or native.runtime() is None:
        return None
    result: Tensor = Halves.apply(whole, form, numbers, flip)
    return result

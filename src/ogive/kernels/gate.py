"""Gates f(x) y whose f is fitted: the value in one pass, both gradients in one pass, on halves of one tensor too."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ogive.kernels import native, saving
from ogive.kernels.eager import Form, apply, evaluate

_CODE = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}


@lru_cache(maxsize=1024)
def factor(form: Form) -> Form | None:
    """The Form of f when ``form`` is f(x) y, the second input a plain factor; else None."""
    if len(form.names) < 2 or form.surrogate is not None or form.expr.op != "mul":
        return None
    second = form.names[1]
    for part, other in (form.expr.args, form.expr.args[::-1]):
        if part.op == "var" and part.data == second and second not in other.variables():
            names = (form.names[0], *form.names[2:])
            return Form(other, names, form.defaults[1:])
    return None


def _rows(t: Tensor, shape: torch.Size) -> int | None:
    """The distance between rows of ``t``, whose last dimension must be dense and the others regular."""
    if t.shape != shape or t.stride(-1) != 1:
        return None
    if t.is_contiguous():
        return int(shape[-1])
    apart = t.stride(-2) if t.dim() > 1 else int(shape[-1])
    for i in range(t.dim() - 2):
        if shape[i] != 1 and t.stride(i) != t.stride(i + 1) * shape[i + 1]:
            return None
    return int(apart)


def run(form: Form, numbers: tuple[float, ...], x: Tensor, y: Tensor, g: Tensor | None,
        into: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, ...] | None:  # fmt: skip
    """The value of gate ``form`` (``g`` None) or both its gradients, into ``into`` when given; None when there is
    no kernel for it."""
    f = factor(form)
    runtime = native.runtime()
    dtype = x.dtype
    if f is None or runtime is None or dtype not in _CODE or not x.dim() or not x.numel():
        return None
    if any(t is not None and (t.dtype != dtype or not native.plain(t)) for t in (y, g)) or not native.plain(x):
        return None
    value, slope = native.plan(f, numbers, dtype), None
    if value is None or value.kind != "fit":
        return None
    if g is not None:
        product = f.vjp(0).slope
        slope = native.plan(product, numbers, dtype) if product is not None else None
        if slope is None or slope.kind != "fit":
            return None
        g = g if g.is_contiguous() else g.contiguous()
    if into is None:
        into = (torch.empty(x.shape, dtype=dtype), torch.empty(x.shape if g is not None else 0, dtype=dtype))
    apart = [_rows(t, x.shape) if t is not None else 0 for t in (x, y, g, into[0], into[1] if g is not None else None)]
    known = [a for a in apart if a is not None]
    if len(known) < len(apart):
        return None
    columns, rows = x.shape[-1], x.numel() // x.shape[-1]
    if all(a in (0, columns) for a in known):
        rows, columns = 1, x.numel()
    threads = 1 if x.numel() < native.PARALLEL else torch.get_num_threads()
    distances = (ctypes.c_long * 5)(*known)
    args = (
        value.data, slope.data if slope is not None else None, _CODE[dtype], x.data_ptr(), y.data_ptr(),
        g.data_ptr() if g is not None else None, into[0].data_ptr(), into[1].data_ptr(), distances, rows, columns,
        threads,
    )  # fmt: skip
    if runtime.gate(*args):
        if not value.serve_rare() or (slope is not None and not slope.serve_rare()):
            return None
        runtime.gate(*args)
    return into if g is not None else into[:1]


class Halves(torch.autograd.Function):
    """A gate of the two halves of one tensor along its last dimension; keeps that tensor, and backward writes
    one gradient of its size."""

    @staticmethod
    def forward(ctx: Any, whole: Tensor, form: Form, numbers: tuple[float, ...], flip: bool) -> Tensor:
        ctx.save_for_backward(whole)
        ctx.form, ctx.numbers, ctx.flip = form, numbers, flip
        x, y = _cut(whole, flip)
        made = run(form, numbers, x, y, None)
        return made[0] if made is not None else evaluate(form, whole.dtype, False, (x, y, *numbers))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        (whole,) = ctx.saved_tensors
        form, numbers = ctx.form, ctx.numbers
        if not torch.is_grad_enabled():
            grad = torch.empty_like(whole)
            x, y = _cut(whole, ctx.flip)
            if run(form, numbers, x, y, g, _cut(grad, ctx.flip)) is not None:
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
        and factor(form) is not None
    )
    if saving.in_use or not usual or native.runtime() is None:
        return None
    result: Tensor = Halves.apply(whole, form, numbers, flip)
    return result

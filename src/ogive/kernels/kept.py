"""Activations that keep less than their input: few-bit codes, or the output and one bit."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ogive.errors import InputError, OgiveError
from ogive.kernels.eager import Form, evaluate
from ogive.kernels.fewbit import Code, Density, optimal
from ogive.kernels.outputs16 import Slopes16, slopes16
from ogive.kernels.outputs32 import Slopes32, slopes32
from ogive.kernels.packing import (
    DTYPES,
    as_before,
    layout,
    line_up,
    native,
    pack_counted,
    pack_looked_up,
    pointer,
    scale,
    spread,
    threads,
)
from ogive.kernels.published import PUBLISHED
from ogive.kernels.saving import Policy

Plan = Code | Slopes16 | Slopes32


@lru_cache(maxsize=1024)
def plan(policy: Policy, form: Form, numbers: tuple[float, ...], dtype: torch.dtype) -> Plan | str:
    """What to keep of a function of one input, or why the policy does not suit it."""
    if dtype not in DTYPES:
        return f"there is no code for {dtype}"
    if policy.name == "y+bit":
        if dtype == torch.float64:
            return "float64 is for checks, which want the derivative exactly"
        table = slopes32(form, numbers) if dtype == torch.float32 else slopes16(form, numbers, dtype)
        return table if isinstance(table, str) else table.why_not or table
    try:
        if policy.name == "bits":
            return optimal(form, numbers, policy.bits, Density(policy.sigma, policy.sample))
        return PUBLISHED[policy.name](form, numbers)
    except InputError as problem:
        return str(problem)


def plan_for(policy: Policy, form: Form, dtype: torch.dtype, args: Sequence[Tensor | float]) -> Plan | str:
    """:func:`plan` for the arguments of a call."""
    x, *numbers = args
    if any(isinstance(v, Tensor) for v in numbers):
        return "it has a second input or a parameter that is a tensor, whose gradient needs x"
    if not isinstance(x, Tensor) or type(x) not in (Tensor, torch.nn.Parameter) or x.dtype != dtype:
        return f"its input is a {type(x).__name__}"
    return plan(policy, form, tuple(float(v) for v in numbers), dtype)


def run(found: Plan, form: Form, dtype: torch.dtype, args: Sequence[Tensor | float]) -> Tensor:
    """The value of ``form``; backward keeps what the plan says."""
    function = Coded if isinstance(found, Code) else FromOutput
    result: Tensor = function.apply(found, form, dtype, *args)
    return result


def _first_derivative(form: Form, kind: str) -> None:
    """Refuse to build a graph of the gradient: what was kept does not determine its derivative."""
    if torch.is_grad_enabled():
        raise OgiveError(
            f"a gradient that can be differentiated again (create_graph=True) was asked for through {form.expr}, "
            f"but {kind} was kept in place of its input; compute this part under ogive.saving('x')"
        )


def _batched(g: Tensor) -> bool:
    """Whether g has no memory of its own: a batch of gradients inside vmap."""
    inside = torch._C._functorch
    return type(g) is not Tensor or inside.is_functorch_wrapped_tensor(g) or inside.is_legacy_batchedtensor(g)


def _times(g: Tensor, form: torch.memory_format, shape: torch.Size, multiply: Any) -> Tensor:
    """``multiply`` on the elements of g in order; of a batch of gradients on ones, and g times that."""
    if _batched(g):
        return g * _times(torch.ones(shape, dtype=g.dtype, device=g.device), form, shape, multiply)
    dense, flat = line_up(g, form)
    return as_before(multiply(flat), dense)


class Coded(torch.autograd.Function):
    """Keeps the packed code of every element; backward multiplies by the level of the code."""

    @staticmethod
    def forward(ctx: Any, code: Code, form: Form, dtype: torch.dtype, *args: Any) -> Tensor:
        x = args[0]
        y = evaluate(form, dtype, False, args)
        ctx.code, ctx.form, ctx.layout, ctx.shape = code, form, layout(x), x.shape
        ctx.save_for_backward(pack_counted(line_up(x, ctx.layout)[1], code.borders, code.bits))
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (packed,), code = ctx.saved_tensors, ctx.code
        g: Tensor = grads[0]

        def multiply(flat: Tensor) -> Tensor:
            wide = torch.float64 if flat.dtype == torch.float64 else torch.float32
            return scale(flat, packed, code.bits, _levels(code, wide, flat.device))

        _first_derivative(ctx.form, f"a code of {code.bits} bit(s)")
        result = _times(g, ctx.layout, ctx.shape, multiply)
        return (None, None, None, result, *(None,) * (len(ctx.needs_input_grad) - 4))


@lru_cache(maxsize=1024)
def _levels(code: Code, dtype: torch.dtype, device: torch.device) -> Tensor:
    return code.table(dtype, device)


class FromOutput(torch.autograd.Function):
    """Keeps the output, which is the tensor that the next layer keeps, and the bit of the branch if one is
    needed; backward multiplies by the slope found from them."""

    @staticmethod
    def forward(ctx: Any, table: Slopes16 | Slopes32, form: Form, dtype: torch.dtype, *args: Any) -> Tensor:
        y = evaluate(form, dtype, False, args)
        ctx.table, ctx.form, ctx.layout = table, form, layout(y)
        if table.bits:
            ctx.save_for_backward(y, _branch_bits(table, line_up(args[0], ctx.layout)[1]))
        else:
            ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        y, *rest = ctx.saved_tensors
        packed = rest[0] if rest else None
        g: Tensor = grads[0]

        def multiply(flat: Tensor) -> Tensor:
            return _rebuild(ctx.table, flat, line_up(y.detach(), ctx.layout)[1], packed)

        _first_derivative(ctx.form, "the output and one bit" if rest else "the output")
        result = _times(g, ctx.layout, y.shape, multiply)
        return (None, None, None, result, *(None,) * (len(ctx.needs_input_grad) - 4))


def _branch_bits(table: Slopes16 | Slopes32, x: Tensor) -> Tensor:
    if isinstance(table, Slopes32):
        return pack_counted(x, table.cuts, 1, table.on(x.device).code)
    bit = table.on(x.device)[1]
    assert bit is not None
    return pack_looked_up(x, bit, 1)


def _rebuild(table: Slopes16 | Slopes32, g: Tensor, y: Tensor, packed: Tensor | None) -> Tensor:
    """The gradient times the slope, rounded once to its dtype; all one-dimensional."""
    n, lib = g.numel(), native(g)
    if isinstance(table, Slopes32):
        if lib is None:
            return g * table.slope(y, 0 if packed is None else spread(packed, n, 1))
        out = torch.empty_like(g)
        lib.ogive_rebuild_f32(pointer(g), pointer(y), pointer(packed), ctypes.c_int64(n), pointer(table.start),
                              pointer(table.low), pointer(table.anchor), pointer(table.first), pointer(table.cells),
                              pointer(table.base), pointer(table.cubic), pointer(out), threads(n))  # fmt: skip
        return out
    slope = table.on(g.device)[0]
    if lib is None:
        at = y.view(torch.int16).long() & 0xFFFF
        at = at if packed is None else at | (spread(packed, n, 1) << 16)
        return (g.float() * slope[at]).to(g.dtype)
    out = torch.empty_like(g)
    run = lib.ogive_rebuild_bf16 if g.dtype == torch.bfloat16 else lib.ogive_rebuild_f16
    run(pointer(g), pointer(y), pointer(packed), ctypes.c_int64(n), pointer(slope), pointer(out), threads(n))
    return out

"""Execution without generated code: one autograd Function for every formula and every derivative of it.

A :class:`Form` is a formula over named inputs. Its vector-Jacobian product is again a Form (the upstream
gradient times a partial derivative), so backward, double backward and forward mode are the same few lines.
Only the inputs are saved. Arithmetic is float64 and rounds once to the result's dtype: a composite of
correctly rounded float32 steps cannot stay within two units in the last place, one in float64 does, and
16-bit results come out correctly rounded. Formulas whose every path rounds at most once (relu, leaky_relu,
abs) are computed in the dtype itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

from ogive.diff import differentiate
from ogive.errors import InputError
from ogive.expr import Expr, var
from ogive.kernels import compiled, saving, several
from ogive.kernels.headroom import prepared
from ogive.kernels.program import Program, compile_program, number
from ogive.ops import OPS

Value = Tensor | float


def _narrow(expr: Expr, data: str) -> bool:
    """Whether the dtype of the data is accurate enough: no path rounds more than once, and no comparison
    involves a number that a 16-bit dtype would move."""
    depth: dict[Expr, int] = {}
    for n in expr.walk():
        if (n.op == "var" and n.data != data) or (n.op == "const" and not float(n.data).is_integer()):  # type: ignore[arg-type]
            depth[n] = 1  # a parameter, or a constant that may round on the way in
        else:
            depth[n] = max((depth[a] for a in n.args), default=0) + (OPS[n.op].facts.rounds if n.args else 0)
        if n.args and OPS[n.op].facts.breaks and any(depth[a] for a in n.args):
            return False
        if n.op == "const" and abs(float(n.data)) > 128:  # type: ignore[arg-type]
            return False
    return depth[expr] <= 1


@dataclass(frozen=True)
class Form:
    """``expr`` over ``names`` (data first, then parameters); ``surrogate`` replaces the derivative by the
    first input; ``defaults`` are typical values of all inputs but the first. A ``derived`` Form need not turn
    a NaN input into a NaN: a gradient mask is 0 there, as torch's is."""

    expr: Expr
    names: tuple[str, ...]
    defaults: tuple[float, ...]
    surrogate: Expr | None = None
    derived: bool = False
    slope: Form | None = field(default=None, compare=False)  # of a product with a gradient: the other factor

    @cached_property
    def program(self) -> Program:
        program = compile_program(self.expr, self.names, self.defaults)
        return replace(program, propagate_nan=False) if self.derived else program

    @cached_property
    def narrow(self) -> bool:
        """Whether the input's own dtype is accurate enough."""
        return _narrow(self.expr, self.names[0])

    @cached_property
    def canonical(self) -> Form:
        """The form to run in float32, where every operation rounds; derivatives are taken of the stable one."""
        return replace(self, expr=prepared(self.expr, self.names, self.defaults))

    def vjp(self, i: int) -> Form:
        """The Form of (upstream gradient) * d expr / d names[i]; the gradient is the last input."""
        return _vjp(self, i)

    @cached_property
    def depends(self) -> tuple[bool, ...]:
        """Which inputs a gradient flows to."""
        free = self.expr.variables()
        return tuple(n in free or (i == 0 and self.surrogate is not None) for i, n in enumerate(self.names))


@lru_cache(maxsize=8192)
def _vjp(form: Form, i: int) -> Form:
    partial = form.surrogate if i == 0 and form.surrogate is not None else differentiate(form.expr, form.names[i])
    g = f"g{len(form.names)}'"  # a name no formula can contain
    slope = Form(partial, form.names, form.defaults, derived=True)
    return Form(var(g) * partial, (*form.names, g), (*form.defaults, 1.0), derived=True, slope=slope)


def _widest(like: Tensor, fast: bool) -> torch.dtype:
    if like.dtype == torch.float64:
        return torch.float64
    return torch.float32 if fast or like.device.type == "mps" else torch.float64  # Apple's GPUs have no float64


def evaluate(form: Form, dtype: torch.dtype, fast: bool, args: Sequence[Value], out: Tensor | None = None) -> Tensor:
    """The value of ``form`` rounded once to ``dtype``; no gradient. ``out`` receives it."""
    if not fast:
        found = compiled.evaluate(form, dtype, args, out)
        if found is not None:
            return found
    y = _composite(form, dtype, fast, args)
    return y if out is None else out.copy_(y)


def _composite(form: Form, dtype: torch.dtype, fast: bool, args: Sequence[Value]) -> Tensor:
    form = form.canonical if fast else form
    tensors = [a for a in args if isinstance(a, Tensor)]
    like = next((t for t in tensors if t.dim()), tensors[0])
    if not fast and like.is_cuda:
        from ogive.kernels import triton

        if triton.runs(form, tensors):
            return triton.run(form, dtype, args)
    if form.narrow and all(t.dtype == dtype for t in tensors if t.dim()):
        wide = dtype
    else:
        wide = torch.float64 if dtype == torch.float64 else _widest(like, fast)
    if not fast and wide != dtype and _blockwise(tensors, like):
        return _in_blocks(form, dtype, wide, like, args)
    return _whole(form, dtype, wide, like, args)


def _whole(form: Form, dtype: torch.dtype, wide: torch.dtype, like: Tensor, args: Sequence[Value]) -> Tensor:
    ready = [a.to(wide) if isinstance(a, Tensor) else number(a, wide, like.device) for a in args]
    y = form.program.run(ready, wide, dtype)
    shape = _broadcast(ready)
    if y.shape != shape:  # the formula ignores an input
        y = y.expand(shape).contiguous()
    elif any(y is t for t in ready):
        y = y.clone()  # the identity must not return its input
    return y.to(dtype)


def _broadcast(tensors: Sequence[Tensor]) -> torch.Size:
    """The common shape. torch.broadcast_shapes would import sympy for it; torch has already refused shapes
    that do not fit when this is asked."""
    shapes = sorted((t.shape for t in tensors), key=len)
    common = list(shapes[-1])
    for shape in shapes[:-1]:
        for i, size in enumerate(reversed(shape), 1):
            if common[-i] == 1:
                common[-i] = size
    return torch.Size(common)


# A large tensor goes through the program in pieces whose float64 temporaries stay in the second-level cache.
# CPU time at 1e6 float32 elements, one thread, whole tensor against pieces of 65,536: silu 8.9 and 3.4 ms forward,
# 57 and 14 ms with backward; mish 46 and 14 ms, 109 and 36 ms. Smaller pieces pay more for the calls.
BLOCK = 65_536


def _blockwise(tensors: list[Tensor], like: Tensor) -> bool:
    if like.device.type != "cpu" or like.numel() < 2 * BLOCK or not _dense(like):
        return False
    if any(type(t) not in (Tensor, torch.nn.Parameter) or torch._C._functorch.is_functorch_wrapped_tensor(t)
           for t in tensors):  # fmt: skip
        return False
    return all(t.dim() == 0 or (t.shape == like.shape and t.stride() == like.stride()) for t in tensors)


def _dense(t: Tensor) -> bool:
    return (
        t.is_contiguous()
        or (t.dim() == 4 and t.is_contiguous(memory_format=torch.channels_last))
        or (t.dim() == 5 and t.is_contiguous(memory_format=torch.channels_last_3d))
    )


def _in_blocks(form: Form, dtype: torch.dtype, wide: torch.dtype, like: Tensor, args: Sequence[Value]) -> Tensor:
    out = torch.empty_like(like, dtype=dtype)  # keeps the memory format
    n = like.numel()
    flat = [a.as_strided((n,), (1,)) if isinstance(a, Tensor) and a.dim() else a for a in args]
    target = out.as_strided((n,), (1,))
    size = BLOCK * torch.get_num_threads()
    for start in range(0, n, size):
        piece = [a[start : start + size] if isinstance(a, Tensor) and a.dim() else a for a in flat]
        target[start : start + size] = _whole(form, dtype, wide, target, piece)
    return out


def _args(ctx: Any) -> list[Value]:
    saved = iter(ctx.saved_tensors)
    return [next(saved) if n is None else n for n in ctx.numbers]


def _keep(ctx: Any, form: Form, dtype: torch.dtype, fast: bool, args: Sequence[Value]) -> None:
    """What the derivatives need: the tensors that came in, nothing else."""
    ctx.form, ctx.dtype, ctx.fast = form, dtype, fast
    tensors = [a for a in args if isinstance(a, Tensor)]
    ctx.numbers = tuple(None if isinstance(a, Tensor) else a for a in args)
    ctx.save_for_backward(*tensors)
    ctx.save_for_forward(*tensors)
    ctx.set_materialize_grads(False)


def _together(form: Form, args: list[Value], g: Tensor, wanted: list[int]) -> dict[int, Tensor] | None:
    """The gradients of several inputs in one pass over the elements, where a kernel does that."""
    made = several.gradients(form, args, g, wanted)
    if made is None and g.is_cuda:
        from ogive.kernels import triton

        if triton.runs(form, [a for a in (*args, g) if isinstance(a, Tensor)]):
            made = triton.gradients(form, tuple(wanted), args, g)
    if made is None:
        return None
    like = [args[i] for i in wanted]
    return {i: p.sum_to_size(a.shape).to(a.dtype) for i, p, a in zip(wanted, made, like) if isinstance(a, Tensor)}


class Elementwise(torch.autograd.Function):
    """:func:`evaluate` with derivatives of every order; saves the tensors it was given and nothing else."""

    @staticmethod
    def forward(ctx: Any, form: Form, dtype: torch.dtype, fast: bool, *args: Value) -> Tensor:
        _keep(ctx, form, dtype, fast, args)
        return evaluate(form, dtype, fast, args)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        g = grads[0]
        args = _args(ctx)
        out: list[Tensor | None] = [None, None, None]
        needs = ctx.needs_input_grad[3:]
        wanted = [i for i, a in enumerate(args) if isinstance(a, Tensor) and needs[i] and ctx.form.depends[i]]
        if g is not None and wanted not in ([], [0]) and not ctx.fast and not torch.is_grad_enabled():
            together = _together(ctx.form, args, g, wanted)
            if together is not None:
                return (*out, *(together.get(i) for i in range(len(args))))
        for i, a in enumerate(args):
            if g is None or not isinstance(a, Tensor) or not ctx.needs_input_grad[i + 3] or not ctx.form.depends[i]:
                out.append(None)
            elif a.shape == g.shape:
                out.append(apply(ctx.form.vjp(i), a.dtype, (*args, g), ctx.fast))
            else:  # a parameter: the sum runs in the widest dtype and rounds once
                product = apply(ctx.form.vjp(i), _widest(g, ctx.fast), (*args, g), ctx.fast)
                out.append(product.sum_to_size(a.shape).to(a.dtype))
        return tuple(out)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        args = _args(ctx)
        total: Tensor | None = None
        for i, t in enumerate(tangents[3:]):
            if isinstance(t, Tensor) and ctx.form.depends[i]:
                term = apply(ctx.form.vjp(i), ctx.dtype, (*args, t), ctx.fast)
                total = term if total is None else total + term
        if total is None:
            tensors = [a for a in args if isinstance(a, Tensor)]
            total = torch.zeros(_broadcast(tensors), dtype=ctx.dtype, device=tensors[0].device)
        return total


class Transformable(Elementwise):
    """:class:`Elementwise` for function transforms (vmap, grad, jvp). A Function with a separate context
    costs 25 us more a call, because torch binds its signature anew each time."""

    @staticmethod
    def forward(form: Form, dtype: torch.dtype, fast: bool, *args: Value) -> Tensor:  # type: ignore[override]
        return evaluate(form, dtype, fast, args)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        form, dtype, fast, *args = inputs
        _keep(ctx, form, dtype, fast, args)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], form: Form, dtype: torch.dtype, fast: bool, *args: Value
    ) -> tuple[Tensor, int]:
        # Elementwise with broadcasting: bring the batch to the front and line up the trailing dimensions.
        dims = in_dims[3:]
        rank = max(a.dim() - (d is not None) for a, d in zip(args, dims) if isinstance(a, Tensor))
        lined: list[Value] = []
        for a, d in zip(args, dims):
            if isinstance(a, Tensor) and d is not None:
                a = a.movedim(d, 0)
                a = a.reshape(a.shape[0], *(1,) * (rank - a.dim() + 1), *a.shape[1:])
            lined.append(a)
        return apply(form, dtype, lined, fast), 0


def apply(form: Form, dtype: torch.dtype, args: Sequence[Value], fast: bool = False) -> Tensor:
    """``form`` on ``args`` (tensors or numbers), differentiable to any order; ``fast`` trades the exact
    rounding for arithmetic in the dtype that a graph compiler fuses."""
    if saving.in_use:
        kept = saving.apply(form, dtype, args, fast)
        if kept is not None:
            return kept
    function = Transformable if torch._C._are_functorch_transforms_active() else Elementwise
    return function.apply(form, dtype, fast, *args)


_SPARSE = (torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)


def result_dtype(name: str, inputs: Sequence[Any]) -> torch.dtype:
    """The promoted dtype of the data inputs, which must be real floating tensors."""
    for x in inputs:
        if not isinstance(x, Tensor):
            raise InputError(f"{name} takes tensors; got {type(x).__name__} {x!r}"[:200])
        if not x.is_floating_point():
            raise InputError(f"{name} takes floating-point tensors; got {x.dtype}; convert with x.float()")
        if x.layout in _SPARSE:
            raise InputError(f"{name} takes dense tensors; got {str(x.layout)[6:]}; convert with x.to_dense()")
        if x.device != inputs[0].device and x.dim() and inputs[0].dim():
            raise InputError(f"{name}: its inputs are on {inputs[0].device} and {x.device}; bring them together")
    dtype = inputs[0].dtype
    for x in inputs[1:]:
        dtype = torch.promote_types(dtype, x.dtype)
    return dtype

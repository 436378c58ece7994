"""Generated Triton kernels on a GPU: one pass forward, one pass backward, for any formula (extra ``cuda``).

Flat over storage order, 16 bytes per thread and tensor, float32 arithmetic, no tuning runs. The kernel is a
module of generated text (:mod:`ogive.kernels.triton_text`) that never touches the disk; Triton keeps compiled
binaries in its own cache. Triton is imported when the first kernel runs, never by ``import ogive``.
"""

from __future__ import annotations

import hashlib
import importlib.abc
import importlib.util
import linecache
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from types import CodeType
from typing import Any

import torch
from torch import Tensor

from ogive.errors import InputError
from ogive.kernels.canonical import canonical_all
from ogive.kernels.eager import Form, Value
from ogive.kernels.headroom import prepared, within_range
from ogive.kernels.program import Program, compile_program, number
from ogive.kernels.triton_text import Layout, source

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
WARPS = 4
# 128 threads with 16 bytes each per tensor: PTX has one 128-bit load per tensor at these sizes, 2 x 128 for the
# wider of two dtypes; 256 elements gave scalar loads.
BLOCK = {2: 1024, 4: 512, 8: 512}


@lru_cache(maxsize=1)
def available() -> bool:
    """Whether Triton is installed."""
    return importlib.util.find_spec("triton") is not None


def runs(form: Form, tensors: Sequence[Tensor]) -> bool:
    """Whether :func:`run` may be called: plain CUDA tensors of one device, and Triton installed."""
    if not tensors or not available() or torch._C._len_torch_dispatch_stack():
        return False
    like = next((t for t in tensors if t.dim()), tensors[0])
    return like.is_cuda and all(
        type(t) in (Tensor, torch.nn.Parameter)
        and t.dtype in DTYPES
        and t.layout == torch.strided
        and (t.device == like.device or t.dim() == 0)
        and not torch._C._functorch.is_functorch_wrapped_tensor(t)
        for t in tensors
    )


@lru_cache(maxsize=8192)
def _program(form: Form) -> Program:
    program = compile_program(prepared(form.expr, form.names, form.defaults), form.names, form.defaults)
    return replace(program, propagate_nan=False) if form.derived else program


@lru_cache(maxsize=8192)
def _gradient_programs(form: Form, wanted: tuple[int, ...]) -> tuple[Program, ...]:
    forms = [form.vjp(i) for i in wanted]
    names, defaults = forms[0].names, forms[0].defaults
    positive = tuple(n for n, v in zip(names[1:], defaults) if v > 0.0)
    shared = canonical_all(tuple(f.expr for f in forms))
    return tuple(
        replace(compile_program(within_range(e, names[:1], positive), names, defaults), propagate_nan=False)
        for e in shared
    )


def run(form: Form, dtype: torch.dtype, args: Sequence[Value]) -> Tensor:
    """The value of ``form`` in ``dtype``; no gradient. Tensors broadcast; the memory format is the first's."""
    return launch((_program(form),), (dtype,), args)[0]


def gradients(form: Form, wanted: tuple[int, ...], args: Sequence[Value], upstream: Tensor) -> list[Tensor]:
    """``upstream`` times the partial derivatives by ``args[i]`` for i in ``wanted``, in one pass: both gradients
    of a gate read x, y and g once. Each has the broadcast shape and the dtype of its argument."""
    dtypes = tuple(a.dtype if isinstance(a, Tensor) else upstream.dtype for a in (args[i] for i in wanted))
    return launch(_gradient_programs(form, wanted), dtypes, (*args, upstream))


def launch(
    programs: tuple[Program, ...], dtypes: tuple[torch.dtype, ...], args: Sequence[Value], exact: bool | None = None
) -> list[Tensor]:
    """Every program on the same ``args``, one output each, in one kernel; ``exact`` (default: what the dtypes of
    the outputs need) asks for all digits of float32."""
    tensors = [a for a in args if isinstance(a, Tensor)]
    like = next((t for t in tensors if t.dim()), tensors[0])
    shape = _common(tensors)
    strides = _strides(tensors, shape)
    outs = [torch.empty_strided(shape, strides, dtype=d, device=like.device) for d in dtypes]
    n = outs[0].numel()
    if n == 0:
        return outs
    kinds, ready, channels = [], [], []
    for a in args:
        kind, tensor, where = _input(a, shape, strides, like)
        kinds.append(kind)
        ready.append(tensor)
        channels += where
    double = torch.float64 in dtypes
    if exact is None:
        exact = any(d in (torch.float32, torch.float64) for d in dtypes)
    kernel = _kernel(source(programs, Layout(tuple(kinds), double, exact)))
    widest = max(t.element_size() for t in (*outs, *(r for r, k in zip(ready, kinds) if k == "data")))
    block = BLOCK[widest]
    # A multiple of 16 elements lets Triton keep 128-bit accesses under the mask; the few left go separately.
    whole = n - n % 16
    with torch.cuda.device_of(like):
        for start, end in ((0, whole), (whole, n)):
            if end > start:
                grid = (-(-(end - start) // block),)
                kernel[grid](*outs, *ready, *channels, start, end,
                             BLOCK=block, WIDE=n >= 2**31 - block, num_warps=WARPS)  # fmt: skip
    return outs


def _common(tensors: Sequence[Tensor]) -> torch.Size:
    # torch.broadcast_shapes imports sympy, one second, on its first call
    lengths: dict[int, int] = {}
    for t in tensors:
        for i, extent in enumerate(reversed(t.shape)):
            known = lengths.get(i, 1)
            if extent != 1 and known not in (1, extent):
                raise InputError(f"the inputs have shapes {[tuple(t.shape) for t in tensors]}, which do not broadcast")
            lengths[i] = known if extent == 1 else extent
    return torch.Size(lengths[i] for i in reversed(range(len(lengths))))


def dense(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether the elements fill their storage without gap or overlap, in any order of the dimensions."""
    size = 1
    for stride, extent in sorted((s, e) for s, e in zip(strides, shape) if e != 1):
        if stride != size:
            return False
        size *= extent
    return True


def _strides(tensors: Sequence[Tensor], shape: torch.Size) -> tuple[int, ...]:
    """The layout of the result: that of the first full tensor whose elements fill their storage."""
    for t in tensors:
        if t.shape == shape and dense(shape, t.stride()):
            return t.stride()
    return torch.empty(shape, device="meta").stride()


def _input(a: Value, shape: torch.Size, strides: tuple[int, ...], like: Tensor) -> tuple[str, Tensor, list[int]]:
    """How the kernel reads ``a``: its kind, the tensor, and for one value per channel the distance and number."""
    if not isinstance(a, Tensor):
        return "scalar", number(a, torch.float64, like.device), []
    if a.numel() == 1 and len(shape) and torch.Size(shape).numel() != 1:
        return "scalar", a.to(like.device), []
    if a.shape != shape:
        lined = (1,) * (len(shape) - a.dim()) + tuple(a.shape)
        long = [d for d, extent in enumerate(lined) if extent != 1]
        if len(long) == 1:  # along one dimension: the index is the offset over that dimension's stride
            d = long[0]
            return "channel", a.reshape(-1).contiguous(), [strides[d], shape[d]]
        a = a.expand(shape)
    if a.stride() != strides and not (a.dim() == 0 or a.numel() == 1):
        a = torch.empty_strided(shape, strides, dtype=a.dtype, device=a.device).copy_(a)
    return "data", a, []


class _Text(importlib.abc.InspectLoader):
    """A module made of generated text, kept where tracebacks and Triton look for source lines."""

    def __init__(self, name: str, text: str) -> None:
        self.path, self.text = f"<{name}>", text
        linecache.cache[self.path] = (len(text), None, text.splitlines(keepends=True), self.path)

    def get_source(self, fullname: str) -> str:
        return self.text

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.text, self.path)


@lru_cache(maxsize=8192)
def _kernel(text: str) -> Any:
    name = f"ogive-kernel-{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    loader = _Text(name, text)
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module.kernel

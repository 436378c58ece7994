"""Compiled execution on the CPU: which kernel runs a Form, and the few lines that call it.

A function of one tensor whose other inputs are numbers has, for each dtype, one plan: plain arithmetic of a few
operations is generated as it is; anything else in float32 and in sixteen bits is a fitted polynomial (see
:mod:`ogive.kernels.fit`), or a table where sixteen bits cannot be fitted; double precision is generated. Its
derivative is a plan of its own, run with the upstream gradient as a factor. Everything else (learned
parameters, gates, higher derivatives) is generated, all wanted results in one pass.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ogive.kernels import build
from ogive.kernels.emit import NAMES, Layout, cost, kernel_text, printable
from ogive.kernels.fit import Fit, fit
from ogive.kernels.program import Program

if TYPE_CHECKING:
    from ogive.kernels.eager import Form

CHEAP = 7  # vector operations that a fit of any degree costs at least
PARALLEL = 65_536  # elements from which the threads of torch share the work
_STREAM = 4_000_000  # float32 elements whose traffic exceeds the last-level cache: stores go past it
_PLAIN = (Tensor, torch.nn.Parameter)

_P, _I, _L, _D = ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_double


class _Runtime:
    """The functions of runtime.c."""

    def __init__(self) -> None:
        self.library = build.library((build.SOURCES / "runtime.c").read_text(), "runtime", openmp=_openmp())
        self.unary = self.library.og_unary
        self.unary.restype, self.unary.argtypes = _D, [_P, _P, _P, _P, _P, _P, _I, _I, _L, _I]
        self.launch = self.library.og_launch
        self.launch.restype = _D
        self.launch.argtypes = [_P, _P, _I, _P, _P, _P, _I, _P, _P, _I, _P, _L, _I]
        self.channels = self.library.og_channels
        self.channels.restype = None
        self.channels.argtypes = [_P, _I, _P, _P, _P, _I, _I, _P, _P, _I, _P, _L, _L, _L, _I]

        self.gate = self.library.og_gate
        self.gate.restype, self.gate.argtypes = _L, [_P, _P, _I, _P, _P, _P, _P, _P, _P, _L, _L, _I]

    def __getitem__(self, name: str) -> int:
        return int(ctypes.cast(getattr(self.library, name), _P).value or 0)


def _openmp() -> bool:
    return torch.backends.openmp.is_available()


@lru_cache(maxsize=1)
def _load() -> _Runtime | None:
    try:
        return _Runtime()
    except build.NoCompiler as problem:
        build.tell_once(str(problem))
        return None


_enabled = True
_runtime: _Runtime | None = None


def runtime() -> _Runtime | None:
    """The loaded runtime, or None without a compiler (said once) or when switched off."""
    global _runtime
    if _runtime is None and _enabled:
        _runtime = _load()
    return _runtime if _enabled else None


def enable(on: bool) -> bool:
    """Switch compiled kernels on or off for this process; returns what was set before."""
    global _enabled
    before, _enabled = _enabled, on
    return before


@lru_cache(maxsize=4096)
def generated(programs: tuple[Program, ...], layout: Layout) -> int | None:
    """The address of the compiled kernel, or None when there is none: no C for a primitive, or (said once) no
    compiler."""
    if not all(map(printable, programs)):
        return None
    try:
        library = build.library(kernel_text(programs, layout))
    except build.NoCompiler as problem:
        build.tell_once(str(problem))
        return None
    _kept.append(library)
    return int(ctypes.cast(library.og_run, _P).value or 0)


_kept: list[ctypes.CDLL] = []  # a library that is collected would be unmapped


def plain(t: Tensor) -> bool:
    """Whether a kernel may read the memory of ``t``."""
    return (
        type(t) in _PLAIN
        and t.is_cpu
        and t.dtype in NAMES
        and t.layout is torch.strided
        and not t.is_neg()
        and not torch._C._functorch.is_functorch_wrapped_tensor(t)
        and not torch._C._functorch.is_legacy_batchedtensor(t)
    )


def dense(t: Tensor) -> bool:
    """Whether the elements of ``t`` fill one stretch of memory in some order of its dimensions."""
    if t.is_contiguous():
        return True
    if t.dim() == 4:
        return t.is_contiguous(memory_format=torch.channels_last)
    return t.dim() == 5 and t.is_contiguous(memory_format=torch.channels_last_3d)


# ---- functions of one tensor ------------------------------------------------------------------------------


class Unary:
    """The plan for one function of one tensor in one dtype. ``kernel(times)`` and ``data(times)`` say what to
    call: of the function alone, or times a second tensor."""

    def __init__(self, form: Form, numbers: tuple[float, ...], dtype: torch.dtype, run: _Runtime) -> None:
        self.form, self.numbers, self.dtype = form, numbers, dtype
        self.name, self.size = NAMES[dtype], dtype.itemsize
        self.scalars = (_D * max(1, len(numbers)))(*numbers)
        self.fit: Fit | None = None
        self.kind = "generated"
        self.slope: Unary | None = None  # the plan of the derivative, once it is asked for
        self._times: int | None = None
        narrow = form.narrow and not any(form.program.far) and dtype != torch.float64
        weight = cost(form.program)
        # gcc turns halves into floats by a dozen integer operations, the fit's loop by one instruction
        if dtype == torch.float16 or (dtype != torch.float64 and weight * (1 if narrow else 2) > CHEAP):
            self.fit = self._fitted(run)
            self.kind = "fit" if self.fit is not None else "table" if self.size == 2 else "generated"
        self.narrow = narrow
        if self.kind == "fit":
            self.value: int | None = run[f"og_fit_{self.name}"]
            self._times = run[f"og_fit_times_{self.name}"]
            self.stream = run["og_fit_stream_f32"] if self.size == 4 else None
            self.data = ctypes.addressof(self.fit)  # type: ignore[arg-type]
            self.data_times = self.data
        elif self.kind == "table":
            exact = self._exact()
            self.rounded, self.wide = exact.to(dtype), exact.float()
            self.value, self._times = run["og_table"], run[f"og_table_times_{self.name}"]
            self.stream = None
            self.data, self.data_times = self.rounded.data_ptr(), self.wide.data_ptr()
        else:
            self.value = generated((form.program,), self._layout(1))
            self.stream, self.data, self.data_times = None, 0, 0

    def _layout(self, arrays: int) -> Layout:
        names = (self.name, *("" for _ in self.numbers), *(self.name for _ in range(arrays - 1)))
        return Layout(names, (self.name,), self.narrow)

    def times(self, product: Form) -> int | None:
        """The kernel of ``product``, this function times a second tensor."""
        if self._times is None:
            self._times = generated((product.program,), self._layout(2))
        return self._times

    def function(self, x: np.ndarray) -> np.ndarray:
        """The formula in float64."""
        t = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float64))
        return np.asarray(self._wide(t).numpy())

    def _wide(self, t: Tensor) -> Tensor:
        fixed = [torch.tensor(v, dtype=torch.float64) for v in self.numbers]
        return self.form.program.run([t, *fixed], torch.float64, self.dtype).expand_as(t)

    def _exact(self) -> Tensor:
        codes = torch.arange(65_536, dtype=torch.int32).to(torch.int16).view(self.dtype)
        return self._wide(codes.double())

    def _fitted(self, run: _Runtime) -> Fit | None:
        kernel = run[f"og_fit_{self.name}"]
        if self.size == 2:
            self.wide = self._exact().float().contiguous()

        def attempt(candidate: Fit, x: np.ndarray) -> np.ndarray:
            t = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)).to(self.dtype)
            y = torch.empty_like(t)
            if self.size == 2:
                candidate.table = nowhere.data_ptr()
            run.unary(kernel, ctypes.addressof(candidate), None, t.data_ptr(), None, y.data_ptr(), self.size,
                      self.size, t.numel(), 1)  # fmt: skip
            return np.asarray(y.float().numpy())

        nowhere = torch.full((65_536,), float("nan"))
        with np.errstate(all="ignore"):
            found = fit(self.function, attempt, self._kinks(), self.dtype)
        if found is not None and self.size == 2:
            found.table = self.wide.data_ptr()
        return found

    def _kinks(self) -> list[float]:
        from ogive.breaks import breakpoints

        names = self.form.names
        return breakpoints(self.form.expr, names[0], dict(zip(names[1:], self.numbers)))

    def serve_rare(self) -> bool:
        """Give the fit a kernel for what it does not cover; False when there is none."""
        assert self.fit is not None
        self.fit.rare = kernel = _bound(self.form, self.numbers)
        return kernel is not None


def _bound(form: Form, numbers: tuple[float, ...]) -> int | None:
    """The kernel of ``form`` with its parameters written in as numbers, as a fit calls it."""
    from ogive.expr import const
    from ogive.kernels.eager import Form as Make

    values = {k: const(v) for k, v in zip(form.names[1:], numbers)}
    fixed = Make(form.expr.substitute(values), form.names[:1], (), derived=form.derived)
    return generated((fixed.program,), Layout(("f32",), ("f32",)))


def plan(form: Form, numbers: tuple[float, ...], dtype: torch.dtype) -> Unary | None:
    """How ``form`` runs in ``dtype``; made at the first call. None without a compiler."""
    run = _runtime if _enabled else None
    if run is None:
        run = runtime()
        if run is None:
            return None
    plans: dict[Any, Unary] = form.__dict__.setdefault("_plans", {})
    key = (numbers, dtype)
    found = plans.get(key)
    if found is None:
        if len(plans) > 256:  # parameters that change at every call
            plans.clear()
        found = plans[key] = _aside(lambda: Unary(form, numbers, dtype, run))
    return found


def _aside(make: Callable[[], Any]) -> Any:
    # A fresh thread has none of the caller's modes: inference, autocast, default device, fake tensors.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(make).result()


def run(plan: Unary, x: Tensor, g: Tensor | None, product: Form | None, out: Tensor | None) -> Tensor | None:
    """The function of ``plan`` at ``x``, times ``g`` when it is given (``product`` is the Form of that); None when
    there is no kernel for it."""
    if not x.is_contiguous() and not dense(x):
        x = x.contiguous()
    n = x.numel()
    y = torch.empty_like(x) if out is None or out.stride() != x.stride() else out
    kernel: int | None
    if g is None:
        kernel, data, factor = plan.value, plan.data, None
        if n > _STREAM and plan.stream is not None and y.data_ptr() % 64 == 0:
            kernel = plan.stream
    else:
        assert product is not None
        if g.stride() != x.stride():
            g = torch.empty_like(x).copy_(g)
        kernel, data, factor = plan.times(product), plan.data_times, g.data_ptr()
    if kernel is None:
        return None
    assert _runtime is not None
    threads = 1 if n < PARALLEL else torch.get_num_threads()
    args = (kernel, data, plan.scalars, x.data_ptr(), factor, y.data_ptr(), plan.size, plan.size, n, threads)
    if _runtime.unary(*args):
        if not plan.serve_rare():
            return None
        _runtime.unary(*args)
    if out is not None and y is not out:
        return out.copy_(y)
    return y


def evaluate(form: Form, dtype: torch.dtype, args: Sequence[Any], out: Tensor | None = None) -> Tensor | None:
    """``form`` on CPU tensors by a compiled kernel, or None where only the eager program will do."""
    if not _enabled or torch._C._len_torch_dispatch_stack():
        return None
    x = args[0]
    if not isinstance(x, Tensor) or not plain(x) or x.dtype != dtype:
        return _several(form, dtype, args, out)
    rest = args[1:]
    if not any(isinstance(a, Tensor) for a in rest):
        made = plan(form, tuple(rest), dtype)
        return None if made is None else run(made, x, None, None, out)
    g = rest[-1]
    if (
        form.slope is not None
        and isinstance(g, Tensor)
        and g.dtype == dtype
        and g.shape == x.shape
        and plain(g)
        and not any(isinstance(a, Tensor) for a in rest[:-1])
    ):
        made = plan(form.slope, tuple(rest[:-1]), dtype)
        return None if made is None else run(made, x, g, form, out)
    return _several(form, dtype, args, out)


def _several(form: Form, dtype: torch.dtype, args: Sequence[Any], out: Tensor | None) -> Tensor | None:
    from ogive.kernels.several import results

    if len(args) > 1 and isinstance(args[1], Tensor) and not any(isinstance(a, Tensor) for a in args[2:]):
        from ogive.kernels import gate

        x, y = args[0], args[1]
        if isinstance(x, Tensor) and x.shape == y.shape and x.dtype == y.dtype == dtype:
            made = gate.run(form, tuple(args[2:]), x, y, None)
            if made is not None:
                return made[0] if out is None else out.copy_(made[0])

    found = results((form,), (dtype,), args, ("store",))
    if found is None:
        return None
    return found[0] if out is None else out.copy_(found[0])

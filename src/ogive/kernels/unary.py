"""The plan of a function of one tensor, and the call of it: plain arithmetic generated, anything else fitted.

The cheapest way that holds the laws is chosen once for each formula, dtype and numbers; the derivative is a plan of
its own, run with the upstream gradient as a factor.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ogive.kernels import native
from ogive.kernels.emit import NAMES, Layout, cost
from ogive.kernels.fit import Fit, fit

if TYPE_CHECKING:
    from ogive.kernels.eager import Form

CHEAP = 7  # vector operations that a fit of any degree costs at least
TABLE = 20.0  # what looking an element up costs in them: 0.3 ns against 0.27 ns for sixteen
STREAM = 4_000_000  # float32 elements whose traffic exceeds the last-level cache: stores go past it

_D = ctypes.c_double


class Unary:
    """The plan for one function of one tensor in one dtype. ``kernel(times)`` and ``data(times)`` say what to
    call: of the function alone, or times a second tensor."""

    def __init__(self, form: Form, numbers: tuple[float, ...], dtype: torch.dtype, run: native.Runtime) -> None:
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
            self.fit = self._fitted(run, TABLE if self.size == 2 else 2.0 * weight + 4.0)
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
            self.value = native.generated((form.program,), self._layout(1))
            self.stream, self.data, self.data_times = None, 0, 0

    def _layout(self, arrays: int) -> Layout:
        names = (self.name, *("" for _ in self.numbers), *(self.name for _ in range(arrays - 1)))
        return Layout(names, (self.name,), self.narrow)

    def times(self, product: Form) -> int | None:
        """The kernel of ``product``, this function times a second tensor."""
        if self._times is None:
            self._times = native.generated((product.program,), self._layout(2))
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

    def _fitted(self, run: native.Runtime, alternative: float) -> Fit | None:
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
            found = fit(self.function, attempt, self._kinks(), self.dtype, alternative)
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
    return native.generated((fixed.program,), Layout(("f32",), ("f32",)))


def plan(form: Form, numbers: tuple[float, ...], dtype: torch.dtype) -> Unary | None:
    """How ``form`` runs in ``dtype``; made at the first call. None without a compiler."""
    run = native.runtime()
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
    if not x.is_contiguous() and not native.dense(x):
        x = x.contiguous()
    n = x.numel()
    given = out is not None and out.stride() == x.stride() and (g is None or out.data_ptr() != g.data_ptr())
    if given and plan.fit is not None and out is not None and out.data_ptr() == x.data_ptr():
        given = plan.size == 2 or bool(plan.fit.rare) or plan.serve_rare()  # a second run would read results
    y = out if given and out is not None else torch.empty_like(x)
    kernel: int | None
    if g is None:
        kernel, data, factor = plan.value, plan.data, None
        if n > STREAM and plan.stream is not None and y.data_ptr() % 64 == 0:
            kernel = plan.stream
    else:
        assert product is not None
        if g.stride() != x.stride():
            g = torch.empty_like(x).copy_(g)
        kernel, data, factor = plan.times(product), plan.data_times, g.data_ptr()
    if kernel is None:
        return None
    runtime = native.runtime()
    assert runtime is not None
    threads = 1 if n < native.PARALLEL else torch.get_num_threads()
    args = (kernel, data, plan.scalars, x.data_ptr(), factor, y.data_ptr(), plan.size, plan.size, n, threads)
    if runtime.unary(*args):
        if not plan.serve_rare():
            return None
        runtime.unary(*args)
    if out is not None and y is not out:
        return out.copy_(y)
    return y

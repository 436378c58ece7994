"""The measure of law 1: floating results against balls, in units of the last place the data allows.

Sixteen-bit results are held to the spacing of their own dtype at the exact value. Wider ones are held to
eps * (|f| + |x f'|): an input that is itself only known to half a unit cannot determine the value better.
Parameters and long constants are data too, doubles in every dtype: where terms cancel to zero only because 0.2
is not a double, the zero is not held to its own spacing. Below the smallest normal number the spacing is
constant, and a double result there may carry the rounding of one subnormal intermediate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ogive.activation import Activation
from ogive.derive.exact import Oracle
from ogive.diff import differentiate
from ogive.errors import OgiveError
from ogive.expr import Expr, rebuild, var
from ogive.kernels import Form, apply

Array = NDArray[np.float64]

SPECIAL = [0.0, 1e-45, 1e-40, 1.1754943508222875e-38, 1e-30, 1e-20, 1e-12, 1e-8, 1e-6, 1e-4, 1e-3, 0.01, 0.1, 0.5,
           1.0, 2.0, 3.0, 5.0, 6.0, 10.0, 17.0, 20.0, 40.0, 80.0, 88.0, 89.0, 100.0, 104.0, 500.0, 709.0, 745.0,
           1e3, 1e4, 1e6, 1e10, 1e19, 1.9e19, 1e20, 1e30, 1e38, 3e38]  # fmt: skip
SIXTEEN = (torch.bfloat16, torch.float16)


def grid(dtype: torch.dtype, points: int) -> Tensor:
    """Special values and ``points`` others, dense in [-12, 12] and log-spaced to 1e5, exact in ``dtype``."""
    gen = torch.Generator().manual_seed(20)
    dense = torch.rand(points // 2, generator=gen, dtype=torch.float64) * 24 - 12
    decades = 10.0 ** (torch.rand(points - points // 2, generator=gen, dtype=torch.float64) * 17 - 12)
    decades = decades * torch.where(torch.rand(decades.shape, generator=gen) < 0.5, -1.0, 1.0)
    special = torch.tensor(SPECIAL, dtype=torch.float64)
    return torch.cat([special, -special, dense, decades]).to(dtype).unique()


def every(dtype: torch.dtype) -> Tensor:
    """All finite values of a 16-bit dtype."""
    codes = torch.arange(-32768, 32768, dtype=torch.int32).to(torch.int16)
    x = codes.view(dtype)
    return x[torch.isfinite(x)]


@dataclass(frozen=True)
class Worst:
    """The largest error of one derivative order, where it is, and how many inputs are beyond what is allowed."""

    units: float = 0.0
    x: float = math.nan
    got: float = math.nan
    want: float = math.nan
    beyond: int = 0
    points: int = 0

    def __str__(self) -> str:
        return f"{self.units:.3g} units at x = {self.x!r}: got {self.got!r}, exact {self.want!r}"


@dataclass(frozen=True)
class Truth:
    """Exact derivatives on points ``x``: ``hi + lo`` holds each to twice the precision of a double, NaN where the
    mathematics has no value (a pole, a derivative at a cusp). Rows are orders."""

    x: Tensor
    hi: Array
    lo: Array


def truth(act: Activation, x: Tensor, order: int = 2) -> Truth:
    """f and its first ``order`` derivatives (one more for wide dtypes: the condition needs it) on ``x``."""
    more = order if x.dtype in SIXTEEN else order + 1
    oracle = Oracle(act, more, bits=64)
    hi = np.full((more + 1, len(x)), math.nan)
    lo = np.zeros_like(hi)
    for i, at in enumerate(x.double().tolist()):
        try:
            balls = oracle(at)
        except (OgiveError, ZeroDivisionError):
            continue
        for k, ball in enumerate(balls):
            hi[k, i] = value = float(ball)
            if math.isfinite(value):
                lo[k, i] = float(ball - value)
    return Truth(x, hi, lo)


def derivatives(run: Callable[[Tensor], Any], x: Tensor, order: int) -> list[Tensor]:
    """f, f', ... through autograd, each a tensor of x's dtype."""
    x = x.detach().clone().requires_grad_()
    values = [run(x)]
    for _ in range(order):
        y = values[-1]
        if not y.requires_grad:
            values.append(torch.zeros_like(x))
            continue
        (g,) = torch.autograd.grad(y, x, torch.ones_like(y), create_graph=True, allow_unused=True)
        values.append(torch.zeros_like(x) if g is None else g)
    return [v.detach() for v in values]


def compare(exact: Truth, got: Iterable[Tensor], slack: Array, bound: float, floor: float = 0.0) -> list[Worst]:
    """The worst error of each order of ``got``; ``slack`` is :func:`sensitivity`.

    ``floor`` is a size below which errors count as if the value had that size: 0 holds tails to relative accuracy.
    """
    dtype = exact.x.dtype
    info = torch.finfo(dtype)
    at = exact.x.double().numpy()
    # A double may flush what is below its smallest normal number; the others are rounded from a double.
    tiny = info.smallest_normal * (1.0 if dtype == torch.float64 else info.eps)
    found = []
    with np.errstate(all="ignore"):
        for k, tensor in enumerate(got):
            value, want = tensor.double().numpy(), exact.hi[k]
            if dtype in SIXTEEN:
                size = np.maximum(np.abs(want), info.smallest_normal)
                unit = 2.0 ** (np.frexp(size)[1] - 1.0) * info.eps + 2.0**-52 * slack[k]
            else:
                unit = info.eps * (np.abs(want) + np.abs(at * exact.hi[k + 1]) + slack[k]) + tiny
            unit = unit + info.eps * floor
            units = np.abs((want - value) + exact.lo[k]) / unit
            units = np.where(np.isfinite(unit), units, 0.0)
            lost = ~np.isfinite(value)
            units = np.where(lost, np.where((np.abs(want) >= info.max) & ~np.isnan(value), 0.0, math.inf), units)
            past = np.abs(want) > info.max * (1 + info.eps / 4)
            right = (value == np.copysign(math.inf, want)) | (np.abs(value) == info.max)
            units = np.where(past, np.where(right, 0.0, math.inf), units)
            units = np.where(np.isnan(want), 0.0, units)
            worst, beyond = float(units.max()), int((units > bound).sum())
            i = int(np.where(units == worst, np.abs(at), math.inf).argmin())  # of equals, the most ordinary input
            found.append(Worst(worst, float(at[i]), float(value[i]), float(want[i]), beyond, len(at)) if worst else
                         Worst(points=len(at)))  # fmt: skip
    return found


def measure(act: Activation, x: Tensor, order: int = 2, bound: float = 1.0) -> list[Worst]:
    """The worst error of f and its first ``order`` derivatives over the finite points ``x``."""
    return compare(truth(act, x, order), derivatives(act, x, order), sensitivity(act, x, order), bound)


def sensitivity(act: Activation, x: Tensor, order: int) -> Array:
    """Sum over parameters and over constants that are not short binary fractions of |p d f^(k)/dp|: they are
    data too, known to half a unit like x."""
    wide = x.double()
    knobs, expr = data_of(act)
    names = ("x", *knobs)
    form = Form(expr.substitute({act.inputs[0]: var("x")}), names, tuple(knobs.values()))
    args = tuple(knobs.values())
    total = []
    for _ in range(order + 1):
        here = torch.zeros_like(wide)
        for i, p in enumerate(args, 1):
            partial = form.vjp(i)
            value = apply(partial, torch.float64, (wide, *args, 1.0))
            here += torch.nan_to_num((p * value).abs(), nan=0.0, posinf=1e300)
        total.append(here.numpy())
        form = Form(differentiate(form.expr, "x"), names, form.defaults)
    return np.stack(total)


def data_of(act: Activation) -> tuple[dict[str, float], Expr]:
    """Parameters and long constants by name with their values, and the formula over those names."""
    knobs = dict(act.defaults)

    def leaf(n: Expr) -> Expr:
        if n.op != "const" or (float(n.data) * 256).is_integer():  # type: ignore[arg-type]
            return n
        name = f"c{len(knobs)}'"
        knobs[name] = float(n.data)  # type: ignore[arg-type]
        return var(name)

    return knobs, act.expr.map(leaf, rebuild)

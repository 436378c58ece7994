"""The measure of law 1: torch's result against balls, in units of the last place the data allows.

Sixteen-bit results are held to the spacing of their own dtype at the exact value. Wider ones are held to
eps * (|f| + |x f'|): an input that is itself only known to half a unit cannot determine the value better.
Below the smallest normal number the spacing is constant, and a double result there may carry the rounding of
one subnormal intermediate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ogive.activation import Activation
from ogive.derive.exact import Oracle
from ogive.diff import differentiate
from ogive.errors import OgiveError
from ogive.expr import Expr, rebuild, var
from ogive.kernels import Form, apply

SPECIAL = [0.0, 1e-45, 1e-40, 1.1754943508222875e-38, 1e-30, 1e-20, 1e-12, 1e-8, 1e-6, 1e-4, 1e-3, 0.01, 0.1, 0.5,
           1.0, 2.0, 3.0, 5.0, 6.0, 10.0, 17.0, 20.0, 40.0, 80.0, 88.0, 89.0, 100.0, 104.0, 500.0, 709.0, 745.0,
           1e3, 1e4, 1e6, 1e10, 1e19, 1.9e19, 1e20, 1e30, 1e38, 3e38]  # fmt: skip


def grid(dtype: torch.dtype, points: int) -> torch.Tensor:
    """Special values and ``points`` others, dense in [-12, 12] and log-spaced to 1e5, exact in ``dtype``."""
    gen = torch.Generator().manual_seed(20)
    dense = torch.rand(points // 2, generator=gen, dtype=torch.float64) * 24 - 12
    decades = 10.0 ** (torch.rand(points - points // 2, generator=gen, dtype=torch.float64) * 17 - 12)
    decades = decades * torch.where(torch.rand(decades.shape, generator=gen) < 0.5, -1.0, 1.0)
    special = torch.tensor(SPECIAL, dtype=torch.float64)
    return torch.cat([special, -special, dense, decades]).to(dtype).unique()


def every(dtype: torch.dtype) -> torch.Tensor:
    """All finite values of a 16-bit dtype."""
    codes = torch.arange(-32768, 32768, dtype=torch.int32).to(torch.int16)
    x = codes.view(dtype)
    return x[torch.isfinite(x)]


@dataclass
class Worst:
    """The largest error of one derivative order, where it is, and what was expected there."""

    units: float = 0.0
    x: float = math.nan
    got: float = math.nan
    want: float = math.nan

    def see(self, units: float, x: float, got: float, want: float) -> None:
        if not units <= self.units:
            self.units, self.x, self.got, self.want = units, x, got, want

    def __str__(self) -> str:
        return f"{self.units:.3g} units at x = {self.x!r}: got {self.got!r}, exact {self.want!r}"


def derivatives(act: Activation, x: torch.Tensor, order: int) -> list[torch.Tensor]:
    """f, f', ... through autograd, each a tensor of x's dtype."""
    x = x.detach().clone().requires_grad_()
    values = [act(x)]
    for _ in range(order):
        y = values[-1]
        if not y.requires_grad:
            values.append(torch.zeros_like(x))
            continue
        (g,) = torch.autograd.grad(y, x, torch.ones_like(y), create_graph=True, allow_unused=True)
        values.append(torch.zeros_like(x) if g is None else g)
    return [v.detach() for v in values]


def spacing(value: float, dtype: torch.dtype) -> float:
    """The distance between neighbouring numbers of ``dtype`` around ``value``."""
    info = torch.finfo(dtype)
    if abs(value) < info.smallest_normal:
        return info.smallest_normal * info.eps
    return 2.0 ** (math.floor(math.log2(abs(value)))) * info.eps


def measure(act: Activation, x: torch.Tensor, order: int = 2) -> list[Worst]:
    """The worst error of f and its first ``order`` derivatives over the finite points ``x``."""
    dtype = x.dtype
    narrow = dtype in (torch.float16, torch.bfloat16)
    oracle = Oracle(act, order if narrow else order + 1, bits=64)
    got = [v.double().tolist() for v in derivatives(act, x, order)]
    top = torch.finfo(dtype).max
    # A double may flush what is below its smallest normal number; the others are rounded from a double.
    tiny = torch.finfo(dtype).smallest_normal * (1.0 if dtype == torch.float64 else torch.finfo(dtype).eps)
    worst = [Worst() for _ in range(order + 1)]
    slack = sensitivity(act, x, order) if not narrow else None
    for i, at in enumerate(x.double().tolist()):
        try:
            balls = oracle(at)
        except (OgiveError, ZeroDivisionError):
            continue  # the mathematics has no value here: a pole, a derivative at a cusp
        for k in range(order + 1):
            value = got[k][i]
            want = float(balls[k])
            if abs(want) > top * (1 + torch.finfo(dtype).eps / 4):
                units = 0.0 if value == math.copysign(math.inf, want) or abs(value) == top else math.inf
            elif not math.isfinite(value):
                units = 0.0 if abs(want) >= top and not math.isnan(value) else math.inf
            else:
                error = abs(float(balls[k] - value))
                if narrow:
                    unit = spacing(want, dtype)
                else:
                    condition = abs(want) + abs(at * float(balls[k + 1])) + slack[k][i]
                    unit = torch.finfo(dtype).eps * condition + tiny
                units = error / unit if math.isfinite(unit) else 0.0
            worst[k].see(units, at, value, want)
    return worst


def sensitivity(act: Activation, x: torch.Tensor, order: int) -> list[list[float]]:
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
        total.append(here.tolist())
        form = Form(differentiate(form.expr, "x"), names, form.defaults)
    return total


def data_of(act: Activation) -> tuple[dict[str, float], Expr]:
    """Parameters and long constants by name with their values, and the formula over those names."""
    knobs = dict(act.defaults)

    def leaf(n: Expr) -> Expr:
        if n.op != "const" or (float(n.data) * 256).is_integer():
            return n
        name = f"c{len(knobs)}'"
        knobs[name] = float(n.data)
        return var(name)

    return knobs, act.expr.map(leaf, rebuild)

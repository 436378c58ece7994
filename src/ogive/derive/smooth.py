"""Smoothing by convolution: any piecewise-linear function has a closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch

from ogive import ops
from ogive.activation import Activation, Param
from ogive.errors import FormulaError, InputError, ParameterError
from ogive.expr import Expr, const, var
from ogive.lookup import scalar

# For each kernel, E max(u + s Z, 0) and P(u + s Z > 0): what a ramp and a step become.
_Shape = Callable[[Expr, Expr], Expr]
KERNELS: dict[str, tuple[_Shape, _Shape]] = {
    "gaussian": (lambda u, s: u * ops.Phi(u / s) + s * ops.phi(u / s), lambda u, s: ops.Phi(u / s)),
    "logistic": (lambda u, s: s * ops.softplus(u / s), lambda u, s: ops.sigmoid(u / s)),
    "uniform": (
        lambda u, s: ops.where(u > s, u, ops.maximum(u + s, 0.0) ** 2 / (4.0 * s)),
        lambda u, s: ops.clip((u + s) / (2.0 * s), 0.0, 1.0),
    ),
}


def smooth(spec: Any, s: float = 1.0, *, kernel: str = "gaussian", **params: float) -> Activation:
    """``E f(x + s Z)``: f convolved with a density of scale ``s``, exact for every piecewise-linear f.

    Args:
        spec: a piecewise-linear activation: a name, a formula, an Activation.
        s: the scale, above 0, a parameter of the result: the standard deviation for ``"gaussian"``, the scale of
            the logistic distribution for ``"logistic"``, half the width for ``"uniform"``.
        kernel: one of these three. Of relu they make the smoothed rectifier of SAU, softplus and SmeLU.

    Raises:
        FormulaError: where f is not piecewise linear with finitely many pieces, naming a point that shows it.

    Source: Biswas et al. 2021, SAU, for the leaky rectifier; the general form is a sum over the break points.

    >>> print(smooth("relu", kernel="logistic"))
    s*softplus(x/s)
    >>> round(smooth("hardtanh", 0.5)(1.0), 6)
    0.800532
    """
    if kernel not in KERNELS:
        raise ParameterError(f"smooth: kernel={kernel!r}; it takes {', '.join(KERNELS)}")
    if isinstance(s, bool) or not isinstance(s, (int, float)) or not (0.0 < s < math.inf):
        raise ParameterError(f"smooth: s={s!r}; it takes a number above 0")
    act, values = scalar(spec, "the smooth form", params)
    act = act.with_params(**values).fixed()
    if act.backward is not None:
        raise InputError(f"smooth of {act.label}: it has a declared surrogate derivative; smooth its formula instead")
    cuts, lines = pieces(act)
    x, scale = var("x"), var("s")
    ramp, step = KERNELS[kernel]
    (slope, height), (last_slope, last_height) = lines[0], lines[-1]
    left = const(slope) * x + height
    right = const(last_slope) * x + last_height
    # Far to the right the ramps of the left sum are large and cancel; there the sum from the right is used.
    for cut, ((a, b), (c, d)) in zip(cuts, pairwise(lines)):
        jump = (c - a) * cut + d - b
        left = left + (c - a) * ramp(x - cut, scale) + jump * step(x - cut, scale)
        right = right + (c - a) * ramp(cut - x, scale) - jump * step(cut - x, scale)
    if not cuts or (slope == 0.0 and len(cuts) == 1):
        formula = left
    else:
        formula = ops.where(x > (cuts[0] + cuts[-1]) / 2.0, right, left)
    return Activation(formula, params={"s": Param(float(s), low=0.0)} if cuts else {})


def pieces(act: Activation) -> tuple[list[float], list[tuple[float, float]]]:
    """Break points of a piecewise-linear function and (slope, intercept) of each piece, from the left.

    Raises FormulaError for anything else.
    """
    if any(n.op in ("floor", "round") for n in act.expr.walk()):
        raise FormulaError(f"smooth of {act.label}: it has steps without end")
    cuts = act.breakpoints()
    ends = [-math.inf, *cuts, math.inf]
    lines: list[tuple[float, float]] = []
    kept: list[float] = []
    for lo, hi in pairwise(ends):
        # At all distances from the ends: a curve is nearly straight far away, or very near.
        if math.isfinite(lo) and math.isfinite(hi):
            at = lo + (hi - lo) * torch.tensor([0.03, 0.11, 0.2, 0.41, 0.5, 0.73, 0.97], dtype=torch.float64)
        else:
            steps = torch.tensor([0.01, 0.1, 0.37, 1.3, 2.9, 7.0, 31.0, 1e3, 1e5], dtype=torch.float64)
            at = lo + steps if math.isfinite(lo) else (hi if math.isfinite(hi) else 0.0) - steps
        y = act(at)
        slope = float((y[-1] - y[1]) / (at[-1] - at[1]))
        slope = round(slope, 12) if abs(slope - round(slope, 12)) < 1e-15 * abs(slope) + 1e-15 else slope
        height = float(y[3] - slope * at[3])
        off = (y - (slope * at + height)).abs()
        if not bool((off <= 1e-9 * (1.0 + y.abs())).all()):
            worst = float(at[int(off.nan_to_num(nan=math.inf).argmax())])
            raise FormulaError(f"smooth of {act.label}: it is not piecewise linear, see x = {worst:.6g}")
        if lines and lines[-1] == (slope, height):
            continue
        if lines:
            kept.append(lo)
        lines.append((slope, height))
    return kept, lines

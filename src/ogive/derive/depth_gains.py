"""Depth-decreasing shaping: input scales that keep gradients of a deep batch-normalised network bounded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ogive.activation import Activation, Param
from ogive.derive.integrals.bundle import Bundle
from ogive.derive.wide.kernel_shape import kernel_moments
from ogive.errors import InputError, OgiveError, ParameterError
from ogive.expr import const, var
from ogive.lookup import scalar

_GRID = [10.0 ** (k / 16.0) for k in range(-64, 33)]


@dataclass(frozen=True)
class DepthGains:
    """``scales[l - 1]`` is alpha_l of layer l: alpha_1 l^-power; ``growth`` the product over layers of C'(1), by which
    the squared gradient grows from the last layer to the first."""

    activation: Activation
    scales: tuple[float, ...]
    power: float
    growth: float

    def layer(self, number: int) -> Activation:
        """``f(alpha x)`` for layer ``number``, from 1; alpha is a parameter."""
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= len(self.scales):
            raise ParameterError(f"depth gains: layer {number!r}; there are layers 1 to {len(self.scales)}")
        (name,) = self.activation.inputs
        inner = self.activation.written.substitute({name: var("alpha") * var(name)})
        return Activation(inner, (name,), {"alpha": Param(self.scales[number - 1], low=0.0)})

    def __repr__(self) -> str:
        return (
            f"DepthGains({self.activation}: alpha from {self.scales[0]:.6g} to {self.scales[-1]:.6g} "
            f"as layer^-{self.power:g}, growth {self.growth:.6g})"
        )

    def to_dict(self) -> dict[str, Any]:
        """All fields, the activation as its formula, ready for JSON."""
        return {**vars(self), "activation": str(self.activation)}


def depth_gains(spec: Any, depth: int, *, growth: float = 1.5, power: float = 1.0, **params: float) -> DepthGains:
    """Scales ``alpha_l = alpha_1 l^-power`` with which the squared gradient grows by ``growth`` over ``depth`` layers.

    Behind a layer f(alpha x) batch normalisation removes mean and scale, so the layer multiplies the squared gradient
    by C'(1) = alpha^2 E f'(alpha z)^2 / Var f(alpha z), which exceeds 1 by a multiple of alpha^2 (alpha^4 for an odd
    f). The product over all layers stays bounded for any depth when power > 1/2 (1/4 for an odd f).

    Args:
        spec: an activation of one input whose f'(0) is not 0 and without jumps.
        depth: layers, from 1.
        growth: of the squared gradient over all layers, above 1.
        power: from 0; 0 gives every layer the same scale.

    Raises:
        OgiveError: where no scale between 1e-4 and 100 does it: relu is the same at every scale.

    Source: Meterez et al. 2024, Towards training without depth limits, for shaping that decreases with depth; that
    C'(1) sets the scales is decided here.

    >>> tanh = depth_gains("tanh", 100)
    >>> round(tanh.growth, 9), tanh.scales[0] > tanh.scales[99]
    (1.5, True)
    """
    act, values = scalar(spec, "depth gains", params)
    if act.backward is not None:
        raise InputError(f"depth gains of {act.label}: it has a declared surrogate derivative")
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 1:
        raise ParameterError(f"depth gains of {act.label}: depth={depth!r}; it takes an integer from 1")
    for name, value, least in (("growth", growth, 1.0), ("power", power, -1e-300)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least < value < math.inf:
            raise ParameterError(f"depth gains of {act.label}: {name}={value!r}; growth is above 1, power from 0")
    bundle = Bundle(act, values)
    if bundle.jumps:
        raise OgiveError(f"depth gains of {act.label}: it jumps at {bundle.jumps[0]:.6g}, so C'(1) is infinite")

    def log_growth(first: float) -> float:
        scales = [first * layer**-power for layer in range(1, depth + 1)]
        moments = kernel_moments(bundle, [(a, 0.0) for a in scales], quick=True)
        return sum(math.log(a * a * m.slope / m.variance) for a, m in zip(scales, moments))

    target = math.log(growth)
    low: float | None = None
    high: float | None = None
    for first in _GRID:
        try:
            value = log_growth(first)
        except (OgiveError, ZeroDivisionError, ValueError):
            continue
        if value <= target:
            low = first
        elif low is not None:
            high = first
            break
    if low is None or high is None:
        raise OgiveError(
            f"depth gains of {act.label}: no alpha between 1e-4 and 100 makes the squared gradient of {depth} layers "
            f"grow by {growth!r}; a function that is the same at every scale, or f'(0) = 0, cannot be shaped"
        )
    for _ in range(60):
        middle = math.sqrt(low * high)
        if not low < middle < high:
            break
        low, high = (middle, high) if log_growth(middle) <= target else (low, middle)
    fixed = Activation(act.written.substitute({k: const(v) for k, v in values.items()}), act.inputs)
    scales = tuple(low * layer**-power for layer in range(1, depth + 1))
    return DepthGains(fixed, scales, float(power), math.exp(log_growth(low)))

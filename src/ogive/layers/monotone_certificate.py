"""A proof that a network is monotone: an enclosure of its Jacobian over the whole input space.

Layer by layer, the derivative of every unit by every input is enclosed in an interval: a linear layer combines the
intervals by the signs of its weights, an activation multiplies by its slope interval, which its pieces enclose. A sum
whose terms are all nonnegative is nonnegative, also after rounding, so that the sign is exact; the sizes carry a
margin for the rounding of the sums.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ogive.derive.pieces import pieces
from ogive.errors import InputError, ParameterError
from ogive.layers.act import Act
from ogive.layers.monotone import MonoDense, is_sliver, jump_of
from ogive.layers.sort import GroupSort
from ogive.lookup import scalar

Bounds = tuple[Tensor, Tensor]  # each (units, inputs)


@dataclass(frozen=True)
class Monotone:
    """``low <= d output / d input <= high`` everywhere, as (outputs, inputs), against the wanted ``signs``.

    ``holds`` says that every output is nondecreasing in the inputs of sign +1 and nonincreasing in those of -1;
    ``reason`` names the first that is not. The claim is about exact arithmetic: rounding of the forward pass can
    still move a value by its last bits.
    """

    signs: tuple[int, ...]
    low: Tensor
    high: Tensor
    holds: bool
    reason: str = ""

    def __repr__(self) -> str:
        return f"Monotone({'holds' if self.holds else 'does not hold: ' + self.reason}, signs={self.signs})"

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return {"signs": list(self.signs), "low": self.low.tolist(), "high": self.high.tolist(),
                "holds": self.holds, "reason": self.reason}  # fmt: skip


def certify_monotone(model: nn.Module, signs: int | Sequence[int] | None = None) -> Monotone:
    """Enclose the Jacobian of ``model`` and compare its signs with those wanted.

    Args:
        model: an ``nn.Sequential``, nested as it likes, of Linear, MonoDense, Act, torch's own activations without
            parameters, GroupSort, Dropout and BatchNorm1d in eval mode, Identity, Flatten.
        signs: +1, -1 or 0 (not asked) for all inputs or one for each; by default those of a first MonoDense.

    Raises:
        InputError: for a module that is none of these, by its name in the model; for weights that are not finite.

    >>> from torch import nn
    >>> certify_monotone(nn.Sequential(MonoDense(1, 4), MonoDense(4, 1, None))).holds
    True
    >>> certify_monotone(nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1)), 1).holds
    False
    """
    layers = list(_leaves(model, ""))
    width = next((m for m in (_inputs(layer) for _, layer in layers) if m is not None), None)
    if width is None:
        raise InputError("certify_monotone: no layer of the model says how many inputs it takes")
    if signs is None:
        first = next(layer for _, layer in layers if _inputs(layer) is not None)
        if not isinstance(first, MonoDense):
            raise ParameterError(
                "certify_monotone: give signs= (+1, -1 or 0 for each input); the first layer is no MonoDense"
            )
        signs = first.signs
    wanted = (signs,) * width if isinstance(signs, int) else tuple(signs)
    if len(wanted) != width or any(s not in (-1, 0, 1) for s in wanted):
        raise ParameterError(f"certify_monotone: signs={signs!r}; it takes +1, -1 or 0 for each of {width} inputs")
    eye = torch.eye(width, dtype=torch.float64)
    bounds: Bounds = (eye, eye)
    for name, layer in layers:
        bounds = _through(name, layer, bounds)
    low, high = bounds
    reason = _broken(low, high, wanted)
    return Monotone(wanted, low, high, not reason, reason)


def _broken(low: Tensor, high: Tensor, signs: tuple[int, ...]) -> str:
    for i, sign in enumerate(signs):
        wrong = (
            (low[:, i] < 0) if sign > 0 else (high[:, i] > 0) if sign < 0 else torch.zeros(len(low), dtype=torch.bool)
        )
        if bool(wrong.any()):
            j = int(wrong.nonzero()[0])
            return (f"the derivative of output {j} by input {i} is only known to lie in [{low[j, i]:.3g}, "
                    f"{high[j, i]:.3g}]")  # fmt: skip
    return ""


def _leaves(module: nn.Module, name: str) -> list[tuple[str, nn.Module]]:
    if type(module) is nn.Sequential:
        return [
            leaf for key, child in module.named_children() for leaf in _leaves(child, f"{name}.{key}" if name else key)
        ]
    return [(name or type(module).__name__, module)]


def _inputs(layer: nn.Module) -> int | None:
    if isinstance(layer, (nn.Linear, MonoDense)):
        return layer.in_features
    return layer.num_features if isinstance(layer, nn.BatchNorm1d) else None


_BY_MODULE: dict[type[nn.Module], str] = {
    nn.ReLU: "relu", nn.Sigmoid: "sigmoid", nn.Tanh: "tanh", nn.Softsign: "softsign", nn.SiLU: "silu",
    nn.Mish: "mish", nn.ReLU6: "relu6", nn.SELU: "selu", nn.Hardswish: "hardswish", nn.Tanhshrink: "tanhshrink",
}  # fmt: skip


def _through(name: str, layer: nn.Module, bounds: Bounds) -> Bounds:
    if isinstance(layer, (nn.Identity, nn.Flatten)) or (isinstance(layer, nn.Dropout) and not layer.training):
        return bounds
    if isinstance(layer, nn.Linear):
        return _linear(name, layer.weight, bounds)
    if isinstance(layer, MonoDense):
        low, high = _linear(name, layer.signed_weight, bounds)
        start = 0
        for part, size in zip(layer.parts, layer.sizes):
            rows = slice(start, start + size)
            low[rows], high[rows] = _scaled((low[rows], high[rows]), *slope_range(part))
            start += size
        return low, high
    if isinstance(layer, nn.BatchNorm1d) and not layer.training and layer.running_var is not None:
        scale = 1.0 / torch.sqrt(layer.running_var.double() + layer.eps)
        factor = (scale if layer.weight is None else scale * layer.weight.double())[:, None].detach()
        low, high = bounds
        return torch.minimum(factor * low, factor * high), torch.maximum(factor * low, factor * high)
    if isinstance(layer, GroupSort):
        return _sorted(layer, bounds)
    if isinstance(layer, Act):
        return _scaled(bounds, *slope_range(layer.activation))
    if type(layer) in _BY_MODULE:
        return _scaled(bounds, *slope_range(_BY_MODULE[type(layer)]))
    mode = " in training mode" if layer.training and isinstance(layer, (nn.Dropout, nn.BatchNorm1d)) else ""
    raise InputError(
        f"certify_monotone: {name} is {type(layer).__name__}{mode}, which has no rule; use Linear, MonoDense, "
        "ogive.Act, torch's activations without parameters, GroupSort, Identity, Flatten, and Dropout and BatchNorm1d "
        "in eval mode"
    )


def slope_range(spec: Any, **params: float) -> tuple[float, float]:
    """An enclosure of every difference quotient of f on the whole line, from its pieces; an exact 0 stays 0.

    In a sliver a few doubles wide about an inflection the sign is taken from both sides of it.

    >>> low, high = slope_range("elu")
    >>> low, round(high, 12)
    (0.0, 1.0)
    """
    act, values = scalar(spec, "the slope", params)
    rows = pieces(act, **values).rows
    signs = {r.slope for r in rows if r.slope is not None}
    low, high = math.inf, -math.inf
    for row in rows:
        least, most = row.derivative
        sliver = row.slope is None and is_sliver(row)
        if sliver and math.isinf(most - least):
            step = jump_of(row.lo, row.hi, act, values)
            if step is None:  # continuous: a difference quotient across a kink lies between those of its sides
                continue
            least, most = (0.0, math.inf) if step > 0 else (-math.inf, 0.0)
        elif row.slope == 1 or (sliver and signs <= {0, 1}):
            least = max(0.0, least)
        elif row.slope == -1 or (sliver and signs <= {0, -1}):
            most = min(0.0, most)
        low, high = min(low, least), max(high, most)
    return low, high


def _linear(name: str, weight: Tensor, bounds: Bounds) -> Bounds:
    w = weight.detach().double().cpu()
    if not bool(torch.isfinite(w).all()):
        raise InputError(f"certify_monotone: the weights of {name} are not all finite")
    up, down = w.clamp_min(0.0), w.clamp_max(0.0)
    low, high = bounds
    # n products and sums, each rounded: the error is at most n eps times the sum of sizes
    size = torch.maximum(low.abs(), high.abs())
    margin = (w.shape[1] + 2) * 2.0**-52 * (w.abs() @ size)
    below, above = up @ low + down @ high, up @ high + down @ low
    nonnegative = (up @ low.clamp_max(0.0) + down @ high.clamp_min(0.0)) == 0
    nonpositive = (up @ high.clamp_min(0.0) + down @ low.clamp_max(0.0)) == 0
    below, above = below - margin, above + margin
    below = torch.where(nonnegative, below.clamp_min(0.0), below)
    return below, torch.where(nonpositive, above.clamp_max(0.0), above)


def _scaled(bounds: Bounds, slope_low: float, slope_high: float) -> Bounds:
    low, high = bounds
    ends = [torch.nan_to_num(b * s, nan=0.0) for b in (low, high) for s in (slope_low, slope_high)]
    least = torch.minimum(torch.minimum(ends[0], ends[1]), torch.minimum(ends[2], ends[3]))
    most = torch.maximum(torch.maximum(ends[0], ends[1]), torch.maximum(ends[2], ends[3]))
    # a product rounds by half a unit; zero is exact
    return least - least.abs() * 2.0**-52, most + most.abs() * 2.0**-52


def _sorted(layer: GroupSort, bounds: Bounds) -> Bounds:
    # an order statistic moves like one of its group
    low, high = (b.reshape(-1, layer.size, b.shape[1]) for b in bounds)
    n = low.shape[0] * layer.size
    return (low.amin(1, keepdim=True).expand(-1, layer.size, -1).reshape(n, -1),
            high.amax(1, keepdim=True).expand(-1, layer.size, -1).reshape(n, -1))  # fmt: skip


def slope_bound(spec: Any, **params: float) -> float:
    """An upper bound of ``sup |f'|`` on the whole line, from the pieces: the Lipschitz constant to about 1e-14.

    >>> round(slope_bound("silu"), 12), round(slope_bound("lipswish"), 12)
    (1.099839320129, 0.99985392739)
    """
    low, high = slope_range(spec, **params)
    return max(abs(low), abs(high))

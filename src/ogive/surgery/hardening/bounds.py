"""A function with bounds on its values, and the values that a model's functions take on data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ogive.activation import Activation
from ogive.derive.shape import shape
from ogive.errors import InputError, OgiveError
from ogive.layers.act import Act
from ogive.surgery.effect import run
from ogive.surgery.rewire import rewire
from ogive.surgery.sites import Site

FORMS = ("saturate", "zero", "smooth")
PER = ("layer", "channel", "neuron")


class Bounded(nn.Module):
    """A function whose values outside [low, high] are faults.

    ``saturate`` takes the nearest bound, ``zero`` takes 0, ``smooth`` multiplies by ``1 - sigmoid(k (y - high))`` and,
    where there is a low bound, by ``1 - sigmoid(k (low - y))``. NaN, which only a fault makes, gives 0 in all three.

    Args:
        function: of one tensor.
        high: the largest value, a tensor that broadcasts against one example.
        low: the smallest; None for a function that is bounded below by itself.
        form: one of the three.
        steepness: k times the largest bound, of ``smooth``.

    >>> relu = Bounded(nn.ReLU(), torch.tensor(2.0), form="zero")
    >>> relu(torch.tensor([-1.0, 1.5, 2.5, 3e38]))
    tensor([0.0000, 1.5000, 0.0000, 0.0000])
    """

    high: Tensor
    low: Tensor | None

    def __init__(
        self, function: nn.Module, high: Tensor, low: Tensor | None = None, form: str = "saturate",
        steepness: float = 100.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.function, self.form = function, form
        self.register_buffer("high", high)
        self.register_buffer("low", low)
        # k = 20 in the published code; relative to the bound it does not depend on the scale of a layer (100/5 = 20).
        largest = max(float(b.detach().abs().max()) for b in (high, low) if b is not None)
        self.k = steepness / max(largest, 1e-30)

    def forward(self, x: Tensor) -> Tensor:
        """The bounded values."""
        y: Tensor = self.function(x)
        high = self.high.to(y.dtype)
        low = None if self.low is None else self.low.to(y.dtype)
        if self.form == "zero":
            good = y <= high if low is None else (y <= high) & (y >= low)
            return torch.where(good, y, 0.0)
        if self.form == "saturate":
            y = torch.minimum(y, high) if low is None else torch.maximum(torch.minimum(y, high), low)
            return torch.where(y.isnan(), 0.0, y)
        y = torch.where(y.isfinite(), y, 0.0)
        gate = torch.sigmoid(self.k * (high - y))
        return y * gate if low is None else y * gate * torch.sigmoid(self.k * (y - low))

    def extra_repr(self) -> str:
        low = "" if self.low is None else f"low={float(self.low.min()):.4g}, "
        return f"{self.form}, {low}high={float(self.high.max()):.4g}, {self.high.numel()} bound(s)"


class Observed(nn.Module):
    """A function, and the smallest and largest values it has taken, by place in an example or by channel."""

    def __init__(self, function: nn.Module, by_place: bool) -> None:
        super().__init__()
        self.function, self.by_place = function, by_place
        self.low: Tensor | None = None
        self.high: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """The function's value, seen."""
        y: Tensor = self.function(x)
        rows = y.detach()
        if not self.by_place:
            rows = rows.reshape(-1, rows.shape[-1]) if rows.dim() else rows.reshape(1, 1)
        low, high = rows.amin(0), rows.amax(0)
        if self.low is None or self.high is None:
            self.low, self.high = low, high
        elif self.low.shape != low.shape:
            raise InputError(f"values of shape {tuple(y.shape[1:])} here, {tuple(self.low.shape)} on the batch before; "
                             "bounds by channel or neuron want examples of one size")  # fmt: skip
        else:
            self.low, self.high = torch.minimum(self.low, low), torch.maximum(self.high, high)
        return y


def function_at(model: nn.Module, site: Site) -> nn.Module:
    """What a site computes, as a module: its own one, or the formula of its calls."""
    path = site.module.partition("#")[0]
    return model.get_submodule(path) if site.kind == "module" and path else Act(site.activation)


def observed(model: nn.Module, found: Sequence[Site], batches: Sequence[Any]) -> dict[str, tuple[Tensor, Tensor, bool]]:
    """Smallest and largest values of each site over the batches, in evaluation mode, and whether the site's values
    lie in space after the first dimension (they come from a convolution). Raises OgiveError for values that are not
    finite and sites that the data never reaches."""
    watch = {s.name: Observed(function_at(model, s), _from_convolution(model, s)) for s in found}
    with rewire(model, list(found), watch):
        run(model, batches)
    result = {}
    for name, seen in watch.items():
        if seen.low is None or seen.high is None:
            raise OgiveError(f"this data never reaches {name}; give data that does, or other sites=")
        if not bool((seen.low.isfinite() & seen.high.isfinite()).all()):
            raise OgiveError(f"{name} takes values that are not finite on this data; clean the data or the model")
        result[name] = seen.low, seen.high, seen.by_place
    return result


def _from_convolution(model: nn.Module, site: Site) -> bool:
    modules: Mapping[str, nn.Module] = dict(model.named_modules())
    fed = [modules.get(name.rpartition(".")[0]) for name in site.fed_by]
    return any(isinstance(m, nn.modules.conv._ConvNd) for m in fed)


def grouped(bound: Tensor, per: str, in_space: bool, largest: bool) -> Tensor:
    """A bound for each neuron, each channel (the first dimension in space, else the last), or one."""
    if per == "neuron":
        return bound.clone()
    if per == "layer":
        return bound.amax() if largest else bound.amin()
    if not in_space or bound.dim() < 2:
        return bound.clone()
    dims = tuple(range(1, bound.dim()))
    return bound.amax(dims, keepdim=True) if largest else bound.amin(dims, keepdim=True)


def bounded_below(act: Activation) -> bool:
    """Whether the formula has a finite least value, so that a fault cannot make it very negative.

    >>> from ogive import get
    >>> bounded_below(get("gelu")), bounded_below(get("leaky_relu"))
    (True, False)
    """
    try:
        return math.isfinite(shape(act).range[0])
    except OgiveError:  # no proof of a bound: take both
        return False

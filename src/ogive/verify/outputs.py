"""``bound``: an interval for every output of a model over a set of inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError
from ogive.verify.bounding import Bounds, step_bounds
from ogive.verify.network import Box, Network
from ogive.verify.optimise import optimised
from ogive.verify.region import Cuboid
from ogive.verify.tracer import trace

METHODS = ("ibp", "crown-ibp", "crown", "alpha")


@dataclass(frozen=True, eq=False)
class OutputBounds:
    """``lower <= model(z) <= upper`` for every z of the set, in real arithmetic; float64, shaped like the output."""

    lower: Tensor
    upper: Tensor
    method: str
    network: Network = field(repr=False)
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        width = float((self.upper - self.lower).mean())
        return f"OutputBounds({self.network.model}, {self.method}: {tuple(self.lower.shape)}, mean width {width:.4g})"

    def to_dict(self) -> dict[str, Any]:
        """All fields as lists, ready for JSON."""
        return {"lower": self.lower.tolist(), "upper": self.upper.tolist(), "method": self.method,
                "notes": list(self.notes)}  # fmt: skip


def bound(
    model: nn.Module, lo: Tensor, hi: Tensor, *, method: str = "crown", steps: int = 20,
    dtype: torch.dtype = torch.float64,
) -> OutputBounds:  # fmt: skip
    """Bounds of ``model(z)`` for all z with ``lo <= z <= hi``, element by element.

    Args:
        lo, hi: floating tensors ``[examples, ...]``, ``lo <= hi``, finite; float64 ends are taken as they are.
        method: "ibp", "crown-ibp", "crown" or "alpha", as for :func:`ogive.verify.verify`.
        steps: of the optimisation of "alpha".
        dtype: in which they are computed; the bounds hold in real arithmetic for float32 and float64.

    Raises:
        InputError: for ends that do not fit, an unknown method, a model that cannot be traced.

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU())
    >>> _ = nn.init.constant_(net[0].weight, 2.0)
    >>> found = bound(net, torch.tensor([[-1.0]]), torch.tensor([[3.0]]))
    >>> round(float(found.lower), 6), round(float(found.upper), 6)
    (0.0, 6.0)
    """
    if not (isinstance(lo, Tensor) and isinstance(hi, Tensor) and lo.shape == hi.shape and lo.dim() > 1 and len(lo)):
        raise InputError("bound: lo and hi are tensors of examples of one shape, the first dimension counts them")
    if not bool((torch.isfinite(lo) & torch.isfinite(hi) & (lo <= hi)).all()):
        raise InputError("bound: lo <= hi does not hold everywhere, or an end is not finite")
    if method not in METHODS:
        raise InputError(f"bound: method={method!r}; there are {', '.join(METHODS)}")
    weights = [p.dtype for p in model.parameters() if p.is_floating_point()] if isinstance(model, nn.Module) else []
    network = trace(model, lo[:1].to(weights[0]) if weights else lo[:1])
    shape = network.steps[0].shape
    region = Cuboid(lo.detach().to(dtype).reshape(len(lo), *shape), hi.detach().to(dtype).reshape(len(lo), *shape))
    step = network.steps[network.output]
    with torch.no_grad():
        bounds = Bounds(network, region, method in ("crown", "alpha"))
        box = bounds.boxes[network.output]
        if method != "ibp":
            box = _meet(step_bounds(bounds, step, box), box)
        if method == "alpha":
            n = math.prod(step.shape)
            eye = torch.eye(n, dtype=dtype).reshape(n, 1, *step.shape)
            rows = torch.cat([eye, -eye]).expand(-1, len(lo), *step.shape)
            best = optimised(network, region, rows, steps, enough=math.inf)[0].mT.reshape(len(lo), 2, *step.shape)
            box = _meet(Box(best[:, 0], -best[:, 1]), box)
    out = (len(lo), *step.shape[1:])
    return OutputBounds(box.lo.double().reshape(out), box.hi.double().reshape(out), method, network, network.notes)


def _meet(one: Box, other: Box) -> Box:
    return Box(torch.maximum(one.lo, other.lo), torch.minimum(one.hi, other.hi))

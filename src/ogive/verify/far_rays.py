"""What a network says infinitely far away: the affine map that it becomes along a ray, and the confidence there.

Along ``x0 + t d`` each signal is ``a t + b + o(1)``. A linear layer maps a and b; an activation with the asymptotes
``s x + i`` makes them ``s a`` and ``s b + i``, with the asymptote of the side that the sign of a says, and f(b) where a
is 0. Softmax of ``a t + b`` goes to 1 where one class has the greatest a: what Hein et al. 2019, "Why ReLU networks
yield high-confidence predictions far away from the training data", and Ulmer and Cina 2021, "Know your limits", prove
of ReLU. Bounded activations have s = 0, the scores end at constants and the confidence stays below 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from ogive.activation import Activation
from ogive.derive.limits import Side, limits
from ogive.errors import InputError
from ogive.verify.formula import Formula
from ogive.verify.network import Network, Step
from ogive.verify.tracer import trace

_ZERO = 1e-11  # a slope this small, relative to what went into it, is taken for 0


@dataclass(frozen=True, eq=False)
class FarField:
    """Scores go to ``slopes t + offsets`` along every ray ``[rays, classes]``; softmax of them to ``confidence``.

    ``certain`` is the share of rays whose confidence goes to 1, ``flat`` that of rays whose scores end at constants.
    """

    slopes: Tensor
    offsets: Tensor
    confidence: Tensor
    classes: Tensor
    model: str

    @property
    def certain(self) -> float:
        return float((self.confidence == 1.0).double().mean())

    @property
    def flat(self) -> float:
        return float((self.slopes == 0.0).all(1).double().mean())

    def __repr__(self) -> str:
        return (f"FarField({self.model}: {len(self.classes)} rays, confidence 1 on {self.certain:.1%}, "
                f"mean {float(self.confidence.mean()):.3f})")  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """All fields as lists, ready for JSON."""
        return {k: getattr(self, k).tolist() for k in ("slopes", "offsets", "confidence", "classes")}


def far_field(
    model: nn.Module, directions: Tensor, origin: Tensor | None = None
) -> FarField:  # fmt: skip
    """The limit of ``model(origin + t d)`` as t grows, for each direction, and the confidence of softmax there.

    Args:
        model: linear layers, sums, reshapes and activations of single elements that have asymptotes at both ends
            (relu, gelu, tanh, exp(-x^2), any formula); traced in evaluation mode.
        directions: ``[rays, ...]``, shaped like examples; their length does not matter.
        origin: one point ``[1, ...]``; 0 by default.

    Raises:
        InputError: for an activation without an asymptote on a side that a ray needs (x^2, exp, sin), named, or an
            operation of another kind.

    The limits are those of :func:`ogive.limits`, read off samples; a slope of 1e-11 of its terms counts as 0.

    >>> net = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> far_field(net, torch.tensor([[1.0, 0.0], [-1.0, 2.0]])).certain
    1.0
    """
    if not (isinstance(directions, Tensor) and directions.dim() > 1 and bool(torch.isfinite(directions).all())):
        raise InputError("far_field: directions are a finite tensor of rays, [rays, ...]")
    weights = [p.dtype for p in model.parameters() if p.is_floating_point()] if isinstance(model, nn.Module) else []
    example = directions[:1].to(weights[0]) if weights else directions[:1]
    network = trace(model, example)
    shape = network.steps[0].shape
    a = directions.detach().double().reshape(len(directions), *shape)
    b = torch.zeros_like(a) if origin is None else origin.detach().double().reshape(1, *shape).expand_as(a)
    values: dict[int, tuple[Tensor, Tensor]] = {0: (a, b)}
    with torch.no_grad():
        for step in network.steps[1:]:
            values[step.index] = _through(network, step, [values[i] for i in step.inputs])
    slopes, offsets = (t.flatten(1) for t in values[network.output])
    best = slopes.amax(1, keepdim=True)
    tied = slopes >= best - _ZERO * (1.0 + slopes.abs().amax(1, keepdim=True))
    shares = offsets.masked_fill(~tied, -math.inf).softmax(1)
    confidence, classes = shares.max(1)
    return FarField(slopes, offsets, confidence, classes, network.model)


def _through(network: Network, step: Step, inputs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    operation = step.operation
    if step.linear:
        a = operation.apply([v[0] for v in inputs])
        size = operation.absolute([v[0].abs() for v in inputs])
        return torch.where(a.abs() <= _ZERO * size, 0.0, a), operation.evaluate([v[1] for v in inputs])
    where = step.where or "the model itself"
    if not isinstance(operation, Formula):
        raise InputError(f"far_field: {operation.name} in {where} mixes or multiplies elements; rays are followed "
                         "through linear layers and functions of single elements")  # fmt: skip
    a, b = (t.flatten(1) for t in inputs[0])
    slope, offset = torch.zeros_like(a), operation.evaluate([inputs[0][1]]).flatten(1).clone()
    for act, places in operation.groups:
        mine = torch.zeros(a.shape[1], dtype=torch.bool)
        mine[slice(None) if places is None else places] = True
        for sign, side in zip((-1.0, 1.0), _sides(act)):
            here = (a * sign > 0.0) & mine
            if not bool(here.any()):
                continue
            line = side.asymptote or ((0.0, side.value) if side.value is not None else None)
            if line is None or not all(map(math.isfinite, line)):
                end = "+inf" if sign > 0 else "-inf"
                raise InputError(f"far_field: {operation.name} in {where} has no asymptote at {end}, so the network "
                                 "becomes no affine map there")  # fmt: skip
            slope = torch.where(here, line[0] * a, slope)
            offset = torch.where(here, line[0] * b + line[1], offset)
    return slope.reshape(inputs[0][0].shape), offset.reshape(inputs[0][0].shape)


@lru_cache(maxsize=256)
def _sides(act: Activation) -> tuple[Side, Side]:
    found = limits(act)
    return found.minus, found.plus

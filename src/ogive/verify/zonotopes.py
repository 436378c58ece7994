"""Zonotopes through a network: a centre, generators shared by all elements, and lines of one slope about every bend.

Sources: Gehr et al. 2018, "AI2"; Singh et al. 2018, "Fast and effective robustness certification". There the lines
are derived per activation; here they are two support lines of the chord's slope of any formula.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError
from ogive.verify.formula import Formula
from ogive.verify.network import Box, Network, Step, checked
from ogive.verify.rounding import gamma, least
from ogive.verify.tracer import trace


@dataclass(frozen=True, eq=False)
class Zonotope:
    """All ``centre + generators.T @ e + d`` with ``|e_k| <= 1`` and ``|d| <= slack``, float64, flat elements.

    ``generators`` are ``[k, n]``; the first ones are those of the inputs, in their order.
    """

    centre: Tensor
    generators: Tensor
    slack: Tensor
    limits: Box = field(repr=False)
    model: str = field(default="", repr=False)

    def box(self) -> tuple[Tensor, Tensor]:
        """The least and the greatest value of each element, met with what intervals alone give (``limits``)."""
        low, high = self.range(torch.eye(len(self.centre), dtype=torch.float64))
        return torch.maximum(low, self.limits.lo), torch.minimum(high, self.limits.hi)

    def range(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The least and the greatest value of ``rows @ z``, rows ``[rows, n]``, rounded outward."""
        middle = rows @ self.centre
        reach = (rows @ self.generators.mT).abs().sum(1) + rows.abs() @ self.slack
        size = rows.abs() @ (self.centre.abs() + self.generators.abs().sum(0) + self.slack)
        reach = reach + gamma(2.0 * sum(self.generators.shape) + 16.0, torch.float64) * size + least(torch.float64)
        return middle - reach, middle + reach

    def __repr__(self) -> str:
        return f"Zonotope({self.model}: {len(self.centre)} elements, {len(self.generators)} generators)"

    def to_dict(self) -> dict[str, Any]:
        """All fields as lists, ready for JSON."""
        return {k: getattr(self, k).tolist() for k in ("centre", "generators", "slack")}


@dataclass
class _Form:
    """One step's values: centre ``[1, *shape]``, generators ``[k, *shape]``, slack and a box ``[1, *shape]``."""

    centre: Tensor
    generators: Tensor
    slack: Tensor
    limits: Box

    def padded(self, count: int) -> Tensor:
        rest = count - len(self.generators)
        return torch.cat([self.generators, self.generators.new_zeros(rest, *self.generators.shape[1:])])

    def met(self) -> _Form:
        """The same with limits that the zonotope's own box is part of."""
        own = self._box()
        limits = Box(torch.maximum(own.lo, self.limits.lo), torch.minimum(own.hi, self.limits.hi))
        return _Form(self.centre, self.generators, self.slack, limits)

    def _box(self) -> Box:
        reach = self.generators.abs().sum(0, keepdim=True) + self.slack
        reach = reach + gamma(len(self.generators) + 8.0, torch.float64) * (reach + self.centre.abs())
        return Box(self.centre - reach - least(torch.float64), self.centre + reach + least(torch.float64))


def zonotope(model: nn.Module, lo: Tensor, hi: Tensor) -> Zonotope:
    """A zonotope that holds ``model(z)`` for all z with ``lo <= z <= hi``, in real arithmetic.

    Linear steps are followed exactly; a function of single elements becomes its chord's slope and one new generator
    for each element; products, maxima and softmax become their interval boxes. ``lo`` and ``hi`` are one example each,
    ``[1, ...]``. Raises :class:`~ogive.errors.InputError` for ends that do not fit or a model that cannot be traced.

    >>> net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
    >>> _ = nn.init.ones_(net[0].weight), nn.init.constant_(net[1].weight, 0.5)
    >>> low, high = zonotope(net, torch.zeros(1, 2), torch.ones(1, 2)).box()
    >>> [round(float(v), 6) + 0.0 for v in (low, high)]
    [0.0, 2.0]
    """
    network, box = prepared("zonotope", model, lo, hi)
    shape = network.steps[0].shape
    with torch.no_grad():
        centre, radius = 0.5 * box.lo + 0.5 * box.hi, 0.5 * box.hi - 0.5 * box.lo
        doubt = 4.0 * torch.finfo(torch.float64).eps * (centre.abs() + radius) + least(torch.float64)
        start = torch.diag(radius.flatten()).reshape(-1, *shape)
        values: list[_Form] = [_Form(centre, start, doubt, box)]
        for step in network.steps[1:]:
            values.append(_through(step, [values[i] for i in step.inputs]).met())
        out = values[network.output]
    limits = Box(out.limits.lo.flatten(), out.limits.hi.flatten())
    return Zonotope(out.centre.flatten(), out.generators.flatten(1), out.slack.flatten(), limits, network.model)


def prepared(verb: str, model: nn.Module, lo: Tensor, hi: Tensor) -> tuple[Network, Box]:
    """The traced model and the box in float64; one example each."""
    if not (isinstance(lo, Tensor) and isinstance(hi, Tensor) and lo.shape == hi.shape and lo.dim() > 1
            and len(lo) == 1):  # fmt: skip
        raise InputError(f"{verb}: lo and hi are one example each, tensors [1, ...] of the same shape")
    if not bool((torch.isfinite(lo) & torch.isfinite(hi) & (lo <= hi)).all()):
        raise InputError(f"{verb}: lo <= hi does not hold everywhere, or an end is not finite")
    weights = [p.dtype for p in model.parameters() if p.is_floating_point()] if isinstance(model, nn.Module) else []
    network = trace(model, lo.to(weights[0]) if weights else lo)
    shape = network.steps[0].shape
    return network, Box(*(t.detach().double().reshape(1, *shape) for t in (lo, hi)))


def _through(step: Step, inputs: list[_Form]) -> _Form:
    operation = step.operation
    count = max(len(f.generators) for f in inputs)
    boxes = [f.limits for f in inputs]
    image = checked(step, operation.interval(boxes))
    if step.linear:
        centre = operation.evaluate([f.centre for f in inputs])
        made = operation.apply([f.padded(count) for f in inputs])
        size = operation.size([f.centre.abs() + f.generators.abs().sum(0, keepdim=True) + f.slack for f in inputs])
        slack = operation.absolute([f.slack for f in inputs])
        if not operation.exact:
            slack = slack + gamma(operation.terms + count + 16.0, torch.float64) * size + least(torch.float64)
        return _Form(centre, made, slack, image)
    if not isinstance(operation, Formula):
        return _fresh(0.5 * image.lo + 0.5 * image.hi, image, count)
    box, form = boxes[0], inputs[0]
    width = box.hi - box.lo
    ends = operation.evaluate([torch.cat(list(box))])
    slope = torch.where(width > 0.0, (ends[1:] - ends[:1]) / torch.where(width > 0.0, width, 1.0), 0.0)
    slope = torch.nan_to_num(slope, 0.0, 0.0, 0.0)
    _, below, _, above = (t.squeeze(0) for t in operation.lines_of(box, slope.unsqueeze(0), slope.unsqueeze(0)))
    flat = image.hi - image.lo < above - below  # the image alone is better, or the lines are not finite
    flat |= ~torch.isfinite(above - below)
    slope = torch.where(flat, 0.0, slope)
    below, above = torch.where(flat, image.lo, below), torch.where(flat, image.hi, above)
    middle = 0.5 * below + 0.5 * above
    size = slope.abs() * (form.centre.abs() + form.generators.abs().sum(0, keepdim=True) + form.slack) + middle.abs()
    radius = torch.maximum(above - middle, middle - below) * (1.0 + 1e-15) + slope.abs() * form.slack
    radius = radius + gamma(count + 16.0, torch.float64) * (size + radius) + least(torch.float64)
    old = slope * form.padded(count)
    # one generator for each element that is not exact; the others keep their rounding as slack
    wide = (radius > 1e-12 * (1.0 + size)).flatten()
    new = torch.diag(radius.flatten())[wide].reshape(-1, *step.shape)
    return _Form(slope * form.centre + middle, torch.cat([old, new]),
                 torch.where(wide.reshape(radius.shape), 0.0, radius), image)  # fmt: skip


def _fresh(centre: Tensor, image: Box, count: int) -> _Form:
    radius = torch.maximum(image.hi - centre, centre - image.lo) * (1.0 + 1e-15) + least(torch.float64)
    old = centre.new_zeros(count, *centre.shape[1:])
    return _Form(centre, torch.cat([old, torch.diag(radius.flatten()).reshape(-1, *centre.shape[1:])]),
                 torch.zeros_like(centre), image)  # fmt: skip

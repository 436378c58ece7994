"""Bounds of every step of a network over a region: by intervals, or by linear bounds where intervals are loose."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ogive.verify.backward import Region, lower_bounds
from ogive.verify.network import Box, Network, Step, checked
from ogive.verify.relaxation import Relaxation

_ELEMENTS = 2**24  # coefficients carried at once


def sharp(network: Network) -> set[int]:
    """Steps whose intervals are exact already: the input, one linear map of it, and elementwise functions of those.

    A second linear map sees elements that depend on each other.
    """
    free, found = {0}, {0}  # free: elements that do not depend on each other
    for step in network.steps[1:]:
        once = len(step.inputs) == 1
        if step.linear and once and step.inputs[0] in free:
            found.add(step.index)
            if step.operation.exact:
                free.add(step.index)
        elif step.linear and once and step.operation.exact and step.inputs[0] in found:
            found.add(step.index)
        elif not step.linear and once and step.operation.name not in ("softmax", "max"):
            if step.inputs[0] in found:
                found.add(step.index)
            if step.inputs[0] in free:
                free.add(step.index)
    return found


def identity(step: Step, dtype: torch.dtype, device: torch.device, first: int, count: int) -> Tensor:
    """Rows for the elements ``first`` to ``first + count`` of a step, then their negatives."""
    n = math.prod(step.shape)
    rows = torch.zeros(2 * count, 1, n, dtype=dtype, device=device)
    place = torch.arange(count)
    rows[place, 0, first + place], rows[count + place, 0, first + place] = 1.0, -1.0
    return rows.reshape(2 * count, 1, *step.shape)


class Bounds:
    """Boxes of all steps over a region, found in order; ``linear=False`` for intervals alone.

    ``clip`` are boxes that a step's values are known to lie in (the halves of a split); ``empty`` marks the examples
    where nothing lies in them. ``free`` chooses the planes (see :class:`~ogive.verify.freedom.Freedom`).
    """

    def __init__(
        self, network: Network, region: Region, linear: bool = True, clip: Mapping[int, Box] | None = None,
        free: Any = None,
    ) -> None:  # fmt: skip
        self.network, self.region, self.free = network, region, free
        self.planes: dict[int, Relaxation] = {}
        self.boxes: list[Box] = [region.box()]
        lo = self.boxes[0].lo
        self.empty = torch.zeros(len(lo), dtype=torch.bool, device=lo.device)
        clip = clip or {}
        exact = sharp(network)
        wanted = {i for s in network.nonlinear for i in s.inputs} - exact if linear else set()
        for step in network.steps[1:]:
            box = checked(step, step.operation.interval([self.boxes[i] for i in step.inputs]))
            if step.index in wanted:
                box = self._meet(step_bounds(self, step, box), box)
            if step.index in clip:
                box = self._meet(clip[step.index], box)
            self.boxes.append(box)

    def _meet(self, one: Box, other: Box) -> Box:
        lo, hi = torch.maximum(one.lo, other.lo), torch.minimum(one.hi, other.hi)
        wrong = lo > hi
        if bool(wrong.any()):
            self.empty |= wrong.flatten(1).any(1)
            lo, hi = torch.where(wrong, other.lo, lo), torch.where(wrong, other.hi, hi)
        return Box(lo, hi)

    def relaxed(self, start: int) -> Callable[[Step], Relaxation]:
        """The planes of nonlinear steps for rows that start at ``start``."""
        if self.free is not None:
            return lambda step: self.free.planes(start, step, [self.boxes[i] for i in step.inputs])

        def planes(step: Step) -> Relaxation:
            found = self.planes.get(step.index)
            if found is None:
                found = self.planes[step.index] = step.operation.relax([self.boxes[i] for i in step.inputs])
            return found

        return planes

    def lower(self, rows: Tensor, start: int | None = None, **more: Any) -> Tensor:
        """Lower bounds of rows of a step, the output by default: ``[rows, examples]``."""
        at = self.network.output if start is None else start
        return lower_bounds(self.network, at, rows, self.boxes, self.relaxed(at), self.region, **more)


def step_bounds(bounds: Bounds, step: Step, box: Box) -> Box:
    """Bounds of all elements of one step by linear bounds carried back to the input; ``box`` are those it has."""
    lo = box.lo
    n, examples = math.prod(step.shape), len(lo)
    widest = max(math.prod(s.shape) for s in bounds.network.steps[: step.index + 1])
    count = max(1, min(n, _ELEMENTS // (2 * widest * examples)))
    lows, highs = [], []
    bounds.boxes.append(box)
    for first in range(0, n, count):
        some = min(count, n - first)
        found = bounds.lower(identity(step, lo.dtype, lo.device, first, some), step.index)
        lows.append(found[:some])
        highs.append(-found[some:])
    bounds.boxes.pop()
    shape = (examples, *step.shape)
    return Box(torch.cat(lows).mT.reshape(shape), torch.cat(highs).mT.reshape(shape))

"""A formula applied to every element: any activation, by its exact interval image and its best lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.derive.bounds import Lines, bounds, support_lines
from ogive.derive.image import image
from ogive.verify.network import Box
from ogive.verify.relaxation import Elementwise


class Formula:
    """``f(x)`` element by element.

    ``groups`` are the functions it is made of, each with the flat positions of one example where it stands; one
    function everywhere has None for them (a parameter learned per channel makes one function each).
    """

    linear = False

    def __init__(self, name: str, groups: Sequence[tuple[Activation, Tensor | None]]) -> None:
        self.name, self.groups = name, list(groups)

    def _each(self, run: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        """``run(activation, ...)`` on each group, put together again."""
        if self.groups[0][1] is None:
            return tuple(run(self.groups[0][0], *tensors))
        keep = len(tensors[0].shape) - self.dims
        flat = [t.flatten(keep) for t in tensors]
        pieces: list[list[Tensor]] = []
        for act, places in self.groups:
            pieces.append(list(run(act, *(t[..., places] for t in flat))))
        order = torch.cat([p for _, p in self.groups if p is not None]).argsort()
        return tuple(torch.cat(p, -1)[..., order].reshape(tensors[0].shape) for p in zip(*pieces))

    dims = 0  # of one example; set where there are groups

    def function(self, element: int) -> Activation:
        """The function at a flat position of one example."""
        for act, places in self.groups:
            if places is None or bool((places == element).any()):
                return act
        raise IndexError(element)

    def evaluate(self, values: Sequence[Tensor]) -> Tensor:
        return self._each(lambda f, x: (f(x),), values[0])[0]

    def interval(self, boxes: Sequence[Box]) -> Box:
        return Box(*self._each(lambda f, lo, hi: image(f, lo, hi), *boxes[0]))

    def lines(self, box: Box, at: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, ...]:
        """Slope and intercept below, slope and intercept above, tight at the middle or at the points ``at``."""
        return self._each(lambda f, lo, hi, *m: _four(bounds(f, lo, hi, tuple(m) or None)), *box, *(at or ()))

    def lines_of(self, box: Box, below: Tensor, above: Tensor) -> tuple[Tensor, ...]:
        """The same with slopes chosen, ``[groups, examples, *shape]``."""
        box = Box(*(t.expand_as(below) for t in box))
        return self._each(lambda f, *given: _four(support_lines(f, *given)), *box, below, above)

    def relax(self, boxes: Sequence[Box], slopes: tuple[Tensor, Tensor] | None = None) -> Elementwise:
        box = boxes[0]
        low, below, high, above = self.lines(box) if slopes is None else self.lines_of(box, *slopes)
        size = torch.maximum(low.abs(), high.abs()) * box.reach + torch.maximum(below.abs(), above.abs())
        return Elementwise([(low, high)], below, above, size, grouped=slopes is not None)


def _four(found: Lines) -> tuple[Tensor, ...]:
    return found.lower_slope, found.lower_intercept, found.upper_slope, found.upper_intercept

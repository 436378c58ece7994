"""Planes that may be chosen: the slopes of every neuron's lines and the shares of McCormick's planes (alpha-CROWN).

A line of any slope can be moved until it is sound, so slopes are free and the bound they give is differentiable in
them. Each set of rows (those of one step) has its own choice. A choice theta in [0, 1] lies between the slopes of the
lines that are tight at the two ends of the interval: for relu this is the slope alpha of its lower line.
Source: Xu et al. 2021, "Fast and complete"; for general nonlinearities Shi et al. 2025, "Neural network verification
with branch-and-bound for general nonlinearities".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ogive.verify.formula import Formula
from ogive.verify.network import Box, Step
from ogive.verify.products import Product
from ogive.verify.relaxation import Relaxation
from ogive.verify.rounding import gamma


class Choice:
    """The lines of one step for groups of rows: theta below and above, between two slopes each."""

    def __init__(self, operation: Formula, box: Box, groups: int) -> None:
        low, _, high, _ = operation.lines(box)
        first = operation.lines(box, (box.lo, box.lo))
        last = operation.lines(box, (box.hi, box.hi))
        self.ends = ((first[0], last[0]), (first[2], last[2]))
        many = (groups, *(1,) * low.dim())
        self.theta = [_between(s, *e).repeat(many).requires_grad_() for s, e in zip((low, high), self.ends)]

    def slopes(self) -> tuple[Tensor, Tensor]:
        below, above = (a + t * (b - a) for t, (a, b) in zip(self.theta, self.ends))
        return below, above


def _between(slope: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """theta with slope = a + theta (b - a)."""
    width = b - a
    theta = torch.where(width.abs() > 0.0, (slope - a) / torch.where(width == 0.0, 1.0, width), 0.5)
    return theta.clamp(0.0, 1.0)


class Freedom:
    """All choices; made where they are first asked for, equal to the planes of plain CROWN.

    Every row of the output has its own, the lower bounds of an inner step share one and its upper bounds another.
    """

    def __init__(self, rows: int, output: int) -> None:
        self.rows, self.output = rows, output
        self.choices: dict[tuple[int, int], Choice] = {}
        self.shares: dict[tuple[int, int], list[Tensor]] = {}

    def planes(self, start: int, step: Step, boxes: Sequence[Box]) -> Relaxation:
        """The planes of ``step`` for rows that start at ``start``."""
        operation, key = step.operation, (start, step.index)
        if isinstance(operation, Formula):
            if key not in self.choices:
                with torch.no_grad():
                    groups = self.rows if start == self.output else 2
                    self.choices[key] = Choice(operation, Box(*(t.detach() for t in boxes[0])), groups)
            return operation.relax(boxes, self.choices[key].slopes())
        if isinstance(operation, Product):
            if key not in self.shares:
                half = torch.full_like(boxes[0].lo.detach(), 0.5)
                self.shares[key] = [half.clone().requires_grad_(), half.clone().requires_grad_()]
            return operation.relax(boxes, (self.shares[key][0], self.shares[key][1]))
        return operation.relax(boxes)

    def parameters(self) -> list[Tensor]:
        """All that can be optimised."""
        return [t for c in self.choices.values() for t in c.theta] + [t for s in self.shares.values() for t in s]

    def clamp(self) -> None:
        """Back into [0, 1]."""
        with torch.no_grad():
            for t in self.parameters():
                t.clamp_(0.0, 1.0)


class Multipliers:
    """Multipliers beta of the splits of neurons, one for each row of the output and each end of a split interval.

    In a part where a neuron's input z has been cut, ``lo <= z <= hi`` holds; ``A z + b (z - hi) + c (lo - z)`` is at
    most ``A z`` there for every b, c >= 0, so its least value without the constraints is a lower bound (weak
    duality). ``cuts`` marks by step which ends are cut, two masks ``[examples, *shape]``; the ends themselves are those
    of ``boxes``. Source: Wang et al. 2021, "Beta-CROWN"; Shi et al. 2025 for cuts at any place.
    """

    def __init__(self, rows: int, cuts: Mapping[int, tuple[Tensor, Tensor]], boxes: Sequence[Box]) -> None:
        self.scales: dict[int, Tensor] = {}
        self.terms: dict[int, Callable[[Tensor], tuple[Tensor, Tensor]]] = {}
        self._free: list[Tensor] = []
        for i, (below, above) in cuts.items():
            if not bool(below.any() | above.any()):
                continue
            free = torch.zeros(2, rows, *below.shape, dtype=boxes[i].lo.dtype, device=below.device).requires_grad_()
            self._free.append(free)
            masks = torch.stack([below, above]).to(free.dtype).unsqueeze(1)
            ends = torch.stack([boxes[i].lo, boxes[i].hi]).detach().unsqueeze(1)
            self.terms[i] = self._term(i, free, masks, ends)

    def _term(
        self, i: int, free: Tensor, masks: Tensor, ends: Tensor
    ) -> Callable[[Tensor], tuple[Tensor, Tensor]]:  # fmt: skip
        def term(a: Tensor) -> tuple[Tensor, Tensor]:
            if i not in self.scales:  # multipliers compare with the coefficients that they are added to
                self.scales[i] = a.detach().abs().mean().clamp(min=1e-30)
            beta = self.scales[i] * free * masks
            parts = (beta * ends).flatten(3)
            slack = gamma(2.0 * parts.shape[-1] + 4.0, a.dtype) * parts.abs().sum((0, -1))
            return beta[1] - beta[0], (parts[0] - parts[1]).sum(-1) - slack

        return term

    def parameters(self) -> list[Tensor]:
        """All that can be optimised, at least 0 each."""
        return self._free

    def clamp(self) -> None:
        """Back to at least 0."""
        with torch.no_grad():
            for t in self._free:
                t.clamp_(min=0.0)

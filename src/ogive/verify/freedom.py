"""Planes that may be chosen: the slopes of every neuron's lines and the shares of McCormick's planes (alpha-CROWN).

A line of any slope can be moved until it is sound, so slopes are free and the bound they give is differentiable in
them. Each set of rows (those of one step) has its own choice. A choice theta in [0, 1] lies between the slopes of the
lines that are tight at the two ends of the interval: for relu this is the slope alpha of its lower line.
Source: Xu et al. 2021, "Fast and complete"; for general nonlinearities Shi et al. 2025, "Neural network verification
with branch-and-bound for general nonlinearities".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ogive.verify.formula import Formula
from ogive.verify.network import Box, Step
from ogive.verify.products import Product
from ogive.verify.relaxation import Relaxation


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

"""Sets of inputs: the ball of radius eps around each example, in the norm of choice, cut to the range of the data."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ogive.verify.network import Box
from ogive.verify.relaxation import dot
from ogive.verify.rounding import gamma, least


@dataclass(frozen=True, eq=False)
class Cuboid:
    """All x with ``lo <= x <= hi``."""

    lo: Tensor
    hi: Tensor

    def box(self) -> Box:
        return Box(self.lo, self.hi)

    def least(self, rows: Tensor) -> Tensor:
        centre, radius = 0.5 * self.lo + 0.5 * self.hi, 0.5 * self.hi - 0.5 * self.lo
        size = rows.abs()
        # |x| <= |c| + r (1 + 2 u): the roundings of c and r are among those paid for
        slack = gamma(math.prod(self.lo.shape[1:]) + 8.0, rows.dtype)
        far = radius * (1.0 + slack) + slack * (centre.abs() + radius) + least(rows.dtype)
        return dot(rows, centre) - dot(size, far)

    def cut(self, lo: Tensor, hi: Tensor) -> Cuboid:
        """The part between ``lo`` and ``hi``."""
        return Cuboid(lo, hi)

    def select(self, index: Tensor) -> Cuboid:
        return Cuboid(self.lo[index], self.hi[index])


@dataclass(frozen=True, eq=False)
class Ball:
    """All x with ``|x - centre| <= radius`` in the p-norm, p at least 1 and finite, inside ``within``."""

    centre: Tensor
    radius: Tensor  # one for each example
    p: float
    within: Box

    def box(self) -> Box:
        return self.within

    def least(self, rows: Tensor) -> Tensor:
        """Of the ball and of the box around it the better bound."""
        cube = Cuboid(*self.within).least(rows)
        dual = math.inf if self.p == 1.0 else self.p / (self.p - 1.0)
        size = torch.linalg.vector_norm(rows.flatten(2), dual, dim=-1)
        slack = gamma(2.0 * math.prod(self.centre.shape[1:]) + 16.0, rows.dtype)
        far = self.radius * size * (1.0 + slack) + slack * dot(rows.abs(), self.centre.abs()) + least(rows.dtype)
        return torch.maximum(cube, dot(rows, self.centre) - far)

    def cut(self, lo: Tensor, hi: Tensor) -> Ball:
        """The part between ``lo`` and ``hi``."""
        return Ball(self.centre, self.radius, self.p, Box(lo, hi))

    def select(self, index: Tensor) -> Ball:
        return Ball(self.centre[index], self.radius[index], self.p, Box(*(t[index] for t in self.within)))

"""First guesses for an inverse: values of one branch at knots that reach from the smallest double to the largest."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ogive.derive.branches import LARGEST, Branch
from ogive.derive.solving.precise_formula import Sharp


def knots(branch: Branch) -> Tensor:
    """Places in the domain: even near zero, geometric towards both infinities, zero, its ends and its knots."""
    two = torch.tensor(2.0, dtype=torch.float64)
    decades = two ** torch.arange(-1072, 1024, 8, dtype=torch.float64)
    fine = two ** torch.arange(-8, 12, 0.25, dtype=torch.float64)
    half = torch.cat([decades, fine])
    parts = [torch.linspace(-24.0, 24.0, 1537, dtype=torch.float64), half, -half, torch.zeros(1, dtype=torch.float64)]
    near = two ** torch.arange(-52, 6, 1, dtype=torch.float64)
    lo, hi = max(branch.lo, -LARGEST), min(branch.hi, LARGEST)
    for at in (lo, hi, *branch.knots):
        if abs(at) < 1e300:
            offsets = near * max(1.0, abs(at))
            parts += [at + offsets, at - offsets]
    inside = torch.cat([*parts, torch.tensor([lo, hi], dtype=torch.float64)])
    return torch.unique(inside[(inside >= lo) & (inside <= hi)])


class StartTable:
    """``x`` and the values there, both ascending in y."""

    def __init__(self, sharp: Sharp, branch: Branch) -> None:
        x = knots(branch)
        y = sharp.wide(x)
        fine = ~torch.isnan(y.hi)  # a pole at an end of the domain
        x, hi, lo = x[fine], y.hi[fine], y.lo[fine]
        if not branch.rising:
            x, hi, lo = x.flip(0), hi.flip(0), lo.flip(0)
        # A table must rise: what rounding has put out of order is left to the solver.
        self.x, self.y, self.rest = x, torch.cummax(hi, 0).values, lo
        slope = sharp.slope(x)
        self.turn = torch.nan_to_num(1.0 / slope, nan=math.inf, posinf=math.inf, neginf=-math.inf)

    def guess(self, y: Tensor) -> Tensor:
        """A first guess at x for every y, by cubic Hermite interpolation of the inverse, whose slopes are 1/f'."""
        i = (torch.searchsorted(self.y, y, right=True) - 1).clamp(0, len(self.x) - 2)
        a, ya = self.x[i], self.y[i]
        d, h = self.x[i + 1] - a, self.y[i + 1] - ya
        t = (y - ya) / h
        u = 1.0 - t
        cubic = a + t * (d * t * (3.0 - 2.0 * t) + h * u * (self.turn[i] * u - self.turn[i + 1] * t))
        between = (cubic - a) * (cubic - (a + d)) <= 0.0
        straight = a + (t * d).nan_to_num(0.0, 0.0, 0.0)
        return torch.where(between, cubic, straight)

    def bracket(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The knots around x for every y, from below and from above; several apart where rounding has made f level."""
        last = len(self.x) - 1
        a = self.x[(torch.searchsorted(self.y, y, right=False) - 1).clamp(0, last)]
        b = self.x[torch.searchsorted(self.y, y, right=True).clamp(0, last)]
        return torch.minimum(a, b), torch.maximum(a, b)

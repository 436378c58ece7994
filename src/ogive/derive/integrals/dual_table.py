"""The dual activation of a whole data set: Chebyshev polynomials in the angle and in both lengths, fitted to `dual`.

A kernel matrix asks for millions of values of E g(u) g(v) whose angles and standard deviations fill a small box. On it
the correlation of g(u) and g(v) is interpolated in theta = arccos c and in the logarithms of both standard deviations.
In theta, not in c, because a kink or a jump of g makes a root of 1 - c, which is theta. Where g has a break point away
from 0 and the lengths differ, the corner theta = 0, equal lengths, keeps a singularity, |distance|^3 of a kink: there
the polynomials converge slowly, and :attr:`DualTable.tail` says so.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.derive.dual import dual
from ogive.derive.moments import moments

_MOST_ANGLES = 1024
_MOST_LENGTHS = 32
_NOISE = 1e-11  # a tail below this that no longer falls is rounding


class DualTable:
    """``E g(u) g(v) / sqrt(E g(u)^2 E g(v)^2)``, g the ``slope``-th derivative, for angles and log lengths in ranges.

    ``tail`` is the largest of the last coefficients in any direction, about the error of interpolation; ``pairs`` how
    often :func:`~ogive.derive.dual.dual` was asked, ``budget`` how often it may be.
    """

    def __init__(
        self,
        act: Activation,
        slope: int,
        angles: tuple[float, float],
        lengths: tuple[float, float],
        tol: float = 2e-13,
        budget: int = 6000,
    ) -> None:
        self.act, self.slope = act, slope
        middle = 0.5 * (angles[0] + angles[1])
        self.angles = (middle, max(0.5 * (angles[1] - angles[0]), 1e-9))
        low, high = (math.log(s) for s in lengths)
        self.lengths = (0.5 * (low + high), 0.5 * (high - low))
        self.single = self.lengths[1] < 1e-14
        self.pairs, self.error = 0, 0.0
        values_at = self._grid(1 if self.single else 3, 9)
        self.coefficients, self.tail = self._refined(values_at, tol, budget)

    def _nodes(self, count: int, box: tuple[float, float]) -> Tensor:
        if count == 1:
            return torch.tensor([box[0]], dtype=torch.float64)
        return box[0] + box[1] * torch.cos(torch.arange(count, dtype=torch.float64) * (math.pi / (count - 1)))

    def _grid(self, sides: int, angles: int, known: Tensor | None = None) -> Tensor:
        """Values at the nodes, (lengths, lengths, angles); every other one in a refined direction is ``known``."""
        s = self._nodes(sides, self.lengths).exp()
        c = torch.cos(self._nodes(angles, self.angles).clamp(0.0, math.pi))
        power = [(2,)] if self.slope == 0 else [(0,) * self.slope + (2,)]
        norm = moments(self.act, power, std=s)[0][0].sqrt()
        out = torch.full((sides, sides, angles), math.nan, dtype=torch.float64)
        if known is not None:
            by_side, by_angle = (2 if sides > known.shape[0] else 1), (2 if angles > known.shape[2] else 1)
            out[::by_side, ::by_side, ::by_angle] = known
        upper = torch.ones(sides, sides, dtype=torch.bool).triu()[:, :, None]
        i, j, k = (torch.isnan(out) & upper).nonzero().T
        value, error = dual(self.act, c[k], slope=self.slope, std=(s[i], s[j]))
        scale = (norm[i] * norm[j]).clamp_min(1e-300)
        out[i, j, k] = value / scale
        out[j, i, k] = out[i, j, k]
        self.pairs += len(k)
        self.error = max(self.error, float((error / scale).max()))
        return out

    def _refined(self, grid: Tensor, tol: float, budget: int) -> tuple[Tensor, float]:
        before = [math.inf, math.inf]
        stuck = [self.single, False]
        while True:
            a = _coefficients(grid)
            tails = [0.0 if self.single else _tail(a, 0), _tail(a, 2)]
            for d in (0, 1):
                stuck[d] = stuck[d] or tails[d] <= tol or (tails[d] < _NOISE and tails[d] > 0.25 * before[d])
            sides, angles = grid.shape[0], grid.shape[2]
            stuck[0] = stuck[0] or sides > _MOST_LENGTHS
            stuck[1] = stuck[1] or angles > _MOST_ANGLES
            order = sorted((d for d in (0, 1) if not stuck[d]), key=lambda d: -tails[d])
            if not order:
                return a, max(tails)
            d = order[0]
            more = (2 * sides - 1, angles) if d == 0 else (sides, 2 * angles - 1)
            if more[0] * (more[0] + 1) // 2 * more[1] > budget:
                stuck[d] = True
                continue
            before[d] = tails[d]
            grid = self._grid(*more, known=grid)

    def __call__(self, angle: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """The correlation of g(u) and g(v): ``angle`` (n, m), standard deviations ``u`` (n,) and ``v`` (m,)."""
        t = ((angle - self.angles[0]) / self.angles[1]).clamp(-1.0, 1.0)
        sides = self.coefficients.shape[0]
        if self.single:
            rows = list(self.coefficients[0, 0])
        else:
            basis_u, basis_v = (_basis((s.log() - self.lengths[0]) / self.lengths[1], sides) for s in (u, v))
        twice = 2.0 * t
        one, two = torch.zeros_like(t), torch.zeros_like(t)
        for k in range(self.coefficients.shape[2] - 1, -1, -1):  # Clenshaw
            a = rows[k] if self.single else (basis_u @ self.coefficients[:, :, k]) @ basis_v.T
            new = torch.mul(twice if k else t, one).sub_(two).add_(a)
            one, two = new, one
        return one


def _basis(t: Tensor, count: int) -> Tensor:
    angle = torch.arccos(t.clamp(-1.0, 1.0))
    return torch.cos(angle[:, None] * torch.arange(count, dtype=torch.float64))


def _coefficients(grid: Tensor) -> Tensor:
    """Chebyshev coefficients from values at the extrema, along every dimension of more than one node."""
    for d in range(3):
        n = grid.shape[d] - 1
        if n == 0:
            continue
        k = torch.arange(n + 1, dtype=torch.float64)
        cosines = torch.cos((k[:, None] * k).remainder(2 * n) * (math.pi / n)) * (2.0 / n)
        cosines[:, [0, n]] *= 0.5
        cosines[[0, n]] *= 0.5
        grid = torch.tensordot(grid, cosines, dims=([d], [1])).movedim(-1, d)
    return grid


def _tail(a: Tensor, dim: int) -> float:
    count = a.shape[dim]
    return float(a.narrow(dim, count - max(2, count // 8), max(2, count // 8)).abs().max())

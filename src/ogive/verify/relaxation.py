"""What a nonlinear step becomes while bounds go backward: a plane below it and a plane above it.

With rows A of coefficients of the step's result z, ``A z >= A+ (S z_in + b) + A- (T z_in + c)`` for a plane (S, b)
below and (T, c) above; A+ and A- are the positive and negative parts of A.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ogive.verify.rounding import gamma, least


class Relaxation:
    """Intercepts of the planes below and above, one example a leading index.

    ``size`` is the sum of absolute values behind each plane and ``terms`` the roundings in its slopes, intercepts and
    products with rows; what they can amount to is taken into the intercepts.
    """

    def __init__(self, below: Tensor, above: Tensor, size: Tensor, terms: float, grouped: bool = False) -> None:
        # a row of the result has as many terms as the result has elements
        self.terms = terms + float(math.prod(size.shape[2 if grouped else 1 :])) + 16.0
        slack = gamma(self.terms, below.dtype) * size + least(below.dtype)
        self.below, self.above = below - slack, above + slack

    def pull(self, positive: Tensor, negative: Tensor) -> list[Tensor]:
        """Coefficients of each input, from the two parts of the coefficients of the result."""
        raise TypeError(type(self).__name__)

    def through(self, rows: Tensor) -> tuple[Tensor, list[Tensor]]:
        """What the planes' intercepts add to each row, and the coefficients of each input."""
        positive, negative = rows.clamp(min=0.0), rows.clamp(max=0.0)
        return dot(positive, self.below) + dot(negative, self.above), self.pull(positive, negative)


class Elementwise(Relaxation):
    """Slopes for each element of each input, which has the shape of the result.

    A leading dimension more than the examples' stands for groups of rows that have planes of their own.
    """

    def __init__(
        self, slopes: Sequence[tuple[Tensor, Tensor]], below: Tensor, above: Tensor, size: Tensor, terms: float = 4.0,
        grouped: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(below, above, size, terms, grouped)
        self.slopes = slopes
        self.folded = False

    def fold(self, bias: Tensor | None, size: Tensor, terms: float) -> None:
        """Take in the linear step before, that nothing else uses: its constant, and what its roundings can cost."""
        low, high = self.slopes[0]
        steep = torch.maximum(low.abs(), high.abs())
        slack = gamma(terms + self.terms, low.dtype) * (steep * size)
        if bias is not None:
            self.below, self.above = self.below + low * bias, self.above + high * bias
        self.below, self.above = self.below - slack, self.above + slack
        self.folded = True

    def through(self, rows: Tensor) -> tuple[Tensor, list[Tensor]]:
        groups = self.below.shape[0] if self.below.dim() == rows.dim() else 1
        shape, n = rows.shape[2:], math.prod(rows.shape[2:])
        a = rows.reshape(groups, -1, rows.shape[1], n)
        planes = [t.reshape(groups, -1, n) for t in (self.below, self.above, *(t for s in self.slopes for t in s))]
        constant, *parts = _Through.apply(a, *planes)
        lead = (rows.shape[0], constant.shape[-1])
        return constant.reshape(lead), [p.reshape(*lead, *shape) for p in parts]


class _Through(torch.autograd.Function):
    """Rows ``[groups, rows, examples or 1, n]`` through planes ``[groups, examples, n]``, in few passes over the rows;
    the gradient keeps the rows and nothing else of their size."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, below: Tensor, above: Tensor, *slopes: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(a, below, above, *slopes)
        positive, negative = a.clamp(min=0.0), a.clamp(max=0.0)
        constant = _over_elements(positive, below) + _over_elements(negative, above)
        wide = [s.unsqueeze(1) for s in slopes]
        return (constant, *(torch.addcmul(positive * s, negative, t) for s, t in zip(wide[::2], wide[1::2])))

    @staticmethod
    def backward(ctx: Any, c: Tensor, *parts: Tensor) -> tuple[Tensor | None, ...]:
        a, below, above, *slopes = ctx.saved_tensors
        positive, negative = a.clamp(min=0.0), a.clamp(max=0.0)
        high = c.unsqueeze(-1)
        low, high = high * below.unsqueeze(1), high * above.unsqueeze(1)
        found = [torch.einsum("gkbn,gkb->gbn", t.expand(*t.shape[:2], c.shape[2], t.shape[3]), c)
                 for t in (positive, negative)]  # fmt: skip
        for g, s, t in zip(parts, slopes[::2], slopes[1::2]):
            low, high = torch.addcmul(low, g, s.unsqueeze(1)), torch.addcmul(high, g, t.unsqueeze(1))
            found += [(positive * g).sum(1), (negative * g).sum(1)]
        by_rows = torch.where(a > 0.0, low, high)
        if a.shape[2] != by_rows.shape[2]:
            by_rows = by_rows.sum(2, keepdim=True)
        return (by_rows, *found)


def _over_elements(a: Tensor, plane: Tensor) -> Tensor:
    """``[groups, rows, examples, n]`` with ``[groups, examples, n]``: sums over n."""
    if a.shape[2] == 1:
        return torch.einsum("gkn,gbn->gkb", a.squeeze(2), plane)
    return torch.einsum("gkbn,gbn->gkb", a, plane)


def dot(rows: Tensor, values: Tensor) -> Tensor:
    """``[rows, examples or 1, *shape]`` with ``[examples or 1, *shape]``: sums over the shape, ``[rows, examples]``."""
    flat, other = rows.flatten(2), values.flatten(1)
    if flat.shape[1] == 1:
        return flat.squeeze(1) @ other.mT
    if other.shape[0] == 1:
        return flat @ other[0]
    return (flat.transpose(0, 1) @ other.unsqueeze(-1)).squeeze(-1).mT


class Gathered(Relaxation):
    """One result from the last dimension of the input: slopes have one dimension more than the result."""

    def __init__(self, low: Tensor, high: Tensor, below: Tensor, above: Tensor, size: Tensor) -> None:
        super().__init__(below, above, size, 2.0 * low.shape[-1] + 4.0)
        self.low, self.high = low, high

    def pull(self, positive: Tensor, negative: Tensor) -> list[Tensor]:
        return [torch.addcmul(positive.unsqueeze(-1) * self.low, negative.unsqueeze(-1), self.high)]


class Mixed(Relaxation):
    """Each result from all of the last dimension: slopes ``[..., result, input]``."""

    def __init__(self, low: Tensor, high: Tensor, below: Tensor, above: Tensor, size: Tensor) -> None:
        super().__init__(below, above, size, 4.0 * low.shape[-1] + 32.0)
        self.low, self.high = low, high

    def pull(self, positive: Tensor, negative: Tensor) -> list[Tensor]:
        low = (positive.unsqueeze(-2) @ self.low).squeeze(-2)
        return [low + (negative.unsqueeze(-2) @ self.high).squeeze(-2)]


class Bilinear(Relaxation):
    """A matrix product: both planes have the slopes of the product at the centres."""

    def __init__(self, left: Tensor, right: Tensor, below: Tensor, above: Tensor, size: Tensor) -> None:
        super().__init__(below, above, size, 2.0 * max(left.shape[-1], *size.shape[-2:]) + 8.0)
        self.left, self.right = left, right

    def pull(self, positive: Tensor, negative: Tensor) -> list[Tensor]:
        rows = positive + negative
        return [rows @ self.right.mT, self.left.mT @ rows]

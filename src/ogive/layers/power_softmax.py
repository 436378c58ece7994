"""Power-softmax: attention weights from even powers, which encryption can compute."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ogive.errors import InputError, ParameterError


class PowerSoftmax(nn.Module):
    """``w_i = (x_i/c)^p / (sum_j (x_j/c)^p + eps)`` along ``dim``, p even: positive weights that sum to nearly 1.

    The scale c cancels but for eps: ``scale="max"`` takes the largest magnitude along ``dim``, so that no power
    overflows and the sum is at least 1; a number is a fixed c, the Lipschitz division of the source, which needs no
    comparison. With ``iterations`` the reciprocal is Goldschmidt's product, so that with a fixed c the whole layer is
    a polynomial: for d = the mean of the powers (which lies in (0, 1] whatever the length, when no score is above c),
    ``1/d = prod_i (1 + (1 - d)^(2^i))``, relative error ``(1 - d)^(2^iterations)``.

    A score of -inf (a mask) or 0 has the weight 0. A row of zeros has weights 0.

    Args:
        p: an even whole number from 2.
        dim: along which the weights sum to 1.
        scale: ``"max"`` or a number above 0.
        eps: above 0; added to the sum, or to the mean where there are iterations.
        iterations: of the reciprocal, from 1 to 40; None divides.

    Raises:
        ParameterError: for other numbers.
        InputError: for something that is not a floating tensor.

    Source: Zimerman et al. 2024, *Power-Softmax: Towards secure LLM inference over encrypted data*.

    >>> PowerSoftmax(2)(torch.tensor([1.0, -2.0, 0.0]))
    tensor([0.2000, 0.8000, 0.0000])
    """

    def __init__(
        self, p: int = 2, *, dim: int = -1, scale: str | float = "max", eps: float = 1e-9, iterations: int | None = None
    ) -> None:
        super().__init__()
        if type(p) is not int or p < 2 or p % 2:
            raise ParameterError(f"PowerSoftmax: p={p!r}; it takes an even whole number from 2")
        number = isinstance(scale, (int, float)) and not isinstance(scale, bool)
        if scale != "max" and not (number and math.isfinite(float(scale)) and float(scale) > 0.0):
            raise ParameterError(f"PowerSoftmax: scale={scale!r}; it takes 'max' or a number above 0")
        if not (math.isfinite(eps) and eps > 0.0):
            raise ParameterError(f"PowerSoftmax: eps={eps!r}; it takes a number above 0")
        if type(dim) is not int:
            raise ParameterError(f"PowerSoftmax: dim={dim!r}; it takes a whole number")
        if iterations is not None and (type(iterations) is not int or not 1 <= iterations <= 40):
            raise ParameterError(f"PowerSoftmax: iterations={iterations!r}; it takes None or a whole number, 1 to 40")
        self.p, self.dim, self.scale, self.eps, self.iterations = p, dim, scale, eps, iterations

    def forward(self, x: Tensor) -> Tensor:
        """The weights, in the shape and dtype of ``x``."""
        if not isinstance(x, Tensor) or not x.is_floating_point():
            got = str(x.dtype) if isinstance(x, Tensor) else type(x).__name__
            raise InputError(f"PowerSoftmax takes a floating tensor of scores; got {got}")
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        wide = wide.masked_fill(wide == -math.inf, 0.0)
        powers = (wide / self._divisor(wide)) ** self.p
        if self.iterations is None:
            return (powers / (powers.sum(self.dim, keepdim=True) + self.eps)).to(x.dtype)
        length = wide.shape[self.dim]
        rest = 1.0 - (powers.mean(self.dim, keepdim=True) + self.eps)
        weights = powers / length
        for _ in range(self.iterations):
            weights = weights * (1.0 + rest)
            rest = rest * rest
        return weights.to(x.dtype)

    def _divisor(self, x: Tensor) -> Tensor | float:
        if self.scale != "max":
            return float(self.scale)
        # the scale cancels (but for eps), so no gradient is owed to it
        top = x.detach().abs().amax(self.dim, keepdim=True) if x.shape[self.dim] else x.detach().sum(self.dim, True)
        return torch.where(top > 0.0, top, torch.ones_like(top))

    @property
    def depth(self) -> int | None:
        """Multiplications in a row when it is evaluated under encryption: those of the power, of 1/c and of the
        product (of 1/length too); None where it compares or divides and is no polynomial."""
        if self.iterations is None or self.scale == "max":
            return None
        return 1 + (self.p - 1).bit_length() + 1 + self.iterations

    def extra_repr(self) -> str:
        more = "" if self.iterations is None else f", iterations={self.iterations}"
        return f"p={self.p}, dim={self.dim}, scale={self.scale!r}, eps={self.eps:g}{more}"

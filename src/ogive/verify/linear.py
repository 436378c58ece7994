"""Linear operations: products with weights, elementwise scales and sums, reshapes and averages.

Each knows its transpose, which carries rows of coefficients backward, and what it does with absolute values, which
bounds intervals and rounding errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import vjp, vmap
from torch.nn import grad

from ogive.verify.network import Box
from ogive.verify.rounding import gamma, least, middle

Weights = Callable[[torch.dtype], Tensor]


class Linear:
    """A linear map of one or several tensors plus a constant: the ground the others stand on.

    ``terms`` bounds the summands of one element of the result or of the transposed result; ``exact`` ones move
    numbers about and never round.
    """

    linear = True
    exact = False

    def __init__(self, name: str, terms: float) -> None:
        self.name, self.terms = name, terms

    def bias(self, dtype: torch.dtype) -> Tensor | None:
        """The constant that is added, of the shape of one result."""
        return None

    def apply(self, values: Sequence[Tensor]) -> Tensor:
        """The linear part."""
        raise TypeError(self.name)

    def absolute(self, values: Sequence[Tensor]) -> Tensor:
        """The linear part with the absolute values of its coefficients."""
        raise TypeError(self.name)

    def transpose(self, rows: Tensor) -> list[Tensor]:
        """For each input the coefficients of the same functional, with the leading dimensions of ``rows``."""
        raise TypeError(self.name)

    def evaluate(self, values: Sequence[Tensor]) -> Tensor:
        result, bias = self.apply(values), self.bias(values[0].dtype)
        return result if bias is None else result + bias

    def size(self, reaches: Sequence[Tensor]) -> Tensor:
        """The sum of absolute values behind every element of the result: what rounding errors are relative to."""
        bias = self.bias(reaches[0].dtype)
        found = self.absolute(reaches)
        return found if bias is None else found + bias.abs()

    def interval(self, boxes: Sequence[Box]) -> Box:
        if self.exact:
            return Box(self.evaluate([b.lo for b in boxes]), self.evaluate([b.hi for b in boxes]))
        dtype = boxes[0].lo.dtype
        parts = [middle(b) for b in boxes]
        # the error of centre and radius is folded into the radius: gamma (|W| |c| + |W| r + |b|)
        share = gamma(self.terms + 6.0, dtype)
        centre = self.evaluate([c for c, _ in parts])
        radius = self.absolute([r + share * (c.abs() + r) for c, r in parts]) + least(dtype)
        bias = self.bias(dtype)
        if bias is not None:
            radius = radius + share * bias.abs()
        return Box(centre - radius, centre + radius)


class Dense(Linear):
    """``x W' + b`` on the last dimension."""

    def __init__(self, name: str, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(name, float(max(weight.shape)) + 1.0)
        self.weight, self._bias = weight, bias

    def bias(self, dtype: torch.dtype) -> Tensor | None:
        return None if self._bias is None else self._bias.to(dtype)

    def apply(self, values: Sequence[Tensor]) -> Tensor:
        return values[0] @ self.weight.to(values[0].dtype).mT

    def absolute(self, values: Sequence[Tensor]) -> Tensor:
        return values[0] @ self.weight.to(values[0].dtype).abs().mT

    def transpose(self, rows: Tensor) -> list[Tensor]:
        return [rows @ self.weight.to(rows.dtype)]


class Convolution(Linear):
    """A convolution of 1, 2 or 3 dimensions with whole-number padding."""

    def __init__(
        self, name: str, weight: Tensor, bias: Tensor | None, shape: Sequence[int], options: dict[str, Any]
    ) -> None:
        self.weight, self._bias, self.options = weight, bias, options
        self.dims = weight.dim() - 2
        self.shape = tuple(shape[-self.dims - 1 :])
        taps = math.prod(weight.shape[2:])
        super().__init__(name, float(max(weight.shape[0], weight.shape[1]) * taps) + 1.0)
        self.run = (torch.conv1d, torch.conv2d, torch.conv3d)[self.dims - 1]
        self.back = (grad.conv1d_input, grad.conv2d_input, grad.conv3d_input)[self.dims - 1]

    def bias(self, dtype: torch.dtype) -> Tensor | None:
        return None if self._bias is None else self._bias.to(dtype).reshape(-1, *(1,) * self.dims)

    def _with(self, weight: Tensor, x: Tensor) -> Tensor:
        lead = x.shape[: -self.dims - 1]
        made = self.run(x.reshape(-1, *x.shape[-self.dims - 1 :]), weight, None, **self.options)
        return made.reshape(*lead, *made.shape[1:])

    def apply(self, values: Sequence[Tensor]) -> Tensor:
        return self._with(self.weight.to(values[0].dtype), values[0])

    def absolute(self, values: Sequence[Tensor]) -> Tensor:
        return self._with(self.weight.to(values[0].dtype).abs(), values[0])

    def transpose(self, rows: Tensor) -> list[Tensor]:
        lead = rows.shape[: -self.dims - 1]
        flat = rows.reshape(-1, *rows.shape[-self.dims - 1 :])
        made = self.back((len(flat), *self.shape), self.weight.to(rows.dtype), flat, **self.options)
        return [made.reshape(*lead, *self.shape)]


class Scaled(Linear):
    """``a1 x1 + a2 x2 + ... + b`` element by element; the factors and b broadcast against the shape of the result.

    A factor is a number or a function that gives the tensor in a dtype; ``doubt`` is how many roundings went into the
    factors and the constant themselves.
    """

    def __init__(
        self, name: str, factors: Sequence[Weights | float], bias: Weights | None = None, doubt: float = 0.0
    ) -> None:
        super().__init__(name, len(factors) + 1.0 + doubt)
        self.factors, self._bias = list(factors), bias
        self.exact = not doubt and bias is None and len(self.factors) == 1 and self.factors[0] == 1.0

    def bias(self, dtype: torch.dtype) -> Tensor | None:
        return None if self._bias is None else self._bias(dtype)

    @staticmethod
    def _times(factor: Weights | float, x: Tensor, positive: bool = False) -> Tensor:
        if callable(factor):
            made = factor(x.dtype)
            return (made.abs() if positive else made) * x
        factor = abs(factor) if positive else factor
        return x if factor == 1.0 else factor * x

    def apply(self, values: Sequence[Tensor]) -> Tensor:
        parts = [self._times(a, x) for a, x in zip(self.factors, values)]
        return sum(parts[1:], parts[0])

    def absolute(self, values: Sequence[Tensor]) -> Tensor:
        parts = [self._times(a, x, True) for a, x in zip(self.factors, values)]
        return sum(parts[1:], parts[0])

    def transpose(self, rows: Tensor) -> list[Tensor]:
        return [self._times(a, rows) for a in self.factors]


class Traced(Linear):
    """Any other linear call of torch, replayed on every example; its transpose is its vector-Jacobian product.

    ``weights`` are constants with signs that enter the call after the inputs; without them the call has no negative
    coefficients (a reshape, a sum, an average). A constant that the call adds (the value of a padding) is found by
    calling it on zeros.
    """

    def __init__(
        self,
        name: str,
        call: Callable[..., Tensor],
        shapes: Sequence[tuple[int, ...]],
        weights: Sequence[Tensor] = (),
        exact: bool = False,
    ) -> None:
        self.call, self.shapes, self.weights = call, [tuple(s) for s in shapes], list(weights)
        ones = [torch.ones(s, dtype=torch.float64) for s in self.shapes]
        zeros = [torch.zeros_like(t) for t in ones]
        solid = [torch.ones_like(w, dtype=torch.float64) for w in self.weights]
        with torch.no_grad():
            rest = call(*zeros, *solid)
            most = float((call(*ones, *solid) - rest).abs().max()) if rest.numel() else 1.0
        back = vjp(lambda *v: call(*v, *solid), *zeros)[1](torch.ones_like(rest))
        most = max([most, *(float(b.abs().max()) for b in back if b.numel())])
        # an average counts its elements with weights below one: as many roundings as it has elements
        longest = max(math.prod(s) for s in self.shapes)
        super().__init__(name, (most if exact or self.weights else float(longest)) + 2.0)
        self.exact = exact and most <= 1.0
        self.rest = rest if bool((rest != 0).any()) else None

    def bias(self, dtype: torch.dtype) -> Tensor | None:
        return None if self.rest is None else self.rest.to(dtype)

    def _run(self, values: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
        lead = torch.broadcast_shapes(*(v.shape[: v.dim() - len(s)] for v, s in zip(values, self.shapes)))
        flat = [v.expand(*lead, *s).reshape(-1, *s) for v, s in zip(values, self.shapes)]
        made = vmap(lambda *v: self.call(*v, *weights))(*flat)
        if self.rest is not None:
            made = made - self.rest.to(made.dtype)
        return made.reshape(*lead, *made.shape[1:])

    def apply(self, values: Sequence[Tensor]) -> Tensor:
        return self._run(values, [w.to(values[0].dtype) for w in self.weights])

    def absolute(self, values: Sequence[Tensor]) -> Tensor:
        return self._run(values, [w.to(values[0].dtype).abs() for w in self.weights])

    def evaluate(self, values: Sequence[Tensor]) -> Tensor:
        result = self.apply(values)
        return result if self.rest is None else result + self.rest.to(result.dtype)

    def interval(self, boxes: Sequence[Box]) -> Box:
        found = super().interval(boxes)
        if self.weights or self.rest is not None or self.exact:
            return found
        # sums of what is not negative are not: rounding outward must not say so (a variance goes into a root)
        below = self.apply([(b.lo < 0.0).to(b.lo.dtype) for b in boxes])
        return Box(torch.where(below == 0.0, found.lo.clamp(min=0.0), found.lo), found.hi)

    def transpose(self, rows: Tensor) -> list[Tensor]:
        dtype = rows.dtype
        zeros = [torch.zeros(s, dtype=dtype, device=rows.device) for s in self.shapes]
        weights = [w.to(dtype) for w in self.weights]
        found: Any = vjp(lambda *v: self.call(*v, *weights), *zeros)
        made, pull = found[0], found[1]
        lead = rows.shape[: rows.dim() - made.dim()]
        parts = vmap(pull)(rows.reshape(-1, *made.shape))
        return [p.reshape(*lead, *s) for p, s in zip(parts, self.shapes)]


class Reshaped(Linear):
    """The same elements in another shape of one example."""

    exact = True

    def __init__(self, name: str, before: Sequence[int], after: Sequence[int]) -> None:
        super().__init__(name, 1.0)
        self.before, self.after = tuple(before), tuple(after)

    def apply(self, values: Sequence[Tensor]) -> Tensor:
        x = values[0]
        return x.reshape(*x.shape[: x.dim() - len(self.before)], *self.after)

    absolute = apply

    def transpose(self, rows: Tensor) -> list[Tensor]:
        return [rows.reshape(*rows.shape[: rows.dim() - len(self.after)], *self.before)]


class Known(Reshaped):
    """The same elements, of which it is known that none is larger than ``most`` in absolute value."""

    def __init__(self, name: str, shape: Sequence[int], most: float) -> None:
        super().__init__(name, shape, shape)
        self.most = most * (1.0 + 1e-6)

    def interval(self, boxes: Sequence[Box]) -> Box:
        return Box(boxes[0].lo.clamp(-self.most, self.most), boxes[0].hi.clamp(-self.most, self.most))

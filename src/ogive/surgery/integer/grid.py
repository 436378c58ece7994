"""An affine grid of integers: ``x = scale * (q - zero)``, and how it is laid over the values of a site."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ogive.errors import OgiveError, ParameterError, closest

SCALES = ("minmax", "percentile", "mse")
_BINS = 2048
_KEPT = 0.9999  # of the values, by scale="percentile"


@dataclass(frozen=True)
class Grid:
    """Integers from ``low`` to ``high`` that stand for ``scale * (q - zero)``."""

    scale: float
    zero: int
    low: int
    high: int

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the greatest value there is an integer for."""
        return self.scale * (self.low - self.zero), self.scale * (self.high - self.zero)

    def integers(self, x: Tensor) -> Tensor:
        """The nearest integer of each value (ties to even, as ONNX's QuantizeLinear), int32; NaN gives the zero."""
        near = torch.round(x / self.scale).add_(self.zero)
        return near.nan_to_num_(float(self.zero)).clamp_(self.low, self.high).to(torch.int32)

    def values(self, q: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
        """What integers stand for."""
        return (q.to(torch.int32) - self.zero).to(dtype) * self.scale

    def rounded(self, x: Tensor) -> Tensor:
        """``x`` on the grid, in its own dtype."""
        return self.values(self.integers(x), x.dtype)


def grid(low: float, high: float, bits: int = 8, symmetric: bool = False) -> Grid:
    """The grid of ``2**bits`` integers over ``[low, high]``, widened to hold 0, which is then exact.

    Args:
        low, high: finite ends of the values.
        bits: 2 to 16; the integers are ``-2**(bits-1)`` to ``2**(bits-1) - 1``.
        symmetric: zero point 0 and as much room on both sides.

    Raises:
        ParameterError: for ends that are not finite or bits outside the range.

    >>> grid(-1.0, 3.0, bits=2)
    Grid(scale=1.3333333730697632, zero=-1, low=-2, high=1)
    """
    if not 2 <= bits <= 16:
        raise ParameterError(f"bits={bits!r}; integers of 2 to 16 bits")
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ParameterError(f"a grid over [{low:g}, {high:g}]; it takes finite ends in order")
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    low, high = min(low, 0.0), max(high, 0.0)
    if symmetric:
        return Grid(_single(max(-low, high) / most or 1.0), 0, least, most)
    scale = _single((high - low) / (most - least) or 1.0)
    return Grid(scale, max(least, min(most, round(least - low / scale))), least, most)


def _single(scale: float) -> float:
    """The scale as float32 holds it, so that stored and computed values are the same; not below its normal numbers."""
    return float(torch.tensor(max(scale, 2.0**-126), dtype=torch.float32))


def chosen(
    x: Tensor,
    how: str,
    bits: int = 8,
    symmetric: bool = False,
    of: Callable[[Tensor], Tensor] | None = None,
    ends: tuple[float, float] | None = None,
) -> Grid:
    """The grid for the values ``x`` of a site.

    Args:
        x: values, float64, one dimension, finite.
        how: ``minmax``: from the least to the greatest. ``percentile``: 99.99 % of them, 0.005 % cut off on each side.
            ``mse``: the ends with the least mean square error of ``of(x)`` over a histogram of 2048 bins.
        of: what becomes of the value (x itself by default): an end far out in the flat part of a function costs
            nothing, and the search knows.
        ends: the least and the greatest value where they are known of more values than ``x`` holds.

    Raises:
        ParameterError: for another word.

    >>> x = torch.cat([torch.linspace(-1, 1, 9999), torch.tensor([50.0])]).double()
    >>> [round(chosen(x, how, bits=4).ends[1], 1) for how in ("minmax", "mse")]
    [51.0, 11.1]
    """
    if how not in SCALES:
        raise ParameterError(f"scale={how!r}; it is one of {', '.join(SCALES)} (did you mean "
                             f"{closest(str(how), SCALES, 1)[0]!r}?)")  # fmt: skip
    if x.numel() == 0:
        raise OgiveError("no values to lay a grid over")
    low, high = ends if ends is not None else (float(x.min()), float(x.max()))
    if how == "minmax":
        return grid(low, high, bits, symmetric)
    if how == "percentile":
        cut = 0.5 * (1.0 - _KEPT)
        low, high = (float(torch.quantile(x[:1_000_000], q)) for q in (cut, 1.0 - cut))
        return grid(low, high, bits, symmetric)
    return _least_squares(x, bits, symmetric, of)


def _least_squares(x: Tensor, bits: int, symmetric: bool, of: Callable[[Tensor], Tensor] | None) -> Grid:
    """Both ends in turn over 40 fractions of their reach, until neither moves."""
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    if low == high:
        return grid(low, high, bits, symmetric)
    weights = torch.histc(x, _BINS, low, high)
    width = (high - low) / _BINS
    centres = low + width * (torch.arange(_BINS, dtype=torch.float64) + 0.5)
    kept = weights > 0
    weights, centres = weights[kept], centres[kept]
    wanted = centres if of is None else of(centres)

    def loss(cut: tuple[float, float]) -> float:
        at = grid(cut[0] * low, cut[1] * high, bits, symmetric).rounded(centres)
        made = at if of is None else of(at)
        return float(weights @ (made - wanted).square())

    parts = [k / 40 for k in range(1, 41)]
    best = (1.0, 1.0)
    least = loss(best)
    if symmetric:
        part = min(parts, key=lambda p: loss((p, p)))
        return grid(part * low, part * high, bits, True)
    for _ in range(8):
        tried = min([(p, best[1]) for p in parts] + [(best[0], p) for p in parts], key=loss)
        if not loss(tried) < least:
            break
        best, least = tried, loss(tried)
    return grid(best[0] * low, best[1] * high, bits, symmetric)

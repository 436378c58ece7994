"""Expectations under a normal distribution: adaptive Gauss-Legendre panels with an error estimate.

Gauss-Hermite rules lose most digits on anything with a kink and on steep or oscillating functions. Here the
line is cut at the break points, every panel is integrated twice (whole, and as two halves), the difference
is the panel's error, and panels whose error matters are halved until the sum is small enough. All panels of
a round are one tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ogive.errors import OgiveError

# exp(-z^2/2) underflows to 0 in float64 at |z| = 38.6. What lies beyond contributes less than 1e-16 of the
# whole for every integrand below exp(30 |z|): its peak at z = 30 is e^450, its value at 39 is e^409.5.
REACH = 39.0
NODES = 20
TOLERANCE = 1e-14
BUDGET = 20_000

# Narrow at the centre, where the mass and most features are; wide where only fast growth has any weight.
_EDGES = (0.0, 0.75, 1.5, 2.5, 4.0, 6.0, 9.0, 14.0, 22.0, REACH)


class Moment(NamedTuple):
    """The expectation and an estimate of its absolute error."""

    value: float
    error: float


@lru_cache(maxsize=1)
def _rule() -> tuple[Tensor, Tensor]:
    """Gauss-Legendre nodes and weights on [0, 1]."""
    x, w = np.polynomial.legendre.leggauss(NODES)
    return torch.from_numpy(0.5 * (x + 1.0)), torch.from_numpy(0.5 * w)


def expectation(
    function: Callable[[Tensor], Tensor],
    breakpoints: Iterable[float] = (),
    tol: float = TOLERANCE,
    *,
    mean: float = 0.0,
    std: float = 1.0,
    power: int = 1,
    budget: int = BUDGET,
) -> Moment:
    """``E[f(X)^power]`` for X ~ N(mean, std^2), and the estimated absolute error.

    ``function`` maps a float64 tensor to one of the same shape; ``breakpoints`` are the x where it jumps or
    bends (a missed one costs speed, not truth); ``tol`` is the error aimed at, relative to ``E|f|^power``;
    ``power`` is 1 or 2, and 2 does not overflow where f^2 alone would. When ``budget`` panels do not
    suffice the error says so. Raises :class:`OgiveError` when the expectation is infinite or undefined.

    >>> value, error = expectation(lambda x: x.relu(), [0.0], power=2)
    >>> abs(value - 0.5) < 1e-15, error < 1e-13
    (True, True)
    """
    if power not in (1, 2):
        raise OgiveError(f"expectation: power={power!r}; it takes 1 or 2")
    if not (math.isfinite(mean) and math.isfinite(std) and std > 0.0):
        raise OgiveError(f"expectation: mean={mean!r}, std={std!r}; it takes finite numbers and std > 0")
    scale = (2.0 * math.pi) ** (-0.5 / power)

    def weighted(z: Tensor) -> Tensor:
        y = function(mean + std * z) * (scale * torch.exp(z * z * (-0.5 / power)))
        return y if power == 1 else y * y

    cuts = sorted({*_EDGES, *(-e for e in _EDGES), *((b - mean) / std for b in breakpoints)})
    edges = torch.tensor([c for c in cuts if abs(c) <= REACH], dtype=torch.float64)
    _check_tails(weighted)
    return _adapt(weighted, edges, tol, budget)


def _check_tails(weighted: Callable[[Tensor], Tensor]) -> None:
    """An integrand that has not died out at the ends of the reach belongs to an infinite expectation."""
    ends = torch.linspace(0.9 * REACH, 0.99 * REACH, 8, dtype=torch.float64)
    core = torch.linspace(-30.0, 30.0, 121, dtype=torch.float64) + 0.0123
    tail = weighted(torch.cat([-ends, ends])).abs()
    top = float(weighted(core).abs().nan_to_num(0.0, posinf=0.0).max())
    if bool(torch.isnan(tail).any()):
        raise OgiveError("the expectation is undefined: the function is not a number on part of the line")
    if float(tail.max()) > 1e-13 * max(top, 1e-290):
        raise OgiveError("the expectation is infinite or beyond float64: the function outgrows the normal density")


def _panels(weighted: Callable[[Tensor], Tensor], lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
    """The integrals over [lo, hi] of the integrand and of its magnitude."""
    x, w = _rule()
    width = hi - lo
    y = weighted(torch.addcmul(lo[:, None], width[:, None], x[None, :]))
    return (y @ w) * width, (y.abs() @ w) * width


def _adapt(weighted: Callable[[Tensor], Tensor], edges: Tensor, tol: float, budget: int) -> Moment:
    lo, hi = edges[:-1], edges[1:]
    whole, _ = _panels(weighted, lo, hi)
    done = done_error = done_size = 0.0
    used = len(lo)
    while True:
        mid = 0.5 * (lo + hi)
        halves, sizes = _panels(weighted, torch.cat([lo, mid]), torch.cat([mid, hi]))
        left, right = halves.chunk(2)
        value, size = left + right, sum(sizes.chunk(2))
        assert isinstance(size, Tensor)
        if not bool(torch.isfinite(value).all()):
            raise OgiveError("the expectation is undefined: the function is not finite everywhere")
        error = (value - whole).abs()
        total, mass = done + float(value.sum()), done_size + float(size.sum())
        # A panel is done at its rounding noise, or when it is too small a part of the sum to matter.
        share = torch.maximum(4e-16 * size, torch.full_like(size, tol * mass / (8.0 * len(lo) + 8.0)))
        split = (error > share) & (mid > lo) & (mid < hi)
        used += 2 * len(lo)
        # The rounding of sums and of the function itself: a few units in the last place of the whole.
        if not bool(split.any()) or used > budget:
            return Moment(total, done_error + float(error.sum()) + 4.5e-16 * mass)
        keep = ~split
        done, done_error = done + float(value[keep].sum()), done_error + float(error[keep].sum())
        done_size += float(size[keep].sum())
        whole = torch.cat([left[split], right[split]])
        lo, hi = torch.cat([lo[split], mid[split]]), torch.cat([mid[split], hi[split]])

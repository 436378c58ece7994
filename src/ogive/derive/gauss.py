"""Expectations of any function under a normal distribution, with an error estimate.

Gauss-Hermite rules lose most digits on anything with a kink and on steep or oscillating functions; adaptive panels cut
at the break points do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from ogive.derive.integrals.panels import BUDGET, TOLERANCE, integrate, root_density
from ogive.errors import OgiveError


class Moment(NamedTuple):
    """The expectation and an estimate of its absolute error."""

    value: float
    error: float


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
    ``power`` is an integer from 1, and f^power may overflow where f with the density's share does not. When
    ``budget`` panels do not suffice the error says so. Raises :class:`OgiveError` when the expectation is
    infinite or undefined.

    >>> value, error = expectation(lambda x: x.relu(), [0.0], power=2)
    >>> abs(value - 0.5) < 1e-15, error < 1e-13
    (True, True)
    """
    if not isinstance(power, int) or isinstance(power, bool) or power < 1:
        raise OgiveError(f"expectation: power={power!r}; it takes an integer from 1")
    if not (math.isfinite(mean) and math.isfinite(std) and std > 0.0):
        raise OgiveError(f"expectation: mean={mean!r}, std={std!r}; it takes finite numbers and std > 0")

    def weighted(x: Tensor, z: Tensor, owner: Tensor) -> Tensor:
        return ((function(x) * root_density(z, power)) ** power)[None]

    mu, sigma = (torch.tensor([v], dtype=torch.float64) for v in (mean, std))
    got = integrate(weighted, [list(breakpoints)], mu, sigma, tol, budget)
    if bool(torch.isinf(got.error)):
        raise OgiveError("the expectation is infinite: the function has a pole that cannot be integrated")
    return Moment(float(got.value), float(got.error))

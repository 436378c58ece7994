"""Initial guessing bias: how unevenly an untrained network deals inputs out to classes, from its activation alone.

Given the weights, the outputs of a wide network over data are normal around centres of their own. Over networks the
centres have variance q c and the data around them q (1 - c), c being the correlation of the outputs for two inputs,
so gamma = c/(1 - c) is all that counts: at 0 every class has its share, at infinity one class takes all.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ogive.derive.wide.maps import Maps
from ogive.errors import OgiveError, ParameterError


@dataclass(frozen=True)
class GuessingBias:
    """``gamma`` is the variance of the centres over that of the data around them; ``correlation`` that of the outputs
    for two inputs. ``largest`` is the mean share of the class that one untrained network favours, with ``classes`` of
    them: 1/classes at gamma = 0, 1 where it guesses one class for everything; by sampling for more than two classes,
    ``error`` is its standard error then."""

    activation: str
    depth: int
    classes: int
    correlation: float
    gamma: float
    largest: float
    error: float

    def __repr__(self) -> str:
        layers = f"{self.depth} layer{'s' * (self.depth > 1)}"
        return (f"GuessingBias({self.activation}, {layers}, {self.classes} classes: gamma {self.gamma:.6g}, "
                f"the favourite class gets {self.largest:.1%})")  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


def guessing_bias(
    spec: Any,
    depth: int = 1,
    classes: int = 2,
    *,
    sigma_w: float | None = None,
    sigma_b: float = 0.0,
    correlation: float = 0.0,
    square: float = 1.0,
    **params: float,
) -> GuessingBias:
    """``gamma = c/(1 - c)`` of a wide plain network with ``depth`` layers ``W f(x) + b``, from the correlation map.

    Args:
        spec: a name, a formula, an Activation or an ``ogive.Act`` of one input.
        depth: nonlinear layers, from 1.
        classes: outputs, from 2.
        sigma_w: weights have variance sigma_w^2/fan_in; None takes the gain 1/sqrt(E f(z)^2).
        sigma_b: standard deviation of the biases.
        correlation, square: of two inputs of the first nonlinearity and their mean square: 0 for independent
            standardised data; of real data, the mean.
        params: numbers that replace defaults of the activation's parameters.

    Raises:
        ParameterError: for arguments out of range.
        OgiveError: where the outputs have no variance.

    Source: Francazi, Lucchi and Baity-Jesi 2024, Initial guessing bias.

    >>> guessing_bias("tanh").gamma, round(guessing_bias("relu").gamma * (math.pi - 1), 12)
    (0.0, 1.0)
    >>> [round(guessing_bias("relu", depth).largest, 3) for depth in (1, 10, 100)]
    [0.691, 0.883, 0.981]
    """
    for name, value, least in (("depth", depth, 1), ("classes", classes, 2)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ParameterError(f"guessing bias: {name}={value!r}; it takes a whole number from {least}")
    if not -1.0 <= correlation <= 1.0:
        raise ParameterError(f"guessing bias: correlation={correlation!r}; it takes a number in [-1, 1]")
    width = Maps(spec, **params)
    if sigma_w is None:
        sigma_w = 1.0 / math.sqrt(width.moments(1.0)[0][0])
    maps = Maps(spec, sigma_w, sigma_b, **params)
    q, c = float(square), float(correlation)
    for layer in range(depth):
        length = maps.length(q)
        if not 0.0 < length < math.inf:
            raise OgiveError(
                f"guessing bias of {maps.act.label}: behind layer {layer + 1} the mean square is {length:g}"
            )
        c, q = maps.correlation(c, q), length
    c = 0.0 if abs(c) < 1e-13 else min(c, 1.0)  # odd functions: the error of the dual activation
    gamma = math.inf if c == 1.0 else max(0.0, c) / (1.0 - c)
    largest, error = favourite(gamma, classes)
    return GuessingBias(maps.act.label, depth, classes, c, gamma, largest, error)


def favourite(gamma: float, classes: int = 2, draws: int = 4000) -> tuple[float, float]:
    """The mean share of the favourite class, ``1/2 + atan(sqrt(gamma))/pi`` of two; of more by sampling networks.

    >>> favourite(1.0)
    (0.75, 0.0)
    """
    if gamma == math.inf:
        return 1.0, 0.0
    if classes == 2:
        return 0.5 + math.atan(math.sqrt(gamma)) / math.pi, 0.0
    shares = fractions(gamma, classes, draws).max(1).values
    return float(shares.mean()), float(shares.std()) / math.sqrt(draws)


def fractions(gamma: float, classes: int = 2, draws: int = 4000, seed: int = 0) -> Tensor:
    """Shares of the classes in ``draws`` untrained networks, of shape (draws, classes); each row sums to 1.

    Centres are drawn N(0, gamma); the share of class k is the integral of phi(t - m_k) prod Phi(t - m_j), j != k.
    """
    if not 0.0 <= gamma < math.inf:
        raise ParameterError(f"guessing bias: gamma={gamma!r}; it takes a finite number from 0")
    generator = torch.Generator().manual_seed(seed)
    centres = math.sqrt(gamma) * torch.randn(draws, classes, generator=generator, dtype=torch.float64)
    nodes, weights = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(64))
    t, w = 8.5 * nodes, 8.5 * weights * torch.exp(-0.5 * (8.5 * nodes) ** 2) / math.sqrt(2.0 * math.pi)
    shares = []
    for k in range(classes):
        below = torch.special.ndtr(t + centres[:, k, None] - centres.T[:, :, None])  # of (class, draw, node)
        below[k] = 1.0
        shares.append((below.prod(0) * w).sum(1))
    return torch.stack(shares, 1)

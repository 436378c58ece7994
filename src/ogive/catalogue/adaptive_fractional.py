"""Derivatives of fractional order of known activations, with the order learned."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import exp, log, maximum, minimum, pi, sech2, sigmoid, sign, sqrt, where

# Lanczos' series for the Gamma function (g = 7, nine terms), relative error below 1e-14 for positive arguments:
# Gamma(z + 1) = sqrt(2 pi) (z + 7.5)^(z + 1/2) exp(-z - 7.5) (L_0 + L_1/(z + 1) + ... + L_8/(z + 8))
LANCZOS = (0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
           12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7)  # fmt: skip


@define(
    cite="zamora2022fractional",
    params={
        "alpha": Param(low=0.0, high=2.0, closed=True, note="order of the derivative"),
        "beta": Param(low=1.0, high=10.0, closed=True, note="sharpness"),
    },
)
def falu(x, alpha=0.5, beta=1.0):
    """Swish's derivative of fractional order, approximately: swish at order 0, its slope at 1. Prints of it differ."""
    # g = x s; up to order 1: g + alpha s (1 - g), which ends at h; beyond: h + (alpha - 1) s (1 - 2 h)
    s = sigmoid(beta * x)
    slope = sech2(beta * x / 2) / 4  # s (1 - s)
    a = minimum(alpha, 1.0)
    first = a * s + x * s * (1 - a * s)
    return first + maximum(alpha - 1, 0.0) * (s * (1 - 2 * (s + x * slope)))


@define(
    cite="zamora2019adaptive",
    params={"a": Param(low=0.0, high=1.0, note="order; kept within [0.01, 0.99]")},
)
def frac_relu(x, a=0.5):
    """The rectifier's derivative of order a, x^(1 - a)/Gamma(2 - a) for positive x; infinite slope at zero."""
    z = 1 - a
    gamma = sum((c / (z + k) for k, c in enumerate(LANCZOS) if k), LANCZOS[0])
    gamma = sqrt(2 * pi) * exp((z + 0.5) * log(z + 7.5) - (z + 7.5)) * gamma
    return where(x > 0, abs(x) ** z / gamma, 0.0)


@define(
    cite="job2022fractional",
    aliases=("fracprelu",),
    params={"a": Param(low=0.0, high=1.0, note="order, not learned"), "b": Param(note="left slope, learned")},
)
def frac_prelu(x, a=0.5, b=0.25):
    """PReLU's derivative of order a with a signed power on the left, where the printed power is complex."""
    z = 1 - a
    gamma = sum((c / (z + k) for k, c in enumerate(LANCZOS) if k), LANCZOS[0])
    gamma = sqrt(2 * pi) * exp((z + 0.5) * log(z + 7.5) - (z + 7.5)) * gamma
    return sign(x) * abs(x) ** z / gamma * where(x > 0, 1.0, b)

"""GELU and SiLU in polynomial pieces, as two or three parties compute them on shared secrets."""

from __future__ import annotations

from ogive.activation import define
from ogive.ops import abs, pi, sin, where


@define(cite="lu2025bumblebee", aliases=("bumblebee_gelu",))
def gelu_bumblebee(x):
    """The quartic of BOLT in |x| used inside [-3, 3], as SecretFlow computes GELU between two parties."""
    a = abs(x)
    tail = 0.5410550166368381 + a * (-0.18352506127082727 + 0.020848611754127593 * a)
    inside = 0.001620808531841547 + x / 2 + a * (-0.03798164612714154 + a * tail)
    return where(x >= 3, x, where(x >= -3, inside, 0.0))


@define(cite="ma2023secretflow", aliases=("silu_secretflow",))
def silu_spu(x):
    """SiLU of SecretFlow's secure unit: a parabola from -8, a sextic from -4, the identity from 4."""
    u = x**2
    left = -0.3067541139982155 + x * (-0.0819767021525476 - 0.0055465625580307 * x)
    tail = 0.2281430841728270 + u * (-0.011113046708173 + 0.0002743776353465 * u)
    middle = 0.0085064025895951 + x / 2 + u * tail
    return where(x >= 4, x, where(x >= -4, middle, where(x >= -8, left, 0.0)))


@define(cite="luo2024secformer", aliases=("erf_secformer",))
def erf_fourier7(x):
    """Seven terms of a sine series of period 20 for the error function inside [-1.7, 1.7], the sign outside."""
    w = pi / 10 * x
    low = 1.25772 * sin(w) - 0.0299154 * sin(2 * w) + 0.382155 * sin(3 * w) - 0.0519123 * sin(4 * w)
    inside = low + 0.196033 * sin(5 * w) - 0.0624557 * sin(6 * w) + 0.118029 * sin(7 * w)
    return where(x > 1.7, 1.0, where(x >= -1.7, inside, -1.0))

"""Bumps: radial functions, wavelets and other activations that are local in their input."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import cos, exp, hypot1, isru, pi, where


@define(cite="broomhead1988multivariable")
def gaussian(x):
    """exp(-x^2), the bump of radial basis networks."""
    return exp(-(x**2))


@define(cite="ramasinghe2022beyond", params={"a": Param(low=0.0)})
def inverse_quadratic(x, a=1.0):
    """1/(1 + (a x)^2)."""
    return hypot1(a * x) ** -2


@define(cite=("hardy1971multiquadric", "ramasinghe2022beyond"), params={"a": Param(low=0.0)})
def inverse_multiquadric(x, a=1.0):
    """1/sqrt(1 + (a x)^2)."""
    return hypot1(a * x) ** -1


@define(cite="ramasinghe2022beyond", params={"a": Param(low=0.0)})
def laplacian(x, a=1.0):
    """exp(-|x|/a): a bump with a peak."""
    return exp(-abs(x) / a)


@define(cite="zhang1992wavelet", aliases=("ricker",))
def mexican_hat(x):
    """Negative second derivative of a Gaussian with unit energy; for wavelet networks and KANs."""
    return 2 / (3**0.5 * pi**0.25) * ((1 - x**2) * exp(-(x**2) / 2))


@define(cite="bozorgasl2024wavkan", aliases=("dog_wavelet",))
def gaussian_derivative(x):
    """-x exp(-x^2/2), the first derivative of a Gaussian, used as a wavelet."""
    return -(x * exp(-(x**2) / 2))


@define(cite=("zhang1992wavelet", "bozorgasl2024wavkan"), params={"omega": Param(low=0.0)})
def morlet(x, omega=5.0):
    """Real part of the Morlet wavelet; 5 is the classical frequency, 1.75 is used as well."""
    return cos(omega * x) * exp(-(x**2) / 2)


@define(cite="saragadam2023wire", params={"omega": Param(), "s": Param()})
def gabor(x, omega=20.0, s=10.0):
    """Real part of WIRE's Gabor wavelet, with the frequency and width of the released code."""
    return cos(omega * x) * exp(-((s * x) ** 2))


@define(
    cite="li2024cauchy",
    params={"l1": Param(), "l2": Param(), "d": Param(low=0.0, note="width; keep it away from zero")},
    exceptions={"second": "zero at x = 1, where two terms of size 1/2 cancel to 3e-17"},
)
def cauchy(x, l1=1.0, l2=1.0, d=1.0):
    """(l1 x + l2)/(x^2 + d^2), the activation of XNet; public code starts l1 and l2 at 1 or at 0.01."""
    # with u = x/d: (l1 d u + l2)/(d^2 (1 + u^2)), split so that no two sides overflow together
    return (l1 / d * isru(x / d) + l2 / d**2 / hypot1(x / d)) / hypot1(x / d)


@define(
    cite="lan2023elephant",
    params={"a": Param(low=0.0, note="half-width"), "d": Param(low=0.0, note="steepness, usually 4 or 8")},
)
def elephant(x, a=1.0, d=8.0):
    """1/(1 + |x/a|^d): values and slopes both sparse, against forgetting in continual learning."""
    # beyond |x| = a the same function in 1/|x|, whose powers do not overflow
    return where(abs(x) > a, abs(x / a) ** -d / (1 + abs(x / a) ** -d), 1 / (1 + abs(x / a) ** d))

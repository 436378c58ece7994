"""Products of a sigmoid curve with the input or with another one: even units, bounded units, local wiggles."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import abs, atan, erf, exp, sigmoid, softsign, tanh, where

CURVATURE = "the curvature decays like a higher power of 1/x than the terms whose sum it is"

# The input times an odd curve: even, round at zero, straight far out


@define(cite="shieenavaz2026nonlinear", params={"alpha": Param()})
def x_erf(x, alpha=1.0):
    """x erf(alpha x), which a library calls ERF: a smooth absolute value; symmetric GELU in other units."""
    return x * erf(alpha * x)


@define(cite="kunc2024three", exceptions={"second": CURVATURE})
def self_arctan(x):
    """x arctan(x): even, slopes of pi/2 far out."""
    return x * atan(x)


@define(cite="kunc2024three", aliases=("tangent_bipolar_sigmoid_relu",))
def tbsrelu(x):
    """x tanh(tanh(x/2)): even, for all its name; slopes of 0.76 far out."""
    return x * tanh(tanh(x / 2))


# Two sigmoid curves


@define(cite="tlupov2025actix")
def atan_sigmoid(x):
    """arctan(x) sigmoid(x): rises to pi/2 on the right, fades after a dip on the left."""
    return atan(x) * sigmoid(x)


@define(cite="tlupov2025actix")
def sigmoid_erf(x):
    """sigmoid(x) erf(x): rises to 1 on the right, fades after a dip on the left."""
    return sigmoid(x) * erf(x)


@define(cite="tlupov2025actix")
def tanh_arc(x):
    """tanh(x) arctan(x): even, round at zero, levels off at pi/2 on both sides."""
    return tanh(x) * atan(x)


@define(cite="tlupov2025actix")
def rational_softplus(x):
    """SiLU over 1/2 plus SiLU: rises to 1 on the right, dips to -1.26 on the left."""
    silu = x * sigmoid(x)
    return where(x > 1, 1 / (1 + 1 / (2 * silu)), silu / (1 / 2 + silu))  # right: divided through


# Under a bump


@define(cite="tlupov2025actix")
def riemannian_softsign(x):
    """arctan(x) erf(x)/(1 + |x|): even, two humps that fade like 1/x."""
    return atan(x) * erf(x) / (1 + abs(x))


@define(cite="tlupov2025actix")
def expo_soft(x):
    """Softsign times exp(-|x|): an odd wiggle with slope 1 at zero."""
    return softsign(x) * exp(-abs(x))


@define(cite="tlupov2025actix")
def soft_rbf(x):
    """x exp(-x^2): an odd wiggle, the derivative of a Gaussian but for scale."""
    return x * exp(-(x**2))


@define(cite="tlupov2025actix")
def bipolar_gaussian_arctan(x):
    """arctan(x) exp(-x^2): an odd wiggle, narrower than x exp(-x^2)."""
    return atan(x) * exp(-(x**2))

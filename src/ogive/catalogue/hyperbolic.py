"""Hyperbolic functions: curves that grow exponentially or like their inverses, and bumps made of them."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import abs, asinh, exp, expm1, log1p, logcosh, sech2, sinh, sqrt, where


@define(cite="kocak2021new", aliases=("dsigmoid",))
def sigmoid_derivative(x):
    """The derivative of the logistic function, a bump of height 1/4."""
    return sech2(x / 2) / 4


@define(cite=("njikam2016novel", "kunc2024three"), aliases=("resech",))
def rehsec(x):
    """x sech(x), the rectified hyperbolic secant: an odd wiggle that dies out exponentially."""
    return x * exp(-logcosh(x))  # the logarithm of sech does not overflow


@define(
    cite="kunc2024three",
    params={"a": Param()},
    exceptions={"second": "zero of third order at x = 0, where two terms of first order cancel"},
)
def comb_h_sine(x, a=1.0):
    """sinh(a x) + arcsinh(a x), both hyperbolic sines combined; grows exponentially on either side."""
    return sinh(a * x) + asinh(a * x)


@define(cite=("parisi2020marcsinh", "kunc2024three"), aliases=("modified_arcsinh",))
def m_arcsinh(x):
    """arcsinh(x) sqrt|x|/12, for support vector machines and perceptrons alike; flat at zero."""
    # the root's own slope is infinite at zero
    return where(x > 0, asinh(x) * sqrt(abs(x)), where(x < 0, asinh(x) * sqrt(abs(x)), 0.0)) / 12


@define(cite=("parisi2020hypersinh", "kunc2024three"))
def hyper_sinh(x):
    """sinh(x)/3 on the right, x^3/4 on the left; the slope jumps from 0 to 1/3 at zero."""
    return where(x > 0, sinh(x) / 3, x**3 / 4)


@define(
    cite=("abdelnabi2023hclsh", "kunc2024three"),
    exceptions={"second": "zero at x = 0 from the right, where two terms of size 1 cancel"},
)
def hclsh(x):
    """log(cosh x + x cosh(x/2)) on the right, log(cosh x) + x on the left, which levels off at -log 2."""
    # right: cosh x taken out of the logarithm; left: cosh(x) e^x = (1 + e^(2x))/2
    right = logcosh(x) + log1p(x * exp(logcosh(x / 2) - logcosh(x)))
    return where(x > 0, right, log1p(expm1(2 * x) / 2))


@define(cite="tlupov2025actix")
def logcosh_gate(x):
    """x log cosh(x): a cubic at zero, then x|x|; the released code adds 1e-7 inside the logarithm."""
    return x * logcosh(x)


@define(cite="tlupov2025actix")
def sinh_gate(x):
    """x sinh(x): even, a parabola at zero, then exponential."""
    return x * sinh(x)

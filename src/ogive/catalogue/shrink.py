"""Shrinkage: thresholding functions of sparse coding and wavelet denoising."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import abs, maximum, sigmoid, sign, sqrt, tanh, where


@define(cite="donoho1994ideal", aliases=("hard_shrink",), params={"lambd": Param(low=0.0, closed=True)})
def hardshrink(x, lambd=0.5):
    """Sets inputs of magnitude up to lambd to zero and keeps the rest; jumps by lambd."""
    return where(abs(x) > lambd, x, 0.0)


@define(cite="donoho1995denoising", aliases=("soft_shrink",), params={"lambd": Param(low=0.0, closed=True)})
def softshrink(x, lambd=0.5):
    """Moves every input lambd towards zero and stops there; the proximal map of the absolute value."""
    return where(x > lambd, x - lambd, where(x < -lambd, x + lambd, 0.0))


@define(cite="paszke2019pytorch", aliases=("tanh_shrink",))
def tanhshrink(x):
    """x - tanh(x): cubic near zero, the identity less one far out."""
    return x - tanh(x)


@define(cite="gao1997waveshrink", params={"a": Param(low=0.0), "b": Param(low=0.0, note="above a")})
def firm_shrink(x, a=0.5, b=1.0):
    """Zero up to a, the identity from b on, a line between: less bias than soft, no jump; needs a < b."""
    return where(abs(x) > b, x, where(abs(x) > a, sign(x) * b * (abs(x) - a) / (b - a), 0.0))


@define(cite="gao1998wavelet", params={"a": Param(low=0.0)})
def garrote_shrink(x, a=0.5):
    """Non-negative garrote, x - a^2/x beyond a: continuous, and unbiased for large inputs."""
    return where(abs(x) > a, x - a**2 / x, 0.0)


@define(cite="konda2014zero", aliases=("truncated_linear",), params={"theta": Param(low=0.0, closed=True)})
def tlin(x, theta=1.0):
    """Truncated linear unit for autoencoders without biases: hard shrinkage at theta = 1."""
    return where(abs(x) > theta, x, 0.0)


@define(cite="fan2001variable", params={"lambd": Param(low=0.0), "a": Param(low=2.0)})
def scad_shrink(x, lambd=0.5, a=3.7):
    """Soft shrinkage that lets go: a steeper line from 2 lambd to a lambd, the identity beyond."""
    middle = ((a - 1) * x - sign(x) * (a * lambd)) / (a - 2)
    return where(abs(x) > a * lambd, x, where(abs(x) > 2 * lambd, middle, sign(x) * maximum(abs(x) - lambd, 0.0)))


@define(cite="vidakovic1998nonlinear", aliases=("hyperbole_shrink",), params={"lambd": Param(low=0.0)})
def hyperbolic_shrink(x, lambd=0.5):
    """Root of x^2 - lambd^2 with the sign kept: almost hard shrinkage, but continuous."""
    # |x| times the root of 1 - (lambd/x)^2: with two roots multiplied the curvature cancels far out
    inside = (1 - lambd / abs(x)) * (1 + lambd / abs(x))
    return where(abs(x) > lambd, x * sqrt(inside), 0.0)


@define(cite="chartrand2009fast", params={"lambd": Param(low=0.0), "p": Param(high=1.0, closed=True)})
def p_shrink(x, lambd=0.5, p=-0.5):
    """Shrinks by lambd^(2-p) |x|^(p-1), less the larger the input; soft shrinkage at p = 1."""
    return where(abs(x) > lambd, sign(x) * (abs(x) - lambd ** (2 - p) * abs(x) ** (p - 1)), 0.0)


@define(cite="atto2008smooth", aliases=("ssbs",), params={"lambd": Param(low=0.0, closed=True), "tau": Param(low=0.0)})
def sigmoid_shrink(x, lambd=0.5, tau=10.0):
    """Smooth shrinkage, x times a logistic function of |x| - lambd; hard shrinkage as tau grows."""
    return x * sigmoid(tau * (abs(x) - lambd))

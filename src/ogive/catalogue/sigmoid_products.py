"""Logistic functions multiplied by, or added to, another function."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import exp, logcosh, sigmoid, softplus, tanh


@define(cite="roodschild2020new", params={"a": Param(low=0.0, closed=True)})
def siglin(x, a=0.1):
    """Logistic function plus a line, whose slope never vanishes."""
    return sigmoid(x) + a * x


@define(cite="kaytan2022sigmoid")
def sigmoid_gumbel(x):
    """Product of the logistic function and the Gumbel distribution function."""
    return exp(-softplus(-x) - exp(-x))  # one exponential: the product of two meets 0 times inf on the left


@define(
    cite=("kozkurt2023alphasechsig", "kunc2024three"),
    exceptions={"second": "zero at x = 0, where two terms of size 1/2 cancel"},
)
def sechsig(x):
    """The input plus a hyperbolic secant, gated by the logistic function; not monotone."""
    return (x + exp(-logcosh(x))) * sigmoid(x)  # sech(x) = exp(-log cosh(x)) does not overflow


@define(cite="kozkurt2023alphasechsig", aliases=("alpha_sechsig",), params={"a": Param(low=0.0)})
def psechsig(x, a=1.0):
    """SechSig whose secant has height a and is moved a to the left."""
    return (x + a * exp(-logcosh(x + a))) * sigmoid(x)


@define(cite=("kozkurt2023alphasechsig", "kunc2024three"))
def tanhsig(x):
    """The input plus its tanh, gated by the logistic function; slope 1 at zero."""
    return (x + tanh(x)) * sigmoid(x)


@define(cite="kozkurt2023alphasechsig", aliases=("alpha_tanhsig",), params={"a": Param(low=0.0)})
def ptanhsig(x, a=1.0):
    """TanhSig whose tanh has height a and is moved a to the left."""
    return (x + a * tanh(x + a)) * sigmoid(x)

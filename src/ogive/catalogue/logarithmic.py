"""Functions that compress or expand like a logarithm or an exponential of the magnitude."""

from __future__ import annotations

from ogive import ops
from ogive.activation import Param, define
from ogive.ops import expm1, log1p, relu, where

# The odd ones are written branch by branch rather than with sign(x): sign(0) = 0 would put a false zero
# into the derivative at the origin, where both branches have slope 1.


@define(cite="hafner2023mastering")
def symlog(x):
    """Logarithm of the magnitude with the sign kept; compresses targets and observations of any scale."""
    return where(x > 0, log1p(x), -log1p(-x))


@define(cite="hafner2023mastering")
def symexp(x):
    """Inverse of symlog; overflows float32 beyond |x| = 88."""
    return where(x > 0, expm1(x), -expm1(-x))


@define(cite="kunc2024three", aliases=("arcsinh",))
def asinh(x):
    """Inverse hyperbolic sine: linear near zero, logarithmic far out, smooth and odd."""
    return ops.asinh(x)


@define(cite="liu2019natural", params={"beta": Param(low=0.0, note="the paper uses 0.7 to 1.1")})
def nlrelu(x, beta=1.0):
    """Logarithm of one plus the scaled positive part; compresses large activations of a rectifier."""
    return log1p(beta * relu(x))

"""Functions that compress or expand like a logarithm or an exponential of the magnitude."""

from __future__ import annotations

from ogive import ops
from ogive.activation import Param, define
from ogive.ops import expm1, log1p, relu, where

# The odd ones are written branch by branch rather than with sign(x): sign(0) = 0 would put a false zero
# into the derivative at the origin, where both branches have slope 1.


@define(
    cite="hafner2023mastering",
    aliases=(
        "laf",
        "signed_logp1",
    ),
)
def symlog(x):
    """Logarithm of the magnitude with the sign kept; compresses targets and observations of any scale."""
    return where(x > 0, log1p(x), -log1p(-x))


@define(cite="hafner2023mastering")
def symexp(x):
    """Inverse of symlog; overflows float32 beyond |x| = 88."""
    return where(x > 0, expm1(x), -expm1(-x))


@define(
    cite="kunc2024three",
    aliases=(
        "asinh_act",
        "arcsinh",
    ),
)
def asinh(x):
    """Inverse hyperbolic sine: linear near zero, logarithmic far out, smooth and odd."""
    return ops.asinh(x)


@define(cite="liu2019natural", params={"beta": Param(low=0.0, note="the paper uses 0.7 to 1.1")})
def nlrelu(x, beta=1.0):
    """Logarithm of one plus the scaled positive part; compresses large activations of a rectifier."""
    return log1p(beta * relu(x))


@define(cite="oord2016wavenet", aliases=("mu_law_companding",), params={"mu": Param(low=0.0)})
def mu_law(x, mu=255.0):
    """Logarithmic companding of audio: symlog of mu x, scaled to map 1 to 1."""
    return where(x > 0, log1p(mu * x), -log1p(-mu * x)) / log1p(mu)


# In the next two, root(1 + u) - 1 is expm1(log1p(u)/2), which neither cancels at zero nor overflows.


@define(cite="pohlen2018observe", params={"eps": Param(low=0.0)})
def signed_hyperbolic(x, eps=0.01):
    """Square root of the magnitude with a small linear part: the value rescaling of Atari agents."""
    return where(x > 0, expm1(log1p(x) / 2), -expm1(log1p(-x) / 2)) + eps * x


@define(cite="pohlen2018observe", params={"eps": Param(low=0.0)})
def signed_parabolic(x, eps=0.01):
    """Inverse of signed_hyperbolic: a parabola of the magnitude, close to linear far out."""
    c = 1 + 2 * eps
    a = where(x > 0, x, -x)  # its slope at 0 is -1, where that of abs would be 0
    w = c / (2 * eps) * expm1(log1p(4 * eps / c**2 * a) / 2)
    # Far out w^2 + 2w is also (|x| - w)/eps, whose curvature does not cancel.
    magnitude = where(a > 100, (a - w) / eps, w * (w + 2))
    return where(x > 0, magnitude, -magnitude)

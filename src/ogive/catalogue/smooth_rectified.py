"""Smooth or once-differentiable stand-ins for the rectifier that do not gate their input."""

from __future__ import annotations

from ogive import ops
from ogive.activation import Param, define
from ogive.ops import expm1, log1p, sqp, sqrt, where


@define(cite="dugas2001incorporating", params={"beta": Param(low=0.0)})
def softplus(x, beta=1.0):
    """log(1 + e^x), sharpened by beta. torch switches to the identity above 20; here no switch is needed."""
    return ops.softplus(beta * x) / beta


@define(cite="schutt2017schnet", aliases=("ssp",))
def shifted_softplus(x):
    """Softplus less log 2, so that zero maps to zero; the nonlinearity of SchNet."""
    # log((1 + e^x)/2) = log(1 + (e^x - 1)/2); for x > 0 the same with -x, plus x. Neither side cancels.
    return where(x > 0, x + log1p(expm1(-x) / 2), log1p(expm1(x) / 2))


@define(
    cite="barron2021squareplus",
    params={"b": Param(low=0.0, note="0 would be the rectifier, 4 log(2)^2 bounds softplus")},
)
def squareplus(x, b=4.0):
    """Half of x plus the root of x squared plus b: a softplus made of algebra alone."""
    # (x + sqrt(x^2 + b))/2 with x = sqrt(b) u, and sqp(u) = u + sqrt(1 + u^2)
    return sqrt(b) / 2 * sqp(x / sqrt(b))


@define(cite="shamir2022reproducibility", aliases=("sparse_plus",), params={"beta": Param(low=0.0)})
def smelu(x, beta=1.0):
    """A rectifier whose corner is a parabola of half-width beta; JAX and Keras call beta = 1 sparse_plus."""
    return where(x >= beta, x, where(x > -beta, (x + beta) ** 2 / (4 * beta), 0.0))


@define(cite="yao2023zipformer", aliases=("swoosh_l",))
def swooshl(x):
    """Shifted softplus less a small slope, for Zipformer modules that should stay nearly off by default."""
    return ops.softplus(x - 4) - 0.08 * x - 0.035


@define(cite="yao2023zipformer", aliases=("swoosh_r",))
def swooshr(x):
    """Swoosh for Zipformer's convolution and attention modules; f(0) = 0 to nine digits, by its constant."""
    return ops.softplus(x - 1) - 0.08 * x - 0.313261687


@define(cite="prieto2025grokking", aliases=("stablemax_piece",))
def stablemax_s(x):
    """StableMax's replacement for the exponential of a softmax: linear right, reciprocal left, positive."""
    return where(x >= 0, x + 1, 1 / (1 - x))

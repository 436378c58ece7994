"""Smooth or once-differentiable stand-ins for the rectifier that do not gate their input."""

from __future__ import annotations

from ogive import ops
from ogive.activation import Param, define
from ogive.ops import Phi, exp, expm1, log, log1p, phi, sqp, sqrt, where


@define(cite="dugas2001incorporating", aliases=("softplus_beta",), params={"beta": Param(low=0.0)})
def softplus(x, beta=1.0):
    """log(1 + e^x), sharpened by beta. torch switches to the identity above 20; here no switch is needed."""
    return ops.softplus(beta * x) / beta


@define(cite="schutt2017schnet", aliases=("ssp", "softplus2"))
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


# More of softplus


@define(cite="wolf2019huggingface", aliases=("sqrtsoftplus",))
def sqrt_softplus(x):
    """Root of softplus, the score of DeepSeek V4's expert router as the transformers library names it."""
    # far left softplus is exp(x), which underflows long before its root does
    return where(x > -40, sqrt(ops.softplus(x)), exp(x / 2))


@define(cite="zhao2018novel", aliases=("softplus_linear_unit",))
def slu(x):
    """Identity on the right, twice the shifted softplus on the left; slope 1 on both sides of zero."""
    return where(x > 0, x, 2 * log1p(expm1(x) / 2))


@define(cite="kunc2024three", aliases=("rectified_softplus",), params={"a": Param(low=0.0, note="1.4 to 2")})
def resp(x, a=1.7):
    """Softplus on the left, the line a x + log 2 on the right; a kink unless a = 1/2. Libraries: 1.5 or 1.7."""
    return where(x > 0, a * x + log(2), ops.softplus(x))


@define(
    cite="ciuparu2020soft",
    aliases=("soft_plus_plus",),
    params={"k": Param(low=0.0), "c": Param(low=0.0)},
)
def softpp(x, k=1.0, c=2.0):
    """Shifted softplus plus a line x/c, so that no side saturates; also written Soft++."""
    return where(x > 0, k * x + log1p(expm1(-k * x) / 2), log1p(expm1(k * x) / 2)) + x / c


@define(cite="dugas2001incorporating", params={"alpha": Param(low=0.0, high=1.0)})
def leaky_softplus(x, alpha=0.1):
    """Softplus mixed with the identity: slopes alpha and 1, a smooth leaky rectifier; its origin is unknown."""
    return alpha * x + (1 - alpha) * ops.softplus(x)


# Rectifiers averaged over a window: parabolic corners and the normal density


@define(
    cite="shamir2022reproducibility",
    aliases=("gsmelu",),
    params={
        "alpha": Param(low=0.0, note="where the bend begins, to the left"),
        "beta": Param(low=0.0, note="where it ends, to the right"),
        "gm": Param(note="left slope"),
        "gp": Param(note="right slope"),
        "t": Param(note="height of the left line at zero"),
    },
    same_as="smelu",
)
def generalized_smelu(x, alpha=1.0, beta=1.0, gm=0.0, gp=1.0, t=0.0):
    """SmeLU with any two slopes and an asymmetric bend between -alpha and beta."""
    bend = (gp - gm) * (x + alpha) ** 2 / (2 * (alpha + beta))
    return gm * x + t + where(x >= beta, (gp - gm) * (x + (alpha - beta) / 2), where(x > -alpha, bend, 0.0))


@define(cite="pinar1994smoothing", aliases=("huberised_relu",))
def huber_relu(x):
    """A rectifier that starts as a parabola, x^2/2 up to 1 and x - 1/2 beyond: half of Huber's function."""
    return where(x > 1, x - 0.5, where(x > 0, x * (x / 2), 0.0))


@define(
    cite="frey1999variational",
    aliases=("expected_relu", "probit_softplus"),
    params={"s": Param(low=0.0)},
    exceptions={"value": "far to the left x Phi(x) and phi(x) cancel"},
)
def gaussian_softplus(x, s=1.0):
    """Mean of a rectifier under normal noise of deviation s: the antiderivative of the normal probability."""
    return x * Phi(x / s) + s * phi(x / s)

"""Self-gated units composed of several curves: sums and compositions of gates, and curves around SiLU."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import atan, exp, expm1, log1p, sigmoid, softplus, tanh, where

# Gates that are a sum or a composition


@define(cite="kocak2021new", aliases=("tss", "triple_state_swish"))
def ts_swish(x, a=20.0, b=40.0):
    """SiLU times three logistic steps at 0, a and b, so that its slope takes three values."""
    return x * sigmoid(x) * (sigmoid(x) + sigmoid(x - a) + sigmoid(x - b))


@define(cite="kocak2021new", aliases=("gswish", "generalised_swish"))
def generalized_swish(x):
    """The input gated by the logistic function of exp(-x): the identity far left, half of it far right."""
    return x * sigmoid(exp(-x))


@define(cite="kocak2021new")
def exponential_swish(x):
    """exp(-x) sigmoid(x), which is the logistic function mirrored; its source does not say so."""
    return sigmoid(-x)


@define(cite="kunc2024three")
def loglogish(x):
    """The input gated by the complementary log-log curve 1 - exp(-exp(x))."""
    return x * -expm1(-exp(x))


@define(cite="zhu2021logish", aliases=("parametric_logish",), params={"a": Param(), "b": Param()})
def plogish(x, a=1.0, b=10.0):
    """Logish with a scale a and a sharpness b."""
    return a * (x * log1p(sigmoid(b * x)))


@define(cite="kunc2024three", aliases=("tangent_sigmoid_relu",))
def tsrelu(x):
    """The input gated by the hyperbolic tangent of its logistic function; slope 0.76 far right."""
    return x * tanh(sigmoid(x))


@define(cite="kunc2024three")
def double_silu(x):
    """The input gated by the logistic function of its SiLU; half of the input far left."""
    return x * sigmoid(x * sigmoid(x))


@define(
    cite="kunc2024three",
    exceptions={"second": "the curvature decays like 1/x^3, the difference of two terms like 1/x^2"},
)
def swat(x):
    """The input gated by the logistic function of its arctangent: a gate that stays between 0.17 and 0.83."""
    return x * sigmoid(atan(x))


@define(cite="misra2019echo", params={"beta": Param(low=0.0)})
def beta_mish(x, beta=1.5):
    """Mish with its softplus scaled by beta, so that the gate opens further."""
    return x * tanh(beta * softplus(x))


@define(cite="misra2019echo")
def mila(x, beta=-0.25):
    """Mish with its gate shifted by beta, which sets the depth of the dip."""
    return x * tanh(softplus(beta + x))


@define(cite="koh2023molu", params={"alpha": Param(low=0.0), "beta": Param(low=0.0)})
def molu(x, alpha=2.0, beta=2.0):
    """TanhExp with a scale and a sharpness: MoLU as first published; version 7 of its paper is swish at beta = 2."""
    return x * tanh(alpha * exp(beta * x))


@define(
    cite="vagerwal2021deeper",
    aliases=("collapsing_linear_unit",),
    exceptions={"second": "beside x = 1 a sum of eight terms rounds"},
)
def colu(x):
    """x/(1 - x exp(-(x + exp(x)))): close to Mish, without bound on the right."""
    # left: both sides times exp(x + exp(x)), which is at most exp(1 + e) there
    left = x * exp(x + exp(x)) / (exp(x + exp(x)) - x)
    return where(x > 1, x / (1 - x * exp(-(x + exp(x)))), left)


# Curves around SiLU


@define(cite="kunc2024three", aliases=("modified_silu",))
def msilu(x):
    """SiLU plus a quarter of exp(-x^2 - 1), a bump that lifts it around zero."""
    return x * sigmoid(x) + exp(-(x**2) - 1) / 4


@define(cite="kunc2024three", aliases=("tanh_silu",))
def tsilu(x):
    """The hyperbolic tangent of SiLU: a saturating curve with SiLU's dip."""
    return tanh(x * sigmoid(x))


@define(cite="kunc2024three", aliases=("arctan_silu",))
def asilu(x):
    """The arctangent of SiLU: a saturating curve with SiLU's dip."""
    return atan(x * sigmoid(x))

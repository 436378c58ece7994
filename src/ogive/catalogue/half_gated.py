"""Rectifiers of which one side is gated: a line or nothing on the other."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import Phi, exp, log, maximum, relu, sigmoid, softplus, tanh, where


@define(cite=("mercioni2021soft", "chieng2018flatten"), aliases=("sc_swish", "fts_zero"))
def soft_clipping_swish(x):
    """SiLU on the right, zero on the left: a Flatten-T Swish that is not lowered."""
    return where(x > 0, x * sigmoid(x), 0.0)


@define(cite="kunc2024three", aliases=("optimal_activation",))
def oaf(x):
    """SiLU plus the rectifier: slope 2 far right, the dip of SiLU on the left."""
    return relu(x) + x * sigmoid(x)


@define(
    cite="georgescu2020nonlinear",
    aliases=("ada_paper", "apical_dendrite"),
    params={"alpha": Param(low=0.0, share="layer"), "c": Param()},
)
def ada(x, alpha=1.0, c=1.0):
    """Apical dendrite activation: zero left, a hump x exp(c - alpha x) right; the survey prints it without x."""
    return where(x > 0, x * exp(c - alpha * x), 0.0)


@define(
    cite="georgescu2020nonlinear",
    aliases=("lada_paper", "leaky_ada"),
    params={"l": Param(note="left slope"), "alpha": Param(low=0.0), "c": Param()},
)
def lada(x, l=0.01, alpha=1.0, c=1.0):
    """Apical dendrite activation with a small slope on the left; the survey prints it without the factor x."""
    return where(x > 0, x * exp(c - alpha * x), l * x)


@define(cite="kunc2024three", params={"a": Param(low=0.0), "b": Param(low=0.0)})
def sara(x, a=0.5, b=0.7):
    """Identity on the right, x/(1 + a exp(-b x)) on the left: Swish and ReLU, with a kink where they meet."""
    return where(x > 0, x, x * sigmoid(b * x - log(a)))


@define(cite="chen2023saturated", aliases=("sgelu_saturated",))
def saturated_gelu(x):
    """Identity on the right, GELU on the left; called SGELU, as is the symmetric GELU."""
    return where(x > 0, x, x * Phi(x))


@define(cite="chen2023saturated", aliases=("smish_saturated",))
def saturated_mish(x):
    """Identity on the right, Mish on the left; called SMish, as is the logarithmic Smish."""
    return where(x > 0, x, x * tanh(softplus(x)))


@define(cite="kunc2024three", aliases=("max_sig",))
def maxsig(x):
    """The larger of x and its logistic function, with a kink at x = 0.659."""
    return maximum(x, sigmoid(x))

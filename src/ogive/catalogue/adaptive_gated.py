"""Self-gated units with a learned gate: relatives of swish, of GELU, and gates through tanh and arctangent."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import Phi, atan, exp, log, pi, sigmoid, softplus, tanh, where

# Relatives of swish


@define(cite="ma2021acon", params={"beta": Param(share="channel", decay=False)}, same_as="silu")
def acon_a(x, beta=1.0):
    """The smooth maximum of x and 0, which is swish: the first of the ACON family."""
    return x * sigmoid(beta * x)


@define(
    cite="bodyanskiy2022adaptive",
    params={"a": Param(share="neuron", note="height"), "b": Param(share="neuron", note="sharpness")},
    same_as="silu",
)
def ahaf(x, a=1.0, b=1.0):
    """Adaptive hybrid activation: swish with a learned factor in front of it."""
    return a * (x * sigmoid(b * x))


@define(
    cite="bodyanskiy2023learnable",
    params={
        "p1": Param(share="neuron"),
        "p2": Param(share="neuron"),
        "p3": Param(share="neuron"),
        "p4": Param(share="neuron"),
    },
    same_as="silu",
)
def leaf(x, p1=1.0, p2=0.0, p3=1.0, p4=0.0):
    """Learnable extended activation, from SiLU to the logistic function; a library has another function so named."""
    return (p1 * x + p2) * sigmoid(p3 * x) + p4


@define(
    cite="kunc2024three",
    params={"a": Param(share="channel"), "b": Param(high=1.0, share="channel", note="singular at 1")},
    same_as="silu",
)
def pssilu(x, a=1.0, b=0.0):
    """Parametric shifted SiLU: the gate is lowered by b and stretched back to reach 1."""
    return x * (sigmoid(a * x) - b) / (1 - b)


@define(
    cite="mercioni2020pswish",
    aliases=("p_swish", "pswish_piecewise", "t_swish"),
    params={
        "a": Param(share="neuron"),
        "b": Param(share="neuron"),
        "c": Param(share="neuron", note="continuous there only when a sigmoid(b c) = 1 or c = 0"),
    },
    same_as="ssilu",
)
def pswish(x, a=1.0, b=1.0, c=0.0):
    """Scaled swish up to c and the identity beyond it."""
    return where(x > c, x, a * (x * sigmoid(b * x)))


@define(
    cite="seo2024swisht",
    params={"alpha": Param(note="0.1, not learned in the source")},
)
def swish_t_a(x, alpha=0.1):
    """Swish-T's simplest form, sigmoid(x) (x + 2 alpha) - alpha: its bias reuses the gate."""
    return x * sigmoid(x) + alpha * tanh(x / 2)


@define(
    cite="seo2024swisht",
    params={"beta": Param(), "alpha": Param(note="0.1, not learned in the source")},
    same_as="swish_t_a",
)
def swish_t_b(x, beta=1.0, alpha=0.1):
    """Swish-T with a learned sharpness, which also sharpens the bias."""
    return x * sigmoid(beta * x) + alpha * tanh(beta * x / 2)


@define(
    cite="seo2024swisht",
    params={"beta": Param(note="singular at 0"), "alpha": Param(note="0.1, not learned in the source")},
    same_as="swish_t_a",
)
def swish_t_c(x, beta=1.0, alpha=0.1):
    """Swish-T with a learned sharpness beta, its bias divided by beta."""
    return x * sigmoid(beta * x) + alpha / beta * tanh(beta * x / 2)


@define(
    cite="chen2019residual",
    aliases=("swish_invertible_lipswish",),
    params={"b": Param(note="the sharpness is softplus(b)")},
)
def lipswish(x, b=0.5):
    """Swish divided by 1.1, which keeps its slope within [-1, 1]; the nonlinearity of residual flows."""
    return x * sigmoid(softplus(b) * x) / 1.1


@define(
    cite="patwardhan2018aria",
    params={
        "A": Param(note="lower end of the gate"),
        "K": Param(note="upper end of the gate"),
        "b": Param(low=0.0),
        "v": Param(low=0.0),
        "C": Param(low=0.0),
        "Q": Param(low=0.0),
    },
    same_as="silu",
)
def aria(x, A=0.0, K=1.0, b=1.0, v=1.0, C=1.0, Q=1.0):
    """The input gated by Richards' six-parameter growth curve; ARiA2 keeps two of them."""
    # (C + Q e^(-b x))^(-1/v), with log(C + Q e^(-b x)) = log C + softplus(log(Q/C) - b x)
    gate = exp(-(log(C) + softplus(log(Q / C) - b * x)) / v)
    return x * (A + (K - A) * gate)


# Relatives of GELU


@define(
    cite="perezcorral2026lambda",
    params={"lam": Param(low=1.0, high=1e6, closed=True, decay=False, note="hardened in training")},
    same_as="gelu",
)
def lambda_gelu(x, lam=1.0):
    """GELU with a learned hardness, x Phi(lam x), for replacing it by the rectifier after training."""
    return x * Phi(lam * x)


@define(cite="kunc2024three", aliases=("parametric_gelu",), params={"a": Param(low=0.0)}, same_as="gelu")
def pgelu(x, a=1.0):
    """GELU with a learned width, x Phi(x/a), where a is the deviation of an assumed noise."""
    return x * Phi(x / a)


@define(cite=("hendrycks2016gaussian", "kunc2024three"), aliases=("geu_scale",), params={"a": Param()}, same_as="gelu")
def geu(x, a=1.0):
    """Gaussian error unit, x Phi(a x): GELU with a slope, x/2 at a = 0."""
    return x * Phi(a * x)


# Through tanh, arctangent and softplus


@define(
    cite="kunc2024three",
    params={"a": Param(), "b": Param()},
    same_as="aptx",
)
def pstanh(x, a=0.5, b=1.0):
    """Parametric scaled tanh, a x (1 + tanh(b x)): swish with sharpness 2 b, times 2 a."""
    return 2 * a * (x * sigmoid(2 * b * x))


@define(cite="kunc2024three", params={"a": Param()}, same_as="tsrelu")
def psgu(x, a=1.0):
    """Parametric self-circulating gating unit, x tanh(a sigmoid(x))."""
    return x * tanh(a * sigmoid(x))


@define(cite="kunc2024three", params={"a": Param()}, same_as="tbsrelu")
def tbsrelul(x, a=1.0):
    """Tangent bipolar sigmoid unit with a learned factor inside, x tanh(a tanh(x/2)): even."""
    return x * tanh(a * tanh(x / 2))


@define(cite="kunc2024three", params={"a": Param(note="drawn from U(0.5, 0.75) in training; 0.625 is the mean")})
def pats(x, a=0.625):
    """The input gated by an arctangent of its logistic function, x arctan(a pi sigmoid(x))."""
    return x * atan(a * pi * sigmoid(x))


@define(cite="mercioni2021mish", aliases=("soft_clipping_mish",), params={"a": Param()})
def sc_mish(x, a=0.25):
    """The positive part of a Mish whose softplus has a learned slope."""
    return where(x > 0, x * tanh(softplus(a * x)), 0.0)


@define(
    cite="golwala2025tangma",
    params={"alpha": Param(share="neuron", note="shift"), "gamma": Param(share="neuron", note="linear part")},
    same_as="lisht",
)
def tangma(x, alpha=0.0, gamma=0.0):
    """The input gated by a shifted tanh plus a linear part; the defaults are LiSHT."""
    return x * tanh(x + alpha) + gamma * x

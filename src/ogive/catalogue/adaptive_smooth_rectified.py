"""Rectifiers and linear units with a learned smooth part: sigmoid gates, ripples and shifts."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import clip, expm1, relu, sigmoid, sign, softplus, tanh, where


@define(cite="chieng2020parametric", params={"T": Param(share="neuron")}, same_as="flatten_t_swish")
def pfts(x, T=-0.2):
    """Flatten-T Swish whose shift is learned for each neuron, from -0.20."""
    return relu(x) * sigmoid(x) + T


@define(cite="mondal2022novel", params={"p": Param(share="neuron")})
def pfpm(x, p=-0.2):
    """Parametric flatten-p Mish: Mish on the right, flat on the left, all shifted by a learned p."""
    return where(x > 0, x * tanh(softplus(x)), 0.0) + p


@define(cite="pishchik2023trainable", params={"a": Param(decay=False)}, aliases=("delu_ada",))
def delu(x, a=1.0):
    """SiLU on the left, a line with an exponential transient on the right; a kink at zero."""
    return where(x > 0, (a + 0.5) * x - expm1(-x), x * sigmoid(x))


@define(
    cite="avenash2019semantic",
    params={"b": Param(share="neuron", note="steepness of the gate")},
    aliases=("hard_swish_ada",),
)
def parametric_hard_swish(x, b=1.0):
    """2 x clip(b x/5 + 1/2, 0, 1): twice the input behind a hard sigmoid gate of learned steepness."""
    return 2 * x * clip(0.2 * b * x + 0.5, 0, 1)


@define(
    cite="atto2021parametric",
    params={
        "alpha": Param(low=0.0, high=1.0, closed=True, note="between shrinkage (1) and stretching (0)"),
        "beta": Param(note="start of the right side"),
        "mu": Param(note="centre of the gate"),
        "sigma": Param(low=0.0),
        "lam": Param(low=0.0, note="power of the gate's argument; below 1 its slope is infinite at mu"),
    },
    same_as="relu",
)
def repsu(x, alpha=0.5, beta=0.0, mu=0.0, sigma=1.0, lam=1.0):
    """Rectified power sigmoid unit: a gated x - beta and its complement, mixed; a rectifier at alpha = 1/2."""
    # alpha g + (1 - alpha)(2 x - g) with g = (x - beta) s, as printed
    gate = sigmoid(sign(x - mu) * (abs(x - mu) / sigma) ** lam)
    return where(x > beta, (2 * alpha - 1) * (x - beta) * gate + 2 * (1 - alpha) * x, 0.0)


@define(
    cite="khagi2022novel",
    params={
        "a": Param(note="fixed"),
        "b": Param(note="fixed"),
        "alpha": Param(low=0.0, share="channel"),
        "beta": Param(low=0.0, share="channel"),
    },
)
def sgt(x, a=0.1, b=1.1, alpha=1.0, beta=1.0):
    """Scaled gamma tanh: tanh of a power of the input, with learned powers and one scale for each side."""
    m = where(x > 0, x, -x)
    return tanh(where(x > 0, b * m**beta, -a * m**alpha))

"""Sigmoid curves whose height, slope, shift or exponent is learned."""

from __future__ import annotations

from ogive import ops
from ogive.activation import Param, define
from ogive.ops import clip, expm1, log, sin, softplus, where

# Height and slope


@define(
    cite="kunc2024three",
    aliases=("gaf_adaptive_sigmoid",),
    params={"a": Param(low=0.0, share="neuron", note="the identity as it goes to 0")},
    same_as="scaled_sigmoid",
)
def adaptive_sigmoid(x, a=1.0):
    """A tanh curve of slope 1 at zero that reaches 2/a: one parameter trades height against steepness."""
    return 2 / a * ops.tanh(a * x / 2)


@define(
    cite="chen1996feedforward",
    aliases=("generalised_tanh", "autotuned_tanh"),
    params={"a": Param(share="neuron", note="height"), "b": Param(share="neuron", note="steepness")},
    same_as="tanh",
)
def generalized_tanh(x, a=1.0, b=2.0):
    """A tanh of learned height and steepness, each neuron its own (function shape autotuning)."""
    return a * ops.tanh(b * x / 2)


@define(
    cite="trentin2001networks",
    params={"a": Param(share="neuron", note="amplitude"), "b": Param(share="neuron", note="offset")},
    same_as="tanh",
)
def trainable_amplitude(x, a=1.0, b=0.0):
    """A tanh with learned amplitude and offset; the source scales any base function in this way."""
    return a * ops.tanh(x) + b


@define(
    cite="kunc2024three",
    aliases=("adaptive_slope_sigmoid",),
    params={"a": Param(share="neuron", note="its sign is redundant with that of the weights")},
    same_as="sigmoid",
)
def assf(x, a=1.0):
    """Adaptive slope sigmoidal function: the logistic function with a learned slope."""
    return ops.sigmoid(a * x)


@define(
    cite="kunc2024three",
    aliases=("adaptive_slope_tanh",),
    params={"a": Param(share="neuron")},
    same_as="tanh",
)
def svaf(x, a=1.0):
    """Slope varying activation function: tanh with a learned slope; one library calls it TSAF."""
    return ops.tanh(a * x)


@define(
    cite="kunc2024three",
    aliases=("scaled_logistic_sigmoid", "parametric_sigmoid"),
    params={"a": Param(share="channel", note="height"), "b": Param(share="channel", note="steepness")},
    same_as="sigmoid",
)
def psigmoid(x, a=1.0, b=1.0):
    """The logistic function with learned height and steepness."""
    return a * ops.sigmoid(b * x)


@define(
    cite="pishchik2023trainable",
    params={"a": Param(share="neuron"), "b": Param(low=0.0, share="neuron", note="a pole appears below 0")},
    same_as="softsign",
)
def scaled_softsign(x, a=1.0, b=1.0):
    """Softsign with learned height a and half-width b."""
    return a * ops.softsign(x / b)


@define(cite="kunc2024three", params={"a": Param(share="neuron"), "b": Param(share="neuron")})
def ssinh(x, a=1.0, b=1.0):
    """A hyperbolic sine with learned scales; overflows float32 where |b x| is above 89."""
    return a * ops.sinh(b * x)


@define(cite=("bello2016neural", "gemma2024gemma2"), aliases=("logit_softcap",), params={"c": Param(low=0.0)})
def softcap(x, c=30.0):
    """Soft cap on logits: the identity near zero, never beyond c; Gemma 2 has 30, and 50 in its attention."""
    return c * ops.tanh(x / c)


# In physics-informed networks


@define(
    cite="jagtap2020locally",
    params={
        "a": Param(share="neuron", note="starts at 1/n; the loss gains 1/mean(exp(mean(a))), a slope recovery term"),
        "n": Param(low=0.0, note="fixed, 5 or 10, at least 1: multiplies the learning rate of a"),
    },
    same_as="tanh",
)
def laaf(x, a=0.1, n=10.0):
    """Locally adaptive activation: tanh with a slope for each layer or neuron, for physics-informed networks."""
    return ops.tanh(n * a * x)


@define(
    cite="jagtap2019adaptive",
    params={
        "a": Param(note="one for the whole network, starts at 1/n"),
        "n": Param(low=0.0, note="fixed, at least 1"),
    },
    same_as="tanh",
)
def gaaf(x, a=0.1, n=10.0):
    """Globally adaptive activation: tanh with one learned slope for all of a physics-informed network."""
    return ops.tanh(n * a * x)


# Shift, exponent and tails


@define(
    cite="kunc2021transformative",
    params={
        "a": Param(share="neuron", note="height"),
        "b": Param(share="neuron", note="slope"),
        "c": Param(share="neuron", note="shift along x"),
        "d": Param(share="neuron", note="shift along y"),
    },
    same_as="tanh",
)
def taaf(x, a=1.0, b=1.0, c=0.0, d=0.0):
    """Transformative adaptive activation: all four affine parameters around a tanh (or another base)."""
    return a * ops.tanh(b * x + c) + d


@define(cite="chandra2004activation", params={"m": Param(low=0.0, share="neuron")}, same_as="sigmoid")
def psf(x, m=1.0):
    """Parametric sigmoid function: the logistic function to a learned power."""
    return ops.sigmoid(x) ** m


@define(
    cite="farhadi2019activation",
    aliases=("adaptive_gumbel",),
    params={"a": Param(low=0.0, decay=False, note="learned through a softplus")},
    same_as="sigmoid",
    exceptions={"second": "zero at x = 0, where two terms of size 1/8 cancel"},
)
def agumb(x, a=1.0):
    """Adaptive Gumbel: logistic at a = 1, complementary log-log as a goes to 0; a library prints its exponent wrong."""
    # (1 + a e^x)^(-1/a) = exp(-softplus(x + log a)/a)
    return -expm1(-softplus(x + log(a)) / a)


@define(cite="kunc2024three", params={"a": Param(low=0.0), "b": Param()})
def stac_tanh(x, a=1.0, b=0.1):
    """Tanh between -a and a, continued outside by lines of slope b so that it never saturates."""
    return where(x > a, ops.tanh(a) + b * (x - a), where(x >= -a, ops.tanh(x), b * (x + a) - ops.tanh(a)))


@define(
    cite="kunc2024three",
    params={
        "a": Param(low=0.0, high=1.0, closed=True, share="neuron", note="kept in [0, 1] by a sigmoid"),
        "b": Param(share="neuron"),
    },
)
def p_sig_ramp(x, a=0.5, b=0.25):
    """A learned mixture of the logistic function and a ramp from 0 to 1 of slope b."""
    return a * ops.sigmoid(x) + (1 - a) * clip(b * x + 0.5, 0, 1)


@define(
    cite="kunc2024three",
    params={"a": Param(note="mixing logit, learned per layer"), "b": Param(note="offset")},
    exceptions={"value": "near x = -4.71, where a sine of 1 and a tanh of -1 cancel to second order"},
)
def gln(x, a=0.0, b=0.0):
    """Global-local neuron: a learned mixture of a sine (global) and a tanh (local), less an offset."""
    return ops.sigmoid(a) * sin(x) + ops.sigmoid(-a) * ops.tanh(x) - b

"""Exponential growth and searched compositions: functions for outputs and found by evolution."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import exp, log, maximum, relu, tanh, where


@define(cite="kunc2024three", aliases=("exponential_neg",))
def negative_exponential(x):
    """exp(-x), falling; overflows float32 below -88."""
    return exp(-x)


@define(cite="kunc2024three", params={"a": Param()}, aliases=("e_tanh",))
def etanh(x, a=1.0):
    """tanh times an exponential that opens to the right; overflows float32 above 88."""
    return a * (exp(x) * tanh(x))


@define(cite="vijayaprabakaran2020neuroevolution", params={"a": Param()})
def evolved_tanh_relu(x, a=1.0):
    """A rectifier plus tanh(x^2), found by evolution for recurrent networks."""
    return a * (tanh(x**2) + relu(x))


@define(cite="vijayaprabakaran2020neuroevolution", same_as="relu")
def evolved_max_tanh_log(x):
    """max(tanh(log x), relu(x)) of an evolutionary search, which is the rectifier: tanh(log x) < x."""
    # tanh(log x) = (x^2 - 1)/(x^2 + 1), below x for every x > 0, where alone it exists
    return where(x > 0, maximum(tanh(log(x)), x), 0.0)

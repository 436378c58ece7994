"""Sums of shifted sigmoids: stairs with several levels."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import sigmoid, softplus, tanh, where


@define(cite="kunc2024three", aliases=("bimodal",), params={"b": Param(note="the slope has two humps from 2.7 on")})
def bimodal_sigmoid(x, b=1.0):
    """Mean of two logistic functions b apart, whose slope has two humps when b is large."""
    return (sigmoid(x) + sigmoid(x + b)) / 2


@define(cite="kunc2024three", aliases=("ts_sigmoid",), params={"a": Param(), "b": Param()})
def triple_state_sigmoid(x, a=20.0, b=40.0):
    """Stairs with steps at 0, a and b, gated by the first; disputed with triple_state_sigmoid_sum."""
    return sigmoid(x) * (sigmoid(x) + sigmoid(x - a) + sigmoid(x - b))


@define(cite="kunc2024three", params={"a": Param(), "b": Param()})
def triple_state_sigmoid_sum(x, a=20.0, b=40.0):
    """Stairs with steps at 0, a and b as one library has them, without the gate of triple_state_sigmoid."""
    return sigmoid(x) + sigmoid(x - a) + sigmoid(x - b)


@define(
    cite="cai2015deep",
    aliases=("multistate",),
    params={"a": Param(), "b1": Param(), "b2": Param()},
)
def msaf(x, a=0.0, b1=1.0, b2=2.0):
    """Multistate activation of second order: an offset and two logistic steps, so that a unit has three states."""
    return a + sigmoid(x - b1) + sigmoid(x - b2)


@define(cite="cai2015deep", aliases=("symmetrical_msaf",), params={"a": Param(high=0.0, note="minus the distance")})
def symmsaf(x, a=-2.0):
    """Symmetrical multistate activation: two logistic steps from -1 over 0 to 1, at zero and at -a."""
    return (tanh(x / 2) + tanh((x + a) / 2)) / 2  # sigmoid(x) + sigmoid(x + a) - 1


@define(
    cite="piraud2018multilevel",
    aliases=("hierarchical_sigmoid",),
    params={"k": Param(low=0.0, note="steepness"), "h": Param(low=0.0, note="distance of the steps")},
    exceptions={"second": "zero at x = 0, where the curvatures of the two steps cancel"},
)
def multilevel_sigmoid(x, k=10.0, h=1.0):
    """Stairs from 0 over 1 to 2 that segment a class nested in another with one output."""
    return sigmoid(k * (x + h / 2)) + sigmoid(k * (x - h / 2))


@define(cite="klimek2018neural", aliases=("sc",), params={"a": Param(low=0.0, note="sharpness; libraries differ")})
def soft_clipping(x, a=50.0):
    """Clipping to [0, 1] with rounded corners, the difference of two softplus functions."""
    # Above 1/2 the mirror image, 1 minus the value at 1 - x: two large numbers would cancel there.
    right = 1 + (softplus(-a * x) - softplus(-a * (x - 1))) / a
    return where(x > 1 / 2, right, (softplus(a * x) - softplus(a * (x - 1))) / a)

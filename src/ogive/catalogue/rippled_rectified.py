"""Rectifiers with a sine or cosine added or put in place of one side."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import cos, relu, sin, where


@define(
    cite="rodrigues2018sinerelu",
    aliases=("sinerelu",),
    params={"a": Param(low=0.0, closed=True, note="0.0025 for convolutional layers")},
)
def sine_relu(x, a=0.0025):
    """Identity on the right, a small wave a (sin x - cos x) on the left; it jumps by a at zero."""
    return where(x > 0, x, a * (sin(x) - cos(x)))


@define(cite="kunc2024three", aliases=("min_sin",))
def minsin(x):
    """The smaller of x and sin x: identity on the left, a sine on the right."""
    # the two sides are told apart by the sign of x: close to zero they round to the same number
    return where(x > 0, sin(x), x)


@define(
    cite="kunc2024three",
    aliases=(
        "pvlu",
        "variational_linear_unit",
    ),
    params={"a": Param(), "b": Param()},
)
def vlu(x, a=0.1, b=1.0):
    """A rectifier plus a sin(b x); one library takes a = 1."""
    return relu(x) + a * sin(b * x)


@define(
    cite="ardehkhani2022acttensor",
    aliases=("cosrelu",),
    exceptions={"first": "at every pi/2 + 2 pi k above 0 the double zero of 1 - sin(x) cancels"},
)
def cos_relu(x):
    """A rectifier plus a cosine, as ActTensor lists it; 1 at zero."""
    return relu(x) + cos(x)


@define(cite="ardehkhani2022acttensor", aliases=("sinrelu",))
def sin_relu(x):
    """A rectifier plus a sine, as ActTensor lists it; the variational linear unit at a = b = 1."""
    return relu(x) + sin(x)

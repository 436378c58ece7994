"""Sigmoid curves put together from pieces: clipped lines, halves of two curves, tails of a line."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import clip, expm1, relu, sigmoid, tanh, where


@define(
    cite="qin2018optimized",
    aliases=("ils",),
    params={"a": Param(low=0.0, note="slope outside"), "b": Param(low=0.0, note="where the lines begin")},
)
def improved_logistic_sigmoid(x, a=0.2, b=2.0):
    """Logistic function between -b and b, lines of slope a outside, so that it never saturates."""
    return where(x > b, a * (x - b) + sigmoid(b), where(x > -b, sigmoid(x), a * (x + b) + sigmoid(-b)))


@define(
    cite="kong2017hexpo",
    params={k: Param(low=0.0) for k in ("a", "b", "c", "d")},
)
def hexpo(x, a=1.0, b=1.0, c=1.0, d=1.0):
    """Saturating exponentials on both sides with separate height and width; made against vanishing gradients."""
    return where(x > 0, -a * expm1(-x / b), c * expm1(x / d))


@define(cite="kunc2024three")
def sigmoid_tanh_combo(x):
    """tanh(x/2) on the right and tanh(x) on the left, with slopes 1/2 and 1 at zero."""
    return where(x > 0, tanh(x / 2), tanh(x))


@define(cite="kunc2024three")
def bipolar_sigmoid_zero(x):
    """The positive half of the logistic function stretched to (-1, 1), zero on the left."""
    return relu(tanh(x / 2))


@define(cite="kunc2024three", params={"a": Param(note="left slope")})
def bipolar_sigmoid_linear(x, a=1.0):
    """The stretched logistic function on the right and a line on the left."""
    return where(x > 0, tanh(x / 2), a * x)


@define(cite="kunc2024three", params={"a": Param(note="left slope")})
def tanh_linear(x, a=1.0):
    """Tanh on the right and a line on the left, the mirror image of most exponential linear units."""
    return where(x > 0, tanh(x), a * x)


@define(cite="wuraola2021efficient")
def log_sqnl(x):
    """Two parabolas from 0 at -2 to 1 at 2, a logistic look-alike without an exponential."""
    return where(x >= 2, 1.0, where(x > 0, 1 - (x - 2) ** 2 / 8, where(x > -2, (x + 2) ** 2 / 8, 0.0)))


@define(cite="kunc2024three", params={"a": Param(note="shift upwards")})
def sv_hard_tanh(x, a=0.1):
    """The identity clipped to [-1, 1] and shifted up by a."""
    return clip(x + a, a - 1, a + 1)


@define(cite="kunc2024three", params={"a": Param(note="shift to the left")})
def sh_hard_tanh(x, a=0.1):
    """The identity shifted to the left by a, then clipped to [-1, 1]; one library forgets a in the middle piece."""
    return clip(x + a, -1, 1)


@define(cite="hagan1996neural", same_as="bounded_relu")
def saturated_linear(x):
    """The identity clipped to [0, 1], the saturating transfer function of early toolboxes."""
    return clip(x, 0, 1)

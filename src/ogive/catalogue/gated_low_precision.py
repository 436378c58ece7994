"""GELU and SiLU for cheap hardware and little memory: clipped, piecewise, with integers, with a two-bit backward."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import Phi, abs, clip, relu, sigmoid, sqrt, where


@define(cite="wu2020integer", aliases=("clipped_gelu",))
def gelu_10(x):
    """GELU clipped to [-10, 10], so that int8 quantisation keeps its negative values; it is GELU below 10."""
    return where(x > 10, 10.0, x * Phi(x))  # GELU(10) is 10 to 22 digits; the lower clip is never reached


@define(
    cite="kim2021ibert",
    aliases=("integer_gelu",),
    params={"a": Param(high=0.0), "b": Param(high=0.0)},
)
def i_gelu(x, a=-0.2888, b=-1.769):
    """GELU with its error function replaced by a parabola that saturates, for integer-only BERT; kinked at zero."""
    # sign(x) (a q + 1) with q = (min(|x|/sqrt 2, -b) + b)^2: its half is added to 1/2, which cancels on the left
    half = a / 2 * relu(-b - abs(x) / sqrt(2)) ** 2
    return x * where(x > 0, 1 + half, -half)


@define(cite="hendrycks2016gaussian")
def hard_gelu(x):
    """GELU's logistic approximation with a piecewise linear gate; from hardware, without a settled first source."""
    return x * clip(1.702 * x / 4 + 1 / 2, 0, 1)


@define(
    cite="yang2024reducing",
    backward=lambda x: where(
        x > 3.190832613414926,
        1.0,
        where(
            x > -0.001178821281161997,
            1.048740595085551286,
            where(x > -3.1858810036855245, -0.04922261145617846, 0.0),
        ),
    ),
    same_as="gelu",
)
def regelu2(x):
    """GELU forward with a slope of four levels, so that two bits an element are all that backward keeps."""
    return x * Phi(x)


@define(
    cite="yang2024reducing",
    backward=lambda x: where(
        x > 6.325815242089708,
        1.0,
        where(
            x > -0.0008684942046214787,
            1.040321856624382146,
            where(x > -6.3050461001646445, -0.04060357190528599, 0.0),
        ),
    ),
    same_as="silu",
)
def resilu2(x):
    """SiLU forward with a slope of four levels, so that two bits an element are all that backward keeps."""
    return x * sigmoid(x)

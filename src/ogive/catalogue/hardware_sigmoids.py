"""Sigmoid curves of straight and curved pieces, chosen so that shifts and adders can compute them."""

from __future__ import annotations

from ogive.activation import define
from ogive.ops import abs, clip, floor, maximum, minimum, pow, where


@define(cite="alippi1991simple", aliases=("alippi",))
def alippi_sigmoid(x):
    """The logistic function by lines between the integers, where it takes powers of two on the left."""
    a = minimum(abs(x), 1100.0)  # 2^-1100 is zero in double precision
    n = floor(a)
    low = (0.5 - (a - n) / 4) * pow(2.0, -n)
    return where(abs(x) < 1, 0.5 + x / 4, where(x > 0, 1 - low, low))


@define(cite="myers1989efficient", aliases=("a_law_sigmoid",))
def sigmoid_a_law(x):
    """Seven lines of the A-law of telephony scaled to the logistic function, from -8 to 8."""
    a = where(x > 0, x, -x)
    inner = where(a < 1, 0.5 - a / 4, where(a < 2, 0.375 - a / 8, 0.1875 - a / 32))
    low = where(a < 4, inner, maximum(0.125 - a / 64, 0.0))
    return where(x > 0, 1 - low, low)


@define(cite="zhang1996sigmoid", aliases=("zhang_sigmoid",))
def sigmoid_second_order(x):
    """Two parabolas from 0 at -4 to 1 at 4, computed with a single multiplication."""
    low = maximum(1 - where(x > 0, x, -x) / 4, 0.0) ** 2 / 2
    return where(x > 0, 1 - low, low)


@define(cite="coelho2021automatic", aliases=("qkeras_smooth_sigmoid",))
def smooth_sigmoid(x):
    """clip(3x/16 + 1/2, 0, 1), a line of two shifts near the logistic function, as in QKeras."""
    return clip(0.1875 * x + 0.5, 0, 1)


@define(cite="coelho2021automatic", aliases=("qkeras_smooth_tanh",))
def smooth_tanh(x):
    """clip(3x/8, -1, 1), smooth_sigmoid of QKeras stretched to (-1, 1); not smooth, in spite of its name."""
    return clip(0.375 * x, -1, 1)


# The six corners lie on tanh at half, 9/10 and 99/100 of its height. FANN multiplies the input by a steepness, 1/2.


@define(cite="nissen2003implementation", aliases=("fann_sigmoid_stepwise",))
def sigmoid_stepwise(x):
    """Five lines through points of the logistic function, 0 below 0.005 and 1 above 0.995, as in FANN."""
    a = where(x > 0, x, -x) / 2
    outer = 0.05 - 0.045 / (2.64665293693542480469 - 1.47221934795379638672) * (a - 1.47221934795379638672)
    inner = 0.25 - 0.2 / (1.47221934795379638672 - 0.549306154251098632812) * (a - 0.549306154251098632812)
    middle = 0.5 - 0.25 / 0.549306154251098632812 * a
    pieces = where(a < 0.549306154251098632812, middle, where(a < 1.47221934795379638672, inner, outer))
    low = where(a < 2.64665293693542480469, pieces, 0.0)
    return where(x > 0, 1 - low, low)


@define(cite="nissen2003implementation", aliases=("fann_sigmoid_symmetric_stepwise",))
def tanh_stepwise(x):
    """Five lines through points of tanh(x/2), -1 and 1 beyond 99 hundredths, as in FANN."""
    a = where(x > 0, x, -x) / 2
    outer = 0.9 + 0.09 / (2.64665293693542480469 - 1.47221934795379638672) * (a - 1.47221934795379638672)
    inner = 0.5 + 0.4 / (1.47221934795379638672 - 0.549306154251098632812) * (a - 0.549306154251098632812)
    pieces = where(a < 0.549306154251098632812, 0.5 / 0.549306154251098632812 * a, inner)
    top = where(a < 1.47221934795379638672, pieces, where(a < 2.64665293693542480469, outer, 1.0))
    return where(x > 0, top, -top)

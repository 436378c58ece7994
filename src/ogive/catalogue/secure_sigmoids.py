"""Sigmoid curves of lines and polynomials that secret-shared regression computes with a few comparisons."""

from __future__ import annotations

from ogive.activation import define
from ogive.ops import abs, clip, hypot1, isru, sqp, where


@define(cite="mohassel2017secureml", aliases=("secureml_sigmoid", "aby3_sigmoid"))
def sigmoid_secureml(x):
    """clip(x + 1/2, 0, 1), the logistic function of SecureML and ABY3, which needs two comparisons only."""
    return clip(x + 0.5, 0, 1)


@define(cite="secretflow2023serving")
def sigmoid_t1(x):
    """The tangent of the logistic function at zero, clipped to [0, 1]."""
    return clip(x / 4 + 0.5, 0, 1)


@define(cite=("ma2023secretflow", "secretflow2023serving"))
def sigmoid_seg3(x):
    """A line of slope 1/8 clipped to [0, 1]: the logistic function in three pieces."""
    return clip(x / 8 + 0.5, 0, 1)


@define(cite="secretflow2023serving")
def sigmoid_seg5(x):
    """The logistic function in five pieces: slope 1/8 inside 3.75, 1/1024 to 35.75, then 0 and 1."""
    a = where(x > 0, x, -x)
    low = where(a <= 3.75, 0.5 - a / 8, where(a <= 35.75, 0.034912109375 - a / 1024, 0.0))
    return where(x > 0, 1 - low, low)


@define(cite="secretflow2023serving")
def sigmoid_ls7(x):
    """Least-squares polynomial of degree 7 for the logistic function, with small even terms left in."""
    top = 3.94330487e-04 + x * (-9.74060972e-08 - 4.74674505e-06 * x)
    middle = -3.97212202e-05 + x * (-1.23407424e-02 + x * (4.04588962e-06 + x * top))
    return 5.00052959e-01 + x * (2.35176260e-01 + x * middle)


@define(cite="secretflow2023serving")
def sigmoid_segls(x):
    """The polynomial of sigmoid_ls7 inside 5.87, x over the root of 1 + x^2 moved to (0, 1) outside."""
    top = 3.94330487e-04 + x * (-9.74060972e-08 - 4.74674505e-06 * x)
    middle = -3.97212202e-05 + x * (-1.23407424e-02 + x * (4.04588962e-06 + x * top))
    inside = 5.00052959e-01 + x * (2.35176260e-01 + x * middle)
    outside = where(x > 0, (1 + isru(x)) / 2, sqp(x) / hypot1(x) / 2)
    return where(abs(x) <= 5.87, inside, outside)

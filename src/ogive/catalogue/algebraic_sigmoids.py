"""Sigmoid curves and bumps made of powers, roots and quotients: tails that decay like a power."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import asinh, hypot1, isru, sigmoid, softsign, sqrt, where


@define(
    cite="kunc2024three",
    aliases=("scaled_softsign_fixed", "unnamed_sigmoid38", "rootsigplus"),
    params={"a": Param(low=0.0, note="the slope at zero")},
    same_as="softsign",
)
def softsign_slope(x, a=1.0):
    """Softsign with a free slope at zero; an unnamed function in the survey of Kunc and Kléma."""
    return softsign(a * x)


@define(
    cite="kunc2024three",
    aliases=("unnamed_sigmoid37",),
    params={"a": Param(low=0.0, note="where half of the range is reached")},
    same_as="softsign",
)
def softsign_width(x, a=1.0):
    """x/(|x| + a), softsign stretched along x; the survey prints it as a quotient with two removable poles."""
    return softsign(x / a)


@define(
    cite="kunc2024three",
    aliases=("unnamed_sigmoid39", "soft_tanh_algebraic"),
    params={"a": Param(low=0.0, note="the slope at zero")},
    same_as="isru",
)
def algebraic_sigmoid(x, a=1.0):
    """Inverse square root sigmoid that keeps its range (-1, 1) whatever its slope a."""
    return isru(a * x)


@define(cite="kunc2024three", aliases=("mef",))
def modified_elliott(x):
    """Inverse square root sigmoid plus 1/2, with range (-1/2, 3/2), as in the survey of Kunc and Kléma."""
    return isru(x) + 1 / 2


@define(cite="mathworks2012elliot2sig", aliases=("elliot2sig",))
def elliott_sig2(x):
    """Signed square of the inverse square root sigmoid: flat at zero, tails decay like 1/x^2."""
    return where(x > 0, isru(x) ** 2, -(isru(x) ** 2))


@define(cite="barron2021squareplus", aliases=("student_t2_cdf",), params={"a": Param(low=0.0)})
def algebraic_cdf(x, a=2.0):
    """Distribution function of Student's t with two degrees of freedom; with a = 4 the slope of squareplus."""
    return sigmoid(2 * asinh(x / sqrt(a)))  # with x = sqrt(a) sinh(t) it is (1 + tanh(t))/2


@define(
    cite="kunc2024three",
    params={"a": Param(low=0.0)},
    exceptions={"second": "zero at x = 0 for a = 1, where the curvature of the argument cancels"},
)
def sigmoid_algebraic(x, a=1.0):
    """The logistic function of an argument squashed to (-1, 1), so that the range is (0.27, 0.73) only."""
    # u/(1 + |u|) of u = x (1 + a|x|), branch by branch as 1 - 1/(1 + u), where no square meets its like as inf/inf
    return sigmoid(where(x > 0, 1 - 1 / (1 + x * (1 + a * x)), 1 / (1 - x * (1 - a * x)) - 1))


@define(cite="li2024cauchy")
def serpentine(x):
    """x/(1 + x^2): rises to 1/2 at one and falls off like 1/x, the odd half of the Cauchy activation."""
    return isru(x) / hypot1(x)


@define(
    cite="cschueler2006rational",
    aliases=("fast_tanh",),
    exceptions={"first": "the double zeros at x = -3 and 3, where two terms cancel"},
)
def tanh_pade(x):
    """Padé quotient for tanh, held at -1 and 1 beyond 3, where it arrives with slope and curvature zero."""
    inside = x * (27 + x**2) / (27 + 9 * x**2)
    return where(x >= 3, 1.0, where(x > -3, inside, -1.0))

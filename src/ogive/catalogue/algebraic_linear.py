"""Identity on the right; a power, a root or a logarithm on the left: exponential linear units without exponentials."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import abs, asinh, expm1, log, log1p, sigmoid, softsign, where


@define(cite="kunc2024three", same_as="sign_relu")
def dlu(x):
    """Identity on the right, x/(1 - x) on the left, given by the survey of Kunc and Kléma under this name."""
    return where(x > 0, x, softsign(x))


@define(cite="feng2023polylu", aliases=("polynomial_linear_unit",), same_as="sign_relu")
def polylu(x):
    """Identity on the right, 1/(1 - x) - 1 on the left: a polynomial-based linear unit."""
    return where(x > 0, x, softsign(x))


@define(cite="duan2021first", aliases=("first_power_linear_unit",), same_as="sign_relu")
def fplus(x):
    """First power linear unit with sign, (1 + |x|)^sign(x) - 1: a line right, a hyperbola left."""
    return where(x > 0, x, softsign(x))


@define(cite="li2018training", aliases=("power_linear_unit",), params={"n": Param(low=0.0)})
def polu(x, n=1.5):
    """Power linear unit: identity on the right, (1 - x)^-n - 1 on the left, which saturates at -1."""
    # expm1 of the logarithm instead of a power less one, which would cancel near zero
    return where(x > 0, x, expm1(-n * log1p(-x)))


@define(cite="zhu2021pflu", aliases=("faster_pflu",))
def fpflu(x):
    """Identity on the right, x (1 + x/sqrt(1 + x^2)) on the left, which returns to zero like 1/x."""
    # 1 + x/sqrt(1 + x^2) is 1 + tanh(asinh x), and that does not cancel as a logistic function
    return where(x > 0, x, 2 * (x * sigmoid(2 * asinh(x))))


@define(
    cite="kunc2024three", aliases=("inverse_polynomial_linear_unit", "iplu_continuous"), params={"a": Param(low=1.0)}
)
def iplu(x, a=1.4):
    """Identity right, x/(1 + |x|^a) left; disputed: the survey has 1 above the bar, see iplu_survey."""
    # below -1 divided through by |x|, so that it is still zero at -inf
    return where(x > 0, x, where(x > -1, x / (1 + abs(x) ** a), -(abs(x) ** (1 - a)) / (1 + abs(x) ** (-a))))


@define(cite="kunc2024three", params={"a": Param(low=1.0)})
def iplu_survey(x, a=1.4):
    """Identity right, 1/(1 + |x|^a) left, which jumps from 1 to 0 at zero; disputed, see iplu."""
    return where(x >= 0, x, 1 / (1 + abs(x) ** a))


@define(cite="loglu2024", aliases=("logarithmic_linear_unit",))
def loglu(x):
    """Identity on the right, -log(1 - x) on the left: unbounded, but slow."""
    return where(x > 0, x, -log1p(-x))


@define(
    cite="kunc2024three",
    aliases=("ls_relu",),
    params={"a": Param(low=0.0), "b": Param(low=0.0, note="no jump at b while log(a b + 1) <= b")},
)
def lsrelu(x, a=1.0, b=1.0):
    """Softsign left of zero, identity up to b, a logarithm beyond: growth is damped on both sides."""
    return where(x > b, log1p(a * x) + abs(log(a * b + 1) - b), where(x > 0, x, softsign(x)))


@define(cite="jaafari2021parametric", params={"a": Param(low=0.0)})
def prenu(x, a=0.25):
    """Zero on the left, x - a log(1 + x) on the right: a rectifier that bends up, a learned in the source."""
    return where(x > 0, x - a * log1p(x), 0.0)

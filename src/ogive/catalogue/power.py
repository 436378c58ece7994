"""Powers: rectified, signed, and joined to lines."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import abs, clip, relu, sign, where


@define(
    cite="li2019better",
    aliases=("rectified_power_unit",),
    params={"p": Param(low=0.0, note="an integer from 2 up in the source")},
    same_as="relu2",
)
def repu(x, p=2.0):
    """A rectifier to the power p; networks of them represent polynomials exactly."""
    return relu(x) ** p


@define(
    cite="kunc2024three",
    aliases=("apprelu",),
    params={"a": Param(low=0.0), "b": Param(low=0.0)},
    same_as="relu",
)
def app_relu(x, a=1.0, b=1.0):
    """Scaled power of the positive part, a x^b: by default the rectifier itself."""
    return a * relu(x) ** b


@define(cite="sobczyk2021nnue", aliases=("squared_clipped_relu",))
def screlu(x):
    """Square of the input clipped to [0, 1]: the usual choice of evaluation networks in chess engines."""
    return clip(x, 0, 1) ** 2


# Powers joined to lines


@define(cite="nasiri2021powerlinear", aliases=("even_powlin",), params={"d": Param(low=1.0)}, same_as="huber")
def eplaf(x, d=2.0):
    """|x|^d/d near zero, the line |x| - 1 + 1/d outside [-1, 1]: even, for first layers; d = 2 is Huber's."""
    return where(abs(x) > 1, abs(x) - (1 - 1 / d), abs(x) ** d / d)


@define(cite="nasiri2021powerlinear", aliases=("odd_powlin", "plaf"), params={"d": Param(low=1.0)})
def oplaf(x, d=3.0):
    """The odd counterpart of eplaf; the survey prints its left line with a sign that makes it jump."""
    return where(abs(x) > 1, x - sign(x) * (1 - 1 / d), sign(x) * (abs(x) ** d / d))


@define(cite="vallesperez2023empirical", aliases=("softmodulusq",))
def softmodulus_q(x):
    """The absolute value with its corner replaced by x^2 (2 - |x|), which joins it smoothly at -1 and 1."""
    return where(abs(x) > 1, abs(x), x**2 * (2 - abs(x)))


@define(cite="wuraola2021efficient", aliases=("square_linear_unit",))
def sqlu(x):
    """An ELU for small devices: a parabola from -1 at x = -2 up to the identity, smooth at both ends."""
    return where(x > 0, x, where(x > -2, x * (1 + x / 4), -1.0))


@define(cite="wuraola2021efficient", aliases=("square_swish",))
def squish(x):
    """A Swish made of two parabolas, zero below -2; its slope jumps there and it grows like x^2/32."""
    return where(x > 0, x * (1 + x / 32), where(x > -2, x * (1 + x / 2), 0.0))


@define(cite="wuraola2021efficient", aliases=("square_softplus",))
def sqsoftplus(x):
    """A softplus whose bend is a parabola between -1/2 and 1/2; SmeLU at beta = 1/2, published before it."""
    return where(x > 0.5, x, where(x > -0.5, (x + 0.5) ** 2 / 2, 0.0))


@define(cite="wuraola2021efficient", aliases=("linear_quadratic",), params={"a": Param(low=0.0, high=1.0)})
def linq(x, a=0.1):
    """Two parabolas about zero that run out into lines of slope a; the survey misprints the constant."""
    return where(abs(x) > 2 - 2 * a, a * x + sign(x) * (1 - a) ** 2, x * (1 - abs(x) / 4))


# Signed powers, written branch by branch so that the slope at zero is infinite rather than infinity times zero


@define(cite=("perronnin2010improving", "kunc2024three"), aliases=("sqrt_signed", "power_normalisation"))
def signed_sqrt(x):
    """Square root of the magnitude with the sign kept: power normalisation; its slope at zero is infinite."""
    return where(x > 0, x**0.5, -((-x) ** 0.5))


@define(cite="kunc2024three", params={"a": Param(low=0.0)}, same_as="signed_sqrt")
def ssaf(x, a=0.5):
    """Signed square root of 2a|x|, called S-shaped; at a = 1/2 the plain signed root."""
    return where(x > 0, (2 * a * x) ** 0.5, -((-2 * a * x) ** 0.5))


@define(cite="perronnin2010improving", aliases=("cbrt", "cube_root"))
def signed_cbrt(x):
    """Cube root, power normalisation with exponent 1/3: a stronger compression, infinitely steep at zero."""
    return where(x > 0, x ** (1 / 3), -((-x) ** (1 / 3)))

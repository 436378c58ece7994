"""Grids of few bits, their rounding, and smooth stairs that stand in for rounding while a network is trained."""

from __future__ import annotations

from ogive.activation import define
from ogive.ops import abs, minimum, where


@define(cite="rouhani2023microscaling", aliases=("e2m1",))
def fp4_e2m1(x):
    """The nearest of the 15 numbers of a four-bit float, ties to even, saturating at 6."""
    a = abs(x)
    y = where(a < 2, round(2 * a) / 2, where(a < 4, round(a), 2 * round(minimum(a, 6.0) / 2)))
    return where(x > 0, y, -y)


@define(cite="rouhani2023microscaling", aliases=("e2m3",))
def fp6_e2m3(x):
    """The nearest number of a six-bit float with three bits of mantissa, ties to even, saturating at 7.5."""
    a = abs(x)
    y = where(a < 2, round(8 * a) / 8, where(a < 4, round(4 * a) / 4, round(2 * minimum(a, 7.5)) / 2))
    return where(x > 0, y, -y)


@define(cite="shin2017jpeg", aliases=("jpeg_round",))
def cubic_round(x):
    """Rounding plus the cube of the remainder, so that JPEG compression can be differentiated."""
    return round(x) + (x - round(x)) ** 3


@define(cite="liu2018bireal", aliases=("bireal_polynomial",))
def approx_sign_forward(x):
    """Piecewise parabola between -1 and 1 whose slope Bi-Real Net uses for the sign."""
    return where(x >= 1, 1.0, where(x > 0, x * (2 - x), where(x > -1, x * (2 + x), -1.0)))

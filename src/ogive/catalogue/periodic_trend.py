"""A wave on a trend: sines and cosines added to a line, a parabola or a sigmoid curve."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import atan, cos, sin, tanh, where


@define(
    cite=("eger2019time", "kunc2024three"),
    exceptions={"first": "at every -pi/2 + 2 pi k the double zero of -1 - sin(x) cancels"},
)
def cosid(x):
    """cos(x) - x: falls overall, flat once a period; from a comparison of activations on language tasks."""
    return cos(x) - x


@define(
    cite=("eger2019time", "kunc2024three"),
    params={"a": Param()},
    exceptions={
        "value": "zero of third order at x = 0, where two terms of first order cancel",
        "first": "zero of second order at x = 0, where two terms of size 1 cancel",
    },
)
def sinp(x, a=1.0):
    """sin(x) - a x: falls overall, flat at the multiples of 2 pi; found by search for language tasks."""
    return sin(x) - a * x


@define(cite=("eger2019time", "kunc2024three"))
def arctid(x):
    """arctan(x)^2 - x: a falling line raised smoothly on both sides of zero."""
    return atan(x) ** 2 - x


@define(cite="ziyin2020neural")
def x_plus_sin(x):
    """x + sin(x): never decreasing, flat once a period; the first attempt of the authors of snake."""
    return x + sin(x)


@define(cite="ziyin2020neural", exceptions={"first": "at every pi/2 + 2 pi k the double zero of 1 - sin(x) cancels"})
def x_plus_cos(x):
    """x + cos(x): never decreasing, flat once a period, 1 at zero; compared with snake by its authors."""
    return x + cos(x)


@define(cite="medeiros2024semi")
def leaky_sinelu(x):
    """x + sin^2(x) on the right, half of that on the left, for time series; snake with a leak."""
    return where(x > 0, x + sin(x) ** 2, (x + sin(x) ** 2) / 2)


@define(
    cite="tlupov2025actix",
    exceptions={"value": "near x = -4.71, where a sine of 1 and a tanh of -1 cancel to second order"},
)
def harmonic_tanh(x):
    """tanh(x) + sin(x): a sigmoid step that goes on in waves."""
    return tanh(x) + sin(x)

"""Wavelets and windows as activations, of wavelet networks and of Kolmogorov-Arnold networks."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import cos, exp, pi, sinc, where


@define(cite="haar1910theorie")
def haar_wavelet(x):
    """1 on [0, 1/2), -1 on [1/2, 1), 0 elsewhere: its derivative is zero almost everywhere."""
    return where(x >= 0, where(x < 0.5, 1.0, where(x < 1, -1.0, 0.0)), 0.0)


@define(
    cite=("shannon1949communication", "bozorgasl2024wavkan"),
    exceptions=dict.fromkeys(
        ("value", "first", "second"), "beyond |x| = 1e15 the products with pi are rounded by more than a period"
    ),
)
def shannon_wavelet(x):
    """sinc(x/2) cos(3 pi x/2), real and infinitely long: Wav-KAN multiplies it by a window."""
    return sinc(pi / 2 * x) * cos(1.5 * pi * x)


@define(cite="kunc2024three", params={"a": Param(note="distance of the two hats from zero")})
def pmaf(x, a=4.0):
    """Piecewise Mexican hat: one hat at -a for negative inputs and one at a for the others."""
    u = abs(x) - a
    return 2 / (3**0.5 * pi**0.25) * ((1 - u**2) * exp(-(u**2) / 2))


@define(cite="kunc2024three", params={"a": Param(low=0.0, note="half the distance of the bumps"), "b": Param(low=0.0)})
def prbf(x, a=3.0, b=1.0):
    """Piecewise radial basis function: three Gaussian bumps, at -2a, 0 and 2a."""
    u = where(x >= a, x - 2 * a, where(x > -a, x, x + 2 * a))
    return exp(-((u / b) ** 2))


@define(
    cite="kunc2024three",
    params={"a": Param(), "b": Param(), "c": Param(), "d": Param(low=0.0)},
    exceptions={"second": "zero at x = 0, where two terms of size 2 cancel"},
)
def polyexp(x, a=1.0, b=1.0, c=1.0, d=1.0):
    """A parabola in a Gaussian window, (a x^2 + b x + c) exp(-d x^2); a library loses the brackets."""
    return ((a * x + b) * x + c) * exp(-d * x**2)

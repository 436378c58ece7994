"""Wavelets of wavelet networks, and units that decay in both or in one direction of their input."""

from __future__ import annotations

from ogive import ops
from ogive.activation import Param, define
from ogive.ops import abs, cos, exp, expm1, hypot1, isru, pi, relu, sigmoid, sin, where

# exp(-x^2/2) times these is an orthonormal Hermite function
SQRT_PI = pi**0.5


@define(
    cite=("lekutai1997adaptive", "banakar2008artificial"),
    aliases=("geman_mcclure_psi",),
    exceptions={"second": "zero at x = -1 and 1, where two terms cancel"},
)
def rasp1(x):
    """First rational wavelet of wavelet networks, x/(1 + x^2)^2; also the influence of Geman and McClure."""
    return isru(x) * hypot1(x) ** -3


@define(cite="lekutai1997adaptive")
def rasp2(x):
    """Second rational wavelet of wavelet networks, a cosine under an odd envelope that decays like 1/x."""
    return isru(x) / hypot1(x) * cos(x)


@define(cite="lekutai1997adaptive", exceptions={"second": "zero at x = 0, where ten terms cancel"})
def slog1(x):
    """Superposed logistic functions about -3, -1, 1 and 3: an odd wavelet, a dip on the left, a bump on the right."""
    # s(x-1) - s(x-3) - s(x+3) + s(x+1), multiplied out: a quotient of sinh and four exponentials, without differences
    height = 4 * ops.sinh(1.0) * ops.sinh(2.0) / exp(1.0)
    right = -expm1(-2 * x) * sigmoid(x - 3) * sigmoid(1 - x) * sigmoid(x + 1) * sigmoid(x + 3)
    left = expm1(2 * x) * sigmoid(-x - 3) * sigmoid(1 + x) * sigmoid(1 - x) * sigmoid(3 - x)
    return height * where(x > 0, right, left)


@define(cite="lekutai1997adaptive")
def polywog2(x):
    """Third derivative of a Gaussian without its sign, (x^3 - 3 x) exp(-x^2/2), as a wavelet."""
    return x * (x**2 - 3) * exp(-(x**2) / 2)


@define(cite="lekutai1997adaptive")
def polywog3(x):
    """Fourth derivative of a Gaussian, (x^4 - 6 x^2 + 3) exp(-x^2/2), as a wavelet."""
    return (x**2 * (x**2 - 6) + 3) * exp(-(x**2) / 2)


@define(cite="ma2005constructive")
def hermite_function_2(x):
    """Orthonormal Hermite function of order two, for hidden units added one by one, each of the next order."""
    return (2 * x**2 - 1) * exp(-(x**2) / 2) / (2 * SQRT_PI) ** 0.5


@define(cite="ma2005constructive")
def hermite_function_3(x):
    """Orthonormal Hermite function of order three, odd with two waves on either side."""
    return x * (2 * x**2 - 3) * exp(-(x**2) / 2) / (3 * SQRT_PI) ** 0.5


@define(cite="ma2005constructive")
def hermite_function_4(x):
    """Orthonormal Hermite function of order four, even with five waves."""
    return (4 * x**2 * (x**2 - 3) + 3) * exp(-(x**2) / 2) / (24 * SQRT_PI) ** 0.5


@define(cite="bozorgasl2024wavkan", aliases=("meyer_wavkan",))
def wavkan_meyer(x):
    """The Meyer wavelet of Wav-KAN's code, a sine of |x| under Meyer's taper from 1/2 to 1; zero beyond 1."""
    r = abs(x)
    t, s = 2 * r - 1, 2 - 2 * r
    falling = cos(pi / 2 * (t**4 * (35 - t * (84 - t * (70 - 20 * t)))))
    # the taper's polynomials at t and at 1 - t add up to one, so that the cosine is the sine of the other
    ending = sin(pi / 2 * (s**4 * (35 - s * (84 - s * (70 - 20 * s)))))
    rim = where(r < 1, sin(pi * (1 - r)) * ending, 0.0)
    return where(r > 0.75, rim, where(r > 0.5, sin(pi * r) * falling, sin(pi * r)))


@define(cite="meronen2020stationary", params={"ell": Param(low=0.0, note="length scale")})
def matern_unit_32(x, ell=0.5):
    """One-sided unit whose wide layer has the Matérn covariance of smoothness 3/2: confident near data only."""
    return 2 * 6**0.5 / ell**2 * (relu(x) * exp(-(3**0.5) / ell * relu(x)))


@define(cite="meronen2020stationary", params={"ell": Param(low=0.0, note="length scale")})
def matern_unit_52(x, ell=0.5):
    """One-sided unit whose wide layer has the Matérn covariance of smoothness 5/2; smoother at zero."""
    return 20 / 6**0.5 / ell**3 * (relu(x) ** 2 * exp(-(5**0.5) / ell * relu(x)))

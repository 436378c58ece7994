"""Waves under an envelope: sines that fade, grow slowly or come in pulses."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import abs, atan, exp, log1p, pi, sin, sinc, tan, tanh, where

# Cardinal sines


@define(
    cite=("paszke2019pytorch", "kunc2024three"),
    exceptions={
        "value": "zero at the integers, where the product with a rounded pi misses it by 1e-16",
        "first": "zero at extrema, found through a product with a rounded pi",
        "second": "zero at inflections, found through a product with a rounded pi",
    },
)
def sinc_normalised(x):
    """sin(pi x)/(pi x), zero at the integers but 0, as torch.sinc has it; the catalogue's sinc has no pi."""
    return sinc(pi * x)


@define(cite="noel2021biologically", aliases=("shifted_sinc_unit",))
def ssu(x):
    """pi sinc(x - pi), not normalised, so that it is zero at zero; two libraries take the normalised sinc."""
    # away from its peak pi sin(x)/(pi - x), the same number without the rounding of x - pi
    return where(x > 2, where(x < 4, pi * sinc(x - pi), pi * sin(x) / (pi - x)), pi * sin(x) / (pi - x))


@define(cite="noel2021biologically", aliases=("decaying_sine_unit",))
def dsu(x):
    """pi/2 (sinc(x - pi) - sinc(x + pi)), not normalised: odd, one wave that fades like 1/x^2."""
    # the difference is pi^2 sin(x)/(pi^2 - x^2), in which nothing cancels but at its peaks
    between = pi**2 * sin(x) / ((pi - x) * (pi + x))
    right = pi**2 * sinc(x - pi) / (pi + x)
    left = -(pi**2) * sinc(x + pi) / (pi - x)
    return where(x > 2, where(x < 4, right, between), where(x < -2, where(x > -4, left, between), between))


# Damped sines


@define(cite="shah2023spder")
def spder_arctan(x):
    """SPDER with arctangent damping, as its released code has for audio: sin(x) arctan(x)."""
    return sin(x) * atan(x)


@define(cite="shah2023spder")
def spder_log(x):
    """SPDER with a logarithmic damping, here log(1 + |x|); whether the source means log|x| is not settled."""
    return sin(x) * log1p(abs(x))


@define(cite="fathony2021multiplicative", params={"gamma": Param(low=0.0, note="drawn from a gamma distribution")})
def gabor_filter_mfn(x, gamma=1.0):
    """sin(x) exp(-gamma x^2/2), along one axis the Gabor filter of multiplicative filter networks."""
    return sin(x) * exp(-gamma * x**2 / 2)


@define(cite="kunc2024three", aliases=("decaying_sine",))
def damped_sine(x):
    """exp(-|x|) sin(x): a sine that has died out after one period."""
    return exp(-abs(x)) * sin(x)


# Pulses, from one collection of experimental functions


@define(cite="tlupov2025actix")
def quantum_tanh(x):
    """tanh(x) exp(-tan(x)^2): pulses of alternating or equal sign at the multiples of pi, nothing between."""
    return tanh(x) * exp(-(tan(x) ** 2))


@define(cite="tlupov2025actix")
def exp_arctan_harmonic(x):
    """exp(-x^2) arctan(x) sin(x): two bumps on either side of zero."""
    return exp(-(x**2)) * atan(x) * sin(x)


@define(cite="tlupov2025actix")
def unified_sine_exp(x):
    """x sin(exp(-x^2)): close to x exp(-x^2), a little lower in the middle."""
    return x * sin(exp(-(x**2)))

"""Bounded and redescending units: influence functions of robust statistics, and fluxes of diffusion networks."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import abs, exp, expm1, hypot1, isru, pi, relu, sign, sin, softsign, where

# The constants are those of 95 % efficiency under normal errors in Holland and Welsch.


@define(cite=("beaton1974fitting", "holland1977robust"), params={"c": Param(low=0.0)}, aliases=("bisquare",))
def tukey_biweight(x, c=4.685):
    """Influence function of Tukey's biweight, x (1 - (x/c)^2)^2 inside [-c, c], zero outside."""
    return x * relu((1 - x / c) * (1 + x / c)) ** 2


@define(cite=("andrews1974robust", "holland1977robust"), params={"c": Param(low=0.0)})
def andrews_sine(x, c=1.339):
    """Influence function of Andrews: one period of a sine, zero beyond it."""
    return where(abs(x) < pi * c, c * sin(x / c), 0.0)


@define(cite="hampel1974influence", params={"a": Param(low=0.0), "b": Param(low=0.0), "c": Param(low=0.0)})
def hampel(x, a=2.0, b=4.0, c=8.0):
    """Influence function in three parts: the identity up to a, constant up to b, down to zero at c; needs a < b < c."""
    outer = a * relu(c - abs(x)) / (c - b)
    return where(abs(x) < a, x, sign(x) * where(abs(x) < b, a, outer))


@define(cite=("dennis1978techniques", "holland1977robust"), params={"c": Param(low=0.0)})
def welsch_psi(x, c=2.985):
    """Influence function of Welsch, x exp(-(x/c)^2), which lets outliers go like a Gaussian."""
    return x * exp(-((x / c) ** 2))


@define(cite=("fair1974robust", "holland1977robust"), params={"c": Param(low=0.0)})
def fair_psi(x, c=1.4):
    """Influence function of Fair, x/(1 + |x|/c): monotone, bounded by c, with continuous curvature off zero."""
    return c * softsign(x / c)


@define(cite="holland1977robust", params={"c": Param(low=0.0)}, aliases=("lorentzian_psi",))
def cauchy_psi(x, c=2.385):
    """Influence function of Cauchy errors, x/(1 + (x/c)^2), which returns to zero slowly."""
    return c * isru(x / c) / hypot1(x / c)


@define(cite="holland1977robust", params={"c": Param(low=0.0)})
def talwar(x, c=2.795):
    """Influence function of Hinich and Talwar: the identity inside [-c, c], nothing outside."""
    return where(abs(x) > c, 0.0, x)


@define(cite=("perona1990scale", "alt2022connections"), params={"k": Param(low=0.0, note="contrast of an edge")})
def perona_malik(x, k=1.0):
    """Flux of edge-preserving diffusion, x exp(-x^2/(2 k^2)): the activation of a residual block that smooths."""
    return x * exp(-((x / k) ** 2) / 2)


@define(
    cite=("weickert1998anisotropic", "alt2022connections"), params={"k": Param(low=0.0, note="contrast of an edge")}
)
def weickert_flux(x, k=1.0):
    """Flux of Weickert's edge-enhancing diffusion: the identity up to k, then a steep fall to zero."""
    u = abs(x / k)
    far = 3.31488 * sign(x) * k * u**-7  # where the power of the exponential would underflow
    return where(u < 0.4, x, where(u > 1000, far, -x * expm1(-3.31488 * u**-8)))

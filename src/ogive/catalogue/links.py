"""Inverse links: distribution functions that regression puts in place of the logistic function."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import abs, exp, expm1, hypot1, isru, relu, softplus, sqp, where


@define(cite=("liu2004robit", "koenker2009parametric"), params={"s": Param(low=0.0, note="scale")})
def robit4(x, s=1.0):
    """Distribution function of Student's t with four degrees of freedom, an output that forgives mislabelled data."""
    u = x / (2 * s)
    # (1 + w)^2 (2 - w)/4 with w = isru(u), and the same from the other end on the right
    left, right = sqp(u) / hypot1(u), sqp(-u) / hypot1(u)
    outer = where(x > 0, 1 - right**2 * (2 + isru(u)) / 4, left**2 * (2 - isru(u)) / 4)
    return where(abs(u) < 0.5, 1 / 2 + isru(u) * (3 - isru(u) ** 2) / 4, outer)


@define(
    cite="nagler1994scobit",
    params={"alpha": Param(low=0.0, note="1 gives the logistic function")},
    aliases=("skew_logistic_2",),
)
def scobit(x, alpha=0.5):
    """Skewed logistic curve, 1 - (1 + e^x)^-alpha, steepest away from probability 1/2; type II of its kind."""
    return -expm1(-alpha * softplus(x))


@define(
    cite=("calabrese2013modelling", "bridge2020introducing"),
    params={"xi": Param(high=0.0, note="shape; the end of the support is at -1/xi")},
)
def gev_cdf(x, xi=-0.25):
    """Extreme value distribution of bounded support as an output unit for rare classes; 1 from x = -1/xi on."""
    return exp(-(relu(1 + xi * x) ** (-1 / xi)))


@define(
    cite=("quick1974vector", "watson1983quest"),
    params={"k": Param(low=0.0, note="slope"), "a": Param(low=0.0, note="threshold")},
    aliases=("weibull_cdf",),
)
def weibull_psychometric(x, k=3.5, a=1.0):
    """Weibull distribution function of the positive part: how often a stimulus of that contrast is seen."""
    return -expm1(-(relu(x / a) ** k))

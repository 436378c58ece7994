"""Inverse links: distribution functions that regression puts in place of the logistic function."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import exp, expm1, isru, relu, softplus, sqp, where


@define(cite=("liu2004robit", "koenker2009parametric"), params={"s": Param(low=0.0, note="scale")})
def robit4(x, s=1.0):
    """Distribution function of Student's t with four degrees of freedom, an output that forgives mislabelled data."""
    u = x / (2 * s)
    # (1 + w)^2 (2 - w)/4 with w = isru(u); on the left 1 + w = 1/(h (h - u)) with h = sqrt(1 + u^2)
    left = (sqp(u) * isru(1 / u)) ** 2 * (2 - isru(u)) / 4
    return left


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

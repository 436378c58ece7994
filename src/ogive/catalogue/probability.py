"""Distribution functions and their inverses: curves from 0 to 1 of statistics, and links to and from them."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import atan, exp, expm1, log, pi, softplus, where


@define(cite="mccullagh1989generalized", aliases=("arctan_sigmoid",))
def cauchy_cdf(x):
    """Distribution function of the Cauchy law, the gate of ATLU: tails decay like 1/x."""
    return where(x > -1, 1 / 2 + atan(x) / pi, atan(-1 / x) / pi)  # no cancelling on the left


@define(cite="kunc2024three")
def laplace_cdf(x):
    """Distribution function of the Laplace law, the gate of LaLU; its curvature jumps at zero."""
    return where(x > 0, 1 - exp(-x) / 2, exp(x) / 2)


@define(
    cite=("arandaordaz1981two", "gomes2013optimization"),
    params={"a": Param(low=0.0, note="1 gives the logistic function, 0 in the limit cloglog")},
    same_as="sigmoid",
    exceptions={"second": "zero at x = 0 whatever a is, where two terms of size 0.1 cancel"},
)
def aranda_ordaz(x, a=1.0):
    """Asymmetric family of sigmoids from the logistic function to the complementary log-log one."""
    return -expm1(-softplus(x + log(a)) / a)  # 1 - (1 + a e^x)^(-1/a)


@define(cite="gomes2008complementary", aliases=("cloglogm",))
def cloglog_modified(x):
    """Complementary log-log curve stretched to (-1, 1) with its zero near zero, increasing as in statistics."""
    return 1 - 2 * exp(-0.7 * exp(x))


@define(
    cite=("richards1959flexible", "patwardhan2018aria"),
    params={"alpha": Param(low=0.0, note="1 gives the logistic function"), "beta": Param(low=0.0)},
)
def richards(x, alpha=1.5, beta=1.0):
    """Generalised logistic growth curve, a power of the logistic function; the gate of ARiA2."""
    return exp(-alpha * softplus(-beta * x))

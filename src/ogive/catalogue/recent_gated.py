"""Gates of the years after 2022: heavy tails, rational gates and a gate of two halves."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import maximum, sigmoid, softsign, where

# Heavy tails


@define(cite="kang2026iglu", params={"sigma": Param(low=0.0, note="learned from 5 in the authors' code")})
def iglu_approx(x, sigma=5.0):
    """A gate by the Cauchy distribution function, sharpness sigma, with softsign for the arctangent: rational."""
    # x/2 (1 + 2 relu(z))/(1 + |z|) with z = sigma x, split so that neither tail cancels
    t = softsign(sigma * x) / (2 * sigma)
    return where(x > 0, x - t, t)


# Rational gates


@define(cite="krause2026geometric", aliases=("geometric_monomial",))
def gem(x):
    """The input gated by a log-logistic distribution of exponent 2; read off the abstract, the paper's scale unseen."""
    return where(x > 1, x / (1 + x**-2.0), maximum(x, 0.0) ** 3 / (1 + x**2))


@define(cite="krause2026geometric")
def gem_2(x):
    """GEM with N = 2, smoother at zero and nearer the rectifier; read off the abstract, the paper's scale unseen."""
    return where(x > 1, x / (1 + x**-4.0), maximum(x, 0.0) ** 5 / (1 + x**4))


# Sigmoid on one side, softsign on the other


@define(cite="kavun2025hybrid")
def s3(x):
    """The logistic function on the left, softsign on the right; with a fall of 1/2 at zero."""
    return where(x > 0, softsign(x), sigmoid(x))


@define(cite="kavun2025hybrid", params={"k": Param(low=0.0, note="tuned per task; the paper fixes no default")})
def s4(x, k=1.0):
    """S3 with a logistic blend of width 1/k in place of the jump."""
    return sigmoid(-k * x) * sigmoid(x) + sigmoid(k * x) * softsign(x)

"""Companding: curves that spend the range of values on the quiet ones, and their inverses."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import abs, expm1, log, log1p, sign, where


@define(cite="itu1988pulse", params={"A": Param(low=1.0, note="the standard has 87.6")})
def a_law(x, A=87.6):
    """European companding of speech: a line up to 1/A, a logarithm beyond; the slope is continuous."""
    u = A * abs(x)
    return where(u < 1, A * x, sign(x) * (1 + log(where(u < 1, 1.0, u)))) / (1 + log(A))


@define(cite=("oord2016wavenet", "paszke2019pytorch"), params={"mu": Param(low=0.0)}, aliases=("mu_law_decoding",))
def mu_law_expand(x, mu=255.0):
    """Inverse of mu-law companding, exponential in the magnitude: from a network's output back to a waveform."""
    return where(x > 0, expm1(log1p(mu) * x), -expm1(-log1p(mu) * x)) / mu

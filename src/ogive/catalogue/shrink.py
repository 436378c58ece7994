"""Shrinkage: thresholding functions of sparse coding and wavelet denoising."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import sign, tanh, where


@define(cite="donoho1994ideal", aliases=("hard_shrink",), params={"lambd": Param(low=0.0, closed=True)})
def hardshrink(x, lambd=0.5):
    """Sets inputs of magnitude up to lambd to zero and keeps the rest; jumps by lambd."""
    return where(abs(x) > lambd, x, 0.0)


@define(cite="donoho1995denoising", aliases=("soft_shrink",), params={"lambd": Param(low=0.0, closed=True)})
def softshrink(x, lambd=0.5):
    """Moves every input lambd towards zero and stops there; the proximal map of the absolute value."""
    return where(x > lambd, x - lambd, where(x < -lambd, x + lambd, 0.0))


@define(cite="paszke2019pytorch", aliases=("tanh_shrink",))
def tanhshrink(x):
    """x - tanh(x): cubic near zero, the identity less one far out."""
    return x - tanh(x)


@define(cite="gao1997waveshrink", params={"a": Param(low=0.0), "b": Param(low=0.0, note="above a")})
def firm_shrink(x, a=0.5, b=1.0):
    """Zero up to a, the identity from b on, a line between: less bias than soft, no jump; needs a < b."""
    return where(abs(x) > b, x, where(abs(x) > a, sign(x) * b * (abs(x) - a) / (b - a), 0.0))


@define(cite="gao1998wavelet", params={"a": Param(low=0.0)})
def garrote_shrink(x, a=0.5):
    """Non-negative garrote, x - a^2/x beyond a: continuous, and unbiased for large inputs."""
    return where(abs(x) > a, x - a**2 / x, 0.0)

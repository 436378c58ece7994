"""The absolute value with a rounded corner."""

from __future__ import annotations

from ogive import ops
from ogive.activation import Param, define
from ogive.ops import abs, hypot1, hypotm1, minimum, sqrt, tanh, where


@define(
    cite=("huber1964robust", "li2014bifiring"), aliases=("bifire", "bfire", "bi_firing"), params={"a": Param(low=0.0)}
)
def huber(x, a=1.0):
    """A parabola within a of zero, lines of slope 1 outside: Huber's loss, the bi-firing unit of deep nets."""
    return where(abs(x) > a, abs(x) - a / 2, x * (x / (2 * a)))


@define(
    cite="liew2016bounded",
    aliases=("bbfire", "bounded_bifiring"),
    params={"a": Param(low=0.0), "b": Param(low=0.0, note="the cap")},
)
def bounded_bifire(x, a=1.0, b=3.0):
    """The bi-firing unit capped at b, so that no activation runs away."""
    return minimum(where(abs(x) > a, abs(x) - a / 2, x * (x / (2 * a))), b)


@define(
    cite=("charbonnier1994two", "boissin2025orthogonium"),
    aliases=("pseudo_huber",),
    params={"delta": Param(low=0.0)},
)
def soft_huber(x, delta=0.05):
    """Pseudo-Huber, delta (sqrt(1 + (x/delta)^2) - 1): smooth, zero at zero, no slope above 1."""
    return delta * hypotm1(x / delta)


@define(cite="hyvarinen1999fast", aliases=("log_cosh",))
def logcosh(x):
    """Logarithm of the hyperbolic cosine, whose derivative is tanh: a contrast function of FastICA."""
    return ops.logcosh(x)


@define(cite="charbonnier1994two", aliases=("softabs", "charbonnier"), params={"eps": Param(low=0.0)})
def smooth_abs(x, eps=0.01):
    """Root of x^2 + eps, the absolute value lifted by sqrt(eps) at its corner."""
    return sqrt(eps) * hypot1(x / sqrt(eps))


@define(cite="vallesperez2023empirical", aliases=("softmodulust",), params={"a": Param(low=0.0)})
def softmodulus_t(x, a=0.01):
    """x tanh(x/a), the absolute value for small a; LiSHT at a = 1."""
    return x * tanh(x / a)

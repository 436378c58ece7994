"""Mixtures of a gate with a second curve, multiplied or added: a library's experimental units, all learnable."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import asinh, atan, erf, exp, sigmoid, sin, softplus, tanh

# A product of two gates


@define(
    cite="tlupov2025actix",
    params={"alpha": Param(), "beta": Param(), "gamma": Param(), "delta": Param(), "lam": Param()},
)
def pmglu(x, alpha=1.0, beta=0.0, gamma=1.0, delta=0.0, lam=1.0):
    """A line gated by a logistic function and a tanh at once; by default x sigmoid(x) tanh(x), never negative."""
    return (alpha * x + beta) * sigmoid(gamma * x + delta) * tanh(lam * x)


@define(
    cite="tlupov2025actix",
    aliases=("adaptive_erf_swish",),
    params={"alpha": Param(), "beta": Param(), "gamma": Param()},
)
def erf_swish(x, alpha=1.0, beta=1.0, gamma=1.0):
    """Swish times an error function: never negative, a parabola at zero."""
    return alpha * (x * erf(beta * x) * sigmoid(gamma * x))


@define(
    cite="tlupov2025actix",
    params={"alpha": Param(), "beta": Param(), "gamma": Param(low=0.0)},
)
def gauss_swish(x, alpha=1.0, beta=1.0, gamma=1.0):
    """Swish under a Gaussian: a lopsided wiggle around zero."""
    return alpha * (x * sigmoid(beta * x)) * exp(-gamma * x**2)


@define(
    cite="tlupov2025actix",
    params={"alpha": Param(), "beta": Param(), "gamma": Param(low=0.0)},
)
def etu(x, alpha=1.0, beta=1.0, gamma=1.0):
    """A tanh under a Gaussian: an odd wiggle around zero."""
    return alpha * tanh(beta * x) * exp(-gamma * x**2)


@define(cite="tlupov2025actix", aliases=("parametric_arcsinh_gate",), params={"alpha": Param(), "beta": Param()})
def arcsinh_gate(x, alpha=1.0, beta=1.0):
    """x arcsinh(x): even, a parabola at zero, then x log x."""
    return alpha * (x * asinh(beta * x))


# A sum with a gate


@define(
    cite="tlupov2025actix",
    params={"alpha": Param(), "beta": Param(), "gamma": Param(), "delta": Param()},
)
def atan_sigu(x, alpha=1.0, beta=1.0, gamma=1.0, delta=1.0):
    """Arctangent plus swish: levels off on the left, rises with slope 1 on the right."""
    return alpha * atan(beta * x) + gamma * (x * sigmoid(delta * x))


@define(
    cite="tlupov2025actix",
    aliases=("adaptive_sinusoidal_softgate",),
    params={"alpha": Param(), "beta": Param(), "gamma": Param(), "delta": Param()},
)
def swish_sine(x, alpha=1.0, beta=1.0, gamma=1.0, delta=1.0):
    """Swish plus a sine: a wave that rises with slope 1 on the right."""
    return alpha * (x * sigmoid(beta * x)) + gamma * sin(delta * x)


@define(
    cite="tlupov2025actix",
    params={"alpha": Param(), "beta": Param(), "gamma": Param(), "delta": Param()},
)
def swish_log_tanh(x, alpha=1.0, beta=1.0, gamma=1.0, delta=1.0):
    """Swish plus the tanh of a softplus, the gate of Mish."""
    return alpha * (x * sigmoid(beta * x)) + gamma * tanh(softplus(delta * x))


@define(
    cite="tlupov2025actix",
    params={"alpha": Param(), "beta": Param(), "gamma": Param(), "delta": Param(), "lam": Param()},
)
def optim_a(x, alpha=1.0, beta=0.5, gamma=1.0, delta=0.5, lam=1.0):
    """A tanh plus a gated softplus: -1 far left, slope 1/2 far right."""
    return alpha * tanh(beta * x) + gamma * (softplus(delta * x) * sigmoid(lam * x))


@define(
    cite="tlupov2025actix",
    aliases=("hybrid_sin_exp_unit",),
    params={"alpha": Param(), "beta": Param(), "gamma": Param(), "delta": Param(low=0.0)},
)
def hybrid_sin_exp(x, alpha=1.0, beta=1.0, gamma=1.0, delta=1.0):
    """A sine with a wiggle x exp(-x^2) on top at zero, where its slope is 2."""
    return alpha * sin(beta * x) + gamma * (x * exp(-delta * x**2))

"""Sums and powers of squashing curves, from a library of learnable experimental units."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import abs, atan, cos, exp, maximum, minimum, sigmoid, sin, softplus, sqrt, tanh, where

# Two squashing curves


@define(
    cite="tlupov2025actix",
    params={"alpha": Param(), "beta": Param(), "gamma": Param(), "delta": Param()},
)
def optim_x_temporal(x, alpha=0.5, beta=1.0, gamma=0.5, delta=1.0):
    """Half tanh, half logistic function: rises from -1/2 to 1."""
    return alpha * tanh(beta * x) + gamma * sigmoid(delta * x)


@define(
    cite="tlupov2025actix",
    aliases=("adaptive_bi_hyperbolic",),
    params={"alpha": Param(low=0.0, high=1.0, closed=True), "beta": Param(), "gamma": Param()},
)
def bi_hyperbolic(x, alpha=0.5, beta=1.0, gamma=1.0):
    """A blend of tanh and its cube: odd, from -1 to 1, slope 1/2 at zero."""
    return alpha * tanh(beta * x) + (1 - alpha) * tanh(gamma * x) ** 3


@define(
    cite="tlupov2025actix",
    aliases=("parametric_poly_tanh",),
    params={"alpha": Param(), "beta": Param(), "gamma": Param(), "delta": Param()},
)
def poly_tanh(x, alpha=1.0, beta=1.0, gamma=0.0, delta=0.0):
    """The tanh of a quadratic; by default tanh(x^2), a well with a flat rim."""
    return alpha * tanh(beta * x**2 + gamma * x + delta)


@define(
    cite="tlupov2025actix",
    aliases=("gaussian_tanh_harmonic_unit",),
    params={"alpha": Param(), "beta": Param(), "gamma": Param(), "delta": Param(low=0.0), "lam": Param()},
)
def gaussian_tanh(x, alpha=1.0, beta=1.0, gamma=1.0, delta=1.0, lam=0.0):
    """A tanh with a Gaussian bump on top at zero."""
    return alpha * tanh(beta * x) + gamma * exp(-delta * (x - lam) ** 2)


@define(
    cite="tlupov2025actix",
    aliases=("exponential_arctan",),
    params={
        "alpha": Param(),
        "beta": Param(),
        "gamma": Param(),
        "delta": Param(),
        "eps": Param(),
        "zeta": Param(),
    },
)
def exp_arctan(x, alpha=1.0, beta=1.0, gamma=0.5, delta=0.1, eps=0.3, zeta=1.0):
    """An arctangent, a slow odd wave x exp(-|x|/10) and 0.3 of a logistic function."""
    return alpha * atan(beta * x) + gamma * (x * exp(-abs(delta * x))) + eps * sigmoid(zeta * x)


# A softplus inside


@define(
    cite="tlupov2025actix",
    params={"alpha": Param(), "beta": Param(), "gamma": Param()},
)
def root_softplus(x, alpha=1.0, beta=1.0, gamma=1.0):
    """The identity plus the root of a softplus: x far left, x + sqrt(x) far right."""
    # below -40 the root of the softplus is exp(u/2) to the last digit, and stays a normal number twice as far
    u = gamma * x
    return alpha * x + beta * where(u > -40, sqrt(softplus(maximum(u, -40))), exp(minimum(u, -40) / 2))


@define(
    cite="tlupov2025actix",
    params={"alpha": Param(), "beta": Param(), "gamma": Param(), "delta": Param(), "lam": Param()},
)
def gpo_soft(x, alpha=1.0, beta=1.0, gamma=1.0, delta=1.0, lam=0.0):
    """Softplus plus a sine: a wave around zero on the left, around the identity on the right."""
    return alpha * softplus(beta * x) + gamma * sin(delta * x + lam)


@define(
    cite="tlupov2025actix",
    params={"alpha": Param(), "beta": Param(), "gamma": Param(), "delta": Param(), "lam": Param()},
)
def complex_harmonic(x, alpha=1.0, beta=1.0, gamma=1.0, delta=1.0, lam=0.0):
    """A tanh plus a chirp, the sine of x^2, whose waves crowd as |x| grows."""
    return alpha * tanh(beta * x) + gamma * sin(delta * x**2 + lam)


@define(
    cite="tlupov2025actix",
    aliases=("sigmoid_harmonic_linear_unit",),
    params={"alpha": Param(), "beta": Param(), "gamma": Param(), "delta": Param(), "lam": Param()},
)
def shlu(x, alpha=1.0, beta=1.0, gamma=1.0, delta=1.0, lam=0.0):
    """Swish plus a chirp, the cosine of x^2; 1 at zero."""
    return alpha * (x * sigmoid(beta * x)) + gamma * cos(delta * x**2 + lam)

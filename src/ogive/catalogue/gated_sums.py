"""Sums of a self-gated unit with another curve, from a library of learnable experimental units."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import abs, atan, exp, expm1, isru, log1p, maximum, relu, sigmoid, sin, softplus, tanh, where

# Swish and a squashing curve


@define(
    cite="tlupov2025actix",
    aliases=("a_eluc",),
    params={"alpha": Param(), "beta": Param(low=0.0), "gamma": Param(), "delta": Param()},
)
def elu_swish_mix(x, alpha=0.5, beta=1.0, gamma=0.5, delta=1.0):
    """Half ELU, half swish: -1/2 far left, the identity far right."""
    return alpha * where(beta * x > 0, beta * x, expm1(beta * x)) + gamma * (x * sigmoid(delta * x))


@define(
    cite="tlupov2025actix",
    aliases=("a_strelu",),
    params={"alpha": Param(), "beta": Param(), "gamma": Param(), "delta": Param(), "lam": Param()},
)
def strelu(x, alpha=0.33, beta=0.33, gamma=1.0, delta=0.33, lam=1.0):
    """Rectifier, swish and tanh, about a third of each."""
    return alpha * relu(x) + beta * (x * sigmoid(gamma * x)) + delta * tanh(lam * x)


@define(
    cite="tlupov2025actix",
    aliases=("parametric_hyperbolic_quadratic",),
    params={"alpha": Param(), "beta": Param(), "gamma": Param(), "delta": Param(), "lam": Param()},
)
def hyperbolic_quadratic(x, alpha=1.0, beta=1.0, gamma=0.0, delta=1.0, lam=1.0):
    """Swish plus the tanh of a quadratic: 1 far left, a dip beside zero, x + 1 far right."""
    return alpha * tanh(beta * x**2 + gamma * x) + delta * (x * sigmoid(lam * x))


@define(
    cite="tlupov2025actix",
    aliases=("adaptive_arctan_swish",),
    params={"alpha": Param(), "beta": Param(), "gamma": Param(), "delta": Param(), "eps": Param(), "zeta": Param()},
)
def arctan_swish(x, alpha=1.0, beta=1.0, gamma=0.5, delta=1.0, eps=0.3, zeta=1.0):
    """An arctangent, half a swish and 0.3 of a tanh; flat far left, slope 1/2 far right."""
    return alpha * atan(beta * x) + gamma * (x * sigmoid(delta * x)) + eps * tanh(zeta * x)


@define(
    cite="tlupov2025actix",
    params={
        "alpha": Param(),
        "beta": Param(),
        "gamma": Param(),
        "delta": Param(),
        "eps": Param(),
        "zeta": Param(),
        "eta": Param(),
    },
)
def stabilized_harmonic(x, alpha=1.0, beta=1.0, gamma=0.2, delta=1.0, eps=1.0, zeta=0.5, eta=1.0):
    """A tanh, a sine kept in range by a tanh inside it, and half a swish."""
    return alpha * tanh(beta * x) + gamma * sin(delta * tanh(eps * x)) + zeta * (x * sigmoid(eta * x))


@define(
    cite="tlupov2025actix",
    aliases=("adaptive_gated_unit",),
    params={"alpha": Param(), "beta": Param(), "gamma": Param(), "delta": Param(), "eps": Param(), "zeta": Param()},
)
def sigmoid_tanh_gated_unit(x, alpha=0.4, beta=1.0, gamma=0.4, delta=1.0, eps=0.2, zeta=1.0):
    """Swish, x tanh(x) and an arctangent in the shares 0.4, 0.4 and 0.2; V-shaped, steeper on the right."""
    return alpha * (x * sigmoid(beta * x)) + gamma * (x * tanh(delta * x)) + eps * atan(zeta * x)


@define(
    cite="tlupov2025actix",
    params={
        "alpha": Param(),
        "beta": Param(),
        "gamma": Param(),
        "delta": Param(),
        "eps": Param(),
        "zeta": Param(),
        "eta": Param(),
    },
)
def optim_q(x, alpha=1.0, beta=1.0, gamma=0.6, delta=1.0, eps=0.4, zeta=0.5, eta=1.0):
    """An arctangent, 0.6 of a swish and 0.4 of a softplus with a tanh gate."""
    return alpha * atan(beta * x) + gamma * (x * sigmoid(delta * x)) + eps * (softplus(zeta * x) * tanh(eta * x))


# Swish and a growing curve


@define(
    cite="tlupov2025actix",
    aliases=("weibull_softplus",),
    params={
        "alpha": Param(),
        "beta": Param(),
        "gamma": Param(),
        "delta": Param(),
        "lam": Param(low=0.0),
        "mu": Param(low=0.0),
    },
)
def weibull_swish(x, alpha=1.0, beta=1.0, gamma=0.0, delta=1.0, lam=1.0, mu=1.0):
    """Swish plus the Weibull distribution function of |x|; the slope jumps from -1/2 to 3/2 at zero."""
    return alpha * (x * sigmoid(beta * (x - gamma))) - delta * expm1(-lam * abs(x) ** mu)


@define(
    cite="tlupov2025actix",
    aliases=("parametric_logarithmic_swish",),
    params={"alpha": Param(), "beta": Param(low=0.0), "gamma": Param(), "delta": Param(low=0.0)},
)
def logarithmic_swish(x, alpha=1.0, beta=1.0, gamma=1.0, delta=1.0):
    """Swish plus log(1 + |x|): grows slowly on the left, a kink at zero."""
    # below -800 the gate is no double, and a bounded factor keeps the product 0 at -inf beside the logarithm
    u = beta * x
    return alpha / beta * (maximum(u, -800) * sigmoid(u)) + gamma * log1p(delta * abs(x))


@define(
    cite="tlupov2025actix",
    aliases=("adaptive_polynomial_swish",),
    params={"alpha": Param(), "beta": Param(), "gamma": Param(), "delta": Param()},
)
def polynomial_swish(x, alpha=1.0, beta=1.0, gamma=1.0, delta=1.0):
    """Swish plus a gated square; both gates are logistic."""
    return alpha * (x * sigmoid(beta * x)) + gamma * (x * (x * sigmoid(delta * x)))


@define(
    cite="tlupov2025actix",
    aliases=("parametric_odd_power_swish",),
    params={"alpha": Param(), "beta": Param(), "gamma": Param()},
)
def odd_power_swish(x, alpha=1.0, beta=1.0, gamma=1.0):
    """Swish plus a cube."""
    return alpha * (x * sigmoid(beta * x)) + gamma * x**3


@define(cite="tlupov2025actix", params={"alpha": Param(), "beta": Param(), "gamma": Param()})
def adaptive_cubic_sigmoid(x, alpha=1.0, beta=1.0, gamma=1.0):
    """The identity plus a gated cube: linear far left, cubic on the right."""
    return alpha * x + beta * (x * (x * (x * sigmoid(gamma * x))))


@define(
    cite="tlupov2025actix",
    aliases=("parametric_adaptive_polynomial_gate",),
    params={
        "alpha": Param(),
        "beta": Param(),
        "gamma": Param(),
        "delta": Param(low=0.0),
        "lam": Param(),
        "mu": Param(),
    },
)
def papg(x, alpha=1.0, beta=1.0, gamma=1.0, delta=1.0, lam=1.0, mu=1.0):
    """A cubic over 1 + |x|, plus swish: quadratic in both tails, with opposite signs."""
    damp = 1 + abs(gamma * x) ** delta
    return alpha * (x / damp) + beta * (x * (x * (x / damp))) + lam * (x * sigmoid(mu * x))


# The identity and a gate


@define(
    cite="tlupov2025actix",
    aliases=("adaptive_linear_log_tanh",),
    params={"alpha": Param(), "beta": Param(), "gamma": Param(), "delta": Param()},
)
def linear_log_tanh(x, alpha=1.0, beta=1.0, gamma=1.0, delta=1.0):
    """The identity plus the tanh of a softplus: x far left, x + 1 far right."""
    return alpha * x + beta * tanh(gamma * softplus(delta * x))


@define(
    cite="tlupov2025actix",
    aliases=("smoothed_absolute_gated_unit",),
    params={"alpha": Param(), "beta": Param(), "gamma": Param()},
)
def absolute_gated(x, alpha=1.0, beta=1.0, gamma=1.0):
    """The identity plus a gated |x|: slope 1 far left, 2 far right, 1/2 and 3/2 beside zero."""
    return alpha * (abs(x) * sigmoid(beta * x)) + gamma * x


@define(
    cite="tlupov2025actix",
    aliases=("adaptive_bipolar_exponential_unit",),
    params={"alpha": Param(), "beta": Param(), "gamma": Param(low=0.0)},
)
def bipolar_exponential(x, alpha=1.0, beta=1.0, gamma=1.0):
    """The identity plus x exp(-x^2): slope 2 at zero, 1 far away."""
    return alpha * x + beta * (x * exp(-gamma * x**2))


# Products


@define(
    cite="tlupov2025actix",
    aliases=("tanh_gated_arcsinh",),
    params={"alpha": Param(), "gamma": Param()},
)
def arcsinh_gated_linear(x, alpha=1.0, gamma=1.0):
    """x tanh(arcsinh(x)) = x^2/sqrt(1 + x^2): an even, smooth absolute value with a parabola at zero."""
    return alpha * (x * isru(gamma * x))


@define(
    cite="tlupov2025actix",
    aliases=("log_sigmoid_gated_elu",),
    params={"alpha": Param(), "beta": Param(low=0.0), "gamma": Param(), "delta": Param()},
)
def gated_elu(x, alpha=1.0, beta=1.0, gamma=1.0, delta=1.0):
    """ELU times softplus times a logistic gate: about x^2 on the right, a small dip on the left."""
    elu = where(beta * x > 0, beta * x, expm1(beta * x))
    return alpha * elu * softplus(gamma * x) * sigmoid(delta * x)


@define(
    cite="tlupov2025actix",
    aliases=("parametric_hyper_gaussian_gate",),
    params={"alpha": Param(), "beta": Param(low=0.0), "gamma": Param(low=0.0)},
)
def hyper_gaussian_gate(x, alpha=1.0, beta=1.0, gamma=1.0):
    """The input under a generalised Gaussian; by default x exp(-|x|), an odd wiggle with long tails."""
    return alpha * (x * exp(-beta * abs(x) ** gamma))


@define(
    cite="tlupov2025actix",
    params={
        "alpha": Param(),
        "beta": Param(),
        "gamma": Param(),
        "delta": Param(low=0.0),
        "eps": Param(),
        "zeta": Param(),
    },
)
def rational_swish(x, alpha=1.0, beta=1.0, gamma=1.0, delta=1.5, eps=0.3, zeta=1.0):
    """Swish over 1 + |x|^1.5, plus 0.3 of an arctangent: a hump on the right of a sigmoid."""
    return alpha * (x * sigmoid(beta * x) / (1 + abs(gamma * x) ** delta)) + eps * atan(zeta * x)

"""Rectifiers and ramps of the years after 2022 that are rounded off where they bend."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import abs, exp, maximum, sigmoid, tanh, where


@define(
    cite="zhang2026universal",
    params={"alpha": Param(share="channel", note="learned"), "epsilon": Param(low=0.0)},
    aliases=("bernstein_linear_unit",),
)
def berlu(x, alpha=0.01, epsilon=0.01):
    """Leaky ReLU whose corner is a Bernstein polynomial of degree two within epsilon of zero."""
    # (1 - a) x^2/(4 e) + (1 + a) x/2 + (1 - a) e/4, about the left end of the bend
    bend = (1 - alpha) * (x + epsilon) ** 2 / (4 * epsilon) + alpha * x
    return where(x > epsilon, x, where(x > -epsilon, bend, alpha * x))


@define(
    cite="mastromichalakis2023parametric",
    params={"alpha": Param(low=0.0, high=1.0)},
    aliases=("parametric_leaky_tanh",),
)
def pltanh(x, alpha=0.01):
    """The greater of tanh and a shallow V: tanh on the right until the V overtakes it, falling on the left."""
    return maximum(tanh(x), alpha * abs(x))


@define(
    cite="roodschild2024zorro",
    params={"slope": Param(low=0.0), "alpha": Param(low=0.0), "beta": Param()},
)
def zorro_sigmoid(x, slope=0.5, alpha=4.0, beta=2.0):
    """A ramp between 0 and 1 with soft dips and humps beyond, in the parameters of the authors' LSTM code."""
    # the code's k z/(1 + (k - 1) exp(-alpha z)), k = 1 + exp(alpha beta), is k z sigmoid(alpha (z - beta))
    z = slope * x + 0.5
    r = where(z > 1, 1 - z, z)
    tail = (1 + exp(alpha * beta)) * (r * sigmoid(alpha * (r - beta)))
    return where(z > 0, where(z > 1, 1 - tail, z), tail)


@define(
    cite="roodschild2024zorro",
    params={"slope": Param(low=0.0), "alpha": Param(low=0.0), "beta": Param()},
)
def zorro_tanh(x, slope=1.0, alpha=4.0, beta=2.0):
    """The Zorro ramp between -1 and 1, half as sharp in its dips and humps, in the authors' LSTM code."""
    z = slope * x
    r = 1 - abs(z)
    tail = (1 + exp(alpha * beta)) * (r * sigmoid(alpha * (r / 2 - beta)))
    return where(z > 1, 1 - tail, where(z >= -1, z, tail - 1))

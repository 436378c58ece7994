"""Functions that a search, an evolution or a language model found in a space of formulas."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import (
    Phi,
    asinh,
    atan,
    erfc,
    exp,
    expm1,
    minimum,
    sigmoid,
    sin,
    sinc,
    softplus,
    tanh,
    where,
)

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


# Ramachandran, Zoph and Le searched with a recurrent controller; their tables compare eight finds


@define(cite="ramachandran2017searching")
def x_plus_sinc(x):
    """The line plus sin(x)/x, one of the eight best finds of the search that gave Swish; the paper leaves pi open."""
    return x + sinc(x)


@define(cite="ramachandran2017searching")
def x_arcsinh_squared(x):
    """The input times its squared inverse hyperbolic sine, a find of the search that gave Swish."""
    return x * asinh(x) ** 2


# Bingham, Macke and Miikkulainen: trees of operators under mutation and crossover


@define(cite="bingham2020evolutionary")
def sigmoid_exp_arctan(x):
    """A sigmoid that rises at once, drawn as a parent in the paper on evolving trees of operators."""
    # above 30 the argument is past 1e13 and the sigmoid is 1 to the last bit
    return sigmoid(exp(minimum(x, 30.0)) + atan(x))


# Bingham and Miikkulainen: search over a benchmark of 2913 functions with a surrogate


@define(cite="bingham2023efficient")
def erfc_softplus_squared(x):
    """A falling sigmoid from 1 to 0 that a surrogate search found, although it is no rectifier at all."""
    return erfc(softplus(x)) ** 2


@define(cite="bingham2023efficient")
def min_square_selu(x):
    """The lesser of the square and SELU: flat at zero from the right; one function of the Act-Bench sets."""
    return minimum(x**2, where(x > 0, SELU_SCALE * x, SELU_SCALE * SELU_ALPHA * expm1(x)))


# Vitvitskyi et al.: a language model rewrites programs, judged outside the range of training


@define(cite="vitvitskyi2026mining", params={"alpha": Param()}, aliases=("gelu_sine",))
def gelusine(x, alpha=0.1):
    """GELU with a weak sine on top, evolved for generalising beyond the training range."""
    return x * Phi(x) + alpha * sin(x)


@define(
    cite="vitvitskyi2026mining",
    params={"alpha": Param(), "beta": Param(), "gamma": Param(low=0.0)},
    aliases=("gaussian_modulated_tangent_unit",),
)
def gmtu(x, alpha=1.0, beta=1.5, gamma=0.2):
    """A tanh that fades under a Gaussian into a leaking line; gamma is both the fading and the slope."""
    return alpha * tanh(beta * x) * exp(-gamma * x**2) + gamma * x

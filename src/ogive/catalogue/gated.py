"""Self-gated units: the input times a gate that rises from 0 to 1."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import (
    Phi,
    asinh,
    atan,
    clip,
    cos,
    erf,
    exp,
    expm1,
    isru,
    log,
    log1p,
    pi,
    sech2,
    sigmoid,
    sin,
    softplus,
    sqp,
    sqrt,
    tanh,
    where,
)

# Swish and its relatives


@define(cite=("hendrycks2016gaussian", "elfwing2018sigmoid"), aliases=("swish_1",))
def silu(x):
    """The input gated by its own logistic function; swish with beta = 1."""
    return x * sigmoid(x)


@define(
    cite="ramachandran2017searching",
    aliases=("swish_beta",),
    params={"beta": Param(share="channel")},
    same_as="silu",
)
def swish(x, beta=1.0):
    """SiLU with a sharpness beta: x/2 as beta goes to 0, the rectifier as beta grows. Found by search."""
    return x * sigmoid(beta * x)


@define(cite="alcaide2018eswish", params={"beta": Param(low=1.0, closed=True, high=2.0)}, aliases=("eswish",))
def e_swish(x, beta=1.5):
    """SiLU times beta, larger beta for shallower networks; the paper uses 1 to 2 and fixes no default."""
    return beta * (x * sigmoid(x))


@define(cite="elfwing2018sigmoid")
def dsilu(x):
    """The derivative of SiLU as an activation: an overshooting sigmoid for reinforcement learning."""
    # sigmoid(x) (1 + x (1 - sigmoid(x))), with each term odd about its value at zero
    return sigmoid(x) + x * sech2(x / 2) / 4


@define(cite="chen2023saturated", aliases=("nipuna",))
def ssilu(x):
    """Identity on the right, SiLU on the left; the slope jumps from 1/2 to 1 at zero."""
    return where(x > 0, x, x * sigmoid(x))


@define(cite="howard2019searching", aliases=("hard_swish", "hard_silu"))
def hardswish(x):
    """x relu6(x + 3)/6: SiLU with a piecewise linear gate, for mobile networks."""
    return x * clip(x + 3, 0, 6) / 6


@define(
    cite="chieng2018flatten",
    params={"T": Param(note="the paper takes -0.20")},
    aliases=(
        "flatted_t_swish",
        "fts",
    ),
)
def flatten_t_swish(x, T=-0.2):
    """SiLU on the right, flat on the left, all lowered by T; jumps in slope at zero."""
    return where(x > 0, x * sigmoid(x), 0.0) + T


@define(cite="patwardhan2018aria", params={"alpha": Param(low=0.0), "beta": Param(low=0.0)})
def aria2(x, alpha=1.5, beta=2.0):
    """The input gated by a Richards curve, a logistic function to the power alpha."""
    return x * exp(-alpha * softplus(-beta * x))


@define(cite="kunc2024three")
def eanaf(x):
    """x e^x/(e^x + 2): SiLU with the gate shifted right by log 2."""
    return x * sigmoid(x - log(2))


@define(cite="kumar2022aptx")
def aptx(x, alpha=1.0, beta=1.0, gamma=0.5):
    """gamma (alpha + tanh(beta x)) x; by default swish with beta = 2, republished as MoLU (version 7)."""
    return gamma * (x * ((alpha - 1) + 2 * sigmoid(2 * beta * x)))


@define(cite="horuz2025resurrection", params={"alpha": Param(low=0.0)}, aliases=("sugar_bsilu",))
def bsilu(x, alpha=1.67):
    """Bounded SiLU, (x + alpha) sigmoid(x) - alpha/2; SUGAR lends its slope to the rectifier."""
    return x * sigmoid(x) + alpha / 2 * tanh(x / 2)


@define(cite="kunc2024three")
def sinsig(x):
    """The input gated by a quarter sine wave of its logistic function."""
    # on the right the same as a cosine of the complement, so that the curvature keeps its digits
    return x * where(x > 0, cos(pi / 2 * sigmoid(-x)), sin(pi / 2 * sigmoid(x)))


# GELU and its approximations


@define(cite="hendrycks2016gaussian")
def gelu(x):
    """The input times the probability that a standard normal is smaller; exact by erfc in the left tail."""
    return x * Phi(x)


@define(cite="hendrycks2016gaussian", aliases=("gelu_new", "gelu_fast", "gelu_pytorch_tanh"))
def gelu_tanh(x):
    """GELU's tanh approximation, at most 4.7e-4 away; the default of jax.nn.gelu and of GPT-2."""
    return x * sigmoid(2 * sqrt(2 / pi) * (x + 0.044715 * x**3))  # (1 + tanh(u))/2 = sigmoid(2u)


@define(cite="hendrycks2016gaussian", aliases=("gelu_sigmoid",))
def quick_gelu(x):
    """GELU's logistic approximation, at most 0.0203 away; used by CLIP."""
    return x * sigmoid(1.702 * x)


@define(cite="kunc2024three", same_as="gelu_tanh")
def sielu(x):
    """The input times sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3)): GELU's tanh approximation, published again."""
    return x * sigmoid(2 * sqrt(2 / pi) * (x + 0.044715 * x**3))


@define(cite="yu2019symmetrical", params={"alpha": Param(low=0.0)})
def symmetric_gelu(x, alpha=1.0):
    """alpha x erf(x/sqrt 2): an even, GELU-shaped absolute value."""
    return alpha * (x * erf(x / sqrt(2)))


# Gates with heavier or lighter tails


@define(
    cite="huang2024expanded",
    aliases=("calu",),
    exceptions={
        "first": "the slope decays like 1/x^3 far left, the difference of two terms like 1/x",
        "second": "the curvature decays like 1/x^4, a sum of terms like 1/x and 1/x^2",
    },
)
def atlu(x):
    """The input gated by the Cauchy distribution function; levels off at -1/pi on the left."""
    return x * (2 / pi * atan(sqp(x)))  # 1/2 + arctan(x)/pi = (2/pi) arctan(x + sqrt(1 + x^2)), no cancelling


@define(cite="kunc2024three")
def lalu(x):
    """The input gated by the Laplace distribution function."""
    return x * where(x > 0, 1 - exp(-x) / 2, exp(x) / 2)


@define(cite="zhu2021pflu")
def pflu(x):
    """x/2 (1 + x/sqrt(1 + x^2)): an algebraic gate, decays like 1/x on the left."""
    return x * sigmoid(2 * asinh(x))  # with x = sinh(t), (1 + tanh(t))/2


@define(cite="abdool2023swim", params={"k": Param(low=-1.0, high=1.0, closed=True)})
def swim(x, k=0.5):
    """PFLU with its gate narrowed by k, from locomotion control; the whole gate, k = 1, is PFLU."""
    return x * (1 + k * isru(x)) / 2


@define(
    cite="huo2025ulu",
    params={
        "alpha1": Param(low=0.0, note="left; default not confirmed from the paper; AULU learns the root"),
        "alpha2": Param(low=0.0, note="right; default not confirmed from the paper; AULU learns the root"),
    },
)
def ulu(x, alpha1=0.25, alpha2=4.0):
    """Swish with one sharpness for each side of zero, so that negative inputs fade slowly."""
    return x * sigmoid(2 * where(x < 0, alpha1, alpha2) * x)  # (1 + tanh(a x))/2 = sigmoid(2 a x)


@define(cite="das2025gompertz", aliases=("expexpish",))
def golu(x, alpha=1.0, beta=1.0, gamma=1.0):
    """The input gated by the Gompertz curve: a softer left side and less output variance than GELU."""
    return alpha * (x * exp(-beta * exp(-gamma * x)))


# Compositions with tanh, erf and logarithms


@define(cite="misra2019mish")
def mish(x):
    """Self-gated by the hyperbolic tangent of a softplus."""
    return x * tanh(softplus(x))


@define(cite="wightman2019timm", aliases=("h_mish", "sqreu"))
def hard_mish(x):
    """x/2 clip(x + 2, 0, 2): a piecewise parabolic Mish, as in timm."""
    return where(x > 0, x, where(x > -2, x * (x + 2) / 2, 0.0))


@define(cite="nag2021serf")
def serf(x):
    """Self-gated by the error function of a softplus."""
    return x * erf(softplus(x))


@define(cite=("liu2020tanhexp", "fernandez2024telu"), aliases=("telu",))
def tanhexp(x):
    """Self-gated by the hyperbolic tangent of an exponential; published again as TeLU."""
    return x * tanh(exp(x))


@define(cite="naveen2022phish")
def phish(x):
    """Self-gated by the hyperbolic tangent of GELU."""
    return x * tanh(x * Phi(x))


@define(cite="zhu2021logish")
def logish(x):
    """Self-gated by the logarithm of one plus the logistic function; slope log 2 far right."""
    return x * log1p(sigmoid(x))


@define(cite="wang2022smish")
def smish(x):
    """Logish with a tanh around its gate; slope 0.6 far right. Not the saturated Mish of the same name."""
    return x * tanh(log1p(sigmoid(x)))


@define(cite="kaytan2023gish")
def gish(x):
    """Self-gated by log(2 - exp(-exp(x)))."""
    return x * log1p(-expm1(-exp(x)))


@define(cite="roy2019lisht")
def lisht(x):
    """x tanh(x): even and never negative, close to the absolute value."""
    return x * tanh(x)


@define(cite="biswas2020eis")
def eis2(x):
    """Softplus times x/sqrt(1 + x^2)."""
    return softplus(x) * isru(x)


@define(
    cite="biswas2020eis",
    params={
        "delta": Param(low=0.0, note="no pole while delta theta > 1/e"),
        "theta": Param(low=0.0),
    },
)
def eis1(x, delta=1.16, theta=1.0):
    """Softplus times x/(x + delta exp(-theta x)), the best of the EIS family in its source."""
    # right: divided through by x; left: both sides times exp(theta x)
    right = softplus(x) / (1 + delta * exp(-theta * x) / x)
    return where(x > 1, right, x * softplus(x) * exp(theta * x) / (x * exp(theta * x) + delta))

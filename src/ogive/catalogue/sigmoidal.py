"""Bounded monotone curves: the ogives proper, smooth and piecewise."""

from __future__ import annotations

import math

from ogive import ops
from ogive.activation import Param, define
from ogive.ops import atan, clip, exp, expm1, sqrt, where


@define(cite=("berkson1944application", "rumelhart1986learning"), aliases=("logistic", "logsig"))
def sigmoid(x):
    """The logistic function, a probability from a log-odds."""
    return ops.sigmoid(x)


@define(cite="lecun1998efficient", aliases=("tansig",))
def tanh(x):
    """Hyperbolic tangent: the logistic function centred at zero, with slope 1 there."""
    return ops.tanh(x)


@define(cite="howard2019searching", aliases=("hardsigmoid",))
def hard_sigmoid(x):
    """relu6(x + 3)/6, as in torch, Keras 3 and MobileNetV3. Two other functions bear the same name."""
    return clip(x + 3, 0, 6) / 6


@define(cite="bergstra2010theano")
def hard_sigmoid_02(x):
    """clip(0.2 x + 0.5, 0, 1): the hard sigmoid of Theano, Keras 1 and 2, and the ONNX default."""
    return clip(x + 2.5, 0, 5) / 5  # the same function, without the rounded 0.2 cancelling at -2.5


@define(cite="courbariaux2015binaryconnect", aliases=("sparse_sigmoid",))
def hard_sigmoid_bnn(x):
    """clip((x + 1)/2, 0, 1): the hard sigmoid of binary networks; JAX and Keras call it sparse_sigmoid."""
    return clip((x + 1) / 2, 0, 1)


@define(cite="collobert2004large", aliases=("hard_tanh", "satlins"))
def hardtanh(x):
    """The identity clipped to [-1, 1]."""
    return clip(x, -1, 1)


@define(cite="paszke2019pytorch", aliases=("logsigmoid",))
def log_sigmoid(x):
    """Logarithm of the logistic function, the log-likelihood of a positive label."""
    return ops.log_sigmoid(x)


@define(cite="kamruzzaman2002activation", aliases=("atan",))
def arctan(x):
    """Arctangent: reaches its ends slowly, so gradients survive large inputs."""
    return atan(x)


@define(cite="bergstra2009quadratic", aliases=("elliotsig",))
def softsign(x):
    """x/(1 + |x|): a sigmoid curve with tails that decay like 1/x."""
    return ops.softsign(x)


@define(cite="elliott1993better")
def elliott(x):
    """Softsign moved to (0, 1); cheap, with slow tails."""
    return where(x > 0, 1 - 1 / (2 * (1 + x)), 1 / (2 * (1 - x)))


@define(cite="carlile2017improving", params={"alpha": Param(low=0.0)})
def isru(x, alpha=1.0):
    """Inverse square root unit: x over the root of 1 + alpha x squared."""
    return ops.isru(sqrt(alpha) * x) / sqrt(alpha)


@define(cite="kunc2024three", params={"a": Param(low=0.0)})
def rootsig(x, a=1.0):
    """a x over 1 plus the root of 1 + (a x) squared: the half-angle tangent of an arctangent."""
    # u/(1 + sqrt(1 + u^2)) = tanh(asinh(u)/2), which has no inf/inf
    return ops.tanh(ops.asinh(a * x) / 2)


@define(cite="kunc2024three", aliases=("erf_activation",))
def erf(x):
    """The error function: tanh's shape with Gaussian tails."""
    return ops.erf(x)


@define(cite="bliss1934method", aliases=("normal_cdf",))
def probit(x):
    """The normal distribution function, the gate of GELU. Some libraries give this name to its inverse."""
    return ops.Phi(x)


@define(cite="ma2022mega", aliases=("laplace_mega",))
def laplace(x, mu=0.5**0.5, sigma=(4 * ops.pi) ** -0.5):
    """Mega attention's bounded stand-in for a squared rectifier. transformers rounds both constants."""
    return ops.Phi((x - mu) / sigma)


@define(
    cite=("gomes2013optimization", "das2025gompertz"),
    aliases=("loglog", "gumbel_cdf"),
    params={"b": Param(low=0.0), "c": Param(low=0.0)},
    exceptions={"second": "zero at x = 0, where two terms of size 0.37 cancel"},
)
def gompertz(x, b=1.0, c=1.0):
    """Gompertz growth curve, the Gumbel distribution function: rises late and steeply; the gate of GoLU."""
    return exp(-b * exp(-c * x))


@define(cite="gomes2008complementary")
def cloglog(x):
    """Complementary log-log, increasing as in statistics. One survey prints the sign of x reversed."""
    return -expm1(-exp(x))


@define(
    cite="papernot2020tempered",
    params={"s": Param(low=0.0), "T": Param(low=0.0, note="inverse temperature")},
    same_as="tanh",
)
def tempered_sigmoid(x, s=2.0, T=2.0, o=1.0):
    """s sigmoid(T x) - o, bounded so that private gradient clipping loses less; the defaults are tanh."""
    # sigmoid(u) = 1/2 + tanh(u/2)/2: at s = 2 o the constants vanish instead of cancelling
    return (s / 2 - o) + s / 2 * ops.tanh(T * x / 2)


@define(cite="lecun1998efficient", aliases=("stanh",))
def lecun_tanh(x):
    """1.7159 tanh(2x/3): scaled so that 1 maps to 1 and the curvature is largest there."""
    return 1.7159 * ops.tanh(2 * x / 3)


@define(cite="kunc2024three")
def bipolar_sigmoid(x):
    """The logistic function stretched to (-1, 1), which is tanh(x/2)."""
    return ops.tanh(x / 2)


@define(cite="xu2016revise", aliases=("ptanh",), params={"a": Param(low=0.0)})
def penalized_tanh(x, a=0.25):
    """Tanh with the negative side scaled by a; strong on language tasks (Eger et al. 2018)."""
    return where(x > 0, ops.tanh(x), a * ops.tanh(x))


@define(cite="kunc2024three", aliases=("retanh",))
def rectified_tanh(x):
    """The positive part of tanh."""
    return ops.relu(ops.tanh(x))


@define(cite="kunc2024three")
def gudermannian(x):
    """The Gudermannian function, 2 arctan(tanh(x/2)), with range (-pi/2, pi/2)."""
    return 2 * atan(ops.tanh(x / 2))


@define(cite="wuraola2018sqnl")
def sqnl(x):
    """A tanh look-alike of two parabolas that saturates exactly at |x| = 2."""
    return where(x >= 2, 1.0, where(x > 0, x - x**2 / 4, where(x > -2, x + x**2 / 4, -1.0)))


@define(cite="hazimeh2020tree", params={"gamma": Param(low=0.0)})
def smoothstep(x, gamma=1.0):
    """Cubic step, exactly 0 and 1 outside [-gamma/2, gamma/2]; routes samples in differentiable trees."""
    inside = 1 / 2 + x / gamma * (3 / 2 - 2 * (x / gamma) ** 2)
    return where(x >= gamma / 2, 1.0, where(x > -gamma / 2, inside, 0.0))


@define(
    cite="gallant1988there",
    exceptions={"value": "in float64 within 1e-4 of -pi/2, where 1 + sin(x) cancels"},
)
def cosine_squasher(x):
    """Half a wave from 0 to 1 between -pi/2 and pi/2, from an early proof of universal approximation."""
    return where(x >= ops.pi / 2, 1.0, where(x > -ops.pi / 2, (1 + ops.sin(x)) / 2, 0.0))


@define(cite="xu2016revise", aliases=("ssigmoid",))
def scaled_sigmoid(x):
    """4 sigmoid(x) - 2: the logistic function scaled to slope 1 and value 0 at zero, which is 2 tanh(x/2)."""
    return 2 * ops.tanh(x / 2)


@define(cite="kunc2024three", aliases=("sss",), params={"a": Param(note="steepness"), "b": Param(note="the middle")})
def shifted_scaled_sigmoid(x, a=0.02, b=600.0):
    """A logistic curve with its middle at b, for inputs that were never standardised; one library has a = 1, b = 0."""
    return ops.sigmoid(a * (x - b))


@define(
    cite="han1995influence",
    aliases=("vsf",),
    params={"a": Param(low=0.0), "b": Param(low=0.0), "c": Param()},
    same_as="sigmoid",
)
def variant_sigmoid(x, a=1.0, b=1.0, c=0.0):
    """Logistic function with height, steepness and offset, the family of tempered_sigmoid 25 years before it."""
    return a * ops.sigmoid(b * x) - c


@define(cite="lecun1998efficient", params={"a": Param(low=0.0, closed=True, note="small")})
def lecun_tanh_twist(x, a=0.01):
    """The scaled tanh of LeCun plus a small linear term, which avoids flat spots."""
    return 1.7159 * ops.tanh(2 * x / 3) + a * x


@define(cite=("sivri2022multiclass", "kunc2024three"), aliases=("arctangr",))
def arctan_gr(x):
    """Arctangent over (1 + sqrt 2)/2, as the survey of Kunc and Kléma has it; a golden ratio would have sqrt 5."""
    return atan(x) / ((1 + 2**0.5) / 2)


@define(cite="kunc2024three", aliases=("scaled_arctan",))
def arctan_unit(x):
    """Arctangent scaled to the range (-1, 1) and to slope 1 at zero."""
    return 2 / ops.pi * atan(ops.pi / 2 * x)


@define(cite="kocak2021new")
def sinc_sigmoid(x):
    """sin(u)/u of the logistic function u: decreases from 1 to 0.84 only."""
    return ops.sinc(ops.sigmoid(x))


@define(cite="kunc2024three")
def new_sigmoid(x):
    """sinh(x) over the root of cosh(2x), a sigmoid curve between -0.71 and 0.71."""
    return ops.isru(ops.tanh(x))  # with t = tanh(x) it is t/sqrt(1 + t^2), where nothing overflows


@define(cite="kunc2024three", aliases=("root2_sigmoid",))
def root2sigmoid(x):
    """new_sigmoid to the base root two and a third as high: between -1/4 and 1/4."""
    return ops.isru(ops.tanh(math.log(2) / 2 * x)) / 8**0.5

"""Bounded monotone curves: the ogives proper, smooth and piecewise."""

from __future__ import annotations

from ogive import ops
from ogive.activation import Param, define
from ogive.ops import atan, clip, exp, expm1, sqrt, where


@define(cite=("berkson1944application", "rumelhart1986learning"), aliases=("logistic",))
def sigmoid(x):
    """The logistic function, a probability from a log-odds."""
    return ops.sigmoid(x)


@define(cite="lecun1998efficient")
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


@define(cite="bergstra2009quadratic")
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


@define(cite="kunc2024three")
def erf(x):
    """The error function: tanh's shape with Gaussian tails."""
    return ops.erf(x)


@define(cite="bliss1934method", aliases=("normal_cdf",))
def probit(x):
    """The normal distribution function, the gate of GELU. Some libraries give this name to its inverse."""
    return ops.Phi(x)


@define(cite="ma2022mega")
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

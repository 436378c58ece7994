"""Response curves of neurons and neural masses: rate against input."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import exp, expm1, log1p, pi, relu, sigmoid, softsign, sqp, sqrt, tanh, where


@define(
    cite=("naka1966s", "albrecht1982striate"),
    params={"n": Param(low=0.0, note="exponent"), "sigma": Param(low=0.0, note="input of half the maximum")},
    aliases=("hill", "hyperbolic_ratio"),
)
def naka_rushton(x, n=2.0, sigma=1.0):
    """Contrast response of the visual system, u^n/(u^n + sigma^n) of the positive part; Hill's equation."""
    u = relu(x) / sigma
    return where(u > 1, 1 / (1 + u**-n), u**n / (1 + u**n))


@define(cite="fukushima1980neocognitron", params={"alpha": Param(low=0.0)}, aliases=("neocognitron_c",))
def neocognitron(x, alpha=0.5):
    """Saturating rectifier of the neocognitron's complex cells, u/(alpha + u) of the positive part u."""
    return softsign(relu(x) / alpha)


@define(
    cite=("abbott2005drivers", "wong2006recurrent"),
    params={"a": Param(low=0.0, note="gain, in Hz/nA"), "b": Param(note="in Hz"), "d": Param(low=0.0, note="seconds")},
)
def abbott_chance(x, a=270.0, b=108.0, d=0.154):
    """Firing rate of a noisy neuron, v/(1 - exp(-d v)) with v = a x - b, with Wong and Wang's constants."""
    v = d * (a * x - b)
    # v/(1 - e^-v) is v/2 + (v/2) coth(v/2) on the right, v e^v/(e^v - 1) on the left,
    # and near zero the series with Bernoulli numbers
    q = v**2
    tail = -1 / 1209600 + q * (1 / 47900160 + q * (-691 / 1307674368000 + q * (1 / 74724249600)))
    even = 1 + q * (1 / 12 + q * (-1 / 720 + q * (1 / 30240 + q * tail)))
    return where(q < 0.25, v / 2 + even, where(v > 0, v / 2 + v / 2 / tanh(v / 2), v * exp(v) / expm1(v))) / d


@define(
    cite=("eliasmith2003neural", "bekolay2014nengo"),
    params={"tau": Param(low=0.0, note="membrane time constant, s"), "d": Param(low=0.0, note="refractory time, s")},
)
def lif_rate(x, tau=0.02, d=0.002):
    """Firing rate in Hz of a leaky integrate-and-fire neuron, zero up to the threshold 1, infinitely steep there."""
    return where(x > 1, 1 / (d + tau * log1p(1 / (x - 1))), 0.0)


@define(cite="ermentrout1996type")
def qif_rate(x):
    """Firing rate of a quadratic integrate-and-fire (theta) neuron, the root of its input over pi."""
    return where(x > 0, sqrt(relu(x)), 0.0) / pi


@define(cite="devalle2017firing", params={"delta": Param(low=0.0, note="spread of the inputs")})
def qif_population(x, delta=1.0):
    """Mean firing rate of quadratic integrate-and-fire neurons whose inputs are spread by a Cauchy law."""
    return sqrt(delta / 2 * sqp(x / delta)) / pi


@define(
    cite="wilson1972excitatory",
    params={"a": Param(low=0.0, note="steepness"), "theta": Param(note="threshold")},
)
def wilson_cowan(x, a=1.3, theta=4.0):
    """Response of a neural population: a logistic function at a threshold, lowered so that rest gives zero."""
    # s(a (x - theta)) - s(-a theta) as a product, once for each sign of x
    up = -expm1(-a * x) * sigmoid(a * theta) * sigmoid(a * (x - theta))
    down = expm1(a * x) * sigmoid(-a * theta) * sigmoid(a * (theta - x))
    return where(x > 0, up, down)


@define(
    cite="jansen1995electroencephalogram",
    params={
        "e0": Param(low=0.0, note="half the maximum"),
        "v0": Param(note="mV"),
        "r": Param(low=0.0, note="1/mV"),
    },
)
def jansen_rit(x, e0=2.5, v0=6.0, r=0.56):
    """Mean firing rate of a cortical column from its membrane potential in mV, in neural mass models."""
    return 2 * e0 * sigmoid(r * (x - v0))

"""Oscillating activations: implicit representations, periodic extrapolation, audio."""

from __future__ import annotations

from ogive import ops
from ogive.activation import Param, define
from ogive.ops import cos, exp, sin, tanh

# pi in two parts of 40 bits each: a product of either with an input of up to 13 bits is exact in double
PI_HIGH = 863554413089 * 2.0**-38
PI_LOW = 899869673868 * 2.0**-79


@define(cite=("lapedes1987nonlinear", "parascandolo2017taming"), aliases=("sin",))
def sine(x):
    """The plain sine; without care in initialisation training settles on its linear part."""
    return sin(x)


@define(cite="sitzmann2020implicit", params={"omega": Param(note="the initialisation of SIREN depends on it")})
def siren(x, omega=30.0):
    """sin(omega x) for implicit neural representations; use it with SIREN's own initialisation."""
    return sin(omega * x)


@define(cite="kunc2024three")
def sine_pi(x):
    """sin(pi x): a sine with period 2, zero at the integers."""
    # pi x rounded is off by a whole period for large x; the sum of two angles is not, for 16-bit inputs
    return sin(PI_HIGH * x) * cos(PI_LOW * x) + cos(PI_HIGH * x) * sin(PI_LOW * x)


@define(cite="kunc2024three", params={"a": Param()})
def scaled_shifted_sine(x, a=1.0):
    """A sine between -0.2 and 0.8."""
    return 0.5 * sin(a * x) + 0.3


@define(cite="kunc2024three", aliases=("cos",))
def cosine(x):
    """The plain cosine, as in random Fourier features."""
    return cos(x)


@define(cite="kunc2024three", aliases=("versine",))
def cosine_one_minus(x):
    """1 - cos(x): the cosine turned over so that it is zero at zero and never negative."""
    return 2 * sin(x / 2) ** 2


@define(cite="kunc2024three")
def exp_cos(x):
    """exp(cos(x)), a periodic bump between 1/e and e, the density of a circular normal distribution but for scale."""
    return exp(cos(x))


@define(
    cite="ziyin2020neural",
    params={"a": Param(low=0.0, share="channel", decay=False, note="frequency; audio models store its logarithm")},
    aliases=("snake_ada",),
)
def snake(x, a=1.0):
    """x + sin^2(a x)/a: never decreasing, with a periodic slope, so that it extrapolates periodic signals."""
    return x + sin(a * x) ** 2 / a


@define(
    cite="lee2022bigvgan",
    aliases=("snake_beta",),
    params={
        "alpha": Param(low=0.0, share="channel", decay=False, note="BigVGAN stores the logarithm, starting at 0"),
        "beta": Param(low=0.0, share="channel", decay=False, note="BigVGAN stores the logarithm, starting at 0"),
    },
    same_as="snake",
)
def snakebeta(x, alpha=1.0, beta=1.0):
    """Snake with separate frequency alpha and magnitude 1/beta, the nonlinearity of BigVGAN."""
    return x + sin(alpha * x) ** 2 / beta


@define(cite="noel2021growing")
def gcu(x):
    """x cos(x), the growing cosine unit: a single neuron can learn XOR; slopes grow without bound."""
    return x * cos(x)


@define(cite="rahman2023amplifying")
def asu(x):
    """x sin(x), the amplifying sine unit: even, slopes grow without bound."""
    return x * sin(x)


@define(cite="serrano2024hosc", params={"beta": Param(low=0.0, note="sharpness; large values give a square wave")})
def hosc(x, beta=8.0):
    """tanh(beta sin(x)): a sine sharpened towards a square wave for signals with edges."""
    return tanh(beta * sin(x))


@define(cite="efe2008novel")
def sinc(x):
    """sin(x)/x, not normalised: zeros at the multiples of pi. torch.sinc is the normalised one."""
    return ops.sinc(x)


@define(
    cite="zhao2023pinnsformer",
    aliases=("wave_pinnsformer", "sin_plus_cos", "sincos"),
    params={"a": Param(), "b": Param()},
)
def wave(x, a=1.0, b=1.0):
    """a sin(x) + b cos(x), the learnable wave of PINNsFormer."""
    return a * sin(x) + b * cos(x)

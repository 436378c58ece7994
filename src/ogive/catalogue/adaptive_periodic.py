"""Oscillating and local functions with learned frequency or width: mostly implicit neural representations."""

from __future__ import annotations

from ogive import ops
from ogive.activation import Param, define
from ogive.ops import cos, exp, sign, sin, tanh

# Sines


@define(
    cite="sitzmann2020implicit",
    aliases=("learnable_sine",),
    params={
        "w": Param(share="neuron", note="frequency, with a small learning rate"),
        "p": Param(share="neuron", note="phase"),
    },
    same_as="siren",
)
def sine_learn(x, w=30.0, p=0.0):
    """SIREN's sine with learned frequency and phase."""
    return sin(w * x + p)


@define(
    cite="liu2023finer",
    params={"omega": Param(note="30; the first layer's biases from U(-k, k), k about 5 to 20, set the frequencies")},
)
def finer(x, omega=30.0):
    """A sine whose frequency grows with |x|. The released code takes |x| + 1 for a constant in the gradient."""
    # sin(omega (|x| + 1) x) by the sum of two angles, each exact for inputs of up to 24 bits
    fast, slow = omega * (abs(x) * x), omega * x
    return sin(fast) * cos(slow) + cos(fast) * sin(slow)


@define(cite="shah2023spder", aliases=("spder_sqrt",))
def spder(x):
    """A sine damped by the root of |x|, so that a layer keeps the sign of its input; slope zero at zero."""
    # |x|^(3/2) sin(x)/x: the slope of sqrt(|x|) alone is infinite at zero
    return sign(x) * abs(x) ** 1.5 * ops.sinc(x)


@define(cite="saratchandran2024sampling", params={"w": Param(low=0.0)}, same_as="sinc")
def sinc_inr(x, w=1.0):
    """sin(w x)/(w x): by sampling theory the shape from which networks can rebuild band-limited signals."""
    return ops.sinc(w * x)


@define(cite="ramasinghe2022beyond", params={"s": Param()})
def inr_expsin(x, s=1.0):
    """exp(-sin(s x)), a periodic and positive function from a comparison of embeddings for coordinates."""
    return exp(-sin(s * x))


# Sums of a line, a sine and a tanh


@define(
    cite="hashemi2024can",
    params={
        "a": Param(note="drawn from N(0, 1) in the released code, as are the others"),
        "b": Param(note="a pole at 0"),
        "c": Param(),
        "d": Param(),
    },
)
def dra(x, a=1.0, b=1.0, c=1.0, d=1.0):
    """Dynamic range activator as printed, with a sin^2(x/b); disputed, the released code is dra_code."""
    return x + a * sin(x / b) ** 2 + c * cos(b * x) + d * tanh(b * x)


@define(
    cite="hashemi2024can",
    params={"a": Param(note="a pole at 0"), "b": Param(), "c": Param(), "d": Param()},
    same_as="dra",
)
def dra_code(x, a=1.0, b=1.0, c=1.0, d=1.0):
    """Dynamic range activator as released, with (b/a) sin^2(a x); disputed, the printed form is dra."""
    return x + b / a * sin(a * x) ** 2 + c * cos(a * x) + d * tanh(b * x)


# Gaussian bumps


@define(
    cite=("ramasinghe2022beyond", "chng2022garf"),
    aliases=("gauss_inr", "garf"),
    params={"s": Param(low=0.0, note="about 0.05 to 0.1; needs no special initialisation")},
)
def gaussian_inr(x, s=0.1):
    """A narrow Gaussian bump of width s, in place of a sine on coordinates, as in GARF."""
    return exp(-((x / s) ** 2) / 2)


@define(
    cite="zhu2024finerpp",
    aliases=("finer_gauss",),
    params={"s": Param(low=0.0, note="width; the biases of the first layer spread over several units")},
)
def finer_pp(x, s=1.0):
    """FINER++'s Gaussian of (|x| + 1) x as printed; disputed, the released code is finer_pp_code."""
    return exp(-(((abs(x) + 1) * x / s) ** 2))


@define(
    cite="zhu2024finerpp",
    params={"s": Param(low=0.0), "omega": Param()},
)
def finer_pp_code(x, s=3.0, omega=1.0):
    """FINER++'s Gaussian as released, a Gaussian of FINER's sine; disputed, the printed form is finer_pp."""
    # the sine of a sum of two angles, as in FINER
    fast, slow = omega * (abs(x) * x), omega * x
    return exp(-((s * (sin(fast) * cos(slow) + cos(fast) * sin(slow))) ** 2))


@define(
    cite="kunc2024three",
    params={"a": Param(share="neuron", note="centre"), "b": Param(low=0.0, share="neuron", note="width")},
    aliases=("gaussian_half",),
)
def arbf(x, a=0.0, b=1.0):
    """Adaptive radial unit: a Gaussian bump with learned centre and width."""
    return exp(-(((x - a) / b) ** 2) / 2)

"""Exponential linear units with learned scales, widths and shifts."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import exp, expm1, log1p, sigmoid, where


@define(
    cite="trottier2017parametric",
    params={
        "a": Param(low=0.0, decay=False, note="kept above 0.1 in the source"),
        "b": Param(low=0.0, decay=False, note="kept above 0.1 in the source"),
    },
    same_as="elu",
    aliases=("pelu_fixed",),
)
def pelu(x, a=1.0, b=1.0):
    """ELU with learned scale and width whose slope at zero, a/b, matches on both sides."""
    return where(x > 0, a / b * x, a * expm1(x / b))


@define(
    cite="li2018mpelu",
    params={"alpha": Param(share="channel"), "beta": Param(low=0.0, closed=True, share="channel")},
    same_as="elu",
)
def mpelu(x, alpha=1.0, beta=1.0):
    """ELU with learned scale and sharpness: between PReLU-like and ELU."""
    return where(x > 0, x, alpha * expm1(beta * x))


@define(
    cite="huang2024deriving",
    params={
        "alpha_p": Param(low=0.0, decay=False, note="softplus of a raw parameter"),
        "alpha_n": Param(low=0.0, decay=False, note="beta plus the softplus of a raw parameter"),
        "beta": Param(note="fixed at 0.5 in the source"),
    },
)
def xielu(x, alpha_p=0.8, alpha_n=0.8, beta=0.5):
    """The integral of a trainable ELU-like slope: a parabola right, bending up left; used by Apertus."""
    return where(x > 0, x * (alpha_p * x + beta), alpha_n * expm1(x) + (beta - alpha_n) * x)


@define(
    cite="kunc2024three",
    params={"a": Param(share="channel"), "b": Param(share="channel")},
    same_as="selu",
)
def pselu(x, a=1.0507009873554804934193349852946, b=1.6732632423543772848170429916717):
    """SELU with learned scale and depth, starting at its constants, whose fixed point does not survive learning."""
    return a * where(x > 0, x, b * expm1(x))


@define(
    cite="kunc2024three",
    params={k: Param(share="channel") for k in ("a", "b", "c")},
    same_as="elu",
)
def lpselu(x, a=1.0, b=1.0, c=0.0):
    """SELU with learned scale and depth and a learned leak on the left; starting values of public code."""
    return where(x > 0, a * x, a * b * expm1(x) + c * x)


@define(
    cite="kunc2024three",
    params={k: Param(share="channel") for k in ("a", "b", "c", "m")},
    same_as="elu",
)
def lpselu_rp(x, a=1.0, b=1.0, c=0.0, m=0.0):
    """Leaky parametric SELU with a learned reposition m of its output; starting values of public code."""
    return where(x > 0, a * x, a * b * expm1(x) + c * x) + m


@define(
    cite="grelsson2018improved",
    params={"b": Param(share="channel"), "alpha": Param(low=0.0, note="fixed")},
    same_as="elu",
)
def shelu(x, b=0.0, alpha=1.0):
    """ELU shifted horizontally by a learned b."""
    return where(x + b > 0, x + b, alpha * expm1(x + b))


@define(
    cite="grelsson2018improved",
    params={"b": Param(share="channel"), "alpha": Param(low=0.0, note="fixed")},
    same_as="elu",
)
def svelu(x, b=0.0, alpha=1.0):
    """ELU shifted vertically by a learned b."""
    return where(x > 0, x, alpha * expm1(x)) + b


@define(
    cite="grelsson2018improved",
    params={"a": Param(low=0.0, share="channel"), "b": Param(low=0.0, share="channel"), "c": Param(share="channel")},
    same_as="pelu",
)
def pshelu(x, a=1.0, b=1.0, c=0.0):
    """PELU shifted horizontally by a learned c."""
    return where(x + c > 0, a / b * (x + c), a * expm1((x + c) / b))


@define(
    cite="grelsson2018improved",
    params={"a": Param(low=0.0, share="channel"), "b": Param(low=0.0, share="channel"), "c": Param(share="channel")},
    same_as="pelu",
)
def psvelu(x, a=1.0, b=1.0, c=0.0):
    """PELU shifted vertically by a learned c."""
    return where(x > 0, a / b * x, a * expm1(x / b)) + c


@define(
    cite="adem2022pfelu",
    params={"alpha": Param(share="channel"), "b": Param(share="channel")},
    aliases=("p_felu",),
    same_as="elu",
)
def pfelu(x, alpha=1.0, b=0.0):
    """ELU with learned depth and vertical shift, whose source computes exp(x) as a power of two."""
    return where(x > 0, x, alpha * expm1(x)) + b


@define(
    cite="jie2020regularized",
    params={
        "a": Param(low=0.0, high=1.0, closed=True, share="channel", note="0.4 in public code"),
        "b": Param(low=0.0, high=1.0, closed=True, share="channel", note="0.3 in public code; a + b at most 1"),
    },
)
def pe2relu(x, a=0.4, b=0.3):
    """A learned convex combination of the rectifier, ELU and the odd reflection of ELU."""
    # right: a x + b x + (1 - a - b)(1 - exp(-x)); left: b (exp(x) - 1) + (1 - a - b) x
    return where(x > 0, (a + b) * x - (1 - a - b) * expm1(-x), b * expm1(x) + (1 - a - b) * x)


@define(
    cite="jie2020regularized",
    params={"a": Param(low=0.0, high=1.0, closed=True, share="channel", note="0.5 in public code")},
)
def pe2id(x, a=0.5):
    """A learned combination of the identity with ELU and the odd reflection of ELU; odd and steeper at zero."""
    # a x + (1 - a)(ELU(x) - ELU(-x)), where ELU(x) - ELU(-x) = sign(x) (|x| + 1 - exp(-|x|))
    return x + (1 - a) * where(x > 0, -expm1(-x), expm1(x))


@define(
    cite="kunc2024three",
    params={
        "a": Param(low=0.0, share="channel"),
        "c": Param(low=0.0, share="channel", note="the corner; solves expm1(a c) = b c for a scale b"),
    },
)
def edelu(x, a=1.0, c=1.0):
    """Extended ELU: an exponential through zero that reaches the identity at x = c; the survey fixes no values."""
    return where(x > c, x, c * expm1(a * x) / expm1(a * c))


@define(
    cite="cheng2020parametric",
    params={"alpha": Param(share="channel"), "t": Param(low=0.0, note="0.9 or 1.1, fixed; not 1, where it is ELU")},
    aliases=("pdelu_fixed",),
)
def pdelu(x, alpha=1.0, t=0.9):
    """ELU with its exponential deformed to max(1 + (1 - t) x, 0)^(1/(1 - t)), so that the mean response is near 0."""
    u = (1 - t) * x
    return where(x > 0, x, where(u > -1, alpha * expm1(log1p(u) / (1 - t)), -alpha))


@define(
    cite="kim2020elastic",
    params={
        "k": Param(low=0.0, decay=False, note="truncated normal around 1 per element in training, 1 afterwards"),
        "alpha": Param(low=0.0, share="channel"),
        "beta": Param(low=0.0, share="channel"),
    },
    same_as="elu",
)
def eelu(x, k=1.0, alpha=1.0, beta=1.0):
    """Elastic ELU: learned depth and sharpness, and a right slope k that is random in training."""
    return where(x > 0, k * x, alpha * expm1(beta * x))


@define(
    cite="ying2019rectified",
    params={"alpha": Param(share="channel"), "beta": Param(low=0.0, share="channel")},
    same_as="reu",
)
def preu(x, alpha=1.0, beta=1.0):
    """Parametric rectified exponential unit: REU with learned slope and decay."""
    return alpha * where(x > 0, x, x * exp(beta * x))


@define(
    cite="godfrey2016continuum",
    params={"alpha": Param(low=0.0, share="neuron", note="the source starts at its limit 0, the identity")},
)
def soft_exponential(x, alpha=0.5):
    """Between the identity (alpha to 0) and the exponential (1); the logarithmic half of the source has a pole."""
    return expm1(alpha * x) / alpha + alpha


@define(cite="kunc2024three", params={"a": Param(share="neuron"), "b": Param(low=0.0, share="neuron")})
def sexp(x, a=1.0, b=1.0):
    """Scaled exponential with learned scale and rate, zero at zero; overflows float32 above 88."""
    return a * expm1(b * x)


@define(
    cite="qian2018adaptive",
    params={"a": Param(low=0.0, high=1.0, closed=True, share="channel")},
    aliases=("acomb_lrelu_elu",),
)
def mixed_lrelu_elu(x, a=0.5):
    """A learned convex combination of a leaky rectifier with slope 0.01 and ELU."""
    return where(x > 0, x, 0.01 * a * x + (1 - a) * expm1(x))


@define(
    cite="qian2018adaptive",
    params={
        "w": Param(share="channel", note="weight inside the gate"),
        "p": Param(share="channel", decay=False, note="left slope of the PReLU"),
        "a": Param(low=0.0, decay=False),
        "b": Param(low=0.0, decay=False),
    },
    aliases=("acomb_gated",),
)
def gated_prelu_pelu(x, w=1.0, p=0.25, a=1.0, b=1.0):
    """PReLU and PELU mixed by a learned gate on the input itself."""
    right = (sigmoid(w * x) + sigmoid(-w * x) * (a / b)) * x
    return where(x > 0, right, sigmoid(w * x) * p * x + sigmoid(-w * x) * a * expm1(x / b))

"""Rectifiers with learned slopes, shifts and scales."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import clip, exp, hypot1, relu, sigmoid, sqp, sqrt, where


@define(
    cite="he2015delving",
    params={"a": Param(share="channel", decay=False, note="weight decay would pull it to the plain rectifier")},
)
def prelu(x, a=0.25):
    """Leaky rectifier whose left slope is learned. Two libraries divide by a instead of multiplying."""
    return where(x > 0, x, a * x)


@define(
    cite="liu2020reactnet",
    params={
        "gamma": Param(share="channel", decay=False, note="shift before the corner"),
        "zeta": Param(share="channel", decay=False, note="shift after it"),
        "beta": Param(share="channel", decay=False, note="left slope"),
    },
    same_as="prelu",
)
def rprelu(x, gamma=0.0, zeta=0.0, beta=0.25):
    """PReLU with its corner moved to (gamma, zeta), after every binary convolution of ReActNet."""
    return where(x > gamma, x - gamma, beta * (x - gamma)) + zeta


@define(
    cite="chen2020arelu",
    params={"a": Param(note="clipped to [0.01, 0.99]"), "b": Param()},
)
def arelu(x, a=0.9, b=2.0):
    """Attention-based rectifier: left slope a, right slope 1 + sigmoid(b); one pair for a layer."""
    return where(x > 0, (1 + sigmoid(b)) * x, clip(a, 0.01, 0.99) * x)


@define(
    cite="yu2022metaformer",
    aliases=("starrelu",),
    params={"s": Param(note="sqrt(4/5) for unit variance"), "b": Param(note="-sqrt(1/5) for zero mean")},
)
def star_relu(x, s=2 / 5**0.5, b=-1 / 5**0.5):
    """Squared rectifier with zero mean and unit variance on normal input; the paper rounds to four digits."""
    return s * relu(x) ** 2 + b


@define(cite="sun2024crrelu", params={"eps": Param()})
def crrelu(x, eps=0.01):
    """A rectifier plus a small odd Gaussian wiggle, derived from ReLU by an entropy argument."""
    return relu(x) + eps * (x * exp(-(x**2) / 2))


@define(
    cite="kunc2024three", params={"a": Param(share="channel", decay=False)}, same_as="relu", aliases=("prelu_plus",)
)
def prelu_positive(x, a=1.0):
    """A rectifier with a learned right slope, which only matters when the next layer cannot absorb it."""
    return a * relu(x)


@define(
    cite="maniatopoulos2021learnable",
    params={"a": Param(share="channel", decay=False)},
    same_as="leaky_relu",
)
def lelelu(x, a=1.0):
    """Leaky rectifier with slopes a and a/100, scaled as a whole by its one learned parameter."""
    return a * where(x > 0, x, 0.01 * x)


@define(
    cite="balaji2019learnable",
    params={"a": Param(share="channel", decay=False), "b": Param(share="channel", decay=False)},
    same_as="leaky_relu",
)
def dprelu(x, a=1.0, b=0.01):
    """Dual parametric rectifier: both slopes are learned."""
    return where(x > 0, a * x, b * x)


@define(
    cite="balaji2019learnable",
    params={
        "a": Param(share="channel", decay=False),
        "b": Param(share="channel", decay=False),
        "m": Param(share="channel", decay=False, note="shifts the mean of the output towards zero"),
    },
)
def dual_line(x, a=1.0, b=0.01, m=-0.22):
    """Two learned slopes and a learned shift of the mean."""
    return where(x > 0, a * x, b * x) + m


@define(
    cite="jiang2018deep",
    params={
        "k": Param(decay=False, note="drawn from U(1 - alpha, 1 + alpha) per element in training, 1 afterwards"),
        "a": Param(share="channel", decay=False, note="learned in turns with the random slope"),
    },
    same_as="prelu",
)
def eprelu(x, k=1.0, a=0.25):
    """Elastic PReLU: in training the right slope k is random. Some libraries divide by a on the left."""
    return where(x > 0, k * x, a * x)


@define(
    cite="cao2018randomly",
    params={
        "b": Param(decay=False, note="drawn from N(0, 0.75^2) per element in training, 0 afterwards"),
        "a": Param(share="channel", decay=False),
    },
    same_as="prelu",
)
def rt_prelu(x, b=0.0, a=0.25):
    """Randomly translational PReLU: in training its corner is displaced by b, which makes it jump there."""
    return where(x + b > 0, x, a * x)


@define(
    cite="qiu2017frelu",
    params={"b": Param(share="channel", decay=False)},
    aliases=("frelu_flexible",),
    same_as="relu",
)
def flexible_relu(x, b=0.0):
    """A rectifier with a learned shift of its output, called FReLU like the unrelated funnel activation."""
    return relu(x) + b


@define(
    cite="pishchik2023trainable",
    params={"a": Param(decay=False), "b": Param(decay=False)},
    same_as="relu",
)
def shilu(x, a=1.0, b=0.0):
    """A rectifier with learned slope and shift."""
    return a * relu(x) + b


@define(
    cite="manessi2018learning",
    params={"p": Param(low=0.0, high=1.0, closed=True, note="the source learns a convex combination")},
    aliases=("step_mixture",),
    same_as="relu",
)
def relu_identity_mixture(x, p=0.0):
    """A learned convex combination of the identity and the rectifier."""
    return where(x > 0, x, p * x)


@define(
    cite="kunc2024three",
    params={"a": Param(share="neuron", decay=False), "eps": Param(low=0.0, note="fixed smoothing")},
)
def lrelu_plus(x, a=0.01, eps=0.01):
    """Leaky rectifier smoothed like squareplus, with a learned left slope; the survey fixes no smoothing."""
    # ((1 + a) x + sqrt(((1 - a) x)^2 + eps))/2
    return a * x + sqrt(eps) / 2 * sqp((1 - a) * x / sqrt(eps))


@define(cite="godfrey2019evaluation", params={"beta": Param(low=-1.0, high=1.0, closed=True)}, same_as="relu")
def reblu(x, beta=0.0):
    """Rectified bendable linear unit: zero on the left, the bendable linear unit on the right."""
    return where(x > 0, x + beta * (hypot1(x) - 1), 0.0)


@define(
    cite="huang2024deriving",
    params={
        "alpha_p": Param(low=0.0, decay=False, note="softplus of a raw parameter"),
        "alpha_n": Param(decay=False),
        "beta": Param(note="fixed at 0.5 in the source"),
    },
)
def xiprelu(x, alpha_p=0.8, alpha_n=0.8, beta=0.5):
    """The integral of a two-sided linear slope: a parabola on either side, xIELU without the exponential."""
    return where(x > 0, x * (alpha_p * x + beta), x * (alpha_n * x + beta))

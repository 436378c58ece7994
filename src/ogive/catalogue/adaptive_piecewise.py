"""Piecewise linear units whose corners and slopes are learned."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import hypot1, maximum, minimum, pi, relu, sign, sqrt, where


@define(
    cite="jin2016srelu",
    params={
        "tr": Param(share="channel", decay=False, note="above tl; the source sets it from the data"),
        "ar": Param(share="channel", decay=False),
        "tl": Param(share="channel", decay=False),
        "al": Param(share="channel", decay=False),
    },
    same_as="relu",
)
def srelu(x, tr=1.0, ar=1.0, tl=0.0, al=0.0):
    """Three linear pieces: slope ar beyond tr, 1 between, al below tl."""
    return where(x >= tr, tr + ar * (x - tr), where(x > tl, x, tl + al * (x - tl)))


@define(
    cite="heo2019comprehensive",
    params={"m": Param(share="channel", note="mean of the negative responses of a channel, from its statistics")},
    aliases=("margin_relu",),
)
def marrelu(x, m=-((2 / pi) ** 0.5)):
    """max(x, m): a rectifier with a negative margin, for distillation; m as for standard normal input."""
    return maximum(x, m)


@define(
    cite="si2018dynamic",
    params={"a": Param(note="midpoint of the range of the layer's batch, tracked by a running mean")},
    aliases=("drelu_threshold",),
    same_as="relu",
)
def dynamic_relu_threshold(x, a=0.0):
    """max(x, a) with a threshold taken from the data; not the dynamic ReLU with input-dependent slopes."""
    return maximum(x, a)


@define(
    cite="liu2020reactnet",
    params={"a": Param(share="channel", note="learned through minus the surrogate slope")},
    backward=lambda x, a: maximum(2 - 2 * abs(x - a), 0.0),
    same_as="sign",
)
def rsign(x, a=0.0):
    """Sign with a threshold for each channel and the triangular slope of Bi-Real Net (ReActNet)."""
    return where(x >= a, 1.0, -1.0)


@define(
    cite="inturrisi2021piecewise",
    params={"a": Param(share="channel"), "b": Param(share="channel"), "c": Param(share="channel")},
)
def pilu(x, a=1.0, b=0.01, c=1.0):
    """Two lines of learned slopes that meet at the learned point (c, c)."""
    return where(x > c, a * (x - c), b * (x - c)) + c


@define(
    cite="hong2022activation",
    params={"a": Param(low=0.0, note="width of the support")},
)
def hat(x, a=2.0):
    """The linear finite element: up to a/2 at x = a/2 and down to zero at a; learns high frequencies early."""
    return relu(minimum(x, a - x))


@define(
    cite="prach2023lipschitz",
    params={"a": Param(share="channel", decay=False), "b": Param(share="channel", decay=False)},
)
def n_activation(x, a=-1.0, b=1.0):
    """Slopes 1, -1, 1 with two learned corners: the simplest of its kind that makes 1-Lipschitz nets expressive."""
    return where(x > maximum(a, b), x - 2 * maximum(a, b), where(x < minimum(a, b), x - 2 * minimum(a, b), -x))


@define(
    cite="bawa2019linearized",
    params={"ar": Param(share="neuron", note="slope beyond 1"), "al": Param(share="neuron", note="slope below 0")},
)
def alisa(x, ar=1.0, al=0.1):
    """Adaptive linearised sigmoid: slope 1 on [0, 1], learned slopes outside; the starting values are code's."""
    return where(x > 1, ar * (x - 1) + 1, where(x > 0, x, al * x))


@define(
    cite="nicolae2018plu",
    aliases=("plu_adaptive",),
    params={
        "alpha": Param(low=0.0, high=1.0, closed=True, share="neuron"),
        "c": Param(low=0.0, note="half-width of the middle piece, fixed"),
    },
)
def plu(x, alpha=0.1, c=1.0):
    """Slope 1 on [-c, c] and alpha outside: an invertible piecewise linear stand-in for tanh."""
    return where(abs(x) > c, alpha * x + (1 - alpha) * c * sign(x), x)


@define(
    cite="agostinelli2014learning",
    params={"a": Param(share="neuron", note="L2 penalty 1e-3"), "b": Param(share="neuron", note="L2 penalty 1e-3")},
    aliases=("aplu",),
)
def apl(x, a=0.2, b=0.5):
    """Adaptive piecewise linear unit with one learned hinge; the source adds up to five of them."""
    return relu(x) + a * relu(b - x)


@define(
    cite="tavakoli2020splash",
    params={k: Param(share="layer") for k in ("p1", "p2", "p3", "p4", "n1", "n2", "n3", "n4")},
    same_as="relu",
)
def splash(x, p1=1.0, p2=0.0, p3=0.0, p4=0.0, n1=0.0, n2=0.0, n3=0.0, n4=0.0):
    """Learned slopes on fixed hinges at 0, 1, 2 and 2.5 on both sides, after batch normalisation; starts as ReLU."""
    right = p1 * relu(x) + p2 * relu(x - 1) + p3 * relu(x - 2) + p4 * relu(x - 2.5)
    left = n1 * relu(-x) + n2 * relu(-x - 1) + n3 * relu(-x - 2) + n4 * relu(-x - 2.5)
    return right + left


@define(
    cite="fakhfakh2022bayesian",
    params={
        "a": Param(low=0.0, high=1.0, closed=True, share="channel"),
        "b": Param(low=0.0, share="channel"),
        "c": Param(share="channel"),
    },
)
def mmelu(x, a=0.5, b=1.0, c=0.0):
    """Modified Mexican ReLU: a learned mixture of a triangle and the rectifier; the starting values are code's."""
    return a * relu(b - abs(x - c)) + (1 - a) * relu(x)


@define(
    cite="kunc2024three",
    params={
        "a": Param(share="neuron", note="slope outside"),
        "t": Param(low=0.0, share="neuron", note="half-width"),
        "eps": Param(low=0.0, note="fixed smoothing"),
    },
    exceptions={"second": "zero at x = 0, where two terms of size 1 cancel; decays far out as a difference"},
)
def srelu_plus(x, a=0.1, t=1.0, eps=0.01):
    """Slope 1 between -t and t and a outside, with smoothed corners; the survey fixes no smoothing."""
    # the difference of the two roots over their sum: no digits are lost near zero
    h = sqrt(eps)
    return x * (a + 2 * (1 - a) * t / h / (hypot1((x + t) / h) + hypot1((x - t) / h)))

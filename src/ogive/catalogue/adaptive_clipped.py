"""Clips and quantisers with learned ends, steps and offsets, and rectifiers bounded against hardware faults.

The quantisers round, so each declares the straight-through slope of its source.
"""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import clip, maximum, sigmoid, where

# Learned clips and quantisers


@define(
    cite="choi2018pact",
    aliases=("parameterized_clipping",),
    params={"alpha": Param(low=0.0, note="starts at 8 to 10 and needs weight decay, no less than the weights")},
    same_as="relu6",
)
def pact(x, alpha=6.0):
    """A rectifier that saturates at a learned alpha, so that few bits can hold its output."""
    return clip(x, 0.0, alpha)


@define(
    cite="esser2019learned",
    aliases=("lsq_act",),
    params={
        "s": Param(low=0.0, note="starts at 2 mean|x|/sqrt(top), its gradient scaled by 1/sqrt(features * top)"),
        "bottom": Param(note="0, or -2^(k-1) for signed data"),
        "top": Param(note="2^k - 1, or 2^(k-1) - 1 for signed data"),
    },
    backward=lambda x, s, bottom, top: where(x > bottom * s, where(x < top * s, 1.0, 0.0), 0.0),
)
def lsq(x, s=0.5, bottom=0.0, top=15.0):
    """Learned step size quantiser: rounds to a grid of step s, straight-through inside its range."""
    return round(clip(x / s, bottom, top)) * s


@define(
    cite="bhalgat2020lsq",
    params={
        "s": Param(low=0.0, note="starts from the range of the data or a least squares fit"),
        "b": Param(note="offset, likewise"),
        "bottom": Param(note="0 with an offset"),
        "top": Param(note="2^k - 1 for k bits"),
    },
    backward=lambda x, s, b, bottom, top: where(x - b > bottom * s, where(x - b < top * s, 1.0, 0.0), 0.0),
)
def lsq_plus(x, s=0.25, b=-0.25, bottom=0.0, top=15.0):
    """LSQ with a learned offset, for outputs such as swish's that dip below zero."""
    return round(clip((x - b) / s, bottom, top)) * s + b


@define(
    cite="jain2019trained",
    params={
        "t": Param(note="log2 of the threshold, rounded up to an integer before use; the source freezes it late"),
        "bits": Param(low=1.0),
    },
    backward=lambda x, t, bits: where(
        x >= -(2.0**t) - 2.0 ** (t - bits), where(x <= 2.0**t - 2.0 ** (t - bits), 1.0, 0.0), 0.0
    ),
)
def tqt(x, t=0.0, bits=4.0):
    """Trained quantisation threshold: a signed grid whose step is a power of two, straight-through inside."""
    half = 2.0 ** (bits - 1)
    s = 2.0**t / half
    return round(clip(x / s, -half, half - 1)) * s


@define(
    cite="jung2018learning",
    params={
        "c": Param(note="centre of the interval"),
        "d": Param(low=0.0, note="half of its length"),
        "levels": Param(low=0.0, note="2^k - 1 for k bits"),
    },
    backward=lambda x, c, d, levels: where(x > c - d, where(x < c + d, 0.5 / d, 0.0), 0.0),
)
def qil(x, c=1.0, d=0.5, levels=15.0):
    """Quantisation interval learning: prunes below a learned interval, clips above it, rounds on [0, 1] inside."""
    return round(clip((x - (c - d)) * (0.5 / d), 0.0, 1.0) * levels) / levels


# Bounded against faults


@define(cite="chen2020ranger", params={"T": Param(low=0.0, note="largest value seen in profiling")}, same_as="relu6")
def ranger(x, T=6.0):
    """A rectifier restricted to the range seen in profiling, which stops faults from spreading."""
    return clip(x, 0.0, T)


@define(
    cite="hoang2019ftclipact",
    aliases=("clip_act",),
    params={"T": Param(low=0.0, note="by interval search on accuracy under faults")},
)
def ftclipact(x, T=6.0):
    """A rectifier that sends what exceeds T, a likely fault, to zero instead of to T."""
    return where(x > T, 0.0, maximum(x, 0.0))


@define(
    cite="ghavami2021fitact",
    aliases=("fitrelu",),
    params={
        "lam": Param(low=0.0, share="neuron", note="starts at the largest value seen; trained last"),
        "k": Param(low=0.0, note="fixed and large; inference has the hard bound"),
    },
)
def fitact(x, lam=6.0, k=10.0):
    """A rectifier that falls to zero beyond a learned bound, smoothly so that the bound can be trained."""
    # max(0, x - x sigmoid(k (x - lam)))
    return maximum(x, 0.0) * sigmoid(k * (lam - x))


# Learned threshold


@define(cite="taggart2024prolu", params={"b": Param(share="neuron", note="trained by one of two pseudo-derivatives")},
        same_as="relu")  # fmt: skip
def prolu(x, b=0.0):
    """Proportional rectifier for sparse autoencoders: passes x where both x and x + b are positive."""
    return where(x > maximum(-b, 0.0), x, 0.0)

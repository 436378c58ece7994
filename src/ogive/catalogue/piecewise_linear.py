"""Piecewise linear rectifiers with the corner moved, the line scaled or the output capped."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import abs, clip, maximum, pi, relu, sqrt, where


@define(cite="seo2017activation", aliases=("slrelu",), params={"a": Param(low=0.0, note="the source tries 1 to 10")})
def sloped_relu(x, a=5.0):
    """A rectifier of slope a, made for neural decoders of polar codes."""
    return relu(a * x)


@define(cite="gldrelu2025", aliases=("gldrelu", "golden_relu"))
def gld_relu(x):
    """A rectifier whose slope is the golden ratio less one, 0.618, as in the package of that name."""
    return (sqrt(5) - 1) / 2 * relu(x)


@define(cite="brock2021characterizing", aliases=("relu_nf", "gamma_relu"))
def nf_relu(x):
    """A rectifier scaled to unit variance under standard normal input, for nets without normalisation layers."""
    return sqrt(2 / (1 - 1 / pi)) * relu(x)


@define(
    cite=("kunc2024three", "mirzadeh2023relu"),
    aliases=("drlu", "delay_rectifier"),
    params={"a": Param(note="1 in language models made sparse after training")},
)
def delay_relu(x, a=0.08):
    """A rectifier whose corner is moved to a; larger a, fewer active units."""
    return relu(x - a)


@define(cite="macedo2019enhancing", aliases=("disrelu", "dis_relu"), params={"a": Param(low=0.0)})
def displaced_relu(x, a=0.05):
    """A rectifier cut at -a instead of 0, which suits the batch normalisation before it."""
    return maximum(x, -a)


@define(
    cite=("kurtz2020inducing", "song2024prosparse"),
    aliases=("fat_relu",),
    params={"t": Param(low=0.0, closed=True, note="set from the data; 0.01 in ProSparse language models")},
)
def fatrelu(x, t=0.05):
    """Drops activations up to t, a threshold raised after training until enough of them are zero."""
    return where(x > t, x, 0.0)


@define(cite="pishchik2023trainable", params={"n": Param(low=0.0)}, same_as="bounded_relu")
def relun(x, n=1.0):
    """A rectifier with a learned cap n."""
    return clip(x, 0, n)


@define(cite="kunc2024three", aliases=("pan_function",), params={"a": Param(low=0.0)})
def pan(x, a=1.0):
    """Flat between -a and a, rising with slope 1 on either side: a soft threshold that forgets the sign."""
    return relu(abs(x) - a)

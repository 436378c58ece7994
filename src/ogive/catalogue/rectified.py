"""Piecewise linear and piecewise power rectifiers."""

from __future__ import annotations

from ogive import ops
from ogive.activation import Param, define
from ogive.ops import clip, where


@define(cite=("fukushima1969visual", "nair2010rectified"), aliases=("rectifier",))
def relu(x):
    """The positive part. The derivative at zero is 0, as in torch."""
    return ops.relu(x)


@define(cite="maas2013rectifier", params={"negative_slope": Param(decay=False)})
def leaky_relu(x, negative_slope=0.01):
    """A rectifier with a small slope on the left; Keras defaults to 0.2 or 0.3, torch and JAX to 0.01."""
    return where(x > 0, x, negative_slope * x)


@define(cite="krizhevsky2010convolutional")
def relu6(x):
    """A rectifier capped at 6, made for low-precision arithmetic."""
    return clip(x, 0, 6)


@define(cite="so2021primer", aliases=("squared_relu", "requ"))
def relu2(x):
    """Squared rectifier, found by search for language models; overflows float16 above 255."""
    return ops.relu(x) ** 2


@define(cite="e2018deep", aliases=("recu",))
def relu3(x):
    """Cubed rectifier: twice continuously differentiable, used to solve variational problems."""
    return ops.relu(x) ** 3


@define(cite="liew2016bounded", aliases=("satlin",), params={"a": Param(low=0.0)})
def bounded_relu(x, a=1.0):
    """A rectifier that saturates at a."""
    return clip(x, 0, a)


@define(cite="clevert2015fast")
def shifted_relu(x):
    """A rectifier cut at -1 instead of 0, the control of the ELU paper; some libraries shift the input."""
    return ops.maximum(x, -1.0)


@define(cite="konda2014zero", aliases=("trec",), params={"theta": Param(low=0.0, closed=True)})
def thresholded_relu(x, theta=1.0):
    """Passes inputs above theta unchanged and drops the rest: it jumps by theta."""
    return where(x > theta, x, 0.0)


@define(cite="paszke2019pytorch", aliases=("threshold_value",), same_as="relu")
def threshold(x, threshold=0.0, value=0.0):
    """torch.nn.Threshold: inputs above the threshold pass, the others become the given value."""
    return where(x > threshold, x, value)


@define(
    cite=("erichson2019jumprelu", "rajamanoharan2024jumping"),
    params={
        "theta": Param(
            low=0.0,
            closed=True,
            share="neuron",
            note="sparse autoencoders learn log(theta), from theta = 0.001",
        )
    },
    aliases=("jumprelu",),
)
def jump_relu(x, theta=0.1):
    """Zero up to theta, the identity above. To learn theta, whose slope is zero, takes a kernel estimate."""
    return where(x > theta, x, 0.0)


@define(cite="vallesperez2023empirical", aliases=("abs", "modulus", "vrelu"))
def absolute(x):
    """Absolute value. The derivative at zero is 0, as in torch."""
    return abs(x)


@define(cite="mastromichalakis2020alrelu", params={"alpha": Param(low=0.0, closed=True)})
def alrelu(x, alpha=0.01):
    """Leaky rectifier with the left slope turned upwards, so that no output is negative."""
    return where(x > 0, x, -alpha * x)


@define(
    cite=("rozsa2019improved", "zhao2016suppressing"),
    aliases=("mrelu",),
    params={"a": Param(low=0.0, share="channel", note="the source shrinks it by weight decay 1e-3 on purpose")},
)
def tent(x, a=1.0):
    """A triangle of height and half-width a, zero outside: open-space risk shrinks with the support."""
    return ops.relu(a - abs(x))

"""Signs, windows and rectifiers whose training slope is declared, as in binary networks.

The surrogate is part of the definition; it is not the derivative of the forward map and is never derived.
"""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import clip, cos, maximum, pi, relu, sech2, sigmoid, sin, tanh, where

# Binary networks take sign(0) = 1, so that every output is a bit; torch.sign(0) is 0.


@define(
    cite=("bengio2013estimating", "hubara2016binarized"),
    aliases=("sign_ste",),
    backward=lambda x: where(abs(x) <= 1, 1.0, 0.0),
)
def sign(x):
    """1 for x >= 0, else -1, with the straight-through slope 1 where |x| <= 1 (binary networks)."""
    return where(x >= 0, 1.0, -1.0)


@define(cite="liu2018bireal", backward=lambda x: maximum(2 - 2 * abs(x), 0.0), same_as="sign")
def approx_sign(x):
    """Sign with the triangular slope of Bi-Real Net, the derivative of a piecewise parabola."""
    return where(x >= 0, 1.0, -1.0)


@define(
    cite="darabi2018bnn",
    params={"beta": Param(low=0.0)},
    backward=lambda x, beta: beta * (1 - beta * x * tanh(beta * x / 2) / 2) * sech2(beta * x / 2),
    same_as="sign",
)
def swish_sign(x, beta=5.0):
    """Sign with the slope of SignSwish, 2 sigmoid(u)(1 + u(1 - sigmoid(u))) - 1 at u = beta x (BNN+)."""
    return where(x >= 0, 1.0, -1.0)


@define(
    cite="qin2020forward",
    params={"k": Param(low=0.0), "t": Param(low=0.0, note="grows during training while k shrinks to 1")},
    backward=lambda x, k, t: k * t * sech2(t * x),
    same_as="sign",
)
def ede_sign(x, k=1.0, t=1.0):
    """Sign with the slope of k tanh(t x), sharpened over training (the error decay estimator of IR-Net)."""
    return where(x >= 0, 1.0, -1.0)


@define(
    cite="kimhi2024hysteresis",
    params={"alpha": Param(low=0.0, closed=True)},
    backward=lambda x, alpha: where(x > -alpha, 1.0, 0.0),
    same_as="relu",
)
def helu(x, alpha=0.05):
    """A rectifier whose training slope is 1 down to -alpha; the paper has 0.05 for text, 0.001 for images."""
    return relu(x)


@define(
    cite="horuz2025resurrection",
    params={"alpha": Param(low=0.0)},
    backward=lambda x, alpha: sigmoid(x) + (x + alpha) * sech2(x / 2) / 4,
    same_as="relu",
)
def sugar(x, alpha=1.67):
    """A rectifier trained with the slope of the bounded SiLU, which keeps dead units alive."""
    return relu(x)


@define(cite="mcculloch1943logical", aliases=("step", "binary_step", "hardlim"))
def heaviside(x):
    """1 for x >= 0, else 0; its derivative is zero everywhere. snnTorch takes 0 at zero."""
    return where(x >= 0, 1.0, 0.0)


@define(cite="kunc2024three", params={"a": Param(), "b": Param(note="above a")})
def binary_window(x, a=0.0, b=1.0):
    """1 from a to b, ends included, else 0; its derivative is zero everywhere."""
    return where(x >= a, where(x <= b, 1.0, 0.0), 0.0)


@define(cite="widrow1960adaptive", aliases=("hardlims",), same_as="sign")
def bipolar_step(x):
    """1 for x >= 0, else -1, with its true derivative zero: the output of an ADALINE."""
    return where(x >= 0, 1.0, -1.0)


@define(cite="bengio2013estimating", backward=lambda x: 1.0, same_as="sign")
def sign_identity_ste(x):
    """Sign with slope 1 everywhere, the plain straight-through estimator."""
    return where(x >= 0, 1.0, -1.0)


@define(
    cite="wu2023estimator",
    aliases=("reste",),
    params={
        "o": Param(low=0.0, note="1 in the beginning, grows to 3 during training"),
        "t": Param(low=0.1, note="no slope beyond"),
    },
    backward=lambda x, o, t: where(
        abs(x) > t, 0.0, where(abs(x) > 0.1, maximum(abs(x), 0.1) ** (1 / o - 1) / o, 0.1 ** (1 / o - 1))
    ),
    same_as="sign",
)
def reste_sign(x, o=3.0, t=1.5):
    """Sign with the slope of the o-th root, replaced by a secant where |x| <= 0.1 and cut off at t."""
    return where(x >= 0, 1.0, -1.0)


@define(
    cite="lin2020rotated",
    aliases=("rbnn",),
    params={
        "k": Param(low=0.0, note="max(1/t, 1) in the source"),
        "t": Param(low=0.0, note="grows from 0.01 to 10 during training"),
    },
    backward=lambda x, k, t: k * maximum(2**0.5 * t - t**2 * abs(x), 0.0),
    same_as="sign",
)
def rbnn_sign(x, k=1.0, t=1.0):
    """Sign with a triangular slope that is sharpened over training, from Rotated Binary Neural Networks."""
    return where(x >= 0, 1.0, -1.0)


@define(
    cite="xu2021learning",
    params={"omega": Param(low=0.0)},
    backward=lambda x, omega: 4 * omega / pi * sum(cos(i * omega * x) for i in (1, 3, 5, 7, 9, 11)),
    same_as="sign",
)
def fda_sign(x, omega=1.0):
    """Sign with the slope of the first six terms of the Fourier series of a square wave."""
    return where(x >= 0, 1.0, -1.0)


@define(
    cite="vargas2024biper",
    aliases=("biper",),
    params={"omega": Param(low=0.0)},
    backward=lambda x, omega: omega * cos(omega * x),
)
def biper_sign(x, omega=20.0):
    """Square wave, the sign of a sine, trained with the slope of that sine; binarises latent weights."""
    # Beyond 1e15 neighbouring double numbers lie a period apart and there is no wave left to sample.
    return where(sin(omega * clip(x, -1e15, 1e15)) >= 0, 1.0, -1.0)


@define(cite="li2016ternary", backward=lambda x, d: 1.0, params={"d": Param(low=0.0)})
def ternary_step(x, d=0.5):
    """-1, 0 or 1 with a dead zone of half-width d, slope 1 in training; weights and spikes of three values."""
    return where(x > d, 1.0, where(x < -d, -1.0, 0.0))

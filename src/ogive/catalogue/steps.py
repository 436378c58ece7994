"""Steps and spikes: forward maps that are flat, or flat in half, with a declared surrogate derivative.

The surrogate is part of the definition; it is not the derivative of the forward map and is never derived.
"""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import clip, exp, maximum, pi, relu, sech2, sigmoid, sqrt, tanh, where

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


@define(cite="bengio2013estimating", backward=lambda x: 1.0)
def round_ste(x):
    """Rounding, ties to even, with slope 1: the workhorse of quantisation-aware training."""
    return round(x)


@define(
    cite="zhou2016dorefa",
    params={"levels": Param(low=0.0, note="2^k - 1 for k bits")},
    backward=lambda x, levels: where(x >= 0, where(x <= 1, 1.0, 0.0), 0.0),
)
def dorefa(x, levels=3.0):
    """DoReFa's activation quantiser: clips to [0, 1], rounds to a grid, straight-through inside."""
    return round(clip(x, 0, 1) * levels) / levels


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


@define(cite="mcculloch1943logical", aliases=("step", "binary_step"))
def heaviside(x):
    """1 for x >= 0, else 0; its derivative is zero everywhere. snnTorch takes 0 at zero."""
    return where(x >= 0, 1.0, 0.0)


@define(
    cite="zenke2018superspike",
    aliases=("superspike",),
    params={"k": Param(low=0.0)},
    backward=lambda x, k: (1 + k * abs(x)) ** -2,
    same_as="heaviside",
)
def spike_fast_sigmoid(x, k=25.0):
    """A spike with slope 1/(1 + k|x|)^2; k = 25 as in snnTorch, not normalised to unit area."""
    return where(x >= 0, 1.0, 0.0)


@define(
    cite=("fang2021incorporating", "fang2023spikingjelly"),
    params={"alpha": Param(low=0.0)},
    backward=lambda x, alpha: alpha / 2 / (1 + (pi / 2 * alpha * x) ** 2),
    same_as="heaviside",
)
def spike_atan(x, alpha=2.0):
    """A spike with the slope of an arctangent, the default of many deep spiking networks."""
    return where(x >= 0, 1.0, 0.0)


@define(
    cite=("neftci2019surrogate", "fang2023spikingjelly"),
    params={"alpha": Param(low=0.0)},
    backward=lambda x, alpha: alpha / 4 * sech2(alpha * x / 2),
    same_as="heaviside",
)
def spike_sigmoid(x, alpha=4.0):
    """A spike with the slope of sigmoid(alpha x)."""
    return where(x >= 0, 1.0, 0.0)


@define(
    cite=("bellec2018long", "fang2023spikingjelly"),
    params={"alpha": Param(low=0.0)},
    backward=lambda x, alpha: maximum(alpha - alpha**2 * abs(x), 0.0),
    same_as="heaviside",
)
def spike_triangle(x, alpha=1.0):
    """A spike with a triangular slope of unit area. snnTorch's Triangular has a flipped sign."""
    return where(x >= 0, 1.0, 0.0)


@define(
    cite=("wu2018spatio", "fang2023spikingjelly"),
    params={"alpha": Param(low=0.0)},
    backward=lambda x, alpha: where(abs(x) < 1 / (2 * alpha), alpha, 0.0),
    same_as="heaviside",
)
def spike_rect(x, alpha=1.0):
    """A spike with a rectangular slope of unit area."""
    return where(x >= 0, 1.0, 0.0)


@define(
    cite="fang2023spikingjelly",
    params={"alpha": Param(low=0.0)},
    backward=lambda x, alpha: alpha / sqrt(pi) * exp(-((alpha * x) ** 2)),
    same_as="heaviside",
)
def spike_erf(x, alpha=2.0):
    """A spike with a Gaussian slope of unit area."""
    return where(x >= 0, 1.0, 0.0)


@define(
    cite=("shrestha2018slayer", "fang2023spikingjelly"),
    params={"alpha": Param(low=0.0)},
    backward=lambda x, alpha: alpha / 2 * exp(-alpha * abs(x)),
    same_as="heaviside",
)
def spike_exponential(x, alpha=1.0):
    """A spike with a two-sided exponential slope of unit area."""
    return where(x >= 0, 1.0, 0.0)

"""Spikes: the unit step with the surrogate slopes of spiking networks, and the firing rates behind them.

The surrogate is part of the definition; it is not the derivative of the forward map and is never derived.
"""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import cos, exp, log, log1p, maximum, phi, pi, sech2, softplus, sqrt, tanh, where


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
    aliases=("spike_piecewise_exp",),
    params={"alpha": Param(low=0.0)},
    backward=lambda x, alpha: alpha / 2 * exp(-alpha * abs(x)),
    same_as="heaviside",
)
def spike_exponential(x, alpha=1.0):
    """A spike with a two-sided exponential slope of unit area."""
    return where(x >= 0, 1.0, 0.0)


@define(
    cite="fang2023spikingjelly",
    params={"alpha": Param(low=0.0)},
    backward=lambda x, alpha: alpha / 2 * (1 + alpha * abs(x)) ** -2,
    same_as="heaviside",
)
def spike_softsign(x, alpha=2.0):
    """A spike with the slope of softsign, the fast sigmoid scaled to unit area."""
    return where(x >= 0, 1.0, 0.0)


@define(
    cite="wu2018spatio",
    params={"s": Param(low=0.0)},
    backward=lambda x, s: phi(x / s) / s,
    same_as="heaviside",
)
def spike_gaussian(x, s=0.5):
    """A spike with a Gaussian slope of standard deviation s and unit area."""
    return where(x >= 0, 1.0, 0.0)


@define(
    cite="yin2021accurate",
    params={"s": Param(low=0.0), "h": Param(low=0.0, closed=True), "gamma": Param(low=0.0)},
    backward=lambda x, s, h, gamma: (
        gamma * (1 + h) / s * phi(x / s) - gamma * h / (6 * s) * (phi((x - s) / (6 * s)) + phi((x + s) / (6 * s)))
    ),
    same_as="heaviside",
)
def spike_multi_gaussian(x, s=0.5, h=0.15, gamma=0.5):
    """A spike whose slope is a Gaussian less two wide ones, negative in the tails, with the constants of its code."""
    return where(x >= 0, 1.0, 0.0)


@define(
    cite="fang2023spikingjelly",
    params={"alpha": Param(low=0.0)},
    backward=lambda x, alpha: alpha / (1 + alpha * abs(x)),
    same_as="heaviside",
)
def spike_nonzero_sign_log_abs(x, alpha=1.0):
    """A spike with the slope of a signed logarithm, whose tails decay like 1/x."""
    return where(x >= 0, 1.0, 0.0)


@define(
    cite="fang2023spikingjelly",
    params={"w": Param(low=0.0), "c": Param(low=0.0, closed=True)},
    backward=lambda x, w, c: where(abs(x) < w, 1 / (2 * w), c),
    same_as="heaviside",
)
def spike_piecewise_leaky_relu(x, w=1.0, c=0.01):
    """A spike with slope 1/(2w) within w of the threshold and c elsewhere; older code forgets the 2."""
    return where(x >= 0, 1.0, 0.0)


@define(
    cite="fang2023spikingjelly",
    params={"T": Param(low=0.0, note="the period")},
    backward=lambda x, T: 4 / T * cos(2 * pi / T * x),
    same_as="heaviside",
)
def spike_squarewave_fourier(x, T=8.0):
    """A spike with the slope of the first term of the Fourier series of a square wave."""
    return where(x >= 0, 1.0, 0.0)


@define(
    cite=("suetake2022s2nn", "fang2023spikingjelly"),
    params={"alpha": Param(low=0.0), "beta": Param(low=0.0)},
    backward=lambda x, alpha, beta: where(x >= 0, beta / (1 + abs(x)), alpha / 4 * sech2(alpha * x / 2)),
    same_as="heaviside",
)
def spike_s2nn(x, alpha=4.0, beta=1.0):
    """A spike with the slope of a sigmoid below the threshold and of a logarithm above it."""
    return where(x >= 0, 1.0, 0.0)


@define(
    cite=("herranz2022surrogate", "fang2023spikingjelly"),
    params={"alpha": Param(low=1.0, note="tails decay like x^-alpha")},
    backward=lambda x, alpha: (1 + 2 / (alpha - 1) * abs(x)) ** -alpha,
    same_as="heaviside",
)
def spike_q_pseudo(x, alpha=2.0):
    """A spike whose slope has tails of any power, q-PseudoSpike."""
    return where(x >= 0, 1.0, 0.0)


@define(
    cite="fang2023spikingjelly",
    params={"k": Param(), "leak": Param()},
    backward=lambda x, k, leak: where(x >= 0, k, leak),
    same_as="heaviside",
)
def spike_leaky_k_relu(x, k=1.0, leak=0.0):
    """A spike with slope k above the threshold and leak below it; the defaults are those of SpikingJelly."""
    return where(x >= 0, 1.0, 0.0)


@define(
    cite=("cai2017deep", "fang2023spikingjelly"),
    params={"alpha": Param()},
    backward=lambda x, alpha: where(x > 1, 1 / maximum(x, 1.0), where(x > 0, 1.0, alpha)),
    same_as="heaviside",
)
def spike_log_tailed_relu(x, alpha=0.0):
    """A spike with slope alpha below the threshold, 1 above it and 1/x beyond one."""
    return where(x >= 0, 1.0, 0.0)


@define(
    cite="fang2023spikingjelly",
    params={"alpha": Param(low=0.0)},
    backward=lambda x, alpha: 1 / maximum(abs(x), 1 / alpha),
    same_as="heaviside",
)
def spike_fake_numerical(x, alpha=0.3):
    """A spike with the difference quotient of the sign, 1/|x|, held below alpha."""
    return where(x >= 0, 1.0, 0.0)


@define(
    cite=("pereznieves2021sparse", "eshraghian2021training"),
    params={"k": Param(low=0.0), "B": Param(low=0.0)},
    backward=lambda x, k, B: where(abs(x) < B, (1 + k * abs(x)) ** -2, 0.0),
    same_as="heaviside",
)
def spike_sparse_fast_sigmoid(x, k=25.0, B=1.0):
    """A spike with the fast sigmoid slope cut off at B, for sparse gradients; snnTorch keeps x > B instead."""
    return where(x >= 0, 1.0, 0.0)


@define(
    cite=("gerstner2002spiking", "eshraghian2021training"),
    params={"beta": Param(low=0.0), "k": Param(low=0.0)},
    backward=lambda x, beta, k: k * exp(-beta * abs(x - 1)),
    same_as="heaviside",
)
def spike_rate_escape(x, beta=1.0, k=25.0):
    """A spike with a two-sided exponential slope centred at one, as in snnTorch."""
    return where(x >= 0, 1.0, 0.0)


@define(
    cite="eshraghian2021training",
    params={"k": Param()},
    backward=lambda x, k: where(x > 0, 1.0, k),
    same_as="heaviside",
)
def spike_lso(x, k=0.1):
    """Leaky spike operator: slope 1 above the threshold, k below it."""
    return where(x >= 0, 1.0, 0.0)


@define(
    cite=("bengio2013estimating", "eshraghian2021training"),
    backward=lambda x: 1.0,
    same_as="heaviside",
)
def spike_ste(x):
    """A spike with slope 1 everywhere."""
    return where(x >= 0, 1.0, 0.0)


@define(
    cite=("esser2016convolutional", "bellec2018long"),
    params={"g": Param(low=0.0)},
    backward=lambda x, g: g * maximum(1 - abs(x), 0.0),
    same_as="heaviside",
)
def spike_esser(x, g=0.3):
    """A spike with a damped triangular slope."""
    return where(x >= 0, 1.0, 0.0)


@define(
    cite="li2021differentiable",
    params={"b": Param(low=0.0, note="temperature, tuned during training")},
    backward=lambda x, b: where(abs(x) <= 1 / 2, b / 2 / tanh(b / 2) * sech2(b * x), 0.0),
    same_as="heaviside",
)
def spike_dspike(x, b=3.0):
    """A spike with the slope of a tanh that runs from 0 to 1 within half of the threshold."""
    return where(x >= 0, 1.0, 0.0)


@define(
    cite=("hunsberger2015spiking", "rasmussen2019nengodl"),
    params={
        "tau": Param(low=0.0, note="membrane time constant in milliseconds"),
        "d": Param(low=0.0, note="refractory time in milliseconds"),
        "s": Param(low=0.0, note="width of the smoothing, sigma in NengoDL"),
    },
)
def soft_lif(x, tau=20.0, d=2.0, s=1.0):
    """Spikes per millisecond of a leaky integrate-and-fire neuron whose corner at the threshold 1 is smoothed."""
    u = (x - 1) / s
    # log(1 + 1/z) at z = s softplus(u), which underflows on the left, where it is -u - log(s)
    wait = where(u > -40, log1p(1 / (s * softplus(u))), -u - log(s))
    return 1 / (d + tau * wait)

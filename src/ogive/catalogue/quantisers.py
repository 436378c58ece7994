"""Quantisers: rounding to a grid, with a straight-through or another declared slope."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import clip, floor, relu, where


@define(cite="bengio2013estimating", backward=lambda x: 1.0)
def round_ste(x):
    """Rounding, ties to even, with slope 1: the workhorse of quantisation-aware training."""
    return round(x)


@define(cite="bengio2013estimating", backward=lambda x: 1.0)
def floor_ste(x):
    """Rounding down with slope 1."""
    return floor(x)


@define(
    cite="zhou2016dorefa",
    aliases=("dorefa_act",),
    params={"levels": Param(low=0.0, note="2^k - 1 for k bits")},
    backward=lambda x, levels: where(x >= 0, where(x <= 1, 1.0, 0.0), 0.0),
)
def dorefa(x, levels=3.0):
    """DoReFa's activation quantiser: clips to [0, 1], rounds to a grid, straight-through inside."""
    return round(clip(x, 0, 1) * levels) / levels


@define(
    cite="choi2018pact",
    aliases=("pact_fixed",),
    params={
        "alpha": Param(low=0.0, note="learned in the source, with slope 1 where the input is clipped and decay"),
        "levels": Param(low=0.0, note="2^k - 1 for k bits"),
    },
    backward=lambda x, alpha, levels: where(x >= 0, where(x < alpha, 1.0, 0.0), 0.0),
)
def pact_quantiser(x, alpha=6.0, levels=15.0):
    """PACT with a fixed clip: clips to [0, alpha], rounds to a grid, straight-through inside."""
    return round(clip(x, 0, alpha) * levels / alpha) * alpha / levels


@define(
    cite="cai2017deep",
    params={"d": Param(low=0.0, note="0.538 suits two bits and normal input"), "n": Param(low=0.0, note="levels")},
    backward=lambda x, d, n: where(x > 0, where(x <= d * n, 1.0, 0.0), 0.0),
)
def hwgq(x, d=0.538, n=3.0):
    """Half-wave Gaussian quantiser: n steps of d on the right, zero on the left, slope of a clipped rectifier."""
    return d * clip(floor(relu(x) / d + 1 / 2), 0, n)


@define(
    cite="bu2023optimal",
    params={"lam": Param(low=0.0, note="learned per layer in the source"), "L": Param(low=0.0, note="steps")},
    backward=lambda x, lam, L: where(x >= -lam / (2 * L), where(x <= lam - lam / (2 * L), 1.0, 0.0), 0.0),
)
def qcfs(x, lam=8.0, L=8.0):
    """Quantised clip-floor-shift, the rate of an integrate-and-fire neuron after L time steps."""
    return lam * clip(floor(x * L / lam + 1 / 2) / L, 0, 1)


@define(
    cite="fang2023spikingjelly",
    params={"n": Param(low=0.0, note="most spikes in a step")},
    backward=lambda x, n: where(x >= 0, where(x <= n, 1.0, 0.0), 0.0),
)
def multi_level_spike(x, n=4.0):
    """Number of whole thresholds in the input, from 0 to n, straight-through inside."""
    return clip(floor(x), 0, n)


@define(
    cite="luo2024integer",
    aliases=("ilif",),
    params={"n": Param(low=0.0, note="most spikes in a step")},
    backward=lambda x, n: where(x >= 0, where(x <= n, 1.0, 0.0), 0.0),
)
def integer_lif(x, n=4.0):
    """Spike count of an integer-valued neuron: clips to [0, n] and rounds, straight-through inside."""
    return round(clip(x, 0, n))

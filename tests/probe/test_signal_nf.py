"""Normaliser-free residual networks: the gains, and that a signal in them goes as the source says (Brock et al. 2021)."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch
from torch import nn

import ogive
from ogive.probe.signal import signal
from ogive.surgery.rules import Place, nf
from ogive.surgery.standardise import standardise_

WIDTH, BLOCKS, ALPHA = 384, 8, 0.5

FUNCTIONS = {
    "relu": lambda z: mpmath.mpf(0) if z < 0 else z,
    "silu": lambda z: z / (1 + mpmath.exp(-z)),
    "gelu": lambda z: z * mpmath.ncdf(z),
}
TABULATED = {"relu": 1.7139588594436646, "silu": 1.7881293296813965, "gelu": 1.7015043497085571}


def reference(f):
    with mpmath.workdps(30):
        ends = [-14, -6, -2, 0, 2, 6, 14]
        first, second = (mpmath.quad(lambda z, p=p: f(z) ** p * mpmath.npdf(z), ends) for p in (1, 2))
        return 1 / mpmath.sqrt(second - first**2)


@pytest.mark.parametrize("act", FUNCTIONS)
def test_gains_are_one_over_the_standard_deviation(act):
    ours = math.sqrt(nf(Place(1.0, 1.0, 1.0, ogive.get(act))))
    assert ours == pytest.approx(float(reference(FUNCTIONS[act])), rel=1e-12)
    # the constants that timm and the authors' code carry are estimates from samples
    assert 1e-5 < abs(ours / TABULATED[act] - 1) < 1e-3


class Block(nn.Module):
    """x + alpha f2(f1(x/beta)), two layers, activation first."""

    def __init__(self, act: str, alpha: float, beta: float) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.act, self.alpha, self.beta = ogive.Act(act), alpha, beta

    def forward(self, x):
        return x + self.alpha * self.second(self.act(self.first(self.act(x / self.beta))))


def resnet(act: str, free: bool) -> nn.Sequential:
    """``free``: alpha 0.5 and beta the predicted standard deviation of the stream; else both 1, no standardisation."""
    betas = [math.sqrt(1 + k * ALPHA**2) if free else 1.0 for k in range(BLOCKS)]
    blocks = [Block(act, ALPHA if free else 1.0, b) for b in betas]
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), *blocks, nn.Linear(WIDTH, 10))


def profile(act: str, free: bool):
    torch.manual_seed(2)
    model, x = resnet(act, free), torch.randn(128, WIDTH)
    gain = float(ogive.gain(act))
    for m in model.modules():
        if isinstance(m, nn.Linear):
            nn.init.normal_(m.weight, 0.0, (gain if m is not model[0] else 1.0) / math.sqrt(WIDTH))
            nn.init.zeros_(m.bias)
    gains = standardise_(model, x) if free else {}
    return signal(model, x, mend=False), gains


@pytest.mark.parametrize("act", FUNCTIONS)
def test_branches_of_a_normaliser_free_network_keep_the_predicted_variance(act):
    found, gains = profile(act, True)
    inside = [g for name, g in gains.items() if name not in ("0.weight", f"{BLOCKS + 1}.weight")]
    assert inside == pytest.approx([float(reference(FUNCTIONS[act]))] * (2 * BLOCKS), rel=1e-6)
    ends = [r for r in found.layers if r.branch == "end"]
    assert len(ends) == len(found.streams) == BLOCKS
    for k, (end, stream) in enumerate(zip(ends, found.streams)):
        assert end.variance == pytest.approx(1.0, rel=0.15)
        assert stream.branch == pytest.approx(ALPHA**2, rel=0.15)
        assert stream.square == pytest.approx(1 + (k + 1) * ALPHA**2, rel=0.15)
        assert end.channels < 0.05 * end.square, "standardised weights let no mean through"
    assert found.breaks == ()


@pytest.mark.parametrize("act", FUNCTIONS)
def test_branches_of_a_plain_residual_network_grow_without_end(act):
    """With He's weights a relu branch is as large as the stream, so every sum doubles it; others grow faster, since
    their gain, right at variance 1, is too large for a larger input."""
    found, _ = profile(act, False)
    ends = [r for r in found.layers if r.branch == "end"]
    growth = (ends[-1].square / ends[0].square) ** (1 / (BLOCKS - 1))
    assert growth == pytest.approx(2.0, rel=0.1) if act == "relu" else growth > 2.2
    assert ends[-1].channels > 0.7 * ends[-1].square, "the means of channels take over"
    assert all(0.5 < r.square / r.predicted_square < 2.0 for r in ends), "and that is predicted too"

"""The start keeps widths for any formula, and the regularisers are what their formulas say."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import ogive
from ogive.errors import InputError, ParameterError
from ogive.verify.network import Box
from ogive.verify.tracer import trace
from ogive.verify.warmup import balance, hinge, ibp_, ibp_std, interval_growth, tightness
from tests.verify.models import mlp


@pytest.mark.parametrize("radius", [1e-3, 0.5, 4.0])
def test_growth_against_sampling(radius):
    generator = torch.Generator().manual_seed(0)
    c = 1.5 * torch.randn(200_000, generator=generator, dtype=torch.float64)
    for name, f in (("tanh", torch.tanh), ("softplus", nn.functional.softplus)):  # monotone: ends decide
        want = float((f(c + radius) - f(c - radius)).mean()) / (2.0 * radius)
        assert interval_growth(name, 1.5, radius) == pytest.approx(want, rel=0.01)
    lo, hi = torch.cos(c - radius), torch.cos(c + radius)
    peak = torch.ceil((c - radius) / (2 * math.pi)) * 2 * math.pi <= c + radius
    pit = torch.ceil((c - radius - math.pi) / (2 * math.pi)) * 2 * math.pi + math.pi <= c + radius
    most, least = torch.where(peak, 1.0, torch.maximum(lo, hi)), torch.where(pit, -1.0, torch.minimum(lo, hi))
    want = float((most - least).mean()) / (2.0 * radius)
    assert interval_growth("cos(x)", 1.5, radius) == pytest.approx(want, rel=0.01)


def test_relu_has_the_published_constant():
    for n in (10, 784):
        assert ibp_std("relu", n) == pytest.approx(math.sqrt(2 * math.pi) / n, rel=1e-9)


@pytest.mark.parametrize("act", ["relu", "gelu", "tanh", "x*sigmoid(1.3*x)", "sin(x)"])
def test_widths_are_flat_where_those_of_he_explode(act):
    model = mlp(*[act] * 6, inputs=30, width=64)
    x = torch.rand(16, 30)

    def widths():
        network = trace(model, x[:1])
        with torch.no_grad():
            boxes = network.boxes(Box(x - 0.01, x + 0.01))
        return [float((b.hi - b.lo).mean()) / 0.02 for s, b in zip(network.steps, boxes) if s.linear]

    done = ibp_(model, x, 0.01, generator=torch.Generator().manual_seed(0))
    assert all(0.9 < w < 1.1 for w in widths())
    assert [r.width / 0.02 for r in done.layers] == pytest.approx(widths(), rel=1e-6)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.0, (2.0 / layer.in_features) ** 0.5)
    assert widths()[-1] > 10.0


def test_convolutions_and_norms_keep_widths_too():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.SiLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5)
    )
    done = ibp_(model, torch.rand(4, 1, 8, 8), 0.05)
    assert [r.weight for r in done.layers] == ["0", "3", "6"]
    assert all(0.06 < r.width < 0.14 for r in done.layers)


def test_a_failure_leaves_the_weights():
    model = nn.Sequential(nn.Linear(3, 3), ogive.Act("maximum(x - 100, 0)"), nn.Linear(3, 2))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(InputError, match="wider than 0 reaches 2"):
        ibp_(model, torch.rand(2, 3), 0.1)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_hinges():
    assert [hinge(a) for a in ("relu", "gelu", "softplus", "leaky_relu")] == pytest.approx([0.0] * 4, abs=1e-12)
    assert hinge("elu") == pytest.approx(-1.0)
    assert hinge("relu6") is None and hinge("sin(x)") is None


def test_regularisers_by_hand():
    model = nn.Sequential(nn.Linear(2, 4, bias=False), nn.ReLU(), nn.Linear(4, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[4.0, 0.0], [0.0, 4.0], [-8.0, 0.0], [0.0, -2.0]]))
    network = trace(model, torch.ones(1, 2))
    boxes = network.boxes(Box(torch.full((1, 2), 0.9), torch.full((1, 2), 1.1)))
    # widths 0.8, 0.8, 1.6, 0.4 of 0.2: their mean is 0.9, D0/D1 = 2/9
    assert float(tightness(network, boxes, 0.5)) == pytest.approx((0.5 - 2 / 9) / 0.5, rel=1e-5)
    # centres 4, 4 | -8, -2: sums 8 and 10; mean -0.5: squares 40.5 and 58.5
    want = (0.9 - 0.8) / 0.9 + (0.9 - 40.5 / 58.5) / 0.9
    assert float(balance(network, boxes, 0.9)) == pytest.approx(want, rel=1e-5)
    smooth = nn.Sequential(model[0], nn.Tanh(), model[2])
    assert float(balance(trace(smooth, torch.ones(1, 2)), boxes, 0.9)) == 0.0


def test_wrong_numbers():
    with pytest.raises(ParameterError, match="radius"):
        interval_growth("relu", radius=0.0)
    with pytest.raises(InputError, match="eps=0"):
        ibp_(mlp("relu"), torch.rand(2, 6), 0)

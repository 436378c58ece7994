"""What random networks (benchmarks/random_networks.py) found, each in the least form that showed it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import ogive
from ogive.errors import InputError
from ogive.verify.bounding import Bounds
from ogive.verify.network import Box, Unbounded
from ogive.verify.outputs import bound
from ogive.verify.region import Cuboid
from ogive.verify.tracer import trace


@pytest.mark.parametrize("formula", ["1/sqrt(x + 1e-5)", "sqrt(x + 0.3)*x", "(x + 0.3)**1.5"])
def test_an_interval_that_leaves_the_domain_has_no_finite_image(formula):
    lo = torch.tensor([-0.301, -0.31, -1.2e-5, 0.1], dtype=torch.float64)
    hi = torch.tensor([1.0, -0.2, 6.0, 0.5], dtype=torch.float64)
    low, high = ogive.image(formula, lo, hi)
    f = ogive.Act(formula)
    outside = torch.isnan(f(lo))
    assert bool(outside.any()) and not bool(outside[-1])
    assert bool((low[outside] == -math.inf).all() & (high[outside] == math.inf).all())
    assert bool(torch.isfinite(low[-1]) & torch.isfinite(high[-1]))
    lines = ogive.bounds(formula, lo, hi)
    assert bool((lines.upper_intercept[outside] == math.inf).all())


def test_such_a_network_is_refused_by_name():
    model = nn.Sequential(nn.Linear(1, 1), ogive.Act("1/sqrt(x + 1e-5)"))
    nn.init.ones_(model[0].weight)
    nn.init.zeros_(model[0].bias)
    with pytest.raises(Unbounded, match="sqrt"):
        bound(model, torch.full((1, 1), -1e-3), torch.ones(1, 1))


@pytest.mark.parametrize("linear", [False, True])
def test_layer_norm_of_large_signals_in_float32_is_sound_and_finite(linear):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 6), nn.LayerNorm(6), nn.Linear(6, 2)).double().eval()
    with torch.no_grad():
        model[0].weight.mul_(20.0)
    centre = 5.0 * torch.randn(4, 3, dtype=torch.float64)
    network = trace(model, centre[:1])
    lo, hi = (t.unsqueeze(1).float() for t in (centre - 0.5, centre + 0.5))
    with torch.no_grad():
        found = Bounds(network, Cuboid(lo, hi), linear)
        points = lo.double() + torch.rand(500, *lo.shape, dtype=torch.float64) * (hi.double() - lo.double())
        values = {0: points.flatten(0, 1)}
        for step in network.steps[1:]:
            values[step.index] = step.operation.evaluate([values[i] for i in step.inputs])
            y, box = values[step.index].reshape(500, 4, *step.shape), found.boxes[step.index]
            near = 1e-9 * (1.0 + y.abs())
            assert bool((y >= box.lo.double() - near).all() & (y <= box.hi.double() + near).all()), step


def test_sums_of_positive_terms_stay_positive():
    class Mean(nn.Module):
        def forward(self, x):
            return (x * x).mean(1, keepdim=True)

    network = trace(Mean(), torch.zeros(1, 5))
    box = network.boxes(Box(torch.zeros(2, 1, 5), torch.full((2, 1, 5), 1e3)))[network.output]
    assert float(box.lo.min()) == 0.0
    moved = network.boxes(Box(torch.full((1, 1, 5), -2.0), torch.full((1, 1, 5), -1.0)))[1]
    assert float(moved.lo.min()) >= 0.99


def test_a_refusal_inside_an_operator_keeps_its_words():
    class Gate(nn.Module):
        def forward(self, x):
            return x * (torch.sort(x)[0])

    with pytest.raises(InputError, match="torch's sort"):
        trace(Gate(), torch.rand(1, 4))

    class Hidden(nn.Module):
        def forward(self, x):
            return torch.where(x > 0, x, torch.zeros(1)) * torch.special.i0(x)

    with pytest.raises(InputError, match=r"verify: "):
        trace(Hidden(), torch.rand(1, 4))

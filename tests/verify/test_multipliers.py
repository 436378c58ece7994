"""Multipliers of cuts: bounds hold on the cut part of the region, and are above those without them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import ogive
from ogive.verify.bounding import Bounds
from ogive.verify.branch import branched
from ogive.verify.freedom import Multipliers
from ogive.verify.network import Box
from ogive.verify.optimise import tightened
from ogive.verify.region import Cuboid
from ogive.verify.robustness import around, margin_rows
from ogive.verify.tracer import trace


def net(act, seed=0, inputs=2, width=8, outputs=2):
    torch.manual_seed(seed)
    layers = [nn.Linear(inputs, width), ogive.Act(act), nn.Linear(width, width), ogive.Act(act)]
    return nn.Sequential(*layers, nn.Linear(width, outputs)).double()


@pytest.mark.parametrize("upper", [True, False])
@pytest.mark.parametrize("act", ["relu", "sin(x)", "gelu"])
def test_the_bound_holds_where_the_cut_does_and_gains(act, upper):
    gains = 0
    for seed in range(6):
        model = net(act, seed)
        network = trace(model, torch.zeros(1, 2).double())
        region = Cuboid(torch.full((1, 1, 2), -2.0).double(), torch.full((1, 1, 2), 2.0).double())
        source = network.nonlinear[0].inputs[0]
        whole = Bounds(network, region).boxes[source]
        place = 0.5 * whole.lo + 0.5 * whole.hi
        mask = torch.zeros_like(place, dtype=torch.bool)
        mask[..., :3] = True
        lo = torch.where(mask & upper, place, whole.lo)
        hi = torch.where(mask & (not upper), place, whole.hi)
        bounds = Bounds(network, region, True, {source: Box(lo, hi)})
        rows = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64).reshape(2, 1, 1, 2)
        none = torch.zeros_like(mask)
        cuts = {source: (mask, none) if upper else (none, mask)}
        found = tightened(bounds, rows, cuts, 20)
        plain = tightened(bounds, rows, {}, 20)
        x = 4.0 * torch.rand(50_000, 2, dtype=torch.float64) - 2.0
        with torch.no_grad():
            z = model[0](x).unsqueeze(1)
            inside = ((z >= lo) & (z <= hi)).flatten(1).all(1)
            y = model(x[inside])
        if not bool(inside.any()):
            continue
        true = torch.stack([(y[:, 0] - y[:, 1]).min(), (y[:, 1] - y[:, 0]).min()]).unsqueeze(1)
        assert (found <= true + 1e-9).all()
        gains += int((found > plain + 1e-3 * plain.abs()).any())
    assert gains >= 1


def test_terms_are_the_lagrangian_and_pay_for_their_rounding():
    boxes = [Box(torch.tensor([[-1.0, 0.5]], dtype=torch.float64), torch.tensor([[2.0, 3.0]], dtype=torch.float64))]
    below, above = torch.tensor([[True, False]]), torch.tensor([[False, True]])
    made = Multipliers(1, {0: (below, above)}, boxes)
    with torch.no_grad():
        made.parameters()[0].copy_(torch.tensor([[[[2.0, 7.0]]], [[[5.0, 4.0]]]]))  # lo's and hi's, masked
    a = torch.tensor([[[1.0, -1.0]]], dtype=torch.float64)
    with torch.no_grad():
        more, constant = made.terms[0](a)
    assert more.flatten().tolist() == [-2.0, 4.0]  # 2 (lo - z0) + 4 (z1 - hi)
    assert float(constant) == pytest.approx(2.0 * -1.0 - 4.0 * 3.0, abs=1e-12) and float(constant) < -14.0
    with torch.no_grad():
        made.parameters()[0].fill_(-1.0)
    made.clamp()
    assert float(made.parameters()[0].min()) == 0.0


@pytest.mark.parametrize("act", ["relu", "sin(x)"])
def test_branch_and_bound_never_goes_above_the_minimum(act):
    for seed in range(4):
        model = net(act, seed, inputs=12, width=10, outputs=2)
        x = torch.randn(1, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        network = trace(model, x)
        label = model(x).argmax(1)
        region = around(network, x, 0.25, math.inf, None, torch.float64)
        rows = margin_rows(network, label, torch.float64)
        for rounds in (0, 8):
            bound, _ = branched(network, region, rows, 1.5, 5, rounds)
            points = x + 0.25 * (2.0 * torch.rand(20_000, 12, dtype=torch.float64) - 1.0)
            points[:10_000] = x + 0.25 * (points[:10_000] - x).sign()
            with torch.no_grad():
                y = model(points)
            margins = y.gather(1, label.expand(len(y), 1)) - y.gather(1, 1 - label.expand(len(y), 1))
            assert bound <= float(margins.min()) + 1e-9

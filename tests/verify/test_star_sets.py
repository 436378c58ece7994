"""Exact stars tile what a network returns, outer stars hold it, and relaxations give away what theory says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import ogive
from ogive.errors import InputError
from ogive.verify.polytope import Polytope
from ogive.verify.relaxation_gap import ENCODINGS, METHODS, encode, precision
from ogive.verify.star_sets import star

pytest.importorskip("scipy")
BOX = (torch.full((1, 2), -1.5), torch.full((1, 2), 1.5))


def net(act, outputs=2, seed=0, width=6):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, width), ogive.Act(act), nn.Linear(width, outputs)).double()


def area(corners):
    x, y = corners.unbind(1)
    return 0.5 * float((x * y.roll(-1) - y * x.roll(-1)).sum())


def test_stars_of_a_relu_network_tile_the_box_as_enumeration_does():
    model = net("relu")
    reach = star(model, *BOX)
    assert reach.exact
    w, b = model[0].weight.detach(), model[0].bias.detach()
    want = {}
    for signs in itertools.product((1.0, -1.0), repeat=6):  # every pattern, clipped to the box
        s = torch.tensor(signs, dtype=torch.float64)
        cell = Polytope(BOX[0][0].double(), BOX[1][0].double(), -s.unsqueeze(1) * w, s * b).polygon()
        if len(cell) > 2 and area(cell) > 1e-9:
            on = torch.diag((s + 1.0) / 2.0)
            want[signs] = area(cell) * abs(float(torch.linalg.det(model[2].weight.detach() @ on @ w)))
    found = []
    for s in reach.stars:
        found.append(area(s.region.polygon()) * abs(float(torch.linalg.det(s.matrix))))
    assert len(found) == len(want)
    assert sorted(found) == pytest.approx(sorted(want.values()), abs=1e-9)
    assert sum(area(s.region.polygon()) for s in reach.stars) == pytest.approx(9.0, abs=1e-9)


@pytest.mark.parametrize("act", ["relu", "hardtanh", "gelu", "sin(x)"])
def test_every_output_is_in_the_reach_set_and_far_points_are_not(act):
    model = net(act, width=4)
    reach = star(model, *BOX)
    assert reach.exact == (act in ("relu", "hardtanh"))
    x = BOX[0].double() + 3.0 * torch.rand(25, 2, dtype=torch.float64)
    with torch.no_grad():
        y = model(x)
    assert all(reach.contains(v) for v in y)
    low, high = reach.box()
    assert not reach.contains(high + 0.01) and not reach.contains(low - 0.01)


def test_more_lines_are_tighter_and_stay_outside():
    model = net("gelu", outputs=1)
    side = torch.linspace(-1.5, 1.5, 301, dtype=torch.float64)
    with torch.no_grad():
        y = model(torch.cartesian_prod(side, side))
    row = torch.ones(1, dtype=torch.float64)
    ends = [star(model, *BOX, exact=False, lines=k).range(row) for k in (2, 3, 9)]
    for low, high in ends:
        assert low <= float(y.min()) + 1e-9 and high >= float(y.max()) - 1e-9
    # 3 and 9 points contain those of 2 and 3
    assert ends[0][0] - 1e-9 <= ends[1][0] <= ends[2][0] + 1e-9
    assert ends[0][1] + 1e-9 >= ends[1][1] >= ends[2][1] - 1e-9


KNOTS, VALUES = (-0.5, 0.3, 1.0), (2.0, 0.5, 0.2, 0.6, 2.6)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_encodings_are_the_same_function(encoding):
    x = torch.linspace(-1.5, 2.0, 141, dtype=torch.float64)
    values = VALUES if encoding == "nested" else (2.0, 0.5, 0.9, 0.6, -0.4)
    want = np.interp(x.numpy(), (-1.5, *KNOTS, 2.0), values)
    with torch.no_grad():
        got = encode(KNOTS, values, encoding)(x.unsqueeze(1)).flatten().numpy()
    assert np.abs(got - want).max() < 1e-12


def test_a_convex_function_is_exact_for_the_triangle_in_one_writing_and_never_for_intervals():
    lo, hi = torch.tensor([[-1.5]]), torch.tensor([[2.0]])
    for encoding in ENCODINGS:
        model = encode(KNOTS, VALUES, encoding)
        found = {m: precision(model, lo, hi, m) for m in ("ibp", "crown", "zonotope", "triangle")}
        assert found["triangle"].reached == pytest.approx((0.2, 2.6), abs=1e-9)
        assert not found["ibp"].exact
        assert found["triangle"].exact == (encoding == "pivot")
        for m in found:
            assert found[m].gap >= found["triangle"].gap - 1e-6, m


def test_the_maximum_of_two_is_exact_in_no_writing():
    writings = (
        lambda a, b: torch.relu(a - b) + b,
        lambda a, b: 0.5 * (a + b) + 0.5 * torch.relu(a - b) + 0.5 * torch.relu(b - a),
        lambda a, b: torch.relu(a - b) + torch.relu(b) - torch.relu(-b),
    )

    class Written(nn.Module):
        def __init__(self, f):
            super().__init__()
            self.f = f

        def forward(self, x):
            return self.f(x[:, :1], x[:, 1:])

    for f in writings:
        for method in METHODS:
            found = precision(Written(f), torch.zeros(1, 2), torch.ones(1, 2), method)
            assert found.reached == pytest.approx((0.0, 1.0), abs=1e-9)
            assert found.gap > 0.4


def test_ranges_of_smooth_networks_are_enclosed():
    model = net("gelu", outputs=1)
    found = precision(model, *BOX, "crown")
    side = torch.linspace(-1.5, 1.5, 401, dtype=torch.float64)
    with torch.no_grad():
        y = model(torch.cartesian_prod(side, side))
    assert found.outer[0] <= float(y.min()) and found.outer[1] >= float(y.max())
    width = float(y.max() - y.min())
    assert found.reached[0] == pytest.approx(float(y.min()), abs=2e-3 * width)
    assert found.reached[1] == pytest.approx(float(y.max()), abs=2e-3 * width)
    assert found.outer[1] - found.reached[1] <= 2e-4 * width


def test_what_is_refused():
    with pytest.raises(InputError, match="piecewise linear"):
        star(net("gelu"), *BOX, exact=True)
    with pytest.raises(InputError, match="best"):
        precision(net("relu"), *BOX, "best")
    with pytest.raises(InputError, match="slopes fall"):
        encode((0.0,), (0.0, 1.0, 0.0), "nested")
    with pytest.raises(InputError, match="rise"):
        encode((1.0, 0.0), (0.0, 1.0, 0.0, 1.0))

"""Pieces along lines against brute force, and limits along rays against the network far out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import ogive
from ogive.errors import InputError
from ogive.verify.far_rays import far_field
from ogive.verify.line_regions import linear_regions


def net(act, width=16, seed=0, outputs=3):
    torch.manual_seed(seed)
    layers = [nn.Linear(2, width), ogive.Act(act), nn.Linear(width, width), ogive.Act(act), nn.Linear(width, outputs)]
    return nn.Sequential(*layers).double()


def changes(model, x, cuts):
    """Between how many neighbouring points some unit moves over a cut."""
    codes = []
    with torch.no_grad():
        for layer in model[:-1]:
            x = layer(x)
            if isinstance(layer, nn.Linear):
                codes += [x > c for c in cuts]
    code = torch.cat(codes, 1)
    return int((code[1:] != code[:-1]).any(1).sum())


@pytest.mark.parametrize(("act", "cuts"), [("relu", (0.0,)), ("hardtanh", (-1.0, 1.0)), ("hardshrink", (-0.5, 0.5))])
def test_a_segment_against_many_points(act, cuts):
    model = net(act)
    ends = torch.tensor([[-4.0, -3.0], [5.0, 4.0]], dtype=torch.float64)
    found = linear_regions(model, ends)
    t = torch.linspace(0.0, 1.0, 1_000_001, dtype=torch.float64).unsqueeze(1)
    assert found.regions == changes(model, ends[:1] + t * (ends[1:] - ends[:1]), cuts) + 1
    assert found.regions > 10 and found.pieces <= found.regions
    assert found.length == pytest.approx(math.sqrt(130.0))
    # inside every stretch the network is a line
    for a, b in list(zip(found.cuts, found.cuts[1:]))[:10]:
        s = torch.stack([a + (b - a) * k for k in (0.1, 0.5, 0.9)]).unsqueeze(1)
        with torch.no_grad():
            y = model(ends[:1] + s * (ends[1:] - ends[:1]))
        assert float((y[0] + y[2] - 2.0 * y[1]).abs().max()) < 1e-9


def test_a_dead_layer_makes_regions_and_no_pieces():
    model = net("relu", outputs=1)
    with torch.no_grad():
        model[2].bias.fill_(-1e3)
    found = linear_regions(model, torch.tensor([[-2.0, 0.0], [2.0, 1.0]]))
    assert found.regions > 3 and found.pieces == 1


def test_corners_of_a_polyline_are_no_kinks():
    model = net("relu")
    p, q = torch.tensor([[-4.0, -3.0]]), torch.tensor([[5.0, 4.0]])
    whole = linear_regions(model, torch.cat([p, q]))
    parts = linear_regions(model, torch.cat([p, 0.7 * p + 0.3 * q, q]))
    assert (parts.regions, parts.pieces) == (whole.regions, whole.pieces)


def test_a_circle_as_a_curve_and_as_a_polygon_and_growth_with_width():
    def circle(t):
        return 2.0 * torch.stack([torch.cos(2 * math.pi * t), torch.sin(2 * math.pi * t)], 1)

    counts = []
    for width in (10, 20, 40):
        model = net("relu", width)
        found = linear_regions(model, circle)
        polygon = linear_regions(model, circle(torch.linspace(0.0, 1.0, 4001, dtype=torch.float64)))
        assert found.regions == polygon.regions
        assert found.length == pytest.approx(4.0 * math.pi, rel=1e-4)
        counts.append(found.regions)
    assert 1.5 < counts[1] / counts[0] < 3.0 and 1.5 < counts[2] / counts[1] < 3.0  # near linear in neurons


def test_smooth_activations_have_no_pieces():
    with pytest.raises(InputError, match=r"Phi.* is not piecewise linear"):
        linear_regions(net("gelu"), torch.eye(2))


RAYS = torch.randn(50, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(
    "act", ["relu", "leaky_relu", "gelu", "elu", "softplus", "x*sigmoid(1.3*x)", "0.5*x + tanh(x)"]
)
def test_confidence_goes_to_one_where_slopes_stay(act):
    model = net(act)
    origin = torch.tensor([[0.3, -0.2]], dtype=torch.float64)
    found = far_field(model, RAYS, origin)
    t = 1e9
    with torch.no_grad():
        y = model(origin + t * RAYS)
    assert float((y - (found.slopes * t + found.offsets)).abs().max()) < 1e-5
    assert found.certain == 1.0 and found.flat == 0.0
    assert torch.equal(y.argmax(1), found.classes)


@pytest.mark.parametrize("act", ["tanh", "sigmoid", "exp(-x**2)", "relu6", "x*exp(-x**2)"])
def test_bounded_activations_end_at_constants(act):
    model = net(act)
    found = far_field(model, RAYS)
    with torch.no_grad():
        y = model(1e9 * RAYS)
    assert found.flat == 1.0 and found.certain == 0.0
    assert torch.allclose(y.softmax(1).amax(1), found.confidence, atol=1e-9)


def test_a_direction_that_a_unit_does_not_see():
    # the unit looks at x0 only: along x1 it stays at f(b)
    model = nn.Sequential(nn.Linear(2, 1), nn.GELU(), nn.Linear(1, 2)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0.0]]))
    found = far_field(model, torch.tensor([[0.0, 1.0]]))
    with torch.no_grad():
        want = model(torch.zeros(1, 2, dtype=torch.float64))
    assert found.flat == 1.0 and torch.allclose(found.offsets, want)


@pytest.mark.parametrize(("act", "said"), [("sin(x)", "sin"), ("x**2", r"x\*\*2|x\*x"), ("exp(x)", "exp")])
def test_what_becomes_no_affine_map_is_named(act, said):
    with pytest.raises(InputError, match=said):
        far_field(net(act), RAYS)

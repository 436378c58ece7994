"""Trees compute what their networks do, with one leaf for each region that can be reached and no other."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import ogive
from ogive.errors import InputError
from ogive.verify.linear_pieces import linear_pieces
from ogive.verify.tree import Split, to_tree

pytest.importorskip("scipy")


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(2, 5), nn.Linear(5, 5), nn.Linear(5, 2)

    def forward(self, x):
        h = self.a(x).relu()
        return self.c(h + nn.functional.hardtanh(self.b(h)))


def net(act, width=6, seed=0):
    torch.manual_seed(seed)
    layers = [nn.Linear(2, width), ogive.Act(act), nn.Linear(width, width), ogive.Act(act), nn.Linear(width, 3)]
    return nn.Sequential(*layers).double()


def patterns(model, x):
    """The pieces of every unit, by comparing with cuts written out here."""
    codes = []
    for layer in model:
        if isinstance(layer, nn.Linear):
            x = layer(x)
        else:
            cuts = {"relu": (0.0,), "hardtanh": (-1.0, 1.0), "abs(x)": (0.0,)}[str(layer.entry.name or "abs(x)")]
            codes += [(x > c).long() for c in cuts]
            x = layer(x)
    return torch.cat(codes, 1)


@pytest.mark.parametrize("act", ["relu", "hardtanh", "abs(x)"])
def test_values_and_the_number_of_leaves(act):
    model = net(act)
    tree = to_tree(model, torch.full((1, 2), -2.0), torch.full((1, 2), 2.0))
    side = torch.linspace(-2.0, 2.0, 701, dtype=torch.float64)
    x = torch.cartesian_prod(side, side)
    with torch.no_grad():
        assert float((tree(x) - model(x)).abs().max()) < 1e-12
        codes = patterns(model, x)
    seen = len(codes.unique(dim=0))
    assert seen <= len(tree.leaves) <= seen + 2  # a grid can miss a small region and meets no region that is not there
    assert len(tree.leaves) > 5
    points = torch.stack([leaf.region.inner()[1] for leaf in tree.leaves])
    with torch.no_grad():
        assert len(patterns(model, points).unique(dim=0)) == len(tree.leaves)


def test_the_whole_plane_and_a_residual_network():
    torch.manual_seed(1)
    model = Residual().double()
    inf = torch.full((1, 2), math.inf)
    tree = to_tree(model, -inf, inf)
    x = 50.0 * torch.randn(3000, 2, dtype=torch.float64)
    with torch.no_grad():
        assert float((tree(x) - model(x)).abs().max()) < 1e-10
    near = to_tree(model, -torch.ones(1, 2), torch.ones(1, 2))
    assert 1 < len(near.leaves) <= len(tree.leaves)


def test_a_jump_is_a_split_too():
    model = net("hardshrink", width=3)
    tree = to_tree(model, torch.full((1, 2), -3.0), torch.full((1, 2), 3.0))
    x = 6.0 * torch.rand(5000, 2, dtype=torch.float64) - 3.0
    with torch.no_grad():
        assert float((tree(x) - model(x)).abs().max()) < 1e-12
    assert isinstance(tree.root, Split) and tree.to_dict()["leaves"] == len(tree.leaves)


def test_linear_pieces():
    assert linear_pieces("relu6").cuts == (0.0, 6.0)
    p = linear_pieces("0.5*abs(x - 1) + x")
    assert (p.cuts, p.slopes, p.intercepts) == ((1.0,), (0.5, 1.5), (0.5, -0.5))
    with pytest.raises(InputError, match="gelu is not piecewise linear"):
        linear_pieces("gelu")


def test_what_is_refused():
    with pytest.raises(InputError, match="more than 4 linear regions"):
        to_tree(net("relu"), torch.full((1, 2), -2.0), torch.full((1, 2), 2.0), most=4)
    with pytest.raises(InputError, match=r"tanh\(x\) is not piecewise linear"):
        to_tree(net("tanh"), -torch.ones(1, 2), torch.ones(1, 2))
    with pytest.raises(InputError, match="lo < hi"):
        to_tree(net("relu"), torch.ones(1, 2), torch.ones(1, 2))

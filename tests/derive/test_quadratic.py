"""Quadratic constraints hold on random pairs, and say something."""

from __future__ import annotations

import math

import pytest
import torch

import ogive
from ogive.derive.quadratic import group_sort, householder, max_min, slope_interval, slope_restricted
from ogive.errors import OgiveError, ParameterError


def forms(constraints, f, seed=0):
    gen = torch.Generator().manual_seed(seed)
    x = 3 * torch.randn(4000, constraints.size, generator=gen, dtype=torch.float64)
    y = x + 10 ** (2 * torch.rand(4000, 1, generator=gen, dtype=torch.float64) - 2) * torch.randn(
        x.shape, generator=gen, dtype=torch.float64
    )
    z = torch.cat([x - y, f(x) - f(y)], 1)

    def value(m):
        return torch.einsum("ni,ij,nj->n", z, m, z)

    return [value(m) for m in constraints.signed], [value(m) for m in constraints.free]


@pytest.mark.parametrize("name", ["relu", "silu", "tanh", "gelu", "leaky_relu", "sine"])
def test_slopes_are_restricted(name):
    found = slope_restricted(name, 3)
    signed, free = forms(found, ogive.get(name))
    assert len(signed) == 3 and not free and all(v.min() >= -1e-12 for v in signed)
    # somewhere it is tight: the least of 4000 forms is a small part of their mean
    assert all(v.min() < 0.05 * v.mean() for v in signed)


@pytest.mark.parametrize(("name", "alpha", "beta"), [
    ("relu", 0.0, 1.0), ("tanh", 0.0, 1.0), ("sine", -1.0, 1.0), ("silu", -0.0998393201288670, 1.0998393201288670),
    ("gelu", -0.128904145185155, 1.128904145185155), ("leaky_relu", 0.01, 1.0),
])  # fmt: skip
def test_slope_intervals(name, alpha, beta):
    s = slope_interval(name)
    assert (s.alpha, s.beta) == pytest.approx((alpha, beta), abs=1e-12) and s.alpha <= alpha and s.beta >= beta
    assert s.lipschitz == max(abs(s.alpha), s.beta) and s.to_dict()["lo"] == -math.inf


def test_sorting_and_reflecting():
    w = torch.tensor([[1.0, 2.0, -1.0], [0.0, 1.0, 1.0]], dtype=torch.float64)
    unit = w / w.norm(dim=1, keepdim=True)

    def sort(group):
        return lambda x: x.reshape(len(x), -1, group).sort(-1).values.reshape(x.shape)

    def reflect(x):
        x = x.reshape(len(x), 2, 3)
        along = (x * unit).sum(-1, keepdim=True)
        return torch.where(along > 0, x, x - 2 * along * unit).reshape(len(x), 6)

    for made, f in ((group_sort(6, 3), sort(3)), (max_min(4), sort(2)), (householder(w), reflect)):
        signed, free = forms(made, f)
        assert all(v.min() >= -1e-10 for v in signed) and signed[0].max() > 1e-3
        assert free and all(v.abs().max() < 1e-9 for v in free)
        # taking the map for relu breaks the equations: they say something
        assert all(v.abs().max() > 1e-2 for v in forms(made, torch.relu)[1])


def test_bad_input():
    with pytest.raises(ParameterError, match="multiple"):
        group_sort(5, 2)
    with pytest.raises(OgiveError, match="no bounded slope"):
        slope_restricted("x*x", 2)
    assert slope_interval("x*x", -1.0, 2.0).beta >= 4.0
    with pytest.raises(ParameterError, match="nothing"):
        slope_interval("relu", 1.0, 1.0)
    with pytest.raises(ParameterError, match="zero"):
        householder(torch.zeros(1, 2))

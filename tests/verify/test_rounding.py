"""Bounds hold in real arithmetic: exact rational and 200-digit references of the same weights."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import pytest
import torch
from torch import nn

from ogive.verify.backward import lower_bounds
from ogive.verify.bounding import Bounds
from ogive.verify.linear import Dense
from ogive.verify.network import Box
from ogive.verify.outputs import bound
from ogive.verify.region import Cuboid
from ogive.verify.robustness import around
from ogive.verify.rounding import gamma, middle
from ogive.verify.tracer import trace


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_point_region_encloses_the_exact_value_of_a_linear_chain(dtype):
    # huge cancelling weights: plain float evaluation is wrong by far more than an ulp of the result
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(30, 30), nn.Linear(30, 30), nn.Linear(30, 2))
    with torch.no_grad():
        for layer in model:
            layer.weight.mul_(100.0 * torch.randn_like(layer.weight).exp())
    x = torch.randn(3, 30)
    found = bound(model, x, x, dtype=dtype)
    for i, row in enumerate(x):
        v = [Fraction(float(t)) for t in row]
        for layer in model:
            w, b = layer.weight.tolist(), layer.bias.tolist()
            v = [sum((Fraction(a) * z for a, z in zip(r, v)), Fraction(c)) for r, c in zip(w, b)]
        for k in range(2):
            assert Fraction(float(found.lower[i, k])) <= v[k] <= Fraction(float(found.upper[i, k]))
        size = max(abs(float(t)) for t in v)
        assert float((found.upper - found.lower)[i].max()) < (1e-2 if dtype == torch.float32 else 1e-9) * max(size, 1e6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_point_region_encloses_the_exact_value_of_a_network(dtype):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.SiLU(), nn.Linear(8, 2))
    x = torch.randn(3, 4)
    found = bound(model, x, x, dtype=dtype)
    with mpmath.workdps(60):
        for i, row in enumerate(x):
            v = [mpmath.mpf(float(t)) for t in row]
            for layer in model:
                if isinstance(layer, nn.Linear):
                    v = [mpmath.fdot(map(mpmath.mpf, r), v) + mpmath.mpf(c)
                         for r, c in zip(layer.weight.tolist(), layer.bias.tolist())]  # fmt: skip
                else:
                    v = [mpmath.tanh(t) if isinstance(layer, nn.Tanh) else t / (1 + mpmath.exp(-t)) for t in v]
            for k in range(2):
                assert mpmath.mpf(float(found.lower[i, k])) <= v[k] <= mpmath.mpf(float(found.upper[i, k]))
    assert float((found.upper - found.lower).max()) < (1e-3 if dtype == torch.float32 else 1e-11)


def test_without_the_safety_margin_the_same_bounds_would_be_wrong(monkeypatch):
    # what is taken off is needed: with it switched off float32 "bounds" of a point miss the exact value
    monkeypatch.setattr("ogive.verify.backward.gamma", lambda terms, dtype: 0.0)
    monkeypatch.setattr("ogive.verify.region.gamma", lambda terms, dtype: 0.0)
    monkeypatch.setattr("ogive.verify.linear.gamma", lambda terms, dtype: 0.0)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(30, 30), nn.Linear(30, 2))
    x = torch.randn(20, 30)
    network = trace(model, x[:1])
    region = Cuboid(x.unsqueeze(1), x.unsqueeze(1))
    bounds = Bounds(network, region, False)
    rows = torch.eye(2).reshape(2, 1, 1, 2)
    low = lower_bounds(network, network.output, rows, bounds.boxes, bounds.relaxed(network.output), region).mT
    exact = network.evaluate(x.double()).reshape(20, 2)
    assert bool((low.double() > exact).any())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_middle_covers_its_box(dtype):
    torch.manual_seed(0)
    lo = torch.randn(2000, dtype=torch.float64).mul(1e3).to(dtype)
    hi = torch.nextafter(lo, torch.tensor(torch.inf, dtype=dtype))
    hi[::2] = lo[::2] + torch.rand(1000).to(dtype)
    centre, radius = middle(Box(lo, hi))
    for c, r, a, b in zip(centre.tolist(), radius.tolist(), lo.tolist(), hi.tolist()):
        assert Fraction(c) - Fraction(r) <= Fraction(a) and Fraction(c) + Fraction(r) >= Fraction(b)


def test_interval_of_a_linear_layer_against_exact_arithmetic():
    torch.manual_seed(0)
    layer = nn.Linear(20, 5)
    lo = torch.randn(10, 20).double()
    hi = lo + torch.rand(10, 20) * torch.tensor([1e-16, 1.0]).repeat(10)
    box = Dense("linear", layer.weight.detach(), layer.bias.detach()).interval([Box(lo, hi)])
    for i in range(10):
        for k in range(5):
            w = [Fraction(v) for v in layer.weight[k].tolist()]
            ends = [(Fraction(a) * u, Fraction(a) * v) for a, u, v in
                    zip(w, map(Fraction, lo[i].tolist()), map(Fraction, hi[i].tolist()))]  # fmt: skip
            bias = Fraction(float(layer.bias[k]))
            assert Fraction(float(box.lo[i, k])) <= bias + sum(min(e) for e in ends)
            assert Fraction(float(box.hi[i, k])) >= bias + sum(max(e) for e in ends)


def test_gamma_is_above_the_exact_quotient():
    for n in (1, 7, 1000):
        u = Fraction(1, 2**53)
        assert Fraction(gamma(n, torch.float64)) >= n * u / (1 - n * u)


@pytest.mark.parametrize("within", [None, (0.1, 0.9)])
@pytest.mark.parametrize("norm", [math.inf, 2.0])
def test_a_region_in_float32_holds_every_point_of_the_true_one(norm, within):
    # 1 - 0.9999 cancels: rounding 0.9999 to float32 first is off by 2e-8 there; 0.1 itself is no float32
    x = torch.tensor([[1.0, 0.1, -0.3, 1e-9], [0.7, 0.2, 0.5, 3.0]], dtype=torch.float64)
    network = trace(nn.Linear(4, 2).double(), x[:1])
    for eps in (0.9999, 1e-3, 1e-12, 0.0):
        region = around(network, x, eps, norm, within, torch.float32)
        box = region.box()
        for value, lo, hi in zip(x.flatten().tolist(), box.lo.flatten().tolist(), box.hi.flatten().tolist()):
            ends = [Fraction(value) - Fraction(eps), Fraction(value) + Fraction(eps)]
            if within is not None:
                ends = [min(max(e, Fraction(within[0])), Fraction(within[1])) for e in ends]
            assert Fraction(lo) <= ends[0]
            assert ends[1] <= Fraction(hi)
        if norm == 2.0:
            off = (x - region.centre.double().flatten(1)).square().sum(1).sqrt()
            assert bool((region.radius.double() >= eps + off).all())

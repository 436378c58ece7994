"""Monotone layers: what they can fit, the certificate against trained and broken networks, XOR."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

import ogive
from ogive.layers.monotone import MonoDense, is_convex, three_parts
from ogive.layers.monotone_certificate import certify_monotone, slope_bound, slope_range
from ogive.layers.sort import MaxMin


def fit(model, x, y, steps=300, lr=0.03):
    optimiser = torch.optim.Adam(model.parameters(), lr)
    for _ in range(steps):
        optimiser.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimiser.step()
    return float(loss.detach())


def network(inputs, act="elu", signs=1, width=16, split=(7, 7, 2)):
    return nn.Sequential(
        MonoDense(inputs, width, act, signs=signs, split=split),
        MonoDense(width, width, act, split=split),
        MonoDense(width, 1, None),
    )


def test_the_three_parts_are_the_published_ones():
    x = torch.linspace(-3, 3, 61, dtype=torch.float64)
    rho = torch.nn.functional.elu
    first, second, third = three_parts("elu")
    one = rho(torch.ones((), dtype=torch.float64))
    torch.testing.assert_close(first(x), rho(x))
    torch.testing.assert_close(second(x), -rho(-x))
    torch.testing.assert_close(third(x), torch.where(x < 0, rho(x + 1) - one, one - rho(1 - x)))
    assert [is_convex(p) for p in (first, second, third)] == [True, False, False]


@pytest.mark.parametrize("act", ["elu", "softplus", "relu", "leaky_relu", "tanh", "log(1 + exp(2*x))"])
def test_any_nondecreasing_activation_serves(act):
    layer = MonoDense(3, 9, act, signs=(1, -1, 0), split=(1, 1, 1))
    x = torch.randn(64, 3)
    y = layer(x)
    for i, sign in ((0, 1.0), (1, -1.0)):
        moved = x.clone()
        moved[:, i] += 0.7
        assert bool((sign * (layer(moved) - y) >= -1e-6).all())
    assert certify_monotone(layer).holds


@pytest.mark.parametrize("act", ["silu", "gelu", "sin(x)", "x*x", "-x", "floor(-x)"])
def test_what_falls_is_refused_with_the_place(act):
    with pytest.raises(ogive.ParameterError, match="falls between"):
        MonoDense(2, 4, act)


def test_a_surrogate_is_refused():
    with pytest.raises(ogive.ParameterError, match="surrogate"):
        MonoDense(2, 4, "sign")


@pytest.mark.parametrize("target", ["cube", "step"])
def test_it_fits_what_convex_parts_alone_cannot(target):
    x = torch.linspace(-1.5, 1.5, 61)[:, None]
    y = x**3 if target == "cube" else torch.sigmoid(8.0 * x)
    left = {}
    for name, act, split in (("all", "elu", (7, 7, 2)), ("convex", "relu", (1, 0, 0))):
        torch.manual_seed(1)
        model = network(1, act, split=split)
        left[name] = fit(model, x, y) / float(y.var())
        assert certify_monotone(model).holds
    # a convex function of one input: the best fit of an odd cubic or of a step leaves a quarter or so
    assert left["all"] < 0.01
    assert left["convex"] > 0.05


def test_the_certificate_holds_for_trained_networks_and_refuses_broken_ones():
    torch.manual_seed(0)
    x = torch.rand(256, 2) * 2 - 1
    y = (x[:, :1] ** 3 - torch.tanh(3 * x[:, 1:])) + 0.3 * torch.sin(6 * x[:, :1])  # not monotone in the first
    model = network(2, signs=(1, -1))
    fit(model, x, y, 300)
    proof = certify_monotone(model)
    assert proof.holds and repr(proof) == "Monotone(holds, signs=(1, -1))"
    assert bool((proof.low[:, 0] >= 0).all()) and bool((proof.high[:, 1] <= 0).all())
    jacobian = torch.func.vmap(torch.func.jacrev(model))(x)[:, 0]
    assert bool((jacobian >= proof.low - 1e-6).all()) and bool((jacobian <= proof.high + 1e-6).all())
    # every way of breaking it is seen: a free sign, a plain layer with one negative weight, a falling activation
    model[0].signs = (1, 0)
    assert not certify_monotone(model, (1, -1)).holds
    model[0].signs = (1, -1)
    last = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        last.weight.fill_(-1e-6)
    broken = certify_monotone(nn.Sequential(*model, last))
    assert not broken.holds and "output 0 by input 0" in broken.reason
    assert not certify_monotone(nn.Sequential(*model, ogive.Act("silu")), (1, -1)).holds
    assert certify_monotone(nn.Sequential(*model, nn.ReLU(), nn.Linear(1, 1)), 0).holds  # nothing asked


def test_an_unconstrained_network_is_refused_when_and_only_when_it_can_fall():
    # adversarially: among small random nets, a certificate never holds where sampling finds a fall
    held = fallen = 0
    x = torch.linspace(-4, 4, 801)[:, None]
    for seed in range(60):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1))
        with torch.no_grad():
            model[0].weight.abs_()
            model[2].weight.add_(0.3)
        falls = bool((model(x).diff(dim=0) < -1e-6).any())
        holds = certify_monotone(model, 1).holds
        assert not (holds and falls), seed
        held, fallen = held + holds, fallen + falls
    assert held > 5 and fallen > 5


def test_other_layers_in_a_certified_network():
    model = nn.Sequential(
        MonoDense(2, 8, signs=(1, -1)), nn.BatchNorm1d(8), MaxMin(), nn.Dropout(0.3), MonoDense(8, 1, None)
    )
    model(torch.randn(32, 2))
    with pytest.raises(ogive.InputError, match=r"1 is BatchNorm1d in training mode"):
        certify_monotone(model)
    model.eval()
    assert certify_monotone(model).holds
    with torch.no_grad():
        model[1].weight[3] = -1.0
    assert not certify_monotone(model).holds
    with pytest.raises(ogive.InputError, match=r"1\.0 is LayerNorm"):
        certify_monotone(nn.Sequential(MonoDense(2, 2), nn.Sequential(nn.LayerNorm(2))))
    with torch.no_grad():
        model[0].weight[0, 0] = float("nan")
    with pytest.raises(ogive.InputError, match="not all finite"):
        certify_monotone(model)


MONOTONE_ACTS = ("relu", "tanh", "softplus", "elu", "hard_sigmoid")


def best_error(make, x, y, tries=3):
    left = []
    for seed in range(tries):
        torch.manual_seed(seed)
        left.append(fit(make(), x, y, 250, 0.05))
    return min(left)


class Nonnegative(nn.Module):
    """Two layers with nonnegative weights and any activation."""

    def __init__(self, act):
        super().__init__()
        self.a, self.b, self.act = nn.Linear(2, 8), nn.Linear(8, 1), ogive.Act(act)

    def forward(self, x):
        h = self.act(nn.functional.linear(x, self.a.weight.abs(), self.a.bias))
        return nn.functional.linear(h, self.b.weight.abs(), self.b.bias)


def test_nonnegative_weights_and_a_monotone_activation_cannot_do_xor():
    x = torch.tensor(list(itertools.product((0.0, 1.0), repeat=2)))
    y = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    # A nondecreasing f has f(1,1) >= f(0,1), f(1,0) >= f(0,0): the best such values are 0, 2/3, 2/3, 2/3
    bound = (0.0 + 3 * (1 / 9) + 1 / 3) / 4
    for act in MONOTONE_ACTS:
        assert best_error(lambda act=act: Nonnegative(act), x, y, 1) >= bound - 1e-6, act
    assert best_error(lambda: Nonnegative("x*cos(x)"), x, y) < 0.01  # GCU turns and escapes


def test_slope_ranges():
    assert slope_range("relu") == (0.0, pytest.approx(1.0, abs=1e-14))
    low, high = slope_range("leaky_relu", negative_slope=0.1)
    assert (low, high) == (pytest.approx(0.1, abs=1e-14), pytest.approx(1.0, abs=1e-14))
    assert slope_bound("lipswish") == pytest.approx(0.99985392738, rel=1e-9)
    assert slope_range("x + sign(x)") == (0.0, float("inf"))
    assert slope_range("x - 1e-12*sign(x)")[0] == -float("inf")  # a jump down, however small


def test_state_shapes_and_repr():
    layer = MonoDense(3, 4, "softplus", signs=(1, 0, -1), bias=False, dtype=torch.float64)
    assert list(layer.state_dict()) == ["weight"] and layer.bias is None
    assert layer(torch.randn(2, 5, 3, dtype=torch.float64)).shape == (2, 5, 4)
    assert repr(layer) == "MonoDense(3, 4, softplus, signs=(1, 0, -1), split=(2, 2, 0), bias=False)"
    w = layer.signed_weight
    assert bool((w[:, 0] >= 0).all()) and bool((w[:, 2] <= 0).all()) and torch.equal(w[:, 1], layer.weight[:, 1])
    assert torch.autograd.gradcheck(layer, (torch.randn(2, 3, dtype=torch.float64, requires_grad=True),))


@pytest.mark.parametrize(
    ("wrong", "text"),
    [({"signs": 2}, "signs=2"), ({"signs": (1, 1, 1)}, "each of 2"), ({"split": (1, 1)}, "three shares"),
     ({"split": (0, 0, 0)}, "three shares"), ({"act": "elu", "beta": 1.0}, "no parameter 'beta'")],
)  # fmt: skip
def test_bad_input(wrong, text):
    with pytest.raises(ogive.ParameterError, match=text):
        MonoDense(2, 4, **wrong)
    with pytest.raises(ogive.InputError, match="2 features"):
        MonoDense(2, 4)(torch.zeros(3, 5))
    with pytest.raises(ogive.ParameterError, match="give signs="):
        certify_monotone(nn.Linear(1, 1))

"""Sorting and reflecting activations: values, norms of inputs and gradients, what is refused."""

from __future__ import annotations

import math

import pytest
import torch

import ogive
from ogive.layers.sort import GroupSort, Householder, MaxMin

LAYERS = [GroupSort(2), GroupSort(4), MaxMin(), Householder(8, dtype=torch.float64), Householder(8, angle=2.3)]


def test_values():
    x = torch.tensor([[3.0, 1.0, 2.0, 5.0, -1.0, 0.0]])
    assert GroupSort(2)(x).tolist() == [[1.0, 3.0, 2.0, 5.0, -1.0, 0.0]]
    assert GroupSort(3)(x).tolist() == [[1.0, 2.0, 3.0, -1.0, 0.0, 5.0]]
    assert GroupSort(6)(x).tolist() == [sorted(x[0].tolist())]
    assert MaxMin()(x).tolist() == [[3.0, 1.0, 5.0, 2.0, 0.0, -1.0]]


def test_channels_may_be_any_dimension():
    x = torch.randn(2, 6, 3, 3)
    torch.testing.assert_close(GroupSort(3, dim=1)(x), GroupSort(3)(x.movedim(1, -1)).movedim(-1, 1))
    layer = Householder(6, dim=1)
    flat = Householder(6)
    torch.testing.assert_close(layer(x), flat(x.movedim(1, -1)).movedim(-1, 1))


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_the_jacobian_is_orthogonal(layer):
    if isinstance(layer, Householder):
        torch.nn.init.uniform_(layer.angle, -3.0, 3.0)
        layer = layer.double()
    for _ in range(20):
        x = torch.randn(8, dtype=torch.float64)
        jacobian = torch.autograd.functional.jacobian(layer, x)
        torch.testing.assert_close(jacobian @ jacobian.T, torch.eye(8, dtype=torch.float64), rtol=0, atol=1e-14)
        g = torch.randn(8, dtype=torch.float64)
        assert float((g @ jacobian).norm()) == pytest.approx(float(g.norm()), rel=1e-14)
    told = layer.certificate()
    assert told.lipschitz == 1.0 and told.gradient_norm_preserving and told.to_dict()["layer"] == repr(layer)


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_no_pair_of_points_moves_apart(layer):
    layer = layer.double()
    a = torch.randn(4000, 8, dtype=torch.float64)
    b = a + torch.randn_like(a) * 10.0 ** (torch.rand(4000, 1, dtype=torch.float64) * 6 - 5)
    ratio = (layer(a) - layer(b)).norm(dim=1) / (a - b).norm(dim=1)
    assert float(ratio.max()) <= 1.0 + 1e-9
    assert float(ratio.max()) > 0.999999  # and some keep their distance


def test_householder_is_maxmin_at_a_quarter_turn_and_continuous_on_its_line():
    x = torch.randn(500, 6, dtype=torch.float64)
    torch.testing.assert_close(Householder(6, dtype=torch.float64)(x), MaxMin()(x))
    layer = Householder(2, angle=0.8, dtype=torch.float64)
    on = torch.tensor([math.cos(0.4), math.sin(0.4)], dtype=torch.float64)  # v.z = 0 there
    off = 1e-12 * torch.tensor([math.sin(0.4), -math.cos(0.4)], dtype=torch.float64)
    torch.testing.assert_close(layer(on + off), layer(on - off), rtol=0, atol=1e-11)


def test_angles_train():
    layer = Householder(2, angle=0.3)
    x = torch.randn(256, 2)
    target = MaxMin()(x)
    optimiser = torch.optim.Adam(layer.parameters(), 0.05)
    for _ in range(150):
        optimiser.zero_grad()
        (layer(x) - target).square().mean().backward()
        optimiser.step()
    assert float(layer.angle.detach()) == pytest.approx(math.pi / 2, abs=1e-2)
    assert layer.no_decay() == ("angle",)
    assert "angle" in Householder(2, learned=False).state_dict() and not list(
        Householder(2, learned=False).parameters()
    )


@pytest.mark.parametrize("layer", [GroupSort(3), MaxMin(), Householder(6, dtype=torch.float64)], ids=repr)
def test_gradients(layer):
    x = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,)) and torch.autograd.gradgradcheck(layer, (x,))
    torch.testing.assert_close(torch.func.vmap(layer)(x), layer(x))
    assert layer(torch.empty(0, 6, dtype=torch.float64)).shape == (0, 6)


def test_bad_input():
    for make, text in ((lambda: GroupSort(1), "size=1"), (lambda: GroupSort(2, 1.0), "dim=1.0"),
                       (lambda: Householder(3), "channels=3"), (lambda: Householder(2, angle=math.inf), "angle=inf")):  # fmt: skip
        with pytest.raises(ogive.ParameterError, match=text):
            make()
    with pytest.raises(ogive.InputError, match=r"multiple of 4; got \(3, 6\)"):
        GroupSort(4)(torch.zeros(3, 6))
    with pytest.raises(ogive.InputError, match="channels=8"):
        Householder(8)(torch.zeros(3, 6))
    with pytest.raises(ogive.InputError, match="floating"):
        MaxMin()(torch.zeros(4, dtype=torch.int64))

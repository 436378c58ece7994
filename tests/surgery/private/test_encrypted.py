"""Circuits compute what the model computes; under CKKS they do so to a few digits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from ogive.errors import InputError, OgiveError, ParameterError
from ogive.surgery.private.autorep import autorep
from ogive.surgery.private.circuit import circuit
from ogive.surgery.private.encrypted import SECURE, encrypt, parameters_for
from ogive.surgery.private.polynomialise import polynomialise
from ogive.surgery.private.polynomials import Polynomial
from ogive.surgery.private.range import PolynomialAct

X = torch.randn(100, 1, 4, 4, generator=torch.Generator().manual_seed(0))


class Residual(nn.Module):
    """Functions in the code, a batch norm, a sum of branches, a reshape."""

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3, padding=1)
        self.pool, self.out, self.drop = nn.AvgPool2d(2), nn.Linear(8, 3), nn.Dropout()

    def forward(self, x):
        h = functional.relu(self.norm(self.a(x)))
        h = h + torch.tanh(self.b(h))
        return self.out(self.drop(self.pool(h)).view(h.size(0), -1))


def residual(degree=2):
    torch.manual_seed(0)
    model = Residual()
    model(X)  # moves the running statistics
    model.eval()
    polynomialise(model, X, degree=degree, time=False)
    return model


def test_a_circuit_computes_what_the_model_does():
    model = residual(3)
    found = circuit(model, X)
    want = model.double()(X.double()).detach().numpy()
    assert found(X.numpy()) == pytest.approx(want, abs=1e-10)
    assert [s.op for s in found.steps] == ["affine", "polynomial", "affine", "polynomial", "add", "affine"]
    assert found.depth == 1 + 2 + 1 + 2 + 1
    assert (found.inputs, found.outputs) == (16, 3)


def test_affine_layers_are_joined_to_one_matrix():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(3, 5), nn.Linear(5, 2))
    found = circuit(model, X)
    assert len(found.steps) == 1
    weight, bias = found.steps[0].weight, found.steps[0].bias
    want = model(X).detach().numpy()
    assert X.flatten(1).numpy() @ weight + bias == pytest.approx(want, abs=1e-5)


def test_a_leading_coefficient_of_nothing_costs_no_level():
    act = PolynomialAct(Polynomial((0.5, 1.0, 1.0, 0.0, 0.0), 0.0, 1.0, -1.0, 1.0))
    assert [s.op for s in circuit(nn.Sequential(act), torch.zeros(1, 4)).steps] == ["affine", "square", "affine"]
    line = PolynomialAct(Polynomial((0.5, 1.0, 1e-3), 0.0, 1.0, -1.0, 1.0))  # its square would be (500 + t)^2
    assert [s.op for s in circuit(nn.Sequential(line), torch.zeros(1, 4)).steps] == ["polynomial"]


def test_degree_two_takes_one_level():
    model = residual(2)
    found = circuit(model, X)
    assert found(X.numpy()) == pytest.approx(model.double()(X.double()).detach().numpy(), abs=1e-10)
    # on an even interval tanh is nearly a line, and (t + h)^2 with a large h would lose digits
    assert [s.op for s in found.steps] == ["affine", "square", "affine", "polynomial", "affine", "add", "affine"]
    assert [s.level for s in found.steps] == [1, 2, 3, 5, 3, 5, 6]


def test_what_autorep_leaves_at_no_budget_is_a_circuit_too():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 2))
    report = autorep(model, X, budget=0.0, steps=12, time=False)
    model.eval()
    with torch.no_grad():
        model[1].powers[:, 0] = torch.tensor([0.3, 0.7, 1e-4])[:, None, None]  # nearly straight
        model[1].powers[:, 2] = 0.0
    found = circuit(model, X)
    assert found.depth == 1 + 2 + 1 + 1 + 1
    assert found(X.numpy()) == pytest.approx(model(X).detach().numpy(), abs=1e-4)
    report.undo()
    autorep(model, X, budget=0.5, steps=2, time=False)
    with pytest.raises(OgiveError, match=r"keeps .*budget=0"):
        circuit(model, X)


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (nn.ReLU(), r"0: ReLU is neither.*polynomialise\(model, data\)"),
        (nn.MaxPool2d(2), r"MaxPool2d is neither.*pool='average'"),
        (nn.Softmax(-1), "Softmax is neither"),
        (nn.LayerNorm(4), "LayerNorm is neither"),
    ],
)
def test_what_is_no_polynomial_is_named(layer, why):
    with pytest.raises(OgiveError, match=why):
        circuit(nn.Sequential(layer), X)


class Product(nn.Module):
    def __init__(self):
        super().__init__()
        self.act = PolynomialAct(Polynomial((0.0, 0.0, 1.0), 0.0, 1.0, -1.0, 1.0))

    def forward(self, x):
        return x * self.act(x)


class Branch(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_models_that_are_no_circuit_are_refused():
    with pytest.raises(OgiveError, match="two results that went through different polynomials"):
        circuit(Product(), X)
    with pytest.raises(OgiveError, match="Branch cannot be traced"):
        circuit(Branch(), X)
    with pytest.raises(OgiveError, match="a vector of 10000 entries"):
        circuit(nn.Sequential(nn.Linear(10000, 2)), torch.zeros(1, 10000))
    with pytest.raises(InputError, match="batch"):
        circuit(nn.Linear(3, 2), torch.zeros(3))


@pytest.mark.parametrize("scale", [26, 40])
def test_parameters_are_secure_and_deep_enough(scale):
    for depth in (1, 4, 9, 14):
        found = parameters_for(depth, 64, scale)
        assert found.levels == depth
        assert sum(found.modulus) <= SECURE[found.ring]
        if found.ring // 2 in SECURE:
            assert sum(found.modulus) > SECURE[found.ring // 2]  # the next smaller ring does not hold it
    assert parameters_for(1, 5000, 26).ring == 16384
    with pytest.raises(OgiveError, match=r"25 multiplications deep.*holds 19"):
        parameters_for(25, 64)
    with pytest.raises(OgiveError, match="20000 entries"):
        parameters_for(1, 20000)
    with pytest.raises(ParameterError, match="scale_bits=60"):
        parameters_for(1, 8, 60)


class Shortcut(nn.Module):
    """Biases everywhere, and a sum of two ciphertexts of different levels."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.down(x + functional.gelu(self.up(x)))


def test_encrypted_agrees_with_plain():
    pytest.importorskip("tenseal")
    torch.manual_seed(0)
    x, model = torch.randn(100, 5), Shortcut()
    polynomialise(model, x, degree=2, time=False)
    ready = encrypt(model, x)
    found = ready.agreement(x[:2])
    assert found.examples == 2
    assert found.plain == pytest.approx(model(x[:2]).detach().numpy(), abs=1e-6)
    assert 0.0 < found.largest_error < 1e-4  # of outputs near 1, at 40 bits of scale
    assert found.same_choice == 1.0
    assert np.abs(found.encrypted - found.plain).max() == found.largest_error
    assert ready.circuit.depth == 4
    assert ready.levels().count("\n") == len(ready.circuit.steps)
    with pytest.raises(InputError, match="takes 5"):
        ready.encrypt(torch.zeros(16))
    with pytest.raises(InputError, match="not finite"):
        ready.encrypt(torch.full((5,), float("nan")))


def test_a_model_too_deep_is_refused_before_any_key_is_made():
    layers = [PolynomialAct(Polynomial((0.0, 1.0, 0.1, 0.0, 0.1), 0.0, 2.0, -2.0, 2.0)) for _ in range(6)]
    with pytest.raises(OgiveError, match="multiplications deep"):
        encrypt(nn.Sequential(*layers), torch.zeros(1, 4))

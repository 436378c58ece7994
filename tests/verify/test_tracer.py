"""A traced network is the model; what cannot be followed is named."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import ogive
from ogive.errors import InputError
from ogive.verify.tracer import trace
from tests.verify.models import MODELS, made, mlp


@pytest.mark.parametrize("name", MODELS)
def test_the_steps_compute_what_the_model_computes(name):
    model, x = made(name)
    network = trace(model, x[:1])
    other = torch.randn_like(x) * 2  # not what it was traced on
    double = copy.deepcopy(model).double()
    for given in (x, other):
        with torch.no_grad():
            want = double(given.double())
        got = network.evaluate(given.double())
        assert torch.allclose(got.reshape(want.shape), want, rtol=1e-6, atol=1e-6)


def test_tracing_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.BatchNorm1d(4), nn.Linear(4, 2)).train()
    before = copy.deepcopy(model.state_dict())
    trace(model, torch.randn(1, 3))
    assert model.training and model[1].training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())


def test_a_self_gated_activation_is_one_formula():
    class Swish(nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(1.702 * x)

    network = trace(mlp(Swish()), torch.randn(1, 6))
    assert [s.operation.name for s in network.nonlinear] == ["x*sigmoid(1.702*x)"]


def test_weights_are_shared_with_the_model():
    model = mlp("tanh")
    network = trace(model, torch.zeros(1, 6))
    x = torch.randn(2, 6)
    with torch.no_grad():
        model[0].weight.mul_(3.0)
        want = model(x).double()
    assert torch.allclose(network.evaluate(x.double()).reshape(2, -1), want, atol=1e-5)


class Reads(nn.Module):
    def forward(self, x):
        return x * 2 if bool(x.sum() > 0) else x


@torch.jit.script
def hidden(x: torch.Tensor) -> torch.Tensor:
    return torch.sinh(x)


class Slope(torch.autograd.Function):
    """sinh, with a gradient of its own: what it computes is what counts."""

    @staticmethod
    def forward(ctx, x):
        return x.sinh()

    @staticmethod
    def backward(ctx, g):
        return g


class Uses(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.f = f

    def forward(self, x):
        return self.f(self.inner(x))


def writes(x):
    y = x.clone()
    y[:, 0] = 0.0
    return y


@pytest.mark.parametrize(("model", "said"), [
    (Reads(), "reads values of the signal"),
    (Uses(hidden), "SinhBackward0 in the model itself is out of sight"),
    (Uses(writes), "writes into part of a tensor"),
    (Uses(lambda x: torch.fft.fft(x).real), "whole or complex numbers"),
    (Uses(lambda x: torch.linalg.inv(x.view(-1, 2, 2)).flatten(1)), "inv in the model itself has no bounds here"),
    (Uses(lambda x: (x, x)), "returns tuple"),
    (nn.BatchNorm1d(4, track_running_stats=False), "statistics of the batch"),
])  # fmt: skip
def test_what_cannot_be_followed_is_named(model, said):
    with pytest.raises(InputError, match=said):
        trace(model, torch.randn(1, 4))


def test_a_change_through_a_view_is_refused_and_not_lost():
    def changed(x):
        y = x.view(-1, 2, 2)
        x.relu_()
        return y.flatten(1)

    with pytest.raises(InputError, match="changed in place"):
        trace(Uses(changed), torch.randn(1, 4))


def test_the_forward_of_a_custom_function_is_followed():
    network = trace(Uses(Slope.apply), torch.randn(1, 4))
    assert [s.operation.name for s in network.nonlinear] == ["sinh(x)"]


def test_a_surrogate_is_bounded_by_its_forward_function_and_says_so():
    entry = ogive.define(lambda x: ogive.ops.sign(x), backward=lambda x: 1.0 / (1.0 + x * x))
    network = trace(mlp(ogive.Act(entry)), torch.randn(1, 6))
    assert len(network.notes) == 1 and "surrogate" in network.notes[0]


def test_functions_of_ogive_are_seen():
    network = trace(Uses(ogive.catalogue.golu), torch.randn(1, 4))
    assert [s.operation.name for s in network.nonlinear] == ["x*exp(-exp(-x))"]

"""Scaled weight standardisation with the gain of the activation before each layer."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

import ogive
from ogive.surgery import ScaledStandardisation, init_, sites, standardise_


def net(act=nn.ReLU, depth=8):
    layers = [nn.Conv2d(3, 64, 3, padding=1, padding_mode="circular")]
    for _ in range(depth):
        layers += [act(), nn.Conv2d(64, 64, 3, padding=1, padding_mode="circular")]
    return nn.Sequential(*layers, act(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 5))


X = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(5))


def moments(model):
    """Mean squares behind every convolution."""
    with torch.no_grad():
        return [float(model[: k + 1](X).square().mean()) for k, m in enumerate(model) if isinstance(m, nn.Conv2d)]


def test_gains_are_those_of_the_paper():
    gains = standardise_(net(), X)
    assert gains["0.weight"] == 1.0
    assert gains["2.weight"] == pytest.approx(math.sqrt(2 / (1 - 1 / math.pi)), rel=1e-9)
    assert "20.weight" not in gains, "the classifier is left"
    assert standardise_(net(nn.SiLU), X)["4.weight"] == pytest.approx(1.78719, rel=1e-5)


def test_weights_have_mean_zero_and_the_variance_of_the_gain():
    model = net()
    with torch.no_grad():
        model[2].weight.add_(0.3)
    standardise_(model, X)
    weight = model[2].weight.detach()
    assert float(weight.mean((1, 2, 3)).abs().max()) < 1e-6
    assert weight.square().sum((1, 2, 3)).tolist() == pytest.approx([2 / (1 - 1 / math.pi)] * 64, rel=1e-5)


def test_a_mean_of_the_weights_does_no_harm():
    model = net(nn.ReLU, 12)
    with torch.no_grad():
        for m in model:
            if isinstance(m, nn.Conv2d):
                m.weight.add_(0.05)
                m.bias.zero_()
    plain = moments(model)
    assert plain[-1] > 100.0 * plain[0]
    standardise_(model, X)
    assert all(0.3 < s < 3.0 for s in moments(model)), moments(model)


def test_gradients_reach_the_weight_and_its_gain_and_it_can_be_made_permanent():
    model = net(depth=1)
    standardise_(model, X)
    model(X).sum().backward()
    held = model[2].parametrizations.weight
    assert held.original.grad.abs().sum() > 0
    assert held[0].gain.grad.abs().sum() > 0
    want = model(X).detach()
    parametrize.remove_parametrizations(model[2], "weight")
    torch.testing.assert_close(model(X), want)
    assert [s.label for s in sites(model, X)] == ["relu", "relu"]


def test_a_plain_parametrisation_without_learned_gain():
    layer = nn.Linear(10, 4)
    parametrize.register_parametrization(layer, "weight", ScaledStandardisation(layer.weight, 2.0, learned=False))
    assert layer.weight.square().sum(1).tolist() == pytest.approx([4.0] * 4, rel=1e-5)
    assert [n for n, _ in layer.named_parameters()] == ["bias", "parametrizations.weight.original"]
    assert "gain=2" in repr(layer)


def test_standardised_models_can_be_initialised_and_bad_input_is_named():
    model = net(depth=2)
    standardise_(model, X)
    assert "2.weight" in [row.weight for row in init_(model, X).layers]
    with pytest.raises(ogive.InputError, match=r"0\.weight has a parametrisation"):
        standardise_(model, X)
    with pytest.raises(ogive.InputError, match="no weight"):
        standardise_(nn.Sequential(nn.ReLU(), nn.Linear(12, 2)), X)

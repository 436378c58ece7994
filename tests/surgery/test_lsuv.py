"""Layer-sequential unit variance on data, for any activation, in one run."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import ogive
from ogive.surgery import lsuv_
from tests.surgery.models import Block, Functional, Hidden, mlp

X = 3.0 + 5.0 * torch.randn(256, 128, generator=torch.Generator().manual_seed(99))


def outputs(model, x):
    """Variance of the output of every linear layer, by plain hooks."""
    found, hooks = [], []
    for layer in model.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            hooks.append(layer.register_forward_hook(lambda m, a, y: found.append(float(y.detach().var(correction=0)))))
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("act", ["relu", "tanh", "sin(3*x)", "golu", "hardtanh", "abs(x)"])
def test_every_layer_has_unit_variance_on_data_that_is_not_standardised(act):
    model = mlp(lambda: ogive.Act(act), depth=30, width=128)
    report = lsuv_(model, X)
    assert outputs(model, X) == pytest.approx([1.0] * 31, abs=1e-4)
    assert len(report.layers) == 31
    assert max(map(len, repr(report).splitlines())) <= 80


def test_layers_of_any_kind_are_reached():
    class Maxout(nn.Module):
        def forward(self, x):
            return x.unflatten(1, (2, -1)).amax(1)

    model = nn.Sequential(nn.Conv2d(3, 8, 3), Maxout(), nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5))
    x = torch.rand(32, 3, 8, 8)
    lsuv_(model, x)
    assert outputs(model, x) == pytest.approx([1.0] * 3, abs=1e-4)
    functional = Functional(128)
    assert [row.weight for row in lsuv_(functional, X).layers] == [f"maps.{i}.weight" for i in range(7)]
    assert len(lsuv_(Hidden(128), X).layers) == 2, "also behind a custom autograd function"
    residual = nn.Sequential(*(Block(128, "tanh") for _ in range(3)))
    lsuv_(residual, X)
    assert outputs(residual, X) == pytest.approx([1.0] * 6, abs=1e-4)


def test_biases_stay_and_are_counted():
    model = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 8))
    nn.init.normal_(model[0].bias)
    bias = model[0].bias.detach().clone()
    report = lsuv_(model, X, orthonormal=False)
    assert torch.equal(model[0].bias, bias)
    with torch.no_grad():
        assert float((model[0](X) - bias).var(correction=0)) == pytest.approx(1.0, abs=1e-4)
    assert [row.after for row in report.layers] == pytest.approx([1.0, 1.0], abs=1e-4)


def test_means_are_removed_on_request():
    model = nn.Sequential(nn.Linear(128, 64), nn.Softplus(), nn.Linear(64, 8))
    lsuv_(model, X, zero_mean=True)
    with torch.no_grad():
        assert float(model[0](X).mean(0).abs().max()) < 1e-4
        assert float(model(X).mean(0).abs().max()) < 1e-4


def test_several_batches_are_averaged_and_an_iterator_will_do():
    batches = [X[:64], 2.0 * X[64:128], 0.5 * X[128:]]
    model = nn.Sequential(nn.Linear(128, 64), nn.Tanh(), nn.Linear(64, 8))
    lsuv_(model, iter(batches))
    variances = [outputs(model, b)[0] for b in batches]
    product = variances[0] * variances[1] * variances[2]
    assert product == pytest.approx(1.0, rel=1e-3)  # the mean in log scale


def test_orthogonal_weights_stay_orthogonal():
    model = nn.Sequential(nn.Linear(128, 64), nn.GELU(), nn.Linear(64, 8))
    lsuv_(model, X)
    square = model[0].weight.detach() @ model[0].weight.detach().T
    torch.testing.assert_close(square, square[0, 0] * torch.eye(64), rtol=1e-4, atol=1e-5 * float(square[0, 0]))


def test_a_parametrised_weight_is_scaled():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(128, 64)), nn.ReLU(), nn.Linear(64, 8))
    lsuv_(model, X)
    assert outputs(model, X) == pytest.approx([1.0] * 2, abs=1e-4)


def test_what_cannot_be_scaled_is_said_and_overflow_restores_the_model():
    class Dead(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(128, 16), nn.Linear(16, 4)

        def forward(self, x):
            return self.b(self.a(x).clamp(0.0, 0.0))

    assert ("b.weight", "its output is constant") in lsuv_(Dead(), X).left
    model = nn.Sequential(nn.Linear(128, 16), nn.ReLU(), nn.Linear(16, 4))
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(ogive.OgiveError, match=r"0\.weight is not finite"):
        lsuv_(model, X * torch.inf)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))
    with pytest.raises(ogive.ParameterError, match="variance=0"):
        lsuv_(model, X, variance=0)
    with pytest.raises(ogive.InputError, match="empty"):
        lsuv_(model, [])
    with pytest.raises(ogive.InputError, match="no linear map"):
        lsuv_(nn.ReLU(), X)

"""Function-space distance from gate statistics: exact cases, the model behind it by sampling, real networks, bad input."""

from __future__ import annotations

import copy
import json
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import ogive
from ogive.errors import InputError, ParameterError
from ogive.probe.function_distance import function_distance, gate_statistics


def data(examples=200, width=6):
    x = torch.randn(examples, width, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return x @ torch.randn(width, width, generator=torch.Generator().manual_seed(4), dtype=torch.float64) / 2 + 0.3


def net(act, width=6, hidden=40, outputs=3):
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(width, hidden), act(), nn.Linear(hidden, hidden), act(), nn.Linear(hidden, outputs)
    ).double()


def moved(model, scale, seed=0):
    other, generator = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in other.parameters():
            p += scale * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return other


def true(model, other, x, metric=None):
    with torch.no_grad():
        gap = other(x) - model(x)
    return float((gap @ (torch.eye(gap.shape[1]).to(gap) if metric is None else metric) * gap).sum(1).mean())


def test_a_chain_of_linear_layers_is_exact_for_large_changes_and_any_metric():
    model, x = net(nn.Identity), data()
    kept, other = gate_statistics(model, x), moved(model, 0.5)
    root = torch.randn(3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for metric in (None, root @ root.T):
        assert function_distance(kept, other, metric).item() == pytest.approx(true(model, other, x, metric), rel=1e-11)
    assert function_distance(kept, model).item() == 0.0


def test_a_change_behind_one_unit_is_exact():
    """It meets the activation of the old network, whose mean and variance are kept."""
    for act in (nn.ReLU, nn.Tanh, nn.SiLU):
        torch.manual_seed(1)
        model, x = nn.Sequential(nn.Linear(6, 40), act(), nn.Linear(40, 3)).double(), data()
        kept, other = gate_statistics(model, x), copy.deepcopy(model)
        with torch.no_grad():
            other[2].bias += 0.7
            other[2].weight[:, 5] += 0.4
        assert function_distance(kept, other).item() == pytest.approx(true(model, other, x), rel=1e-11)


def test_statistics_are_those_of_the_run():
    x = data()
    for act, slope in ((nn.ReLU, lambda z: (z > 0).double()), (nn.Tanh, lambda z: 1 - z.tanh() ** 2)):
        model = net(act)
        kept = gate_statistics(model, x)
        z = model[:3](x).detach()
        second = kept.layers[1]
        assert torch.allclose(second.slope, slope(z).mean(0), rtol=1e-12)
        assert torch.allclose(second.slope_square, slope(z).square().mean(0), rtol=1e-12)
        assert torch.allclose(second.variance, act()(z).var(0, correction=0), rtol=1e-12)
        assert torch.allclose(kept.covariance, torch.cov(x.T, correction=0), rtol=1e-12)
        assert [g.activation is None for g in kept.layers] == [False, False, True]
    assert torch.equal(gate_statistics(net(nn.ReLU), x).layers[0].slope, (net(nn.ReLU)[0](x) > 0).double().mean(0))


def test_it_is_the_mean_over_random_gates():
    """Drawn: d = s e with independent gates, a = E a + m (z - E z) + r; 400,000 draws, far from the data's size."""
    model, x = net(nn.ReLU, hidden=5), data()
    kept, other = gate_statistics(model, x), moved(model, 0.3)
    generator, draws = torch.Generator().manual_seed(9), 400_000
    normal = torch.randn(draws, 6, generator=generator, dtype=torch.float64)
    a = kept.mean + normal @ torch.linalg.cholesky(kept.covariance).T
    d, mean, spread = torch.zeros_like(a), kept.mean, kept.covariance
    for k, gates in enumerate(kept.layers):
        new, bias = other[2 * k].weight.detach(), other[2 * k].bias.detach()
        z = a @ gates.weight_value.T + gates.bias_value
        e = d @ new.T + a @ (new - gates.weight_value).T + bias - gates.bias_value
        if gates.activation is None:
            break
        m, centre = gates.slope, gates.weight_value @ mean + gates.bias_value
        inside = gates.weight_value @ spread @ gates.weight_value.T
        rest = (gates.variance - m**2 * inside.diagonal()).clamp_min(0.0)
        noise = torch.randn(z.shape, generator=generator, dtype=torch.float64)
        a = gates.mean + m * (z - centre) + noise * rest.sqrt()
        d = torch.bernoulli(m.expand_as(e), generator=generator) * e
        mean, spread = gates.mean, m[:, None] * inside * m + rest.diag()
    assert function_distance(kept, other).item() == pytest.approx(e.square().sum(1).mean().item(), rel=0.01)


@pytest.mark.parametrize("act", ["relu", "gelu", "tanh", "silu"])
def test_small_changes_of_a_real_network_are_predicted(act):
    model, x = net(lambda: ogive.Act(act), width=32, hidden=64), data(600, 32)
    kept = gate_statistics(model, x)
    pairs = [(function_distance(kept, o).item(), true(model, o, x)) for o in (moved(model, 0.02, s) for s in range(20))]
    for predicted, found in pairs:
        assert predicted == pytest.approx(found, rel=0.3)
    assert math.prod(p / t for p, t in pairs) ** (1 / 20) == pytest.approx(1.0, rel=0.1)


def test_it_can_be_trained_on_and_is_never_negative():
    model, x = net(nn.ReLU), data()
    kept, other = gate_statistics(model, x), moved(model, 0.2)
    function_distance(kept, other).backward()
    step = 1e-6
    p = other[2].weight
    shifted = copy.deepcopy(other)
    with torch.no_grad():
        shifted[2].weight[3, 4] += step
    rate = (function_distance(kept, shifted) - function_distance(kept, other)).item() / step
    assert rate == pytest.approx(float(p.grad[3, 4]), rel=1e-3)
    optimiser = torch.optim.Adam(other.parameters(), lr=0.01)
    first = function_distance(kept, other).item()
    for _ in range(100):
        optimiser.zero_grad()
        loss = function_distance(kept, other)
        loss.backward()
        optimiser.step()
        assert loss >= 0.0
    assert loss.item() < 0.05 * first and true(model, other, x) < 0.1 * first
    shrunk = copy.deepcopy(model)
    with torch.no_grad():
        for k in (0, 2):
            shrunk[k].weight *= -1.0
    assert function_distance(kept, shrunk).item() > 0.0


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(12, 5), nn.Linear(5, 2, bias=False)

    def forward(self, x):
        h = self.a(x.flatten(1))
        return functional.softplus(self.b(functional.dropout(h * torch.sigmoid(h), 0.5, self.training)))


def test_functions_changes_of_shape_and_an_activation_at_the_end():
    torch.manual_seed(0)
    model, x = Functional().double(), torch.randn(300, 3, 4, dtype=torch.float64)
    kept = gate_statistics(model, x)
    assert [g.activation.label for g in kept.layers] == ["silu", "softplus"] and kept.layers[1].bias == ""
    other = moved(model.eval(), 0.01)
    assert function_distance(kept, other).item() == pytest.approx(true(model, other, x), rel=0.35)
    assert json.loads(json.dumps(kept.to_dict()))["layers"][1]["weight"] == "b.weight"
    assert repr(kept) == "GateStatistics(300 examples, 12 inputs, 2 layers, 7 units of silu, softplus)"


def test_what_is_no_chain_is_named():
    x = torch.randn(8, 1, 4, 4)
    with pytest.raises(InputError, match=r"conv2d.*positions"):
        gate_statistics(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2)), x)
    with pytest.raises(InputError, match="layer_norm in 1 is neither"):
        gate_statistics(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2)), torch.randn(8, 4))

    class Skip(nn.Linear):
        def forward(self, x):
            return x + torch.relu(super().forward(x))

    with pytest.raises(InputError, match="add"):
        gate_statistics(nn.Sequential(Skip(4, 4), nn.Linear(4, 2)), torch.randn(8, 4))
    for bad in (torch.randn(1, 4), torch.randn(4), torch.ones(3, 4, dtype=torch.long), "x"):
        with pytest.raises(InputError, match="data is"):
            gate_statistics(nn.Linear(4, 2), bad)
    kept = gate_statistics(nn.Sequential(nn.Linear(4, 3)), torch.randn(9, 4))
    with pytest.raises(InputError, match=r"0\.weight of shape \(3, 4\); its shape is \(2, 4\)"):
        function_distance(kept, nn.Sequential(nn.Linear(4, 2)))
    with pytest.raises(InputError, match="missing"):
        function_distance(kept, nn.Linear(4, 3))
    with pytest.raises(ParameterError, match=r"shape \(2, 2\); it takes \(3, 3\)"):
        function_distance(kept, nn.Sequential(nn.Linear(4, 3)), torch.eye(2))

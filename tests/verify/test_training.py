"""Worst logits bound what any point has, and training by them makes verdicts provable."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional

import ogive
from ogive.errors import InputError
from ogive.verify.robustness import around, verify
from ogive.verify.tracer import trace
from ogive.verify.training import certified_fit, warm, worst_logits
from tests.verify.models import around as points_around
from tests.verify.models import made, mlp


@pytest.mark.parametrize("method", ["ibp", "crown-ibp"])
@pytest.mark.parametrize("name", ["relu", "smooth", "periodic", "residual", "convolution"])
def test_the_loss_is_above_that_of_every_point(name, method):
    model, x = made(name)
    y = torch.tensor([0, 1, 2, 0])
    network = trace(model, x[:1])
    region = around(network, x, 0.05, math.inf, None, torch.float64)
    for share in (1.0, 0.3):
        logits, _ = worst_logits(network, region, y, method, share)
        bound = functional.cross_entropy(logits, y, reduction="none")
        points = points_around(x, 0.05)
        scores = network.evaluate(points.flatten(0, 1)).reshape(*points.shape[:2], -1)
        loss = functional.cross_entropy(scores.flatten(0, 1), y.repeat(len(points)), reduction="none")
        assert (loss.reshape(len(points), -1) <= bound + 1e-9).all()
        assert (logits.argmax(1)[(logits <= 0).all(1)] == y[(logits <= 0).all(1)]).all()


@pytest.mark.parametrize("method", ["ibp", "crown-ibp"])
def test_gradients_reach_the_weights_as_differences_say(method):
    torch.manual_seed(0)
    model = mlp("gelu", "sin(x)", width=5).double()
    x, y = torch.randn(3, 6, dtype=torch.float64), torch.tensor([0, 1, 2])

    def loss():
        network = trace(model, x[:1], live=True)
        region = around(network, x, 0.05, math.inf, None, torch.float64)
        with torch.enable_grad():
            return functional.cross_entropy(worst_logits(network, region, y, method)[0], y)

    loss().backward()
    for layer in (model[0], model[2]):
        for place in ((0, 0), (3, 2)):
            kept = float(layer.weight.grad[place])
            sides = []
            for step in (1e-5, -2e-5):
                layer.weight.data[place] += step
                sides.append(float(loss().detach()))
            layer.weight.data[place] += 1e-5
            assert (sides[0] - sides[1]) / 2e-5 == pytest.approx(kept, rel=2e-3, abs=1e-6)


def blobs(n=240):
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(3, (n,), generator=generator)
    centres = torch.tensor([[0.2, 0.2], [0.8, 0.3], [0.4, 0.8]])
    return centres[y] + 0.05 * torch.randn(n, 2, generator=generator), y


@pytest.mark.parametrize("act", ["relu", "x*sigmoid(1.3*x)"])
def test_training_proves_what_plain_training_does_not(act):
    x, y = blobs()

    def net():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(2, 32), ogive.Act(act), nn.Linear(32, 32), ogive.Act(act), nn.Linear(32, 3))

    model, plain = net(), net()
    fit = certified_fit(model, x, y, 0.15, 40, batch=60, rate=0.01)
    certified_fit(plain, x, y, 0.0, 40, batch=60, rate=0.01)
    ours, theirs = (verify(m, x, 0.15, labels=y, method="ibp", attacks=False).verified for m in (model, plain))
    assert ours > 0.8 and ours > theirs + 0.2
    assert 1.0 - fit.epochs[-1].uncertified == pytest.approx(ours, abs=0.05)
    assert [e.eps for e in fit.epochs] == sorted(e.eps for e in fit.epochs) and fit.epochs[-1].eps == 0.15


def test_the_same_seed_gives_the_same_network():
    x, y = blobs(60)
    made_ = []
    for _ in range(2):
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.SiLU(), nn.Linear(8, 3))
        certified_fit(model, x, y, 0.05, 4, batch=20, seed=1)
        made_.append(model)
    for a, b in zip(*(m.state_dict().values() for m in made_)):
        assert torch.equal(a, b)


def test_parameters_without_gradient_are_named():
    x, y = blobs(40)
    model = nn.Sequential(nn.Linear(2, 8), ogive.Act("swish", beta=ogive.learn("layer")), nn.Linear(8, 3))
    fit = certified_fit(model, x, y, 0.05, 2, ramp=(0.0, 0.5))
    assert fit.idle and all(k.startswith("1.") for k in fit.idle)
    assert "no gradient" in repr(fit)


def test_the_schedule_is_smooth_and_rises():
    values = [warm(t / 1000) for t in range(1001)]
    assert values[0] == 0.0 and values[-1] == pytest.approx(1.0) and values == sorted(values)
    steps = [b - a for a, b in pairwise(values)]
    assert max(abs(b - a) for a, b in pairwise(steps)) < 2e-5


@pytest.mark.parametrize(("more", "said"), [
    ({"eps": -0.1}, "eps=-0.1"), ({"method": "best"}, "best"), ({"epochs": 0}, "epochs=0"),
    ({"labels": torch.zeros(60)}, "whole numbers"), ({"data": torch.zeros(60)}, "first dimension"),
])  # fmt: skip
def test_wrong_arguments(more, said):
    x, y = blobs(60)
    given = {"data": x, "labels": y, "eps": 0.1, "epochs": 1, **more}
    with pytest.raises(InputError, match=said):
        certified_fit(mlp("relu", inputs=2), **given)

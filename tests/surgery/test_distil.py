"""Exchange with distillation: training brings the model back, in turn or at once, and undo brings back every bit."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

import ogive
from ogive.errors import OgiveError, ParameterError
from ogive.surgery.distil import distil

X = torch.randn(256, 8, generator=torch.Generator().manual_seed(0))


def net():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 4), nn.Tanh())


@pytest.mark.parametrize("order", ["one by one", "all at once"])
@pytest.mark.parametrize("train", ["around", "all"])
def test_training_brings_the_model_back(order, train):
    model = net()
    before = copy.deepcopy(model)
    report = distil(model, X, {"gelu": "relu"}, steps=80, lr=5e-3, order=order, train=train, time=False)
    assert [(c.site, c.after) for c in report.changes] == [("1", "relu"), ("3", "relu")]
    assert report["relative change"].after < 0.4 * report["relative change, untrained"].after
    swapped = net()
    ogive.swap(swapped, {"gelu": "relu"}, X, time=False)
    with torch.no_grad():
        want, off = before(X), swapped(X)
    untrained = float(((off - want).norm(dim=1) / want.norm(dim=1)).mean())
    assert report["relative change, untrained"].after == pytest.approx(untrained, rel=1e-5)
    assert [s.label for s in ogive.sites(model, X)] == ["relu", "relu", "tanh"]
    assert max(map(len, repr(report).splitlines())) <= 80
    report.undo()
    assert all(torch.equal(v, before.state_dict()[k]) for k, v in model.state_dict().items())
    assert torch.equal(model(X), before(X))
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_only_the_weights_around_are_trained():
    model = net()
    before = copy.deepcopy(model.state_dict())
    distil(model, X, {"1": "relu"}, steps=5, time=False)
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {"0.weight", "0.bias", "2.weight", "2.bias"}


def test_one_site_alone_in_turn_is_all_at_once():
    made = []
    for order in ("one by one", "all at once"):
        model = net()
        distil(model, X, {"3": "relu"}, steps=10, order=order, time=False)
        made.append(model(X))
    assert torch.equal(*made)


def test_batches_and_modes_and_seeds():
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.GELU(), nn.Dropout(0.5), nn.Linear(16, 2))
    model(X)
    model.train()
    kept = model[1].running_mean.clone()
    batches = [(X[:100],), (X[100:200],)]
    states = []
    for _ in range(2):
        copied = copy.deepcopy(model)
        report = distil(copied, batches, {"gelu": "relu"}, steps=7, seed=3)
        states.append(copied.state_dict())
        assert copied.training
        assert copied[3].training
        assert torch.equal(copied[1].running_mean, kept)
        assert report["time of a batch"].after > 0.0
    assert all(torch.equal(v, states[1][k]) for k, v in states[0].items())


def test_functions_in_code_and_fits():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.down = nn.Linear(8, 32), nn.Linear(32, 8)

        def forward(self, x):
            return x + self.down(nn.functional.gelu(self.up(x)))

    torch.manual_seed(0)
    model = nn.Sequential(Block(), Block())
    before = model(X).detach()
    kept = distil(copy.deepcopy(model), X, {"gelu": "relu"}, steps=60, lr=3e-3, time=False)
    assert kept["relative change"].after < 0.7 * kept["relative change, untrained"].after
    report = distil(model, X, {"gelu": "relu"}, steps=60, lr=3e-3, fit="refit", time=False)
    assert [c.after for c in report.changes] == ["relu, fitted", "relu, fitted"]
    assert report["relative change, untrained"].after < 0.7 * kept["relative change, untrained"].after
    report.undo()
    assert torch.equal(model(X), before)


def test_errors_leave_the_model():
    with pytest.raises(ParameterError, match="did you mean 'one by one'"):
        distil(net(), X, {"gelu": "relu"}, order="one by none")
    with pytest.raises(ParameterError, match="steps=0"):
        distil(net(), X, {"gelu": "relu"}, steps=0)
    model = net()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(OgiveError, match="no site fits"):
        distil(model, X, {"silu": "relu"})
    with pytest.raises(OgiveError, match="smaller lr"):
        distil(model, X, {"gelu": "relu"}, steps=5, lr=1e30)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert isinstance(model[1], nn.GELU)
    scores = iter([0.0, KeyboardInterrupt()])

    def score(m):
        value = next(scores)
        if isinstance(value, BaseException):
            raise value
        return value

    with pytest.raises(KeyboardInterrupt):
        distil(model, X, {"gelu": "relu"}, steps=3, score=score)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not math.isnan(float(model(X).sum()))

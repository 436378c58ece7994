"""Rectifiers in the place of what was there: at sites, after norms, on both branches, and all of it taken back."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from ogive.errors import OgiveError, ParameterError
from ogive.surgery.sparsity import perplexity, relufy, sparsity
from tests.surgery.models import RMS, SwiGLU
from tests.surgery.sparsity.decoders import Decoder, text, trained

IDS = text(8, 5)


def by_hand(model, ids, f, norms=False, both=False):
    """The decoder's forward run written out."""
    rectified = torch.relu if norms else lambda x: x
    x, count = model.embed(ids), torch.arange(1, ids.shape[1] + 1)[:, None]
    for i, mlp in enumerate(model.mlps):
        x = x + model.mixes[i](rectified(model.norms[2 * i](x))).cumsum(1) / count
        h = rectified(model.norms[2 * i + 1](x))
        up = torch.relu(mlp.up(h)) if both else mlp.up(h)
        x = x + mlp.down(f(mlp.gate(h)) * up)
    return model.head(model.last(x))


@pytest.mark.parametrize(
    ("options", "f"),
    [
        ({}, torch.relu),
        ({"shift": 0.3}, lambda x: torch.relu(x - 0.3)),
        ({"shift": -0.2}, lambda x: torch.relu(x + 0.2)),
        ({"act": "relu2"}, lambda x: torch.relu(x).square()),
        ({"stage": 2}, torch.relu),
        ({"stage": 2, "both": True, "shift": 0.1}, lambda x: torch.relu(x - 0.1)),
    ],
)
def test_the_model_computes_what_is_written(options, f):
    torch.manual_seed(0)
    model = Decoder()
    want = by_hand(model, IDS, f, options.get("stage") == 2, options.get("both", False))
    before, keys = model(IDS), list(model.state_dict())
    report = relufy(model, IDS, **options, time=False)
    torch.testing.assert_close(model(IDS), want)
    assert list(model.state_dict()) == keys
    assert report["zeros into down projections"].after == sparsity(model, IDS).down > 0.3
    report.undo()
    assert torch.equal(model(IDS), before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_second_stage_makes_the_inputs_of_other_linears_sparse():
    torch.manual_seed(0)
    model = Decoder()
    report = relufy(model, IDS, stage=2, time=False)
    assert ("last", "it feeds the read-out") in report.left
    found = sparsity(model, IDS)
    assert all(0.2 < found[f"mixes.{i}"].zeros < 0.8 for i in range(2))
    assert report["zeros into linears"].after > 2 * report["zeros into linears"].before
    assert report["weights that need no reading"].after > 0.5


def test_a_norm_that_also_goes_round_is_left():
    class After(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.mlp, self.out = RMS(16), SwiGLU(16, 32), nn.Linear(16, 2)

        def forward(self, x):
            x = self.norm(x)
            return self.out(x + self.mlp(x))

    report = relufy(After(), torch.randn(8, 16), stage=2, time=False)
    assert ("norm", "its result also goes elsewhere than into linears") in report.left


def test_a_higher_start_makes_more_zeros():
    torch.manual_seed(0)
    shares = []
    for shift in (-0.3, 0.0, 0.3, 0.6):
        report = relufy(model := Decoder(), IDS, shift=shift, time=False)
        shares.append(report["zeros into down projections"].after)
        report.undo()
    assert shares == sorted(shares)
    assert shares[-1] - shares[0] > 0.2
    assert perplexity(model, IDS).value > 1.0


def test_a_short_fine_tune_wins_the_loss_back():
    model = trained()
    held = text(32, 777)
    dense = perplexity(model, held).nats
    relufy(model, IDS, shift=2.0, time=False)
    cold = perplexity(model, held).nats
    adam = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(25):
        ids = text(8, 5000 + step)
        loss = functional.cross_entropy(model(ids)[:, :-1].transpose(1, 2), ids[:, 1:])
        adam.zero_grad()
        loss.backward()
        adam.step()
    tuned = perplexity(model, held).nats
    assert cold > dense + 0.02
    assert tuned - dense < 0.5 * (cold - dense)
    assert sparsity(model, held).down > 0.4


def test_what_is_left_and_refused():
    relu = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh())
    x = torch.randn(20, 4)
    with pytest.raises(OgiveError, match="relu is a rectifier already"):
        relufy(relu, x)
    with pytest.raises(ParameterError, match="stage=3"):
        relufy(Decoder(), IDS, stage=3)
    with pytest.raises(ParameterError, match="shift="):
        relufy(Decoder(), IDS, shift=math.inf)
    with pytest.raises(ParameterError, match="gelu is not 0 on a half-line"):
        relufy(Decoder(), IDS, act="gelu")

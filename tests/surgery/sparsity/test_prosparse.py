"""ProSparse: the schedule by its formula, the term by its sum, and training that makes zeros."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ogive.errors import OgiveError, ParameterError
from ogive.surgery.sparsity import SineStages, UnitsNorm, feed_forwards, perplexity, prosparse, sparsity
from tests.surgery.models import SwiGLU
from tests.surgery.sparsity.decoders import text, trained


def test_the_factor_follows_the_sines():
    plan = SineStages((10, 50, 80), (0.02, 0.2, 0.5))
    for step in range(100):
        if step < 10:
            want = 0.02
        elif step < 50:
            want = 0.02 + 0.18 * 0.5 * (math.sin(-math.pi / 2 + math.pi * (step - 10) / 40) + 1)
        elif step < 80:
            want = 0.2 + 0.3 * 0.5 * (math.sin(-math.pi / 2 + math.pi * (step - 50) / 30) + 1)
        else:
            want = 0.5
        assert plan.at(step) == pytest.approx(want, abs=1e-15)
    assert all(plan.at(s + 1) >= plan.at(s) for s in range(100))


@pytest.mark.parametrize(
    ("ends", "factors"), [((), ()), ((5, 5), (0.1, 0.2)), ((5, 9), (0.2, 0.1)), ((5,), (0.1, 0.2)), ((5,), (math.inf,))]
)
def test_what_is_no_plan(ends, factors):
    with pytest.raises(ParameterError, match="SineStages"):
        SineStages(ends, factors)


def test_the_term_is_the_mean_of_the_units_and_has_their_gradient():
    torch.manual_seed(0)
    model, x = SwiGLU(16, 32), torch.randn(20, 16)
    with UnitsNorm(model, feed_forwards(model, x)) as norm:
        with pytest.raises(OgiveError, match="run the model first"):
            norm()
        model(x)
        term = norm()
    units = torch.nn.functional.silu(model.gate(x)) * model.up(x)
    assert float(term.detach()) == pytest.approx(float(units.abs().mean().detach()), rel=1e-6)
    (got,) = torch.autograd.grad(term, model.up.weight)
    (want,) = torch.autograd.grad(units.abs().mean(), model.up.weight)
    torch.testing.assert_close(got, want)
    assert not model.down._forward_pre_hooks
    with pytest.raises(OgiveError, match="no feed-forward block"):
        UnitsNorm(model, [])


def test_a_stronger_term_makes_more_zeros_at_a_small_price():
    data = [text(8, 100 + i) for i in range(4)]
    held, shares, nats = text(32, 999), [], []
    for factor in (0.0, 5.0):
        model = trained()
        before = [p.detach().clone() for p in model.parameters()]
        report = prosparse(model, data, steps=40, factor=factor, rate=3e-3, time=False)
        shares.append(sparsity(model, held).down)
        nats.append(perplexity(model, held).nats)
        assert report["perplexity"].after < 1.2 * report["perplexity"].before
        report.undo()
        assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))
        assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    assert shares[1] > shares[0] + 0.05
    assert nats[1] < nats[0] + 0.2


def test_without_tokens_it_stays_near_the_outputs():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(4, 32), nn.GELU(), nn.Linear(32, 2)), torch.randn(100, 4)
    want = model(x).detach()
    prosparse(model, x, steps=200, factor=1e-3, rate=1e-2, threshold=0.0, time=False)
    assert float((model(x) - want).detach().norm() / want.norm()) < 0.3
    assert sparsity(model, x).down > 0.3


def test_a_loss_that_is_not_finite_leaves_the_model():
    model, x = nn.Sequential(nn.Linear(4, 32), nn.GELU(), nn.Linear(32, 2)), torch.randn(100, 4)
    before = model(x)
    with pytest.raises(OgiveError, match="the loss is nan at step 0"):
        prosparse(model, x, loss=lambda m, b: m(b).sum() * float("nan"), time=False)
    assert torch.equal(model(x), before)
    assert isinstance(model[1], nn.GELU)
    with pytest.raises(ParameterError, match="steps=2"):
        prosparse(model, x, steps=2)


def test_a_model_of_rectifiers_is_only_trained_and_cut():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 4)).eval(), torch.randn(100, 8)
    before, outside = {k: v.clone() for k, v in model.state_dict().items()}, model(x)
    report = prosparse(model, x, steps=20, rate=1e-2, factor=1.0, threshold=0.1, time=False)
    assert [c.after for c in report.changes] == ["relu, |f| > 0.1"]
    assert report["zeros into down projections"].after > report["zeros into down projections"].before
    report.undo()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(model(x), outside)

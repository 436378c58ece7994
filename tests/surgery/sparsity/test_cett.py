"""CETT by its definition, and perplexity budgets that are met."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from ogive.errors import InputError, OgiveError
from ogive.surgery.sparsity import cett, perplexity, ppl_sparsity, sparsity
from ogive.surgery.sparsity.cett import Tail
from tests.surgery.models import SwiGLU
from tests.surgery.sparsity.decoders import Decoder, text, trained


@pytest.fixture(scope="module")
def ready():
    return trained()


@pytest.fixture
def decoder(ready):
    return copy.deepcopy(ready)


def by_hand(units, weight, threshold):
    """Mean over tokens of |sum of the small neurons' outputs| / |sum of all|, neuron by neuron."""
    shares = []
    for row in units:
        outputs = row[None, :] * weight  # a column for each neuron
        sizes = np.linalg.norm(outputs, axis=0)
        shares.append(np.linalg.norm(outputs[:, sizes <= threshold].sum(1)) / np.linalg.norm(outputs.sum(1)))
    return float(np.mean(shares))


def test_the_error_is_the_definition():
    rng = np.random.default_rng(0)
    units, weight = rng.normal(size=(20, 30)), rng.normal(size=(5, 30))
    tail = Tail(torch.from_numpy(units), torch.from_numpy(weight))
    for t in (0.1, 0.7, 2.0):
        assert tail.error(t) == pytest.approx(by_hand(units, weight, t), rel=1e-9)
        sizes = np.abs(units) * np.linalg.norm(weight, axis=0)
        assert tail.share(t) == pytest.approx((sizes <= t).mean())


def test_the_threshold_is_the_largest_within_the_error():
    rng = np.random.default_rng(1)
    units, weight = rng.normal(size=(40, 60)), rng.normal(size=(8, 60))
    tail = Tail(torch.from_numpy(units), torch.from_numpy(weight))
    sizes = np.sort((np.abs(units) * np.linalg.norm(weight, axis=0)).ravel())
    for target in (0.05, 0.2, 0.5):
        t = tail.threshold(target)
        following = sizes[np.searchsorted(sizes, t, side="right")]
        assert tail.error(t) <= target < tail.error(following * (1 + 1e-12))
        assert tail.error(t) == pytest.approx(target, rel=0.02)
    assert tail.threshold(0.0) == 0.0


def test_a_block_loses_what_was_said():
    torch.manual_seed(0)
    model, x = SwiGLU(16, 128), torch.randn(400, 16)
    before = model(x)
    report = cett(model, x, target=0.2, time=False)
    lost = ((model(x) - before).norm(dim=1) / before.norm(dim=1)).detach()
    assert float(lost.mean()) == pytest.approx(0.2, abs=1e-3)
    assert report["mean CETT"].after == pytest.approx(0.2, abs=1e-3)
    assert report["zeros into down projections"].after > 0.4
    report.undo()
    assert torch.equal(model(x), before)


@pytest.mark.parametrize("rise", [0.01, 0.05])
def test_the_budget_is_met_within_a_twentieth_of_a_percent(decoder, rise):
    ids = text(64, 10)
    before = perplexity(decoder, ids).value
    report = ppl_sparsity(decoder, ids, rise=rise, time=False)
    after = perplexity(decoder, ids).value
    allowed = before * (1.0 + rise)
    assert abs(after / allowed - 1.0) < 5e-4
    assert after <= allowed * (1.0 + 1e-9)
    assert report["perplexity"].after == pytest.approx(after, rel=1e-6)
    assert report["common CETT"].after > 0.05
    errors = [c.error for c in report.changes]
    assert max(errors) == pytest.approx(min(errors), abs=0.05)  # one CETT for all
    assert report["zeros into down projections"].after == pytest.approx(sparsity(decoder, ids).down)
    report.undo()
    assert perplexity(decoder, ids).value == before


def test_a_larger_budget_makes_more_zeros(decoder):
    ids, shares = text(32, 10), []
    for rise in (0.003, 0.03, 0.3):
        report = ppl_sparsity(decoder, ids, rise=rise, time=False)
        shares.append(report["zeros into down projections"].after)
        report.undo()
    assert shares == sorted(shares)
    assert shares[2] > shares[0] + 0.05


def test_a_budget_that_cannot_be_spent_says_so():
    torch.manual_seed(0)
    model, ids = Decoder(), text(8, 1)
    with torch.no_grad():
        for mlp in model.mlps:
            mlp.down.weight *= 1e-6
    report = ppl_sparsity(model, ids, rise=0.5, time=False)
    assert "Without any neuron" in report.notes[0]
    assert report["zeros into down projections"].after == 1.0


def test_refused(decoder):
    with pytest.raises(InputError, match="rise=0"):
        ppl_sparsity(decoder, text(2, 0), rise=0.0)
    with pytest.raises(InputError, match="no token ids"):
        ppl_sparsity(SwiGLU(16, 32), torch.randn(3, 16))
    with pytest.raises(OgiveError, match="no feed-forward block"):
        cett(nn.Sequential(nn.Linear(4, 4), nn.Tanh()), torch.randn(5, 4))
    ids = text(4, 0)
    report = cett(decoder, ids, time=False)
    with pytest.raises(OgiveError, match="a ThresholdedLinear, not a plain"):
        cett(decoder, ids, time=False)
    report.undo()

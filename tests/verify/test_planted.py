"""Hidden counterexamples are real, no method certifies one, and broken bounds are caught by them."""

from __future__ import annotations

import pytest
import torch

from ogive.errors import InputError
from ogive.verify.attack import margins
from ogive.verify.formula import Formula
from ogive.verify.network import Box
from ogive.verify.planted import hidden, selftest
from ogive.verify.robustness import verify

LABEL = torch.zeros(1, dtype=torch.long)


@pytest.fixture(scope="module")
def score():
    return selftest(["relu", "tanh", "silu", "sin(x)", "x*sigmoid(1.3*x)", "exp(-x**2)"], count=1, budget=0.3)


def test_no_method_certifies_a_network_with_a_counterexample(score):
    assert score.false == 0, score
    assert score.networks == 6 and all(set(r.certified) == set(score.methods) for r in score.rows)
    assert len(score.methods) == 5
    assert f"{score.false} false certificates in 6 networks x 5 methods" in repr(score)
    assert score.to_dict()["rows"][1]["activation"] == "tanh"


def test_some_counterexamples_are_hidden_from_sampling(score):
    assert sum(r.sampled for r in score.rows) < score.networks


@pytest.mark.parametrize("act", ["relu", "gelu", "sin(x)"])
def test_the_witness_is_in_the_box_and_wrong_by_the_model_itself(act):
    plant = hidden(act, seed=5)
    assert float((plant.witness - plant.centre[0]).abs().max()) <= plant.eps
    value = float(margins(plant.model, plant.witness.unsqueeze(0), LABEL))
    assert value == pytest.approx(plant.margin, abs=1e-12) and plant.margin < -1e-9
    # elsewhere it holds: hardly a point of the box is wrong
    x = plant.centre + plant.eps * (2 * torch.rand(20000, 3, dtype=torch.float64) - 1)
    wrong = margins(plant.model, x, LABEL.expand(len(x))) < 0
    assert float(wrong.double().mean()) < 1e-3


def test_with_the_counterexample_taken_away_the_same_network_is_certified():
    plant = hidden("tanh", seed=2)
    plant.model[-1].bias[0] += 0.2 - 2 * plant.margin
    found = verify(plant.model, plant.centre, plant.eps, labels=LABEL, method="branch", attacks=False, budget=30.0)
    assert found.verdicts == ("verified",)


def test_intervals_that_are_too_narrow_are_caught(monkeypatch):
    whole = Formula.interval

    def narrow(self, boxes):
        lo, hi = whole(self, boxes)
        return Box(0.55 * lo + 0.45 * hi, 0.45 * lo + 0.55 * hi)

    monkeypatch.setattr(Formula, "interval", narrow)
    assert selftest(["tanh", "silu"], ["ibp"], count=1).false > 0


def test_lines_that_cut_into_the_function_are_caught(monkeypatch):
    sound = Formula.lines

    def tilted(self, box, at=None):
        low, below, high, above = sound(self, box, at)
        gap = 0.7 * ((high - low) * (0.5 * box.lo + 0.5 * box.hi) + above - below).clamp(min=0.0)
        return low, below + 0.5 * gap, high, above - 0.5 * gap

    monkeypatch.setattr(Formula, "lines", tilted)
    assert selftest(["tanh", "silu", "sin(x)"], ["crown"], count=2).false > 0


def test_methods_that_do_not_exist_are_refused():
    with pytest.raises(InputError, match="'exact'; there are ibp"):
        selftest(["relu"], ["exact"])

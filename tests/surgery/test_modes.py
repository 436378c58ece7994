"""Every look at a model and every transform leaves each module in the mode it was in, frozen norms included."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import ogive
from ogive.surgery.hardening import harden, vra
from ogive.surgery.integer import bias_correction, equalise, integer_only, tabulate
from ogive.surgery.memory import lighten
from ogive.surgery.private import autorep, polynomialise
from ogive.surgery.sparsity import cats, fat_relu, prosparse, relufy, sparsity, teal
from ogive.surgery.tuning import safs
from ogive.verify import certified_fit, verify

X = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


def frozen(act=nn.ReLU, norm=False):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), act(), nn.Dropout(0.1), nn.Linear(16, 16), act(),
                          nn.Linear(16, 2)).train()  # fmt: skip
    model[1].train(norm)
    return model


LOOKS = {
    "sites": lambda m: ogive.sites(m, X),
    "survey": lambda m: ogive.survey(m, X),
    "sparsity": lambda m: sparsity(m, X),
    "verify": lambda m: verify(m, X[:2].double(), 1e-3, labels=Y[:2], method="ibp"),
    "certified_fit": lambda m: certified_fit(m, X, Y, 0.01, 1),
    "swap": lambda m: ogive.swap(m, "golu", X).undo(),
    "cats": lambda m: cats(m, X).undo(),
    "fat_relu": lambda m: fat_relu(m, X, target=0.6).undo(),
    "teal": lambda m: teal(m, X).undo(),
    "tabulate": lambda m: tabulate(m, X).undo(),
    "equalise": lambda m: equalise(m, X).undo(),
    "bias_correction": lambda m: bias_correction(m, X).undo(),
    "polynomialise": lambda m: polynomialise(m, X).undo(),
    "lighten": lambda m: lighten(m, X).undo(),
    "harden": lambda m: harden(m, X, method="proact", outputs=True, rates="1e-4", repeats=1, steps=2).undo(),
    "vra": lambda m: vra(m, X).undo(),
}


@pytest.mark.parametrize("look", LOOKS)
def test_modes_are_put_back_one_by_one(look):
    model = frozen()
    if look == "verify":
        model = model.double()
    before = [(n, m.training) for n, m in model.named_modules()]
    LOOKS[look](model)
    assert [(n, m.training) for n, m in model.named_modules()] == before


def test_gates_and_gelus_too():
    model = frozen(nn.GELU)
    before = [m.training for m in model.modules()]
    for change in (integer_only, relufy):
        change(model, X).undo()
        assert [m.training for m in model.modules()] == before


@pytest.mark.parametrize("look", [k for k in LOOKS if k != "certified_fit"])
def test_no_look_moves_the_statistics_of_a_model_in_training(look):
    model = frozen(norm=True)
    if look == "verify":
        model = model.double()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    LOOKS[look](model)
    assert [k for k, v in model.state_dict().items() if not torch.equal(v, before[k])] == []


TRAININGS = {
    "prosparse": lambda m: prosparse(m, X, steps=3, time=False),
    "safs": lambda m: safs(m, X, Y, tries=1, probe=2, steps=3, time=False),
    "autorep": lambda m: autorep(m, X, Y, steps=4, time=False),
    "certified_fit": LOOKS["certified_fit"],
}


@pytest.mark.parametrize("training", TRAININGS)
def test_a_frozen_norm_is_not_trained(training):
    model = frozen()
    before = {k: v.clone() for k, v in model[1].named_buffers()}
    weight = model[0].weight.detach().clone()
    TRAININGS[training](model)
    norm = next(m for m in model.modules() if isinstance(m, nn.BatchNorm1d))
    assert all(torch.equal(v, before[k]) for k, v in norm.named_buffers())
    assert not torch.equal(next(model.parameters()), weight)


def test_a_model_in_evaluation_mode_is_trained_whole():
    model = frozen().eval()
    before = model[1].running_mean.clone()
    certified_fit(model, X, Y, 0.01, 1)
    assert not torch.equal(model[1].running_mean, before)
    assert not any(m.training for m in model.modules())

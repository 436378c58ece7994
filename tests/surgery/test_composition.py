"""Transforms after one another, drawn at random: the model runs after each, and undone in reverse it is as it was."""

from __future__ import annotations

import copy
import random
from contextlib import suppress

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ogive.errors import OgiveError
from ogive.surgery.transforms import TRANSFORMS, transform
from tests.surgery.test_elsewhere import LABELS, OPTIONS

X = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


class Calls(nn.Module):
    """Functions in the code, one of them gates; a norm that is run twice."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.norm = nn.Linear(8, 32), nn.Linear(32, 16), nn.LayerNorm(16)
        self.up, self.gate, self.down, self.out = (nn.Linear(16, 32), nn.Linear(16, 32), nn.Linear(32, 16),
                                                   nn.Linear(16, 2))  # fmt: skip

    def forward(self, x):
        h = self.b(F.gelu(self.a(x)))
        h = h + self.down(F.silu(self.gate(self.norm(h))) * self.up(self.norm(h)))
        return self.out(torch.relu(h))


class Modules(nn.Module):
    """Modules, a batch norm and dropout among them."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32), nn.GELU(),
                                 nn.Linear(32, 16), nn.Dropout(0.1), nn.SiLU(), nn.Linear(16, 2))  # fmt: skip

    def forward(self, x):
        return self.net(x)


def change(verb, model, draw):
    given = {"swap": ("golu", X), "distil": (X, "relu")}.get(verb, (X, Y) if verb in LABELS else (X,))
    options = OPTIONS.get(verb, {}) | {"time": draw.random() < 0.3}
    options |= {"linearise": {"lean": draw.choice([0.0, 0.5, 1.0])}, "channel_idle": {"theta": 0.5}}.get(verb, {})
    return transform(verb)(model, *given, **options)


def picture(model):
    """Everything that undoing has to give back."""
    return ([n for n, _ in model.named_modules()], [m.training for m in model.modules()],
            [p.requires_grad for p in model.parameters()],
            [n for n, m in model.named_modules() if m._forward_hooks or m._forward_pre_hooks])  # fmt: skip


@pytest.mark.parametrize("seed", [*range(60), *(pytest.param(s, marks=pytest.mark.exhaustive) for s in range(60, 600))])
@pytest.mark.filterwarnings("ignore:.* was not reached")
def test_what_was_done_is_undone(seed):
    draw = random.Random(seed)
    torch.manual_seed(seed)
    model = draw.choice([Calls, Modules])().train(draw.random() < 0.5)
    state, before = copy.deepcopy(model.state_dict()), picture(model)
    with torch.no_grad():
        want = copy.deepcopy(model).eval()(X)
    reports = []
    for verb in draw.sample([v for v in TRANSFORMS if v != "ppl_sparsity"], 3):
        with suppress(OgiveError):  # not every transform fits what the ones before have left
            reports.append(change(verb, model, draw))
        with torch.no_grad():
            assert torch.isfinite(copy.deepcopy(model).eval()(X)).all(), verb
    for report in reversed(reports):
        report.undo()
    assert list(model.state_dict()) == list(state)
    assert [k for k, v in model.state_dict().items() if not torch.equal(v, state[k])] == []
    assert picture(model) == before
    with torch.no_grad():
        assert torch.equal(copy.deepcopy(model).eval()(X), want)

"""Feed-forward blocks are found by what the run does, whatever the modules are called."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from torch.nn import functional

import ogive
from ogive.surgery.sparsity import cats, feed_forwards, relufy, teal
from tests.surgery.models import Functional, SwiGLU
from tests.surgery.sparsity.decoders import Decoder, text

X = torch.randn(5, 16, generator=torch.Generator().manual_seed(0))


class Gated(nn.Module):
    """down(f(a(x)) * b(x)) with names that say nothing, ``how`` of several ways to write it."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.p, self.q, self.r = nn.Linear(16, 32), nn.Linear(16, 32), nn.Linear(32, 16)
        self.drop, self.both = nn.Dropout(0.5), nn.Linear(16, 64)

    def forward(self, x):
        a, b = self.p(x), self.q(x)
        if self.how == "plain":
            return self.r(functional.gelu(a) * b)
        if self.how == "other way round":
            return self.r(b * functional.gelu(a))
        if self.how == "dropout and reshape":
            return self.r(self.drop(functional.gelu(a.view(5, 4, 8)).flatten(1) * b))
        if self.how == "fused":
            a, b = self.both(x).chunk(2, -1)
            return self.r(functional.gelu(a) * b)
        if self.how == "two gates":
            return self.r(torch.relu(a) * torch.relu(b))
        if self.how == "other input":
            return self.r(functional.gelu(a) * self.q(x.flip(0).cumsum(0)))
        if self.how == "used twice":
            h = functional.gelu(a)
            return self.r(h) + self.r(h * b)
        raise AssertionError(self.how)


@pytest.mark.parametrize(
    ("how", "parts"),
    [
        ("plain", ("p", "q", "r")),
        ("other way round", ("p", "q", "r")),
        ("dropout and reshape", ("p", "q", "r")),
        ("fused", ("both", "both", "r")),
        ("two gates", ("p", "q", "r")),
    ],
)
def test_gated_blocks(how, parts):
    found = feed_forwards(nn.Sequential(nn.Linear(16, 16), nn.Sequential(Gated(how))), X)
    assert [(b.gate, b.up, b.down) for b in found] == [tuple(f"1.0.{p}" for p in parts)]
    assert found.blocks[0].name == "1.0"
    assert found.blocks[0].fused == (how == "fused")
    assert found["1.0"].site.fed_by == (f"1.0.{parts[0]}.weight",)
    assert found["1.0"].entry == f"1.0.{parts[0]}"


@pytest.mark.parametrize(
    ("how", "why"), [("other input", "different inputs"), ("used twice", "one linear map at once")]
)
def test_what_is_no_block_says_why(how, why):
    found = feed_forwards(Gated(how), X)
    assert not len(found)
    assert why in found.left[0][1]


def test_plain_blocks_and_what_is_none():
    model = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Dropout(), nn.Linear(32, 8), nn.Tanh())
    found = feed_forwards(model, X)
    assert [(b.name, b.gate, b.up, b.down, b.site.label) for b in found] == [("", None, "0", "3", "gelu")]
    assert found.left == (("4", "its result does not go into one linear map at once (next: no linear map)"),)
    assert len(feed_forwards(Functional(), X)) == 6
    assert "two inputs" in feed_forwards(ogive.FFN(16, 32), X).left[0][1]
    conv = nn.Sequential(nn.Conv1d(16, 8, 1), nn.ReLU(), nn.Conv1d(8, 4, 1))
    assert "not an nn.Linear" in feed_forwards(conv, X[:, :, None]).left[0][1]


def test_a_decoder_prints_and_goes_into_json():
    found = feed_forwards(Decoder(), text(2, 0))
    assert [b.name for b in found] == ["mlps.0", "mlps.1"]
    assert json.loads(json.dumps(found.to_dict()))["blocks"][1]["down"] == "mlps.1.down"
    assert max(map(len, repr(found).splitlines())) <= 80
    with pytest.raises(KeyError, match=r"mlps\.7"):
        found["mlps.7"]


@pytest.mark.parametrize("change", [cats, teal, relufy], ids=lambda f: f.__name__)
def test_blocks_are_found_again_after_a_change(change):
    model, ids = Decoder(), text(4, 0)
    before = [(b.name, b.gate, b.up, b.down) for b in feed_forwards(model, ids)]
    change(model, ids, time=False)
    assert [(b.name, b.gate, b.up, b.down) for b in feed_forwards(model, ids)] == before


def test_the_model_is_left_alone():
    model = SwiGLU(16, 32)
    y, modes = model(X), [m.training for m in model.modules()]
    feed_forwards(model, X)
    assert torch.equal(model(X), y)
    assert [m.training for m in model.modules()] == modes

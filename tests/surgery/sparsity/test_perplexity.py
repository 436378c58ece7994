"""Perplexity against sums written out in numpy, measured zeros against counts by hand."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from ogive.errors import InputError, OgiveError
from ogive.surgery.sparsity import cats, perplexity, sparsity, teal
from tests.surgery.models import SwiGLU
from tests.surgery.sparsity.decoders import Decoder, text


def nats_by_hand(model, ids, mask=None):
    logits = model(ids).detach().double().numpy()
    total, count = 0.0, 0
    for row in range(ids.shape[0]):
        for t in range(ids.shape[1] - 1):
            if mask is not None and not mask[row, t + 1]:
                continue
            z = logits[row, t]
            total += math.log(np.exp(z - z.max()).sum()) + z.max() - z[int(ids[row, t + 1])]
            count += 1
    return total / count, count


class Named(nn.Module):
    """As transformers' models are called."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, input_ids, attention_mask=None):
        return SimpleNamespace(logits=self.inner(input_ids))


class Several(Named):
    def forward(self, ids):
        return self.inner(ids), torch.zeros(3)


def test_perplexity_is_that_of_the_sums():
    torch.manual_seed(0)
    model, ids = Decoder(), text(5, 1)
    nats, count = nats_by_hand(model, ids)
    found = perplexity(model, ids)
    assert found.nats == pytest.approx(nats, rel=1e-6)
    assert found.value == pytest.approx(math.exp(nats), rel=1e-6)
    assert found.bits == pytest.approx(nats / math.log(2), rel=1e-6)
    assert (found.tokens, found.low < found.value < found.high) == (count, True)
    assert perplexity(model, [ids[:2], ids[2:]]).nats == pytest.approx(nats, rel=1e-6)
    assert perplexity(Several(model), ids).nats == pytest.approx(nats, rel=1e-6)
    assert json.loads(json.dumps(found.to_dict()))["tokens"] == count
    assert model.training  # as it was


def test_masked_tokens_do_not_count():
    torch.manual_seed(0)
    model, ids = Decoder(), text(3, 1)
    mask = torch.ones_like(ids)
    mask[1, 20:] = 0
    nats, count = nats_by_hand(model, ids, mask)
    found = perplexity(Named(model), {"input_ids": ids, "attention_mask": mask})
    assert found.tokens == count
    assert found.nats == pytest.approx(nats, rel=1e-6)


def test_what_is_no_language_model_says_so():
    with pytest.raises(InputError, match="no token ids"):
        perplexity(nn.Linear(4, 4), torch.randn(3, 4))
    with pytest.raises(InputError, match="one token"):
        perplexity(Decoder(), text(3, 0)[:, :1])
    with pytest.raises(InputError, match="vocabulary"):
        perplexity(nn.Embedding(24, 8), text(3, 0))
    with pytest.raises(InputError, match="leaves no token"):
        perplexity(Named(Decoder()), {"input_ids": text(2, 0), "attention_mask": torch.zeros(2, 48)})


def test_zeros_are_counted_where_they_are_multiplied():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
    x = torch.randn(3, 20, 8)
    x[..., 0] = 0.0
    hidden = model[:2](x)
    found = sparsity(model, [x[:1], x[1:]])
    assert found["0"].zeros == pytest.approx(1 / 8)
    assert found["2"].zeros == pytest.approx(float((hidden == 0).double().mean()))
    assert found["2"].unused == pytest.approx(float((hidden == 0).all(1).double().mean()))
    assert (found["2"].role, found.down) == ("down", found["2"].zeros)
    weights = 8 * 32 + 32 * 4
    assert found.saved == pytest.approx((found["0"].zeros * 256 + found["2"].zeros * 128) / weights)
    assert "not a number" not in repr(found)
    assert max(map(len, repr(found).splitlines())) <= 80
    assert json.loads(json.dumps(sparsity(model, x[0]).to_dict()))["rows"][1]["unused"] is None


def test_what_a_gate_zeroes_saves_rows_of_up_and_what_a_threshold_drops_does_not():
    torch.manual_seed(0)
    x = torch.randn(400, 16)
    for change, saved in ((cats, (0.0, 0.5, 0.5)), (teal, (0.5, 0.5, 0.5))):
        model = SwiGLU(16, 64)
        wrapped = nn.Sequential(model, nn.Linear(16, 2))
        change(wrapped, x, target=0.5, time=False)
        found = sparsity(wrapped, x)
        assert [found[f"0.{n}"].saved for n in ("gate", "up", "down")] == pytest.approx(saved, abs=0.03)


def test_a_layer_between_two_nonlinearities_is_a_down_projection():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 4))
    found = sparsity(model, torch.randn(50, 8))
    assert [r.role for r in found.rows] == ["up", "down", "down"]
    assert found.down == pytest.approx((found["2"].zeros + found["4"].zeros) / 2)


def test_no_linear_ran():
    with pytest.raises(OgiveError, match=r"no nn\.Linear ran"):
        sparsity(nn.Sequential(nn.ReLU()), torch.randn(3, 4))

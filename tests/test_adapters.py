"""Ogive's names in transformers and timm; skipped, visibly, where the library is not installed."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

import pytest
import torch

import ogive
from ogive import adapters, catalogue
from ogive.errors import OgiveError

GATES = {name for name, entry in catalogue.entries().items() if len(entry.inputs) > 1}


@pytest.fixture
def act2fn():
    activations = pytest.importorskip("transformers.activations", reason="transformers is not installed")
    table = activations.ACT2FN
    kept = {key: dict.__getitem__(table, key) for key in table}
    yield table
    table.clear()
    table.update(kept)


@pytest.fixture
def create_act(monkeypatch):
    """timm's factory, its file alone: timm as a whole needs a torchvision built for the same torch."""
    spec = importlib.util.find_spec("timm")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("timm is not installed")
    for name, folder in (("timm", ""), ("timm.layers", "/layers")):
        shell = ModuleType(name)
        shell.__path__ = [f"{place}{folder}" for place in spec.submodule_search_locations]
        monkeypatch.setitem(sys.modules, name, shell)
    factory = importlib.import_module("timm.layers.create_act")
    yield factory
    for name in [m for m in sys.modules if m.startswith("timm.")]:
        monkeypatch.delitem(sys.modules, name)


class TestTransformers:
    def test_names_of_transformers_stay(self, act2fn):
        before = {key: dict.__getitem__(act2fn, key) for key in act2fn}
        done = adapters.register_transformers()
        assert {key: dict.__getitem__(act2fn, key) for key in before} == before
        assert set(done.added) | set(done.skipped) == set(catalogue.entries())
        assert set(done.skipped) == GATES | set(before) & set(catalogue.entries())
        assert "overwrite=True" in done.skipped["gelu"] and "gate" in done.skipped["swiglu"]
        assert done.to_dict()["skipped"] == dict(done.skipped)
        assert f"{len(done.added)} activations registered in transformers" in str(done)

    def test_every_registered_name_makes_the_entry(self, act2fn):
        done = adapters.register_transformers()
        for name in done.added:
            act = act2fn[name]
            assert isinstance(act, ogive.Act) and act.entry is ogive.get(name)
        assert act2fn[done.added[0]] is not act2fn[done.added[0]]

    def test_prefix_overwrite_and_twice(self, act2fn):
        first = adapters.register_transformers("ogive_")
        assert len(first.added) == len(catalogue.entries()) - len(GATES)
        assert adapters.register_transformers("ogive_").added == first.added
        assert act2fn["ogive_gelu"].entry is ogive.get("gelu") and not isinstance(act2fn["gelu"], ogive.Act)
        assert "gelu" in adapters.register_transformers(overwrite=True).added
        assert act2fn["gelu"].entry is ogive.get("gelu")

    def test_a_model_uses_the_name(self, act2fn):
        adapters.register_transformers()
        from transformers import BertConfig, BertModel

        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        config = BertConfig(hidden_act="golu", vocab_size=50, max_position_embeddings=16, **sizes)
        model = BertModel(config).train()
        used = [m for m in model.modules() if isinstance(m, ogive.Act)]
        assert len(used) == 2 and all(m.entry is ogive.get("golu") for m in used)
        out = model(input_ids=torch.randint(0, 50, (2, 7))).last_hidden_state
        out.square().sum().backward()
        assert out.shape == (2, 7, 16) and all(p.grad.isfinite().all() for p in model.encoder.parameters())


class TestTimm:
    def test_layers_and_functions(self, create_act):
        done = adapters.register_timm()
        assert {"gelu", "relu"} <= set(done.skipped) and "golu" in done.added
        layer = create_act.create_act_layer("golu", inplace=True)  # as timm's networks ask for it
        x = torch.randn(5, requires_grad=True)
        layer(x).sum().backward()
        assert torch.equal(layer(x), ogive.get("golu")(x))
        assert torch.equal(create_act.get_act_fn("golu")(x, inplace=True), ogive.get("golu")(x))
        assert create_act.get_act_layer("gelu") is create_act.GELU
        assert create_act.create_act_layer("swish", inplace=False).__class__ is torch.nn.SiLU
        assert adapters.register_timm().added == done.added

    def test_parameters_and_overwrite(self, create_act):
        adapters.register_timm("ogive_")
        act = create_act.create_act_layer("ogive_swish", beta=2.0)
        assert act.beta == 2.0
        adapters.register_timm(overwrite=True)
        assert create_act.create_act_layer("mish").entry is ogive.get("mish")

    def test_another_factory_is_refused(self, create_act, monkeypatch):
        monkeypatch.delattr(create_act, "_ACT_LAYER_ME")
        with pytest.raises(OgiveError, match="_ACT_LAYER_ME"):
            adapters.register_timm()


@pytest.mark.parametrize("library", ["transformers", "timm"])
def test_a_missing_library_is_said(library, monkeypatch):
    for name in [m for m in sys.modules if m.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)

    class Nowhere:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name.split(".")[0] == library:
                raise ModuleNotFoundError(f"No module named {library!r}", name=library)

    monkeypatch.setattr(sys, "meta_path", [Nowhere, *sys.meta_path])
    with pytest.raises(OgiveError, match=f"pip install {library}"):
        getattr(adapters, f"register_{library}")()

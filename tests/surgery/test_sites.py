"""Every nonlinearity is found where it is written, under the name that its place has."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import nn

import ogive
from ogive.surgery import sites
from tests.surgery.models import RMS, Block, Functional, Hidden, SwiGLU

X = torch.linspace(-2.0, 2.0, 8 * 16).reshape(8, 16)


def labels(model, example=X):
    return [s.label for s in sites(model, example)]


def test_functions_methods_and_operators_are_found_in_order():
    found = sites(Functional(), X)
    assert [s.label for s in found][:6] == ["relu", "tanh", "sigmoid", "silu", "where(x > 0, x, 0.1*x)", "relu"]
    assert [s.fed_by for s in found] == [(f"maps.{i}.weight",) for i in range(7)]
    assert [s.feeds for s in found] == [*((f"maps.{i}.weight",) for i in range(1, 7)), ()]
    assert {s.kind for s in found} == {"call"}
    assert not found.stops


def test_the_formula_of_a_site_is_the_function_it_computes():
    last = list(sites(Functional(), X))[-1]
    x = torch.linspace(-3.0, 3.0, 101)
    torch.testing.assert_close(last.activation(x), 2.0 * x.clamp(min=0.0))


@pytest.mark.parametrize(
    ("module", "label"),
    [
        (nn.GELU(), "gelu"), (nn.GELU("tanh"), "gelu_tanh"), (nn.SiLU(), "silu"), (nn.ReLU(inplace=True), "relu"),
        (nn.Mish(), "mish"), (nn.Hardswish(), "hardswish"), (nn.Softplus(), "softplus"), (nn.Tanh(), "tanh"),
        (ogive.Act("golu"), "golu"), (nn.LeakyReLU(0.3), "leaky_relu"), (nn.PReLU(16), "prelu"),
    ],
)  # fmt: skip
def test_modules_are_sites_by_their_path(module, label):
    (site,) = sites(nn.Sequential(nn.Linear(16, 16), module, nn.Linear(16, 3)), X)
    assert (site.name, site.kind, site.label) == ("1", "module", label)
    assert (site.fed_by, site.feeds, site.shape) == (("0.weight",), ("2.weight",), (8, 16))
    x = torch.linspace(-3.0, 3.0, 101)[:, None].repeat(1, 16)
    torch.testing.assert_close(site.activation(x), module(x.clone()).detach(), rtol=1e-5, atol=1e-6)


def test_an_ogive_function_called_in_forward_is_found():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.map = nn.Linear(16, 16)

        def forward(self, x):
            return ogive.get("mish")(self.map(x)).sum()

    assert labels(Net()) == ["mish"]


def test_a_gate_is_its_activation_and_says_that_it_gates():
    found = sites(SwiGLU(), X)
    assert [(s.label, s.gates) for s in found] == [("silu", True)]
    assert found.sites[0].fed_by == ("gate.weight",)
    assert found.sites[0].feeds == ("down.weight",)
    joined = sites(nn.Sequential(nn.Linear(16, 32), nn.GLU(), ogive.GLU("gelu")), X)
    assert [(s.kind, s.label) for s in joined] == [("gate", "glu"), ("gate", "GLU(gelu, identity)")]


def test_squares_and_roots_of_a_normalisation_are_no_sites():
    assert labels(nn.Sequential(nn.Linear(16, 16), RMS(16), nn.Tanh())) == ["tanh"]
    assert labels(nn.Sequential(nn.Linear(16, 16), nn.LayerNorm(16), nn.ReLU())) == ["relu"]
    assert labels(nn.Sequential(nn.Linear(16, 16), nn.Softmax(-1))) == []


def test_a_gate_by_the_mean_is_no_normalisation_and_layer_norm_by_hand_is_one():
    class Gate(nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(x.square().mean(-1, keepdim=True))

    class Norm(nn.Module):
        def forward(self, x):
            centred = x - x.mean(-1, keepdim=True)
            return centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + 1e-5)

    class Unit(nn.Module):
        def forward(self, x):
            return x / x.norm(dim=-1, keepdim=True)

    assert "sigmoid" in labels(nn.Sequential(nn.Linear(16, 16), Gate()))
    assert labels(nn.Sequential(nn.Linear(16, 16), Norm(), nn.ReLU(), nn.Linear(16, 4), Unit())) == ["relu"]


def test_a_square_that_is_an_activation_is_a_site():
    class Squared(nn.Module):
        def forward(self, x):
            return torch.relu(x) ** 2

    (site,) = sites(nn.Sequential(nn.Linear(16, 16), Squared(), nn.Linear(16, 2)), X)
    assert site.name == "1"
    assert site.activation(torch.tensor([-1.0, 3.0])).tolist() == [0.0, 9.0]


def test_a_learned_slope_inside_an_activation_is_part_of_it_and_a_learned_scale_is_not():
    class Swish(nn.Module):
        def __init__(self):
            super().__init__()
            self.beta = nn.Parameter(torch.tensor(1.5))

        def forward(self, x):
            return x * torch.sigmoid(self.beta * x)

    (site,) = sites(nn.Sequential(nn.Linear(16, 16), Swish()), X)
    assert float(site.activation(2.0)) == pytest.approx(2.0 / (1.0 + 2.718281828459045**-3.0), rel=1e-12)
    assert labels(nn.Sequential(nn.Linear(16, 16), RMS(16), nn.ReLU())) == ["relu"], "its weight is a scale"


def test_a_module_used_twice_has_two_sites():
    act = nn.ReLU()
    found = sites(nn.Sequential(nn.Linear(16, 16), act, nn.Linear(16, 16), act), X)
    assert [s.name for s in found] == ["1", "1#2"]
    assert found["1#2"].fed_by == ("2.weight",)
    with pytest.raises(KeyError, match="no site 'nothing'"):
        found["nothing"]


def test_names_stay_after_saving_and_loading(tmp_path):
    model = nn.Sequential(Functional(), Block(16), SwiGLU())
    names = [s.name for s in sites(model, X)]
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    fresh = nn.Sequential(Functional(), Block(16), SwiGLU())
    fresh.load_state_dict(torch.load(tmp_path / "weights.pt"))
    assert [s.name for s in sites(fresh, X)] == names
    assert len(set(names)) == len(names)


def test_a_custom_function_is_reported_and_the_rest_is_followed():
    found = sites(Hidden(), X)
    assert [s.label for s in found] == ["tanh"]
    assert found.sites[0].fed_by == ("b.weight",)
    assert len(found.stops) == 1
    assert "DoubleBackward" in found.stops[0]
    assert "not followed: DoubleBackward" in repr(found)
    assert max(map(len, repr(found).splitlines())) <= 80


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_torchscript_inside_is_reported_by_name():
    inner = torch.jit.script(nn.Sequential(nn.Linear(16, 16), nn.ReLU()))
    found = sites(nn.Sequential(nn.Linear(16, 16), inner, nn.Linear(16, 16), nn.Tanh()), X)
    assert [s.label for s in found] == ["tanh"]
    assert "TorchScript: 1" in found.stops[0]


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.ReLU(inplace=True)).train()
    model[2].eval()
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    x = X.clone()
    sites(model, x)
    assert torch.equal(x, X)
    assert torch.equal(torch.get_rng_state(), random)
    assert [m.training for m in model] == [True, True, False, True]
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(p.grad is None for p in model.parameters())


def test_a_model_that_fails_passes_its_error_on_and_leaves_no_hooks():
    model = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(3, 3)).train()
    with pytest.raises(RuntimeError):
        sites(model, X)
    assert model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_frozen_and_half_precision_models_and_named_arguments():
    frozen = Functional().requires_grad_(False)
    assert len(sites(frozen, {"x": X})) == 7
    assert len(sites(Functional().bfloat16(), (X.bfloat16(),))) == 7


def test_a_compiled_model_is_followed_as_it_was_written():
    compiled = torch.compile(Functional(), backend="eager")
    compiled(X)
    assert [s.label for s in sites(compiled, X)][:4] == ["relu", "tanh", "sigmoid", "silu"]


def test_bad_input_is_named():
    with pytest.raises(ogive.InputError, match=r"an nn\.Module; got builtin_function"):
        sites(torch.tanh, X)
    with pytest.raises(ogive.InputError, match="the example"):
        sites(Functional(), "text")
    assert repr(sites(nn.Linear(16, 2), X)).startswith("no nonlinearity found")


def test_the_table_fits_and_the_dict_is_json():
    found = sites(nn.Sequential(Functional(), SwiGLU()), X)
    assert max(map(len, repr(found).splitlines())) <= 80
    assert json.loads(json.dumps(found.to_dict()))["sites"][0]["label"] == "relu"


def test_transformers_models_from_their_configurations():
    transformers = pytest.importorskip("transformers")
    ids = torch.arange(14).reshape(2, 7)
    small = {"vocab_size": 50, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    llama = transformers.LlamaForCausalLM(transformers.LlamaConfig(**small, num_hidden_layers=2))
    found = sites(llama, ids)
    assert [(s.name, s.label, s.gates) for s in found] == [
        (f"model.layers.{i}.mlp.act_fn", "silu", True) for i in range(2)
    ]
    assert found.sites[0].fed_by == ("model.layers.0.mlp.gate_proj.weight",)
    assert found.sites[0].feeds == ("model.layers.0.mlp.down_proj.weight",)
    bert = transformers.BertModel(transformers.BertConfig(**small, num_hidden_layers=1))
    assert [s.label for s in sites(bert, ids)] == ["gelu", "tanh"]
    gpt2 = transformers.GPT2Model(
        transformers.GPT2Config(
            vocab_size=50, n_positions=16, n_embd=16, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=1
        )
    )
    (site,) = sites(gpt2, ids)
    assert (site.name, site.label) == ("h.0.mlp.act", "gelu_tanh")


def test_attention_of_torch_is_followed():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, activation="gelu")
    (site,) = sites(nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), X.reshape(2, 4, 16))
    assert (site.label, site.fed_by, site.feeds) == ("gelu", ("layers.0.linear1.weight",), ("layers.0.linear2.weight",))

"""Initialisation of real models: the predicted scale is the measured one, at every depth."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import ogive
from ogive.surgery import init_, sites
from tests.surgery.models import Block, Functional, Hidden, SwiGLU, mlp

X = torch.randn(512, 256, generator=torch.Generator().manual_seed(12345))
# E f(z)^2 for a standard normal z, 40-digit quadrature rounded
SECOND = {"relu": 0.5, "tanh": 1.59253741972283**-2, "gelu": 1.53353044119554**-2, "sigmoid": 1.84622854533861**-2}


def seed(k=0):
    return torch.Generator().manual_seed(k)


@pytest.mark.parametrize("name", SECOND)
def test_the_gain_of_a_plain_layer_is_the_classical_one(name):
    report = init_(mlp(lambda: ogive.Act(name), depth=2), X, dry_run=True)
    assert report["0.weight"].gain == pytest.approx(1.0, rel=1e-9)
    assert report["2.weight"].std == pytest.approx(1.0 / math.sqrt(256 * SECOND[name]), rel=1e-9)
    assert (report["2.weight"].fed_by, report["4.weight"].feeds) == (name, "-")


@pytest.mark.parametrize(
    "act", [nn.ReLU, nn.Tanh, nn.ELU, nn.SELU, nn.Sigmoid, lambda: ogive.Act("sin(x)"), nn.Softsign],
    ids=["relu", "tanh", "elu", "selu", "sigmoid", "sin", "softsign"],
)  # fmt: skip
def test_thirty_layers_keep_the_scale_where_torch_loses_it(act):
    model = mlp(act)
    torch.manual_seed(1)
    for layer in model:
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
    with torch.no_grad():
        plain = float(model[-1](model[:-1](X)).var(0).mean())  # how much the outputs still tell inputs apart
    ours = init_(model, X, generator=seed(1))
    moments = torch.tensor([row.measured for row in ours.layers])
    assert float(moments.min()) > 0.25, moments
    assert float(moments.max()) < 4.0, moments
    with torch.no_grad():
        assert plain < 1e-3


@pytest.mark.parametrize("act", ["gelu", "silu", "mish"])
def test_an_activation_that_stretches_errors_is_said_and_stabilised(act):
    model = mlp(lambda: ogive.Act(act))
    unstable = init_(model, X, generator=seed())
    assert unstable.error > 5.0
    assert "bias='stable'" in repr(unstable)
    stable = init_(model, X, bias="stable", generator=seed())
    assert stable.error == pytest.approx(1.0, abs=1e-6)
    assert all(0.1 < row.measured < 6.0 for row in stable.layers)
    assert all(row.predicted == pytest.approx(1.0, rel=1e-9) for row in stable.layers)


def test_relu_does_not_stretch_errors():
    assert init_(mlp(nn.ReLU), X, dry_run=True).error == pytest.approx(1.0, abs=1e-6)


def test_backward_keeps_the_gradient():
    model = mlp(nn.Tanh, depth=20)
    init_(model, X, "backward", generator=seed(), bias=0.0)
    sizes = gradient_sizes(model)
    assert 0.3 < sizes[0] / sizes[-1] < 3.0
    init_(model, X, "forward", generator=seed())
    forward = gradient_sizes(model)
    assert forward[0] / forward[-1] > 4.0, "the forward gain of tanh makes gradients grow towards the input"


def gradient_sizes(model):
    hidden, sizes = X.clone(), []
    for layer in model:
        hidden = layer(hidden)
        if isinstance(layer, nn.Linear) and layer.out_features == 256:
            hidden.retain_grad()
            sizes.append(hidden)
    torch.manual_seed(0)
    (hidden * torch.randn_like(hidden)).sum().backward()
    return [float(h.grad.square().mean()) for h in sizes]


def test_modes_are_fan_in_fan_out_and_their_geometric_mean():
    model = nn.Sequential(nn.ReLU(), nn.Linear(40, 90))
    forward, backward, between = (init_(model, X[:, :40], m, dry_run=True)["1.weight"].std
                                  for m in ("forward", "backward", "compromise"))  # fmt: skip
    assert forward == pytest.approx(math.sqrt(2 / 40), rel=1e-9)
    assert backward == pytest.approx(math.sqrt(2 / 90), rel=1e-9)
    assert between == pytest.approx(math.sqrt(forward * backward), rel=1e-9)


@pytest.mark.parametrize("distribution", ["normal", "uniform", "truncated", "orthogonal"])
def test_every_distribution_has_the_standard_deviation_asked_for(distribution):
    model = nn.Sequential(nn.Linear(256, 300), nn.ReLU(), nn.Linear(300, 200))
    report = init_(model, X, distribution=distribution, generator=seed())
    for layer, row in ((model[0], report.layers[0]), (model[2], report.layers[1])):
        assert float(layer.weight.detach().std()) == pytest.approx(row.std, rel=0.02)
        assert not layer.bias.any()
    if distribution == "uniform":
        assert float(model[2].weight.abs().max().detach()) <= math.sqrt(3) * report.layers[1].std
    if distribution == "truncated":
        assert float(model[2].weight.abs().max().detach()) <= 2.3 * report.layers[1].std
    if distribution == "orthogonal":
        square = model[2].weight @ model[2].weight.T
        torch.testing.assert_close(square, square[0, 0] * torch.eye(200), rtol=1e-4, atol=1e-4)


def test_convolutions_count_their_taps():
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1, padding_mode="circular"), nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, groups=4), nn.Tanh(), nn.ConvTranspose2d(64, 16, 4, stride=2), nn.ReLU(),
    )  # fmt: skip
    report = init_(model, torch.randn(16, 3, 24, 24, generator=seed()), generator=seed())
    assert [row.fan_in for row in report.layers] == [27.0, 8 * 9.0, 64 * 16 / 4]
    assert [row.fan_out for row in report.layers] == [32 * 9.0, 64 / 4 * 9 / 4, 16 * 16.0]
    assert report["2.weight"].std == pytest.approx(math.sqrt(2 / 72), rel=1e-9)
    assert all(0.7 < row.measured < 1.4 for row in report.layers)


def test_fan_in_is_what_a_convolution_of_ones_sums():
    with torch.no_grad():
        for layer, size in (
            (nn.Conv1d(6, 4, 5, groups=2, dilation=2), 40),
            (nn.ConvTranspose1d(6, 4, 6, stride=3), 40),
        ):
            row = init_(nn.Sequential(layer), torch.randn(1, 6, size), dry_run=True).layers[0]
            layer.weight.fill_(1.0)
            layer.bias.zero_()
            got = layer(torch.ones(1, 6, size))
            assert float(got[0, 0, got.shape[-1] // 2]) == row.fan_in


def test_a_thirty_layer_cnn_keeps_its_scale():
    layers = [nn.Conv2d(3, 48, 3, padding=1, padding_mode="circular")]
    for _ in range(29):
        layers += [nn.ELU(), nn.Conv2d(48, 48, 3, padding=1, padding_mode="circular")]
    x = torch.randn(8, 3, 16, 16, generator=seed(9))
    report = init_(nn.Sequential(*layers), x, distribution="orthogonal", generator=seed())
    assert all(0.2 < row.measured < 5.0 for row in report.layers)


def test_residual_branches_share_the_stream():
    model = nn.Sequential(nn.Linear(256, 256), *(Block(256) for _ in range(16)), nn.Linear(256, 10))
    report = init_(model, X, generator=seed())
    ends = [report[f"{i}.second.weight"] for i in range(1, 17)]
    assert "1/16 of the stream" in ends[0].note
    for k, row in enumerate(ends):
        assert row.predicted == pytest.approx((1 + 1 / 16) ** k / 16, rel=1e-9)
        assert row.measured == pytest.approx(row.predicted, rel=0.4)
    plain = init_(model, X, residual="none", dry_run=True)
    assert plain["16.second.weight"].predicted == pytest.approx(1.0)


def test_zero_initialised_branches_make_the_identity():
    blocks = nn.Sequential(*(Block(256, "tanh", norm=True) for _ in range(4)))
    report = init_(blocks, X, residual="zero", generator=seed())
    torch.testing.assert_close(blocks(X), X)
    assert report["3.second.weight"].std == 0.0
    assert report["3.first.weight"].std > 0.0


def test_a_batch_norm_that_ends_a_branch_is_what_becomes_zero():
    class Basic(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
            self.m, self.n = nn.BatchNorm2d(8), nn.BatchNorm2d(8)

        def forward(self, x):
            return functional.relu(x + self.n(self.b(functional.relu(self.m(self.a(x))))))

    model = nn.Sequential(nn.Conv2d(3, 8, 1), Basic(), Basic())
    report = init_(model, torch.randn(4, 3, 8, 8), residual="zero")
    assert {name for name, _ in report.zeroed} == {"1.n.weight", "2.n.weight"}
    assert not model[1].n.weight.any()
    assert model[1].m.weight.all()
    assert report["1.b.weight"].std > 0.0
    assert int(model[1].n.num_batches_tracked) == 0, "the running statistics were not touched"


def test_a_projection_on_the_skip_path_starts_a_new_stream():
    class Down(nn.Module):
        def __init__(self):
            super().__init__()
            self.skip, self.a, self.b = (nn.Linear(256, 256) for _ in range(3))

        def forward(self, x):
            return self.skip(x) + self.b(torch.relu(self.a(torch.relu(x))))

    model = nn.Sequential(nn.Linear(256, 256), Block(256), Down(), Block(256), Block(256))
    report = init_(model, X, dry_run=True)
    assert report["2.skip.weight"].predicted == pytest.approx(1.0)
    assert "1/3 of the stream" in report["2.b.weight"].note
    assert "1/3" in report["4.second.weight"].note
    assert "1/" not in report["1.second.weight"].note


def test_a_gate_feeds_the_product_of_its_branches():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(256, 256), SwiGLU(256, 512))
    report = init_(model, X, generator=seed())
    silu = 1.67653247033109**-2
    assert report["1.down.weight"].std == pytest.approx(1 / math.sqrt(512 * silu), rel=1e-9)
    assert report["1.down.weight"].measured == pytest.approx(1.0, rel=0.2)
    joined = init_(nn.Sequential(nn.Linear(256, 512), ogive.GLU("silu"), nn.Linear(256, 8)), X, dry_run=True)
    assert joined["2.weight"].std == pytest.approx(1 / math.sqrt(256 * silu), rel=1e-8)


def test_behind_a_normalisation_the_gain_is_one():
    model = nn.Sequential(nn.Linear(256, 256), nn.GELU(), nn.LayerNorm(256), nn.Linear(256, 8))
    assert init_(model, X, dry_run=True)["3.weight"].gain == pytest.approx(1.0, rel=1e-3)


def test_two_maps_in_one_sum_share_it():
    class Cell(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(256, 64), nn.Linear(128, 64)

        def forward(self, x):
            return torch.tanh(self.a(x) + self.b(x[:, ::2]))

    report = init_(Cell(), X, dry_run=True)
    assert [row.predicted for row in report.layers] == pytest.approx([0.5, 0.5])


def test_activations_without_weights_between_count_as_one():
    model = nn.Sequential(nn.Linear(256, 256), nn.Tanh(), nn.ReLU(), nn.Linear(256, 8))
    got = init_(model, X, dry_run=True)["3.weight"].std
    assert got == pytest.approx(math.sqrt(2 / 256) * 1.59253741972283, rel=1e-9)  # E relu(tanh z)^2 is half E tanh^2


def test_transformers_models_keep_their_scale_and_their_embeddings():
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(vocab_size=50, hidden_size=64, num_hidden_layers=3, num_attention_heads=4,
                                      intermediate_size=128)  # fmt: skip
    model = transformers.LlamaForCausalLM(config)
    table = model.model.embed_tokens.weight.clone()
    report = init_(model, torch.arange(64).reshape(2, 32) % 50, generator=seed())
    assert torch.equal(model.model.embed_tokens.weight, table)
    assert ("model.embed_tokens.weight", "an embedding") in report.left
    assert len(report.layers) == 3 * 7 + 1
    assert "1/6 of the stream" in report["model.layers.0.mlp.down_proj.weight"].note
    for row in report.layers:
        assert row.measured == pytest.approx(row.predicted, rel=1.0 if row.fed_by == "attention" else 0.35), row
    gpt2 = transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=50, n_positions=32, n_embd=32, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=1))  # fmt: skip
    report = init_(gpt2, torch.arange(32).reshape(1, 32), dry_run=True)
    assert report["transformer.h.0.attn.c_attn.weight"].fan_out == 96.0, "stored as inputs by outputs"
    assert ("transformer.wte.weight", "shared with an embedding") in report.left


def test_what_cannot_be_followed_is_said_and_the_rest_is_done():
    model = Hidden(64)
    report = init_(model, X[:, :64], generator=seed())
    assert [row.weight for row in report.layers] == ["a.weight", "b.weight"]
    assert "DoubleBackward" in report.stops[0]
    assert report["b.weight"].measured == pytest.approx(1.0, rel=0.3), "its scale was measured instead"
    lstm = nn.LSTM(16, 16)
    report = init_(Wrapped(lstm), torch.randn(4, 3, 16))
    assert [row.weight for row in report.layers] == ["head.weight"]
    assert {name for name, _ in report.left} == {"body.weight_ih_l0", "body.weight_hh_l0"}
    assert "lstm" in report.stops[0]


class Wrapped(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body, self.head = body, nn.Linear(16, 2)

    def forward(self, x):
        return self.head(self.body(x)[0])


def test_weights_that_are_computed_are_set_through_their_parametrisation():
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(256, 128))
    report = init_(nn.Sequential(layer, nn.ReLU(), nn.Linear(128, 4)), X, generator=seed())
    assert report.layers[0].weight == "0.weight"
    assert float(layer.weight.detach().std()) == pytest.approx(1 / 16, rel=0.05)


def test_experts_and_transposed_and_shared_weights():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.experts = nn.Parameter(torch.zeros(4, 256, 64))
            self.plain = nn.Parameter(torch.zeros(64, 32))
            self.twice = nn.Linear(32, 32)

        def forward(self, x):
            h = torch.bmm(x.expand(4, *x.shape), self.experts).relu().mean(0)
            h = torch.einsum("bi,io->bo", h, self.plain)
            return self.twice(self.twice(h).tanh())

    model = Odd()
    report = init_(model, X, distribution="orthogonal", generator=seed())
    assert [(r.weight, r.fan_in) for r in report.layers] == [
        ("experts", 256.0),
        ("plain", 64.0),
        ("twice.weight", 32.0),
    ]
    assert "used 2 times" in report["twice.weight"].note
    block = model.experts[1].T @ model.experts[1]
    torch.testing.assert_close(block, block[0, 0] * torch.eye(64), rtol=1e-4, atol=1e-4)
    assert all(row.measured > 0.3 for row in report.layers)


def test_a_dry_run_touches_nothing_and_says_the_same():
    model = Functional(32)
    before = copy.deepcopy(model.state_dict())
    dry = init_(model, X[:, :32], dry_run=True)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert "would draw 7 weights" in repr(dry)
    wet = init_(model, X[:, :32], check=False)
    assert [r.std for r in wet.layers] == [r.std for r in dry.layers]
    assert not any(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_the_table_fits_into_eighty_columns():
    model = nn.Sequential(nn.Linear(256, 256), *(Block(256, "mish") for _ in range(3)), SwiGLU(256), Hidden(256))
    model.add_module("a_module_with_a_rather_long_name", mlp(lambda: ogive.Act("silu"), 12))
    report = init_(model, X)
    assert report.error > 5.0
    assert max(map(len, repr(report).splitlines())) <= 80
    assert report.to_dict()["layers"][0]["fan_in"] == 256.0


def test_the_same_generator_draws_the_same_weights():
    one, other = mlp(nn.ReLU, depth=2), mlp(nn.ReLU, depth=2)
    init_(one, X, generator=seed(3))
    init_(other, X, generator=seed(3))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters()))


def test_inputs_that_are_not_standardised():
    model = nn.Sequential(nn.Linear(256, 256), nn.Tanh())
    assert init_(model, 0.1 * X, input_moment=None)["0.weight"].measured == pytest.approx(1.0, rel=0.15)
    assert init_(model, 0.1 * X)["0.weight"].measured == pytest.approx(0.01, rel=0.15)


def test_skipped_weights_stay():
    model = mlp(nn.ReLU, depth=2)
    head = model[4].weight.clone()
    report = init_(model, X, skip=["4.*"])
    assert torch.equal(model[4].weight, head)
    assert ("4.weight", "skipped") in report.left


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"mode": "foward"}, "did you mean 'forward'"), ({"rule": "kumer"}, "did you mean 'kumar'"),
        ({"distribution": "gaussian"}, "normal"), ({"residual": "deep"}, "depth"), ({"skip": "head"}, "list of names"),
        ({"sigma": -1.0}, "positive"), ({"bias": "some"}, "'stable'"), ({"rule": "ibp", "mode": "backward"}, "rule='gain'"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(kwargs, match):
    with pytest.raises(ogive.ParameterError, match=match):
        init_(mlp(nn.ReLU, 1), X, **kwargs)


def test_a_rule_without_a_value_changes_nothing():
    model = mlp(lambda: ogive.Act("heaviside"), depth=2)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ogive.OgiveError, match=r"2\.weight.*heaviside.*mode='forward'"):
        init_(model, X, "backward")
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    with pytest.raises(ogive.InputError, match="meta"):
        init_(nn.Linear(3, 3, device="meta"), X)
    assert [s.label for s in sites(model, X)] == ["heaviside", "heaviside"]

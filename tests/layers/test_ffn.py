"""FFN and Smooth-SwiGLU: checkpoints of other libraries, sizes, 8-bit casts, what errors say."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ogive
from ogive import learn
from ogive.layers import FFN, GLU, SmoothSwiGLU
from ogive.layers.ffn import two_thirds
from ogive.layers.smooth_swiglu import FORMATS, cast, scale_of


def run(module, x):
    """Output and all gradients, those of the weights by name."""
    leaf = x.clone().requires_grad_()
    module.zero_grad()
    y = module(leaf)
    y.backward(torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view(y.shape))
    return [y.detach(), leaf.grad], {name: p.grad for name, p in module.named_parameters()}


def same(ours, theirs, x):
    for a, b in zip(run(ours, x), run(theirs, x)):
        torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("act", ["silu", "gelu", "relu"])
def test_llama(bias, act):
    """transformers' own LlamaMLP: its weights load strictly, outputs and every gradient agree."""
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    config = llama.LlamaConfig(
        hidden_size=24, num_attention_heads=4, intermediate_size=40, mlp_bias=bias, hidden_act=act
    )
    theirs = llama.LlamaMLP(config)
    ours = FFN(24, 40, act, bias=bias)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    same(ours, theirs, torch.randn(3, 5, 24))
    theirs.load_state_dict(ours.state_dict(), strict=True)
    same(FFN.from_state_dict(theirs.state_dict(), act=act), theirs, torch.randn(2, 24))


@pytest.mark.parametrize("theirs_act,act", [("gelu_new", "gelu_tanh"), ("relu", "relu"), ("silu", "silu")])
def test_t5(theirs_act, act):
    """transformers' T5DenseGatedActDense (v1.1 and later): wi_0 is the gate."""
    t5 = pytest.importorskip("transformers.models.t5.modeling_t5")
    config = t5.T5Config(d_model=24, d_ff=40, dense_act_fn=theirs_act, dropout_rate=0.3)
    theirs = t5.T5DenseGatedActDense(config).eval()
    ours = FFN(24, 40, act, layout="t5", dropout=0.3).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    same(ours, theirs, torch.randn(3, 5, 24))
    for module in (ours.train(), theirs.train()):  # the same units are dropped at the same seed
        torch.manual_seed(1)
        module.dropped = module(torch.ones(2, 24)).detach()
    torch.testing.assert_close(ours.dropped, theirs.dropped, rtol=2e-5, atol=2e-5)


def test_phi3():
    """transformers' Phi3MLP: one matrix, the gate in its first rows."""
    phi3 = pytest.importorskip("transformers.models.phi3.modeling_phi3")
    theirs = phi3.Phi3MLP(phi3.Phi3Config(hidden_size=24, num_attention_heads=4, intermediate_size=40, pad_token_id=0))
    ours = FFN(24, 40, layout="fused")
    ours.load_state_dict(theirs.state_dict(), strict=True)
    same(ours, theirs, torch.randn(3, 5, 24))


@pytest.mark.parametrize(
    "order", [{}, {"gate": "second"}, {"interleaved": True}, {"gate": "second", "interleaved": True}]
)
@pytest.mark.parametrize("bias", [False, True])
def test_a_checkpoint_of_one_layout_becomes_any_other(order, bias):
    source = FFN(6, 10, "gelu", bias=bias, expand=learn(init=0.1))
    x = torch.randn(4, 6)
    expected = source(x)
    there_and_back = source
    for layout in ("fused", "t5", "fused", "llama"):
        state = there_and_back.state_dict()
        there_and_back = FFN.from_state_dict(state, layout=layout, act="gelu", expand=learn(), **order)
        assert there_and_back.layout == layout
        torch.testing.assert_close(there_and_back(x), expected)
    for name, w in source.state_dict().items():
        assert torch.equal(there_and_back.state_dict()[name], w)


def test_second_half_of_fused_rows_is_the_gate():
    ffn = FFN(4, 6, layout="fused", gate="second")
    x = torch.randn(3, 4)
    up, gate = (x @ ffn.gate_up_proj.weight.T).chunk(2, -1)
    torch.testing.assert_close(ffn(x), (F.silu(gate) * up) @ ffn.down_proj.weight.T)


@pytest.mark.parametrize(
    "dim,multiple,hidden", [(4096, 256, 11008), (5120, 256, 13824), (8192, 256, 22016), (6, 1, 16), (7, 1, 19)]
)
def test_hidden_size_of_two_thirds(dim, multiple, hidden):
    """Llama 1's sizes from its rule."""
    assert two_thirds(dim, multiple) == hidden


@pytest.mark.parametrize("dim", [24, 64, 100])
def test_parameter_parity_with_a_plain_layer(dim):
    """Three matrices of 8/3 against two of 4: equal up to the rounding of one hidden unit."""
    plain = 2 * dim * 4 * dim
    assert 0 <= sum(p.numel() for p in FFN(dim).parameters()) - plain < 3 * dim
    assert FFN(dim, multiple_of=8).hidden % 8 == 0


def test_gradcheck():
    ffn = FFN(3, 4, "mish", "tanh", bias=True, dtype=torch.float64)
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t, *_: ffn(t), (x, *ffn.parameters()))


def test_learned_parameters_are_per_hidden_unit():
    ffn = FFN(4, 6, "swish", beta=learn("channel"), layout="t5")
    assert ffn.act.beta.shape == (6,)
    ffn(torch.randn(8, 4)).sum().backward()
    assert (ffn.act.raw_beta.grad != 0).any()


def test_gpt_oss_gate_as_a_whole():
    ffn = FFN(4, 6, "swiglu_oai", layout="fused", interleaved=True)
    x = torch.randn(3, 4) * 20
    rows = x @ ffn.gate_up_proj.weight.T
    gate, up = rows[:, ::2].clamp(max=7.0), rows[:, 1::2].clamp(-7.0, 7.0)
    expected = (gate * torch.sigmoid(1.702 * gate) * (up + 1)) @ ffn.down_proj.weight.T
    torch.testing.assert_close(ffn(x), expected)


@pytest.mark.parametrize(
    "make,says",
    [
        (lambda: FFN(0), r"FFN: dim=0; it takes a positive whole number"),
        (lambda: FFN(8, -3), r"FFN: hidden=-3"),
        (lambda: FFN(8, 2.5), r"FFN: hidden=2.5"),
        (lambda: FFN(True), r"FFN: dim=True"),
        (lambda: FFN(8, multiple_of=0), r"FFN: multiple_of=0"),
        (lambda: FFN(8, layout="lama"), r"FFN: layout='lama'; it is one of llama, t5, fused \(did you mean 'llama'"),
        (lambda: FFN(8, gate="second"), r"FFN: gate='second' describes layout='fused'; in 'llama' the names"),
        (lambda: FFN(8, layout="t5", interleaved=True), r"FFN: interleaved=True describes layout='fused'"),
        (lambda: FFN(8, layout="fused", gate="last"), r"GLU: gate='last'"),
        (lambda: FFN(8, dropout=1.0), r"FFN: dropout=1.0; it takes a number in \[0, 1\)"),
        (lambda: FFN(8, act="glu"), r"FFN: glu is x\*sigmoid\(y\), which squashes its second input.*act='sigmoid'"),
        (lambda: FFN(8, act="swiglu_oai", layout="fused", gate="second"), r"FFN: gate='second', but the formula"),
        (lambda: SmoothSwiGLU(8, fp8="e3m4"), r"SmoothSwiGLU: fp8='e3m4'; it is 'e4m3', 'e5m2' or None"),
        (lambda: SmoothSwiGLU(8, grad_fp8=8), r"SmoothSwiGLU: grad_fp8=8"),
        (lambda: SmoothSwiGLU(8, scaling="chanel"), r"SmoothSwiGLU: scaling='chanel'.*did you mean 'channel'"),
        (
            lambda: SmoothSwiGLU(4, act_up="tanh").folded(torch.ones(4)),
            r"GLU\(silu, tanh\) is not linear in its second",
        ),
        (lambda: SmoothSwiGLU(4, act="swiglu_oai").folded(torch.ones(4)), r"swiglu_oai is not linear"),
    ],
)
def test_errors_of_the_constructor(make, says):
    with pytest.raises(ogive.ParameterError, match=says):
        make()


@pytest.mark.parametrize("x,got", [(torch.zeros(2, 5), r"\(2, 5\)"), (torch.tensor(1.0), r"\(\)"), ([1.0], "list")])
def test_errors_of_the_call(x, got):
    with pytest.raises(ogive.InputError, match=rf"FFN takes a tensor whose last dimension is dim=4; got {got}"):
        FFN(4)(x)


def test_weights_of_no_layout():
    with pytest.raises(
        ogive.InputError, match=r"FFN: weights called w1.weight, w2.weight are of no layout \(llama: gate_proj"
    ):
        FFN.from_state_dict({"w1.weight": torch.zeros(2, 2), "w2.weight": torch.zeros(2, 2)})


# Smooth-SwiGLU


@pytest.mark.parametrize("fp8", FORMATS)
@pytest.mark.parametrize("scaling", ["channel", "tensor"])
def test_scales_are_powers_of_two_that_fill_the_format(fp8, scaling):
    z = torch.randn(50, 64) * 10.0 ** torch.linspace(-30, 30, 64)
    z[:, 5] = 0.0
    s = scale_of(z, fp8, scaling)
    assert torch.frexp(s).mantissa.eq(0.5).all()
    top = torch.finfo(FORMATS[fp8]).max
    peak = (z.double().abs().amax(0) if scaling == "channel" else z.double().abs().amax()[None]) * s
    filled = peak[peak > 0]
    assert (filled <= top).all() and (filled > top / 2).all()
    if scaling == "channel":
        assert s[5] == 1.0


def test_cast_is_the_nearest_8_bit_number():
    """Against all 256 codes: of the scaled value's neighbours the cast takes the nearer one."""
    codes = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).double()
    codes = codes[codes.isfinite()].unique()
    z = torch.randn(400, 3) * torch.tensor([1e-3, 1.0, 1e4])
    s = scale_of(z, "e4m3", "channel").double()
    distance = (z.double() * s)[..., None].sub(codes).abs().amin(-1)
    assert torch.equal((cast(z, "e4m3").double() * s - z.double() * s).abs(), distance)


def test_what_is_not_finite_stays_and_spoils_nothing_else():
    z = torch.tensor([[1.0, float("nan"), float("inf")], [0.5, 2.0, 3.0]])
    for fp8 in FORMATS:
        q = cast(z, fp8)
        torch.testing.assert_close(q, z, rtol=0, atol=0, equal_nan=True)  # the finite ones have few digits
    assert cast(torch.zeros(0, 3), "e4m3").shape == (0, 3)


@pytest.mark.parametrize(
    "options", [{}, {"layout": "t5", "bias": True}, {"layout": "fused", "gate": "second"}], ids=str
)
def test_without_the_cast_the_function_is_unchanged(options):
    """Exactly: bit for bit, as a layer without a cast and with S folded into the weights."""
    smooth = SmoothSwiGLU(16, 24, fp8=None, **options)
    plain = FFN(16, 24, **options)
    plain.load_state_dict(smooth.state_dict(), strict=True)
    x = torch.randn(32, 16) * 3
    assert torch.equal(smooth(x), plain(x))
    folded = smooth.folded(x)
    assert type(folded) is FFN and folded.layout == "llama"
    reference = FFN.from_state_dict(
        plain.state_dict(), layout="llama", **{k: v for k, v in options.items() if k == "gate"}
    )
    assert torch.equal(folded(x), reference(x))
    assert folded.units(x).abs().amax(0).gt(224).all()


def with_outliers(layer, count, size):
    """The end of a long training run in a few channels: the two branches' weights aligned and grown."""
    with torch.no_grad():
        layer.gate_proj.weight[:count] *= size
        layer.up_proj.weight[:count] = layer.gate_proj.weight[:count]
        layer.down_proj.weight[:, :count] /= size**2
    return layer


@pytest.mark.parametrize("fp8,size,half_step", [("e4m3", 100.0, 2.0**-4), ("e5m2", 1e5, 2.0**-3)])
def test_aligned_outlier_channels_cost_less_precision(fp8, size, half_step):
    """The experiment of Fishman et al. in small: channels with aligned weights take the range of a shared
    scale from all others; with a scale for each channel the others keep the precision of the format."""
    x = torch.randn(256, 32)
    x[::64] *= 8  # rare tokens that excite the outliers
    layer = {k: with_outliers(SmoothSwiGLU(32, 64, fp8=fp8, scaling=k), 4, size) for k in ("channel", "tensor")}
    layer["tensor"].load_state_dict(layer["channel"].state_dict())
    exact = FFN.from_state_dict({k: v.double() for k, v in layer["channel"].state_dict().items()})
    assert layer["channel"].outlier_ratio(x) > 100 * SmoothSwiGLU(32, 64).outlier_ratio(x)
    z, y = exact.units(x.double()), exact(x.double())
    channel = {k: ((f.units(x) - z).norm(dim=0) / z.norm(dim=0))[4:].median().item() for k, f in layer.items()}
    token = {k: ((f(x) - y).norm(dim=1) / y.norm(dim=1)).median().item() for k, f in layer.items()}
    assert channel["channel"] < half_step
    assert channel["tensor"] > 3 * channel["channel"]
    assert token["tensor"] > 3 * token["channel"]


def test_backward_passes_through_the_cast_or_through_one_of_its_own():
    x = torch.randn(20, 8)
    layer = SmoothSwiGLU(8, 12)
    straight = FFN(8, 12)
    straight.load_state_dict(layer.state_dict())
    (_, ours), _ = run(layer, x)
    (_, theirs), _ = run(straight, x)
    assert torch.equal(ours, theirs)
    (_, rough), _ = run(SmoothSwiGLU.from_state_dict(layer.state_dict(), grad_fp8="e5m2"), x)
    assert not torch.equal(rough, theirs)
    assert (rough - theirs).norm() < 0.125 * theirs.norm()


def test_function_transforms_take_the_scale_of_each_example():
    layer = SmoothSwiGLU(8, 12, grad_fp8="e5m2")
    x = torch.randn(3, 5, 8) * torch.tensor([1e-3, 1.0, 1e3])[:, None, None]
    each = torch.stack([layer(part) for part in x])
    torch.testing.assert_close(torch.func.vmap(layer)(x), each)
    grads = torch.func.vmap(torch.func.grad(lambda t: layer(t).square().sum()))(x)
    leaf = x.clone().requires_grad_()
    sum(layer(part).square().sum() for part in leaf).backward()
    torch.testing.assert_close(grads, leaf.grad)


def test_it_trains():
    """A few steps through the cast fit what a plain layer fits."""
    x = torch.randn(256, 8)
    target = torch.sin(x[:, :1]) * x[:, 1:2] + torch.zeros(8)
    losses = {}
    for name, make in (("smooth", SmoothSwiGLU), ("plain", FFN)):
        torch.manual_seed(0)
        layer = make(8, 32)
        optimiser = torch.optim.Adam(layer.parameters(), lr=0.02)
        for _ in range(80):
            optimiser.zero_grad()
            loss = (layer(x) - target).square().mean()
            loss.backward()
            optimiser.step()
        losses[name] = loss.item()
    assert losses["smooth"] < 0.25 * target.square().mean()
    assert losses["smooth"] < 2 * losses["plain"] + 0.01


def test_repr_says_what_is_cast():
    text = repr(SmoothSwiGLU(8, grad_fp8="e5m2"))
    assert text.startswith("SmoothSwiGLU(\n  8, hidden=22, layout=llama, fp8=e4m3, grad_fp8=e5m2, scaling=channel")
    assert "(act): GLU(silu, identity, gate=first, dim=-1)" in text
    assert isinstance(SmoothSwiGLU(8).act, GLU) and isinstance(SmoothSwiGLU(8).dropout, nn.Dropout)

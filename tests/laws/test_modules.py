"""Law 2, modules: every entry as an nn.Module behaves as a module should, its parameters fixed or learned."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

import ogive
from tests.conftest import inputs_of
from tests.entries import every_entry, every_learnable_entry, every_scalar_entry, trainable

NARROW = [torch.bfloat16, torch.float16]


def learned(entry, share="layer", **more):
    """The module of ``entry`` with every parameter learned that can be."""
    return ogive.Act(entry, **{k: ogive.learn(share) for k in trainable(entry)}, **more)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=3e-5, atol=3e-6)


@every_entry
def test_module_is_the_function(entry):
    x = inputs_of(entry, torch.randn(6, 4))
    assert torch.equal(ogive.Act(entry)(*x), entry(*x))
    close(learned(entry)(*x), entry(*x))
    for share in ("channel", "group:2"):
        close(learned(entry, share, channels=4)(*x), entry(*x))
    close(learned(entry, "neuron", shape=(4,))(*x), entry(*x))


@every_learnable_entry
def test_every_learned_parameter_gets_a_gradient(entry):
    act = learned(entry, "channel", channels=4)
    act(*inputs_of(entry, torch.randn(64, 4) * 2)).sum().backward()
    for name, p in act.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all(), name
        assert p.grad.shape == (4,)


@every_entry
def test_state_survives_copy_pickle_and_state_dict(entry):
    x = inputs_of(entry, torch.randn(6, 4))
    act = learned(entry, "channel", channels=4)
    with torch.no_grad():
        for p in act.parameters():
            p += 0.01 * torch.rand_like(p)
    expected = act(*x)
    fresh = learned(entry, "channel", channels=4)
    fresh.load_state_dict(act.state_dict(), strict=True)
    assert list(act.state_dict()) == [f"raw_{k}" for k in act.learned]
    for twin in (fresh, copy.deepcopy(act), pickle.loads(pickle.dumps(act))):
        assert torch.equal(twin(*x), expected)
        assert repr(twin) == repr(act)
        assert not {id(p) for p in twin.parameters()} & {id(p) for p in act.parameters()}


@every_entry
def test_repr_shows_every_parameter(entry):
    for act in (ogive.Act(entry), learned(entry, "channel", channels=4)):
        text = repr(act)
        assert text.startswith(f"Act({entry.name}")
        for key in entry.params:
            assert f"{key}=" in text
        assert text.count("learned per channel, 4") == len(list(act.parameters()))


@every_entry
def test_shapes_and_layouts(entry):
    act = learned(entry)
    for shape in [(), (0,), (3, 0, 2), (1, 1)]:
        assert act(*inputs_of(entry, torch.randn(shape)) if shape else _zero_d(entry)).shape == shape
    image = torch.randn(2, 3, 4, 5)
    inputs = inputs_of(entry, image)
    expected = act(*inputs)
    last = act(*(v.to(memory_format=torch.channels_last) for v in inputs))
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(last, expected)
    turned = act(*(v.transpose(1, 3) for v in inputs))
    # what does not fill its memory in an order kernels know takes the eager path: the last digit may differ
    torch.testing.assert_close(turned, expected.transpose(1, 3), rtol=2.4e-7, atol=0)
    strided = act(*(v[..., ::2] for v in inputs))
    torch.testing.assert_close(strided, expected[..., ::2], rtol=2.4e-7, atol=0)
    leaf = image.to(memory_format=torch.channels_last).requires_grad_()
    act(*inputs_of(entry, leaf)).sum().backward()
    assert leaf.grad is None or leaf.grad.shape == leaf.shape


def _zero_d(entry):
    return (torch.tensor(0.3), torch.tensor(-0.7))[: len(entry.inputs)]


@every_entry
def test_meta_device(entry):
    with torch.device("meta"):
        lazy = learned(entry, "channel", channels=3)
    assert all(p.is_meta for p in lazy.parameters())
    y = lazy(*inputs_of(entry, torch.empty(2, 3, device="meta")))
    assert y.is_meta and y.shape == (2, 3) and y.dtype == torch.float32
    repr(lazy)
    lazy.to_empty(device="cpu")
    lazy.reset_parameters()
    x = inputs_of(entry, torch.randn(2, 3))
    close(lazy(*x), entry(*x))


@every_entry
def test_dtype_of_the_input_is_kept(entry):
    """Float32 parameters, 16-bit input: 16-bit out and 16-bit gradients, with autocast and without."""
    act = learned(entry, "channel", channels=4)
    for dtype in [*NARROW, torch.float32, torch.float64]:
        x = torch.randn(3, 4).to(dtype)
        leaf = x.clone().requires_grad_()
        y = act(*inputs_of(entry, leaf))
        assert y.dtype == dtype
        if y.requires_grad:
            y.sum().backward()
            assert leaf.grad is None or leaf.grad.dtype == dtype
        assert all(p.dtype == torch.float32 and (p.grad is None or p.grad.dtype == p.dtype) for p in act.parameters())
        with torch.autocast("cpu", torch.bfloat16):
            assert act(*inputs_of(entry, x)).dtype == dtype
    assert act.to(torch.bfloat16)(*inputs_of(entry, torch.randn(3, 4).bfloat16())).dtype == torch.bfloat16


@every_entry
def test_what_is_not_floating_is_refused(entry):
    act = ogive.Act(entry)
    for wrong in (
        torch.arange(4),
        torch.ones(4, dtype=torch.bool),
        torch.ones(4, dtype=torch.complex64),
        "text",
    ):
        with pytest.raises(ogive.InputError, match=entry.name):
            act(*[wrong] * len(entry.inputs))


@every_entry
def test_wrong_arguments_are_named(entry):
    with pytest.raises(ogive.ParameterError, match=f"{entry.name} has no parameter 'nonsense'"):
        ogive.Act(entry, nonsense=1.0)
    for key, param in entry.params.items():
        outside = [v for v in (param.low - 1, param.high + 1) if abs(v) < float("inf")]
        for wrong in ("text", None, float("nan"), float("inf"), True, torch.ones(2), *outside):
            with pytest.raises(ogive.ParameterError, match=rf"{entry.name}: parameter {key}="):
                ogive.Act(entry, **{key: wrong})
        says = " .*channels=" if key in trainable(entry) else "=.*derivative by .* is zero"
        with pytest.raises(ogive.ParameterError, match=f"{entry.name}: parameter {key}{says}"):
            ogive.Act(entry, **{key: ogive.learn("channel")})


@every_scalar_entry
def test_in_place(entry):
    act, x = ogive.Act(entry, inplace=True), torch.randn(3, 4)
    expected = entry(x)
    assert act(x) is x and torch.equal(x, expected)
    leaf = torch.randn(3, requires_grad=True)
    for wrong in (leaf, leaf * 2):
        before = wrong.detach().clone()
        with pytest.raises(ogive.InputError, match="inplace=True would overwrite the input"):
            act(wrong)
        assert torch.equal(wrong.detach(), before)
    with torch.no_grad():
        inner = leaf * 2
        assert act(inner) is inner

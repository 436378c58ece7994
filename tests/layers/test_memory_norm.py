"""Norms that keep their output: torch's values and gradients, fewer bytes, channels that the output loses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ogive.errors import InputError, ParameterError
from ogive.layers.memory_norm import MSLayerNorm, MSRMSNorm
from ogive.surgery.memory.scope import Meter

DRAW = torch.Generator().manual_seed(0)


def pair(kind, shape, dtype, offset=0.3):
    """The norm and torch's, with the same parameters."""
    if kind == "layer":
        ours, theirs = MSLayerNorm(shape, 1e-4, dtype=dtype), nn.LayerNorm(shape, 1e-4, dtype=dtype)
    else:
        ours, theirs = MSRMSNorm(shape, 1e-4, dtype=dtype), nn.RMSNorm(shape, 1e-4, dtype=dtype)
    with torch.no_grad():
        ours.weight.copy_(1 + 0.5 * torch.randn(ours.weight.shape, generator=DRAW))
        if ours.bias is not None:
            ours.bias.copy_(offset * torch.randn(ours.bias.shape, generator=DRAW))
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def gradients(norm, x, g):
    x = x.clone().requires_grad_()
    y = norm(x)
    return y, *torch.autograd.grad(y, [x, *norm.parameters()], g)


@pytest.mark.parametrize("kind", ["layer", "rms"])
@pytest.mark.parametrize("shape", [24, (3, 8)])
def test_gradients_are_those_of_the_norm(kind, shape):
    ours, theirs = pair(kind, shape, torch.float64)
    x = 2 + 3 * torch.randn(5, 2, *theirs.normalized_shape, generator=DRAW, dtype=torch.float64)
    g = torch.randn(x.shape, generator=DRAW, dtype=torch.float64)
    for a, b in zip(gradients(ours, x, g), gradients(theirs, x, g)):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_float32_gradients_are_as_near_to_the_truth_as_torchs(kind):
    ours, theirs = pair(kind, 256, torch.float32)
    x, g = torch.randn(64, 256, generator=DRAW), torch.randn(64, 256, generator=DRAW)
    exact = gradients(theirs.double(), x.double(), g.double())
    for a, b in zip(gradients(ours, x, g), exact):
        assert float((a - b).detach().norm() / b.detach().norm()) < 5e-6


@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_bfloat16_gradients_are_right_to_rounding(kind):
    ours, theirs = pair(kind, 64, torch.bfloat16)
    x, g = (torch.randn(32, 64, generator=DRAW).bfloat16() for _ in range(2))
    exact = gradients(theirs.double(), x.double(), g.double())
    for a, b in zip(gradients(ours, x, g), exact):
        assert a.dtype == torch.bfloat16
        assert float((a.double() - b).detach().norm() / b.detach().norm()) < 2e-2


def test_without_parameters():
    x = torch.randn(4, 10, generator=DRAW, dtype=torch.float64).requires_grad_()
    norm = MSLayerNorm(10, elementwise_affine=False)
    assert not list(norm.parameters())
    assert torch.autograd.gradcheck(norm, x)
    assert torch.autograd.gradcheck(MSRMSNorm(10, elementwise_affine=False), x)


def test_channels_that_the_output_does_not_determine_are_kept():
    ours, theirs = pair("layer", 12, torch.float32)
    with torch.no_grad():
        for norm in (ours, theirs):
            norm.weight[3] = 0.0
            norm.weight[5], norm.bias[5] = 1e-6, 4.0
    x, g = torch.randn(50, 12, generator=DRAW), torch.randn(50, 12, generator=DRAW)
    exact = gradients(theirs.double(), x.double(), g.double())
    for a, b in zip(gradients(ours, x, g), exact):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-5)
    rms, other = pair("rms", 6, torch.float64)
    with torch.no_grad():
        rms.weight[0] = other.weight[0] = 0.0
    x = torch.randn(9, 6, generator=DRAW, dtype=torch.float64)
    for a, b in zip(gradients(rms, x, x), gradients(other, x, x)):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("make", [MSLayerNorm, MSRMSNorm])
def test_bytes_kept_with_the_layer_that_follows(make):
    norm, after = make(64), nn.Linear(64, 8)
    x = torch.randn(100, 64, generator=DRAW).requires_grad_()
    with Meter([*norm.parameters(), *after.parameters()]) as meter:
        after(norm(x))
    assert meter.bytes == 100 * 64 * 4 + 100 * 4  # the linear layer's input, and 1/s of each row
    plain = nn.LayerNorm(64)
    with Meter([*plain.parameters(), *after.parameters()]) as meter:
        after(plain(x))
    assert meter.bytes == 2 * 100 * 64 * 4 + 2 * 100 * 4


def test_function_transforms_and_inference():
    norm = MSLayerNorm(5)
    x = torch.randn(3, 5, generator=DRAW)
    want = nn.functional.layer_norm(x, (5,), norm.weight, norm.bias, norm.eps)
    with torch.no_grad():
        assert torch.equal(norm(x), want)
    jacobian = torch.func.jacrev(norm)(x[0])
    reference = torch.autograd.functional.jacobian(lambda t: nn.functional.layer_norm(t, (5,)), x[0])
    torch.testing.assert_close(jacobian, reference)


def test_state_loads_into_torchs_norm_and_back():
    ours, theirs = pair("layer", 7, torch.float32)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = torch.randn(2, 7, generator=DRAW)
    assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize(("ours", "theirs"), [(MSLayerNorm, nn.LayerNorm), (MSRMSNorm, nn.RMSNorm)])
@pytest.mark.filterwarnings("ignore:Mismatch dtype")
def test_under_autocast_the_result_has_the_dtype_of_torchs(ours, theirs):
    x = torch.randn(4, 8, generator=DRAW).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got, want = ours(8)(x), theirs(8)(x)
    assert got.dtype == want.dtype
    torch.testing.assert_close(got, want, rtol=1e-2, atol=1e-2)


def test_changed_in_place_is_an_error():
    y = MSLayerNorm(4)(torch.randn(3, 4, generator=DRAW).requires_grad_())
    with torch.no_grad():
        y.add_(1.0)
    with pytest.raises(RuntimeError, match="inplace"):
        y.sum().backward()


def test_wrong_shapes():
    with pytest.raises(ParameterError, match="normalized_shape=0"):
        MSLayerNorm(0)
    with pytest.raises(ParameterError, match=r"eps=0\.0"):
        MSRMSNorm(4, eps=0.0)
    with pytest.raises(InputError, match=r"\(2, 3\)"):
        MSLayerNorm(4)(torch.zeros(2, 3))

"""Two layers as one: against running both, for strides, groups, dilations and paddings."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from ogive.errors import OgiveError
from ogive.surgery.depth.affine import affine_of, merged, removable, why_not

PAIRS = [
    (nn.Linear(5, 7), nn.Linear(7, 3), (4, 5)),
    (nn.Conv1d(2, 4, 3, padding=1), nn.Conv1d(4, 3, 1), (2, 2, 9)),
    (nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 5, 1), (2, 3, 9, 8)),
    (nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 5, 3), (2, 3, 9, 8)),
    (nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Conv2d(8, 5, 3, stride=2), (2, 3, 17, 15)),
    (nn.Conv2d(3, 8, 2, dilation=3), nn.Conv2d(8, 5, (3, 2), stride=(1, 2), dilation=2), (2, 3, 17, 15)),
    (nn.Conv2d(4, 8, 3, groups=4, padding=2), nn.Conv2d(8, 8, 3, groups=2), (2, 4, 9, 8)),
    (nn.Conv2d(4, 6, 1), nn.Conv2d(6, 6, 3, groups=6), (2, 4, 9, 8)),
    (nn.Conv2d(4, 6, 1, bias=False), nn.Conv2d(6, 6, 3, groups=6, padding=1, stride=2), (2, 4, 9, 8)),
    (nn.Conv2d(6, 6, 3, groups=6, padding=1), nn.Conv2d(6, 4, 1), (2, 6, 9, 8)),
    (nn.Conv3d(2, 3, 2), nn.Conv3d(3, 2, 2, stride=2), (1, 2, 6, 5, 7)),
]


@pytest.mark.parametrize(("first", "second", "shape"), PAIRS)
def test_one_layer_computes_what_two_did(first, second, shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    one = merged(affine_of(first), affine_of(second)).module(x)
    want = second(first(x))
    torch.testing.assert_close(one(x), want, atol=1e-5, rtol=1e-5)
    assert sum(isinstance(m, (nn.Linear, nn.modules.conv._ConvNd)) for m in one.modules()) == 1


def test_batch_norms_are_folded():
    torch.manual_seed(0)
    conv, norm, last = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3)
    for _ in range(20):
        norm(3 * torch.randn(16, 8, 4, 4) + 1)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    norm.eval()
    x = torch.randn(2, 3, 7, 7)
    one = merged(affine_of(conv, norm), affine_of(last)).module(x)
    torch.testing.assert_close(one(x), last(norm(conv(x))), atol=1e-5, rtol=1e-5)


def test_padding_between_is_refused_or_moved():
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1)
    a, b = affine_of(first), affine_of(second)
    with pytest.raises(OgiveError, match="pads what a wider convolution gives"):
        merged(a, b)
    assert "where the first has its bias" in why_not(affine_of(nn.Conv2d(3, 4, 1)), b, True)
    x = torch.randn(2, 3, 9, 9)
    one = merged(a, b, exact=False).module(x)(x)
    moved = functional.conv2d(functional.conv2d(x, first.weight, first.bias, padding=2), second.weight, second.bias)
    torch.testing.assert_close(one, moved, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(one[..., 1:-1, 1:-1], second(first(x))[..., 1:-1, 1:-1], atol=1e-5, rtol=1e-5)
    assert float((one - second(first(x))).detach().abs().max()) > 1e-3


def test_a_layer_with_code_of_its_own():
    class Same(nn.Conv2d):
        def forward(self, x):
            return super().forward(functional.pad(x, (0, 1, 1, 1)))

    class Twice(nn.Conv2d):
        def forward(self, x):
            return super().forward(2 * x)

    x = torch.randn(2, 3, 8, 9)
    odd = Same(3, 4, 3, stride=2)
    made = affine_of(odd, None, (x, odd(x)))
    assert made.pad == ((1, 1), (0, 1)) or torch.allclose(made(x.double()).float(), odd(x), atol=1e-5)
    torch.testing.assert_close(made.module(x)(x), odd(x), atol=1e-5, rtol=1e-5)
    twice = Twice(3, 4, 3)
    with pytest.raises(OgiveError, match="forward of its own"):
        affine_of(twice, None, (x, twice(x)))
    with pytest.raises(OgiveError, match="pads by reflect"):
        affine_of(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"))
    with pytest.raises(OgiveError, match="statistics of the batch"):
        affine_of(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False))


def test_same_padding_of_an_even_kernel():
    conv = nn.Conv2d(3, 4, 4, padding="same")
    x = torch.randn(2, 3, 8, 9)
    torch.testing.assert_close(affine_of(conv).module(x)(x), conv(x), atol=1e-5, rtol=1e-5)


def test_what_the_identity_can_replace():
    assert removable(affine_of(nn.Conv2d(4, 4, 3, padding=1)))
    assert not removable(affine_of(nn.Conv2d(4, 4, 3)))
    assert not removable(affine_of(nn.Conv2d(4, 8, 1)))
    assert not removable(affine_of(nn.Conv2d(4, 4, 1, stride=2)))
    assert removable(affine_of(nn.Linear(4, 4)))

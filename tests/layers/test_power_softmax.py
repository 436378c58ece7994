"""Power-softmax: its formula, invariances, masks, the reciprocal by products."""

from __future__ import annotations

import math

import pytest
import torch

from ogive.errors import InputError, ParameterError
from ogive.layers.power_softmax import PowerSoftmax

X = torch.randn(50, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("p", [2, 4, 10])
def test_the_formula(p):
    want = X**p / (X**p).sum(-1, keepdim=True)
    torch.testing.assert_close(PowerSoftmax(p)(X), want, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(PowerSoftmax(p, dim=0)(X), X**p / (X**p).sum(0), rtol=1e-8, atol=1e-12)
    fixed = PowerSoftmax(p, scale=3.0, eps=1e-3)(X)
    torch.testing.assert_close(fixed, (X / 3) ** p / (((X / 3) ** p).sum(-1, keepdim=True) + 1e-3))


def test_rows_sum_to_one_at_any_scale_and_the_sign_does_not_matter():
    layer = PowerSoftmax(4)
    for scale in (1e-30, 1.0, 1e30):  # the fourth power of the ends leaves float32
        made = layer((scale * X).float())
        torch.testing.assert_close(made.sum(-1), torch.ones(50), rtol=0, atol=1e-6)
        torch.testing.assert_close(made.double(), layer(X), rtol=1e-4, atol=1e-6)
    assert torch.equal(layer(-X), layer(X))


def test_masked_scores_and_rows_of_zeros_have_no_weight():
    x = X.clone()
    x[:, 10:] = -math.inf
    made = PowerSoftmax(2)(x)
    assert not made[:, 10:].any()
    torch.testing.assert_close(made[:, :10], PowerSoftmax(2)(X[:, :10]))
    x[3] = -math.inf
    assert not PowerSoftmax(2)(x)[3].any()
    for weights in (PowerSoftmax(2), PowerSoftmax(2, scale=4.0, iterations=6)):
        assert torch.isfinite(weights(torch.zeros(2, 5))).all()


@pytest.mark.parametrize("rounds", [2, 5, 9])
def test_the_reciprocal_by_products_has_the_error_of_its_formula(rounds):
    top = float(X.abs().max())
    made = PowerSoftmax(2, scale=top, iterations=rounds)(X)
    powers = (X / top) ** 2
    d = powers.mean(-1, keepdim=True) + 1e-9
    want = powers / (16 * d) * (1.0 - (1.0 - d) ** 2**rounds)
    torch.testing.assert_close(made, want, rtol=1e-9, atol=1e-14)
    assert float(d.max()) <= 1.0 + 1e-9


def test_the_domain_of_the_reciprocal_does_not_grow_with_the_length():
    layer = PowerSoftmax(2, scale=5.0, iterations=12)
    g = torch.Generator().manual_seed(1)
    for length in (8, 64, 2048):
        x = torch.randn(20, length, dtype=torch.float64, generator=g)
        torch.testing.assert_close(layer(x).sum(-1), torch.ones(20, dtype=torch.float64), rtol=0, atol=1e-6)


def test_depth_counts_products():
    assert PowerSoftmax(2).depth is None
    assert PowerSoftmax(4, iterations=3).depth is None
    assert PowerSoftmax(4, scale=2.0, iterations=3).depth == 1 + 2 + 1 + 3


def test_gradients_and_halves():
    x = X[:3].clone().requires_grad_(True)
    assert torch.autograd.gradcheck(PowerSoftmax(4, scale=2.0), x)
    # the scale by the maximum cancels, so its gradient is that of any fixed scale
    grads = [torch.autograd.grad(PowerSoftmax(2, scale=s, eps=1e-15)(x)[:, 0].sum(), x)[0] for s in ("max", 2.0)]
    torch.testing.assert_close(*grads)
    half = PowerSoftmax(8)(300 * X.half())
    assert half.dtype == torch.float16
    assert torch.isfinite(half).all()


@pytest.mark.parametrize(
    ("args", "match"),
    [({"p": 3}, "p=3"), ({"scale": 0.0}, r"scale=0\.0"), ({"scale": "mean"}, "'mean'"), ({"eps": 0.0}, r"eps=0\.0"),
     ({"iterations": 0}, "iterations=0"), ({"dim": 1.0}, r"dim=1\.0")],
)  # fmt: skip
def test_bad_numbers(args, match):
    with pytest.raises(ParameterError, match=match):
        PowerSoftmax(**args)
    with pytest.raises(InputError, match="int64"):
        PowerSoftmax()(torch.ones(3, dtype=torch.int64))

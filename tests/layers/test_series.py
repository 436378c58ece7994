"""The series activation against its sums written out."""

from __future__ import annotations

import pytest
import torch

from ogive.errors import InputError, ParameterError
from ogive.layers.series import Series


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("name", ["relu", "silu"])
def test_the_sum_over_neighbours(n, name):
    torch.manual_seed(0)
    layer = Series(name, n, channels=3)
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 3, 4, 5)
    f = {"relu": torch.relu, "silu": torch.nn.functional.silu}[name]
    want = torch.zeros_like(x)
    for c in range(3):
        for h in range(4):
            for w in range(5):
                for i in range(-n, n + 1):
                    for j in range(-n, n + 1):
                        if 0 <= h + i < 4 and 0 <= w + j < 5:
                            a = layer.weight[c, 0, i + n, j + n]
                            want[:, c, h, w] += (a * f(x[:, c, h + i, w + j] + layer.bias[c])).detach()
    torch.testing.assert_close(layer(x), want, atol=1e-5, rtol=1e-5)


def test_terms_without_neighbours():
    torch.manual_seed(0)
    layer = Series("relu", 4, channels=6, spatial=False)
    torch.nn.init.normal_(layer.weight)
    x = torch.randn(7, 2, 6)
    want = sum(layer.weight[i] * torch.relu(x + layer.bias[i]) for i in range(4))
    torch.testing.assert_close(layer(x), want)
    assert len(set(Series("relu", 4, channels=1, spatial=False).bias.flatten().tolist())) == 4


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_it_starts_as_the_activation_and_every_parameter_learns(dims):
    torch.manual_seed(0)
    layer = Series("gelu", 1, channels=2, dims=dims)
    x = torch.randn(3, 2, *[5] * dims)
    torch.testing.assert_close(layer(x), torch.nn.functional.gelu(x))
    layer(x).square().sum().backward()
    assert all(bool((p.grad != 0).all()) for p in layer.parameters())


def test_it_separates_what_one_relu_cannot():
    """A hat, which no a relu(b x + c) + d comes near: at least half of its variance stays."""
    torch.manual_seed(0)
    x = torch.linspace(-2, 2, 101)[:, None]
    want = torch.relu(1 - x.abs())
    layer = Series("relu", 5, channels=1, spatial=False)
    adam = torch.optim.Adam(layer.parameters(), 0.03)
    for _ in range(400):
        loss = (layer(x) - want).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert float(loss.detach()) < 0.2 * float(want.var())


def test_bad_input():
    with pytest.raises(ParameterError, match="n=-1"):
        Series("relu", -1, channels=2)
    with pytest.raises(ParameterError, match="n=0"):
        Series("relu", 0, channels=2, spatial=False)
    with pytest.raises(ParameterError, match="dims=4"):
        Series("relu", 1, channels=2, dims=4)
    with pytest.raises(InputError, match=r"shape \(N, 2, size, size\); got \(1, 3, 4, 4\)"):
        Series("relu", 1, channels=2)(torch.zeros(1, 3, 4, 4))

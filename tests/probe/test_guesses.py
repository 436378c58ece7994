"""Shares of classes of untrained models against the theory of initial guessing bias."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
import torch
from torch import nn

from ogive.derive.guessing_bias import guessing_bias
from ogive.errors import InputError, ParameterError
from ogive.probe.guesses import guesses


def net(act: type[nn.Module], classes: int, depth: int = 1) -> nn.Sequential:
    widths = [64] + [200] * depth
    maps = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b, bias=False), act())]
    return nn.Sequential(*maps, nn.Linear(200, classes, bias=False))


@pytest.mark.parametrize(("act", "classes", "depth"), [(nn.ReLU, 2, 1), (nn.ReLU, 4, 3), (nn.Tanh, 2, 2)])
def test_models_guess_as_their_formula_says(act, classes, depth):
    x = torch.randn(500, 64, generator=torch.Generator().manual_seed(1))
    found = guesses(lambda: net(act, classes, depth), x, 150)
    theory = guessing_bias(act.__name__.lower(), depth, classes)
    assert found.shares.shape == (150, classes)
    assert torch.allclose(found.shares.sum(1), torch.ones(150, dtype=torch.float64), atol=1e-6)
    slack = 4.0 * found.error + 0.03  # 500 examples move an even share
    assert found.largest == pytest.approx(theory.largest, abs=slack)
    assert found.predicted == pytest.approx(theory.largest, abs=slack)
    assert found.gamma == pytest.approx(theory.gamma, rel=0.35, abs=0.02)


def test_a_constant_model_guesses_one_class():
    found = guesses(
        lambda: nn.Sequential(nn.Linear(3, 4), nn.Threshold(1e9, 0.0), nn.Linear(4, 3)), torch.randn(9, 3), 5
    )
    assert (found.largest, found.gamma, found.predicted) == (1.0, float("inf"), 1.0)


def test_the_seed_is_its_own_and_the_result_is_json():
    x = torch.randn(20, 64, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(4)
    one = guesses(lambda: net(nn.ReLU, 3), x, 3)
    after = torch.rand(1)
    torch.manual_seed(4)
    assert torch.equal(after, torch.rand(1))
    assert torch.equal(one.shares, guesses(lambda: net(nn.ReLU, 3), x, 3).shares)
    assert len(json.loads(json.dumps(one.to_dict()))["shares"]) == 3 and "3 untrained models" in repr(one)


def test_bad_input():
    x = torch.randn(4, 64)
    with pytest.raises(ParameterError, match="models=1"):
        guesses(lambda: net(nn.ReLU, 2), x, 1)
    with pytest.raises(InputError, match="make returned int: '3'"):
        guesses(lambda: 3, x)
    with pytest.raises(InputError, match=r"shape \(4, 1\)"):
        guesses(lambda: nn.Linear(64, 1), x)

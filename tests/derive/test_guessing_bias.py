"""Initial guessing bias: closed forms of relu, shares of classes, and real random networks."""

from __future__ import annotations

import json
import math

import mpmath
import pytest
import torch

from ogive.derive.guessing_bias import favourite, fractions, guessing_bias
from ogive.errors import OgiveError, ParameterError


def arc_cosine(c, depth):
    with mpmath.workdps(30):
        c = mpmath.mpf(c)
        for _ in range(depth):
            c = (mpmath.sqrt(1 - c * c) + c * (mpmath.pi - mpmath.acos(c))) / mpmath.pi
        return float(c)


@pytest.mark.parametrize(("depth", "start"), [(1, 0.0), (2, 0.0), (7, 0.0), (40, 0.0), (3, 0.4), (1, -0.9)])
def test_relu_is_the_arc_cosine_map(depth, start):
    got = guessing_bias("relu", depth, correlation=start)
    c = arc_cosine(start, depth)
    assert got.correlation == pytest.approx(c, rel=1e-10)
    assert got.gamma == pytest.approx(c / (1 - c), rel=1e-8)
    assert got.largest == pytest.approx(0.5 + math.atan(math.sqrt(c / (1 - c))) / math.pi, rel=1e-8)


def test_the_scale_of_the_weights_counts_where_the_function_has_one():
    narrow, wide = guessing_bias("gelu", 3, sigma_w=0.5), guessing_bias("gelu", 3, sigma_w=4.0)
    assert narrow.gamma < wide.gamma
    assert guessing_bias("relu", 3, sigma_w=0.5).gamma == pytest.approx(guessing_bias("relu", 3).gamma, rel=1e-9)
    assert guessing_bias("tanh", 3, sigma_b=0.5).gamma > 0.0, "biases are the same for all inputs"


@pytest.mark.parametrize("spec", ["tanh", "sin(x)", "x", "hardtanh", "softsign"])
def test_odd_functions_have_none(spec):
    for depth in (1, 20):
        got = guessing_bias(spec, depth)
        assert (got.gamma, got.largest) == (0.0, 0.5)


def test_shares_of_two_classes_by_two_ways():
    """Phi(sqrt(gamma) z) of two classes: its mean maximum is 1/2 + atan(sqrt(gamma))/pi."""
    for gamma in (0.3, 2.0):
        shares = fractions(gamma, 2, 40_000).max(1).values
        assert float(shares.mean()) == pytest.approx(favourite(gamma)[0], abs=4 * float(shares.std()) / 200)
    assert favourite(0.0) == (0.5, 0.0) and favourite(math.inf, 10) == (1.0, 0.0)


def test_shares_of_many_classes():
    shares = fractions(1.7, 6, 200)
    assert torch.allclose(shares.sum(1), torch.ones(200, dtype=torch.float64), atol=1e-11)
    assert torch.allclose(fractions(0.0, 6, 2), torch.full((2, 6), 1 / 6, dtype=torch.float64), atol=1e-12)
    one = fractions(4.0, 3, 1, seed=3)[0]
    centres = 2.0 * torch.randn(1, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)[0]
    noise = torch.randn(400_000, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    counted = torch.bincount((centres + noise).argmax(1), minlength=3) / 400_000
    assert torch.allclose(one, counted.double(), atol=4e-3)


@pytest.mark.parametrize(("spec", "depth"), [("relu", 1), ("relu", 4), ("tanh", 2), ("softplus", 1)])
def test_random_networks_guess_as_predicted(spec, depth):
    """300 networks of width 256 on 400 normal inputs: the mean share of the favourite of two classes."""
    import ogive

    torch.manual_seed(0)
    act, shares = ogive.get(spec), []
    scale = float(ogive.gain(spec)) / 16.0
    x = torch.randn(400, 256)
    for _ in range(300):
        h = x @ torch.randn(256, 256) / 16.0
        for layer in range(depth):
            h = act(h) @ torch.randn(256, 2 if layer == depth - 1 else 256) * scale
        share = float((h[:, 0] > h[:, 1]).float().mean())
        shares.append(max(share, 1.0 - share))
    sampled = torch.tensor(shares)
    # 400 inputs move an even share by 1/40 on average, which the prediction leaves out
    slack = 4.0 * float(sampled.std()) / math.sqrt(300) + 0.02
    assert float(sampled.mean()) == pytest.approx(guessing_bias(spec, depth).largest, abs=slack)


def test_results_are_json_and_errors_quote():
    got = guessing_bias("relu", 2, 5)
    assert json.loads(json.dumps(got.to_dict()))["classes"] == 5 and "relu, 2 layers, 5 classes" in repr(got)
    assert 0.0 < got.error < 0.01
    with pytest.raises(ParameterError, match="depth=0; it takes a whole number from 1"):
        guessing_bias("relu", 0)
    with pytest.raises(ParameterError, match="classes=1"):
        guessing_bias("relu", 1, 1)
    with pytest.raises(ParameterError, match="correlation=2"):
        guessing_bias("relu", correlation=2.0)
    with pytest.raises(ParameterError, match="gamma=-1"):
        fractions(-1.0)
    with pytest.raises(OgiveError, match="infinite"):
        guessing_bias("exp(x**2)")

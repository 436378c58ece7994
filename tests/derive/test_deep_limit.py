"""The deep limit of kernels: what it says against what the kernels of deep networks do."""

from __future__ import annotations

import math

import pytest
import torch

from ogive.derive.deep_limit import deep_limit
from ogive.derive.gaussian_process import GaussianProcess
from ogive.derive.kernel_limit import kernel_limit
from ogive.errors import InputError, OgiveError, ParameterError


def mix(*weights: float) -> str:
    """The sum of weights times normalised Hermite polynomials 0 to 3."""
    parts = ["1", "x", "(x**2 - 1)/sqrt(2)", "(x**3 - 3*x)/sqrt(6)"]
    return " + ".join(f"{w!r}*{p}" for w, p in zip(weights, parts) if w)


def circle(*angles: float) -> torch.Tensor:
    t = torch.tensor(angles, dtype=torch.float64)
    return torch.stack([t.cos(), t.sin()], 1)


def test_regimes_and_orders_from_hermite_weights():
    h = math.sqrt(0.5)
    assert deep_limit(mix(h, 0, h)).regime == "majority vote"
    assert deep_limit(mix(0, 0, h, h)).regime == "1-nn"
    assert deep_limit("x").regime == "linear"
    got = deep_limit(mix(0, 0.8, 0.6))  # r = 0.64, b = 0.64 + 2 0.36
    assert got.regime == "singular kernel" and got.at_zero == 0.0
    assert got.order == pytest.approx(-2 * math.log(0.64) / math.log(1.36), rel=1e-12)
    assert got.depth_scale == pytest.approx(-1 / math.log(0.64), rel=1e-12)
    # b = r + 3 (1 - r) for the cubic; r = 0.5 gives b = 2 and order 2.
    assert deep_limit(mix(0, h, 0, h)).consistent_in(2) and not deep_limit(mix(0, h, 0, h)).consistent_in(3)
    # Of a function that jumps kappa leaves 1 with infinite slope: a logarithm, order 0.
    jump = deep_limit("where(x > 0, 1, -1)")
    assert (jump.slope_at_one, jump.order) == (math.inf, 0.0)
    assert jump.slope_at_zero == pytest.approx(2 / math.pi, rel=1e-12)


@pytest.mark.parametrize("spec", ["relu", "gelu", "silu", "sigmoid", "elu"])
def test_activations_with_a_mean_take_a_vote(spec):
    assert deep_limit(spec).regime == "majority vote"


@pytest.mark.parametrize("spec", ["tanh", "erf(x)", "sin(2*x)", "hardtanh"])
def test_odd_activations_are_singular_kernels(spec):
    got = deep_limit(spec)
    assert got.regime == "singular kernel" and got.order > 0
    # At the stable length of sigma_w = 2 without a bias as well; with one they vote.
    assert deep_limit(spec, 2.0).regime == "singular kernel"
    if spec != "sin(2*x)":
        assert deep_limit(spec, 2.0, 0.5).regime == "majority vote"


def test_the_kernel_of_a_deep_network_has_the_order_it_says():
    spec = mix(0, 0.8, 0, 0.6)
    got = deep_limit(spec)
    b = got.slope_at_one
    # Distances a factor sqrt(b) apart are one layer apart: the weights differ by 1/r = b^(order/2).
    x = circle(0.0, *(3e-3 * b ** (k / 2) for k in range(5)))
    weights = kernel_limit(spec, x[:1], x, depth=48, normalise="layer", tangent=False).nngp[0, 1:]
    steps = (weights[:-1].log() - weights[1:].log()) / (0.5 * math.log(b))
    assert (steps - got.order).abs().max() < 1e-3


def test_the_tangent_kernel_gains_one_kernel_with_every_layer():
    # T_L = K_L + T_{L-1} kappa'(c), K_L = K_{L-1} kappa(c)/c, and both factors tend to r: T/K grows by 1.
    spec = mix(0, 0.8, 0, 0.6)
    x = circle(0.0, 0.4, 0.9, 1.3)
    ratio = []
    for depth in (40, 50):
        got = kernel_limit(spec, x[:1], x[1:], depth=depth, sigma_w=1.0, normalise="layer")
        ratio.append(got.ntk / got.nngp)
    torch.testing.assert_close(ratio[1] - ratio[0], torch.full((1, 3), 10.0, dtype=torch.float64), rtol=1e-6, atol=0)


def test_deep_networks_classify_as_the_regime_says():
    torch.manual_seed(1)
    angles = torch.linspace(0.05, 1.5, 12, dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 0, 1, 1, 0, 0, 0, 1, 0, 0])
    queries = torch.rand(60, dtype=torch.float64) * 1.4 + 0.08
    x, q = circle(*angles.tolist()), circle(*queries.tolist())
    nearest = labels[(queries[:, None] - angles).abs().argmin(1)]
    assert 0.2 < nearest.double().mean() < 0.8

    def classes(spec, depth, kind):
        process = GaussianProcess(spec, x, labels, kind=kind, depth=depth, normalise="layer", noise=1e-9)
        return process.predict(q).classes

    for kind in ("nngp", "ntk"):
        # c^(2^8): nothing but the nearest is left where the next is 0.02 farther.
        assert deep_limit(mix(0, 0, 1)).regime == "1-nn"
        close = (queries[:, None] - angles).abs().sort(1).values
        clear = close[:, 1] - close[:, 0] > 0.02
        assert torch.equal(classes(mix(0, 0, 1), 8, kind)[clear], nearest[clear])
        assert not classes(mix(0.3**0.5, 0, 0, 0.7**0.5), 30, kind).any()  # eight of twelve say 0
    # The singular kernel weighs labels by distance^-order.
    spec, depth = mix(0, 0.8, 0, 0.6), 40
    order = deep_limit(spec).order
    far = (queries[:, None] - angles).abs()
    vote = (far**-order * (2.0 * labels - 1)).sum(1)
    firm = vote.abs() > 0.5 * (far**-order).sum(1)
    assert firm.sum() > 30
    assert torch.equal(classes(spec, depth, "nngp")[firm], (vote > 0).long()[firm])


def test_what_has_no_limit_is_said():
    with pytest.raises(OgiveError, match="explode"):
        deep_limit("relu", 2.0)
    with pytest.raises(OgiveError, match="die out"):
        deep_limit("tanh", 0.5)
    with pytest.raises(ParameterError, match="need a sigma_w"):
        deep_limit("tanh", sigma_b=0.1)
    with pytest.raises(InputError, match="2 inputs"):
        deep_limit("swiglu")
    with pytest.raises(OgiveError, match="0 everywhere"):
        deep_limit("where(x > 60, 1, 0)")

"""The published rules, against their formulas and the figures of their papers."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch
from torch import nn

import ogive
from ogive.surgery import init_
from ogive.surgery.rules import best_std, interval_growth
from tests.surgery.models import mlp

X = torch.randn(1024, 64, generator=torch.Generator().manual_seed(777))


def stds(act, rule, **options):
    return [row.std for row in init_(mlp(lambda: ogive.Act(act), 3, 64), X, rule=rule, dry_run=True, **options).layers]


def test_kumar_sigmoid_is_three_point_six_over_root_n():
    first, second, *_ = stds("sigmoid", "kumar")
    assert first == pytest.approx(1 / 8)
    assert second == pytest.approx(math.sqrt(12.8 / 64), rel=1e-12)  # 1/((1/4)^2 (1 + 1/4)) = 12.8
    assert stds("tanh", "kumar")[1] == pytest.approx(1 / 8, rel=1e-12)
    assert stds("relu", "kumar")[1] == pytest.approx(math.sqrt(2 / 64), rel=1e-12)
    with pytest.raises(ogive.OgiveError, match=r"2\.weight.*square.*flat at 0"):
        stds("square", "kumar")


def test_siren_is_the_papers_and_makes_sines_of_the_papers_scale():
    torch.manual_seed(0)
    model = mlp(lambda: ogive.Act("sin(30*x)"), depth=4, width=256)
    model[0] = nn.Linear(2, 256)
    x = 2 * torch.rand(2048, 2) - 1
    report = init_(model, x, rule="siren")
    assert report.distribution == "uniform"
    for row, bound in zip(report.layers, (1 / 2, *[math.sqrt(6 / 256) / 30] * 4)):
        assert row.std * math.sqrt(3) == pytest.approx(bound, rel=1e-9)
    assert float(model[2].weight.detach().abs().max()) <= math.sqrt(6 / 256) / 30
    # the paper: arguments of the inner sines are normal with standard deviation 1
    assert all(0.8 < 30 * math.sqrt(row.measured) < 1.2 for row in report.layers[1:-1])
    with pytest.raises(ogive.OgiveError, match="slope"):
        init_(mlp(nn.Sigmoid, 2, 64), X, rule="siren")


def test_ibp_is_root_two_pi_over_n_for_relu_and_keeps_intervals():
    for std in stds("relu", "ibp"):
        assert std == pytest.approx(math.sqrt(2 * math.pi) / 64, rel=1e-9)
    widths = []
    for rule in ("ibp", "gain"):
        model = mlp(nn.ReLU, depth=10, width=256)
        init_(model, torch.randn(4, 256), rule=rule, generator=torch.Generator().manual_seed(1))
        centre, radius = torch.randn(256, 256), torch.full((256, 256), 1e-6)
        for layer in model[:-1]:
            if isinstance(layer, nn.Linear):
                centre, radius = layer(centre), radius @ layer.weight.abs().T
            else:
                low, high = layer(centre - radius), layer(centre + radius)
                centre, radius = 0.5 * (low + high), 0.5 * (high - low)
        widths.append(float(radius.detach().mean()) / 1e-6)
    assert 0.2 < widths[0] < 5.0
    assert widths[1] > 1e4, "with He's weights intervals grow exponentially"


@pytest.mark.parametrize(
    ("spec", "slope"),
    [("tanh", lambda z: 1 / mpmath.cosh(z) ** 2), ("silu", lambda z: (1 + z / (1 + mpmath.exp(z))) / (1 + mpmath.exp(-z))), ("leaky_relu", lambda z: 1 if z > 0 else mpmath.mpf("0.01"))],
)  # fmt: skip
def test_interval_growth_is_the_mean_slope(spec, slope):
    with mpmath.workdps(30):
        ends = [-14, -6, -3, mpmath.mpf("-1.278464542761073795"), 0, 3, 6, 14]
        want = mpmath.quad(lambda z: abs(slope(z)) * mpmath.npdf(z), ends)
    assert interval_growth(ogive.get(spec)) == pytest.approx(float(want), rel=1e-11)


def test_vi3nr_keeps_signal_and_gradient_at_its_standard_deviation():
    act = ogive.get("exp(-x**2/2)")
    s = best_std(act)
    a = s * s  # E f^2 = (1+2a)^-1/2 and E f'^2 = a (1+2a)^-3/2 for the Gaussian
    assert a * a * (1 + 2 * a) ** -1.5 == pytest.approx((1 + 2 * a) ** -0.5, rel=1e-9)
    assert s == pytest.approx(math.sqrt(1 + math.sqrt(2)), rel=1e-9)
    report = init_(mlp(lambda: ogive.Act(act), 6, 256), torch.randn(256, 256), rule="vi3nr",
                   generator=torch.Generator().manual_seed(4))  # fmt: skip
    for row in report.layers[:-1]:
        assert row.predicted == pytest.approx(a, rel=1e-9)
        assert row.measured == pytest.approx(a, rel=0.25)
    assert report.layers[-1].predicted == pytest.approx(1.0, rel=1e-9)
    fixed = init_(mlp(nn.Tanh, 2, 64), X, rule="vi3nr", sigma=0.5, dry_run=True)
    assert fixed.layers[0].predicted == pytest.approx(0.25, rel=1e-9)


def test_vi3nr_of_relu_is_he():
    assert stds("relu", "vi3nr")[1] == pytest.approx(math.sqrt(2 / 64), rel=1e-9)


def test_nf_gain_is_one_over_the_standard_deviation():
    assert stds("relu", "nf")[1] * 8 == pytest.approx(math.sqrt(2 / (1 - 1 / math.pi)), rel=1e-9)
    assert stds("silu", "nf")[1] * 8 == pytest.approx(1.78719, rel=1e-5)
    assert stds("gelu", "nf")[1] * 8 == pytest.approx(1.70093, rel=1e-5)

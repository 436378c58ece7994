"""The flow of residual networks of great depth: closed forms, the layer-by-layer maps, and real networks."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch

from ogive.derive.kernel_flow import distance_from_normal, kernel_flow, residual_networks
from ogive.derive.wide.maps import Maps
from ogive.errors import OgiveError, ParameterError


def test_relu_and_the_line_in_closed_form():
    flow = kernel_flow("relu", 0.7, 0.1, q2=1.9, sigma_w=1.5)
    rate = 1.5**2 / 2
    assert flow.q == pytest.approx([0.7 * math.exp(rate * t) for t in flow.times], rel=1e-8)
    assert flow.q2 == pytest.approx([1.9 * math.exp(rate * t) for t in flow.times], rel=1e-8)

    def back(t, y):  # dc/dt = rate (kappa(c) - c), the arc-cosine kernel of Cho and Saul
        c = y[0]
        kappa = (mpmath.sqrt(1 - c * c) + c * (mpmath.pi - mpmath.acos(c))) / mpmath.pi
        return [mpmath.mpf(rate) * (kappa - c)]

    assert flow.c[-1] == pytest.approx(float(mpmath.odefun(back, 0, [mpmath.mpf("0.1")])(1)[0]), abs=1e-8)
    line = kernel_flow("x", 1.0, 0.3, sigma_w=0.8, sigma_b=0.5)
    # dK/dt = b + w K for variances and the covariance alike.
    w, b = 0.64, 0.25
    want = [(k + b / w) * math.exp(w) - b / w for k in (1.0, 0.3)]
    assert line.q[-1] == pytest.approx(want[0], rel=1e-8)
    assert line.c[-1] == pytest.approx(want[1] / want[0], abs=1e-8)


def test_erf_against_mpmath():
    def rates(t, y):
        a, b, k = y
        two = 2 / mpmath.pi
        return [two * mpmath.asin(2 * a / (1 + 2 * a)), two * mpmath.asin(2 * b / (1 + 2 * b)),
                two * mpmath.asin(2 * k / mpmath.sqrt((1 + 2 * a) * (1 + 2 * b)))]  # fmt: skip

    start = [mpmath.mpf(v) for v in ("0.5", "2", "-0.4")]
    a, b, k = mpmath.odefun(rates, 0, start)(2)
    got = kernel_flow("erf", 0.5, -0.4, q2=2.0, time=2.0)
    assert (got.q[-1], got.q2[-1]) == pytest.approx((float(a), float(b)), rel=1e-8)
    assert got.c[-1] == pytest.approx(float(k / mpmath.sqrt(a * b)), abs=1e-8)


@pytest.mark.parametrize("spec", ["gelu", "elu"])
def test_many_thin_layers_are_the_flow(spec):
    # Euler's steps: the error of 1/layers halves as they double, so twice the finer less the coarser is the limit.
    flow = kernel_flow(spec, 1.0, 0.4, sigma_w=1.2, sigma_b=0.3)
    ends = []
    for layers in (24, 48):
        maps, q, c = Maps(spec, 1.2, 0.3, skip=1.0, branch=layers**-0.5), 1.0, 0.4
        for _ in range(layers):
            q, c = maps.length(q), maps.correlation(c, q)
        ends.append((q, c))
    assert abs(ends[1][0] - flow.q[-1]) > 1e-3
    assert 2 * ends[1][0] - ends[0][0] == pytest.approx(flow.q[-1], abs=2e-3 * flow.q[-1])
    assert 2 * ends[1][1] - ends[0][1] == pytest.approx(flow.c[-1], abs=2e-3)


def test_one_input_twice_stays_one():
    assert set(kernel_flow("gelu", 0.8, 1.0).c) == {1.0}


def test_real_networks_follow_the_flow():
    """2,000 networks of depth 100 and width 64: within 4.5 standard errors and 2% for the finite depth and width."""
    for spec in ("relu", "tanh"):
        flow = kernel_flow(spec, 1.0, 0.2, sigma_w=1.2)
        got = residual_networks(spec, 100, 64, c=0.2, limit=flow.q[-1], sigma_w=1.2, networks=2000,
                                generator=torch.Generator().manual_seed(487))  # fmt: skip
        want = (flow.q[-1], flow.q2[-1], flow.c[-1])
        for mean, error, value, slack in zip(got.means, got.errors, want, (0.02 * want[0], 0.02 * want[1], 0.02)):
            assert abs(mean - value) < 4.5 * error + slack
        # 128,000 units of 2,000 networks; a normal sample of even 2,000 would be within 0.036 in 99% of cases.
        assert got.distance < 0.036


def test_pairs_drawn_are_weights_drawn():
    """The same layers with their weights drawn in full: both kinds of networks agree to 4.5 joint standard errors."""
    depth, width, nets, g = 5, 12, 4000, torch.Generator().manual_seed(3)
    u = torch.randn(nets, width, generator=g, dtype=torch.float64)
    v = 0.3 * u + math.sqrt(1 - 0.09) * torch.randn(nets, width, generator=g, dtype=torch.float64)
    for _ in range(depth):
        w = torch.randn(nets, width, width, generator=g, dtype=torch.float64) * (1.3 / math.sqrt(width))
        b = 0.4 * torch.randn(nets, width, generator=g, dtype=torch.float64)
        u, v = (t + ((w @ torch.relu(t)[:, :, None])[:, :, 0] + b) / math.sqrt(depth) for t in (u, v))
    a, b, k = (u * u).mean(1), (v * v).mean(1), (u * v).mean(1)
    drawn = (a, b, k / (a * b).sqrt())
    got = residual_networks("relu", depth, width, c=0.3, sigma_w=1.3, sigma_b=0.4, networks=4000, generator=g)
    for sample, mean, error in zip(drawn, got.means, got.errors):
        joint = math.hypot(error, float(sample.std()) / math.sqrt(nets))
        assert abs(float(sample.mean()) - mean) < 4.5 * joint
    assert got.spread == pytest.approx(float((a / a.mean()).std()), rel=0.15)


def test_plain_stacks_do_not_commute():
    # log q of a plain relu stack wanders by sqrt(5 depth/width); of a residual one by something of order 1/sqrt(width).
    g = torch.Generator().manual_seed(484)
    plain = [residual_networks("relu", d, 128, skip=0.0, branch=1.0, sigma_w=math.sqrt(2), generator=g).spread
             for d in (4, 64)]  # fmt: skip
    thin = [residual_networks("relu", d, 128, sigma_w=math.sqrt(2), generator=g).spread for d in (4, 64)]
    assert plain[0] == pytest.approx(math.sqrt(5 * 4 / 128), rel=0.3)
    assert plain[1] > 3 * plain[0]
    assert thin[1] < 1.5 * thin[0] < 0.5


def test_networks_whose_output_is_zero_have_no_correlation():
    # Two units of relu: in each layer a quarter of the networks has both below 0. In a plain stack that is the end.
    options = {"skip": 0.0, "branch": 1.0, "sigma_w": math.sqrt(2), "generator": torch.Generator().manual_seed(0)}
    got = residual_networks("relu", 6, 2, c=0.5, networks=500, **options)
    assert -1.0 <= got.means[2] <= 1.0 and got.errors[2] > 0.0


def test_the_distance_from_normal():
    # Of a two-point sample at +-1: 1/2 - Phi(-1) before the first, Phi(1) - 1/2 between.
    phi = 0.5 * math.erfc(-1 / math.sqrt(2))
    assert distance_from_normal(torch.tensor([1.0, -1.0]), 1.0) == pytest.approx(phi - 0.5, rel=1e-12)
    g = torch.Generator().manual_seed(0)
    normal = 1.7 * torch.randn(10_000, generator=g)
    assert distance_from_normal(normal, 1.7**2) < 0.0163  # 1.63/sqrt(n), the 99% point
    assert distance_from_normal(normal, 1.0) > 0.1


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: kernel_flow("tanh", 0.0), ParameterError, "q=0.0"),
        (lambda: kernel_flow("tanh", 1.0, 1.5), ParameterError, "c=1.5"),
        (lambda: kernel_flow("tanh", time=math.inf), ParameterError, "time=inf"),
        (lambda: kernel_flow("exp(x)", 30.0, 0.5, time=5.0), OgiveError, "infinite|float64|error"),
        (lambda: residual_networks("tanh", 0, 8), ParameterError, "depth=0"),
        (lambda: residual_networks("tanh", 1, 1), ParameterError, "width=1"),
        (lambda: residual_networks("tanh", 1, 8, q=-1.0), ParameterError, "q=-1.0"),
    ],
)
def test_bad_input(call, error, said):
    with pytest.raises(error, match=said):
        call()

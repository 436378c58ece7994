"""The infinite-width maps: closed forms, an independent quadrature, and real random networks."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch

import ogive
from ogive.derive.finite_width import aspect_ratio, finite_width
from ogive.derive.meanfield import fixed_points, mean_field
from ogive.derive.wide.maps import Maps

# f and f', written out afresh, with break points
MP = {
    "tanh": (mpmath.tanh, lambda x: mpmath.sech(x) ** 2, []),
    "gelu": (lambda x: x * mpmath.ncdf(x), lambda x: mpmath.ncdf(x) + x * mpmath.npdf(x), []),
    "relu(x - 1)": (lambda x: max(x - 1, mpmath.mpf(0)), lambda x: mpmath.mpf(x > 1), [1]),
    "elu": (lambda x: x if x > 0 else mpmath.expm1(x), lambda x: mpmath.mpf(1) if x > 0 else mpmath.exp(x), [0]),
    "hardtanh": (lambda x: min(max(x, -1), 1), lambda x: mpmath.mpf(abs(x) < 1), [-1, 1]),
}


def normal(g, q, breaks):
    s = mpmath.sqrt(q)
    ends = sorted({-14, -6, -2, 0, 2, 6, 14, *(b / s for b in breaks)})
    return mpmath.quad(lambda z: g(s * z) * mpmath.npdf(z), ends)


@pytest.mark.parametrize("q", [0.05, 1.0, 6.0])
@pytest.mark.parametrize("spec", MP)
def test_length_slope_curvature_and_chi_agree_with_mpmath(spec, q):
    f, slope, breaks = MP[spec]
    maps = Maps(spec, 1.3, 0.4)
    with mpmath.workdps(30):

        def v(t):
            return mpmath.mpf("0.16") + mpmath.mpf("1.69") * normal(lambda x: f(x) ** 2, t, breaks)

        assert maps.length(q) == pytest.approx(float(v(mpmath.mpf(q))), rel=1e-13)
        # The derivatives by differences of the 30-digit map, not by any formula for them.
        h = mpmath.mpf(q) / 2**16
        points = [v(q + k * h) for k in (-2, -1, 0, 1, 2)]
        first = (points[0] - 8 * points[1] + 8 * points[3] - points[4]) / (12 * h)
        second = (-points[0] + 16 * points[1] - 30 * points[2] + 16 * points[3] - points[4]) / (12 * h * h)
        assert maps.length_slope(q) == pytest.approx(float(first), rel=1e-11)
        assert maps.length_curvature(q) == pytest.approx(float(second), rel=1e-7, abs=1e-10)
        chi = mpmath.mpf("1.69") * normal(lambda x: slope(x) ** 2, mpmath.mpf(q), breaks)
        assert maps.chi(q) == pytest.approx(float(chi), rel=1e-13)


def test_a_jump_adds_to_the_slope_of_the_length_map():
    # E heaviside(sqrt(q) z - 1)^2 = Phi(-1/sqrt(q)): its slope is phi(1/sqrt(q))/(2 q^1.5), though f' is 0.
    for q in (0.3, 1.0, 4.0):
        density = math.exp(-0.5 / q) / math.sqrt(2 * math.pi)
        got = Maps("heaviside(x - 1)").length_slope(q)
        assert got == pytest.approx(density / (2 * q**1.5), rel=1e-12)


def test_residual_branches():
    plain, both = Maps("tanh", 1.2, 0.3), Maps("tanh", 1.2, 0.3, skip=0.8, branch=0.6)
    for q in (0.2, 2.0):
        assert both.length(q) == pytest.approx(0.64 * q + 0.36 * plain.length(q), rel=1e-14)
        assert both.length_slope(q) == pytest.approx(0.64 + 0.36 * plain.length_slope(q), rel=1e-14)
        assert both.chi(q) == pytest.approx(0.64 + 0.36 * plain.chi(q), rel=1e-14)
    # Where skip^2 + branch^2 = 1 the fixed points stay.
    assert fixed_points(both)[-1].q == pytest.approx(fixed_points(plain)[-1].q, rel=1e-12)


def test_the_correlation_map_of_relu_is_the_arc_cosine_kernel():
    maps = Maps("relu", math.sqrt(2))
    for c in (-0.9, 0.0, 0.4, 0.95):
        want = (math.sqrt(1 - c * c) + c * (math.pi - math.acos(c))) / math.pi
        assert maps.correlation(c, 1.7) == pytest.approx(want, abs=1e-11)
        assert maps.correlation(c, 1.7, 0.2) == pytest.approx(want, abs=1e-11)
        assert maps.correlation_slope(c, 1.7) == pytest.approx(1 - math.acos(c) / math.pi, abs=1e-10)


def test_fixed_points_of_erf_have_a_closed_form():
    # E erf(sqrt(q) z)^2 = 2/pi arcsin(2 q/(1 + 2 q)); E erf'^2 = 4/(pi sqrt(1 + 4 q))
    sw, sb = 1.6, 0.2
    (point,) = fixed_points(Maps("erf", sw, sb))
    q = point.q
    assert sb**2 + sw**2 * 2 / math.pi * math.asin(2 * q / (1 + 2 * q)) == pytest.approx(q, rel=1e-13)
    assert point.chi == pytest.approx(sw**2 * 4 / (math.pi * math.sqrt(1 + 4 * q)), rel=1e-13)
    assert point.stability == "stable"
    deep = mean_field("erf", sw, sb)
    cosine = deep.correlation
    after = (sb**2 + sw**2 * 2 / math.pi * math.asin(2 * q * cosine / (1 + 2 * q))) / q
    assert after == pytest.approx(cosine, abs=1e-10)
    assert deep.phase == "chaotic"
    assert deep.depth_gradient == pytest.approx(1 / math.log(point.chi), rel=1e-9)


def test_what_becomes_of_lengths():
    assert mean_field("tanh", 0.9).q == 0.0
    assert mean_field("tanh", 0.9).phase == "ordered"
    assert mean_field("relu", 1.5).phase == "exploding"
    assert mean_field("relu", math.sqrt(2)).phase == "critical"
    assert mean_field("relu", 1.0, 0.5).q == pytest.approx(0.5, rel=1e-13)  # sb^2/(1 - sw^2/2)
    assert [p.stability for p in mean_field("tanh", 1.0).fixed_points] == ["stable"]
    assert [p.stability for p in mean_field("tanh", 1.5).fixed_points] == ["unstable", "stable"]
    two = mean_field("gelu", 1.5)
    assert [p.stability for p in two.fixed_points] == ["stable", "unstable"] and two.q == 0.0
    # exp: E f^2 = e^(2 q), so q = 0.01 + 0.09 e^(2 q) has two solutions
    exp = mean_field("exp(x)", 0.3, 0.1)
    assert [p.stability for p in exp.fixed_points] == ["stable", "unstable"]
    for p in exp.fixed_points:
        assert 0.01 + 0.09 * math.exp(2 * p.q) == pytest.approx(p.q, rel=1e-12)
    assert mean_field("exp(x)", 0.5, 0.1).q == math.inf


def test_depth_scale_is_how_fast_lengths_and_correlations_settle():
    maps = Maps("tanh", 1.1, 0.5)
    deep = mean_field("tanh", 1.1, 0.5)
    q, gaps = 3.0, []
    for _ in range(30):
        q = maps.length(q)
        gaps.append(abs(q - deep.q))
    assert math.log(gaps[9] / gaps[14]) / 5 == pytest.approx(1 / deep.depth_length, rel=1e-2)
    c, gaps = 0.2, []
    for _ in range(60):
        c = maps.correlation(c, deep.q)
        gaps.append(abs(c - deep.correlation))
    assert math.log(gaps[40] / gaps[50]) / 10 == pytest.approx(1 / deep.depth_correlation, rel=1e-2)


@pytest.mark.parametrize(
    ("spec", "sw", "sb"), [("tanh", 1.4, 0.3), ("gelu", 1.6, 0.3), ("relu", math.sqrt(2), 0.1), ("sin(2*x)", 1.0, 0.2)]
)
def test_real_random_networks_do_what_the_maps_say(spec, sw, sb):
    """64 networks of width 400 and 6 layers: lengths, correlations and squared gradients within 4.5 standard errors of
    the mean over networks plus the correction of order depth/width that the maps leave out (measured below 1%)."""
    width, depth, nets = 400, 6, 64
    maps, act = Maps(spec, sw, sb), ogive.get(spec)
    g = torch.Generator().manual_seed(20)

    def normal_(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    # Two inputs of length 1 and correlation 0.6, exactly.
    a = torch.zeros(2, width, dtype=torch.float64)
    a[0, 0], a[1, 0], a[1, 1] = 1.0, 0.6, 0.8
    lengths, products, gradients = [], [], []
    for _ in range(nets):
        x = (a @ normal_(width, width)).requires_grad_()  # first pre-activations: q = 1, c = 0.6
        h = x
        for _ in range(depth):
            h = act(h) @ (normal_(width, width) * sw / math.sqrt(width)) + sb * normal_(width)
        (grad,) = torch.autograd.grad(h[0] @ normal_(width), x)
        lengths.append((h[0] ** 2).mean().item())
        products.append((h[0] * h[1]).mean().item())
        gradients.append((grad[0] ** 2).mean().item())
    q, c, chi = 1.0, 0.6, 1.0
    for _ in range(depth):
        chi *= maps.chi(q)
        c = maps.correlation(c, q)
        q = maps.length(q)
    for got, want in ((lengths, q), (products, q * c), (gradients, chi)):
        sample = torch.tensor(got, dtype=torch.float64)
        mean, error = float(sample.mean()), float(sample.std()) / math.sqrt(nets)
        assert abs(mean - want) < 4.5 * error + 0.01 * want, (mean, error, want)


def test_finite_width():
    # One hidden layer: 3 (E f^4/(E f^2)^2 - 1)/n
    assert finite_width("relu", 2, 20, math.sqrt(2)).excess_kurtosis[1] == pytest.approx(0.75, rel=1e-13)
    with mpmath.workdps(30):
        m4 = normal(lambda x: mpmath.tanh(x) ** 4, 1, [])
        m2 = normal(lambda x: mpmath.tanh(x) ** 2, 1, [])
        want = float(3 * (m4 / m2**2 - 1) / 20)
    assert finite_width("tanh", 2, 20).excess_kurtosis[1] == pytest.approx(want, rel=1e-12)
    # relu: the vertex grows by 5 a layer
    assert finite_width("relu", 12, 50, math.sqrt(2)).vertex == pytest.approx([5.0 * k for k in range(12)], rel=1e-12)
    # class K*=0: by 2/3, after a start that fades
    tanh = finite_width("tanh", 1501, 100)
    assert (tanh.vertex[1500] - tanh.vertex[1000]) / 500 == pytest.approx(2 / 3, rel=2e-3)


def test_the_kurtosis_of_real_networks():
    """200,000 networks of width 20 with one hidden layer; over seeds the sample's excess kurtosis has a standard
    deviation of 0.011 (sqrt(24/200000)) for tanh and of 0.02 for relu, and the bands are four of these."""
    g = torch.Generator().manual_seed(3)
    for spec, sw, band in (("relu", math.sqrt(2), 0.08), ("tanh", 1.0, 0.045)):
        hidden = ogive.get(spec)(torch.randn(200_000, 20, generator=g, dtype=torch.float64))
        out = (hidden * torch.randn(200_000, 20, generator=g, dtype=torch.float64)).sum(1) * sw / math.sqrt(20)
        got = float((out**4).mean() / (out**2).mean() ** 2 - 3)
        assert got == pytest.approx(finite_width(spec, 2, 20, sw).excess_kurtosis[1], abs=band)


def test_the_edgeworth_density_has_the_moments_it_is_made_of():
    wide = finite_width("relu", 3, 60, math.sqrt(2))
    x = torch.linspace(-12, 12, 2401, dtype=torch.float64)
    p = torch.tensor([wide.density(float(v)) for v in x], dtype=torch.float64)
    mass, second, fourth = (float((p * x**k).sum() * 0.01) for k in (0, 2, 4))
    assert mass == pytest.approx(1, abs=1e-9)
    assert second == pytest.approx(wide.lengths[-1], rel=1e-9)
    assert fourth / second**2 - 3 == pytest.approx(wide.excess_kurtosis[-1], rel=1e-6)


def test_depth_to_width():
    assert aspect_ratio("relu").ratio == pytest.approx(4 / 115)  # 4/((20 + 3) 5)
    assert aspect_ratio("x").nu == 2.0
    assert aspect_ratio("tanh", outputs=10).ratio == pytest.approx(4 / (50 * 2 / 3))
    assert aspect_ratio("relu").width(10) == math.ceil(287.5)
    with pytest.raises(ogive.OgiveError, match="half-stable"):
        aspect_ratio("gelu")


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: Maps("tanh", 0.0), ogive.ParameterError, "sigma_w=0.0"),
        (lambda: Maps("tanh", 1.0, -0.1), ogive.ParameterError, "sigma_b=-0.1"),
        (lambda: Maps("tanh", math.inf), ogive.ParameterError, "sigma_w=inf"),
        (lambda: Maps("tanh", skip=math.nan), ogive.ParameterError, "skip=nan"),
        (lambda: Maps("tanh").length(0.0), ogive.ParameterError, "q=0.0"),
        (lambda: Maps("glu"), ogive.InputError, "2 inputs"),
        (lambda: Maps("exp(x*x)").length(1.0), ogive.OgiveError, "infinite"),
        (lambda: finite_width("tanh", 0, 10), ogive.ParameterError, "depth=0"),
        (lambda: finite_width("tanh", 2, True), ogive.ParameterError, "width=True"),
    ],
)
def test_bad_input(call, error, said):
    with pytest.raises(error, match=said):
        call()


def test_results_are_json():
    import json

    assert json.loads(json.dumps(mean_field("tanh", 1.5, 0.1).to_dict()))["phase"] == "chaotic"
    assert "chaotic" in repr(mean_field("tanh", 1.5, 0.1))


def test_a_parameter_may_be_called_as_an_argument_is():
    # zorro_tanh has a parameter called slope
    assert 0.0 < Maps("zorro_tanh").correlation(0.5, 1.0) < 1.0

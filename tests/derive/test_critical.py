"""The edge of chaos: published critical points, the equations themselves, and why some have none."""

from __future__ import annotations

import math
import re

import mpmath
import pytest

import ogive
from ogive.derive.clipping import clipping_level
from ogive.derive.critical import critical_point, edge_of_chaos
from ogive.derive.meanfield import mean_field
from ogive.derive.wide.maps import Maps


def at(spec):
    return edge_of_chaos(spec).point


def test_published_critical_points():
    # Roberts, Yaida and Hanin 2022, section 5.3.4: variances (biases, weights) and the length
    gelu, swish = at("gelu"), at("silu")
    assert gelu.q == pytest.approx((3 + math.sqrt(17)) / 2, rel=1e-11)
    assert (gelu.sigma_b**2, gelu.sigma_w**2) == pytest.approx((0.17292239, 1.98305826), abs=1e-8)
    assert swish.q == pytest.approx(14.32017362, abs=1e-7)
    assert (swish.sigma_b**2, swish.sigma_w**2) == pytest.approx((0.55514317, 1.98800468), abs=1e-8)
    for p in (gelu, swish):
        assert p.slope == pytest.approx(1, abs=1e-12) and not p.stable and p.curvature != 0.0


@pytest.mark.parametrize(
    ("spec", "kind", "weight"),
    [
        ("relu", "scale-invariant", math.sqrt(2)),
        ("leaky_relu", "scale-invariant", math.sqrt(2 / 1.0001)),
        ("x", "scale-invariant", 1.0),
        ("abs(x)", "scale-invariant", 1.0),
        ("tanh", "K*=0", 1.0),
        ("sin(x)", "K*=0", 1.0),
        ("erf", "K*=0", math.sqrt(math.pi) / 2),
        ("hardtanh", "K*=0", 1.0),
        ("elu", "K*=0", 1.0),
        ("selu", "K*=0", math.sqrt(2 / (1.0507009873554805**2 * (1 + 1.6732632423543772**2)))),
    ],
)
def test_points_without_bias(spec, kind, weight):
    edge = edge_of_chaos(spec)
    assert edge.universality == kind
    assert edge.point.sigma_b == 0.0
    assert edge.point.sigma_w == pytest.approx(weight, rel=1e-12)


@pytest.mark.parametrize("spec", ["tanh", "gelu", "mish", "hardswish", "elu", "sigmoid"])
def test_every_point_of_the_line_keeps_its_length_and_its_gradient(spec):
    line = edge_of_chaos(spec).line
    assert len(line) >= 10
    for p in line[::5]:
        maps = Maps(spec, p.sigma_w, p.sigma_b)
        assert maps.chi(p.q) == pytest.approx(1, abs=1e-12)
        assert maps.length(p.q) == pytest.approx(p.q, rel=1e-12)
        assert maps.length_slope(p.q) == pytest.approx(p.slope, abs=1e-12)


def test_a_stable_point_of_the_line_is_found_by_the_mean_field():
    p = critical_point("tanh", 0.5)
    assert p.stable
    deep = mean_field("tanh", p.sigma_w, p.sigma_b)
    assert deep.phase == "critical" and deep.depth_gradient == math.inf
    assert deep.q == pytest.approx(0.5, rel=1e-10)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("sigmoid", r"-\(f\(0\)/f'\(0\)\)\^2 = -4"),
        ("softplus", "above 1"),
        ("sign", "jumps at 0"),
        ("heaviside(x - 1)", "jumps at 1"),
        ("round(x)", "jumps at"),
        ("sqrt(abs(x))", "infinite"),
        ("x*x", "above 1"),
        ("cos(x)", "below 1"),
        ("exp(x*x)", "moments do not exist"),
    ],
)
def test_no_critical_point_and_why(spec, said):
    edge = edge_of_chaos(spec)
    assert edge.universality == "none" and edge.point is None
    assert re.search(said, edge.reason), edge.reason


@pytest.mark.parametrize(("spec", "q"), [("relu", 1.0), ("tanh", 0.7), ("gelu", 2.0), ("clip(x, -1, 1)", 0.5)])
def test_how_fast_two_inputs_become_alike(spec, q):
    """Far down, 1 - c is constant/layers^power: iterated here with the correlation map itself."""
    p = at("relu") if spec == "relu" else critical_point(spec, q)
    maps, q = Maps(spec, p.sigma_w, p.sigma_b), p.q
    power, constant = p.decay
    layers = {1: 400, 2: 100}[power]
    e, seen = 0.3, []
    for _ in range(layers):
        e = 1 - maps.correlation(1 - e, q)
        seen.append(e ** (-1 / power))
    half = layers // 2
    # e^(-1/power) grows by constant^(-1/power) a layer, up to log(l)/l.
    rate = (seen[-1] - seen[half]) / (layers - 1 - half)
    assert rate == pytest.approx(constant ** (-1 / power), rel=0.03)


def test_steep_is_not_a_jump():
    assert Maps("tanh(1e5*x)").bundle.jumps == [] and Maps("abs(x)").bundle.jumps == []
    assert Maps("tanh(1e5*x)").bundle.kinks == []
    assert Maps("heaviside(x - 1)").bundle.jumps == [1.0]
    assert Maps("relu(x - 1)").bundle.kinks == [(1.0, 1.0)]
    assert Maps("elu(x)").bundle.kinks == []


def test_relu_decays_as_published():
    # Hayou et al. 2019, proposition 3: 9 pi^2/2 / l^2
    assert at("relu").decay == (2, pytest.approx(4.5 * math.pi**2, rel=1e-12))
    assert at("x").decay is None


@pytest.mark.parametrize(
    ("spec", "slope"),
    [
        ("relu(x - 0.5)", 1.0),
        ("relu(x - 1)", 1.0),
        ("sign(x)*relu(abs(x) - 1)", 1.0),
        ("clip(relu(x - 0.5), 0, 1)", 0.464),
        ("clip(relu(x - 1), 0, 1)", 0.603),
    ],
)
def test_clipping_makes_sparse_activations_stable(spec, slope):
    # Price et al. 2024: marginal without clipping
    p = critical_point(spec)
    assert p.slope == pytest.approx(slope, abs=1e-11 if slope == 1.0 else 5e-4)
    assert p.stable == (slope < 1.0)


def test_the_level_of_clipping():
    got = clipping_level("relu(x - 1)", 0.5)
    assert got.unclipped == pytest.approx(1.0, abs=1e-12)
    assert got.sparsity == pytest.approx(float(mpmath.ncdf(1)), rel=1e-12)
    # E min(max(z - 1, 0), m)^2 in closed form; the slope of the map by differences.
    m = mpmath.mpf(got.level)

    def second(q):
        def g(z):
            return min(max(mpmath.sqrt(q) * z - 1, 0), m) ** 2 * mpmath.npdf(z)

        ends = [1 / mpmath.sqrt(q), (1 + m) / mpmath.sqrt(q), 6, 15]
        return mpmath.quad(g, sorted(ends))

    with mpmath.workdps(30):
        h = mpmath.mpf(2) ** -20
        slopes = mpmath.ncdf(-1) - mpmath.ncdf(-1 - m)
        assert float((second(1 + h) - second(1 - h)) / (2 * h) / slopes) == pytest.approx(0.5, abs=1e-9)
    assert got.point.slope == pytest.approx(0.5, abs=1e-12)
    assert got.activation(50.0) == pytest.approx(got.level)
    assert mean_field(got.activation, got.point.sigma_w, got.point.sigma_b).q == pytest.approx(1, rel=1e-9)
    assert clipping_level("softshrink", 0.6, lambd=1.0).sparsity == pytest.approx(
        1 - 2 * float(mpmath.ncdf(-1)), rel=1e-12
    )


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: critical_point("sigmoid", 1.0), ogive.OgiveError, "sigmoid.*q=1.0.*variance of the biases would be -"),
        (lambda: critical_point("sign"), ogive.OgiveError, "sign.*jumps at 0"),
        (lambda: edge_of_chaos("glu"), ogive.InputError, "2 inputs"),
        (lambda: edge_of_chaos("tanh", lengths=(0.0,)), ogive.ParameterError, "q=0.0"),
        (lambda: clipping_level("relu(x - 1)", 1.5), ogive.ParameterError, "slope=1.5"),
        (lambda: clipping_level("tanh", 0.9), ogive.OgiveError, "from .* to .* over all levels"),
        (lambda: clipping_level("sign"), ogive.InputError, "surrogate"),
    ],
)
def test_bad_input(call, error, said):
    with pytest.raises(error, match=said):
        call()


def test_results_are_json():
    import json

    got = edge_of_chaos("gelu", lengths=(0.5, 1.0))
    assert [p["q"] for p in json.loads(json.dumps(got.to_dict()))["line"]] == [0.5, 1.0]
    assert "half-stable" in repr(got)
    clipping = clipping_level("relu(x - 1)")
    assert "zeros" in repr(clipping) and json.loads(json.dumps(clipping.to_dict()))["point"]["q"] == 1.0

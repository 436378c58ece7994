"""Fluctuations of finite networks: known cases by hand, real networks, and exponents of the width."""

from __future__ import annotations

import math

import pytest
import torch

from ogive.derive.finite_width import finite_width
from ogive.derive.fluctuations import fluctuations
from ogive.derive.wide.finite_networks import correlations
from ogive.derive.width_scaling import width_scaling
from ogive.errors import OgiveError, ParameterError

NAMES = ("vertex", "tangent_vertex", "tangent_mixing", "cross", "cross_mixing")


def test_the_vertex_is_that_of_finite_width():
    for spec, sw, sb in (("tanh", 1.2, 0.2), ("relu", 1.4, 0.0), ("gelu", 1.5, 0.3)):
        got = fluctuations(spec, 6, 50, sw, sb)
        assert got.vertex == pytest.approx(finite_width(spec, 6, 50, sw, sb).vertex, rel=1e-12)


def test_a_linear_network():
    # Orthogonal and linear: lengths are kept and the tangent kernel is a number. Gaussian: by hand, with K = 1 and
    # T = l, V' = 2 + V, B' = T^2 + B, F' = T + F.
    turned = fluctuations("x", 5, 10, weights="orthogonal")
    assert turned.vertex == pytest.approx([-2.0] * 5, rel=1e-12)
    for name in NAMES[1:]:
        assert getattr(turned, name) == pytest.approx([0.0] * 5, abs=1e-12)
    plain = fluctuations("x", 5, 10)
    assert plain.tangents == pytest.approx([1, 2, 3, 4, 5], rel=1e-12)
    assert plain.vertex == pytest.approx([0, 2, 4, 6, 8], rel=1e-12)
    assert plain.tangent_mixing == pytest.approx([0, 1 / 4, 5 / 9, 14 / 16, 30 / 25], rel=1e-12)
    assert plain.cross_mixing == pytest.approx([0, 1 / 2, 3 / 3, 6 / 4, 10 / 5], rel=1e-12)


def test_the_relu_network_by_hand():
    # sigma_w^2 = 2: <s^2> = 1/2, <s^4> = 3/2, <s'^2> = <s'^4> = 1/2, <s^2 s'^2> = 1/2, derivatives 1/2 and 0 at K = 1.
    k, t, v, a, b, d, f = 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0
    want = []
    for _ in range(4):
        want.append((v / k**2, a / t**2, b / t**2, d / (k * t), f / (k * t)))
        h = 0.5 + 0.5 * t
        v, d, a, b, f = (
            4 * (1.5 - 0.25 + v / 4),
            4 * (1.5 + 0.5 * t - 0.5 * h + v / 4 + d / 4),
            4 * (1.5 + t + 0.5 * t * t - h * h + v / 4 + 2 * d * 0.25 + a / 4),
            4 * (0.5 * t * t + b / 4),
            4 * (0.5 * t + f / 4),
        )
        t = 1.0 + t
    got = fluctuations("relu", 4, 10, math.sqrt(2))
    for layer in range(4):
        assert [getattr(got, n)[layer] for n in NAMES] == pytest.approx(want[layer], rel=1e-12)


def test_orthogonal_weights_add_nothing_in_the_depth():
    # Day, Kahn and Roberts 2023: for tanh the Gaussian vertex grows by 2/3 a layer, the orthogonal one stays near -2,
    # and the variance of the tangent kernel grows on with the one and stops with the other.
    plain = fluctuations("tanh", 200, 64)
    turned = fluctuations("tanh", 200, 64, weights="orthogonal")
    assert plain.vertex[199] - plain.vertex[99] == pytest.approx(200 / 3, rel=0.02)
    assert abs(turned.vertex[199] - turned.vertex[99]) < 0.05 and -2.0 < turned.vertex[199] < -1.8
    assert plain.tangent_variance[199] > 1.9 * plain.tangent_variance[99]
    assert max(turned.tangent_variance[20:]) < 1.1 * turned.tangent_variance[20] < 0.02


@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
@pytest.mark.parametrize(("spec", "sw", "sb"), [("tanh", 1.1, 0.2), ("relu", math.sqrt(2), 0.0), ("gelu", 1.5, 0.3)])
def test_real_networks_fluctuate_as_predicted(spec, sw, sb, weights):
    """600 networks of width 40 and 4 layers: within 5 standard errors and, for what is of the next order, depth/width =
    a tenth of the largest correlation of that kind in the stack."""
    got = correlations(spec, 4, 40, sw, sb, weights=weights, networks=600, generator=torch.Generator().manual_seed(462))
    want = fluctuations(spec, 4, 40, sw, sb, weights=weights)
    for layer in range(4):
        for name, limit in (("lengths", want.lengths), ("tangents", want.tangents)):
            mean, error = getattr(got, name)[layer]
            assert abs(mean - limit[layer]) < 5 * error + 0.02 * limit[layer], (name, layer)
        for name in NAMES:
            mean, error = getattr(got, name)[layer]
            predicted = getattr(want, name)
            allowed = 5 * error + 0.1 * max(map(abs, predicted[: layer + 1])) + 0.02
            assert abs(mean - predicted[layer]) < allowed, (name, layer, mean, error, predicted[layer])


def test_exponents_of_the_width():
    """Each a mean over ten parts with its standard error; the bands are four of these and 0.08 for widths that are not
    infinite. Where f'^2 jumps units cross the kink: from width^-3/4, while less than one does, to width^-1/2."""
    g = torch.Generator().manual_seed(94)
    for spec in ("x**2", "tanh", "abs(x)", "relu"):
        got = width_scaling(spec, [128, 512, 2048], networks=600, generator=g)
        for e in got.exponents[: 2 if spec == "relu" else 3]:
            assert abs(e.value + 1.0) < 4 * e.error + 0.08, (spec, e)
        if spec == "relu":
            assert -0.83 < got.exponents[2].value < -0.45
        # Of one hidden layer the cumulant is (E f^4/(E f^2)^2 - 1)/width; some percent by the number of networks.
        fourth = {"x**2": 105 / 9, "relu": 6.0, "abs(x)": 3.0, "tanh": None}[spec]
        if fourth is not None:
            assert got.cumulant[2] * 2048 == pytest.approx(fourth - 1, rel=0.3)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: fluctuations("tanh", 0, 8), ParameterError, "depth=0"),
        (lambda: fluctuations("tanh", 2, 8, weights="uniform"), ParameterError, "weights='uniform'"),
        (lambda: fluctuations("tanh", 2, 8, 1.0, 1.0, q=1.0), ParameterError, "q=1.0"),
        (lambda: fluctuations("heaviside(x)", 2, 8), OgiveError, "jumps at 0"),
        (lambda: fluctuations("exp(x)", 9, 8, 2.0), OgiveError, "infinite|after"),
        (lambda: correlations("tanh", 2, 1), ParameterError, "width=1"),
        (lambda: correlations("tanh", 2, 8, weights="x"), ParameterError, "weights='x'"),
        (lambda: width_scaling("tanh", [8]), ParameterError, r"widths=\[8\]"),
        (lambda: width_scaling("tanh", [8, 4]), ParameterError, "ascend"),
        (lambda: width_scaling("tanh", [4, 8], step=0.0), ParameterError, "step=0.0"),
        (lambda: width_scaling("tanh", [4, 8], networks=5), ParameterError, "networks=5"),
    ],
)
def test_bad_input(call, error, said):
    with pytest.raises(error, match=said):
        call()


def test_results_are_json():
    import json

    assert json.loads(json.dumps(fluctuations("tanh", 2, 8).to_dict()))["weights"] == "gaussian"
    got = correlations("tanh", 2, 4, networks=5, generator=torch.Generator().manual_seed(0))
    assert json.loads(json.dumps(got.to_dict()))["networks"] == 5 and "5 networks" in repr(got)

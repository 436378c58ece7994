"""Fits: against closed forms, brute force and the conditions that the best polynomial meets."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

import ogive
from ogive.errors import OgiveError, ParameterError
from ogive.surgery.private.polynomials import Polynomial, depth_of, fit, paterson_stockmeyer

RNG = torch.Generator().manual_seed(0)
X = 0.4 + 1.3 * torch.randn(5000, dtype=torch.float64, generator=RNG)


def test_relu_under_the_standard_normal_is_known():
    x = torch.randn(1000, dtype=torch.float64, generator=RNG)
    x = (x - x.mean()) / x.std(unbiased=False)
    found = fit("relu", x, 2, how="normal")
    one = 1.0 / (2.0 * math.sqrt(2.0 * math.pi))
    assert found.coefficients == pytest.approx((one, 0.5, one), abs=1e-12)


@pytest.mark.parametrize("name", ["relu", "gelu", "tanh"])
def test_a_normal_fit_leaves_a_rest_that_is_orthogonal_to_all_lower_powers(name):
    found = fit(name, X, 5, how="normal")
    z = np.linspace(-9.0, 9.0, 400_001)
    density = np.exp(-z * z / 2.0)
    x = torch.from_numpy(found.centre + found.half * z)
    rest = (ogive.get(name)(x) - found(x)).numpy()
    for k in range(6):
        assert abs((rest * density * z**k).sum() / density.sum()) < 1e-8


@pytest.mark.parametrize("degree", [2, 3, 6, 15])
def test_the_best_maximum_alternates(degree):
    # Chebyshev: the error of the best polynomial takes its largest size, signs in turn, at degree + 2 points
    found = fit("silu", how="minimax", low=-4.0, high=5.0, degree=degree)
    x = torch.linspace(-4.0, 5.0, 4001, dtype=torch.float64)
    rest = (found(x) - ogive.get("silu")(x)).numpy()
    top = np.abs(rest).max()
    turns = [np.sign(r) for r in rest if abs(r) > 0.999 * top]
    assert 1 + sum(a != b for a, b in itertools.pairwise(turns)) >= degree + 2
    assert found.worst == pytest.approx(top)


def test_the_best_maximum_of_relu_is_known():
    # |x| on [-1, 1] is x^2 + 1/8 to within 1/8, and no polynomial of degree 2 or 3 is nearer
    for degree in (2, 3):
        found = fit("relu", how="minimax", low=-1.0, high=1.0, degree=degree)
        assert found.worst == pytest.approx(1.0 / 16.0, rel=1e-9)
        assert found.in_x()[:3] == pytest.approx((1.0 / 16.0, 0.5, 0.5), abs=1e-9)


def test_a_sample_fit_is_the_least_squares_of_its_own_weights():
    found = fit("gelu", X, 4)
    low, high = (float(q) for q in np.quantile(X.numpy(), [1e-3, 1 - 1e-3]))
    assert (found.low, found.high) == pytest.approx((low - 0.25 * (high - low), high + 0.25 * (high - low)))
    inside = X[(found.low <= X) & (found.high >= X)]
    grid = torch.linspace(found.low, found.high, 4001, dtype=torch.float64)

    def loss(c):
        p = Polynomial(tuple(c), found.centre, found.half, found.low, found.high)
        gaps = [(p(x) - ogive.get("gelu")(x)).square().mean() for x in (inside, grid)]
        return float(0.98 * gaps[0] + 0.02 * gaps[1])

    least = loss(found.coefficients)
    for k in range(5):
        for step in (-1e-3, 1e-3):
            assert loss([c + step * (i == k) for i, c in enumerate(found.coefficients)]) > least


def test_each_fit_is_best_at_what_it_is_for():
    made = {how: fit("gelu", X, 4, how=how, low=-4.0, high=5.0) for how in ("sample", "normal", "minimax")}
    assert made["minimax"].worst < min(made["sample"].worst, made["normal"].worst)
    assert made["sample"].error < made["minimax"].error


def test_evaluation_in_blocks_and_in_x():
    for degree in range(1, 16):
        c = tuple(float(v) for v in torch.randn(degree + 1, generator=RNG))
        t = torch.linspace(-1.5, 1.5, 31, dtype=torch.float64)
        want = np.polynomial.polynomial.polyval(t.numpy(), np.array(c))
        assert paterson_stockmeyer(t, c).numpy() == pytest.approx(want, rel=1e-12, abs=1e-12)
        p = Polynomial(c, 0.3, 1.7, -1.0, 2.0)
        assert np.polynomial.polynomial.polyval(t.numpy(), np.array(p.in_x())) == pytest.approx(
            p(t).numpy(), rel=1e-9, abs=1e-9
        )
        assert 2 ** depth_of(degree) > degree >= 2 ** (depth_of(degree) - 1)


def test_bad_requests_are_quoted():
    with pytest.raises(ParameterError, match="degree=16"):
        fit("relu", X, 16)
    with pytest.raises(ParameterError, match=r"'minmax'.*'minimax'"):
        fit("relu", X, 3, how="minmax")
    with pytest.raises(ParameterError, match="margin=-1"):
        fit("relu", X, 3, margin=-1)
    with pytest.raises(OgiveError, match="do not vary"):
        fit("relu", torch.ones(10), 3)
    with pytest.raises(OgiveError, match=r"not finite at -"):
        fit("log(x)", X, 3)
    with pytest.raises(ParameterError, match="low < high"):
        fit("relu", how="minimax", low=1.0, high=1.0)

"""Law: every gain agrees with a quadrature of the exact function, done another way."""

from __future__ import annotations

import math
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import torch

import ogive
from ogive.derive.gain import gain
from ogive.derive.gauss import expectation
from tests.entries import every_scalar_entry

# f as mpmath, written out afresh; break points for mpmath's own quadrature.
MP = {
    "tanh": (mpmath.tanh, []),
    "sigmoid": (lambda x: 1 / (1 + mpmath.exp(-x)), []),
    "elu": (lambda x: x if x > 0 else mpmath.expm1(x), []),
    "gelu": (lambda x: x * mpmath.ncdf(x), []),
    "silu": (lambda x: x / (1 + mpmath.exp(-x)), []),
    "mish": (lambda x: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x))), []),
    "softplus": (lambda x: mpmath.log1p(mpmath.exp(x)), []),
    "softsign": (lambda x: x / (1 + abs(x)), []),
    "hardswish": (lambda x: x * min(max(x + 3, 0), 6) / 6, [-3, 3]),
    "hardtanh": (lambda x: min(max(x, -1), 1), [-1, 1]),
    "tanh(8*x)": (lambda x: mpmath.tanh(8 * x), [-1, -0.25, 0.25, 1]),
    "x + sin(10*x)**2/10": (lambda x: x + mpmath.sin(10 * x) ** 2 / 10, [k / 2 for k in range(-20, 21)]),
}

# 1/sqrt(E f(z)^2) by mpmath with 40 digits, rounded to 15
KNOWN = {
    "tanh": 1.59253741972283, "sigmoid": 1.84622854533861, "elu": 1.24519830070071, "gelu": 1.53353044119554,
    "silu": 1.67653247033109, "mish": 1.48684758127321, "softplus": 1.0418668355353, "softsign": 2.33753336310854,
    "hardswish": 1.73665721276654, "hardtanh": 1.39203614044831,
}  # fmt: skip


@pytest.mark.parametrize("spec", MP)
def test_forward_gain_agrees_with_mpmath_at_forty_digits(spec):
    f, breaks = MP[spec]
    with mpmath.workdps(40):
        ends = sorted({-14, -8, -4, -2, 0, 2, 4, 8, 14, *breaks})
        want = 1 / mpmath.sqrt(mpmath.quad(lambda x: f(x) ** 2 * mpmath.npdf(x), ends))
        got = gain(spec)
        assert abs(got.forward / want - 1) < 1e-13
        assert got.error < 1e-12


@pytest.mark.parametrize(("spec", "want"), KNOWN.items())
def test_known_gains(spec, want):
    assert float(gain(spec)) == pytest.approx(want, rel=1e-13)


def test_closed_forms():
    assert gain("relu").forward == pytest.approx(math.sqrt(2), rel=1e-14)
    assert gain("relu").backward == pytest.approx(math.sqrt(2), rel=1e-14)
    assert gain("leaky_relu", negative_slope=0.3).forward == pytest.approx(math.sqrt(2 / 1.09), rel=1e-14)
    assert gain("heaviside").forward == pytest.approx(math.sqrt(2), rel=1e-14)
    assert gain("square").second_moment == pytest.approx(3, rel=1e-14)
    assert gain("exponential").second_moment == pytest.approx(math.exp(2), rel=1e-14)
    assert gain("exp(10*x)").second_moment == pytest.approx(math.exp(200), rel=1e-12)
    assert gain("tanh").backward == pytest.approx(1.46741359163079, rel=1e-13)
    for w in (1.0, 30.0, 300.0):  # E sin^2(wz) = (1 - exp(-2 w^2))/2
        assert gain(f"sin({w}*x)").second_moment == pytest.approx(-math.expm1(-2 * w * w) / 2, rel=1e-13)


def test_a_transition_of_width_1e_minus_6_is_not_missed():
    # E tanh(w(z - 1))^2 = 1 - E sech^2 and the sech^2 of area 2/w sits where the density is phi(1).
    w = 1e6
    phi = math.exp(-0.5) / math.sqrt(2 * math.pi)
    assert gain(f"tanh({w}*(x - 1))").second_moment == pytest.approx(1 - 2 * phi / w, abs=1e-13)


@every_scalar_entry
def test_every_gain_agrees_with_a_sum_over_exact_values(entry):
    pytest.importorskip("flint")
    from ogive.derive.exact import Oracle

    got = gain(entry)
    assert got.error < 1e-12
    # The same integral over other panels, of ball-arithmetic values: nothing shared but the break points.
    oracle = Oracle(entry, order=0)
    x, w = np.polynomial.legendre.leggauss(18)
    steepest = float(ogive.derivative(entry)(torch.linspace(-4, 4, 4001, dtype=torch.float64)).abs().max())
    cuts = [b for b in entry.breakpoints() if abs(b) < 24.0]
    width, reach = (min(0.6, max(0.01, 3.0 / steepest)) if steepest > 12.0 and len(cuts) <= 1 else 0.6), 24.0
    ends = {k * width for k in range(-round(reach / width), round(reach / width) + 1)}
    # a root or a pole of the slope may stand at zero or, where there are few, at a break point
    ends |= {*cuts} | {b + s * 4.0**-k for b in (0.0, *cuts)[:5] for s in (1, -1) for k in range(14)}
    total = math.fsum(
        float(oracle(float(a + (b - a) * (u + 1) / 2))[0]) ** 2 * math.exp(-((a + (b - a) * (u + 1) / 2) ** 2) / 2)
        * v * (b - a) / 2
        for a, b in pairwise(sorted(ends))
        for u, v in zip(x, w)
    )  # fmt: skip
    want = total / math.sqrt(2 * math.pi)
    assert got.second_moment == pytest.approx(want, rel=1e-12)


def test_the_backward_gain_of_a_surrogate_is_that_of_the_declared_backward():
    got = gain("sign")
    assert got.surrogate
    assert got.forward == pytest.approx(1.0, rel=1e-14)
    assert got.slope_moment == pytest.approx(math.erf(1 / math.sqrt(2)), rel=1e-14)
    assert "declared backward" in repr(got)
    assert not gain("relu").surrogate


def test_zero_and_infinite_slope_moments_are_said():
    assert gain("heaviside").backward == math.inf
    assert gain("sqrt(abs(x))").backward == 0.0


@pytest.mark.parametrize("spec", ["exp(x**2)", "exp(x**2/4)", "1/x", "tan(x)", "sqrt(x)", "exp(exp(x))"])
def test_a_function_without_second_moment_is_refused_by_name(spec):
    with pytest.raises(ogive.OgiveError) as error:
        gain(spec)
    assert str(ogive.get(spec)) in str(error.value)


def test_bad_input():
    with pytest.raises(ogive.OgiveError, match="zero"):
        gain("relu(-abs(x))")
    with pytest.raises(ogive.InputError, match=r"glu.*2 inputs"):
        gain("glu")
    with pytest.raises(ogive.ParameterError, match="beta"):
        gain("swish", beta="1")
    with pytest.raises(ogive.ParameterError, match="beta"):
        gain("swish", beta=math.nan)
    with pytest.raises(ogive.ParameterError, match="tensor"):
        gain("swish", beta=torch.ones(3))
    with pytest.raises(ogive.UnknownName):
        gain("tanhh")


def test_expectation_under_any_normal_and_its_error():
    value, error = expectation(torch.exp, mean=0.3, std=1.5)
    assert value == pytest.approx(math.exp(0.3 + 1.125), rel=1e-13)
    assert error < 1e-12 * value
    value, _ = expectation(lambda x: (x > 1).double(), [1.0], mean=1.0, std=0.01)
    assert value == pytest.approx(0.5, rel=1e-14)
    value, error = expectation(lambda x: torch.sin(4000 * x), budget=200, power=2)
    assert error > 1e-3, "a budget that is too small must show in the error"
    with pytest.raises(ogive.OgiveError, match="std"):
        expectation(torch.exp, std=0.0)

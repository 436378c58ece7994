"""Second moments by formula, against closed forms."""

from __future__ import annotations

import math

import pytest

import ogive
from ogive.surgery.propagate import power, slope_power, stretch

GLU = ogive.GLU("relu").activation


def test_powers_have_their_closed_forms():
    for s in (0.1, 1.0, 3.0):
        assert power(ogive.get("relu"), s) == pytest.approx(s * s / 2, rel=1e-12)
        assert power(ogive.get("sin(2*x)"), s) == pytest.approx(-math.expm1(-8 * s * s) / 2, rel=1e-12)
        assert slope_power(ogive.get("square"), s) == pytest.approx(4 * s * s, rel=1e-12)
    assert math.isnan(power(ogive.get("exp(x**2)"), 1.0)), "it does not exist"
    assert power(ogive.get("cos(x)"), 0.0) == 1.0


def test_gates_of_two_independent_inputs():
    assert power(GLU, 1.0) == pytest.approx(0.5, rel=1e-9)
    assert power(GLU, 2.0) == pytest.approx(8.0, rel=1e-9)
    assert power(ogive.get("glu"), 1.0) == pytest.approx(1.84622854533861**-2, rel=1e-9)
    # by the gate: E 1(x>0) y^2 = 1/2; by the branch: E relu(x)^2 = 1/2
    assert slope_power(GLU, 1.0) == pytest.approx(0.5, rel=1e-6)


def test_stretch_is_the_power_law_of_the_second_moment():
    assert stretch(ogive.get("relu"), 1.0) == pytest.approx(1.0, abs=1e-9)
    assert stretch(ogive.get("square"), 0.5) == pytest.approx(2.0, abs=1e-9)
    assert stretch(ogive.get("sign"), 1.0) == pytest.approx(0.0, abs=1e-9)
    assert stretch(ogive.get("silu"), 1.0) > 1.1
    assert stretch(ogive.get("tanh"), 1.0) < 0.7

"""Every rule on boxes holds the values that flint's balls give inside them, on points, intervals and edges."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from ogive import balls
from ogive import intervals as iv
from ogive.expr import Expr
from ogive.ops import OPS

flint = pytest.importorskip("flint")

FUNCTIONS = sorted(set(iv.ULPS) - {"pow"})
LIMITS = {-1.0, 0.0, 1.0, 2.0, 0.39894228040143276}  # where rules cut what they have moved outward
NAMES = {"abs": "abs_", "round": "round_", "pow": "power"}


@pytest.fixture(autouse=True)
def digits():
    before, flint.ctx.prec = flint.ctx.prec, 2600  # exp(-2|x|) beside 1 at the smallest doubles
    yield
    flint.ctx.prec = before


def arguments(name: str, n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    sizes = np.concatenate([10.0 ** rng.uniform(-300, 300, n), 10.0 ** rng.uniform(-8, 3, 2 * n),
                            rng.uniform(0, 45, n), rng.uniform(0.1, 2, n), rng.uniform(600, 760, n)])  # fmt: skip
    x = np.concatenate([sizes, -sizes, [0.0]])
    if name in ("log", "sqrt"):
        return np.abs(x)
    return np.concatenate([np.abs(x), -rng.uniform(0, 1, n)]) if name == "log1p" else x


def ball(name: str, x: float, *rest: float):
    values = [flint.arb_series([v], 1) for v in (x, *rest)]
    return getattr(balls, NAMES.get(name, name))(*values)[0]


def holds(lo: float, hi: float, value) -> bool:
    return not (value < lo) and not (value > hi)


def test_there_is_a_rule_for_every_primitive():
    assert set(iv.RULES) == set(OPS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_points_lie_in_their_boxes_and_the_units_are_twice_what_is_seen(name):
    x = arguments(name, 25)
    with np.errstate(all="ignore"):
        y = iv.RULES[name](iv.box(x, x))
    worst = 0.0
    for v, lo, hi in zip(x, *y):
        truth = ball(name, float(v))
        if not truth.is_finite():
            continue
        assert holds(lo, hi, truth), (name, v, lo, hi)
        if {float(lo), float(hi)} & LIMITS or not 1e-290 < min(abs(lo), abs(hi)) < max(abs(lo), abs(hi)) < 1e300:
            continue
        middle = 0.5 * (lo + hi)
        unit = math.ulp(middle)
        if hi - lo >= 1.5 * iv.ULPS[name] * unit:
            worst = max(worst, abs(float((flint.arb(middle) - truth) / flint.arb(unit))))
    assert worst <= 0.5 * iv.ULPS[name] + 1.5, (name, worst)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_wide_boxes_hold_the_values_inside(name):
    rng = np.random.default_rng(1)
    a = arguments(name, 12, 2)
    b = np.abs(arguments(name, 12, 3)) * rng.uniform(0, 1, len(a))
    ends = np.sort(np.array([a, a + b]), axis=0)
    ends = ends[:, np.isfinite(ends).all(0)]
    with np.errstate(all="ignore"):
        y = iv.RULES[name](ends)
    assert not np.isnan(y).any()
    assert (y[0] <= y[1]).all()
    for i in range(0, ends.shape[1], 3):
        for t in (0.0, 0.3, 0.77, 1.0):
            v = min(max(float(ends[0, i] * (1 - t) + ends[1, i] * t), float(ends[0, i])), float(ends[1, i]))
            if math.isfinite(v) and abs(v) < 1e200:
                truth = ball(name, v)
                if truth.is_finite():
                    assert holds(y[0, i], y[1, i], truth), (name, v, y[:, i])


def exact(op: str, a: Fraction, b: Fraction) -> Fraction | None:
    if op == "div":
        return a / b if b else None
    return {"add": a + b, "sub": a - b, "mul": a * b}[op]


@pytest.mark.parametrize("op", ["add", "sub", "mul", "div"])
def test_arithmetic_against_fractions(op):
    rng = np.random.default_rng(4)
    n = 1500

    def numbers() -> np.ndarray:
        wide = rng.standard_normal(n) * 10.0 ** rng.integers(-150, 150, n)
        return np.where(rng.random(n) < 0.3, rng.integers(-3, 4, n).astype(float), wide)

    a, b = (np.sort(np.array([numbers(), numbers()]), axis=0) for _ in range(2))
    with np.errstate(all="ignore"):
        y = iv.RULES[op](a, b)
    for i in range(n):
        for p in a[:, i]:
            for q in b[:, i]:
                v = exact(op, Fraction(float(p)), Fraction(float(q)))
                if v is not None:
                    assert y[0, i] == -math.inf or Fraction(float(y[0, i])) <= v
                    assert y[1, i] == math.inf or v <= Fraction(float(y[1, i]))


def test_exact_sums_stay_points_and_inexact_ones_are_two_neighbours():
    assert iv.add(iv.box(1.5, 1.5), iv.box(2.25, 2.25)).ravel().tolist() == [3.75, 3.75]
    lo, hi = iv.add(iv.box(0.1, 0.1), iv.box(0.2, 0.2)).ravel()
    assert hi == np.nextafter(lo, 1.0)


def test_unbounded_ends_make_no_nan():
    line, zero, far = iv.box(-math.inf, math.inf), iv.box(0.0, 0.0), iv.box(1e308, math.inf)
    with np.errstate(all="ignore"):
        assert iv.mul(zero, line).ravel().tolist() == [0.0, 0.0]
        assert iv.sub(far, far).ravel().tolist() == [-math.inf, math.inf]
        assert iv.div(far, far)[0, 0] == 0.0
        assert iv.div(iv.box(1.0, 2.0), iv.box(-1.0, 1.0)).ravel().tolist() == [-math.inf, math.inf]
        assert iv.log(iv.box(-2.0, -1.0)).ravel().tolist() == [-math.inf, math.inf]
        assert iv.log(iv.box(-2.0, 1.0))[0, 0] == -math.inf


def test_underflow_keeps_the_sign():
    small = iv.box(1e-200, 1e-200)
    with np.errstate(all="ignore"):
        assert iv.mul(small, small)[0, 0] == 0.0
        assert iv.mul(small, small)[1, 0] > 0.0
        assert iv.mul(iv.neg(small), small)[1, 0] == 0.0
        assert iv.exp(iv.box(-800.0, -800.0))[0, 0] == 0.0 < iv.exp(iv.box(-800.0, -800.0))[1, 0]


@pytest.mark.parametrize("p", [2.0, 3.0, -1.0, -2.0, 0.5, 1.4, -0.7, 7.0])
def test_powers(p):
    rng = np.random.default_rng(5)
    a = np.sort(rng.standard_normal((2, 200)) * 10.0 ** rng.integers(-6, 6, 200), axis=0)
    a = a if p == int(p) else np.sort(np.abs(a), axis=0)
    with np.errstate(all="ignore"):
        y = iv.power(a, iv.box(p, p))
    for i in range(a.shape[1]):
        for x in (a[0, i], a[1, i], 0.25 * a[0, i] + 0.75 * a[1, i]):
            if x != 0.0:
                assert holds(y[0, i], y[1, i], ball("pow", float(x), p)), (x, p)


def test_a_power_with_an_exponent_between():
    y = iv.power(iv.box(0.5, 2.0), iv.box(1.0, 3.0)).ravel()
    assert 0.124 < y[0] <= 0.125
    assert 8.0 <= y[1] < 8.001


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_sinc_and_its_derivatives(order):
    rng = np.random.default_rng(6)
    lo = np.concatenate([rng.uniform(-30, 30, 120), [0.0, -1e-3]])
    hi = lo + np.concatenate([10.0 ** rng.uniform(-9, 1, 120), [0.0, 2e-3]])
    y = iv.sinc(iv.box(lo, hi), order)
    for i in range(len(lo)):
        for x in (lo[i], hi[i], 0.5 * (lo[i] + hi[i])):
            truth = balls.sinc(flint.arb_series([float(x)], 1), order)[0]
            assert holds(y[0, i], y[1, i], truth), (order, x)


def test_choices_take_the_hull_only_where_they_are_open():
    x = iv.box([-2.0, -1.0, 1.0], [-1.0, 1.0, 2.0])
    zero, one = iv.box(0.0, 0.0), iv.box(1.0, 1.0)
    y = iv.where(iv.gt(x, zero), one, zero)
    assert y.T.tolist() == [[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    assert iv.abs_(x).T.tolist() == [[1.0, 2.0], [0.0, 1.0], [1.0, 2.0]]
    assert iv.RULES["floor"](iv.box(-0.5, 1.5)).ravel().tolist() == [-1.0, 1.0]


def test_waves_reach_one_only_where_a_crest_may_be():
    y = iv.sin(iv.box([0.0, 1.0, 4.0], [1.0, 2.0, 5.0]))
    assert y[1, 0] < 0.85
    assert y[1, 1] == 1.0
    assert y[0, 2] == -1.0
    assert iv.cos(iv.box(-1.0, 100.0)).ravel().tolist() == [-1.0, 1.0]
    assert iv.tan(iv.box(1.0, 2.0)).ravel().tolist() == [-math.inf, math.inf]


def test_rules_take_the_names_of_the_balls():
    for name in iv.RULES:
        assert hasattr(balls, NAMES.get(name, name)), name
    assert Expr("sinc", (Expr("var", (), "x"),), 2).op in iv.RULES

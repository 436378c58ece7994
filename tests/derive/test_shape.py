"""Shapes of known functions against values from mpmath, and proofs that are tampered with."""

from __future__ import annotations

import math
from dataclasses import replace

import mpmath
import pytest
import torch

from ogive.derive.calculus import derivative
from ogive.derive.pieces import slight
from ogive.derive.shape import shape
from ogive.derive.signs.proof import check
from ogive.errors import InputError
from ogive.lookup import get
from ogive.surgery.sparsity.gates import dropped


def sharp(bound, value: float) -> None:
    assert bound.low <= value * (1 + 4e-16 * math.copysign(1, value))
    assert bound.high >= value * (1 - 4e-16 * math.copysign(1, value))
    assert bound.high - bound.low <= 1e-12 * abs(value)


@pytest.mark.parametrize(
    ("name", "least", "steepest"),
    [
        ("gelu", -0.1699712074799037, 1.128904145185155),
        ("silu", -0.2784645427610738, 1.099839320128867),
        ("mish", -0.3088434130172504, 1.088498161251728),
        ("gelu_tanh", -0.170040750571254, 1.128993068658772),
    ],
)
def test_minima_and_lipschitz_constants(name, least, steepest):
    s = shape(name)
    assert s.minimum.low == pytest.approx(least, rel=1e-13)
    assert s.minimum.high - s.minimum.low <= 1e-12 * abs(least)
    assert s.steepest.high == pytest.approx(steepest, rel=1e-13)
    assert s.steepest.high - s.steepest.low <= 1e-12
    assert s.maximum.high == math.inf
    assert s.proved


def test_against_mpmath():
    with mpmath.workdps(40):
        at = mpmath.findroot(lambda x: 1 + x * (1 - 1 / (1 + mpmath.exp(-x))), -1.28)
        value = at / (1 + mpmath.exp(-at))
        s = shape("silu")
        assert s.extrema[0].at[0] <= at <= s.extrema[0].at[1]
        assert s.minimum.low <= value <= s.minimum.high


def test_ranges():
    assert shape("tanh").range == (-1.0, 1.0)
    assert shape("relu6").range == (0.0, 6.0)
    assert shape("sigmoid").bounded
    assert shape("softplus").range == (0.0, math.inf)
    assert shape("asinh").range == (-math.inf, math.inf)
    assert not shape("x*x").bounded
    sharp(shape("x*exp(-x*x)").maximum, math.exp(-0.5) / math.sqrt(2))


def test_on_an_interval():
    s = shape("silu", -1.0, 2.0)
    assert s.extrema == ()
    assert s.minimum.low == pytest.approx(-1 / (1 + math.e), rel=1e-15)
    assert s.minimum.at == (-1.0, -1.0)
    assert s.maximum.high == pytest.approx(2 / (1 + math.exp(-2)), rel=1e-15)
    assert s.monotone_on(-1.0, 2.0) == 1
    assert shape("sine", 0.0, 2.0).maximum.high == 1.0


def test_places():
    s = shape("x**3 - x")
    for found, wanted in ((s.zeros, (-1.0, 0.0, 1.0)), (s.fixed_points, (-math.sqrt(2), 0.0, math.sqrt(2))),
                          (s.inflections, (0.0,))):  # fmt: skip
        assert [0.5 * (a + b) for a, b in found] == pytest.approx(wanted, abs=1e-13)
        assert all(b - a <= 1e-13 for a, b in found)
    assert [e.kind for e in s.extrema] == ["maximum", "minimum"]
    assert [0.5 * sum(e.at) for e in s.extrema] == pytest.approx([-(3**-0.5), 3**-0.5])
    assert [r.sign for r in s.monotone] == [1, -1, 1]
    assert [r.sign for r in s.convex] == [-1, 1]


def test_stretches_pass_over_slivers_but_not_over_jumps():
    s = shape("elu")
    assert [(r.sign, r.lo < -1e300, r.hi > 1e300) for r in s.monotone] == [(1, True, True)]
    assert len(shape("where(x > 0, x + 1, x)").monotone) == 2
    assert shape("relu").flat[0][0] < -1e300
    assert [0.5 * (a + b) for a, b in shape("hardtanh").kinks] == pytest.approx([-1.0, 1.0])


def test_jumps_make_the_lipschitz_constant_infinite():
    s = shape("where(x > 1, x + 0.5, x)")
    assert s.lipschitz == math.inf
    assert s.steepest.high == 1.0
    assert s.jumps[0].proved
    assert s.jumps[0].size == pytest.approx((0.5, 0.5), rel=1e-14)
    assert shape("leaky_relu").lipschitz == 1.0


@pytest.mark.parametrize(
    ("formula", "lo", "hi", "value"),
    [("tanh(x) + 1.2", -math.inf, math.inf, 0.9991231639020), ("sigmoid", 0.0, math.inf, 0.278464542761074),
     ("x**3", -math.inf, math.inf, 3.0), ("relu", -math.inf, math.inf, 1.0), ("tanh", -math.inf, math.inf, 1.0),
     ("softplus", 0.0, math.inf, 1.0)],
)  # fmt: skip
def test_elasticity(formula, lo, hi, value):
    e = shape(formula, lo, hi).elasticity
    assert e.low == pytest.approx(value, rel=1e-12)
    assert e.low <= e.high <= e.low * (1 + 2e-12)


def test_elasticity_is_infinite_at_a_zero_and_in_an_exponential_tail():
    assert shape("x - 1").elasticity.high == math.inf
    assert shape("silu").elasticity.high == math.inf


def test_symmetries():
    assert (shape("tanh").parity, shape("cosine").parity, shape("silu").parity) == ("odd", "even", None)
    assert shape("where(x > 0, exp(x) - 1, 1 - exp(-x))").parity == "odd"
    assert (shape("relu").homogeneity, shape("x*x").homogeneity, shape("elu").homogeneity) == (1.0, 2.0, None)
    assert shape("maximum(x, 0) + 1").homogeneity is None
    assert (shape("relu").equivariance, shape("identity").equivariance) == ("positive scalings", "scalings")
    assert (shape("tanh").equivariance, shape("silu").equivariance) == ("signs", "none")


def test_growth_is_that_of_the_limits():
    assert shape("silu").growth.plus.asymptote == (1.0, 0.0)


def test_ranges_of_parameters_hold_for_every_value_between():
    wide = shape("swish", beta=(0.5, 2.0))
    for beta in (0.5, 0.9, 1.3, 2.0):
        one = shape("swish", beta=beta)
        assert wide.minimum.low <= one.minimum.low
        assert wide.steepest.high >= one.steepest.high
    with pytest.raises(InputError, match="its parameters are ranges"):
        _ = wide.growth


def test_refusals():
    with pytest.raises(InputError, match=r"the shape of silu on \[1.0, 1.0\]: the interval is empty"):
        shape("silu", 1.0, 1.0)
    with pytest.raises(InputError, match="the shape of"):
        shape("swiglu")


def test_a_shape_is_ready_for_json():
    d = shape("silu").to_dict()
    assert "proof" not in d
    assert d["equivariance"] == "none"
    assert d["extrema"][0]["kind"] == "minimum"
    assert "minimum at -1.278464542" in repr(shape("silu"))


# The checker


@pytest.fixture
def proof():
    pytest.importorskip("flint")
    return shape("silu", -30.0, 30.0).proof


def changed(proof, i: int, **fields):
    rows = list(proof.rows)
    rows[i] = replace(rows[i], **fields)
    return replace(proof, rows=tuple(rows), bounds=())


def test_a_proof_is_accepted(proof):
    verdict = check(proof)
    assert verdict.holds
    assert verdict.complete
    assert verdict.balls > 100


def test_a_wrong_sign_is_refused(proof):
    for i, row in enumerate(proof.rows):
        for what in ("slope", "curvature"):
            sign = getattr(row, what)
            if sign is not None:
                assert not check(changed(proof, i, **{what: -sign})).holds, (i, what)


def test_a_sign_claimed_too_far_is_refused(proof):
    # the row left of the minimum, stretched by 1e-7 beyond it
    i = next(i for i, r in enumerate(proof.rows) if r.slope == -1 and r.curvature == 1)
    rows = list(proof.rows)
    to = rows[i].hi + 1e-7
    rows[i] = replace(rows[i], hi=to)
    rows[i + 1 : i + 3] = [replace(rows[i + 2], lo=to)]
    assert not check(replace(proof, rows=tuple(rows), bounds=())).holds
    rows[i] = replace(rows[i], derivative=(-1.0, 1.0))
    assert "is wrong" in check(replace(proof, rows=tuple(rows), bounds=())).refuted


def test_a_gap_is_refused(proof):
    rows = proof.rows[:2] + proof.rows[3:]
    assert "gap" in check(replace(proof, rows=rows)).refuted


@pytest.mark.parametrize("what", ["value", "derivative"])
def test_an_enclosure_that_is_too_tight_is_refused(proof, what):
    for i, row in enumerate(proof.rows):
        lo, hi = getattr(row, what)
        size = 1e-12 * max(abs(lo), abs(hi), 1e-6)
        if hi - lo > 3 * size and not slight(row):
            assert not check(changed(proof, i, **{what: (lo, hi - size)})).holds
            assert not check(changed(proof, i, **{what: (lo + size, hi)})).holds


def test_a_bound_that_does_not_follow_is_refused(proof):
    least, *rest = proof.bounds
    for wrong in ((least[0] + 1e-9, least[1] + 1e-9, least[2]), (least[0] - 1e-3, least[1] - 1e-3, least[2])):
        assert not check(replace(proof, bounds=(wrong, *rest))).holds


def test_another_formula_is_refused(proof):
    assert not check(replace(proof, formula="x*sigmoid(1.0001*x)")).holds
    assert not check(replace(proof, formula="x*Phi(x)")).holds


def test_far_out_the_checker_says_that_it_saw_points_only():
    pytest.importorskip("flint")
    verdict = check(shape("silu").proof)
    assert verdict.holds
    assert not verdict.complete
    assert all(min(abs(a), abs(b)) >= 30.0 for a, b in verdict.at_points)
    assert check(shape("relu6").proof).complete


@pytest.mark.parametrize("t", [0.1, 0.15, 0.169, 0.2])
@pytest.mark.parametrize("name", ["gelu", "silu", "golu", "tanh"])
def test_a_function_whose_small_values_are_dropped(name, t):
    """The steepest point of all may lie at the edge of what was dropped, inside the sliver of a jump."""
    act = get(name)
    s = shape(dropped(act), t=t)
    x = torch.linspace(-8.0, 8.0, 200_001, dtype=torch.float64)
    y, slope = act(x), derivative(act)(x)
    kept = y.abs() > t
    assert s.range[0] <= float((y * kept).min()) <= s.range[0] + 1e-6
    assert s.slopes[0].low <= float(slope[kept].min())
    assert s.slopes[1].high >= float(slope[kept].max())
    assert s.lipschitz == math.inf
    check(s.proof)


def test_no_slope_at_all_is_not_minus_zero():
    assert str(shape(dropped(get("tanh")), t=1.0).lipschitz) == "0.0"

"""Pieces of known functions: where they are cut, what is said of each row, and what is refused."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from ogive import get
from ogive.derive.pieces import Pieces, pieces, slight
from ogive.derive.signs.enclosure import Enclosure
from ogive.errors import InputError, ParameterError


def signs(p: Pieces) -> list[tuple[int | None, int | None]]:
    return [(r.slope, r.curvature) for r in p.rows if not slight(r)]


def cuts(p: Pieces) -> list[float]:
    return [0.5 * (r.lo + r.hi) for r in p.rows if slight(r)]


def test_relu_has_two_sides_and_a_sliver():
    p = pieces("relu")
    assert signs(p) == [(0, 0), (1, 0)]
    assert p.rows[1].derivative == (0.0, 1.0)
    assert p.proved


def test_silu_is_cut_at_its_minimum_and_inflections():
    p = pieces("silu")
    # roots of 1 + x (1 - s(x)) = 0 and of the slope's slope, to 15 digits by mpmath.findroot
    assert cuts(p) == pytest.approx([-2.399357280515468, -1.278464542761074, 2.399357280515468], rel=1e-13)
    assert signs(p) == [(-1, -1), (-1, 1), (1, 1), (1, -1)]
    assert p.rows[0].lo == -1.7976931348623157e308
    assert p.rows[-1].value[1] == math.inf


def test_signs_reach_into_the_underflow():
    # far left silu is smaller than any double; that it falls there is proved all the same
    row = pieces("silu").at(-1e6)
    assert (row.slope, row.curvature) == (-1, -1)
    assert pieces("gelu").at(-1e300).slope == -1
    assert pieces("mish").at(-1e300).curvature == -1


@pytest.mark.parametrize(
    ("name", "period", "drift"),
    [("sine", 2 * math.pi, 0.0), ("floor_ste", 1.0, 1.0), ("round_ste", 2.0, 2.0), ("snake", 2 * math.pi, 2 * math.pi)],
)
def test_periodic_functions_through_their_period(name, period, drift):
    p = pieces(name)
    assert (p.period, p.drift) == pytest.approx((period, drift))
    assert p.knots()[-1] - p.knots()[0] == pytest.approx(period)


def test_two_waves_of_commensurable_periods():
    assert pieces("sin(2*x) + cos(3*x)").period == pytest.approx(2 * math.pi)
    assert pieces("sin(x) + cos(1.4142135623730951*x)").period is None
    assert pieces("x*sin(x)").period is None


def test_a_row_is_found_by_a_point():
    p = pieces("sine")
    assert p.at(0.5).slope == 1
    assert p.at(2 * math.pi * 10 + 0.5).slope == 1
    assert p.at(-math.pi).slope == p.at(math.pi).slope
    with pytest.raises(ValueError, match="no piece holds nan"):
        p.at(math.nan)


def test_jumps_have_no_bounded_difference_quotient():
    row = pieces("where(x > 1, 2, 1)*x").at(1.0)
    assert row.derivative == (-math.inf, math.inf)
    assert row.slope is None
    assert row.value[0] <= 1.0
    assert row.value[1] >= 2.0


@pytest.mark.parametrize("formula", ["where(x > 0, x, 0.3*x)", "where(x > 0, x, exp(x) - 1)", "x*where(x >= 2, x, 2)",
                                     "where(x > 0.7, tanh(0.7) + 0.1*(x - 0.7), tanh(x))"])  # fmt: skip
def test_a_choice_whose_sides_meet_is_continuous(formula):
    assert all(math.isfinite(r.derivative[0]) for r in pieces(formula).rows if slight(r))


def test_sides_that_miss_by_one_unit_are_not_said_to_meet():
    p = pieces("where(x > 1, x + 0.00000000000000022, x)")
    assert any(r.derivative == (-math.inf, math.inf) for r in p.rows if slight(r))


def test_constants_are_exact_in_derivatives():
    # 0.1*0.1 is rounded in float64; the third derivative of 0.1*(0.1*x^3) at 1 is six times its exact square
    f = Enclosure.of(get("0.1*(0.1*(x*x*x))").expr, "x", {})
    lo, hi = f.at(np.array([1.0]), (3,)).boxes[0].ravel()
    exact = 6 * Fraction(0.1) ** 2
    assert Fraction(float(lo)) < exact < Fraction(float(hi))
    lo, hi = Enclosure.of(get("erf").expr, "x", {}).at(np.array([0.0]), (1,)).boxes[0].ravel()
    assert lo < hi
    assert lo <= 2 / math.sqrt(math.pi) <= hi


def test_parameters_as_numbers_and_as_ranges():
    assert cuts(pieces("swish", beta=2.0))[1] == pytest.approx(-1.278464542761074 / 2)
    wide = pieces("swish", beta=(1.9, 2.1))
    for beta in (1.9, 2.0, 2.1):
        at = -1.278464542761074 / beta
        assert wide.at(at).slope is None
    assert wide.at(-5.0).slope == -1
    assert wide.at(1.0).slope == 1


def test_what_cannot_be_followed_is_said():
    p = pieces("sin(x*x)")
    assert not p.proved
    assert "not every sign" in p.why


def test_refusals_name_what_was_written():
    with pytest.raises(InputError, match=r"the pieces of x\*y: it takes 2 inputs"):
        pieces("x*y")
    with pytest.raises(ParameterError, match=r"beta=\(2, 1\); a range is a pair"):
        pieces("swish", beta=(2, 1))
    with pytest.raises(ParameterError, match="no parameter 'bete'"):
        pieces("swish", bete=(1, 2))


def test_rows_are_ready_for_json():
    d = pieces("relu").to_dict()
    assert d["rows"][0]["slope"] == 0
    assert repr(pieces("relu")) == "Pieces(relu: 3 rows, 3 with a sign)"

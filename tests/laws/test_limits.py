"""Law: every limit agrees with ball arithmetic out to 1e300 and with what the activation returns at infinity."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

import ogive
from ogive.derive.limits import Limits, limits
from tests.entries import every_scalar_entry

INF = math.inf


def _far(side: str) -> list[float]:
    sign = 1.0 if side in ("plus", "right") else -1.0
    return [sign * (x if side in ("plus", "minus") else 1.0 / x) for x in (1e3, 1e6, 1e12, 1e30, 1e100, 1e300)]


def _holds(claim: float | None, exact: list) -> bool:
    """Whether the exact values on the way to the end point bear the claim out."""
    last = exact[-1]
    if claim is None:
        middle = [float(v.mid()) for v in exact]
        return max(middle[2:]) - min(middle[2:]) > 1e-3 * max(map(abs, middle[2:]))
    if math.isinf(claim):
        signed = [v if claim > 0 else -v for v in exact]
        return signed[-1] > 0 and all(a <= b for a, b in pairwise(signed[1:])) and signed[-1] > 2 * signed[1]
    return abs(last - claim) <= 1e-12 * (1.0 + abs(claim))


@every_scalar_entry
def test_every_limit_agrees_with_ball_arithmetic(entry):
    pytest.importorskip("flint")
    from ogive.derive.exact import Oracle

    got = limits(entry)
    oracle = Oracle(entry, order=1)
    assert not got.extrapolated
    for side in ("left", "right", "minus", "plus"):
        told = getattr(got, side)
        exact = [oracle(x) for x in _far(side)]
        assert _holds(told.value, [v[0] for v in exact]), (side, told.value, exact)
        assert _holds(told.slope, [v[1] for v in exact]), (side, told.slope, exact)
        if told.asymptote is not None:
            a, b = told.asymptote
            # at 1e6 a term in 1/x is 1e-6 and an error of 1e-16 in a is 1e-10; a flat line stands any distance
            x = _far(side)[1 if a else 4]
            rest = oracle(x)[0] - oracle.flint.arb(a) * x - b
            assert abs(rest) <= 1e-5 * (1 + abs(a) + abs(b)), (side, told.asymptote, rest)
    steep = got.slope is None or math.isinf(got.slope)  # as of a root, where balls have no derivative
    at = Oracle(entry, order=0)(0.0) if steep else oracle(0.0)
    assert abs(at[0] - got.value) <= 1e-12 * (1 + abs(got.value))
    if not steep:
        assert abs(at[1] - got.slope) <= 1e-12 * (1 + abs(got.slope))


@every_scalar_entry
def test_the_activation_returns_its_limits_at_infinity(entry):
    got = limits(entry)
    for end, side in ((-INF, got.minus), (INF, got.plus)):
        if side.value is not None:
            assert entry(end) == pytest.approx(side.value, rel=1e-12, abs=1e-12), end


KNOWN = {
    # name: (f(-inf), f'(-inf), f(0), f'(0-), f'(0+), f(+inf), f'(+inf), asymptote at +inf)
    "relu": (0, 0, 0, 0, 1, INF, 1, (1, 0)),
    "gelu": (0, 0, 0, 0.5, 0.5, INF, 1, (1, 0)),
    "softplus": (0, 0, math.log(2), 0.5, 0.5, INF, 1, (1, 0)),
    "elu": (-1, 0, 0, 1, 1, INF, 1, (1, 0)),
    "arctan": (-math.pi / 2, 0, 0, 1, 1, math.pi / 2, 0, (0, math.pi / 2)),
    "atlu": (-1 / math.pi, 0, 0, 0.5, 0.5, INF, 1, (1, -1 / math.pi)),
    "bent_identity": (-INF, 0.5, 0, 1, 1, INF, 1.5, (1.5, -0.5)),
    "asinh": (-INF, 0, 0, 1, 1, INF, 0, None),
    "snake": (-INF, None, 0, 1, 1, INF, None, None),
    "gcu": (None, None, 0, 1, 1, None, None, None),
    "exponential": (0, 0, 1, 1, 1, INF, INF, None),
    "log(1 + log(1 + abs(x)))": (INF, 0, 0, -1, 1, INF, 0, None),
    "x + sqrt(abs(x))": (-INF, 1, 0, -INF, INF, INF, 1, None),
    "exp(x)/(exp(x) + exp(-x))": (0, 0, 0.5, 0.5, 0.5, 1, 0, (0, 1)),
    "sin(x)/(1 + abs(x))": (0, 0, 0, 1, 1, 0, 0, (0, 0)),
    "x*cos(x)**2": (None, None, 0, 1, 1, None, None, None),
    "abs(x)**0.1": (INF, 0, 0, -INF, INF, INF, 0, None),
    "1 - (1 + abs(x))**-0.3": (1, 0, 0, -0.3, 0.3, 1, 0, (0, 1)),
}


@pytest.mark.parametrize(("spec", "want"), KNOWN.items())
def test_known_limits(spec, want):
    got = limits(spec)
    told = (
        got.minus.value,
        got.minus.slope,
        got.value,
        got.left.slope,
        got.right.slope,
        got.plus.value,
        got.plus.slope,
    )
    for a, b in zip(told, want):
        assert a == (None if b is None else pytest.approx(b, rel=1e-12, abs=1e-12)), (told, want)
    line = got.plus.asymptote
    assert line == (None if want[7] is None else pytest.approx(want[7], rel=1e-9, abs=1e-9))


def test_closed_forms_are_named():
    assert limits("arctan").closed["minus.value"] == "-pi/2"
    assert limits("softplus").closed["value"] == "log(2)"
    assert limits("logish").closed["plus.slope"] == "log(2)"
    assert limits("smish").closed["plus.slope"] == "3/5"
    assert limits("relu").closed == {}


def test_kinks_jumps_and_surrogates_are_told():
    step = limits("heaviside")
    assert not step.continuous
    assert (step.left.value, step.right.value) == (0.0, 1.0)
    assert limits("relu").kink
    assert limits("relu").continuous
    assert not limits("elu").kink
    assert limits("elu", alpha=0.5).kink
    assert limits("sign").surrogate
    assert limits("sign").slope == 0.0


def test_slow_limits_say_so():
    got = limits("1/log(2 + abs(x))")
    assert "plus.value" in got.extrapolated
    assert got.plus.value == pytest.approx(0.0, abs=1e-6)


def test_undefined_at_zero_is_none():
    got = limits("sin(1/x)")
    assert got.value is None
    assert got.left.value is None


def test_repr_and_dict():
    got = limits("leaky_relu", negative_slope=0.25)
    assert isinstance(got, Limits)
    assert "asymptote 0.25*x" in repr(got)
    told = got.to_dict()
    assert told["minus"]["slope"] == 0.25
    assert told["kink"] is True


def test_bad_input():
    with pytest.raises(ogive.InputError, match=r"swiglu.*2 inputs"):
        limits("swiglu")
    with pytest.raises(ogive.ParameterError, match="alpha"):
        limits("elu", alpha=-1.0)
    with pytest.raises(ogive.OgiveError, match="sqrt"):
        limits("sqrt(x)")

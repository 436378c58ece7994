"""Dual activations: closed forms up to correlation 1, a 30-digit series, and the whole catalogue in other coordinates."""

from __future__ import annotations

import math
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import torch

import ogive
from ogive.derive.dual import dual
from ogive.derive.integrals.integrand import slope_of
from ogive.derive.integrals.mesh import mesh
from ogive.derive.moments import moment
from tests.entries import every_scalar_entry, few_scalar_entries

CORRELATIONS = [-1.0, -1 + 1e-9, -0.97, -0.5, 0.0, 0.3, 0.9, 0.969, 0.99, 1 - 1e-4, 1 - 1e-7, 1 - 1e-12, 1.0]


def angle(c):
    """arccos(c), without cancellation at 1."""
    return math.atan2(math.sqrt((1 - c) * (1 + c)), c)


# Cho and Saul 2009 (relu, step), Williams 1997 (erf); the others by the Mehler formula.
CLOSED = {
    "relu": lambda c: (math.sin(angle(c)) + (math.pi - angle(c)) * c) / (2 * math.pi),
    "heaviside": lambda c: (math.pi - angle(c)) / (2 * math.pi),
    "abs(x)": lambda c: 2 * (math.sin(angle(c)) + (math.pi / 2 - angle(c)) * c) / math.pi,
    "erf(x)": lambda c: 2 / math.pi * math.asin(2 * c / 3),
    "sin(3*x)": lambda c: (math.exp(-9 * (1 - c)) - math.exp(-9 * (1 + c))) / 2,
    "sin(30*x)": lambda c: (math.exp(-900 * (1 - c)) - math.exp(-900 * (1 + c))) / 2,
    "exp(x)": lambda c: math.exp(1 + c),
    "exp(10*x)": lambda c: math.exp(100 * (1 + c)),
    "x**4": lambda c: 9 + 72 * c**2 + 24 * c**4,
}


@pytest.mark.parametrize("spec", CLOSED)
def test_closed_forms_at_every_correlation(spec):
    want = CLOSED[spec]
    value, error = dual(spec, torch.tensor(CORRELATIONS, dtype=torch.float64))
    for c, got, bound in zip(CORRELATIONS, value.tolist(), error.tolist()):
        # exp(-900 (1 - c)) itself loses 900 eps and exp(100 (1 + c)) 200 eps in double precision.
        assert abs(got - want(c)) <= 3e-13 * want(1.0), c
        assert abs(got - want(c)) <= bound + 1e-13 * want(1.0) and bound <= 1e-12 * want(1.0), c


@pytest.mark.parametrize("spec", ["tanh", "gelu", "tanh(2*x)"])
def test_smooth_functions_agree_with_a_series_of_thirty_digits(spec):
    f = {"tanh": mpmath.tanh, "gelu": lambda x: x * mpmath.ncdf(x), "tanh(2*x)": lambda x: mpmath.tanh(2 * x)}[spec]
    with mpmath.workdps(30):
        ends = [-16, -8, -4, -2, 0, 2, 4, 8, 16]
        nodes = [(x, w) for a, b in pairwise(ends) for x, w in _legendre(a, b)]
        values = [f(x) * mpmath.npdf(x) * w for x, w in nodes]
        before, here = [mpmath.mpf(0)] * len(nodes), [mpmath.mpf(1)] * len(nodes)
        series = []
        for k in range(60):
            series.append(mpmath.fdot(values, here) ** 2)
            grown = [(x * h - mpmath.sqrt(k) * b) / mpmath.sqrt(k + 1) for (x, _), h, b in zip(nodes, here, before)]
            before, here = here, grown
        for c in (-0.5, 0.3, 0.5):  # what is left out is below c^60 E f^2
            want = mpmath.fsum(a * mpmath.mpf(c) ** k for k, a in enumerate(series))
            got = dual(spec, c)
            assert abs(got.value - want) <= 1e-14 * float(series[0] + series[1] + 1)
            assert abs(got.value - want) <= got.error


def _legendre(a, b, count=48):
    """Gauss-Legendre nodes and weights on [a, b] in working precision: Newton steps from the double values."""
    found = []
    for start in np.polynomial.legendre.leggauss(count)[0]:
        x = mpmath.mpf(start)
        for _ in range(3):
            p0, p1 = mpmath.mpf(1), x
            for k in range(1, count):
                p0, p1 = p1, ((2 * k + 1) * x * p1 - k * p0) / (k + 1)
            slope = count * (x * p1 - p0) / (x * x - 1)
            x -= p1 / slope
        found.append(((a + b) / mpmath.mpf(2) + (b - a) * x / 2, (b - a) / ((1 - x * x) * slope**2)))
    return found


def rotated(g, breaks, c, nodes):
    """E g(u) g(v) over p = (u+v)/(2a), q = (u-v)/(2b), which are independent: u = ap + bq, v = ap - bq."""
    a, b = math.sqrt((1 + c) / 2), math.sqrt((1 - c) / 2)
    x, w = (torch.from_numpy(t) for t in np.polynomial.legendre.leggauss(nodes))
    reach, step = 9.5, 0.5 * min(1.0, b)
    near = {k + s * 4.0**-j for k in breaks for s in (1, -1) for j in range(1, 8)} | set(breaks)
    places = {k / a for k in near} | {(k + m) / (2 * a) for k in breaks for m in breaks}
    ends = sorted({-reach, reach, *(e for e in places if abs(e) < reach), *np.arange(-reach, reach, step).tolist()})
    lo, hi = torch.tensor(ends[:-1]).double()[:, None], torch.tensor(ends[1:]).double()[:, None]
    p, wp = ((lo + hi) / 2 + (hi - lo) / 2 * x).reshape(-1), ((hi - lo) / 2 * w).reshape(-1)
    inner = torch.linspace(-reach, reach, 20, dtype=torch.float64).expand(len(p), -1)
    k = torch.tensor([*breaks], dtype=torch.float64)
    cut = (k - a * p[:, None]) / b
    q_ends = torch.cat([inner, cut, -cut], 1).clamp(-reach, reach).sort(1).values
    lo, hi = q_ends[:, :-1, None], q_ends[:, 1:, None]
    total = 0.0
    for i in range(0, len(p), 256):
        part = slice(i, i + 256)
        q = (lo[part] + hi[part]) / 2 + (hi[part] - lo[part]) / 2 * x
        middle = a * p[part, None, None]
        y = g(middle + b * q) * g(middle - b * q) * torch.exp(-q * q / 2) * ((hi[part] - lo[part]) / 2 * w)
        total += float((y.sum((1, 2)) * torch.exp(-(p[part] ** 2) / 2) * wp[part]).sum())
    return total / (2 * math.pi)


@few_scalar_entries
def test_every_entry_agrees_with_rotated_coordinates(entry):
    breaks = sorted({*entry.breakpoints(), 0.0})
    breaks = [b for b in breaks if abs(b) < 9.5][:12]
    for c in (0.6, 0.98):
        got = dual(entry, c)
        size = moment(entry, 2).value
        assert got.error <= 1e-11 * size
        if len(entry.breakpoints()) <= 10:
            # How far fewer nodes are off is more than what the sum is off: at a root or a fast sine, 1e-7.
            want, rough = rotated(entry, breaks, c, 16), rotated(entry, breaks, c, 12)
            assert abs(got.value - want) <= 1e-11 * size + abs(want - rough), c
            assert abs(want - rough) <= 1e-4 * size


@every_scalar_entry
def test_both_quadratures_meet_where_one_takes_over(entry):
    # s = 1/4 is where the product of panels gives way to the ridge.
    c = math.sqrt(1 - 0.25**2)
    h = 2e-4
    value, error = dual(entry, torch.tensor([c - 2 * h, c - h, c + h, c + 2 * h], dtype=torch.float64))
    size = moment(entry, 2).value
    assert float(error.max()) <= 1e-11 * size
    # A smooth function of c: from the left quadrature to the right one the third difference stays of order h^3.
    d = value.tolist()
    rise = abs((d[3] - d[0]) - 2 * (d[2] - d[1]))
    wide = abs(_third(entry, c, 4 * h)) / 64
    assert rise <= 8 * wide + 1e-11 * size


def _third(entry, c, h):
    d = dual(entry, torch.tensor([c - 2 * h, c - h, c + h, c + 2 * h], dtype=torch.float64))[0].tolist()
    return (d[3] - d[0]) - 2 * (d[2] - d[1])


def test_the_slope_is_the_derivative_by_the_correlation():
    # Price: d/dc E f(u) f(v) = std_u std_v E f'(u) f'(v) for a continuous f.
    h = 1e-4
    for spec in ("relu", "gelu", "hardtanh", "tanh"):
        for c in (-0.4, 0.5, 0.97):
            places = torch.tensor([c - 2 * h, c - h, c + h, c + 2 * h], dtype=torch.float64)
            y = dual(spec, places, std=(1.2, 0.7), mean=0.1)[0].tolist()
            want = (y[0] - 8 * y[1] + 8 * y[2] - y[3]) / (12 * h)
            assert 1.2 * 0.7 * dual(spec, c, slope=1, std=(1.2, 0.7), mean=0.1).value == pytest.approx(want, rel=1e-8)


def test_the_ends_are_moments():
    for spec in ("silu", "softsign", "sqrt(abs(x))"):
        assert dual(spec, 1.0, std=1.3, mean=0.2).value == pytest.approx(
            moment(spec, 2, mean=0.2, std=1.3).value, rel=1e-13
        )
        first, second = (moment(spec, 1, mean=m, std=s).value for m, s in ((0.2, 1.3), (-0.5, 0.4)))
        assert dual(spec, 0.0, std=(1.3, 0.4), mean=(0.2, -0.5)).value == pytest.approx(first * second, rel=1e-12)
        assert dual(spec, 0.7, std=(1.3, 0.4), mean=(0.2, -0.5)).value == pytest.approx(
            dual(spec, 0.7, std=(0.4, 1.3), mean=(-0.5, 0.2)).value, rel=1e-12
        )


def test_tensors_broadcast():
    c, std = torch.tensor([[0.1], [0.999]]), torch.tensor([0.5, 1.0, 2.0])
    value, error = dual("relu", c, std=(std, 1.0))
    assert value.shape == error.shape == (2, 3) and value.dtype == torch.float64
    # relu is homogeneous
    assert torch.allclose(value, std.double() * dual("relu", c)[0], rtol=1e-12)
    assert dual("relu", torch.zeros(0))[0].shape == (0,)


def test_a_mesh_is_as_coarse_as_the_function_allows():
    relu = mesh(ogive.get("relu"), [0.0], 0.0, 1.0)
    assert len(relu.edges) <= 5 and float(relu.edges[0]) == 0.0 and bool(relu.breaks[0])
    assert relu.norm == pytest.approx(math.sqrt(0.5), rel=1e-14)
    steep = ogive.get("tanh(1e5*(x - 1))")
    found = mesh(steep, [1.0, *(1 + s * 1e-5 * 4.0**k for s in (1, -1) for k in range(8))], 0.0, 1.0)
    assert float((found.edges - 1.0).abs().min()) < 1e-4, "a narrow transition must not be merged away"
    # 1,500 break points of nested roundings are 60 levels.
    fp6 = ogive.get("fp6_e2m3")
    assert len(fp6.breakpoints()) > 1000 > 100 > len(mesh(fp6, fp6.breakpoints(), 0.0, 1.0).edges)


def test_surrogates_count_as_the_slope():
    sign = ogive.get("sign")
    back = ogive.define(str(slope_of(sign)))
    assert dual(sign, 0.4, slope=1).value == pytest.approx(dual(back, 0.4).value, rel=1e-12)


def test_bad_input():
    for correlation in (1.5, -1.0000001, math.nan):
        with pytest.raises(ogive.OgiveError, match=r"relu.*\[-1, 1\]"):
            dual("relu", correlation)
    with pytest.raises(ogive.OgiveError, match=r"exp\(x\*\*2\)"):
        dual("exp(x**2)", 0.3)
    with pytest.raises(ogive.OgiveError, match="infinite"):
        dual("sqrt(abs(x))", 1.0, slope=1)
    with pytest.raises(ogive.OgiveError, match="slope="):
        dual("relu", 0.3, slope=3)
    with pytest.raises(ogive.OgiveError, match="std"):
        dual("relu", 0.3, std=0.0)
    with pytest.raises(ogive.InputError, match="pair"):
        dual("relu", 0.3, std=(1.0, 2.0, 3.0))
    with pytest.raises(ogive.InputError, match="2 inputs"):
        dual("glu", 0.3)
    with pytest.raises(ogive.ParameterError, match="broadcast"):
        dual("relu", torch.zeros(2), std=torch.ones(3))
    with pytest.raises(ogive.OgiveError, match="no gradient"):
        dual("relu", torch.tensor(0.3, requires_grad=True))

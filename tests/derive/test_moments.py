"""Moments of activations: against 30 digits, over the catalogue, many at once, and their gradients."""

from __future__ import annotations

import math
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import torch

import ogive
from ogive.derive.moments import hermite, moment, moments
from tests.entries import every_scalar_entry

# f and f' written out afresh, and the break points for mpmath's own quadrature.
MP = {
    "tanh": (mpmath.tanh, lambda x: mpmath.sech(x) ** 2, []),
    "gelu": (lambda x: x * mpmath.ncdf(x), lambda x: mpmath.ncdf(x) + x * mpmath.npdf(x), []),
    "tanh(8*x)": (lambda x: mpmath.tanh(8 * x), lambda x: 8 * mpmath.sech(8 * x) ** 2, [-1, -0.3, -0.1, 0.1, 0.3, 1]),
    "sin(30*x)": (lambda x: mpmath.sin(30 * x), lambda x: 30 * mpmath.cos(30 * x), [k / 4 for k in range(-40, 41)]),
    "hardswish": (
        lambda x: x * min(max(x + 3, 0), 6) / 6,
        lambda x: 0 if x < -3 else 1 if x > 3 else (2 * x + 3) / mpmath.mpf(6),
        [-3, 3],
    ),
    "elu": (lambda x: x if x > 0 else mpmath.expm1(x), lambda x: 1 if x > 0 else mpmath.exp(x), []),
}
KINDS = [(1, 0), (2, 0), (0, 2), (1, 1), (3, 0), (2, 2)]


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.4, 1.7)])
@pytest.mark.parametrize("spec", MP)
def test_every_kind_of_moment_agrees_with_mpmath_at_thirty_digits(spec, mean, std):
    f, df, breaks = MP[spec]
    with mpmath.workdps(30):
        ends = sorted({-16, -8, -4, -2, 0, 2, 4, 8, 16, *breaks})

        def rule(x):
            return mpmath.npdf(x, mpmath.mpf(mean), mpmath.mpf(std))

        for a, b in KINDS:
            want = mpmath.quad(lambda x, a=a, b=b: f(x) ** a * df(x) ** b * rule(x), ends)
            size = mpmath.quad(lambda x, a=a, b=b: abs(f(x) ** a * df(x) ** b) * rule(x), ends)
            got = moment(spec, a, b, mean=mean, std=std)
            assert abs(got.value - want) <= 1e-13 * size, (a, b)
            assert abs(got.value - want) <= got.error <= 1e-12 * size, (a, b)


@every_scalar_entry
def test_every_entry_agrees_with_a_sum_over_exact_values(entry):
    pytest.importorskip("flint")
    from ogive.derive.exact import Oracle

    if entry.backward is not None:
        assert moment(entry, 1).error < 1e-12
        return
    kinds = [(1, 0), (2, 0), (1, 1), (0, 2)]
    oracle = Oracle(entry, order=1)
    x, w = np.polynomial.legendre.leggauss(18)
    # The same integrals over other panels, of ball-arithmetic values: nothing shared but the break points.
    narrow = entry.name in ("siren", "gabor", "sine_learn", "finer")
    width, reach = (0.05 if narrow else 0.6), 12.0
    ends = {k * width for k in range(-round(reach / width), round(reach / width) + 1)}
    ends |= {b for b in entry.breakpoints() if abs(b) < reach} | {s * 4.0**-k for s in (1, -1) for k in range(14)}
    sums = np.zeros(4)
    sizes = np.zeros(4)
    for a, b in pairwise(sorted(ends)):
        for u, v in zip(x, w):
            at = float(a + (b - a) * (u + 1) / 2)
            f, df = (float(y) for y in oracle(at)[:2])
            weight = math.exp(-at * at / 2) * v * (b - a) / 2 / math.sqrt(2 * math.pi)
            each = np.array([f**p * df**q * weight for p, q in kinds])
            sums, sizes = sums + each, sizes + abs(each)
    for i, kind in enumerate(kinds):
        try:
            got = moment(entry, *kind)
        except ogive.OgiveError as error:
            assert kind == (0, 2) and "infinite" in str(error)
            continue
        assert got.value == pytest.approx(sums[i], abs=1e-12 * sizes[i]), kind


def test_a_batch_is_its_members():
    mean, std = torch.linspace(-1.0, 2.0, 5).double(), torch.tensor([[0.3], [4.0]]).double()
    slope = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5]).double()
    value, error = moments("leaky_relu", [(1,), (2,), (0, 2), (1, 1)], mean, std, negative_slope=slope)
    assert value.shape == error.shape == (4, 2, 5)
    for i in range(2):
        for j in range(5):
            for k, powers in enumerate([(1, 0), (2, 0), (0, 2), (1, 1)]):
                one = moment(
                    "leaky_relu", *powers, mean=float(mean[j]), std=float(std[i, 0]), negative_slope=float(slope[j])
                )
                assert float(value[k, i, j]) == pytest.approx(one.value, rel=1e-13, abs=1e-15)
    assert moments("relu", [(1,)], torch.zeros(0))[0].shape == (1, 0)


def test_second_derivatives_and_mixed_powers():
    value, _ = moments("x**3", [(0, 0, 2), (1, 0, 1), (1, 1, 0)], mean=0.5)
    # E (6x)^2, E 6x^4, E 3x^5 for N(0.5, 1)
    assert value.tolist() == pytest.approx([45.0, 6 * (3 + 6 * 0.25 + 0.0625), 3 * (0.5**5 + 10 * 0.5**3 + 15 * 0.5)])


def test_a_narrow_feature_under_a_wide_distribution_is_not_missed():
    # E exp(-X^2) = 1/sqrt(1 + 2 s^2) at mean 0: a bump of width 1e-5 in units of s.
    assert moment("exp(-x**2)", std=1e5).value == pytest.approx(1 / math.sqrt(1 + 2e10), rel=1e-13)
    assert moment("tanh(1e5*(x - 1))", 2, mean=0.3).error < 1e-13


def test_hermite_coefficients():
    a, error = hermite("exp(x)", 12)  # sqrt(e)/sqrt(k!)
    want = [math.exp(0.5) / math.sqrt(math.factorial(k)) for k in range(13)]
    assert a.tolist() == pytest.approx(want, rel=1e-13) and bool((error < 1e-13).all())
    a, _ = hermite("relu", 300)
    # Parseval: E relu^2 = 1/2; a_k^2 falls like k^(-5/2), so what is missing is about (2/3) k a_k^2.
    missing = 0.5 - float((a * a).sum())
    assert 0.0 < missing < 1e-4
    assert a[3:300:2].abs().max() < 1e-13
    shifted, _ = hermite("x**2", 3, mean=1.0, std=2.0)  # (1 + 2z)^2 = 5 + 4 h_1 + 4 sqrt(2) h_2
    assert shifted.tolist() == pytest.approx([5.0, 4.0, 4.0 * math.sqrt(2.0), 0.0], abs=1e-13)


# Integrands that jump where the parameter moves the jump, among them f' of kinks and f itself.
@pytest.mark.parametrize(
    ("spec", "params"),
    [
        ("swish", {"beta": 1.3}),
        ("softshrink", {"lambd": 0.7}),
        ("hardshrink", {"lambd": 0.6}),
        ("leaky_relu", {"negative_slope": 0.2}),
        ("elu", {"alpha": 0.8}),
    ],
)
def test_gradients_agree_with_differences(spec, params):
    powers = [(1,), (2,), (0, 2), (1, 1)]
    names = ["mean", "std", *params]
    start = [0.3, 1.4, *params.values()]

    def at(numbers):
        return moments(spec, powers, **dict(zip(names, numbers)))[0]

    leaves = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in start]
    value = at(leaves)
    h = 1e-4
    for k in range(len(powers)):
        got = torch.autograd.grad(value[k], leaves, retain_graph=True)
        for i, name in enumerate(names):
            shifted = [[v + s * h * (j == i) for j, v in enumerate(start)] for s in (2, 1, -1, -2)]
            y = [float(at(v)[k]) for v in shifted]
            want = (-y[0] + 8 * y[1] - 8 * y[2] + y[3]) / (12 * h)
            assert float(got[i]) == pytest.approx(want, rel=1e-8, abs=1e-9), (powers[k], name)


def test_gradients_of_a_batch_have_the_shapes_of_what_was_given():
    std = torch.ones(4, dtype=torch.float32, requires_grad=True)
    beta = torch.tensor(1.0, requires_grad=True)
    value, _ = moments("swish", [(2,)], std=std, beta=beta)
    value.sum().backward()
    assert std.grad is not None and std.grad.shape == (4,) and std.grad.dtype == torch.float32
    assert beta.grad is not None and beta.grad.shape == ()
    (first,) = torch.autograd.grad(moments("swish", [(2,)], std=std)[0].sum(), std, create_graph=True)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(first.sum(), std)


def test_surrogates_count_as_the_slope():
    assert moment("sign", 0, 2).value == pytest.approx(math.erf(1 / math.sqrt(2)), rel=1e-14)
    assert moment("heaviside", 0, 1).value == 0.0


def test_bad_input():
    with pytest.raises(ogive.OgiveError, match=r"exp\(x\*\*2\).*infinite"):
        moment("exp(x**2)")
    with pytest.raises(ogive.OgiveError, match=r"sqrt.*infinite"):
        moment("sqrt(abs(x))", 0, 2)
    with pytest.raises(ogive.InputError, match="2 inputs"):
        moment("glu")
    with pytest.raises(ogive.InputError, match=r"moments\(\)"):
        moment("relu", mean=torch.zeros(2))
    with pytest.raises(ogive.OgiveError, match="powers"):
        moment("relu", 0, 0)
    with pytest.raises(ogive.OgiveError, match="powers"):
        moments("relu", [(1, 0, 0, 0)])
    with pytest.raises(ogive.ParameterError, match="std"):
        moment("relu", std=0.0)
    with pytest.raises(ogive.ParameterError, match="broadcast"):
        moments("relu", [(1,)], torch.zeros(2), torch.ones(3))
    with pytest.raises(ogive.ParameterError, match="no parameter"):
        moment("relu", slope=1.0)
    with pytest.raises(ogive.OgiveError, match="order"):
        hermite("relu", -1)


def test_a_slope_that_float64_cannot_reach():
    """Firing rates and the like rise with a vertical tangent at x = 1, where x - 1 has no digits below 1e-16. The
    references take the distance from there as their variable."""
    with mpmath.workdps(30):
        tau, d, k = mpmath.mpf(0.02), mpmath.mpf(0.002), mpmath.mpf(0.98)
        # 1/(d + tau s) with s = log(1 + 1/(x - 1)): f df = -tau/(d + tau s)^3 ds, and s runs down from infinity to 0.
        ends = [0, *(mpmath.mpf(2) ** j for j in range(-8, 10)), mpmath.inf]
        rate = mpmath.quad(lambda s: mpmath.npdf(1 + 1 / mpmath.expm1(s)) * tau / (d + tau * s) ** 3, ends)

        # 1/(1 + k sqrt(x (1 - x))) with x = sin(a)^2
        def slope(a):
            f = 1 / (1 + k * mpmath.sin(2 * a) / 2)
            return -k * mpmath.cos(2 * a) * f**3 * mpmath.npdf(mpmath.sin(a) ** 2)

        hump = mpmath.quad(slope, [0, mpmath.pi / 4, mpmath.pi / 2])
    for name, want in (("lif_rate", rate), ("sbaf", hump)):
        got = moment(name, 1, 1)
        assert abs(got.value - want) <= got.error + 1e-15 * abs(want) and got.error < 1e-13 * max(1.0, abs(want))


def test_what_float64_cannot_reach_is_in_the_error():
    # f'^2 of |x - 1|^0.7 is 0.49 |x - 1|^-0.6; of its integral a share of (1e-16)^0.4 = 4e-7 lies nearer to 1 than
    # float64 has numbers. At 0 there are numbers enough. With t = |x|^0.4, |x|^-0.6 dx = 2.5 dt.
    with mpmath.workdps(30):

        def near(b):
            ends = [0, 0.5, 1, 2, 4, 8]
            return 0.49 * 2.5 * mpmath.quad(
                lambda t: mpmath.npdf(b + t**2.5) + mpmath.npdf(b - t**2.5), ends)  # fmt: skip

        away, origin = near(1), near(0)
    got = moment("abs(x - 1)**0.7", 0, 2)
    assert abs(got.value - away) < 3 * got.error < 1e-4 * away
    exact = moment("abs(x)**0.7", 0, 2)
    assert abs(exact.value - origin) <= exact.error + 1e-15 < 1e-12


@pytest.mark.parametrize("spec", ["tnn_soft_shrink", "x*(1 - 0.995/sqrt(1 + x*x/1000))"])
def test_rounding_in_the_function_does_not_call_for_more_panels(spec, monkeypatch):
    # 1 - 0.995 leaves 2e-14 of rounding at every x: no panel is small enough to take that away.
    from ogive.derive.integrals import panels

    points = 0
    sample = panels._sample

    def counted(integrand, p, std, graded):
        nonlocal points
        points += len(p.lo)
        return sample(integrand, p, std, graded)

    monkeypatch.setattr(panels, "_sample", counted)
    value, error = moment(spec, 2, std=1e-3)
    assert points < 400 and error < 1e-12 * value

"""Expectations of any function: every power, singular ends, poles, distributions far from the standard one."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch

from ogive.derive.gauss import expectation
from ogive.derive.integrals.panels import integrate, root_density
from ogive.errors import OgiveError


def absolute_moment(p):
    """E|Z|^p = 2^(p/2) Gamma((p+1)/2) / sqrt(pi)."""
    with mpmath.workdps(30):
        return float(
            mpmath.mpf(2) ** (mpmath.mpf(p) / 2) * mpmath.gamma((mpmath.mpf(p) + 1) / 2) / mpmath.sqrt(mpmath.pi)
        )


@pytest.mark.parametrize("power", [1, 2, 3, 4, 7])
def test_every_power_of_the_exponential(power):
    value, error = expectation(torch.exp, power=power)
    assert value == pytest.approx(math.exp(power * power / 2), rel=1e-13)
    assert error < 1e-12 * value


@pytest.mark.parametrize("p", [-0.75, -0.5, -1 / 3, 0.5, 2 / 3, 1.0, 3.5])
def test_an_integrable_singularity_at_a_break_point(p):
    value, error = expectation(lambda x: x.abs() ** p, [0.0])
    assert value == pytest.approx(absolute_moment(p), rel=1e-13)
    assert error < 1e-12 * value


def test_the_distance_from_a_break_point_is_exact_under_any_mean():
    # E|X|^-1/2 for X ~ N(m, s^2) is a confluent hypergeometric function of m^2/(2 s^2).
    mean, std = 0.7, 0.4
    with mpmath.workdps(30):
        m, s = mpmath.mpf(mean), mpmath.mpf(std)
        want = s ** mpmath.mpf(-0.5) * absolute_moment(-0.5) * mpmath.hyp1f1(0.25, 0.5, -m * m / (2 * s * s))
    value, _ = expectation(lambda x: x.abs() ** -0.5, [0.0], mean=mean, std=std)
    assert value == pytest.approx(float(want), rel=1e-13)


@pytest.mark.parametrize("p", [-1.0, -1.5, -2.0])
def test_a_pole_is_an_infinite_expectation(p):
    with pytest.raises(OgiveError, match=r"infinite.*pole"):
        expectation(lambda x: x.abs() ** p, [0.0])


def test_a_missed_break_point_costs_speed_and_not_truth():
    value, error = expectation(lambda x: (x - 0.3).relu(), [])
    want = math.exp(-0.045) / math.sqrt(2 * math.pi) - 0.3 * 0.5 * math.erfc(0.3 / math.sqrt(2))
    assert value == pytest.approx(want, rel=1e-13) and error < 1e-12


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1e-8), (3.0, 1e-6), (-2.0, 100.0), (5.0, 1e6)])
def test_distributions_far_from_the_standard_one(mean, std):
    value, _ = expectation(lambda x: x * x, mean=mean, std=std)
    assert value == pytest.approx(mean * mean + std * std, rel=1e-13)


def test_many_distributions_and_integrands_share_their_rounds():
    mean, std = torch.tensor([0.0, 1.0, -2.0]).double(), torch.tensor([1.0, 0.5, 3.0]).double()
    at = []

    def both(x, z, owner):
        at.append(len(owner))
        root = root_density(z, 2)
        return torch.stack([(x.exp() * root) * root, (x.relu() * root) ** 2])

    got = integrate(both, [[0.0]], mean, std)
    assert torch.allclose(got.value[0], torch.exp(mean + std * std / 2), rtol=1e-13)
    for i in range(3):
        want = expectation(lambda x: x.relu(), [0.0], mean=float(mean[i]), std=float(std[i]), power=2)
        assert float(got.value[1, i]) == pytest.approx(want.value, rel=1e-14)
    assert len(at) < 12 and bool((got.error <= 1e-12 * got.mass).all())


@pytest.mark.parametrize("power", [0, -1, 1.5, True])
def test_a_power_that_is_not_a_positive_integer_is_refused(power):
    with pytest.raises(OgiveError, match="power="):
        expectation(torch.exp, power=power)


def test_functions_without_an_expectation_say_why():
    with pytest.raises(OgiveError, match="outgrows"):
        expectation(lambda x: (x * x).exp())
    with pytest.raises(OgiveError, match="not a number"):
        expectation(torch.log)

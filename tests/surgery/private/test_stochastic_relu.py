"""Stochastic ReLU: it fails as often as the analytic form says, at any x, and nowhere else."""

from __future__ import annotations

import copy

import pytest
import torch

from ogive.errors import InputError, ParameterError
from ogive.surgery.private.stochastic_relu import StochasticReLU

N = 20_000


def exact(x, k, mode, prime):
    """The share of all t in the field for which the test is wrong about the whole number x."""
    t = torch.arange(prime)
    theirs, mine = ((x + t) % prime) // 2**k, t // 2**k
    says = theirs > mine if mode == "poszero" else theirs >= mine
    return 0.0 if x == 0 else float((says != (x > 0)).double().mean())


@pytest.mark.parametrize("mode", ["poszero", "negpass"])
@pytest.mark.parametrize("k", [0, 3, 6])
def test_the_analytic_form_against_all_shares_of_a_small_field(mode, k):
    prime = 10_007
    relu = StochasticReLU(k, mode, fraction=0, prime=prime)
    values = [-2000, -200, -63, -30, -5, -1, 0, 1, 2, 7, 31, 60, 64, 500, 3000]
    found = relu.fault_probability(torch.tensor(values, dtype=torch.float64))
    for value, p in zip(values, found.tolist()):
        assert p == pytest.approx(exact(value, k, mode, prime), abs=2 ** (k + 1) / prime)


@pytest.mark.parametrize("mode", ["poszero", "negpass"])
def test_it_fails_as_often_as_it_says(mode):
    relu = StochasticReLU(12, mode, seed=1)
    for value in (-0.2, -0.1, -0.05, -0.01, 0.01, 0.05, 0.1, 0.2):
        x = torch.full((N,), value)
        made = relu(x)
        assert set(made.unique().tolist()) <= {0.0, float(x[0])}
        p = float(relu.fault_probability(x[:1]))
        faults = float(((made != 0) != (x > 0)).double().mean())
        assert abs(faults - p) <= 4.5 * (p * (1 - p) / N) ** 0.5 + 1e-4


def test_only_one_sign_of_small_numbers_is_lost():
    x = torch.linspace(-4, 4, N)
    step = 2.0 ** (12 - 15)
    for mode, gives_up in (("poszero", x > 0), ("negpass", x < 0)):
        wrong = (StochasticReLU(12, mode, seed=0)(x) != 0) != (x > 0)
        assert wrong.any()
        far = wrong & ~(gives_up & (x.abs() <= step))
        assert far.sum() <= 10  # the wrap, |x|/p below 1e-4


def test_the_gradient_is_that_of_what_passed():
    x = (0.1 * torch.randn(1000)).requires_grad_(True)
    made = StochasticReLU(12, seed=3)(x)
    made.sum().backward()
    assert torch.equal(x.grad, (made != 0).float())


def test_a_seed_repeats_and_a_copy_starts_again():
    x = 0.1 * torch.randn(1000)
    relu = StochasticReLU(13, seed=3)
    twin = copy.deepcopy(relu)
    first, second = relu(x), relu(x)
    assert not torch.equal(first, second)
    assert torch.equal(twin(x), first)
    assert torch.equal(StochasticReLU(0, seed=1)(x), x.relu())


def test_bad_input():
    with pytest.raises(ParameterError, match=r"'poszer'.*'poszero'"):
        StochasticReLU(12, "poszer")
    with pytest.raises(ParameterError, match="k=31"):
        StochasticReLU(31)
    with pytest.raises(ParameterError, match="fraction=-1"):
        StochasticReLU(fraction=-1)
    with pytest.raises(InputError, match=r"holds \|x\| < 32768; got 40000"):
        StochasticReLU()(torch.tensor([4e4]))
    with pytest.raises(InputError):
        StochasticReLU()(torch.tensor([float("nan")]))

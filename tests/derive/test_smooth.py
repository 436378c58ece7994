"""Smoothing: the closed form against quadrature for every piecewise-linear entry, and what it makes of relu."""

from __future__ import annotations

import math

import pytest
import torch

import ogive
from ogive import catalogue
from ogive.derive.gauss import expectation
from ogive.derive.smooth import KERNELS, pieces, smooth
from ogive.errors import FormulaError, InputError, ParameterError


def linear(entry):
    try:
        pieces(entry.fixed())
        return True
    except (FormulaError, InputError):
        return False


PIECEWISE = [e for e in catalogue.entries().values() if len(e.inputs) == 1 and e.backward is None and linear(e)]
each = pytest.mark.parametrize("entry", PIECEWISE, ids=lambda e: e.name)


def test_there_are_many():
    assert len(PIECEWISE) >= 25 and {"relu", "leaky_relu", "hardtanh", "hardshrink"} <= {e.name for e in PIECEWISE}


@each
def test_the_closed_form_is_the_convolution(entry):
    soft = smooth(entry, 0.7)
    for x in (-4.3, -1.0, -0.2, 0.0, 0.9, 3.1, 7.7):
        want = expectation(entry, entry.breakpoints(), mean=x, std=0.7).value
        assert soft(x) == pytest.approx(want, rel=1e-9, abs=1e-10), x


@each
def test_a_small_scale_gives_the_function_back(entry):
    x = torch.linspace(-6, 6, 61, dtype=torch.float64) + 0.0123
    away = (x[:, None] - torch.tensor([*entry.breakpoints(), 1e9], dtype=torch.float64)).abs().amin(1) > 0.05
    for kernel in KERNELS:
        soft = smooth(entry, 1e-3, kernel=kernel)
        assert torch.allclose(soft(x)[away], entry(x)[away], rtol=1e-9, atol=1e-9), kernel
        assert soft(math.inf) == entry(math.inf) and soft(-math.inf) == entry(-math.inf)


def test_what_becomes_of_relu():
    x = torch.linspace(-5, 5, 41, dtype=torch.float64)
    assert torch.allclose(smooth("relu", kernel="uniform")(x), catalogue.smelu(x, beta=1.0), atol=1e-15)
    assert torch.allclose(smooth("relu", kernel="logistic")(x), catalogue.softplus(x), atol=1e-15)
    # sup |E leaky(x + sZ) - leaky(x)| is at 0: (1 - a) s/sqrt(2 pi)
    for s in (0.1, 1.0):
        assert smooth("leaky_relu", s, negative_slope=0.1)(0.0) == pytest.approx(0.9 * s / math.sqrt(2 * math.pi))
    assert ogive.Act(smooth("relu"), s=ogive.learn("layer"))(torch.ones(3)).shape == (3,)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "said"),
    [
        (("gelu",), {}, FormulaError, "not piecewise linear, see x"),
        (("round(x)",), {}, FormulaError, "steps without end"),
        (("sign",), {}, InputError, "surrogate"),
        (("relu", 0.0), {}, ParameterError, "s=0.0"),
        (("relu",), {"kernel": "box"}, ParameterError, "gaussian, logistic, uniform"),
    ],
)
def test_what_cannot_be_smoothed(arguments, options, error, said):
    with pytest.raises(error, match=said):
        smooth(*arguments, **options)

"""`check_ad`: results at kinks are held to both one-sided slopes, elsewhere to the slope itself, and wrong ones fail."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.nn import functional

import ogive
from ogive.certify.sides import enclosed
from ogive.certify.subderivative import check_ad, slope
from ogive.errors import InputError, ParameterError

pytest.importorskip("flint")
HALF = (torch.float16,)


def taken(spec):
    made = check_ad(spec, dtypes=HALF, points=3000)
    assert made.passed
    return {k.x: (round(k.left, 6), round(k.right, 6), round(k.got, 6), k.convention) for k in made.kinks}


def test_conventions_of_the_catalogue():
    assert taken("relu") == {0.0: (0, 1, 0, "left")}
    assert taken("relu6") == {0.0: (0, 1, 0, "left"), 6.0: (1, 0, 0, "right")}
    assert taken("abs(x)") == {0.0: (-1, 1, 0, "mean")}
    assert taken("gelu") == {}


def test_conventions_of_torch():
    """What torch documents or its kernels do: clamp keeps the gradient at its ends, hardtanh does not."""
    assert taken(torch.abs) == {0.0: (-1, 1, 0, "mean")}
    assert taken(functional.hardtanh) == {-1.0: (0, 1, 0, "left"), 1.0: (1, 0, 0, "right")}
    assert taken(lambda x: x.clamp(-1.0, 1.0)) == {-1.0: (0, 1, 1, "right"), 1.0: (1, 0, 1, "left")}
    assert taken(lambda x: torch.maximum(x, torch.zeros_like(x))) == {0.0: (0, 1, 0.5, "mean")}
    assert taken(functional.hardswish) == {-3.0: (0, -0.5, 0, "left"), 3.0: (1.5, 1, 1, "right")}


def test_a_sum_of_conventions_that_is_no_subderivative_fails():
    """relu(x) - relu(-x) is x; its pieces say 0 at 0 and the sum of what they say is not its slope."""
    made = check_ad(lambda x: x.relu() - (-x).relu(), dtypes=HALF, points=500)
    assert not made.passed and {s.outside > 0 for s in made.sweeps} == {True}
    worst = made.sweeps[0]
    assert (worst.x, worst.got, worst.low, worst.high) == (0.0, 0.0, 1.0, 1.0)
    assert "outside" in repr(made) and "got 0" in str(made)


class _Beyond(torch.autograd.Function):
    """relu with a slope at 0 that is on neither side nor between."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.relu()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * torch.where(x == 0, 1.25, (x > 0).to(x.dtype))


class _Off(torch.autograd.Function):
    """A slope that is wrong at one number, where nothing breaks."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * torch.where(x == 0.5, 1.5, x.cos())


@pytest.mark.parametrize(("code", "at"), [(_Beyond.apply, 0.0), (_Off.apply, 0.5)], ids=["kink", "smooth"])
def test_a_wrong_slope_at_one_number_is_found(code, at):
    made = check_ad(code, dtypes=HALF, points=2000)
    assert not made.passed and all(s.outside >= 1 for s in made.sweeps)
    assert {s.x for s in made.sweeps} == {at}


def test_code_without_a_formula_is_held_against_differences():
    def code(x):
        return torch.special.i0(x.abs().clamp(max=3.0).double()).to(x.dtype)

    made = check_ad(code, dtypes=HALF, points=1500)
    assert made.passed
    assert [k.x for k in made.kinks] == [-3.0, 3.0]


def test_a_surrogate_is_held_to_what_it_declares():
    made = check_ad("sign", dtypes=HALF, points=1000)
    assert made.surrogate and made.passed and "surrogate" in repr(made)


def test_one_sided_slopes_of_a_known_formula():
    """max(x^2, 2 - x) breaks at 1: slopes -1 and 2 there; at -2 as well, where they are -4 and -1."""
    act = ogive.define("maximum(x*x, 2 - x)")
    sides = enclosed(act, np.array([-2.0, 0.5, 1.0, 3.0]))
    assert sides.broken.tolist() == [True, False, True, False] and not sides.jump.any()
    assert np.allclose([sides.left(i) for i in range(4)], [-4, -1, -1, 6])
    assert np.allclose([sides.right(i) for i in range(4)], [-1, -1, 2, 6])


def test_jumps_are_told_from_kinks():
    sides = enclosed(ogive.define("where(x > 1, x + 1, x)"), np.array([0.0, 1.0, 2.0]))
    assert sides.jump.tolist() == [False, True, False] and not sides.apart.any()


def test_slope_of_what_does_not_depend_on_x_is_zero():
    assert slope(lambda x: torch.ones_like(x), torch.ones(3)).tolist() == [0.0, 0.0, 0.0]


def test_result_is_json_and_fits_a_line():
    made = check_ad("relu6(x) + 0*x + 0.1*relu(x - 1) + 0.1*relu(x - 2) + relu(x-3)", dtypes=HALF, points=300)
    assert len(repr(made)) <= 80
    assert json.loads(json.dumps(made.to_dict(), allow_nan=False))["passed"] is made.passed


def test_what_cannot_be_checked():
    with pytest.raises(ParameterError, match="float16"):
        check_ad("relu", dtypes=(torch.float32,))
    with pytest.raises(ParameterError, match="points=0"):
        check_ad("relu", points=0)
    with pytest.raises(InputError, match="takes 2 inputs"):
        check_ad("swiglu")


def test_a_dtype_that_the_code_does_not_take_is_named():
    def only_float32(x):
        if x.dtype == torch.float16:
            raise RuntimeError("not in half")
        return torch.relu(x)

    made = check_ad(only_float32, points=200, dtypes=(torch.float16,))
    assert {s.dtype for s in made.sweeps} == {"float32"}
    assert [why for why in made.left if "not in half" in why]
    assert "not run" in str(made)

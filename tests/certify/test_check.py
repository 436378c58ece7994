"""`check`: sound formulas pass, unsound code fails for the reason it is unsound, and odd subjects are told apart."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import ogive
from ogive.certify import Certificate, check
from ogive.certify.store import read

pytest.importorskip("flint")


def laws(made: Certificate) -> set[str]:
    return {f.law for f in made.failures}


def test_a_sound_formula_passes_on_every_way():
    made = check("x*log(1 + exp(x))", points=400)
    assert made.passed and not made.stable
    assert {f.way for f in made.findings if f.law == "value"} >= {"eager"}
    assert all(0 < made.worst("value", d) <= 2 for d in ("bfloat16", "float16", "float32"))
    assert "passes" in str(made) and "float16" in str(made)


def test_declared_exceptions_are_told_and_do_not_fail():
    excepted = next(e for e in ogive.catalogue.entries().values() if e.exceptions and len(e.inputs) == 1)
    assert check(excepted, points=2000).passed


def test_a_naive_formula_fails_where_it_overflows_and_the_stable_form_is_proposed():
    made = check(lambda x: x * torch.tanh(torch.log(1 + torch.exp(x))), points=400)
    assert not made.passed and {"first", "infinity"} <= laws(made) and "value" not in laws(made)
    first = next(f for f in made.failures if f.law == "first" and f.dtype == "float32")
    assert first.x == 89.0 and first.got != first.got and first.want == pytest.approx(1.0)
    assert "infinity times zero" in first.why
    assert "tanh(softplus(x))" in made.stable
    assert all(len(line) <= 80 for line in str(made).splitlines())


def test_the_branch_not_taken_is_blamed():
    made = check(lambda x: torch.where(x > 0, x, torch.exp(x) - 1), points=400)
    first = next(f for f in made.failures if f.law == "first" and f.dtype == "float32")
    assert "branch not taken, exp(x) - 1" in first.why and "expm1" in made.stable


def test_cancellation_is_located():
    made = check(lambda x: (1 - torch.cos(x)) / (x * x).clamp(min=1e-30), points=300)
    value = next(f for f in made.failures if f.law == "value" and f.dtype == "float32")
    assert "cancels" in value.why and "1 - cos(x)" in value.why


class WrongSlope(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * torch.sigmoid(x)


def test_a_backward_that_is_not_the_derivative():
    made = check(WrongSlope.apply, points=300)
    assert "value" not in laws(made) and "first" in laws(made)
    first = next(f for f in made.failures if f.law == "first" and f.dtype == "float32")
    assert "not its derivative" in first.why


def test_torchs_own():
    made = check(nn.Tanh(), points=300)
    assert made.passed, str(made)
    gelu = check(nn.GELU(), points=300)  # in float16 its second derivative is inf*0 beyond |x| = 660
    assert any(f.law == "second" and f.got != f.got for f in gelu.failures)


def opaque(x):
    """Mish behind numpy: no formula can be read off it."""
    return torch.from_numpy(x.detach().double().numpy()).tanh().to(x.dtype)


def test_code_without_a_formula_is_recognised_by_its_values():
    made = check(opaque, points=200)
    assert "which it computes" in made.reference and "tanh" in made.reference
    assert "first" in laws(made)  # it has no gradient


class Clipped(nn.Module):
    def forward(self, x):
        y = x.detach().clone()
        y[y > 1.234567] = 1.234567
        return x - x.detach() + y + 0.2 * torch.sin(3.21 * x.detach()) * x.detach()


def test_code_nobody_published_is_held_against_itself():
    made = check(Clipped(), points=200)
    assert made.formula == "" and "float64" in made.reference and made.note
    assert laws(made) == {"first"}


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        (nn.Softmax(-1), "depends on the other numbers"),
        (lambda x: x.sum(), r"maps shape \(48,\) to \(\)"),
        (lambda x: x + torch.rand_like(x), "two calls on one input differ"),
        (lambda x: 1 / 0, "ZeroDivisionError"),
        (lambda x: 3.0, "returns float"),
        ("swiglu", "takes 2 inputs"),
        ("nonsense:thing", "cannot import 'nonsense:thing'"),
        ("torch.nn:Linear", "cannot be made without arguments"),
        (7, "got int: '7'"),
    ],
)
def test_what_cannot_be_checked_says_why(subject, said):
    with pytest.raises(ogive.InputError, match=said):
        check(subject)


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x * self.calls


def test_a_module_with_a_state_is_refused():
    with pytest.raises(ogive.InputError, match="state"):
        check(Counting())


def test_options_are_checked():
    for bad in ({"points": 0}, {"points": 2.5}, {"ulp": 0}, {"ulp": "x"}):
        with pytest.raises(ogive.ParameterError, match=next(iter(bad))):
            check("mish", **bad)


def test_json_round_trip_without_infinities():
    made = check(lambda x: torch.log(1 + torch.exp(x)), points=100)
    text = json.dumps(made.to_dict(), allow_nan=False)
    back = read(json.loads(text))
    assert str(back) == str(made) and back.passed == made.passed

"""What is timed computes what it is called: contenders agree with each other and with the activation."""

import pytest
import torch

import ogive
from ogive.expr import const
from ogive.speed import run as speed_run
from ogive.speed.cases import DIRECTIONS, Case, Operands
from ogive.speed.formulas import TEXTBOOK, TWELVE, compute, rational, subject, textbook
from ogive.speed.natives import NATIVES
from ogive.speed.saved import saved_bytes

CPU = torch.device("cpu")
DOUBLE = torch.float64


def case(name, size=2000, dtype=DOUBLE):
    return Case(subject(name), Operands.make(size, dtype, CPU))


@pytest.mark.parametrize("name", NATIVES)
def test_torch_native_is_the_same_function(name):
    c = case(name)
    (x,), native = c.xs, c.native
    expected = c.act(x)
    torch.testing.assert_close(native.call(x, *c.params.values()), expected, rtol=1e-6, atol=1e-8)
    if native.into is not None:
        out = torch.full_like(x, float("nan"))
        native.into(x, out)
        torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", [name for name, n in NATIVES.items() if n.backward])
def test_torch_native_backward_is_the_derivative(name):
    c = case(name)
    (x,), g, native = c.xs, c.on.g, c.native
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(c.act(leaf), leaf, g)
    got = native.backward(g, x, c.act(x))
    torch.testing.assert_close(got[0] if isinstance(got, tuple) else got, expected, rtol=1e-6, atol=1e-8)
    if native.grad is not None:
        out = torch.full_like(x, float("nan"))
        native.backward(g, x, c.act(x), **{native.grad: out})
        torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", TWELVE)
def test_the_textbook_formula_is_the_same_function(name):
    c = case(name)
    args = (*c.xs, *c.params.values())
    assert textbook(c.act) is TEXTBOOK[name]
    torch.testing.assert_close(textbook(c.act)(*args), c.act(*c.xs), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["selu", "firm_shrink", "gudermannian", "sinc", "geglu", "pelu"])
def test_any_other_formula_runs_as_written(name):
    c = case(name)
    args = (*c.xs, *c.params.values())
    torch.testing.assert_close(textbook(c.act)(*args), c.act(*c.xs), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["elish", "hardtanh"])
def test_a_large_formula_as_written_has_a_gradient(name):
    c = case(name, 70_000, torch.float32)
    (x,), params, _ = c.leaves
    (got,) = torch.autograd.grad(compute(c.act.written, {"x": x, **params}), x, c.on.g)
    (expected,) = torch.autograd.grad(c.act(x), x, c.on.g)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_a_constant_formula_still_has_a_value_for_every_element():
    assert compute(const(2.0), {"x": torch.zeros(3)}).tolist() == [2.0] * 3


def test_a_user_who_redefines_a_name_gets_the_formula_he_wrote():
    mine = ogive.define("x + 1", name="rational")
    assert textbook(mine) not in TEXTBOOK.values()


def test_the_rational_approximates_relu_as_its_source_says():
    x = torch.linspace(-3, 3, 101, dtype=DOUBLE)
    assert (rational()(x) - x.clamp(min=0)).abs().max() < 0.06


@pytest.mark.parametrize("name", ["relu", "gelu", "mish", "snake", "prelu", "swiglu"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_contenders_write_what_ogive_computes(name, direction):
    c = case(name, dtype=torch.float32)
    xs, params, leaves = c.leaves
    y = c.act(*xs, **params)
    expected = (y.detach(),) if direction == "forward" else torch.autograd.grad(y, leaves, c.on.g)
    found = c.contenders(direction)
    assert {"ogive", "eager"} <= {k.name for k in found}
    assert ("native" in {k.name for k in found}) == (name in NATIVES)
    for k in found:
        c.on.out.fill_(float("nan"))
        result = k.run()
        if k.output == "preallocated":
            result = c.on.out
        elif k.name == "ogive" and direction == "backward":
            continue  # the gradients are made and dropped
        first = result[0] if isinstance(result, tuple) else result
        torch.testing.assert_close(first, expected[0], rtol=1e-4, atol=1e-5, msg=lambda m, k=k: f"{k}: {m}")


def test_repeating_a_contender_changes_no_input():
    c = case("silu", dtype=torch.float32)
    before = [t.clone() for t in (*c.on.inputs, c.on.g)]
    for direction in DIRECTIONS:
        c.floor(direction)[0]()
        for k in c.contenders(direction):
            k.run()
            k.run()
    assert all(torch.equal(a, b) for a, b in zip(before, (*c.on.inputs, c.on.g)))


def test_the_floor_of_a_gate_moves_what_a_gate_moves():
    assert case("silu").floor("both")[1] == "copy_ + add"
    assert [case("swiglu").floor(d)[1] for d in DIRECTIONS] == ["add", "add + copy_", "add + add + copy_"]


def test_saved_bytes_counts_each_storage_once():
    x = torch.ones(100, requires_grad=True)
    assert saved_bytes(lambda: x * torch.sigmoid(x), (x,)) == (400, False)
    assert saved_bytes(lambda: torch.tanh(x), (x,)) == (0, True)
    assert saved_bytes(lambda: ogive.get("mish")(x), (x,)) == (0, False)
    half = x[:50]  # a view of the input costs nothing
    assert saved_bytes(lambda: half * half.detach(), (x,)) == (0, False)


def test_a_contender_that_fails_is_left_out_and_said():
    def broken(*args):
        raise RuntimeError("no such kernel\nsecond line")

    c = Case(subject("silu"), Operands.make(2000, torch.float32, CPU), {"forward": broken, "backward": broken})
    skipped = []
    rows = speed_run.group(c, "float32", 2000, "forward", 1e-4, skipped)
    assert {r.contender for r in rows} == {"ogive", "native", "eager"}
    assert skipped == ["silu, float32, forward, compiled: RuntimeError: no such kernel"]

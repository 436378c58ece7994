"""Every row of the table, against balls: values, derivatives, completeness."""

import math

import pytest
import torch

from ogive import FormulaError, InputError, ops
from ogive.activation import Activation
from ogive.certify.accuracy import grid, measure
from ogive.derive.exact import Oracle
from ogive.expr import Expr, var

UNARY = [o for o in ops.OPS.values() if o.arity == 1]
POSITIVE = {"sqrt", "log"}  # domain
FROM_MINUS_ONE = {"log1p"}
POLES = {"tan"}


def act(op):
    return Activation(Expr(op.name, (var("x"),), 0 if op.name == "sinc" else None), name=op.name)


def domain(op, x):
    if op.name in POSITIVE:
        return x[x > 0]
    if op.name in FROM_MINUS_ONE:
        return x[x > -0.999]
    return x[x.abs() < 1.5] if op.name in POLES else x


def test_rows_are_complete():
    for name, op in ops.OPS.items():
        assert op.name == name and op.arity in (1, 2, 3)
        for column in (op.diff, op.torch, op.exact):
            assert callable(column), (name, column)
        assert all(f"{{{i}}}" in op.latex for i in range(op.arity)), f"{name}: {op.latex} leaves an argument out"


@pytest.mark.parametrize("op", UNARY, ids=lambda o: o.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_unary_rows_against_balls(op, dtype):
    a = act(op)
    for order, worst in enumerate(measure(a, domain(op, grid(dtype, 300)))):
        assert worst.units <= (2.0 if dtype == torch.float32 else 16.0), f"{op.name} order {order}: {worst}"


@pytest.mark.parametrize("op", UNARY, ids=lambda o: o.name)
def test_declared_facts(op):
    x = domain(op, torch.linspace(-6, 6, 2001, dtype=torch.float64))
    y = act(op)(x)
    facts = op.facts
    if facts.parity:
        assert torch.allclose(act(op)(-x), -y if facts.parity == "odd" else y, rtol=1e-12)
    if facts.monotone:
        step = y[1:] - y[:-1]
        assert bool((step >= -1e-15).all() if facts.monotone == "up" else (step <= 1e-15).all())
    if facts.range:
        assert bool((y >= facts.range[0]).all() and (y <= facts.range[1]).all())


@pytest.mark.parametrize("order", range(6))
def test_derivatives_of_sinc(order):
    a = Activation(Expr("sinc", (var("x"),), order))
    oracle = Oracle(a, 0)
    for at in (0.0, 1e-8, 0.5, 1.9, 2.0 + order - 1e-9, 2.0 + order, 5.0, 30.0, -7.3, 1e4):
        want = float(oracle(at)[0])
        assert abs(a(at) - want) <= 1e-14 * max(1.0, 1 / max(abs(at), 1.0)), (order, at)


def test_numbers_trees_and_tensors():
    assert ops.tanh(0.5) == pytest.approx(math.tanh(0.5), abs=1e-16)
    assert isinstance(ops.tanh(var("x")), Expr)
    assert torch.equal(ops.maximum(torch.tensor([-1.0, 2.0]), 0.0), torch.tensor([0.0, 2.0]))
    with pytest.raises(InputError, match="formulas, tensors and numbers"):
        ops.tanh("x")
    with pytest.raises(FormulaError, match="takes 1 argument"):
        ops.tanh(1.0, 2.0)


def test_maximum_takes_torchs_convention_at_a_tie():
    from ogive import define

    x = torch.tensor([0.0], requires_grad=True)
    for formula, slope in (
        ("max(x, 0)", 0.0),
        ("abs(x)", 0.0),
        ("clip(x, 0, 6)", 0.0),
        ("where(x > 0, x, 0.1*x)", 0.1),
    ):
        (g,) = torch.autograd.grad(define(formula)(x).sum(), x)
        assert g.item() == pytest.approx(slope), formula

import copy
import pickle

import pytest

from ogive import FormulaError
from ogive.expr import Expr, const, var
from ogive.parse import parse

x = var("x")


def test_equal_expressions_are_one_object():
    assert parse("x*sigmoid(x) + 1") is parse("x * sigmoid( x ) + 1.0")
    assert (x + 1) is (x + 1) and const(-0.0) is const(0.0)


def test_expressions_are_immutable_and_survive_copy_and_pickle():
    e = parse("x*tanh(x)")
    with pytest.raises(AttributeError, match="immutable"):
        e.op = "add"
    assert copy.deepcopy(e) is e and pickle.loads(pickle.dumps(e)) is e


@pytest.mark.parametrize(
    "text, folded",
    [
        ("x + 0", "x"), ("0 + x", "x"), ("x - 0", "x"), ("x*1", "x"), ("x*0", "0"), ("1*x*2*3", "6*x"),
        ("x/1", "x"), ("x**1", "x"), ("x**0", "1"), ("--x", "x"), ("x - x", "0"), ("x + x", "2*x"),
        ("x - (-2)", "x + 2"), ("x + (-2)", "x - 2"), ("(x**2)**3", "x**6"), ("x/4", "0.25*x"), ("-(2*x)", "-2*x"),
        ("x + -3*exp(x)", "x - 3*exp(x)"), ("2 ** 3", "8"),
    ],
)  # fmt: skip
def test_constructors_fold(text, folded):
    assert str(parse(text)) == folded


@pytest.mark.parametrize(
    "text",
    [
        "x - (y - 1)", "x/(y*2)", "(x/y)/2", "x**y**2", "(x**y)**0.5", "-x**2", "(-x)**2", "-(x + 1)", "2 - x", "1/x",
        "where(x > 0, x, -x)", "where(x >= y, 1, 0)", "minimum(maximum(x, -1), 1)", "abs(x) - round(x)", "x - 1e-05",
        "sinc(x)", "1/(1 + exp(-x))", "x*(y + 1)*(x - 1)", "exp(-exp(-x))", "-3*x*y", "(x + y)/(x - y)",
    ],
)  # fmt: skip
def test_printing_reads_back(text):
    e = parse(text)
    assert parse(str(e)) is e, str(e)


def test_derivatives_print_and_read_back():
    from ogive.diff import differentiate

    for text in (
        "x*Phi(x)",
        "x*tanh(softplus(x))",
        "sinc(x)",
        "where(x > 0, x, expm1(x))",
        "(x + sqrt(x*x + 1))/2",
    ):
        e = parse(text)
        for _ in range(3):
            e = differentiate(e, "x")
            assert parse(str(e)) is e


def test_a_condition_has_no_truth_value():
    with pytest.raises(FormulaError, match="where"):
        bool(x > 0)


def test_constants_are_finite():
    for bad in (float("nan"), float("inf")):
        with pytest.raises(FormulaError, match="finite"):
            const(bad)


def test_piecewise_factors_are_chosen_not_multiplied():
    # exp(x) in the branch not taken must not become inf * 0
    assert str(parse("where(x > 0, 0, 1)*exp(x)")) == "where(x > 0, 0, exp(x))"


def test_walk_gives_each_node_once_children_first():
    e = parse("(x + 1)*(x + 1) + exp(x + 1)")
    nodes = list(e.walk())
    assert len(nodes) == len(set(nodes)) and nodes[-1] is e
    assert all(nodes.index(a) < nodes.index(n) for n in nodes for a in n.args)
    assert isinstance(nodes[0], Expr) and e.variables() == {"x"}

import pytest
import torch

from ogive import define
from ogive.derive.exact import Oracle
from ogive.diff import differentiate
from ogive.expr import const, var
from ogive.parse import parse
from ogive.rewrite import RULES, collect, factor, simplify


@pytest.mark.parametrize("rule", RULES, ids=lambda r: str(r.pattern).replace("#", ""))
def test_every_rule_keeps_the_value(rule):
    # Compared with balls on the pattern itself, at points where both sides are defined.
    values = {"u": parse("0.3*x + 0.2"), "v": parse("x*x + 1"), "#a": const(3.0), "#b": const(2.0)}
    left = rule.pattern.map(lambda n: values.get(str(n.data), n), lambda n, args: type(n)(n.op, args, n.data))
    right = rule.build(values)
    from ogive.activation import Activation

    before, after = Oracle(Activation(left), 2), Oracle(Activation(right), 2)
    real_power = "**v" in str(rule.pattern).replace("#", "")  # of a positive base only
    for at in (0.25, 2.0, 5.5) if real_power else (-3.7, -1.0, 0.25, 2.0, 5.5):
        for p, q in zip(before(at), after(at)):
            assert abs(p - q) < 1e-15 * (1 + abs(p)), (str(left), str(right), at)


@pytest.mark.parametrize("rule", RULES, ids=lambda r: str(r.pattern).replace("#", ""))
def test_every_rule_says_why(rule):
    assert rule.why and len(rule.why) < 80


@pytest.mark.parametrize(
    "written, stable",
    [
        ("log(1 + exp(x))", "softplus(x)"), ("log(exp(x) + 1)", "softplus(x)"), ("1/(1 + exp(-x))", "sigmoid(x)"),
        ("x/(1 + exp(-1.702*x))", "x*sigmoid(1.702*x)"), ("exp(x) - 1", "expm1(x)"), ("1 - exp(-exp(x))", "-expm1(-exp(x))"),
        ("exp(x)/(1 + exp(x))", "sigmoid(x)"), ("(1 + tanh(x))/2", "sigmoid(2*x)"), ("1 - tanh(x)**2", "sech2(x)"),
        ("1 - sigmoid(x)", "sigmoid(-x)"), ("x/(1 + abs(x))", "softsign(x)"), ("sqrt(1 + x*x) - 1", "hypotm1(x)"),
        ("(x + sqrt(x**2 + 1))/2", "0.5*sqp(x)"), ("x - tanh(x)", "tanhshrink(x)"), ("log(1 + x)", "log1p(x)"),
        ("(exp(x) - exp(-x))/(exp(x) + exp(-x))", "tanh(x)"), ("log(cosh(x))", "logcosh(x)"),
        ("x*tanh(log(1 + exp(x)))", "x*tanh(softplus(x))"), ("0.5*x*(1 + erf(x/2))", "0.5*(x*erfc(-0.5*x))"),
        ("tanh(-x)", "-tanh(x)"), ("cos(-x)", "cos(x)"), ("x*x**2", "x**3"), ("log(sigmoid(x))", "-softplus(-x)"),
    ],
)  # fmt: skip
def test_naive_forms_become_stable(written, stable):
    assert str(simplify(parse(written))) == stable


def test_naive_formulas_survive_the_tails():
    for text in (
        "x*tanh(log(1 + exp(x)))",
        "x/(1 + exp(-x))",
        "log(1 + exp(x))",
        "x*tanh(exp(x))",
        "x*exp(-exp(-x))",
    ):
        act = define(text)
        x = torch.tensor([-3e38, -1e4, -90.0, 0.0, 90.0, 1e4, 3e38], requires_grad=True)
        y = act(x)
        (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        (h,) = torch.autograd.grad(g.sum(), x)
        assert torch.isfinite(y).all() and torch.isfinite(g).all() and torch.isfinite(h).all(), text


def test_collect_and_factor():
    x = var("x")
    assert str(collect((1.0 - x) - (1.0 + x))) == "-2*x"
    assert str(simplify(parse("exp(x)*sin(x) - exp(x)"))) == "exp(x)*(sin(x) - 1)"
    assert factor(x + 1.0) is x + 1.0
    assert str(differentiate(differentiate(parse("x*Phi(x)"), "x"), "x")) == "phi(x)*(2 - x*x)"


def test_simplify_is_idempotent_over_the_catalogue():
    from ogive import catalogue

    for entry in catalogue.entries().values():
        for e in (entry.expr, differentiate(entry.expr, entry.inputs[0])):
            assert simplify(e) is e, entry.name

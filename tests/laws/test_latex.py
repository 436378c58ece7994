"""The LaTeX of every entry says what the formula computes, in few and tidy marks."""

from __future__ import annotations

import math
import re

import pytest

import ogive
from ogive.derive.calculus import derivative
from ogive.derive.latex import expression, latex
from ogive.derive.notation import symbol
from ogive.derive.recognition.constants import closed_form
from ogive.errors import FormulaError, ParameterError
from tests.entries import ENTRIES
from tests.laws.latex_reader import Reader

POINTS = (-7.3, -2.6, -1.1, -0.62, -0.2, 0.13, 0.45, 0.9, 1.7, 3.1, 6.4)

each = pytest.mark.parametrize("act", ENTRIES, ids=lambda a: a.name)


def read_back(text, act, x):
    others = dict.fromkeys(act.inputs[1:], 0.8)
    params = {symbol(k): v for k, v in act.defaults.items()}
    return Reader(text, {act.inputs[0]: x, **others, **params}).value()


def value(act, x):
    return act(x, *(0.8 for _ in act.inputs[1:]))


@each
@pytest.mark.parametrize("params", ["symbols", "values"])
def test_says_what_the_formula_computes(act, params):
    text = latex(act, params=params)
    for x in POINTS:
        # six digits are shown, and a frequency of 30 turns 1e-6 of it into 1e-4 of the value
        assert read_back(text, act, x) == pytest.approx(value(act, x), rel=3e-4, abs=2e-5), (x, text)


@each
def test_derivatives_too(act):
    for order in (1, 2):
        slope = derivative(act, order)
        text = latex(slope)
        largest = max(1.0, *(abs(value(slope, x)) for x in POINTS))  # six digits of the terms, which may cancel
        for x in POINTS:
            got, expected = read_back(text, slope, x), value(slope, x)
            assert got == pytest.approx(expected, rel=3e-4, abs=4e-5 * largest), (
                order,
                x,
                text,
            )


def doubled(text):
    """Whether a pair of parentheses holds nothing but another pair."""
    opened, closes = [], {}
    for i, c in enumerate(text):
        if c == "(":
            opened.append(i)
        elif c == ")":
            closes[opened.pop()] = i
    return any(closes.get(i + 1) == close - 1 for i, close in closes.items())


def test_doubled_parentheses_are_seen():
    assert doubled("x ((1 + x))") and not doubled("x ((1 - x) (1 + x))")


@each
def test_is_tidy(act):
    for text in (latex(act), latex(act, params="values"), latex(derivative(act))):
        bare = re.sub(r"\\[{}_]", "", text)
        depth = 0
        for c in bare:
            depth += (c == "{") - (c == "}")
            assert depth >= 0
        assert depth == 0
        assert text.count("\\left") - text.count("\\left[") == text.count("\\right") - text.count("\\right]")
        assert not re.search(r"\d[eE][-+]?\d", text), "a Python exponent"
        assert not re.search(r"\.0(?!\d)|\.0*[1-9]\d{8}", text), "float noise"
        assert not re.search(r"(?<![\d._])1(\.0+)? *(\\cdot|[a-z(])", text.replace("1 & ", "")), "a factor of one"
        for ugly in ("--", "+ -", "- -", "**", "{}", "+ 0 ", "  "):
            assert ugly not in text, (ugly, text)
        assert not doubled(text), text


EXPECTED = {
    "gelu": r"x \Phi(x)",
    "silu": r"x \sigma(x)",
    "swish": r"x \sigma(\beta x)",
    "golu": r"\alpha x e^{-\beta e^{-\gamma x}}",
    "mish": r"x \tanh(\operatorname{softplus}(x))",
    "relu": r"\max(x, 0)",
    "relu2": r"\max(x, 0)^2",
    "elu": r"\begin{cases} x & x > 0 \\ \alpha (e^x - 1) & \text{otherwise} \end{cases}",
    "snake": r"x + \frac{\sin^2(a x)}{a}",
    "gelu_tanh": r"x \sigma\!\left(2 \sqrt{\frac{2}{\pi}} (x + 0.044715 x^3)\right)",
    "crrelu": r"\max(x, 0) + \varepsilon x e^{-x^2/2}",
    "softshrink": r"\begin{cases} x - \lambda & x > \lambda \\ x + \lambda & x < -\lambda \\ "
    r"0 & \text{otherwise} \end{cases}",
    "hardtanh": r"\min(\max(x, -1), 1)",
    "absolute": "|x|",
    "symexp": r"\begin{cases} e^x - 1 & x > 0 \\ 1 - e^{-x} & \text{otherwise} \end{cases}",
    "isrlu": r"\begin{cases} x & x > 0 \\ \frac{x}{\sqrt{1 + \alpha x^2}} & \text{otherwise} \end{cases}",
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_known_entries(name):
    assert latex(name) == EXPECTED[name]


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("x*sigmoid(1.5*x)", r"x \sigma(1.5 x)"),
        ("(x + 1)*(x - 1)", r"(x + 1) (x - 1)"),
        ("(x + 1)**2/(x*x + 3)", r"\frac{(x + 1)^2}{x^2 + 3}"),
        ("x - (1 - x)", "x - 1 + x"),
        ("-(x + 1)", "-x - 1"),
        ("1 - (-x)**3", r"1 + x^3"),
        ("2*3**x", r"2 \cdot 3^x"),
        ("x*x*x", r"x^3"),
        ("tanh(x)**2", r"\tanh^2(x)"),
        ("sigmoid(x)**2", r"\sigma(x)^2"),
        ("x**0.5", r"\sqrt{x}"),
        ("abs(x)**(1/3)", r"|x|^{1/3}"),
        ("where(abs(x) <= 1, x, 0)", r"\begin{cases} x & |x| \leq 1 \\ 0 & \text{otherwise} \end{cases}"),
        ("exp(x/(1 + x*x))", r"\exp\!\left(\frac{x}{1 + x^2}\right)"),
        ("abs(abs(x) - 1)", r"\left||x| - 1\right|"),
        ("1e-9*x", r"10^{-9} x"),
    ],
)
def test_precedence(formula, expected):
    text = latex(formula)
    assert text == expected
    act = ogive.define(formula)
    for x in (0.3, 1.7):
        assert Reader(text, {"x": x}).value() == pytest.approx(act(x), rel=1e-9)


def test_constants_are_named_only_when_they_are_that_number():
    roots = (math.sqrt(2), math.sqrt(2 / math.pi), 1 / math.sqrt(2 * math.pi), math.sqrt(math.pi) / 2)
    others = (1.0, math.pi, 1 / math.pi, math.log(2), 1 / math.log(2), math.sqrt(3) * math.pi, math.e)
    for p in (1, 2, 3, 7):
        for q in (1, 2, 3, 4):
            for base in roots + others:
                over, under = closed_form(p / q * base)
                read = Reader(over or "1", {}).value() / Reader(under or "1", {}).value()
                assert read == pytest.approx(p / q * base, rel=1e-14), (over, under)
    assert closed_form(math.sqrt(2 / math.pi) * (1 + 1e-12)) == ("0.797885", "")


def test_parameters_are_named_as_people_write_them():
    written = {
        "beta": r"\beta", "lam": r"\lambda", "eps": r"\varepsilon", "p1": "p_1", "l10": "l_{10}", "T": "T",
        "alpha_n": r"\alpha_n", "negative_slope": r"\mathrm{negative\_slope}", "β": r"\beta", "beta_2": r"\beta_2",
    }  # fmt: skip
    assert {name: symbol(name) for name in written} == written


def whole(row):
    """Whether the braces of a row, and its brackets that grow, close inside it."""
    depth = 0
    for c in re.sub(r"\\\\[{}]", "", row):
        depth += (c == "{") - (c == "}")
        if depth < 0:
            return False
    return depth == 0 and row.count("\\left") == row.count("\\right")


def test_compiles():
    mathtext = pytest.importorskip("matplotlib.mathtext")
    parser = mathtext.MathTextParser("path")
    for act in ENTRIES:
        for text in (latex(act), latex(derivative(act))):
            inside = re.sub(r"\\left\(\\begin", r"\\begin", text)  # mathtext has no cases: each row by itself
            for row in re.split(r"\\begin\{cases\}|\\end\{cases\}(?:\\right\))?|\\\\|&", inside):
                if row.strip() and whole(row):
                    parser.parse(f"$x {row}$")


def test_refuses_what_it_cannot_print():
    with pytest.raises(ParameterError, match="params='numbers'"):
        latex("gelu", params="numbers")
    grown = ogive.expr.var("x")
    for _ in range(40):
        grown = grown * ogive.ops.tanh(grown)
    with pytest.raises(FormulaError, match="too long to print"):
        expression(grown)

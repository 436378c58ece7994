"""The table behind the canonical form: patterns, their cheaper form, why, and what happens to the rounding error.

With ``t = exp(-|u|)`` in (0, 1] every logistic function is a quotient of sums of positive numbers, for both
signs of u: nothing overflows and nothing cancels. Patterns are read as in :mod:`ogive.rewrite`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ogive.expr import Expr, const, mul, neg, value_of, var, where
from ogive.ops import OPS
from ogive.rewrite import Binding, Rule


@dataclass(frozen=True)
class Lowering(Rule):
    """A rule of the canonical form; ``accuracy`` says what happens to the rounding error."""

    accuracy: str


_u, _v, _one = var("u"), var("v"), const(1.0)


def _f(name: str, *args: Expr) -> Expr:
    return Expr(name, args)


def decay(u: Expr) -> Expr:
    """``exp(-|u|)``, in (0, 1]: the one exponential everything logistic is written in."""
    u = u.args[0] if u.op == "neg" else u
    c = value_of(u.args[0]) if u.op == "mul" else None
    if c is not None:
        return _f("exp", mul(const(-abs(c)), _size(u.args[1])))
    return _f("exp", neg(_size(u)))


def _size(u: Expr) -> Expr:
    known = OPS[u.op].facts.range if u.args else None
    return u if known and known[0] >= 0.0 and u.op != "abs" else _f("abs", u)


def positive(u: Expr) -> Expr:
    # the condition u > 0 with a constant factor taken out, so that it is shared by u, u/2 and 2u
    if u.op == "neg":
        return _f("gt", const(0.0), u.args[0])
    c = value_of(u.args[0]) if u.op == "mul" else None
    if c is not None:
        return _f("gt", u.args[1], const(0.0)) if c > 0 else _f("gt", const(0.0), u.args[1])
    return _f("gt", u, const(0.0))


def _mish_parts(u: Expr) -> tuple[Expr, Expr, Expr, Expr]:
    # tanh(log(1 + e)) = ((1 + e)^2 - 1)/((1 + e)^2 + 1). With t = exp(-|u|): for u <= 0 t(t + 2)/(t(t + 2) + 2),
    # for u > 0, numerator and denominator times t^2, (1 + 2t)/(1 + 2t + 2t^2). Only sums of positive numbers.
    t, right = decay(u), positive(u)
    top = where(right, 1.0 + 2.0 * t, t * (t + 2.0))
    bottom = top + where(right, 2.0 * (t * t), const(2.0))
    return t, right, top, bottom


def _tanh_softplus(m: Binding) -> Expr:
    _, _, top, bottom = _mish_parts(m["u"])
    return top / bottom


def _sech2_softplus(m: Binding) -> Expr:
    # 1 - tanh^2 = (2(1 + e)/((1 + e)^2 + 1))^2, again times t^2 above and below on the right
    t, right, _, bottom = _mish_parts(m["u"])
    root = (2.0 * ((1.0 + t) * where(right, t, _one))) / bottom
    return root * root


def _sech2_softplus_slope(m: Binding) -> Expr:
    # sigmoid(u) = where(u > 0, 1, t)/(1 + t): one 1 + t cancels, and the choices become t * where(u > 0, t, 1)
    t, right, _, bottom = _mish_parts(m["u"])
    inverse = 1.0 / bottom
    return 4.0 * (((t * (1.0 + t)) * where(right, t, _one)) * (inverse * inverse))


def _tanh_log1p_sigmoid(m: Binding) -> Expr:
    s = _f("sigmoid", m["u"])
    top = s * (s + 2.0)
    return top / (top + 2.0)


def _sech2_log1p_sigmoid(m: Binding) -> Expr:
    s = _f("sigmoid", m["u"])
    root = (2.0 * (1.0 + s)) / (s * (s + 2.0) + 2.0)
    return root * root


def _tanh_exp(m: Binding) -> Expr:
    # for v >= 0, tanh v = -m/(2 + m) with m = expm1(-2v): no sign to restore and nothing that cancels
    minus = _f("expm1", -2.0 * _f("exp", m["u"]))
    return -(minus / (minus + 2.0))


def _sech2_log1p_sigmoid_slope(m: Binding) -> Expr:
    s = _f("sigmoid", m["u"])
    bottom = s * (s + 2.0) + 2.0
    return (4.0 * (1.0 + s)) / (bottom * bottom)


def _inverse_square(m: Binding) -> Expr:
    return 1.0 / (1.0 + m["u"] * m["u"])


def _inverse_cube(m: Binding) -> Expr:
    d = 1.0 + m["u"] * m["u"]
    return 1.0 / (d * _f("sqrt", d))


def _raw(op: str, *args: Expr) -> Expr:
    return Expr(op, args)  # patterns are built unfolded


def _sqp1(m: Binding) -> Expr:
    # 1 + u/h with h = hypot1(u); on the left (h - |u|)/h = 1/((h + |u|) h), which does not cancel
    u = m["u"]
    h, size = _f("hypot1", u), _f("abs", u)
    return where(positive(u), 1.0 + size / h, (1.0 / (h + size)) / h)


_softplus = _f("softplus", _u)
_log1p_sigmoid = _f("log1p", _f("sigmoid", _u))
_asinh = _f("asinh", _u)
_half_asinh = _raw("mul", const(0.5), _asinh)
_sqp = _f("sqp", _u)

# Before the others, which would take the factors one by one.
PRODUCTS: tuple[Lowering, ...] = (
    Lowering(_raw("mul", _f("sech2", _softplus), _f("sigmoid", _u)), _sech2_softplus_slope,
             "one exponential for five functions", "sums of positive terms; the division is shared with the value"),
    Lowering(_raw("mul", _f("sech2", _log1p_sigmoid), _raw("div", _one, _raw("add", _one, _f("sigmoid", _u)))),
             _sech2_log1p_sigmoid_slope,
             "rational in the sigmoid, and 1 + sigmoid cancels", "sums of positive terms; the sigmoid is at most 1"),
    Lowering(_raw("mul", _raw("div", _one, _raw("add", _one, _raw("mul", _sqp, _sqp))), _f("sqp1", _u)),
             lambda m: 0.5 * _inverse_square(m),
             "1 + s^2 = 2 s hypot1 and sqp1 = s/hypot1, so the root cancels", "one division of a positive sum"),
)  # fmt: skip

LOWERINGS: tuple[Lowering, ...] = (
    Lowering(_f("tanh", _softplus), _tanh_softplus,
             "one exponential for an exponential, a logarithm and a tanh", "sums of positive terms, five roundings"),
    Lowering(_f("sech2", _softplus), _sech2_softplus,
             "one exponential for two and a logarithm", "sums of positive terms, then a square"),
    Lowering(_f("tanh", _log1p_sigmoid), _tanh_log1p_sigmoid,
             "rational in the sigmoid", "sums of positive terms; the sigmoid is at most 1"),
    Lowering(_f("sech2", _log1p_sigmoid), _sech2_log1p_sigmoid,
             "rational in the sigmoid", "sums of positive terms; the sigmoid is at most 1"),
    Lowering(_f("tanh", _f("exp", _u)), _tanh_exp,
             "the argument is positive: no sign to restore", "expm1 keeps the digits of a small argument"),
    Lowering(_f("exp", _raw("neg", _softplus)), lambda m: _f("sigmoid", -m["u"]),
             "one exponential for two and a logarithm", "better: no logarithm whose error the exponential scales"),
    # algebraic functions written through asinh
    Lowering(_f("sigmoid", _raw("mul", const(2.0), _asinh)), lambda m: 0.5 * _sqp1(m),
             "no transcendental function is left", "sums of positive terms on both sides"),
    Lowering(_f("sqp1", _u), _sqp1, "one guarded root for two", "sums of positive terms; u + hypot1 may overflow"),
    Lowering(_f("sech2", _half_asinh), lambda m: 2.0 / (1.0 + _f("hypot1", m["u"])),
             "no transcendental function is left", "a sum of positive terms"),
    Lowering(_f("sech2", _asinh), _inverse_square,
             "no transcendental function is left", "where 1 + u^2 overflows, its inverse is below the normal numbers"),
    Lowering(_f("tanh", _half_asinh), lambda m: m["u"] / (1.0 + _f("hypot1", m["u"])),
             "no transcendental function is left", "three roundings"),
    Lowering(_f("tanh", _asinh), lambda m: _f("isru", m["u"]),
             "no transcendental function is left", "isru does not overflow before u does"),
    Lowering(_raw("pow", _f("hypot1", _u), const(-2.0)), _inverse_square,
             "no root", "where 1 + u^2 overflows, its inverse is below the normal numbers"),
    Lowering(_raw("pow", _f("hypot1", _u), const(-3.0)), _inverse_cube,
             "a plain root for a guarded one", "where 1 + u^2 overflows, the result is zero to every digit"),
)  # fmt: skip

# After sharing: the argument of a shared exponential would no longer be recognised.
_a, _b, _c = var("#a"), var("#b"), var("#c")
POLISH: tuple[Lowering, ...] = (
    Lowering(_raw("add", _u, _raw("mul", _a, _raw("pow", _u, const(3.0)))),
             lambda m: m["u"] * (1.0 + m["#a"] * (m["u"] * m["u"])),
             "Horner's form: a square for a cube", "one rounding fewer in the larger term"),
    Lowering(_raw("mul", _a, _raw("mul", _u, _raw("add", _b, _raw("mul", _c, _v)))),
             lambda m: m["u"] * (m["#a"] * m["#b"] + (m["#a"] * m["#c"]) * m["v"]),
             "the outer constant goes into the inner ones", "one rounding fewer; constants fold in float64"),
)  # fmt: skip

"""The normal form of a formula: what each primitive is as a polynomial over the generators of ``normal``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from ogive.derive.recognition.normal import Normal, Poly
from ogive.expr import Expr, value_of


def normal(expr: Expr, values: Mapping[str, Poly], form: Normal) -> Poly:
    """``expr`` in ``form``, its variables replaced by ``values``. Raises :class:`TooLong`."""
    done: dict[Expr, Poly] = {}
    for node in expr.walk():
        if node.op == "const":
            done[node] = form.number(float(node.data))  # type: ignore[arg-type]
        elif node.op == "var":
            done[node] = values[str(node.data)]
        elif node.op == "sqrt" and (inside := _squared(node.args[0])) is not None:
            done[node] = form.absolute(done[inside])
        else:
            done[node] = _node(node, [done[a] for a in node.args], form)
    return done[expr]


def _squared(node: Expr) -> Expr | None:
    """u of u u or u**2."""
    if node.op == "mul" and node.args[0] is node.args[1]:
        return node.args[0]
    return node.args[0] if node.op == "pow" and value_of(node.args[1]) == 2.0 else None


def _node(node: Expr, args: list[Poly], f: Normal) -> Poly:
    op, u = node.op, args[0]
    v = args[1] if len(args) > 1 else {}
    if op in ("add", "sub"):
        return f.add(u, v, 1.0 if op == "add" else -1.0)
    if op == "neg":
        return f.add({}, u, -1.0)
    if op == "mul":
        return f.mul(u, v)
    if op == "div":
        return f.mul(u, f.power(v, -1))
    if op == "pow":
        return _power(f, u, v)
    if op in ("maximum", "minimum"):
        over = f.add(u, v, -1.0)
        excess = f.mul(over, f.step(over))
        return f.add(v, excess) if op == "maximum" else f.add(u, excess, -1.0)
    if op in ("gt", "ge"):
        return f.step(f.add(u, v, -1.0))
    if op == "where":
        return f.add(args[2], f.mul(u, f.add(v, args[2], -1.0)))
    make = _UNARY.get(op)
    if make is not None:
        return make(f, u)
    if len(args) == 1 and node.data is None:
        return f.parity(op, u)
    return f.generator(op if node.data is None else f"{op}:{node.data}", *args)


def _power(f: Normal, u: Poly, v: Poly) -> Poly:
    """u^v: halves and integers by algebra, the rest as it is."""
    exponent = v.get((), np.zeros(f.rows))
    if any(v):
        if not any(u) and u and u[()][0] > 0:
            return f.exp(f.mul(v, f.number(np.log(u[()]))))
        return f.generator("power", u, v)
    k = float(exponent[0])
    if (exponent == k).all() and (2.0 * k).is_integer() and abs(k) <= 64:
        return f.power(u, k)
    if not any(u):
        return f.number(u.get((), np.zeros(f.rows)) ** exponent)
    return f.generator("power", u, v)


def _tanh(f: Normal, u: Poly) -> Poly:
    return f.add(f.number(-1.0), f.sigmoid(f.add({}, u, 2.0)), 2.0)


def _sech2(f: Normal, u: Poly) -> Poly:
    s = f.sigmoid(f.add({}, u, 2.0))
    return f.mul(f.add({}, s, 4.0), f.add(f.number(1.0), s, -1.0))


def _hypot(f: Normal, u: Poly, k: float) -> Poly:
    return f.power(f.add(f.number(1.0), f.mul(u, u)), k)


def _even_odd(f: Normal, u: Poly, sign: float) -> Poly:
    return f.add(f.add({}, f.exp(u), 0.5), f.exp(f.add({}, u, -1.0)), 0.5 * sign)


def _logcosh(f: Normal, u: Poly) -> Poly:
    return f.add(f.add(f.softplus(f.add({}, u, 2.0)), u, -1.0), f.number(-math.log(2.0)))


def _normal_density(f: Normal, u: Poly) -> Poly:
    return f.add({}, f.exp(f.add({}, f.mul(u, u), -0.5)), 1.0 / math.sqrt(2.0 * math.pi))


def _softsign(f: Normal, u: Poly) -> Poly:
    return f.mul(u, f.power(f.add(f.number(1.0), f.absolute(u)), -1))


_UNARY: dict[str, Callable[[Normal, Poly], Poly]] = {
    "abs": lambda f, u: f.absolute(u),
    "sign": lambda f, u: f.add(f.number(-1.0), f.step(u), 2.0),
    "sqrt": lambda f, u: f.power(u, 0.5),
    "exp": lambda f, u: f.exp(u),
    "expm1": lambda f, u: f.add(f.exp(u), f.number(-1.0)),
    "log": lambda f, u: f.log(u),
    "log1p": lambda f, u: f.log(f.add(u, f.number(1.0))),
    "sigmoid": lambda f, u: f.sigmoid(u),
    "softplus": lambda f, u: f.softplus(u),
    "tanh": _tanh,
    "tanhshrink": lambda f, u: f.add(u, _tanh(f, u), -1.0),
    "sech2": _sech2,
    "sinh": lambda f, u: _even_odd(f, u, -1.0),
    "cosh": lambda f, u: _even_odd(f, u, 1.0),
    "logcosh": _logcosh,
    "sin": lambda f, u: f.sine(u),
    "cos": lambda f, u: f.sine(f.add(u, f.number(math.pi / 2.0))),
    "erfc": lambda f, u: f.add(f.number(1.0), f.parity("erf", u), -1.0),
    "Phi": lambda f, u: f.add(f.number(0.5), f.parity("erf", f.add({}, u, math.sqrt(0.5))), 0.5),
    "phi": _normal_density,
    "softsign": _softsign,
    "hypot1": lambda f, u: _hypot(f, u, 0.5),
    "hypotm1": lambda f, u: f.add(_hypot(f, u, 0.5), f.number(-1.0)),
    "isru": lambda f, u: f.mul(u, _hypot(f, u, -0.5)),
    "sqp": lambda f, u: f.add(u, _hypot(f, u, 0.5)),
    "sqp1": lambda f, u: f.add(f.number(1.0), f.mul(u, _hypot(f, u, -0.5))),
}

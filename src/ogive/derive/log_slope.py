"""``log|f'|`` as a formula of its own, which says something where the slope itself has vanished."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from ogive.activation import Activation
from ogive.derive.calculus import derivative
from ogive.errors import InputError
from ogive.expr import Expr, const, value_of, where
from ogive.lookup import get
from ogive.rewrite import simplify


def log_abs_slope(spec: Any) -> Activation:
    """``log|f'(x)|`` as an activation with the parameters of f: the log-determinant of an elementwise layer.

    The logarithm is taken factor by factor, so that it stays finite where f' underflows: for tanh it is
    ``-2 log cosh x``. A declared surrogate is not followed. Raises :class:`~ogive.errors.InputError` for a gate.

    >>> log_abs_slope("tanh"), round(log_abs_slope("tanh")(1000.0), 9)
    (<Activation unnamed: -2*logcosh(x)>, -1998.613705639)
    """
    act = get(spec)
    if len(act.inputs) != 1:
        raise InputError(f"log|f'| of {act.label}: it takes {len(act.inputs)} inputs; ask about one of one input")
    slope = derivative(replace(act, backward=None))
    found = simplify(log_abs(slope.expr))
    free = found.variables()
    return replace(slope, written=found, params={k: p for k, p in act.params.items() if k in free})


def _f(name: str, *args: Expr) -> Expr:
    return Expr(name, args)


def log_abs(expr: Expr) -> Expr:
    """``log|expr|``, products as sums, exponentials and bells by their own logarithms."""
    made: dict[Expr, Expr] = {}
    for n in expr.walk():
        made[n] = _log_abs(n, made)
    return made[expr]


def _log_abs(n: Expr, made: dict[Expr, Expr]) -> Expr:
    value = value_of(n)
    if value is not None:
        return const(math.log(abs(value))) if value else _f("log", _f("abs", n))
    a = n.args[0] if n.args else n
    if n.op == "neg" or n.op == "abs":
        return made[a]
    if n.op == "mul":
        return made[a] + made[n.args[1]]
    if n.op == "div":
        return made[a] - made[n.args[1]]
    if n.op == "pow" and a.op != "const":
        return n.args[1] * made[a]
    if n.op == "sqrt":
        return 0.5 * made[a]
    if n.op == "exp":
        return a
    if n.op == "sech2":
        return -2.0 * _f("logcosh", a)
    if n.op == "cosh":
        return _f("logcosh", a)
    if n.op == "sigmoid":
        return -_f("softplus", -a)
    if n.op == "phi":
        return -0.5 * (a * a) - const(0.5 * math.log(2.0 * math.pi))
    if n.op == "hypot1":
        return 0.5 * _f("log1p", a * a)
    if n.op == "where":
        return where(a, made[n.args[1]], made[n.args[2]])
    if n.op in ("add", "sub") and value_of(n.args[0]) == 1.0:
        return _f("log1p", n.args[1] if n.op == "add" else -n.args[1]) if _above_minus_one(n) else _plain(n)
    return _plain(n)


def _plain(n: Expr) -> Expr:
    return _f("log", _f("abs", n))


_NOT_NEGATIVE = frozenset({"exp", "abs", "sech2", "sigmoid", "softplus", "phi", "cosh", "sqp", "hypot1", "hypotm1"})


def _above_minus_one(n: Expr) -> bool:
    other = n.args[1]
    return n.op == "add" and (other.op in _NOT_NEGATIVE or (other.op == "mul" and other.args[0] is other.args[1]))

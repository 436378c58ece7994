"""A formula undone step by step: its inverse as a formula, where the operations allow it.

Between two neighbouring break points every choice of the formula is made, so what is left is smooth. From the
outside in, an operation with the variable in one argument is undone by its own rule; where the variable stands in
several places, the smallest expression that they share is undone as (P + T sqrt(q))/Q, by a quadratic equation. Of
the roots, signs and turns that fit, a few points of the stretch pick the right one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ogive import expr as tree
from ogive.derive.solving.radicals import Beyond, Poly, radical
from ogive.errors import FormulaError
from ogive.expr import Expr, const, rebuild, value_of, var
from ogive.ops import OPS
from ogive.rewrite import simplify

Candidates = list[Expr]


def _f(name: str, *args: Expr) -> Expr:
    return Expr(name, args)


def _asin(y: Expr) -> Expr:
    return _f("atan", y / _f("sqrt", 1.0 - y * y))


def _both(u: Expr) -> Candidates:
    return [u, -u]


# What u is when op(u) = y: every candidate, of which the samples pick one. Cancellation is avoided at the end of the
# range that is reached at infinity: softplus(u) = y gives u = y + log(1 - exp(-y)), not log(exp(y) - 1).
_UNARY: dict[str, Callable[[Expr], Candidates]] = {
    "neg": lambda y: [-y],
    "sqrt": lambda y: [y * y],
    "exp": lambda y: [_f("log", y)],
    "expm1": lambda y: [_f("log1p", y)],
    "log": lambda y: [_f("exp", y)],
    "log1p": lambda y: [_f("expm1", y)],
    "tan": lambda y: [_f("atan", y)],
    "atan": lambda y: [_f("tan", y)],
    "sinh": lambda y: [_f("asinh", y)],
    "asinh": lambda y: [_f("sinh", y)],
    "cosh": lambda y: _both(_f("asinh", _f("sqrt", (y - 1.0) * (y + 1.0)))),
    "tanh": lambda y: [0.5 * (_f("log1p", y) - _f("log1p", -y))],
    "sech2": lambda y: _both(_f("asinh", _f("sqrt", (1.0 - y) / y))),
    "logcosh": lambda y: _both(_f("asinh", _f("sqrt", _f("expm1", 2.0 * y)))),
    "sigmoid": lambda y: [_f("log", y / (1.0 - y))],
    "softplus": lambda y: [y + _f("log", -_f("expm1", -y))],
    "phi": lambda y: _both(_f("sqrt", -2.0 * _f("log", y * math.sqrt(2.0 * math.pi)))),
    "softsign": lambda y: [y / (1.0 - _f("abs", y))],
    "hypot1": lambda y: _both(_f("sqrt", (y - 1.0) * (y + 1.0))),
    "hypotm1": lambda y: _both(_f("sqrt", y * (y + 2.0))),
    "isru": lambda y: [y / _f("sqrt", (1.0 - y) * (1.0 + y))],
    "sqp": lambda y: [0.5 * (y - 1.0 / y)],
    "sqp1": lambda y: [(y - 1.0) / _f("sqrt", y * (2.0 - y))],
}


@dataclass(frozen=True)
class Stretch:
    """Where the formula makes no choice: between ``lo`` and ``hi``, with a few points inside."""

    lo: float
    hi: float
    points: Tensor


def stretch(lo: float, hi: float) -> Stretch:
    """The stretch from ``lo`` to ``hi``, which may be infinite, with five points inside."""
    a = lo if math.isfinite(lo) else min(hi, 0.0) - 3.0
    b = hi if math.isfinite(hi) else max(lo, 0.0) + 3.0
    part = torch.tensor([0.09, 0.3, 0.52, 0.73, 0.94], dtype=torch.float64)
    return Stretch(lo, hi, a + (b - a) * part)


def undo(expr: Expr, name: str, stretches: Sequence[Stretch], y: str = "y") -> Expr | None:
    """The inverse of ``expr`` (no parameters left) over neighbouring stretches, from left to right, in the variable
    ``y``; None where some stretch cannot be undone.

    >>> from ogive.parse import parse
    >>> str(undo(parse("log(1 + exp(2*x))"), "x", [stretch(-math.inf, math.inf)]))
    '0.5*(y + log(-expm1(-y)))'
    """
    parts: list[tuple[float, Expr]] = []
    rising = True
    for part in stretches:
        try:
            smooth = choose(expr, name, part.points)
            got = _Undo(smooth, name, part.points).run(var(y))
        except (Beyond, FormulaError):
            return None
        ends = _values(smooth, name, part.points)[smooth]
        rising = bool(ends[-1] > ends[0])
        if parts and parts[-1][1] is got:
            continue
        edge = torch.tensor([part.lo], dtype=torch.float64)
        at = float(_values(expr, name, edge)[expr]) if math.isfinite(part.lo) else -math.inf
        parts.append((at, got))
    whole = parts[0][1]
    for level, got in parts[1:]:
        if not math.isfinite(level):
            return None
        here = _f("gt", var(y), const(level)) if rising else _f("gt", const(level), var(y))
        whole = tree.where(here, got, whole)
    return simplify(folded(whole))


def folded(expr: Expr) -> Expr:
    """``expr`` with functions of numbers as numbers, and without signs and factors that undo each other."""

    def build(n: Expr, args: tuple[Expr, ...]) -> Expr:
        numbers = [value_of(a) for a in args]
        if None not in numbers and n.op not in ("gt", "ge"):
            wide = [torch.tensor(v, dtype=torch.float64) for v in numbers]
            value = float(OPS[n.op].torch(*wide, *(() if n.data is None else (int(n.data),))))
            if math.isfinite(value):
                return const(value)
        factor = value_of(args[-1].args[0]) if args[-1].op == "mul" else None
        if n.op == "sub" and factor is not None and factor < 0.0:
            return args[0] + tree.mul(const(-factor), args[1].args[1])
        if n.op == "div" and args[0].op == "mul" and numbers[1]:
            factor = value_of(args[0].args[0])
            if factor is not None and (factor / numbers[1]) * numbers[1] == factor:
                return tree.mul(const(factor / numbers[1]), args[0].args[1])
        return rebuild(n, args)

    return expr.map(lambda leaf: leaf, build)


def _values(expr: Expr, name: str, x: Tensor) -> dict[Expr, Tensor]:
    """Every node at the points ``x``."""
    found: dict[Expr, Tensor] = {}
    for n in expr.walk():
        if n.op == "const":
            found[n] = torch.full_like(x, float(n.data))  # type: ignore[arg-type]
        elif n.op == "var":
            found[n] = x
        else:
            extra = () if n.data is None else (int(n.data),)
            found[n] = OPS[n.op].torch(*(found[a] for a in n.args), *extra)
    return found


def choose(expr: Expr, name: str, x: Tensor) -> Expr:
    """``expr`` with every choice made as it is at all the points ``x``; raises :class:`Beyond` where they differ."""
    values = _values(expr, name, x)

    def agreed(test: Tensor) -> bool:
        if bool(test.all()) or not bool(test.any()):
            return bool(test[0])
        raise Beyond

    new: dict[Expr, Expr] = {}
    for n in expr.walk():
        if not n.args or name not in n.variables():
            new[n] = n
            continue
        args = tuple(new[a] for a in n.args)
        at = [values[a] for a in n.args]
        if n.op == "where":
            new[n] = args[1] if agreed(at[0]) else args[2]
        elif n.op in ("maximum", "minimum"):
            first = agreed(at[0] > at[1]) == (n.op == "maximum")
            new[n] = args[0] if first else args[1]
        elif n.op == "abs":
            new[n] = args[0] if agreed(at[0] >= 0) else -args[0]
        elif n.op == "sign":
            new[n] = const(1.0 if agreed(at[0] > 0) else -1.0)
        elif n.op in ("floor", "round"):
            agreed(values[n] == values[n][0])
            new[n] = const(float(values[n][0]))
        elif n.op in ("gt", "ge"):
            new[n] = n  # read by the choice above
        else:
            new[n] = rebuild(n, args)
    return simplify(folded(new[expr]))


class _Undo:
    """One smooth formula being undone; ``points`` decide between candidates."""

    def __init__(self, expr: Expr, name: str, points: Tensor) -> None:
        self.expr, self.name = expr, name
        self.values = _values(expr, name, points)
        self.target = self.values[expr]

    def run(self, y: Expr) -> Expr:
        node, known = self.expr, y
        while not (node.op == "var" and node.data == self.name):
            if self.name not in node.variables():
                raise Beyond
            inside = [a for a in node.args if self.name in a.variables()]
            if len(inside) == 1:
                known, node = self._pick(self._single(node, inside[0], known), inside[0], y), inside[0]
                continue
            shared = self._shared(node)
            equation = radical(_replaced(node, shared), "#u").equation(known)
            known, node = self._pick(self._quadratic(equation), shared, y), shared
        return known

    def _pick(self, candidates: Candidates, node: Expr, y: Expr) -> Expr:
        """The candidate that gives ``node`` at the points, as a function of y."""
        want = self.values[node]
        best, error = None, 1e-6
        for c in candidates:
            if str(y.data) not in c.variables():
                raise Beyond
            got = _values(c, str(y.data), self.target)[c]
            off = float(((got - want).abs() / (want.abs() + 1e-3 * want.abs().max())).max())
            if off < error:  # NaN is not less
                best, error = c, off if off > 1e-11 else 1e-11
        if best is None:
            raise Beyond
        return best

    def _single(self, node: Expr, inner: Expr, y: Expr) -> Candidates:
        if node.op in _UNARY:
            return _UNARY[node.op](y)
        if node.op in ("sin", "cos"):
            return self._turns(node.op, inner, y)
        if len(node.args) != 2:
            raise Beyond
        first = node.args[0] is inner
        other = node.args[1] if first else node.args[0]
        if node.op == "add":
            return [y - other]
        if node.op == "sub":
            return [y + other] if first else [other - y]
        if node.op == "mul":
            return [y / other]
        if node.op == "div":
            return [y * other] if first else [other / y]
        if node.op == "pow":
            return self._power(y, other) if first else [_f("log", y) / _f("log", other)]
        raise Beyond

    def _power(self, y: Expr, exponent: Expr) -> Candidates:
        p = value_of(exponent)
        if p is None:
            return [y ** (1.0 / exponent)]
        roots = [_f("sqrt", y)] if p == 2.0 else [] if p == -1.0 else [y ** const(1.0 / p)]
        if p == -1.0:
            roots = [1.0 / y]
        elif p.is_integer() and p % 2:
            roots.append(-((-y) ** const(1.0 / p)))
        elif p.is_integer():
            roots.append(-roots[0])
        return roots

    def _turns(self, op: str, inner: Expr, y: Expr) -> Candidates:
        # sin u = y: u = k pi + (-1)^k asin y; cos u = sin(u + pi/2).
        shift = 0.0 if op == "sin" else math.pi / 2
        middle = float(self.values[inner].median()) + shift
        k = math.floor(middle / math.pi + 0.5)
        base = _asin(y) if k % 2 == 0 else -_asin(y)
        offset = k * math.pi - shift
        return [base + offset if offset else base]

    def _shared(self, node: Expr) -> Expr:
        """The largest expression below ``node`` in which every occurrence of the variable lies."""
        inner = [n for n in node.walk() if self.name in n.variables() and n is not node]
        for n in reversed(inner):
            if self.name not in _replaced(node, n).variables():
                return n
        raise Beyond

    def _quadratic(self, p: Poly) -> Candidates:
        if len(p) == 2:
            return [-(p[0] / p[1])]
        if len(p) != 3:
            raise Beyond
        c, b, a = p
        root = _f("sqrt", b * b - 4.0 * (a * c))
        # Both ways to write each root: one of them cancels, and the points tell which.
        return [2.0 * c / (-b - root), 2.0 * c / (root - b), (root - b) / (2.0 * a), (-b - root) / (2.0 * a)]


def _replaced(node: Expr, part: Expr) -> Expr:
    new: dict[Expr, Expr] = {part: var("#u")}
    for n in node.walk():
        if n not in new:
            new[n] = rebuild(n, tuple(new[a] for a in n.args)) if n.args else n
    return new[node]

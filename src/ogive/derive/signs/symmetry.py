"""Parity and homogeneity of a formula, proved from its tree."""

from __future__ import annotations

from ogive import expr as tree
from ogive.derive.observed import parity_of as composed
from ogive.expr import Expr, value_of, var
from ogive.rewrite import simplify

# g(u) of degree k in u > 0 and u < 0 alike
_DEGREE_ONE = {"neg", "abs"}


def parity(expr: Expr, name: str) -> str | None:
    """ "odd" or "even" where the rules of composition prove it, also when the two sides of a choice at 0 are
    mirror images; None where they do not."""
    known = composed(expr, name)
    if known is not None:
        return known
    even, odd = (_mirrored(expr, name, s) for s in (1, -1))
    return "even" if even else "odd" if odd else None


def _mirrored(expr: Expr, name: str, sign: int) -> bool:
    """Whether f(-x) = sign f(x), by a choice at x > 0 or x >= 0 (the sides then agree at 0) whose sides mirror."""
    if expr.op != "where":
        return False
    cond, yes, no = expr.args
    if cond.op not in ("gt", "ge"):
        return False
    flipped = simplify(yes.substitute({name: -var(name)}))
    wanted = flipped if sign > 0 else simplify(tree.neg(flipped))
    a, b = cond.args
    at_zero = (a.op == "var" and value_of(b) == 0.0) or (b.op == "var" and value_of(a) == 0.0)
    return at_zero and wanted is no and (sign > 0 or cond.op == "gt")


def homogeneity(expr: Expr, name: str) -> float | None:
    """k where f(tx) = t^k f(x) for every t > 0, by the rules of composition; None where they do not say."""
    degree: dict[Expr, float | None] = {}
    for n in expr.walk():
        got = [degree[a] for a in n.args]
        if name not in n.variables():
            degree[n] = 0.0
        elif not n.args:
            degree[n] = 1.0
        elif any(g is None for g in got):
            degree[n] = None
        elif n.op in ("mul", "div"):
            degree[n] = got[0] + got[1] if n.op == "mul" else got[0] - got[1]  # type: ignore[operator]
        elif n.op in ("add", "sub", "maximum", "minimum"):
            degree[n] = _equal(n, got)
        elif n.op in ("gt", "ge"):
            degree[n] = 0.0 if _equal(n, got) is not None else None
        elif n.op == "where":
            degree[n] = _equal(Expr("add", n.args[1:]), got[1:]) if got[0] == 0.0 else None
        elif n.op in _DEGREE_ONE:
            degree[n] = got[0]
        elif n.op == "sign":
            degree[n] = 0.0
        elif n.op == "sqrt" and got[0] is not None:
            degree[n] = 0.5 * got[0]
        elif n.op == "pow" and value_of(n.args[1]) is not None and got[0] is not None:
            degree[n] = got[0] * float(value_of(n.args[1]) or 0.0)
        else:
            degree[n] = 0.0 if all(g == 0.0 for g in got) else None
    return degree[expr]


def _equal(n: Expr, got: list[float | None]) -> float | None:
    """The degree of a sum: that of its terms, where zero has every degree."""
    kept = {g for a, g in zip(n.args, got) if value_of(a) != 0.0}
    return kept.pop() if len(kept) == 1 else None

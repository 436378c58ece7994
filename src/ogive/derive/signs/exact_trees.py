"""Derivatives of a formula without a rounded constant, for proofs.

Constants that arithmetic on them could round (all but powers of two, and short exponents) are taken out of the tree
before it is differentiated and stand in it as variables of known value; 2/sqrt(pi), the one rounded constant among the
table's partials, is an interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

from ogive import expr as tree
from ogive.expr import Expr, const, rebuild, var
from ogive.ops import OPS
from ogive.rewrite import simplify

TWO_OVER_SQRT_PI = (1.1283791670955126, 1.1283791670955128)  # 1.12837916709551257389...
ROUNDED = "#2/sqrt(pi)"


def _short(value: float) -> bool:
    return (value * 1024.0).is_integer() and abs(value) <= 1024.0


def kept(value: float) -> bool:
    return value == 0.0 or abs(math.frexp(value)[0]) == 0.5


def lifted(expr: Expr) -> tuple[Expr, dict[str, float]]:
    """``expr`` with its inexact constants as variables, and their values."""
    values: dict[str, float] = {}

    def build(node: Expr, args: tuple[Expr, ...]) -> Expr:
        fresh = [_lift(a, values, node.op == "pow" and i == 1) for i, a in enumerate(args)]
        return rebuild(node, tuple(fresh))

    return _lift(expr.map(lambda leaf: leaf, build), values, False), values


def _lift(node: Expr, values: dict[str, float], exponent: bool) -> Expr:
    if node.op != "const":
        return node
    value = float(node.data)  # type: ignore[arg-type]
    if kept(value) or (exponent and _short(value)):
        return node
    name = f"#{value!r}"
    values[name] = value
    return var(name)


@lru_cache(maxsize=4096)
def slope_tree(expr: Expr, name: str) -> Expr:
    """d ``expr`` / d ``name`` of a lifted tree, without a rounded constant."""
    zero = const(0.0)
    rate = var(ROUNDED)
    derivative: dict[Expr, Expr] = {}
    for node in expr.walk():
        if not node.args:
            derivative[node] = const(1.0) if node.op == "var" and node.data == name else zero
            continue
        inner = [derivative[a] for a in node.args]
        if all(d is zero for d in inner):
            derivative[node] = zero
        elif node.op == "where":
            derivative[node] = tree.where(node.args[0], inner[1], inner[2])
        elif node.op in ("erf", "erfc"):
            bell = rate * Expr("exp", (-(node.args[0] * node.args[0]),)) * inner[0]
            derivative[node] = bell if node.op == "erf" else -bell
        else:
            total = zero
            for partial, d in zip(OPS[node.op].diff(node), inner):
                if partial is not None and d is not zero:
                    total = total + partial * d
            derivative[node] = total
    return _doubled(simplify(derivative[expr]))


def _doubled(expr: Expr) -> Expr:
    """sin(u) cos(u) as sin(2u)/2: one call, whose box ends at 1 where the product's does not."""

    def build(node: Expr, args: tuple[Expr, ...]) -> Expr:
        made = rebuild(node, args)
        if made.op != "mul":
            return made
        parts = _factors(made)
        for p in parts:
            if p.op == "sin" and (q := Expr("cos", p.args)) in parts:
                parts.remove(p)
                parts.remove(q)
                product = const(0.5) * Expr("sin", (2.0 * p.args[0],))
                for rest in parts:
                    product = product * rest
                return product
        return made

    return expr.map(lambda leaf: leaf, build)


def _factors(expr: Expr) -> list[Expr]:
    return _factors(expr.args[0]) + _factors(expr.args[1]) if expr.op == "mul" else [expr]


@lru_cache(maxsize=2048)
def exact_trees(expr: Expr, name: str, order: int) -> tuple[tuple[Expr, ...], Mapping[str, float]]:
    """``expr`` and its first ``order`` derivatives by ``name``, lifted, and the values of the lifted constants."""
    first, values = lifted(expr)
    trees = [first]
    for _ in range(order):
        trees.append(slope_tree(trees[-1], name))
    return tuple(trees), values

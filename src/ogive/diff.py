"""Symbolic differentiation: one forward sweep over the tree with the table's partials.

``where`` is differentiated branch by branch before anything is evaluated, so the branch not taken can never
leak a NaN; kinks take the table's convention (the second argument of a tie: relu'(0) = 0).
"""

from __future__ import annotations

from functools import lru_cache

from ogive import expr as tree
from ogive.expr import Expr, const
from ogive.ops import OPS
from ogive.rewrite import simplify


@lru_cache(maxsize=8192)
def differentiate(expr: Expr, name: str) -> Expr:
    """d ``expr`` / d ``name``, in stable form.

    >>> from ogive.parse import parse
    >>> str(differentiate(parse("x*sigmoid(x)"), "x"))
    'sigmoid(x) + 0.25*(x*sech2(0.5*x))'
    """
    # Forward accumulation over the DAG: each node's derivative once, shared by identity.
    zero = const(0.0)
    derivative: dict[Expr, Expr] = {}
    for node in expr.walk():
        if not node.args:
            derivative[node] = const(1.0) if node.op == "var" and node.data == name else zero
            continue
        inner = [derivative[a] for a in node.args]
        if all(d is zero for d in inner):
            derivative[node] = zero
            continue
        if node.op == "where":  # branch by branch
            derivative[node] = tree.where(node.args[0], inner[1], inner[2])
            continue
        total = zero
        for partial, d in zip(OPS[node.op].diff(node), inner):
            if partial is not None and d is not zero:
                total = total + partial * d
        derivative[node] = total
    return simplify(derivative[expr])

"""Derivatives as activations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ogive.activation import Activation
from ogive.diff import differentiate
from ogive.errors import ParameterError
from ogive.lookup import get
from ogive.rewrite import simplify


def derivative(spec: Any, order: int = 1) -> Activation:
    """The ``order``-th derivative by the (first) input, an activation with the same parameters.

    A declared surrogate is what its first derivative is; beyond it the surrogate is differentiated.

    >>> derivative("x*x")
    <Activation unnamed: 2*x>
    """
    act = get(spec)
    if not isinstance(order, int) or isinstance(order, bool) or order < 0:
        raise ParameterError(f"derivative of {act.label}: order={order!r}; it takes an integer from 0")
    expr = act.expr
    for i in range(order):
        declared = act.backward if i == 0 else None
        expr = differentiate(expr, act.inputs[0]) if declared is None else simplify(declared)
    if order == 0:
        return act
    free = expr.variables()
    return replace(act, written=expr, name=None, aliases=(), same_as=None, backward=None,
                   params={k: p for k, p in act.params.items() if k in free})  # fmt: skip

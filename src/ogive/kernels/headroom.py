"""Float32 overflows at 3e38: products are ordered so that a finite result has finite partial products.

``x*(3 + 0.5*...)`` may pass through a number six times its result, and 30*x is infinite where sin(30*x) is
not. In float64 nothing of this shows below 1e308; the same formula run in float32 needs the two cures here:
bounded factors and constants are multiplied first, and a sine or cosine of a product reduces a huge argument
before the product overflows.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from functools import lru_cache

from ogive.expr import Expr, const, rebuild, value_of, where
from ogive.kernels.canonical import canonical
from ogive.ops import OPS

Interval = tuple[float, float]
_EVERYTHING: Interval = (-math.inf, math.inf)
# A parameter is a finite number of moderate size; which one is not known when a formula is prepared.
_PARAMETER: Interval = (-1e4, 1e4)
_POSITIVE: Interval = (0.0, 1e4)


def _product(p: Interval, q: Interval) -> Interval:
    ends = [0.0 if 0.0 in (a, b) else a * b for a in p for b in q]
    return min(ends), max(ends)


def _interval(node: Expr, a: list[Interval]) -> Interval:
    op = node.op
    if op == "add":
        return a[0][0] + a[1][0], a[0][1] + a[1][1]
    if op == "sub":
        return a[0][0] - a[1][1], a[0][1] - a[1][0]
    if op == "neg":
        return -a[0][1], -a[0][0]
    if op == "mul":
        low, high = _product(a[0], a[1])
        return (max(low, 0.0), high) if node.args[0] is node.args[1] else (low, high)
    if op == "div" and node.args[1].op == "hypot1" and node.args[1].args[0] in (node.args[0], *node.args[0].args):
        return -1.0, 1.0  # u/hypot1(u) and |u|/hypot1(u)
    if op == "div" and a[1][0] > 0.0:
        return _product(a[0], (1.0 / a[1][1] if a[1][1] < math.inf else 0.0, 1.0 / a[1][0]))
    if op == "where":
        return min(a[1][0], a[2][0]), max(a[1][1], a[2][1])
    if op in ("maximum", "minimum"):
        choose = max if op == "maximum" else min
        return choose(a[0][0], a[1][0]), choose(a[0][1], a[1][1])
    if op == "abs":
        return max(a[0][0], -a[0][1], 0.0), max(-a[0][0], a[0][1])
    if op == "exp":
        return (math.exp(min(a[0][0], 700.0)), math.exp(a[0][1])) if a[0][1] < 700.0 else (0.0, math.inf)
    if op == "log1p" and a[0][0] >= 0.0:
        return 0.0, math.inf
    if op == "pow" and a[1][0] == a[1][1] and a[1][0] % 2.0 == 0.0:
        return 0.0, math.inf
    return OPS[op].facts.range or _EVERYTHING


def _intervals(expr: Expr, data: Collection[str], positive: Collection[str]) -> dict[Expr, Interval]:
    found: dict[Expr, Interval] = {}
    for node in expr.walk():
        if node.op == "const":
            value = float(node.data)  # type: ignore[arg-type]
            found[node] = (value, value)
        elif node.op == "var":
            found[node] = _EVERYTHING if node.data in data else _POSITIVE if node.data in positive else _PARAMETER
        else:
            low, high = _interval(node, [found[a] for a in node.args])
            if math.isnan(low) or math.isnan(high):
                low, high = _EVERYTHING
            if not node.variables() & set(data):  # of parameters only: a number of moderate size
                low, high = max(low, _PARAMETER[0]), min(high, _PARAMETER[1])
            found[node] = low, high
    return found


def _factors(expr: Expr) -> list[Expr]:
    return _factors(expr.args[0]) + _factors(expr.args[1]) if expr.op == "mul" else [expr]


@lru_cache(maxsize=8192)
def within_range(expr: Expr, data: tuple[str, ...], positive: tuple[str, ...] = ()) -> Expr:
    """``expr`` arranged for float32; ``data`` names the variables that may be as large as the dtype allows, the
    others are parameters of moderate size, ``positive`` those known to be positive.

    >>> from ogive.parse import parse
    >>> str(within_range(parse("0.6*(x*atan(x))"), ("x",))), str(within_range(parse("sin(w*x)"), ("x",)))
    ('x*(atan(x)*0.6)', 'sin(w*where(abs(x) > 1e+30, 1e-20*x, x))')
    """
    size = _intervals(expr, data, positive)
    new: dict[Expr, Expr] = {}
    for node in expr.walk():
        if node.op == "mul":
            new[node] = _ordered(node, size, new)
        elif node.op == "div" and node.args[0].op == "mul" and max(map(abs, size[node.args[1]])) < math.inf:
            # (a*b)/c with a moderate c: c divides the bounded part
            parts = _factors(node.args[0])
            small = [f for f in parts if _bounded(size[f])]
            large = [f for f in parts if not _bounded(size[f])]
            if small and large:
                head = Expr("div", (_chain([new[f] for f in small]), new[node.args[1]]))
                new[node] = _chain([*(new[f] for f in large), head])
            else:
                new[node] = rebuild(node, tuple(new[a] for a in node.args))
        elif node.op in ("sin", "cos") and node.args[0].op == "mul":
            new[node] = Expr(node.op, (_near(node.args[0], size, new),))
        elif node.args:
            args = tuple(new[a] for a in node.args)
            new[node] = node if args == node.args else Expr(node.op, args, node.data)
        else:
            new[node] = node
    return new[expr]


def prepared(expr: Expr, names: tuple[str, ...], defaults: tuple[float, ...]) -> Expr:
    """What float32 should run for a :class:`~ogive.kernels.Form`: the canonical form within range.

    ``defaults`` are typical values of all ``names`` but the first, as in a Form; they tell which parameters are
    positive, which decides only the order of multiplications.
    """
    positive = tuple(n for n, v in zip(names[1:], defaults) if v > 0.0)
    return within_range(canonical(expr), names[:1], positive)


def _bounded(interval: Interval) -> bool:
    return max(map(abs, interval)) < math.inf


def _chain(parts: list[Expr]) -> Expr:
    """The product of ``parts``, the last two multiplied first, unfolded: folding would move constants out."""
    result = parts[-1]
    for p in parts[-2::-1]:
        result = Expr("mul", (p, result))
    return result


def _ordered(node: Expr, size: dict[Expr, Interval], new: dict[Expr, Expr]) -> Expr:
    parts = _factors(node)
    small = [f for f in parts if _bounded(size[f])]
    large = [f for f in parts if not _bounded(size[f])]
    constants = [f for f in small if value_of(f) is not None]
    rest = [f for f in small if value_of(f) is None]
    if not rest or not large or len(parts) < 3:
        return Expr("mul", (new[node.args[0]], new[node.args[1]]))
    return _chain([new[f] for f in (*large, *rest, *constants)])


# Neighbouring numbers of 1e30 are many periods apart, in every dtype: which of them is meant decides nothing.
# An infinite argument stays infinite, so the sine of it stays NaN.
_HUGE, _BACK = const(1e30), const(1e-20)


def _near(product: Expr, size: dict[Expr, Interval], new: dict[Expr, Expr]) -> Expr:
    parts = _factors(product)
    done = [
        new[f] if _bounded(size[f]) else where(Expr("gt", (Expr("abs", (new[f],)), _HUGE)), _BACK * new[f], new[f])
        for f in parts
    ]
    return _chain(done)

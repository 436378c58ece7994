"""Whether a formula is continuous at a break: both one-sided values exactly, as polynomials in unknown constants.

At a rational point every primitive of rational arithmetic is exact, a function at 0 has its known value, and any other
value of a function is a constant named by the function and its exact argument: tanh(a) from the left and tanh(a) from
the right are then the same name. Two sides that agree are equal; two that differ only in names may still be.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from ogive import expr as tree
from ogive import intervals as iv
from ogive.breaks import affine
from ogive.derive.signs.enclosure import Enclosure
from ogive.errors import FormulaError
from ogive.expr import Expr
from ogive.intervals import Box

Monomial = tuple[Any, ...]
Value = dict[Monomial, Fraction]  # a polynomial in named constants; () is the constant term

_AT_ZERO: dict[str, int | Fraction] = {
    "exp": 1, "cos": 1, "cosh": 1, "sech2": 1, "hypot1": 1, "sqp": 1, "sqp1": 1, "erfc": 1, "sigmoid": Fraction(1, 2),
    "Phi": Fraction(1, 2),
    **dict.fromkeys(("expm1", "log1p", "sin", "tan", "atan", "sinh", "tanh", "asinh", "logcosh", "tanhshrink", "erf",
                     "softsign", "hypotm1", "isru", "sqrt"), 0),
}  # fmt: skip
_ODD = {"sin", "tan", "atan", "sinh", "tanh", "asinh", "tanhshrink", "erf", "softsign", "isru"}
_EVEN = {"cos", "cosh", "sech2", "logcosh", "phi", "hypot1", "hypotm1"}


def _rational(v: Value) -> Fraction | None:
    return v.get((), Fraction(0)) if set(v) <= {()} else None


def _plus(a: Value, b: Value, sign: int = 1) -> Value:
    total = dict(a)
    for m, k in b.items():
        total[m] = total.get(m, Fraction(0)) + sign * k
    return {m: k for m, k in total.items() if k}


def _times(a: Value, b: Value) -> Value:
    total: Value = {}
    for m, j in a.items():
        for n, k in b.items():
            key = tuple(sorted(m + n, key=repr))
            total[key] = total.get(key, Fraction(0)) + j * k
    return {m: k for m, k in total.items() if k}


def _named(op: str, *args: Value) -> Value:
    return {((op, *(tuple(sorted(a.items(), key=repr)) for a in args)),): Fraction(1)}


def _function(node: Expr, a: Value) -> Value:
    at = _rational(a)
    if at == 0 and node.op in _AT_ZERO:
        return {(): Fraction(_AT_ZERO[node.op])} if _AT_ZERO[node.op] else {}
    if at == 1 and node.op == "log":
        return {}
    if at is not None and at < 0 and node.op in _ODD | _EVEN:
        flipped = _named(node.op, {(): -at})
        return _times({(): Fraction(-1)}, flipped) if node.op in _ODD else flipped
    return _named(node.op if node.data is None else f"{node.op}{node.data}", a)


def one_sided(
    root: Expr, x: str, at: Fraction, known: Mapping[str, Fraction], side: Mapping[Expr, Any]
) -> Value | None:
    """The value of ``root`` as x tends to ``at`` from the side on which choices are as ``side`` says; None where one
    is open there."""
    value: dict[Expr, Value | None] = {}

    def of(n: Expr) -> Value | None:
        if n not in value:
            value[n] = step(n)
        return value[n]

    def step(n: Expr) -> Value | None:
        if n.op == "const":
            return {(): Fraction(float(n.data))} if n.data else {}
        if n.op == "var":
            v = at if n.data == x else known.get(str(n.data))
            return None if v is None else ({(): v} if v else {})
        if n.op == "where":
            cond = side.get(n.args[0])
            return None if cond is None else of(n.args[1] if cond else n.args[2])
        if n.op in ("maximum", "minimum"):
            which = side.get(n)
            return None if which is None else of(n.args[which])
        if n.op in ("sign", "floor", "round"):
            whole = side.get(n)
            return None if whole is None else ({(): Fraction(whole)} if whole else {})
        args = [of(a) for a in n.args]
        if any(a is None for a in args):
            return None
        a: list[Value] = args  # type: ignore[assignment]
        if n.op in ("add", "sub"):
            return _plus(a[0], a[1], 1 if n.op == "add" else -1)
        if n.op == "neg":
            return _times({(): Fraction(-1)}, a[0])
        if n.op == "abs":
            sign = side.get(n)
            return None if sign is None else _times({(): Fraction(sign)}, a[0])
        if n.op == "mul":
            return _times(a[0], a[1])
        if n.op == "div":
            below = _rational(a[1])
            return _times(a[0], {(): 1 / below} if below else _named("reciprocal", a[1])) if below != 0 else None
        if n.op == "pow":
            return _power(a[0], a[1])
        if n.op == "xlogy" and not a[0]:
            return {}
        return _function(n, a[0]) if len(a) == 1 else _named(n.op, *a)

    return of(root)


def _power(base: Value, exponent: Value) -> Value | None:
    k, b = _rational(exponent), _rational(base)
    if b in (0, 1) and k is not None and k > 0:
        return base
    if k is None or k.denominator != 1 or abs(k) > 64:
        return _named("pow", base, exponent)
    result: Value = {(): Fraction(1)}
    for _ in range(abs(int(k))):
        result = _times(result, base)
    if k < 0:
        below = _rational(result)
        return None if below == 0 else _named("reciprocal", result) if below is None else {(): 1 / below}
    return result


def decisions(f: Enclosure, lo: float, hi: float, which: int = 0) -> dict[Expr, Any]:
    """How every choice in a tree falls on all of [lo, hi]; those that are open are left out."""
    nodes = f.nodes(iv.box(lo, hi), (which,))
    found: dict[Expr, Any] = {}
    for n in f.trees[which].walk():
        box = nodes.get(n)
        if n.op in ("gt", "ge") and box is not None and box[0, 0] == box[1, 0]:
            found[n] = bool(box[0, 0])
        elif n.op in ("sign", "floor", "round") and box is not None and box[0, 0] == box[1, 0]:
            found[n] = int(box[0, 0])
        elif n.op == "abs":
            a = nodes[n.args[0]]
            if a[0, 0] >= 0.0 or a[1, 0] <= 0.0:
                found[n] = 1 if a[0, 0] >= 0.0 else -1
        elif n.op in ("maximum", "minimum"):
            a, b = (nodes[v] for v in n.args)
            if a[0, 0] >= b[1, 0] or b[0, 0] >= a[1, 0]:
                found[n] = int((a[0, 0] >= b[1, 0]) != (n.op == "maximum"))
    return found


def around(f: Enclosure, lo: float, hi: float) -> tuple[Fraction, tuple[Mapping[Expr, Any], ...]] | None:
    """The one break in the sliver [lo, hi], and how choices fall below, at and above it; None where not proved."""
    known = f.rationals()
    left, right = decisions(f, float(np.nextafter(lo, -np.inf)), lo), decisions(f, hi, float(np.nextafter(hi, np.inf)))
    at = _where(f.trees[0], f.name, left, right, known)
    if at is None or not Fraction(lo) <= at <= Fraction(hi):
        return None
    here = dict(left)
    for n in f.trees[0].walk():
        if n.op in ("gt", "ge"):
            a, b = (one_sided(v, f.name, at, known, left) for v in n.args)
            gap = None if a is None or b is None else _rational(_plus(a, b, -1))
            if gap is None:
                continue
            here[n] = gap > 0 or (gap == 0 and n.op == "ge")
        elif n.op in ("sign", "floor", "round") and left.get(n) != right.get(n):
            a = one_sided(n.args[0], f.name, at, known, left)
            v = None if a is None else _rational(a)
            if v is None:
                return None
            here[n] = (v > 0) - (v < 0) if n.op == "sign" else v.__floor__() if n.op == "floor" else round(v)
    return at, (left, here, right)


def continuous(f: Enclosure, lo: float, hi: float) -> bool:
    """Whether the first tree is proved continuous on the sliver [lo, hi], which holds one break."""
    found = around(f, lo, hi)
    if found is None:
        return False
    at, choices = found
    sides = [one_sided(f.trees[0], f.name, at, f.rationals(), s) for s in choices]
    return sides[0] is not None and sides[0] == sides[1] == sides[2]


def break_values(f: Enclosure, lo: float, hi: float) -> Box | None:
    """What f can be on the sliver [lo, hi] below, at and above the one break in it; None where there may be more.

    One enclosure over the break takes the branches for values between them: exp(-u^2) with u = 3 on one side and -3
    on the other would reach 1.
    """
    found = around(f, lo, hi)
    if found is None:
        return None
    inner = decisions(f, lo, hi)
    if any(n.op in _CHOICES and n not in inner and any(n not in s for s in found[1]) for n in f.trees[0].walk()):
        return None
    try:
        trees = [_chosen(f.trees[0], side) for side in found[1]]
    except FormulaError:
        return None
    boxes = [Enclosure((t,), f.name, f.values)(iv.box(lo, hi)).boxes[0] for t in trees]
    return iv.hull(iv.hull(boxes[0], boxes[1]), boxes[2])


def kink_slopes(f: Enclosure, lo: float, hi: float) -> Box | None:
    """What f' can be on the sliver [lo, hi] on either side of the one break in it; None where there may be more."""
    below, above = float(np.nextafter(lo, -np.inf)), float(np.nextafter(hi, np.inf))
    left, right = decisions(f, below, lo, 1), decisions(f, hi, above, 1)
    if _where(f.trees[1], f.name, left, right, f.rationals()) is None:
        return None
    inner = decisions(f, lo, hi, 1)
    open_ = [n for n in f.trees[1].walk() if n.op in _CHOICES and n not in inner]
    if any(n not in left or n not in right or left[n] == right[n] for n in open_):
        return None
    try:
        trees = [_chosen(f.trees[1], side) for side in (left, right)]
    except FormulaError:  # a power of a constant side, without a value there
        return None
    sides = [Enclosure((t,), f.name, f.values)(iv.box(lo, hi)).boxes[0] for t in trees]
    return iv.hull(sides[0], sides[1])


_CHOICES = ("gt", "ge", "sign", "floor", "round", "abs", "maximum", "minimum")


def _where(
    root: Expr, x: str, left: Mapping[Expr, Any], right: Mapping[Expr, Any], known: Mapping[str, Fraction]
) -> Fraction | None:
    """The one point where the choices that fall differently on the two sides change; None unless it is one."""
    places: set[Fraction] = set()
    for n in root.walk():
        if left.get(n) == right.get(n) or n.op not in _CHOICES:
            continue
        level = Fraction(0)
        if n.op in ("floor", "round"):
            level = Fraction(max(left[n], right[n])) if n.op == "floor" else Fraction(left[n] + right[n], 2)
        switch = tree.sub(*n.args) if len(n.args) == 2 else n.args[0]
        line = affine(_chosen(switch, left), x)
        if line is None:
            return None
        slope, intercept = (one_sided(e, x, Fraction(0), known, left) for e in line)
        k = None if slope is None or intercept is None else (_rational(slope), _rational(intercept))
        if k is None or not k[0] or k[1] is None:
            return None
        places.add((level - k[1]) / k[0])
    return places.pop() if len(places) == 1 else None


def _chosen(expr: Expr, side: Mapping[Expr, Any]) -> Expr:
    """``expr`` with the choices that ``side`` decides made."""

    def build(node: Expr, args: tuple[Expr, ...]) -> Expr:
        if node.op == "abs" and node in side:
            return args[0] if side[node] > 0 else tree.neg(args[0])
        if node.op in ("maximum", "minimum") and node in side:
            return args[side[node]]
        if node.op == "where" and node.args[0] in side:
            return args[1 if side[node.args[0]] else 2]
        if node.op in ("sign", "floor", "round") and node in side:
            return tree.const(float(side[node]))
        return tree.rebuild(node, args)

    return expr.map(lambda leaf: leaf, build)

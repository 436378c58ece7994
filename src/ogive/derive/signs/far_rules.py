"""Rules of functions on scaled boxes: g(u) = c exp(p) for u on one side of zero, and g(u) = u^k q for small u."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from ogive import intervals as iv
from ogive.derive.signs.scaled import Mixed, Scaled, number, powers
from ogive.expr import Expr
from ogive.intervals import Box

if TYPE_CHECKING:
    from ogive.derive.signs.asymptotic import Tail

# Functions of a large argument. Each gives c and p on its decaying (or growing) side and None elsewhere.


def _side(t: Tail, node: Expr) -> tuple[Box, int]:
    """The argument's box, and the side of 0 it lies on: 0 where it is not large."""
    u = t.box(node.args[0])
    if (u[1] <= -1.0).all():
        return u, -1
    if (u[0] >= 1.0).all():
        return u, 1
    if ((u[1] <= -1.0) | (u[0] >= 1.0)).any():
        raise Mixed
    return u, 0


def _exp(t: Tail, node: Expr) -> Scaled | None:
    _, side = _side(t, node)
    if not side:
        return None
    # exp of a multiple of softplus(v) or logcosh(v) at large v is exp(v) times what is left of it.
    c, p = np.ones((2, t.n)), dict(t.linear(node.args[0]))
    for atom, k in list(p.items()):
        if atom.op not in ("softplus", "logcosh"):
            continue
        v = np.broadcast_to(t.atom(atom.args[0]), (2, t.n))
        up, down = (v[0] >= 1.0).all(), (v[1] <= -1.0).all() and atom.op == "logcosh"
        if up or down:
            del p[atom]
            if atom.op == "softplus":
                rest = iv.softplus(iv.neg(v))
            else:
                rest = iv.sub(iv.softplus(iv.mul(number(-2.0), iv.abs_(v))), iv.log(number(2.0)))
            c = iv.mul(c, iv.exp(iv.mul(number(k), rest)))
            for inner, q in t.linear(atom.args[0]).items():
                p[inner] = p.get(inner, Fraction(0)) + (k * q if up else -k * q)
    return Scaled(np.broadcast_to(c, (2, t.n)), powers(p))


def _expm1(t: Tail, node: Expr) -> Scaled | None:
    u, side = _side(t, node)
    if side < 1:
        return None
    return Scaled(iv.neg(iv.expm1(iv.neg(u))), powers(t.linear(node.args[0])))


def _sigmoid(t: Tail, node: Expr) -> Scaled | None:
    u, side = _side(t, node)
    return Scaled(iv.sigmoid(iv.neg(u)), powers(t.linear(node.args[0]))) if side < 0 else None


def _softplus(t: Tail, node: Expr) -> Scaled | None:
    # log(1 + w)/w lies between 1 - w/2 and 1; on the right it is u (1 + softplus(-u)/u).
    u, side = _side(t, node)
    if side > 0:
        return _times_argument(t, node, iv.add(number(1.0), iv.div(iv.softplus(iv.neg(u)), u)))
    if side == 0:
        return None
    half = iv.mul(number(0.5), iv.exp(u))
    return Scaled(np.array([1.0 - np.nextafter(half[1], 1.0), np.ones(t.n)]), powers(t.linear(node.args[0])))


def _times_argument(t: Tail, node: Expr, q: Box) -> Scaled:
    s = t.known[node.args[0]]
    return Scaled(iv.mul(s.c, q), s.p)


def _logcosh(t: Tail, node: Expr) -> Scaled | None:
    # |u| - log 2 + log(1 + exp(-2|u|))
    u, side = _side(t, node)
    if not side:
        return None
    size = iv.abs_(u)
    rest = iv.sub(iv.softplus(iv.mul(number(-2.0), size)), iv.log(number(2.0)))
    return _times_argument(t, node, iv.mul(number(float(side)), iv.add(number(1.0), iv.div(rest, size))))


def _tanhshrink(t: Tail, node: Expr) -> Scaled | None:
    u, side = _side(t, node)
    return _times_argument(t, node, iv.sub(number(1.0), iv.div(iv.tanh(u), u))) if side else None


def _sech2(t: Tail, node: Expr) -> Scaled | None:
    u, side = _side(t, node)
    if not side:
        return None
    s = iv.sigmoid(iv.mul(number(2.0), iv.abs_(u)))
    return Scaled(iv.mul(number(4.0), iv.square(s)), powers(t.linear(node.args[0]), Fraction(-2 * side)))


_BELL = iv.box(0.3989422804014326, 0.39894228040143276)


def _phi(t: Tail, node: Expr) -> Scaled | None:
    _, side = _side(t, node)
    return Scaled(np.broadcast_to(_BELL, (2, t.n)), powers(t.square(node.args[0]), Fraction(-1, 2))) if side else None


def _mills(t: Box) -> Box:
    """(1 - Phi(t))/phi(t) for t > 0: between 2/(t + sqrt(t^2 + 4)) (Birnbaum 1942) and 4/(3t + sqrt(t^2 + 8))
    (Sampford 1953)."""

    def bound(a: float, b: float, k: float) -> Box:
        root = iv.mul(t, iv.sqrt(iv.add(number(1.0), iv.div(number(b), iv.square(t)))))
        return iv.div(number(a), iv.add(iv.mul(number(k), t), root))

    return np.array([bound(2.0, 4.0, 1.0)[0], bound(4.0, 8.0, 3.0)[1]])


def _Phi(t: Tail, node: Expr) -> Scaled | None:
    u, side = _side(t, node)
    if side >= 0:
        return None
    return Scaled(iv.mul(_BELL, _mills(iv.neg(u))), powers(t.square(node.args[0]), Fraction(-1, 2)))


def _erfc(t: Tail, node: Expr) -> Scaled | None:
    u, side = _side(t, node)
    if side < 1:
        return None
    # erfc(u) = 2 (1 - Phi(sqrt(2) u)) = sqrt(2/pi) mills(sqrt(2) u) exp(-u^2)
    root2 = iv.box(1.414213562373095, 1.4142135623730951)
    return Scaled(
        iv.mul(iv.mul(number(2.0), _BELL), _mills(iv.mul(root2, u))), powers(t.square(node.args[0]), Fraction(-1))
    )


def _hypot1(t: Tail, node: Expr) -> Scaled | None:
    # |u| sqrt(1 + 1/u^2)
    u, side = _side(t, node)
    if not side:
        return None
    root = iv.sqrt(iv.add(number(1.0), iv.reciprocal(iv.square(u))))
    s = t.known[node.args[0]]
    return Scaled(iv.mul(iv.abs_(s.c), root), s.p)


def _hypotm1(t: Tail, node: Expr) -> Scaled | None:
    # |u| (sqrt(1 + 1/u^2) - 1/|u|)
    u, side = _side(t, node)
    if not side:
        return None
    root = iv.sqrt(iv.add(number(1.0), iv.reciprocal(iv.square(u))))
    s = t.known[node.args[0]]
    return Scaled(iv.mul(iv.abs_(s.c), iv.sub(root, iv.reciprocal(iv.abs_(u)))), s.p)


def _sqp(t: Tail, node: Expr) -> Scaled | None:
    # |u| (1 + r) on the right, 1/(|u| (1 + r)) on the left, r = sqrt(1 + 1/u^2)
    u, side = _side(t, node)
    if not side:
        return None
    root = iv.sqrt(iv.add(number(1.0), iv.reciprocal(iv.square(u))))
    s = t.known[node.args[0]]
    right = iv.mul(iv.abs_(s.c), iv.add(number(1.0), root))
    return Scaled(right, s.p) if side > 0 else Scaled(iv.reciprocal(right), tuple((a, -k) for a, k in s.p))


def _sqp1(t: Tail, node: Expr) -> Scaled | None:
    # on the left 1/(u^2 r (1 + r))
    u, side = _side(t, node)
    if side >= 0:
        return None
    root = iv.sqrt(iv.add(number(1.0), iv.reciprocal(iv.square(u))))
    s = t.known[node.args[0]]
    whole = iv.mul(iv.square(s.c), iv.mul(root, iv.add(number(1.0), root)))
    return Scaled(iv.reciprocal(whole), tuple((a, -2 * k) for a, k in s.p))


LARGE: dict[str, Callable[[Tail, Expr], Scaled | None]] = {
    "exp": _exp, "expm1": _expm1, "sigmoid": _sigmoid, "softplus": _softplus, "sech2": _sech2, "phi": _phi, "Phi": _Phi,
    "erfc": _erfc, "hypot1": _hypot1, "hypotm1": _hypotm1, "sqp": _sqp, "sqp1": _sqp1,
    "logcosh": _logcosh, "tanhshrink": _tanhshrink,
}  # fmt: skip


def _below(a: float, order: int) -> Callable[[Box], Box]:
    """[1 - a m^order, 1]."""
    return lambda m: np.array([iv.sub(number(1.0), iv.mul(number(a), iv.power(m, number(float(order)))))[0],
                               np.ones(m.shape[1])])  # fmt: skip


def _about(a: float, b: float, order: int) -> Callable[[Box], Box]:
    """[1 - a m^order, 1 + b m^order]."""

    def bounds(m: Box) -> Box:
        p = iv.power(m, number(float(order)))
        return np.array([iv.sub(number(1.0), iv.mul(number(a), p))[0], iv.add(number(1.0), iv.mul(number(b), p))[1]])

    return bounds


def _times(c: Box, f: Callable[[Box], Box]) -> Callable[[Box], Box]:
    return lambda m: iv.mul(c, f(m))


# g(u) = u^k q for |u| <= m <= reach, q in the box: the first terms of the Taylor series, whose remainders have the sign
# (tanh, sin, atan, asinh, erf, isru alternate) or the size (at m = 1: sinh 1.1752, tan 1.5575, expm1 1.7183) stated.
SMALL: dict[str, tuple[int, float, Callable[[Box], Box]]] = {
    "tanh": (1, 1.0, _below(0.34, 2)), "sin": (1, 1.0, _below(0.17, 2)), "atan": (1, 1.0, _below(0.34, 2)),
    "asinh": (1, 1.0, _below(0.17, 2)), "isru": (1, 1.0, _below(0.5, 2)), "softsign": (1, 1.0, _below(1.0, 1)),
    "sinh": (1, 1.0, _about(0.0, 0.18, 2)), "tan": (1, 1.0, _about(0.0, 0.56, 2)),
    "expm1": (1, 1.0, _about(0.5, 0.72, 1)), "log1p": (1, 0.5, _about(0.5, 0.8, 1)),
    "erf": (1, 1.0, _times(iv.box(1.1283791670955126, 1.1283791670955128), _below(0.34, 2))),
    "hypotm1": (2, 1.0, _times(number(0.5), _below(0.25, 2))),
    "logcosh": (2, 1.0, _times(number(0.5), _below(0.17, 2))),
    "tanhshrink": (3, 1.0, _times(iv.box(0.3333333333333333, 0.33333333333333337), _below(0.4, 2))),
}  # fmt: skip

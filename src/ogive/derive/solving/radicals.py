"""Expressions ``(P + T sqrt(q)) / Q`` of one variable: what a quadratic equation undoes.

P, T, Q and q are polynomials whose coefficients are expressions without the variable. ``f = y`` becomes
``(P - y Q)^2 = T^2 q``, which has at most two roots when its degree is at most two.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ogive.expr import Expr, const, value_of

Poly = tuple[Expr, ...]  # coefficients from the constant on, without zeros at the end
ZERO, ONE = const(0.0), const(1.0)
_HIGHEST = 4


class Beyond(Exception):
    """The expression is not of this kind."""


def trimmed(p: list[Expr]) -> Poly:
    """Without zeros at the end."""
    while p and value_of(p[-1]) == 0.0:
        p.pop()
    return tuple(p)


def plus(p: Poly, q: Poly, sign: float = 1.0) -> Poly:
    """``p + sign q``."""
    n = max(len(p), len(q))
    a, b = (list(c) + [ZERO] * (n - len(c)) for c in (p, q))
    return trimmed([u + v if sign > 0 else u - v for u, v in zip(a, b)])


def times(p: Poly, q: Poly) -> Poly:
    """``p q``; Beyond the fourth degree."""
    if not p or not q:
        return ()
    if len(p) + len(q) - 2 > _HIGHEST:
        raise Beyond
    total = [ZERO] * (len(p) + len(q) - 1)
    for i, a in enumerate(p):
        for j, b in enumerate(q):
            total[i + j] = total[i + j] + a * b
    return trimmed(total)


@dataclass(frozen=True)
class Radical:
    """``(p + t sqrt(root)) / q``; ``under`` says that it is ``p / (q sqrt(root))`` instead, with t zero."""

    p: Poly
    t: Poly = ()
    q: Poly = (ONE,)
    root: Poly | None = None
    under: bool = False

    def _with(self, other: Radical) -> Poly | None:
        if self.under or other.under:
            raise Beyond
        if self.root is not None and other.root is not None and self.root != other.root:
            raise Beyond
        return self.root or other.root

    def add(self, other: Radical, sign: float = 1.0) -> Radical:
        """``self + sign other``."""
        root = self._with(other)
        if self.q == other.q:
            return Radical(plus(self.p, other.p, sign), plus(self.t, other.t, sign), self.q, root)
        p = plus(times(self.p, other.q), times(other.p, self.q), sign)
        t = plus(times(self.t, other.q), times(other.t, self.q), sign)
        return Radical(p, t, times(self.q, other.q), root)

    def mul(self, other: Radical) -> Radical:
        """``self other``."""
        root = self._with(other)
        p = times(self.p, other.p)
        if self.t and other.t:
            p = plus(p, times(times(self.t, other.t), root or ()))
        t = plus(times(self.p, other.t), times(self.t, other.p))
        return Radical(p, t, times(self.q, other.q), root)

    def reciprocal(self) -> Radical:
        """``1 / self``, of a quotient or of a multiple of the root alone."""
        if self.under:
            return Radical((), self.q, self.p, self.root)
        if not self.t:
            return Radical(self.q, (), self.p, self.root)
        if not self.p:
            return Radical(self.q, (), self.t, self.root, under=True)
        raise Beyond

    def over(self, other: Radical) -> Radical:
        """``self / other``."""
        down = other.reciprocal()
        if down.under:
            if self.t or self.under:
                raise Beyond
            return replace(down, p=times(self.p, down.p), q=times(self.q, down.q))
        return self.mul(down)

    def sqrt(self) -> Radical:
        """``sqrt(self)`` of a polynomial."""
        if self.t or self.under or self.root is not None or len(self.q) != 1:
            raise Beyond
        scale = self.q[0]
        return Radical((), (ONE,), (ONE,), tuple(c / scale for c in self.p))

    def equation(self, y: Expr) -> Poly:
        """The polynomial that is zero where ``self = y``."""
        yq = tuple(y * c for c in self.q)
        if self.under:  # p = y q sqrt(root)
            return plus(times(self.p, self.p), times(times(yq, yq), self.root or ()), -1.0)
        free = plus(self.p, yq, -1.0)
        if not self.t:
            return free
        return plus(times(free, free), times(times(self.t, self.t), self.root or ()), -1.0)


def radical(expr: Expr, name: str) -> Radical:
    """``expr`` as a :class:`Radical` in the variable ``name``; raises :class:`Beyond`."""
    made: dict[Expr, Radical] = {}
    one = Radical((ONE,))
    for n in expr.walk():
        if n.op == "var" and n.data == name:
            made[n] = Radical((ZERO, ONE))
            continue
        if name not in n.variables():
            made[n] = Radical(trimmed([n]))
            continue
        a = made[n.args[0]]
        if n.op in ("add", "sub"):
            made[n] = a.add(made[n.args[1]], 1.0 if n.op == "add" else -1.0)
        elif n.op == "neg":
            made[n] = Radical(()).add(a, -1.0)
        elif n.op == "mul":
            made[n] = a.mul(made[n.args[1]])
        elif n.op == "div":
            made[n] = a.over(made[n.args[1]])
        elif n.op == "pow":
            made[n] = _power(a, value_of(n.args[1]))
        elif n.op == "sqrt":
            made[n] = a.sqrt()
        elif n.op in ("hypot1", "hypotm1", "isru", "sqp"):
            h = one.add(a.mul(a)).sqrt()
            made[n] = {
                "hypot1": lambda a, h: h, "hypotm1": lambda a, h: h.add(one, -1.0),
                "isru": lambda a, h: a.over(h), "sqp": lambda a, h: a.add(h),
            }[n.op](a, h)  # fmt: skip
        else:
            raise Beyond
    return made[expr]


def _power(a: Radical, exponent: float | None) -> Radical:
    if exponent in (0.5, -0.5):
        return a.sqrt() if exponent == 0.5 else a.sqrt().reciprocal()
    if exponent is None or not exponent.is_integer() or abs(exponent) > _HIGHEST:
        raise Beyond
    total = Radical((ONE,))
    for _ in range(abs(int(exponent))):
        total = total.mul(a)
    return total if exponent > 0 else total.reciprocal()

"""Signs where a value has underflowed: boxes with an exponential factored out.

Far out silu' = sigmoid(x) + x sech^2(x/2)/4 is smaller than any double, so its box [-tiny, tiny] has no sign. Here a
value is c exp(p): c a box, p a combination of subtrees with exact coefficients, {x: 1} for both terms of silu'.
Products add the p, a sum takes out the larger exponential, c1 + c2 exp(p2 - p1), and equal exponents cancel as symbols:
silu' is exp(x) (1/(1 + t) + x/(1 + t)^2) with t = exp(x), whose c is negative. The rules for functions bound
g(u)/exp(p) on one side of zero, and g(u)/u for small u.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from ogive import intervals as iv
from ogive.derive.signs.far_rules import LARGE, SMALL
from ogive.derive.signs.scaled import ONE, SIZE, Mixed, Powers, Scaled, number, parts, product, total
from ogive.expr import Expr, value_of
from ogive.intervals import Box


class Tail:
    """Scaled values of the nodes of one tree; ``plain`` holds ordinary enclosures of all nodes on the boxes."""

    def __init__(self, plain: Mapping[Expr, Box], x: Expr, n: int) -> None:
        self.plain, self.n, self.x = dict(plain), n, x
        at = self.plain[x]
        self.known: dict[Expr, Scaled] = {}
        side = 1.0 if (at[0] > 0.0).all() else -1.0 if (at[1] < 0.0).all() else 0.0
        if not side and n > 1:
            raise Mixed
        if side:
            self.plain[SIZE] = iv.log(iv.abs_(at))
            self.known[x] = Scaled(np.full((2, n), side), ((SIZE, Fraction(1)),))

    def of(self, tree: Expr) -> Scaled:
        for node in tree.walk(known=self.known):
            self.known[node] = self._node(node)
        return self.known[tree]

    def linear(self, expr: Expr) -> dict[Expr, Fraction]:
        """``expr`` as a combination of products, their factors in one order."""
        if expr.op in ("add", "sub"):
            found = self.linear(expr.args[0])
            for atom, k in self.linear(expr.args[1]).items():
                found[atom] = found.get(atom, Fraction(0)) + (k if expr.op == "add" else -k)
            return {a: k for a, k in found.items() if k}
        k, factors = self._factors(expr)
        sums = [f for f in factors if f.op in ("add", "sub")]
        if len(sums) == 1:
            factors.remove(sums[0])
            return {product([*factors, *self._factors(a)[1]]): k * c for a, c in self.linear(sums[0]).items()}
        return {product(factors): k} if k else {}

    def square(self, u: Expr) -> dict[Expr, Fraction]:
        """u*u as :meth:`linear` has it."""
        return self.linear(Expr("mul", (u, u)))

    def _factors(self, expr: Expr) -> tuple[Fraction, list[Expr]]:
        if expr.op == "const":
            return Fraction(float(expr.data)), []  # type: ignore[arg-type]
        if expr.op == "neg":
            k, factors = self._factors(expr.args[0])
            return -k, factors
        if expr.op == "mul":
            (k, left), (c, right) = (self._factors(a) for a in expr.args)
            return k * c, left + right
        if expr.op == "div":
            k, factors = self._factors(expr.args[0])
            return k, [*factors, Expr("div", (ONE, expr.args[1]))]
        if expr.op == "pow" and value_of(expr.args[1]) in (2.0, 3.0, 4.0):
            n = int(value_of(expr.args[1]) or 0)
            k, factors = self._factors(expr.args[0])
            return k**n, factors * n
        if expr.op in ("abs", "maximum", "minimum", "where"):
            return self._decided(expr)
        return Fraction(1), [expr]

    def _decided(self, expr: Expr) -> tuple[Fraction, list[Expr]]:
        """The side of a choice that all boxes are on."""
        args = [np.broadcast_to(self.atom(a), (2, self.n)) for a in expr.args]
        if expr.op == "abs":
            yes, no = (args[0][0] >= 0.0).all(), (args[0][1] <= 0.0).all()
            if yes or no:
                k, factors = self._factors(expr.args[0])
                return (k if yes else -k), factors
        elif expr.op == "where":
            yes, no = (args[0][0] == 1.0).all(), (args[0][1] == 0.0).all()
            if yes or no:
                return self._factors(expr.args[1 if yes else 2])
        else:
            yes, no = (args[0][0] >= args[1][1]).all(), (args[1][0] >= args[0][1]).all()
            if yes or no:
                return self._factors(expr.args[0 if yes == (expr.op == "maximum") else 1])
        return Fraction(1), [expr]

    def exponent(self, p: Mapping[Expr, Fraction] | Powers) -> Box:
        """The range of the combination ``p``: its part that is a polynomial in x by Horner's rule."""
        powers: dict[int, Box] = {}
        whole = np.zeros((2, self.n))
        for atom, k in dict(p).items():
            factors = parts(atom)
            degree = sum(f is self.x for f in factors)
            rest = [f for f in factors if f is not self.x]
            coefficient = number(k)
            if all(str(self.x.data) not in f.variables() for f in rest):
                for f in rest:
                    coefficient = iv.mul(coefficient, self.atom(f))
                powers[degree] = iv.add(powers[degree], coefficient) if degree in powers else coefficient
            else:
                whole = iv.add(whole, iv.mul(coefficient, self.atom(atom)))
        if powers:
            x, horner = self.plain[self.x], number(0.0)
            for degree in range(max(powers), -1, -1):
                horner = iv.add(iv.mul(horner, x), powers.get(degree, number(0.0)))
            whole = iv.add(whole, horner)
        return whole

    def atom(self, atom: Expr) -> Box:
        found = self.plain.get(atom)
        if found is None:
            if atom.op == "const":
                return number(float(atom.data))  # type: ignore[arg-type]
            args = [self.atom(a) for a in atom.args]
            square = atom.op == "mul" and atom.args[0] is atom.args[1]
            found = self.plain[atom] = iv.square(args[0]) if square else iv.RULES[atom.op](*args)
        return found

    def plainly(self, s: Scaled) -> Box:
        """The value as an ordinary box."""
        return s.c if not s.p else iv.mul(s.c, iv.exp(self.exponent(s.p)))

    def box(self, node: Expr) -> Box:
        """The value of a node already known, as an ordinary box."""
        plain = np.broadcast_to(self.plain[node], (2, self.n))
        return iv.meet(plain, np.broadcast_to(self.plainly(self.known[node]), (2, self.n)))

    def _usual(self, node: Expr) -> Scaled:
        return Scaled(np.broadcast_to(self.plain[node], (2, self.n)))

    def _node(self, node: Expr) -> Scaled:
        if not node.args or all(not self.known[a].p for a in node.args):
            rule = LARGE.get(node.op)
            found = rule(self, node) if rule else None
            return found or (self._again(node) if node.args and node.op not in ("gt", "ge") else self._usual(node))
        args = [self.known[a] for a in node.args]
        if node.op in ("add", "sub"):
            return self._sum(node, args[0], args[1] if node.op == "add" else Scaled(iv.neg(args[1].c), args[1].p))
        if node.op == "neg":
            return Scaled(iv.neg(args[0].c), args[0].p)
        if node.op == "mul":
            return Scaled(iv.mul(args[0].c, args[1].c), total(args[0].p, args[1].p, 1))
        if node.op == "div":
            return Scaled(iv.div(args[0].c, args[1].c), total(args[0].p, args[1].p, -1))
        if node.op == "pow" and not args[1].p:
            b = self.plain[node.args[1]]
            if b.shape[1] == 1 and b[0, 0] == b[1, 0]:
                k = Fraction(float(b[0, 0]))
                return Scaled(iv.power(args[0].c, b), tuple((a, q * k) for a, q in args[0].p))
        if node.op == "sqrt":
            return Scaled(iv.sqrt(args[0].c), tuple((a, q / 2) for a, q in args[0].p))
        if node.op == "abs":
            return Scaled(iv.abs_(args[0].c), args[0].p)
        if node.op == "log":
            fresh = iv.add(iv.log(args[0].c), self.exponent(args[0].p))
            return Scaled(iv.meet(np.broadcast_to(self.plain[node], (2, self.n)), fresh))
        if node.op in ("maximum", "minimum"):
            a, b = (self.box(v) for v in node.args)
            if (a[0] >= b[1]).all() or (b[0] >= a[1]).all():
                return args[0 if bool((a[0] >= b[1]).all()) == (node.op == "maximum") else 1]
            if self.n > 1:
                raise Mixed
            return self._usual(node)
        if node.op == "where":
            cond = np.broadcast_to(self.plain[node.args[0]], (2, self.n))
            if (cond == 1.0).all():
                return args[1]
            if (cond == 0.0).all():
                return args[2]
            raise Mixed
        small = SMALL.get(node.op)
        if small is not None:
            power, reach, bounds = small
            u = self.box(node.args[0])
            m = np.maximum(np.abs(u[0]), np.abs(u[1]))
            if (m <= reach).all():
                q = bounds(iv.box(m, m))
                return Scaled(
                    iv.mul(iv.power(args[0].c, number(power)), q), tuple((a, k * power) for a, k in args[0].p)
                )
        rule = LARGE.get(node.op)
        found = rule(self, node) if rule else None
        if found is None and node.op not in ("gt", "ge", "where", "maximum", "minimum"):
            boxes = [self.box(a) for a in node.args]
            fresh = iv.RULES[node.op](*boxes) if node.data is None else iv.RULES[node.op](*boxes, int(node.data))
            found = Scaled(iv.meet(np.broadcast_to(self.plain[node], (2, self.n)), np.broadcast_to(fresh, (2, self.n))))
        return found or self._usual(node)

    def _again(self, node: Expr) -> Scaled:
        """The rule for boxes on arguments that this pass may have made narrower."""
        args = [self.known[a].c for a in node.args]
        fresh = iv.RULES[node.op](*args) if node.data is None else iv.RULES[node.op](*args, int(node.data))
        return Scaled(iv.meet(np.broadcast_to(fresh, (2, self.n)), np.broadcast_to(self.plain[node], (2, self.n))))

    def _sum(self, node: Expr, a: Scaled, b: Scaled) -> Scaled:
        for s, other in ((a, b), (b, a)):
            if not s.c.any():
                return other
        gap = total(b.p, a.p, -1)
        if not gap:
            return Scaled(iv.add(a.c, b.c), a.p)
        d = self.exponent(gap)
        if (d[1] <= 0.0).all():
            return Scaled(iv.add(a.c, iv.mul(b.c, iv.exp(d))), a.p)
        if (d[0] >= 0.0).all():
            return Scaled(iv.add(b.c, iv.mul(a.c, iv.exp(iv.neg(d)))), b.p)
        if self.n > 1 and ((d[1] <= 0.0) | (d[0] >= 0.0)).any():
            raise Mixed
        return Scaled(iv.meet(np.broadcast_to(self.plain[node], (2, self.n)), iv.add(self.plainly(a), self.plainly(b))))


def far_out(tree: Expr, plain: Mapping[Expr, Box], x: Expr, n: int) -> tuple[Box, Box]:
    """Of ``tree`` on n boxes: a box with its sign (its c), and an enclosure; the whole line where none was found."""
    with np.errstate(all="ignore"):
        try:
            tail = Tail(plain, x, n)
            return np.broadcast_to(tail.of(tree).c, (2, n)), tail.box(tree)
        except Mixed:
            if n == 1:
                whole = iv.box(-np.inf, np.inf)
                return whole, whole
    # The boxes are sorted: halves lie on one side sooner or later.
    half = n // 2
    cut = [{k: v[:, s] if v.shape[1] == n else v for k, v in plain.items()} for s in (slice(0, half), slice(half, n))]
    left, right = far_out(tree, cut[0], x, half), far_out(tree, cut[1], x, n - half)
    return np.concatenate([left[0], right[0]], axis=1), np.concatenate([left[1], right[1]], axis=1)

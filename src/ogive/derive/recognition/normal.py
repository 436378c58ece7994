"""A normal form in which many ways to write one function become one: a polynomial over generators.

Generators are x and functions of polynomials: ``sigmoid``, ``softplus``, ``exp``, ``log``, ``erf``, ``sin``, ``step``,
sums to a power. tanh is 2 sigmoid(2u) - 1, max(u, v) is v + (u - v) step(u - v), a choice between p and q is
q + step (p - q), steps of affine arguments are cut and joined on the line, products of exponentials are one
exponential, squares of sines are sines. Coefficients are rows of numbers: the same formula at several values of its
parameters at once; decisions (signs, the order of thresholds) are those of the first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ogive.ops import OPS

Array = NDArray[np.float64]
Monomial = tuple[tuple[int, float], ...]  # (generator, exponent), sorted
Poly = dict[Monomial, Array]

_X = ((0, 1.0),)
_LOST = 1e-12  # a sum that is smaller, beside its terms, is zero
_MOST = 120  # terms of a polynomial


class TooLong(Exception):
    """The form has more terms than are worth comparing."""


@dataclass(frozen=True)
class Generator:
    """``op`` of polynomials; ``shape`` is what it looks like without its numbers."""

    op: str
    args: tuple[Poly, ...]
    shape: str


@dataclass
class Normal:
    """Polynomials over one list of generators, the first of which is x."""

    rows: int = 1
    generators: list[Generator] = field(default_factory=lambda: [Generator("x", (), "x")])

    def number(self, value: float | Array) -> Poly:
        """A constant."""
        row = np.broadcast_to(np.asarray(value, dtype=np.float64), (self.rows,))
        return {(): row} if row.any() else {}

    def add(self, p: Poly, q: Poly, factor: float | Array = 1.0) -> Poly:
        """p + factor q."""
        out = dict(p)
        for m, v in q.items():
            v = v * factor
            old = out.get(m)
            total = v if old is None else old + v
            if not (np.abs(total) > (0.0 if old is None else _LOST * (np.abs(old) + np.abs(v)))).any():
                out.pop(m, None)
            else:
                out[m] = total
        if len(out) > _MOST:
            raise TooLong
        return out

    def mul(self, p: Poly, q: Poly) -> Poly:
        """p q."""
        if len(p) * len(q) > 4 * _MOST:
            raise TooLong
        out: Poly = {}
        for m, u in p.items():
            for n, v in q.items():
                if not m or not n or (m[-1][0] == n[-1][0] == 0):
                    both = m or n if not (m and n) else ((0, m[0][1] + n[0][1]),)
                    term: Poly = {both if not both or both[0][1] else (): u * v}
                else:
                    term = self._reduced(m, n, u * v)
                out = self.add(out, term)
        return out

    def _reduced(self, m: Monomial, n: Monomial, coefficient: Array) -> Poly:
        """The product of two monomials, each kind of generator by its own law."""
        powers = dict(m)
        for g, e in n:
            powers[g] = powers.get(g, 0.0) + e
        return self._monomial(powers, coefficient)

    def _monomial(self, powers: dict[int, float], coefficient: Array) -> Poly:
        plain: dict[int, float] = {}
        steps: list[int] = []
        exponent: Poly | None = None
        others: list[Poly] = []
        exps = sum(self.generators[g].op == "exp" for g in powers)
        for g, e in powers.items():
            gen = self.generators[g]
            if e == 0.0:
                continue
            if gen.op == "step" and e > 0:
                (steps.append if self._affine(gen.args[0]) else lambda k: plain.__setitem__(k, 1.0))(g)
            elif gen.op == "exp" and (exps > 1 or e != 1.0):
                exponent = self.add(exponent or {}, gen.args[0], e)
            elif gen.op == "sum" and e > 0 and e.is_integer() and e <= 4:
                others.append(self.power(gen.args[0], int(e)))
            elif gen.op == "sin" and e >= 2.0 and e.is_integer():  # sin^2 u = (1 - cos 2u)/2
                twice = self.add(self.add({}, gen.args[0], 2.0), self.number(math.pi / 2))
                square = self.add(self.number(0.5), self.sine(twice), -0.5)
                others.append(self.power(square, int(e) // 2))
                if e % 2:
                    plain[g] = 1.0
            else:
                plain[g] = e
        if steps:  # of two steps up, the later one
            last = max(steps, key=lambda g: -float(self.generators[g].args[0].get((), np.zeros(1))[0]))
            plain[last] = 1.0
        out: Poly = {tuple(sorted(plain.items())): coefficient}
        if exponent is not None:
            others.append(self.exp(exponent))
        for q in others:
            out = self.mul(out, q)
        return out

    def _affine(self, p: Poly) -> bool:
        return _X in p and all(m in ((), _X) for m in p)

    def _shape(self, p: Poly) -> str:
        """The products of generators in it, each with the highest power of x: nothing a shift of x changes."""
        parts: dict[str, float] = {}
        for m in p:
            degree = m[0][1] if m and m[0][0] == 0 else 0.0
            rest = "*".join(sorted(f"{self.generators[g].shape}^{e:g}" for g, e in m if g))
            parts[rest] = max(parts.get(rest, 0.0), degree)
        return "+".join(f"{k}x{v:g}" for k, v in sorted(parts.items()) if k or v)

    def rank(self, m: Monomial) -> tuple[str, float, tuple[float, ...]]:
        """The order of monomials, by shape, then by the numbers in their generators."""
        degree = m[0][1] if m and m[0][0] == 0 else 0.0
        rest = "*".join(sorted(f"{self.generators[g].shape}^{e:g}" for g, e in m if g))
        inner = tuple(float(v[0]) for g, _ in m if g for a in self.generators[g].args for v in a.values())
        return rest, degree, inner

    def _leading(self, p: Poly) -> Array:
        return p[max(p, key=self.rank)]

    def generator(self, op: str, *args: Poly) -> Poly:
        """op(args) as a polynomial of one term."""
        for k, g in enumerate(self.generators):
            if g.op == op and len(g.args) == len(args) and all(map(_alike, g.args, args)):
                return {((k, 1.0),): np.ones(self.rows)}
        self.generators.append(Generator(op, args, f"{op}({','.join(map(self._shape, args))})"))
        return {((len(self.generators) - 1, 1.0),): np.ones(self.rows)}

    def power(self, p: Poly, k: int | float) -> Poly:
        """p to a fixed power."""
        if k == 1:
            return p
        if not p:
            if k < 0:
                raise TooLong
            return {}
        if len(p) == 1:
            ((m, v),) = p.items()
            if float(k).is_integer() or ((v > 0).all() and all(self.generators[g].op in _POSITIVE for g, _ in m)):
                return self._monomial({g: e * k for g, e in m}, v ** float(k))
        elif float(k).is_integer() and 0 < k <= 6:
            out = p
            for _ in range(int(k) - 1):
                out = self.mul(out, p)
            return out
        if k == 0.5 and len(p) == 1:
            ((m, v),) = p.items()
            if (v > 0).all() and all(e % 2 == 0 for _, e in m):
                return self.absolute({tuple((g, e / 2) for g, e in m): v**0.5})
        if float(k).is_integer() and k < 0:
            logistic = self._logistic(p)
            if logistic is not None:
                size, u = logistic
                return self.mul(self.number(size ** float(k)), self.power(self.sigmoid(self.add({}, u, -1.0)), -k))
        lead = self._leading(p)
        size = lead if float(k).is_integer() else np.abs(lead)
        ((m, one),) = self.generator("sum", {n: v / size for n, v in p.items()}).items()
        return self._monomial({m[0][0]: float(k)}, one * size ** float(k))

    def _logistic(self, p: Poly) -> tuple[Array, Poly] | None:
        """(s, u) of s (1 + exp(u))."""
        if len(p) != 2 or () not in p:
            return None
        m, v = next((m, v) for m, v in p.items() if m)
        if len(m) != 1 or self.generators[m[0][0]].op != "exp" or not (v * p[()] > 0).all():
            return None
        u = self.generators[m[0][0]].args[0]
        return p[()], self.add(u, self.number(np.log(v / p[()])))

    def sigmoid(self, u: Poly) -> Poly:
        """sigmoid(u) = 1 - sigmoid(-u)."""
        if u and float(self._leading(u)[0]) < 0:
            return self.add(self.number(1.0), self.generator("sigmoid", self.add({}, u, -1.0)), -1.0)
        return self.generator("sigmoid", u)

    def softplus(self, u: Poly) -> Poly:
        """softplus(u) = u + softplus(-u)."""
        if u and float(self._leading(u)[0]) < 0:
            return self.add(u, self.generator("softplus", self.add({}, u, -1.0)))
        return self.generator("softplus", u)

    def exp(self, u: Poly) -> Poly:
        """exp of the constant apart."""
        rest = {m: v for m, v in u.items() if m}
        with np.errstate(over="ignore"):
            front = self.number(np.exp(u.get((), np.zeros(self.rows))))
        return self.mul(front, self.generator("exp", rest)) if rest else front

    def sine(self, u: Poly) -> Poly:
        """sin(u) with the phase in [0, pi)."""
        sign = 1.0
        if not any(u):
            return self.number(np.sin(u.get((), np.zeros(self.rows))))
        if float(self._leading({m: v for m, v in u.items() if m})[0]) < 0:
            sign, u = -1.0, self.add({}, u, -1.0)
        turns = math.floor(float(u.get((), np.zeros(1))[0]) / math.pi + 1e-9)
        sign *= -1.0 if turns % 2 else 1.0
        return self.add({}, self.generator("sin", self.add(u, self.number(-turns * math.pi))), sign)

    def absolute(self, u: Poly) -> Poly:
        """|u| = u (2 step(u) - 1)."""
        return self.mul(u, self.add(self.number(-1.0), self.step(u), 2.0))

    def step(self, p: Poly) -> Poly:
        """1 where p > 0, else 0; on the line cut at its steps where it is affine between them."""
        if all(m == () for m in p):
            return self.number(1.0 if p and float(p[()][0]) > 0 else 0.0)
        if self._affine(p):
            slope = p[_X]
            up = self.generator("step", {m: v / slope for m, v in p.items()})
            return up if slope[0] > 0 else self.add(self.number(1.0), up, -1.0)
        cuts = self._cuts(p)
        if cuts is None:
            lead = self._leading(p)
            up = self.generator("step", {m: v / lead for m, v in p.items()})
            return up if lead[0] > 0 else self.add(self.number(1.0), up, -1.0)
        out: Poly = {}
        bounds = [None, *cuts, None]
        for i in range(len(cuts) + 1):
            low, high = bounds[i], bounds[i + 1]
            on = set(cuts[:i])
            piece: Poly = {}
            for m, v in p.items():
                if all(g == 0 or g in on for g, _ in m):
                    piece = self.add(piece, {tuple((g, e) for g, e in m if g == 0): v})
            inside: Poly = self.number(1.0) if low is None else {((low, 1.0),): np.ones(self.rows)}
            if high is not None:
                inside = self.add(inside, {((high, 1.0),): np.ones(self.rows)}, -1.0)
            out = self.add(out, self.mul(inside, self.step(piece)))
        return out

    def _cuts(self, p: Poly) -> list[int] | None:
        """The steps in p by their places, if p is affine between them."""
        found = set()
        for m in p:
            for g, e in m:
                gen = self.generators[g]
                if g and gen.op == "step" and self._affine(gen.args[0]):
                    found.add(g)
                elif g or e != 1.0:
                    return None
        zero = np.zeros(1)
        return sorted(found, key=lambda g: -float(self.generators[g].args[0].get((), zero)[0]))

    def log(self, p: Poly) -> Poly:
        """log of a product is a sum; log(1 + exp(u)) is softplus."""
        logistic = self._logistic(p)
        if logistic is not None and (logistic[0] > 0).all():
            return self.add(self.number(np.log(logistic[0])), self.softplus(logistic[1]))
        if not p:
            raise TooLong
        lead = np.abs(self._leading(p))
        out = self.number(np.log(lead))
        p = {m: v / lead for m, v in p.items()}
        if len(p) == 1:
            ((m, v),) = p.items()
            if v[0] > 0 and all(self.generators[g].op in _POSITIVE for g, _ in m):
                for g, e in m:
                    gen = self.generators[g]
                    if gen.op == "exp":
                        part = gen.args[0]
                    elif gen.op == "sigmoid":
                        part = self.add({}, self.softplus(self.add({}, gen.args[0], -1.0)), -1.0)
                    else:
                        part = self.generator("log", {((g, 1.0),): np.ones(self.rows)})
                    out = self.add(out, part, e)
                return out
        return self.add(out, self.generator("log", p))

    def parity(self, op: str, u: Poly) -> Poly:
        """A primitive as it is, a sign inside it outside where it is odd, nowhere where it is even."""
        parity = OPS[op].facts.parity
        if parity is None or not u or float(self._leading(u)[0]) > 0:
            return self.generator(op, u)
        made = self.generator(op, self.add({}, u, -1.0))
        return self.add({}, made, -1.0) if parity == "odd" else made


_POSITIVE = frozenset({"exp", "sigmoid", "softplus"})


def _alike(p: Poly, q: Poly) -> bool:
    if p.keys() != q.keys():
        return False
    return all((np.abs(p[m] - q[m]) <= 1e-11 * (1.0 + np.abs(q[m]))).all() for m in p)

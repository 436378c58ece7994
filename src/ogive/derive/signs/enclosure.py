"""A formula and its derivatives on boxes: enclosures that hold for the real function, not for its rounded code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ogive import expr as tree
from ogive import intervals as iv
from ogive.breaks import affine
from ogive.derive.signs.exact_trees import ROUNDED, TWO_OVER_SQRT_PI, exact_trees, kept
from ogive.errors import FormulaError
from ogive.expr import Expr, const, rebuild, var
from ogive.intervals import Box, Mask
from ogive.rewrite import simplify

# what can underflow or overflow long before its argument does
_DECAYS = {
    "exp",
    "expm1",
    "sigmoid",
    "softplus",
    "sech2",
    "phi",
    "Phi",
    "erf",
    "erfc",
    "tanh",
    "sinh",
    "cosh",
    "logcosh",
}


@dataclass(frozen=True)
class Seen:
    """Enclosures of the trees on n boxes; ``broken`` where a choice was open in any of them, ``torn`` where one
    was open in the first that can make it jump."""

    boxes: tuple[Box, ...]
    broken: Mask
    torn: Mask


class Enclosure:
    """Trees over one variable as one program on boxes; ``params`` are numbers or (lo, hi)."""

    @staticmethod
    def of(expr: Expr, name: str, values: Mapping[str, Any], order: int = 3) -> Enclosure:
        """``expr`` and its first ``order`` derivatives by ``name``; ``values`` are the parameters."""
        plain = {k: const(v) for k, v in values.items() if isinstance(v, float) and kept(v)}
        with suppress(FormulaError):  # 0 and powers of two go into the tree, where they can cancel
            expr = simplify(expr.substitute(plain))
        trees, constants = exact_trees(expr, name, order)
        return Enclosure(trees, name, {**constants, **values})

    def __init__(self, trees: Sequence[Expr], name: str, values: Mapping[str, Any]) -> None:
        self.trees, self.name, self.values = tuple(trees), name, dict(values)
        known: dict[str, Box] = {ROUNDED: iv.box(*TWO_OVER_SQRT_PI)}
        for k, v in values.items():
            known[k] = iv.box(*v) if isinstance(v, tuple) else iv.box(v, v)
        self._known = {var(k): v for k, v in known.items()}
        self._fixed: dict[Expr, Box] = {}
        self._work: list[Expr] = []
        self._steps: dict[tuple[int, ...], list[Expr]] = {}
        seen: set[Expr] = set()
        with np.errstate(all="ignore"):
            for t in self.trees:
                for n in t.walk(known=seen):
                    seen.add(n)
                    if n.op == "const":
                        self._fixed[n] = iv.box(n.data, n.data)
                    elif n.op == "var" and n.data != name:
                        self._fixed[n] = known[str(n.data)]
                    elif n.args and all(a in self._fixed for a in n.args):
                        self._fixed[n] = _apply(n, [self._fixed[a] for a in n.args])
                    elif n.args:
                        self._work.append(n)
        self.decays = any(n.op in _DECAYS for n in self._work)
        self._order = {n: i for i, n in enumerate(self._work)}
        self._first = set(self.trees[0].walk())

    def _steps_for(self, which: tuple[int, ...]) -> list[Expr]:
        found = self._steps.get(which)
        if found is None:
            need = {n for i in which for n in self.trees[i].walk()} & set(self._work)
            found = self._steps[which] = sorted(need, key=self._order.__getitem__)
        return found

    def __call__(self, x: Box, which: Sequence[int] | None = None) -> Seen:
        """Enclosures on the boxes ``x`` of the trees numbered ``which`` (None: all)."""
        which = tuple(range(len(self.trees)) if which is None else which)
        n = x.shape[1]
        slots: dict[Expr, Box] = {**self._fixed, var(self.name): x}
        broken: dict[Expr, Mask] = {}
        torn: dict[Expr, Mask] = {}
        with np.errstate(all="ignore"):
            for node in self._steps_for(which):
                args = [slots[a] for a in node.args]
                slots[node] = _apply(node, args)
                open_, tears = _choice(node.op, args)
                _spread(node, args, open_, broken)
                if node in self._first:
                    _spread(node, args, open_ if tears else None, torn)
        none = np.zeros(n, dtype=bool)
        found = [t for t in (broken.get(self.trees[i]) for i in which) if t is not None]
        return Seen(
            tuple(np.broadcast_to(slots[self.trees[i]], (2, n)) for i in which),
            np.logical_or.reduce(found) if found else none,
            torn.get(self.trees[0], none) if which[0] == 0 else none,
        )

    @cached_property
    def turns(self) -> bool:
        """Whether some wave or step goes on for ever: its argument is wide far out."""
        waves = [n for n in self._work if n.op in ("sin", "cos", "tan", "sinc", "floor", "round")]
        if not waves:
            return False
        nodes = self.nodes(iv.box([64.0, -1e6], [1e6, -64.0]), range(len(self.trees)))
        ranges = [np.broadcast_to(nodes[n.args[0]], (2, 2)) for n in waves]
        return any(bool((r[1] - r[0] > 64.0).any()) for r in ranges)

    def constant(self, expr: Expr) -> Box:
        """The value of an expression of the parameters alone."""
        slots = dict(self._known)
        with np.errstate(all="ignore"):
            for n in expr.walk():
                if n.op == "const":
                    slots[n] = iv.box(n.data, n.data)
                elif n.args:
                    slots[n] = _apply(n, [slots[a] for a in n.args])
        return slots[expr]

    def number(self, expr: Expr) -> float | None:
        """The middle of :meth:`constant` where it is a number to rounding, else None."""
        lo, hi = (float(v[0]) for v in self.constant(expr))
        return 0.5 * (lo + hi) if hi - lo <= 1e-12 * max(abs(lo), abs(hi)) else None

    def less_identity(self) -> Enclosure:
        """The same for f(x) - x."""
        x = var(self.name)
        trees = (simplify(self.trees[0] - x), simplify(self.trees[1] - 1.0), *self.trees[2:])
        return Enclosure(trees, self.name, self.values)

    def rationals(self) -> dict[str, Fraction]:
        """The parameters and constants that are one number, exactly."""
        return {str(k.data): Fraction(float(v[0, 0])) for k, v in self._known.items() if v[0, 0] == v[1, 0]}

    def breaks(self) -> list[tuple[float, float]]:
        """Enclosures of the zeros of all switching arguments of the first tree that are affine in x, an absolute
        value in them taken both ways."""
        found: set[tuple[float, float]] = set()
        for n in self.trees[0].walk():
            if n.op in ("gt", "ge", "maximum", "minimum", "abs", "sign") and self.name in n.variables():
                whole = tree.sub(*n.args) if len(n.args) == 2 else n.args[0]
                for switch in _unfolded(whole):
                    line = affine(switch, self.name)
                    if line is None:
                        continue
                    with np.errstate(all="ignore"):
                        at = iv.div(iv.neg(self.constant(line[1])), self.constant(line[0]))
                    if np.isfinite(at).all():
                        found.add((float(at[0, 0]), float(at[1, 0])))
        return sorted(found)

    def nodes(self, x: Box, which: Sequence[int]) -> dict[Expr, Box]:
        """Enclosures of every node of the trees numbered ``which``."""
        slots: dict[Expr, Box] = {**self._fixed, var(self.name): x}
        with np.errstate(all="ignore"):
            for node in self._steps_for(tuple(which)):
                slots[node] = _apply(node, [slots[a] for a in node.args])
        return slots

    def at(self, x: NDArray[np.float64], which: Sequence[int] | None = None) -> Seen:
        """Enclosures at points."""
        return self(iv.box(x, x), which)


def _unfolded(expr: Expr) -> list[Expr]:
    """``expr`` with its absolute values replaced by their argument and by its negative, its maxima, minima and
    choices by either side: at most 16 of them."""
    found: list[Expr] = [expr]
    ready: list[Expr] = []
    while found and len(found) + len(ready) <= 16:
        e = found.pop()
        inner = next((n for n in e.walk() if n.op in ("abs", "maximum", "minimum", "where")), None)
        if inner is None:
            ready.append(e)
            continue
        sides = (inner.args[0], -inner.args[0]) if inner.op == "abs" else inner.args[-2:]
        found += [e.map(lambda n: n, _replacing(inner, side)) for side in sides]
    return ready


def _replacing(old: Expr, new: Expr) -> Callable[[Expr, tuple[Expr, ...]], Expr]:
    return lambda node, args: new if node is old else rebuild(node, args)


def _apply(node: Expr, args: list[Box]) -> Box:
    rule = iv.RULES[node.op]
    return rule(*args) if node.data is None else rule(*args, int(node.data))


def _choice(op: str, args: list[Box]) -> tuple[Mask | None, bool]:
    """Where the choice inside a primitive is open, and whether an open choice can be a jump."""
    if op in ("gt", "ge", "where"):
        return (args[0][0] != args[0][1], True) if op == "where" else (None, False)
    if op in ("abs", "sign"):
        a = args[0]
        return (a[0] <= 0.0) & (a[1] >= 0.0), op == "sign"
    if op in ("maximum", "minimum"):
        a, b = args
        return ~((a[0] >= b[1]) | (b[0] >= a[1])), False
    if op in ("floor", "round"):
        f = np.floor if op == "floor" else np.rint
        return f(args[0][0]) != f(args[0][1]), True
    return None, False


def _spread(node: Expr, args: list[Box], open_: Mask | None, flags: dict[Expr, Mask]) -> None:
    """Flag ``node`` where a choice inside it or inside an argument it depends on is open."""
    inner = [flags.get(a) for a in node.args]
    if node.op == "where" and (inner[1] is not None or inner[2] is not None):
        # A branch that is not taken does not matter.
        if inner[1] is not None:
            inner[1] = inner[1] & (args[0][1] == 1.0)
        if inner[2] is not None:
            inner[2] = inner[2] & (args[0][0] == 0.0)
    if node.op in ("maximum", "minimum") and not (inner[0] is None and inner[1] is None):
        # Nor does the argument that is not the larger (the smaller).
        a, b = args if node.op == "maximum" else (args[1], args[0])
        first, second = (a[0] >= b[1], b[0] > a[1])
        inner = [m if m is None else m & ~lost for m, lost in zip(inner, (second, first))]
    if node.op == "where" and inner[0] is not None:
        inner[0] = inner[0] & (args[0][0] != args[0][1])
    found = [m for m in (*inner, open_) if m is not None and m.any()]
    if found:
        flags[node] = np.logical_or.reduce(np.broadcast_arrays(*found))

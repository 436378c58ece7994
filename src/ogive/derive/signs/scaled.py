"""Boxes times exponentials: ``c exp(p)`` with a box c and an exact combination p of subtrees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ogive import intervals as iv
from ogive.expr import Expr
from ogive.intervals import Box

SIZE = Expr("log", (Expr("abs", (Expr("var", (), "#x"),)),))  # log |x|: a power of x is an exponential too

Powers = tuple[tuple[Expr, Fraction], ...]


@dataclass(frozen=True)
class Scaled:
    """``c * exp(p)`` on n boxes."""

    c: Box
    p: Powers = ()


def parts(atom: Expr) -> list[Expr]:
    """The factors of a product."""
    return parts(atom.args[0]) + parts(atom.args[1]) if atom.op == "mul" else [] if atom is ONE else [atom]


ONE = Expr("const", (), 1.0)


def product(factors: list[Expr]) -> Expr:
    """One product for all orders of its factors."""
    ordered = sorted(factors, key=id)
    whole = ordered[0] if ordered else ONE
    for f in ordered[1:]:
        whole = Expr("mul", (whole, f))
    return whole


class Mixed(Exception):
    """The boxes do not lie on one side of a choice."""


def number(k: Fraction | float) -> Box:
    """A box of one column around ``k``."""
    lo = float(k)
    exact = Fraction(lo) == k
    return iv.box(lo if exact else np.nextafter(lo, -np.inf), lo if exact else np.nextafter(lo, np.inf))


def total(a: Powers, b: Powers, sign: int) -> Powers:
    """``a`` plus ``sign`` times ``b``."""
    total = dict(a)
    for atom, k in b:
        total[atom] = total.get(atom, Fraction(0)) + sign * k
    return tuple(sorted(((x, k) for x, k in total.items() if k), key=lambda row: id(row[0])))


def powers(p: Mapping[Expr, Fraction], scale: Fraction = Fraction(1)) -> Powers:
    """``scale * p`` in one order."""
    return total(tuple((a, k * scale) for a, k in p.items()), (), 1)

"""Whether a formula repeats itself: f(x + T) = f(x) + d, read off the tree."""

from __future__ import annotations

import math
from fractions import Fraction

from ogive.breaks import affine
from ogive.derive.signs.enclosure import Enclosure
from ogive.expr import Expr, rebuild, var
from ogive.rewrite import simplify

_TURNS = {"sin": 2 * math.pi, "cos": 2 * math.pi, "tan": math.pi, "floor": 1.0, "round": 2.0}


def period(f: Enclosure) -> tuple[float, float] | None:
    """(T, d) of the first tree of ``f``, None where the tree does not show one.

    Every sin, cos, tan, floor and round must have an argument affine in x; floor(u) is u less something of period 1
    in u, round(u) of period 2 (ties go to even). With those parts taken for constants the rest must be affine in x.
    T is their least common multiple where the slopes have ratios of small whole numbers. T and d are the doubles
    nearest to what the formula's constants give.
    """
    waves: dict[str, tuple[float, float]] = {}

    def build(node: Expr, args: tuple[Expr, ...]) -> Expr:
        made = rebuild(node, args)
        if node.op not in _TURNS or f.name not in node.variables():
            return made
        line = affine(node.args[0], f.name)
        slope = None if line is None else f.number(line[0])
        if not slope:
            return made
        name = f"#wave{len(waves)}"
        waves[name] = (_TURNS[node.op], slope)
        return node.args[0] + var(name) if node.op in ("floor", "round") else var(name)

    rest = simplify(f.trees[0].map(lambda leaf: leaf, build))
    line = affine(rest, f.name)
    if line is None or not waves or set(waves) & line[0].variables():
        return None
    drift = f.number(line[0])
    if drift is None:
        return None
    turns = [(turn, abs(slope)) for turn, slope in waves.values()]
    steps = {turn / math.pi if turn > 2.0 else turn for turn, _ in turns}
    if len({turn > 2.0 for turn, _ in turns}) > 1 or not steps:
        return None  # a circular and a stepped part have no common period
    base = turns[0][0] / turns[0][1]
    ratios = []
    for turn, slope in turns:
        whole = Fraction(turn / turns[0][0]).limit_denominator(4)
        ratio = whole * Fraction(turns[0][1]) / Fraction(slope)
        if ratio.numerator > 64 or ratio.denominator > 64:
            return None
        ratios.append(ratio)
    common = Fraction(math.lcm(*(r.numerator for r in ratios)), math.gcd(*(r.denominator for r in ratios)))
    length = float(common) * base
    return length, drift * length

"""Roots: of one function inside a bracket, of an increasing function, and of two conditions by Newton's method."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ogive.errors import OgiveError, ParameterError

Point = tuple[float, float]
Conditions = Callable[[Sequence[Point], bool], list[Point]]


def root(f: Callable[[float], float], a: float, b: float, tol: float = 2e-15, *, log: bool = True) -> float:
    """The zero of ``f`` between ``a`` and ``b``, where its signs differ, to |f| <= tol: secants kept inside the bracket
    with the Illinois rule, in the logarithm of the argument unless ``log`` is off."""

    def place(t: float) -> float:
        return math.exp(t) if log else t

    x, y = (math.log(a), math.log(b)) if log else (a, b)
    fx, fy = f(a), f(b)
    for _ in range(100):
        if fx == 0.0 or fy == 0.0:
            return place(x if fx == 0.0 else y)
        m = (x * fy - y * fx) / (fy - fx) if math.isfinite(fx) and math.isfinite(fy) else 0.5 * (x + y)
        if not min(x, y) < m < max(x, y):
            m = 0.5 * (x + y)
        fm = f(place(m))
        if abs(y - x) < 4e-16 * (1.0 + abs(m)) or abs(fm) <= tol:
            return place(m)
        if fm * fy < 0.0:
            x, fx = y, fy
        else:
            fx *= 0.5
        y, fy = m, fm
    return place(y)


def solve_increasing(f: Callable[[float], float], target: float, low: float, high: float, what: str) -> float:
    """x in [low, high] with f(x) = target for an increasing f, by bisection down to neighbouring doubles."""
    if not f(low) <= target <= f(high):
        raise ParameterError(
            f"tailoring of {what}: {target!r} is out of reach of this network; it can have values from "
            f"{f(low):.6g} to {f(high):.6g}"
        )
    for _ in range(200):
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        if f(middle) < target:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def newton(
    off: Conditions, starts: Sequence[Point], quick: bool, names: tuple[str, str], what: str, solved: float = 1e-11
) -> Point:
    """(p, b) with p > 0 at which both of ``off`` are below ``solved``: Newton in (log p, b), steps cut until they help.

    ``off`` takes several points at once, and ``quick``; ``starts`` are tried in turn. Raises :class:`OgiveError` saying
    how near it came, with ``names`` for p and b and ``what`` for the whole.
    """

    def at(*places: Point) -> list[Point] | None:
        if not all(-12.0 < p < 4.0 and abs(b) < 50.0 for p, b in places):
            return None
        try:
            got = off([(math.exp(p), b) for p, b in places], quick)
        except (OgiveError, ZeroDivisionError):
            return None
        return got if all(map(math.isfinite, sum(got, ()))) else None

    nearest, where, h = math.inf, (1.0, 0.0), 1e-6
    for alpha, beta in starts:
        p = (math.log(alpha), beta)
        for _ in range(40):
            # The place and its two neighbours in one go.
            got = at(p, (p[0] + h, p[1]), (p[0], p[1] + h))
            if got is None:
                break
            y, right, up = got
            size = math.hypot(*y)
            if size < nearest:
                nearest, where = size, (math.exp(p[0]), p[1])
            a, c = (right[0] - y[0]) / h, (right[1] - y[1]) / h
            b, d = (up[0] - y[0]) / h, (up[1] - y[1]) / h
            det = a * d - b * c
            if det == 0.0:
                break
            step = ((-y[0] * d + y[1] * b) / det, (-y[1] * a + y[0] * c) / det)
            if size < solved:
                return math.exp(p[0] + step[0]), p[1] + step[1]
            cut = min(1.0, 1.5 / max(math.hypot(*step), 1e-300))
            while cut > 1e-3:
                q = (p[0] + cut * step[0], p[1] + cut * step[1])
                # A full step near the solution is taken on trust: the next round sees what came of it.
                if cut == 1.0 and size < 1e-2:
                    break
                z = at(q)
                if z is not None and math.hypot(*z[0]) < (1.0 - 0.1 * cut) * size:
                    break
                cut *= 0.5
            else:
                break
            p = q
    raise OgiveError(
        f"{what}: nothing meets the conditions; the nearest found is "
        f"{names[0]} {where[0]:.6g}, {names[1]} {where[1]:.6g}, off by {nearest:.2g}"
    )

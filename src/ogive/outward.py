"""Arithmetic and choices on boxes of float64, rounded outward.

A box is an array of shape (2, n): n intervals, lower ends in row 0, upper ends in row 1; a constant is (2, 1). Sums are
rounded the right way by the error of the sum itself, products and quotients by one unit in the last place. An infinite
end means that nothing bounds the finite value; so 0 times an unbounded factor is 0, and no rule returns NaN.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = NDArray[np.float64]
Mask = NDArray[np.bool_]

LARGEST = float(np.finfo(np.float64).max)
EPS, TINY = 2.0**-52, 5e-324
OUT = np.array([[-1.0], [1.0]])


def box(lo: Any, hi: Any) -> Box:
    """Intervals from ``lo`` to ``hi``, arrays or numbers."""
    return np.array([np.atleast_1d(lo), np.atleast_1d(hi)], dtype=np.float64)


def sealed(y: Box) -> Box:
    """``y`` with unknown ends made infinite and overflowed ends made finite on the inside."""
    bad = np.isnan(y)
    if bad.any():
        y = np.where(bad, OUT * math.inf, y)
    y[0] = np.minimum(y[0], LARGEST)
    y[1] = np.maximum(y[1], -LARGEST)
    return y


def widened(y: Box, ulps: float | Box) -> Box:
    """``y`` moved outward by ``ulps`` units in the last place of each end."""
    step = np.minimum(np.abs(y), LARGEST) * (ulps * EPS) + ulps * TINY
    return sealed(y + OUT * step)


def clamped(y: Box, lo: float, hi: float) -> Box:
    return np.minimum(np.maximum(y, lo), hi)


def hull(a: Box, b: Box) -> Box:
    """The smallest box around both."""
    return np.array([np.minimum(a[0], b[0]), np.maximum(a[1], b[1])])


def meet(a: Box, b: Box) -> Box:
    """What two enclosures of one thing have in common (rounding cannot make it empty: then ``a``)."""
    lo, hi = np.maximum(a[0], b[0]), np.minimum(a[1], b[1])
    good = lo <= hi
    return np.array([np.where(good, lo, a[0]), np.where(good, hi, a[1])])


# Arithmetic


def add(a: Box, b: Box) -> Box:
    s = a + b
    # Knuth's two-sum: what the rounded sum lost, exactly; its sign says on which side the true sum lies.
    back = s - a
    lost = (a - (s - back)) + (b - back)
    inside = lost * OUT <= 0.0  # NaN where an end is infinite: not inside
    y = np.where(inside, s, np.nextafter(s, OUT * math.inf))
    return sealed(np.where(np.isinf(s), s, y))


def sub(a: Box, b: Box) -> Box:
    return add(a, -b[::-1])


def neg(a: Box) -> Box:
    return -a[::-1]


def _rounded(y: Box, exact: bool | Mask) -> Box:
    if exact is True:
        return sealed(y)
    return sealed(np.where(exact | np.isinf(y), y, np.nextafter(y, OUT * math.inf)))


def _power_of_two(a: Box) -> bool:
    return a.shape[1] == 1 and a[0, 0] == a[1, 0] and abs(math.frexp(float(a[0, 0]))[0]) == 0.5


def _products(p: Box, true_zero: Mask) -> Box:
    """The box of the corners ``p``; a corner that underflowed is the smallest double of its sign, not zero."""
    lost = (p == 0.0) & ~true_zero
    if lost.any():
        p = np.where(lost, np.copysign(TINY, p), p)
    y = np.array([p.min(0), p.max(0)])
    return _rounded(y, y == 0.0)


def mul(a: Box, b: Box) -> Box:
    if _power_of_two(b):
        a, b = b, a
    if _power_of_two(a):
        c = float(a[0, 0])
        y = c * (b if c > 0.0 else b[::-1])
        return _rounded(y, (np.abs(y) > 1e-300) | ((b if c > 0.0 else b[::-1]) == 0.0))
    p = np.array([a[0] * b[0], a[0] * b[1], a[1] * b[0], a[1] * b[1]])
    nothing = np.isnan(p)  # 0 times an unbounded factor
    p[nothing] = 0.0
    za, zb = a == 0.0, b == 0.0
    return _products(p, nothing | np.array([za[0] | zb[0], za[0] | zb[1], za[1] | zb[0], za[1] | zb[1]]))


def reciprocal(b: Box) -> Box:
    y = 1.0 / (b[::-1] + 0.0)
    across = (b[0] < 0.0) & (b[1] > 0.0) | (b[0] == 0.0) & (b[1] == 0.0)
    y[0] = np.where(across | (b[1] == 0.0), -math.inf, y[0])
    y[1] = np.where(across | (b[0] == 0.0), math.inf, y[1])
    return _rounded(y, (np.abs(b[::-1]) == 1.0) | (y == 0.0))


def div(a: Box, b: Box) -> Box:
    if _power_of_two(b):
        return mul(reciprocal(b), a)
    p = np.array([a[0] / b[0], a[0] / b[1], a[1] / b[0], a[1] / b[1]])
    hard = np.isnan(p).any(0) | ((b[0] <= 0.0) & (b[1] >= 0.0))
    za = a == 0.0
    unbounded = np.isinf(b)
    y = _products(p, np.array([za[0] | unbounded[0], za[0] | unbounded[1], za[1] | unbounded[0], za[1] | unbounded[1]]))
    return np.where(hard, mul(a, reciprocal(b)), y) if hard.any() else y


def square(a: Box) -> Box:
    size = np.array(sizes(a))
    return np.maximum(_rounded(size * size, (size == 0.0) | (size == 1.0)), 0.0)


def same_sign(y: Box, x: Box) -> Box:
    """``y`` cut at zero where the function has the sign of its argument."""
    return np.where(x > 0.0, np.maximum(y, 0.0), np.where(x < 0.0, np.minimum(y, 0.0), y))


# Choices


def gt(a: Box, b: Box) -> Box:
    """Row 0: certainly; row 1: possibly."""
    return np.array([a[0] > b[1], a[1] > b[0]], dtype=np.float64)


def ge(a: Box, b: Box) -> Box:
    return np.array([a[0] >= b[1], a[1] >= b[0]], dtype=np.float64)


def where(cond: Box, a: Box, b: Box) -> Box:
    return np.where(cond[0] == 1.0, a, np.where(cond[1] == 0.0, b, hull(a, b)))


def maximum(a: Box, b: Box) -> Box:
    return np.maximum(a, b)


def minimum(a: Box, b: Box) -> Box:
    return np.minimum(a, b)


def sizes(a: Box) -> tuple[Any, Any]:
    """The least and the largest ``|x|``."""
    size = np.abs(a)
    lo = np.where((a[0] <= 0.0) & (a[1] >= 0.0), 0.0, np.minimum(size[0], size[1]))
    return lo, np.maximum(size[0], size[1])


def abs_(a: Box) -> Box:
    return np.array(sizes(a))


def sign(a: Box) -> Box:
    return np.sign(a)


def floor(a: Box) -> Box:
    return np.floor(a)


def round_(a: Box) -> Box:
    return np.rint(a)

"""Zeros of a function that is monotone on a box, by comparing points: proved from both sides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ogive.derive.signs.enclosure import Enclosure
from ogive.intervals import Box, Mask

Points = NDArray[np.float64]


def ordinals(x: Points) -> NDArray[np.int64]:
    """Doubles numbered in their order: neighbours differ by one, 0.0 is 0."""
    bits = np.asarray(x + 0.0).view(np.int64)
    return np.where(bits < 0, np.int64(-(2**63)) - bits, bits)


def doubles(k: NDArray[np.int64]) -> Points:
    """The doubles of these numbers."""
    return np.where(k < 0, np.int64(-(2**63)) - k, k).astype(np.int64).view(np.float64)


def between(lo: Points, hi: Points, parts: int) -> Points:
    """(parts + 1, n) cuts from ``lo`` to ``hi``: even steps, or even steps in the numbering of the doubles where the
    ends differ by more than a factor of 4 or lie close together."""
    t = np.arange(parts + 1)[:, None]
    a, b = ordinals(lo), ordinals(hi)
    # The difference of two numbers can exceed an int64; dividing first loses less than `parts` of them.
    steps = doubles(a + (b // parts - a // parts) * t)
    even = lo * (1.0 - t / parts) + hi * (t / parts)
    near = b.astype(np.float64) - a.astype(np.float64) < 1e4
    small, large = np.minimum(np.abs(lo), np.abs(hi)), np.maximum(np.abs(lo), np.abs(hi))
    same_side = (lo > 0.0) | (hi < 0.0)
    wide = (lo <= 0.0) & (hi >= 0.0) & (large < 1e-3) | same_side & (0.25 * large > small)
    wide |= (large > 1e300) | ((lo == 0.0) | (hi == 0.0))
    cuts = np.where(wide | near, steps, even)
    cuts[0], cuts[-1] = lo, hi
    return np.maximum.accumulate(np.clip(cuts, lo, hi), axis=0)


_NEAR = 2.0 ** -np.array([1.5, 3.0, 5.0, 8.0, 12.0, 17.0, 24.0, 32.0, 42.0])
_GUESS = np.concatenate([-_NEAR, [0.0], _NEAR[::-1]])[:, None]  # how far from a guess to look, in brackets


def crossing(f: Enclosure, which: int, lo: Points, hi: Points, rises: Mask) -> tuple[Points, Points]:
    """For a tree that is monotone on each box: the last point where it is proved to be on its first side of zero and
    the first where it is proved to be on the other (the ends of the box where there is none)."""
    n = len(lo)
    # Searches 0..n-1 look for the end of the first side, n..2n-1 for the start of the other.
    a, b = np.concatenate([lo, lo]), np.concatenate([hi, hi])
    up = np.concatenate([rises, rises])
    second = np.arange(2 * n) >= n
    ends = f.at(np.concatenate([a, b]), (which,)).boxes[0].reshape(2, 2, 2 * n)
    ya, yb = _bound(ends[:, 0], up, second), _bound(ends[:, 1], up, second)
    for turn in range(60):
        live = np.flatnonzero(ordinals(b).astype(np.float64) - ordinals(a).astype(np.float64) > 4.0)
        if not live.size:
            break
        p, q = a[live], b[live]
        cuts = between(p, q, 8 if len(live) < 256 else 4)
        with np.errstate(all="ignore"):
            guess = p + (q - p) * (ya[live] / (ya[live] - yb[live]))
            if turn % 4 != 3 and np.isfinite(guess).any():
                guess = np.where(np.isfinite(guess), guess, cuts[len(cuts) // 2])
                cuts = np.concatenate([p[None], guess + (q - p) * _GUESS, q[None]])
                cuts = np.sort(np.clip(cuts, p, q), axis=0)
        y = f.at(cuts[1:-1].ravel(), (which,)).boxes[0].reshape(2, len(cuts) - 2, -1)
        y = _bound(y, up[live], second[live])
        y = np.concatenate([ya[live][None], y, yb[live][None]])
        # True on a first run of points: those still on the first side; or those not yet on the other.
        first = np.where(second[live], y[1:-1] < 0.0, y[1:-1] <= 0.0)
        k = np.logical_and.accumulate(first, axis=0).sum(0)[None]
        a[live], b[live] = np.take_along_axis(cuts, k, 0)[0], np.take_along_axis(cuts, k + 1, 0)[0]
        ya[live], yb[live] = np.take_along_axis(y, k, 0)[0], np.take_along_axis(y, k + 1, 0)[0]
    return a[:n], b[n:]


def _bound(y: Box, up: Mask, second: Mask) -> Points:
    """The end of an enclosure that decides the side: the upper one for the first side of zero, the lower one for the
    second, both for a tree that rises."""
    lo, hi = np.where(up, y[0], -y[1]), np.where(up, y[1], -y[0])
    return np.asarray(np.where(second, lo, hi))

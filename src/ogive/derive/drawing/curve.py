"""A function on an interval as a pen draws it: pieces between jumps and poles, and the jumps."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ogive.activation import Activation
from ogive.derive.drawing.axes import Array, plainest
from ogive.derive.observed import values

_PRIMES = ("", "′", "″", "‴")


@dataclass(frozen=True)
class Curve:
    """One function on [lo, hi]: pieces between its jumps, and the jumps as (x, left, value, right)."""

    label: str
    order: int
    look: int
    pieces: tuple[tuple[Array, Array], ...]
    jumps: tuple[tuple[float, float, float, float], ...]

    @property
    def values(self) -> Array:
        return np.concatenate([y for _, y in self.pieces]) if self.pieces else np.zeros(0)


def trace(
    act: Activation, label: str, order: int, look: int, lo: float, hi: float, samples: int, surrogate: bool
) -> Curve:
    """Sample ``act`` at about ``samples`` points, each break point from both sides."""
    gap = 1e-9 * (hi - lo)
    cuts = [b for b in act.breakpoints() if lo + gap < b < hi - gap]
    edges = [lo, *cuts, hi]
    pieces: list[tuple[Array, Array]] = []
    jumps: list[tuple[float, float, float, float]] = []
    for a, b in pairwise(edges):
        count = max(8, int(samples * (b - a) / (hi - lo)))
        x = np.linspace(a, b, count)
        inside = x.copy()
        inside[0] += gap * (a in cuts)
        inside[-1] -= gap * (b in cuts)
        y = values(act, inside)
        if pieces and _joined(pieces[-1][1][-1], y[0]):
            before = pieces.pop()
            pieces.append((np.concatenate([before[0], x]), np.concatenate([before[1], y])))
        else:
            if pieces:
                at = plainest(a)
                jumps.append((a, float(pieces[-1][1][-1]), float(values(act, np.array([at]))[0]), float(y[0])))
            pieces.append((x, y))
    mark = _PRIMES[order]
    name = f"{label}{mark}" if label.replace("_", "").isalnum() else f"({label}){mark}" if mark else label
    if surrogate and order:
        name += " (surrogate)"
    return Curve(name, order, look, tuple(p for piece in pieces for p in _finite(*piece)), tuple(jumps))


def _joined(left: float, right: float) -> bool:
    # A continuous function differs by 2e-9 of the width times its slope across the gap.
    return bool(abs(left - right) <= 1e-6 * max(1.0, abs(left), abs(right)))


def _finite(x: Array, y: Array) -> list[tuple[Array, Array]]:
    """Cut where the value is not finite, and at poles: a leap from far above to far below."""
    bad = ~np.isfinite(y)
    with np.errstate(invalid="ignore", over="ignore"):
        leap = np.abs(np.diff(np.sign(y))) == 2
        steep = np.abs(np.diff(y)) > 100 * (1.0 + np.median(np.abs(y[~bad]))) if (~bad).any() else leap
    cut = np.flatnonzero(leap & steep) + 1
    out = []
    for part in np.split(np.arange(len(x)), np.unique(np.concatenate([cut, np.flatnonzero(np.diff(bad)) + 1]))):
        if len(part) > 1 and not bad[part[0]]:
            out.append((x[part], y[part]))
    return out

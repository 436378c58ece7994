"""Axes of a plot: a scale, round ticks, the range worth showing, polylines thinned to what can be seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """A linear map from data [low, high] to pixels [start, end]."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The pixel of ``value``, held within ten plot sizes so that no viewer chokes on it."""
        return float(self.array(np.asarray(value)))

    def array(self, values: Array) -> Array:
        """Pixels of many values, held likewise."""
        reach = 10.0 * abs(self.end - self.start)
        middle = 0.5 * (self.start + self.end)
        with np.errstate(over="ignore"):
            at = self.start + (values - self.low) / (self.high - self.low) * (self.end - self.start)
        return np.clip(at, middle - reach, middle + reach)


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most about ``most`` round values (1, 2 or 5 times a power of ten) in [low, high].

    >>> ticks(-5.0, 5.0, 6)
    [-4.0, -2.0, 0.0, 2.0, 4.0]
    """
    raw = (high - low) / max(most, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{i * step:.12g}") + 0.0 for i in range(first, last + 1)]


def number(value: float) -> str:
    """A tick's text with a true minus sign.

    >>> number(-0.5), number(2000000.0), number(0.0)
    ('\N{MINUS SIGN}0.5', '2e6', '0')
    """
    text = f"{value:.6g}" if value == 0 or 1e-4 <= abs(value) < 1e6 else f"{value:.3g}"
    return text.replace("e+0", "e").replace("e+", "e").replace("e-0", "e-").replace("-", "−")


def plainest(x: float) -> float:
    """Of ``x`` and its two neighbours the one with the shortest text, where bisection ended beside 0.5.

    >>> plainest(0.5000000000000001)
    0.5
    """
    return min((x, math.nextafter(x, -math.inf), math.nextafter(x, math.inf)), key=lambda v: len(repr(v)))


def worth_showing(curves: Sequence[Array], reach: float) -> tuple[float, float]:
    """The values to show, with a margin: all of them, unless they explode.

    ``reach`` is the half-width of the input axis. An activation is read near zero, so where a curve leaves
    [-3 reach, 3 reach] the axis is cut at 1.2 reach, if at least 45 percent of the curve stays visible, not only a
    level stretch; otherwise a curve whose extremes are 20 times its middle 80 percent is cut one middle beyond it.
    """
    low, high = math.inf, -math.inf
    cap = 1.2 * reach
    for values in curves:
        v = values[np.isfinite(values)]
        if not v.size:
            continue
        least, most = float(v.min()), float(v.max())
        if max(-least, most) > 2.5 * cap:
            visible = np.abs(v) <= cap
            moving = float(np.mean(visible[1:] & (np.abs(np.diff(v)) > 1e-6 * cap)))
            if float(np.mean(visible)) >= 0.45 and moving >= 0.05:
                least, most = max(least, -cap), min(most, cap)
            else:
                p, q = np.quantile(v, [0.1, 0.9])
                if most - least > 20 * (q - p) > 0:
                    least, most = max(least, p - (q - p)), min(most, q + (q - p))
        low, high = min(low, least), max(high, most)
    if not low <= high:
        low, high = -1.0, 1.0
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - 1.0, high + 1.0
    margin = 0.06 * (high - low)
    return low - margin, high + margin


def thin(x: Array, y: Array, tolerance: float = 0.08) -> Array:
    """Indices of the points of a polyline in pixels that are needed to draw it within ``tolerance`` pixels.

    Douglas-Peucker, without recursion.
    """
    keep = np.zeros(len(x), dtype=bool)
    keep[[0, -1]] = True
    stack = [(0, len(x) - 1)]
    while stack:
        a, b = stack.pop()
        if b - a < 2:
            continue
        dx, dy = x[b] - x[a], y[b] - y[a]
        off = np.abs(dy * (x[a + 1 : b] - x[a]) - dx * (y[a + 1 : b] - y[a])) / (math.hypot(dx, dy) or 1.0)
        worst = int(off.argmax())
        if off[worst] > tolerance:
            middle = a + 1 + worst
            keep[middle] = True
            stack += [(a, middle), (middle, b)]
    return np.asarray(keep.nonzero()[0])


def path(pieces: Sequence[tuple[Array, Array]], xs: Scale, ys: Scale) -> str:
    """Path data of a curve in pieces; a pen is lifted between them."""
    parts: list[str] = []
    for x, y in pieces:
        px, py = xs.array(x), ys.array(y)
        if len(px) == 1:
            continue
        points = [f"{px[i]:.1f} {py[i]:.1f}".replace(".0", "") for i in thin(px, py)]
        parts.append("M" + "L".join(points))
    return "".join(parts)

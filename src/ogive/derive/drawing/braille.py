"""A curve in braille characters: two by four dots a cell, for terminals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ogive.derive.drawing.axes import Array, Scale, number

# Bits of U+2800's dots by (column, row).
_BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


def braille(x: Array, y: Array, low: float, high: float, columns: int, rows: int) -> list[str]:
    """Lines of text that draw y over x between ``low`` and ``high``, with dotted axes through zero.

    Neighbouring samples more than a quarter of the height apart are not joined, so jumps stay gaps.
    """
    wide, tall = 2 * columns, 4 * rows
    dots = np.zeros((tall, wide), dtype=bool)
    across = Scale(float(x[0]), float(x[-1]), 0.0, wide - 1.0)
    down = Scale(low, high, tall - 1.0, 0.0)
    if low < 0 < high:
        dots[round(down(0.0)), ::3] = True
    if x[0] < 0 < x[-1]:
        dots[::3, round(across(0.0))] = True
    px = np.rint(across.array(x)).astype(int)
    py = down.array(np.nan_to_num(y, nan=1e300, posinf=1e300, neginf=-1e300))
    for i in range(len(x)):
        inside = -0.5 <= py[i] <= tall - 0.5
        if inside and np.isfinite(y[i]):
            dots[min(tall - 1, max(0, int(np.rint(py[i])))), px[i]] = True
        if i and abs(py[i] - py[i - 1]) <= 0.25 * tall:
            for row in range(int(np.ceil(min(py[i - 1], py[i]))), int(np.floor(max(py[i - 1], py[i]))) + 1):
                if 0 <= row < tall:
                    dots[row, px[i]] = True
    lines = []
    for r in range(rows):
        cells = [
            sum(_BITS[c][d] for c in (0, 1) for d in range(4) if dots[4 * r + d, 2 * k + c]) for k in range(columns)
        ]
        lines.append("".join(chr(0x2800 + bits) for bits in cells))
    return lines


def framed(lines: Sequence[str], low: float, high: float, left: float, right: float) -> list[str]:
    """The lines with the range of y on their left and of x below."""
    top, bottom = number(float(f"{high:.2g}")), number(float(f"{low:.2g}"))
    margin = max(len(top), len(bottom))
    labels = [top, *[""] * (len(lines) - 2), bottom]
    body = [f"{label:>{margin}} {line}" for label, line in zip(labels, lines)]
    a, b = number(left), number(right)
    return [*body, " " * (margin + 1) + a + b.rjust(len(lines[0]) - len(a))]

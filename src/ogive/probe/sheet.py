"""The report of ``ogive signal`` in text: three small plots by depth, the table, what breaks, what was tried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ogive.derive.drawing.braille import braille
from ogive.surgery.sites import folded, table

if TYPE_CHECKING:
    from ogive.probe.signal import Layer, Signal

_ROWS = 26  # layers in the table before the middle is left out


def sheet(found: Signal) -> str:
    """The whole report, at most 80 columns wide."""
    layers = found.layers
    head = f"signal: {_count(len(layers), 'layer')} with weights, {_count(found.examples, 'example')}"
    parts = [head, _plots(layers), _table(found)]
    if found.streams:
        parts.append(_streams(found))
    notes = [f"not followed: {s}" for s in found.stops]
    restarts = [row for row in layers if "input" in row.restarted][1:]
    if restarts:
        notes.append(f"* predicted from the measured input of the layer: {len(restarts)} of {len(layers)} layers")
    if all(math.isnan(row.gradient) for row in layers):
        notes.append("no gradient comes back from the output: the model runs under no_grad, or detaches")
    if notes:
        parts.append("\n".join(folded(n) for n in notes))
    parts.append("\n".join(folded(f"breaks: {b}") for b in found.breaks) or "nothing breaks")
    if found.remedies:
        parts.append(_remedies(found))
    return "\n\n".join(p for p in parts if p)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"


def _plots(layers: Sequence[Layer]) -> str:
    if len(layers) < 3:
        return ""
    blocks = []
    for title, values in (
        ("log10 mean square", [_log(row.square) for row in layers]),
        ("correlation", [row.correlation for row in layers]),
        ("log10 gradient norm", [_log(row.gradient) for row in layers]),
    ):
        y = np.array(values)
        known = y[np.isfinite(y)]
        if not len(known):
            continue
        low, high = float(known.min()), float(known.max())
        if high - low < 0.1:  # a flat line belongs in the middle
            low, high = low - 0.5, high + 0.5
        depth = np.linspace(1.0, len(y), max(240, 4 * len(y)))
        fine = np.interp(depth, np.arange(1, len(y) + 1), y)
        lines = braille(depth, fine, low, high, 24, 4)
        blocks.append([f"{title:<24}", *lines, f"{low:.3g} to {high:.3g}".ljust(24)])
    return "\n".join("  ".join(row).rstrip() for row in zip(*blocks))


def _log(value: float) -> float:
    return math.log10(value) if 0.0 < value < math.inf else math.nan


def _table(found: Signal) -> str:
    layers = found.layers
    rows: list[tuple[str, ...]] = [("", "layer", "mean", "E y²", "pred.", "corr.", "pred.", "grad.", "pred.")]
    shown = set(range(len(layers)))
    if len(layers) > _ROWS:
        shown = set(range(6)) | set(range(len(layers) - 4, len(layers)))
        for b in found.breaks:
            shown |= {i for i in (b.depth - 2, b.depth - 1, b.depth) if 0 <= i < len(layers)}
        room = max(0, _ROWS - len(shown))
        shown |= {round(6 + i * (len(layers) - 10) / max(room, 1)) for i in range(room)}
    last = -1
    for i in sorted(shown):
        if i > last + 1:
            rows.append(("", "⋮", "", "", "", "", "", "", ""))
        row = layers[i]
        star = "*" if "input" in row.restarted and i else ""
        rows.append((f"{i + 1}", row.name, _short(row.mean), _short(row.square), _short(row.predicted_square) + star,
                     _part(row.correlation), _part(row.predicted_correlation), _short(row.gradient),
                     _short(row.predicted_gradient)))  # fmt: skip
        last = i
    return table(rows, (3, 13, 7, 7, 8, 6, 6, 7, 7))


def _short(value: float) -> str:
    if math.isnan(value):
        return "-"
    small = 99.5 > abs(value) >= 0.01 or value == 0.0
    text = f"{value:.2g}" if small else f"{value:.0f}" if 99.5 <= abs(value) < 9999.5 else f"{value:.1e}"
    return text.replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def _part(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.3f}" if value < 0.9995 else f"{value:.4f}"


def _streams(found: Signal) -> str:
    squares = [s.square for s in found.streams]
    parts = [s.branch / s.square for s in found.streams if s.square > 0.0]
    text = (f"{_count(len(squares), 'residual sum')}: mean square {_short(squares[0])} after the first, "
            f"{_short(squares[-1])} after the last; a branch is {_short(min(parts, default=math.nan))} to "
            f"{_short(max(parts, default=math.nan))} of its sum")  # fmt: skip
    return folded(text)


def _remedies(found: Signal) -> str:
    rows: list[tuple[str, ...]] = [("tried on a copy", "E y²", "corr.", "gradient", "still breaks")]
    notes: list[str] = []
    best = found.best
    for r in found.remedies:
        if r.failed:
            notes.append(f"{r.call}: not possible: {r.failed}")
            continue
        what = ", ".join(sorted({b.what.removeprefix("the ").removeprefix("inputs ") for b in r.breaks})) or "nothing"
        rows.append((r.name, _short(r.square), _part(r.correlation), _short(r.gradient), what))
        if r.name != r.call and r is not best:
            notes.append(f"{r.name}: {r.call}")
    if best is None:
        verdict = "None of these mends it; a normalisation or residual branches would change the network itself."
    else:
        verdict = f"What mends it{'' if best.mends else ', in part'}: {best.call}"
    caption = "The last layer's mean square and correlation; the first layer's gradient over the last's."
    return "\n".join([table(rows, (30, 8, 6, 8, 20)), *map(folded, notes), folded(caption), "", folded(verdict)])

"""A self-contained SVG of activations and their derivatives: no dependency, readable in light and dark."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ogive.activation import Activation
from ogive.derive.axes import Array, Scale, number, path, plainest, ticks, worth_showing
from ogive.derive.calculus import derivative
from ogive.errors import InputError, ParameterError
from ogive.kernels import apply
from ogive.lookup import get

# Okabe and Ito's palette, darkened on white and lightened on black to a contrast of at least 3 to 1.
_LIGHT = ("#0072b2", "#c44d00", "#008060", "#a8487f", "#7a6a00", "#3b7ea1", "#5f3dc4", "#444444")
_DARK = ("#56b4e9", "#ff8f4d", "#2fc79f", "#e69fc4", "#e8d44d", "#9ccbe8", "#b197fc", "#cccccc")
_DASHES = ("", "7 4", "2 3", "9 3 2 3", "13 4", "4 2 1 2", "1 3", "10 3 2 3 2 3")
_PRIMES = ("", "′", "″", "‴")
_MOST = len(_LIGHT)
_JUMPS = 24  # more jumps than this are drawn without their end points
_POINTS_PER_PIXEL = 3


class Svg(str):
    """SVG text that notebooks show as a picture."""

    def _repr_svg_(self) -> str:
        return str(self)

    def save(self, path: str | Path) -> Path:
        """Write the picture to ``path`` and return it."""
        target = Path(path)
        target.write_text(self, encoding="utf-8")
        return target


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


def plot(
    spec: Any,
    *,
    derivatives: int = 1,
    lo: float = -5.0,
    hi: float = 5.0,
    width: int = 640,
    height: int = 400,
    theme: str = "auto",
) -> Svg:
    """An SVG of f and its derivatives on [lo, hi], as a string with ``save(path)``.

    Args:
        spec: a name, a formula, an activation, or a list of up to eight of them. One activation shares one
            panel with its derivative unless their sizes differ fourfold; several get a panel for each order.
        derivatives: 0 (f alone) to 3.
        lo, hi: the input range, finite.
        width, height: of the picture in pixels, at least 240 by 160.
        theme: "auto" follows the reader's preference, "light" and "dark" do not.

    Kinks and jumps are found from the formula; a jump is a gap with an empty circle at each limit and a full
    one at the value. Raises :class:`~ogive.errors.InputError` for a gate of two inputs and
    :class:`~ogive.errors.ParameterError` for arguments out of range.

    >>> plot("gelu")[:4]
    '<svg'
    """
    acts = [get(s) for s in spec] if isinstance(spec, (list, tuple)) else [get(spec)]
    _check(acts, derivatives, lo, hi, width, height, theme)
    labels = _labels(acts)
    samples = max(200, int(width * _POINTS_PER_PIXEL))
    curves = [
        _trace(
            derivative(act, k), label, k, i if len(acts) > 1 else k, lo, hi, samples, act.backward is not None
        )
        for k in range(derivatives + 1)
        for i, (act, label) in enumerate(zip(acts, labels))
    ]
    reach = max(abs(lo), abs(hi))
    panels = [[c for c in curves if c.order == k] for k in range(derivatives + 1)]
    if len(acts) == 1:
        panels = _together(panels, reach)
    return _draw(acts, labels, panels, reach, lo, hi, width, height, theme)


def _check(
    acts: Sequence[Activation], derivatives: int, lo: float, hi: float, width: int, height: int, theme: str
) -> None:
    if not 1 <= len(acts) <= _MOST:
        raise InputError(f"plot takes 1 to {_MOST} activations; got {len(acts)}")
    for act in acts:
        if len(act.inputs) != 1:
            raise InputError(
                f"plot of {act.label}: it has the inputs {' and '.join(act.inputs)}; a plot shows functions of one, "
                f"for instance ogive.define('{act.label}(x, 1)')"
            )
    if derivatives not in range(4) or isinstance(derivatives, bool):
        raise ParameterError(f"plot: derivatives={derivatives!r}; it takes 0, 1, 2 or 3")
    if not (
        math.isfinite(lo)
        and math.isfinite(hi)
        and 0 < hi - lo < 1e12
        and hi - lo > 1e-9 * max(abs(lo), abs(hi))
    ):
        raise ParameterError(f"plot: lo={lo!r}, hi={hi!r}; it takes finite numbers with lo < hi")
    if width < 240 or height < 160:
        raise ParameterError(f"plot: width={width!r}, height={height!r}; at least 240 by 160 pixels")
    if theme not in ("auto", "light", "dark"):
        raise ParameterError(f"plot: theme={theme!r}; it takes 'auto', 'light' or 'dark'")


def _labels(acts: Sequence[Activation]) -> list[str]:
    """Names, or formulas with parameter values; told apart by the parameters where two would be the same."""
    labels = [a.name or str(a.fixed()) for a in acts]
    return [
        f"{label} ({', '.join(f'{k}={v:g}' for k, v in a.defaults.items())})"
        if labels.count(label) > 1
        else label
        for label, a in zip(labels, acts)
    ]


# Sampling


def _values(act: Activation, x: Array) -> Array:
    y = apply(act.form, torch.float64, (torch.from_numpy(np.ascontiguousarray(x)), *act.defaults.values()))
    return y.detach().expand(len(x)).numpy()


def _trace(
    act: Activation, label: str, order: int, look: int, lo: float, hi: float, samples: int, surrogate: bool
) -> Curve:
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
        y = _values(act, inside)
        if pieces and _joined(pieces[-1][1][-1], y[0]):
            before = pieces.pop()
            pieces.append((np.concatenate([before[0], x]), np.concatenate([before[1], y])))
        else:
            if pieces:
                at = plainest(a)
                jumps.append(
                    (a, float(pieces[-1][1][-1]), float(_values(act, np.array([at]))[0]), float(y[0]))
                )
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
    for part in np.split(
        np.arange(len(x)), np.unique(np.concatenate([cut, np.flatnonzero(np.diff(bad)) + 1]))
    ):
        if len(part) > 1 and not bad[part[0]]:
            out.append((x[part], y[part]))
    return out


def _together(panels: list[list[Curve]], reach: float) -> list[list[Curve]]:
    """One panel for all orders whose ranges fit on one axis."""
    joined: list[list[Curve]] = []
    for panel in panels:
        low, high = worth_showing([c.values for c in panel], reach)
        if joined:
            a, b = worth_showing([c.values for c in joined[-1]], reach)
            if max(high, b) - min(low, a) <= 4 * min(high - low, b - a) or high - low < b - a:
                joined[-1] = joined[-1] + panel
                continue
        joined.append(list(panel))
    return joined


# Drawing


def _style(scope: str, theme: str) -> str:
    def palette(colours: Sequence[str], ink: str, faint: str, grid: str, paper: str) -> str:
        series = "".join(f"--c{i}:{c};" for i, c in enumerate(colours))
        return f"#{scope}{{{series}--ink:{ink};--faint:{faint};--grid:{grid};--paper:{paper}}}"

    light = palette(_LIGHT, "#1f2328", "#59636e", "#e3e6ea", "#ffffff")
    dark = palette(_DARK, "#e6edf3", "#9aa4ae", "#2d333b", "#11151a")
    chosen = {"light": light, "dark": dark, "auto": f"{light}@media(prefers-color-scheme:dark){{{dark}}}"}[
        theme
    ]
    looks = "".join(
        f"#{scope} .c{i}{{--c:var(--c{i});stroke-dasharray:{d or 'none'}}}" for i, d in enumerate(_DASHES)
    )
    return (
        chosen + looks
        + f"#{scope} .paper{{fill:var(--paper)}}#{scope} .grid{{stroke:var(--grid)}}#{scope} .axis{{stroke:var(--faint)}}"
        f"#{scope} text{{font:12px system-ui,-apple-system,'Segoe UI',sans-serif;fill:var(--faint)}}"
        f"#{scope} .key{{fill:var(--ink)}}#{scope} .line{{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round}}"
        f"#{scope} .dot{{stroke:var(--c);stroke-width:1.5;stroke-dasharray:none;fill:var(--c)}}"
        f"#{scope} .open{{fill:var(--paper)}}"
    )  # fmt: skip


def _draw(
    acts: Sequence[Activation], labels: Sequence[str], panels: Sequence[Sequence[Curve]], reach: float, lo: float,
    hi: float, width: int, height: int, theme: str,
) -> Svg:  # fmt: skip
    key = repr((labels, [str(a.fixed()) for a in acts], lo, hi, width, height, theme, len(panels)))
    scope = "ogive-" + hashlib.sha256(key.encode()).hexdigest()[:10]
    ranges = [worth_showing([c.values for c in panel], reach) for panel in panels]
    rows = [_legend(panel, width) for panel in panels]
    left = 14 + 7 * max(len(number(t)) for low, high in ranges for t in ticks(low, high, 6))
    heads = [10 + 20 * max(y for *_, y in row) + 20 for row in rows]
    room = (height - 34 - sum(heads)) / len(panels)
    if room < 60:  # a tall legend makes the picture taller, never the plot flat
        height, room = int(34 + sum(heads) + 60 * len(panels)), 60.0
    parts: list[str] = []
    top = 0.0
    for i, (panel, row, (low, high)) in enumerate(zip(panels, rows, ranges)):
        parts.append(_keys(row, top))
        top += heads[i]
        xs = Scale(lo, hi, left, width - 14)
        ys = Scale(low, high, top + room - 6, top)
        parts.append(_panel(panel, xs, ys, f"{scope}-{i}", last=i == len(panels) - 1))
        top += room
    parts.append(f'<text x="{0.5 * (left + width - 14):.0f}" y="{height - 6}" text-anchor="middle">x</text>')
    names = ", ".join(labels)
    title = escape(f"{names} on [{number(lo)}, {number(hi)}]")
    text = escape("; ".join(f"{label}: f(x) = {a.fixed()}" for label, a in zip(labels, acts)))
    return Svg(
        f'<svg xmlns="http://www.w3.org/2000/svg" id="{scope}" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-labelledby="{scope}-t {scope}-d" style="max-width:100%;height:auto">'
        f'<title id="{scope}-t">{title}</title><desc id="{scope}-d">{text}</desc><style>{_style(scope, theme)}</style>'
        f'<rect class="paper" width="{width}" height="{height}" rx="6"/>{"".join(parts)}</svg>'
    )


def _legend(panel: Sequence[Curve], width: int) -> list[tuple[Curve, str, float, int]]:
    """Curves of a panel with their text and place: wrapped into rows of the picture's width."""
    placed, x, row = [], 16.0, 0
    for curve in panel:
        text = curve.label if len(curve.label) <= 40 else curve.label[:39] + "…"
        room = 44 + 6.8 * len(text)
        if x > 16 and x + room > width - 10:
            x, row = 16.0, row + 1
        placed.append((curve, text, x, row))
        x += room
    return placed


def _keys(row: Sequence[tuple[Curve, str, float, int]], top: float) -> str:
    out = []
    for curve, text, x, line in row:
        y = top + 16 + 20 * line
        full = f"<title>{escape(curve.label)}</title>" if text != curve.label else ""
        out.append(f'<path class="line c{curve.look}" d="M{x:.0f} {y:.0f}h26"/>'
                   f'<text class="key" x="{x + 32:.0f}" y="{y + 4:.0f}">{full}{escape(text)}</text>')  # fmt: skip
    return "".join(out)


def _panel(panel: Sequence[Curve], xs: Scale, ys: Scale, key: str, last: bool) -> str:
    top, bottom, left, right = ys.end, ys.start, xs.start, xs.end
    out = [f'<clipPath id="{key}"><rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
           f'height="{bottom - top:.1f}"/></clipPath>']  # fmt: skip
    for t in ticks(xs.low, xs.high, max(3, int((right - left) / 70))):
        kind = "axis" if t == 0 else "grid"
        out.append(f'<path class="{kind}" d="M{xs(t):.1f} {top:.1f}V{bottom:.1f}"/>')
        if last:
            out.append(f'<text x="{xs(t):.1f}" y="{bottom + 15:.1f}" text-anchor="middle">{number(t)}</text>')
    for t in ticks(ys.low, ys.high, max(4, int((bottom - top) / 45))):
        kind = "axis" if t == 0 else "grid"
        out.append(f'<path class="{kind}" d="M{left:.1f} {ys(t):.1f}H{right:.1f}"/>'
                   f'<text x="{left - 6:.1f}" y="{ys(t) + 4:.1f}" text-anchor="end">{number(t)}</text>')  # fmt: skip
    drawn = sorted(panel, key=lambda c: c.look)  # dashes over full lines: equal curves both show
    out.append(f'<g clip-path="url(#{key})">')
    out += [f'<path class="line c{c.look}" d="{path(c.pieces, xs, ys)}"/>' for c in drawn]
    out.append("</g>")
    for c in drawn:
        if len(c.jumps) <= _JUMPS:
            out += [_dots(c, jump, xs, ys) for jump in c.jumps]
    return "".join(out)


def _dots(curve: Curve, jump: tuple[float, float, float, float], xs: Scale, ys: Scale) -> str:
    x, before, at, after = jump
    out = []
    for y, kind in ((before, "dot open"), (after, "dot open"), (at, "dot")):
        if math.isfinite(y) and ys.low <= y <= ys.high:
            out.append(f'<circle class="{kind} c{curve.look}" cx="{xs(x):.1f}" cy="{ys(y):.1f}" r="3"/>')
    return "".join(out)

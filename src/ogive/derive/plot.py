"""A self-contained SVG of activations and their derivatives: no dependency, readable in light and dark."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from ogive.activation import Activation
from ogive.derive.calculus import derivative
from ogive.derive.drawing.axes import Scale, number, path, ticks, worth_showing
from ogive.derive.drawing.curve import Curve, trace
from ogive.errors import InputError, ParameterError
from ogive.lookup import get

# Okabe and Ito's palette, darkened on white and lightened on black to a contrast of at least 3 to 1.
_LIGHT = ("#0072b2", "#c44d00", "#008060", "#a8487f", "#7a6a00", "#3b7ea1", "#5f3dc4", "#444444")
_DARK = ("#56b4e9", "#ff8f4d", "#2fc79f", "#e69fc4", "#e8d44d", "#9ccbe8", "#b197fc", "#cccccc")
_DASHES = ("", "7 4", "2 3", "9 3 2 3", "13 4", "4 2 1 2", "1 3", "10 3 2 3 2 3")
_PRIMES = ("", "′", "″", "‴")
_MOST = len(_LIGHT)
_RULES = (
    ".paper{fill:var(--paper)}",
    ".grid{stroke:var(--grid)}",
    ".axis{stroke:var(--faint)}",
    "text{font:12px system-ui,-apple-system,'Segoe UI',sans-serif;fill:var(--faint)}",
    ".key{fill:var(--ink)}",
    ".line{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round}",
    ".dot{stroke:var(--c);stroke-width:1.5;stroke-dasharray:none;fill:var(--c)}",
    ".open{fill:var(--paper)}",
)
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
        trace(derivative(act, k), label, k, i if len(acts) > 1 else k, lo, hi, samples, act.backward is not None)
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
                f"plot of {act.label}: it has the inputs {' and '.join(act.inputs)}; "
                f"a plot shows functions of one, for instance ogive.define('{act.label}(x, 1)')"
            )
    if derivatives not in range(4) or isinstance(derivatives, bool):
        raise ParameterError(f"plot: derivatives={derivatives!r}; it takes 0, 1, 2 or 3")
    if not (math.isfinite(lo) and math.isfinite(hi) and 0 < hi - lo < 1e12 and hi - lo > 1e-9 * max(abs(lo), abs(hi))):
        raise ParameterError(f"plot: lo={lo!r}, hi={hi!r}; it takes finite numbers with lo < hi")
    if width < 240 or height < 160:
        raise ParameterError(f"plot: width={width!r}, height={height!r}; at least 240 by 160 pixels")
    if theme not in ("auto", "light", "dark"):
        raise ParameterError(f"plot: theme={theme!r}; it takes 'auto', 'light' or 'dark'")


def _labels(acts: Sequence[Activation]) -> list[str]:
    """Names, with parameter values where two have the same; formulas with their values where there is none."""
    names = [a.name for a in acts]
    shown = []
    for a in acts:
        values = ", ".join(f"{k}={v:g}" for k, v in a.defaults.items())
        twin = a.name is not None and names.count(a.name) > 1 and values
        shown.append(f"{a.name} ({values})" if twin else a.name or str(a.fixed()))
    return shown


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
    chosen = {"light": light, "dark": dark, "auto": f"{light}@media(prefers-color-scheme:dark){{{dark}}}"}[theme]
    looks = "".join(f"#{scope} .c{i}{{--c:var(--c{i});stroke-dasharray:{d or 'none'}}}" for i, d in enumerate(_DASHES))
    return chosen + looks + "".join(f"#{scope} {rule}" for rule in _RULES)


def _draw(
    acts: Sequence[Activation],
    labels: Sequence[str],
    panels: Sequence[Sequence[Curve]],
    reach: float,
    lo: float,
    hi: float,
    width: int,
    height: int,
    theme: str,
) -> Svg:
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
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" id="{scope}" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" style="max-width:100%;height:auto" '
        f'role="img" aria-labelledby="{scope}-t {scope}-d"><title id="{scope}-t">{title}</title>'
        f'<desc id="{scope}-d">{text}</desc><style>{_style(scope, theme)}</style>'
    )
    return Svg(f'{head}<rect class="paper" width="{width}" height="{height}" rx="6"/>{"".join(parts)}</svg>')


def _legend(panel: Sequence[Curve], width: int) -> list[tuple[Curve, str, float, int]]:
    """Curves of a panel with their text and place: wrapped into rows of the picture's width."""
    placed, x, row = [], 16.0, 0
    for curve in panel:
        text = curve.label
        if len(text) > 40:  # its end tells the order
            text = f"{text[:31]}…{text[-8:]}"
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
        out.append(f'<path class="line c{curve.look}" d="M{x:.0f} {y:.0f}h26"/>')
        out.append(f'<text class="key" x="{x + 32:.0f}" y="{y + 4:.0f}">{full}{escape(text)}</text>')
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
        out.append(f'<path class="{kind}" d="M{left:.1f} {ys(t):.1f}H{right:.1f}"/>')
        out.append(f'<text x="{left - 6:.1f}" y="{ys(t) + 4:.1f}" text-anchor="end">{number(t)}</text>')
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

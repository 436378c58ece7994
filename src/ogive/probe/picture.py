"""The profile of a model by depth as an SVG: measured lines over predicted ones, breaks marked."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from ogive.derive.drawing.axes import Scale, number, ticks
from ogive.derive.plot import Svg

if TYPE_CHECKING:
    from ogive.probe.signal import Signal

_WIDTH, _PANEL, _GAP, _LEFT, _RIGHT, _TOP = 720, 150, 34, 66, 16, 62
_LIGHT = (
    "--measured:#0072b2;--predicted:#c44d00;--break:#a8487f;--ink:#1f2328;--faint:#59636e;--grid:#e3e6ea;--paper:#fff"
)
_DARK = (
    "--measured:#56b4e9;--predicted:#ff8f4d;--break:#e69fc4;--ink:#e6edf3;--faint:#9aa4ae;--grid:#2d333b;"
    "--paper:#11151a"
)
_RULES = (
    ".paper{fill:var(--paper)}", ".grid{stroke:var(--grid)}",
    "text{font:12px system-ui,-apple-system,'Segoe UI',sans-serif;fill:var(--faint)}", ".key{fill:var(--ink)}",
    ".m{fill:none;stroke:var(--measured);stroke-width:2;stroke-linejoin:round}",
    ".p{fill:none;stroke:var(--predicted);stroke-width:2;stroke-dasharray:6 4}", ".dot{fill:var(--measured)}",
    ".b{stroke:var(--break);stroke-width:1.5;stroke-dasharray:2 3}", ".bt{fill:var(--break)}",
)  # fmt: skip


def picture(found: Signal) -> Svg:
    """Three panels over the number of the layer: mean square and gradient norm on a scale of powers, correlation."""
    layers = found.layers
    panels = [
        ("mean square of the outputs", True, [r.square for r in layers],
         [r.predicted_square for r in layers], "signal"),
        ("correlation of two inputs", False, [r.correlation for r in layers],
         [r.predicted_correlation for r in layers], "alike"),
        ("gradient norm", True, [r.gradient for r in layers], [r.predicted_gradient for r in layers], "gradient"),
    ]  # fmt: skip
    height = _TOP + 3 * (_PANEL + _GAP) + 26
    scope = "ogive-" + hashlib.sha256(repr(found.layers).encode()).hexdigest()[:10]
    xs = Scale(1.0, float(max(2, len(layers))), _LEFT, _WIDTH - _RIGHT)
    body = []
    for i, (title, powers, measured, predicted, word) in enumerate(panels):
        top = _TOP + i * (_PANEL + _GAP)
        marks = [(b.depth, b.what) for b in found.breaks if word in b.what]
        body.append(_panel(title, powers, measured, predicted, marks, xs, float(top)))
    for t in ticks(xs.low, xs.high, 12):
        if t == int(t):
            body.append(f'<text x="{xs(t):.1f}" y="{height - 32}" text-anchor="middle">{number(t)}</text>')
    body.append(f'<text x="{0.5 * (_LEFT + _WIDTH - _RIGHT):.0f}" y="{height - 12}" text-anchor="middle">layer</text>')
    said = "; ".join(map(str, found.breaks)) or "nothing breaks"
    style = f"#{scope}{{{_LIGHT}}}@media(prefers-color-scheme:dark){{#{scope}{{{_DARK}}}}}"
    style += "".join(f"#{scope} {rule}" for rule in _RULES)
    return Svg(
        f'<svg xmlns="http://www.w3.org/2000/svg" id="{scope}" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" style="max-width:100%;height:auto" role="img" aria-labelledby="{scope}-t {scope}-d">'
        f'<title id="{scope}-t">Signal propagation through {len(layers)} layers</title>'
        f'<desc id="{scope}-d">{escape(said)}</desc><style>{style}</style>'
        f'<rect class="paper" width="{_WIDTH}" height="{height}" rx="6"/>{_legend()}{"".join(body)}</svg>'
    )


def _legend() -> str:
    return (
        '<path class="m" d="M16 18h26"/><text class="key" x="48" y="22">measured</text>'
        '<path class="p" d="M126 18h26"/><text class="key" x="158" y="22">predicted for great width</text>'
    )


def _panel(
    title: str, powers: bool, measured: Sequence[float], predicted: Sequence[float],
    marks: Sequence[tuple[int, str]], xs: Scale, top: float,
) -> str:  # fmt: skip
    lines = [[_log(v) if powers else v for v in values] for values in (predicted, measured)]
    known = [v for line in lines for v in line if math.isfinite(v)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if not powers:
        low, high = min(low, 0.0), 1.0
    least = 1.0 if powers else 0.0
    if high - low < least:
        middle = 0.5 * (low + high)
        low, high = middle - 0.5 * least, middle + 0.5 * least
    margin = 0.05 * (high - low)
    ys = Scale(low - margin, high + margin, top + _PANEL, top)
    out = [f'<text class="key" x="{_LEFT}" y="{top - 8:.0f}">{title}</text>']
    for t in ticks(ys.low, ys.high, 6):
        if powers and t != int(t):
            continue
        label = "1" + f'0<tspan dy="-4" font-size="9">{number(t)}</tspan>' if powers else number(t)
        out.append(f'<path class="grid" d="M{_LEFT} {ys(t):.1f}H{_WIDTH - _RIGHT}"/>')
        out.append(f'<text x="{_LEFT - 8}" y="{ys(t) + 4:.1f}" text-anchor="end">{label}</text>')
    for depth, what in marks:
        x = xs(float(depth))
        side, at = ("end", x - 5) if x > 0.6 * _WIDTH else ("start", x + 5)
        out.append(f'<path class="b" d="M{x:.1f} {top:.0f}V{top + _PANEL:.0f}"/>')
        value = lines[1][depth - 1]
        y = top + (12 if not math.isfinite(value) or ys(value) > top + 0.5 * _PANEL else _PANEL - 6)  # off the line
        out.append(f'<text class="bt" x="{at:.1f}" y="{y:.0f}" text-anchor="{side}">{escape(what)}</text>')
    for kind, line in zip(("p", "m"), lines):
        out.append(f'<path class="{kind}" d="{_path(line, xs, ys)}"/>')
    if len(measured) <= 60:
        out += [f'<circle class="dot" cx="{xs(i + 1.0):.1f}" cy="{ys(v):.1f}" r="2.2"/>'
                for i, v in enumerate(lines[1]) if math.isfinite(v)]  # fmt: skip
    return "".join(out)


def _log(value: float) -> float:
    return math.log10(value) if 0.0 < value < math.inf else math.nan


def _path(line: Sequence[float], xs: Scale, ys: Scale) -> str:
    """Path data; the pen is lifted where there is no value."""
    parts, down = [], False
    for i, value in enumerate(line):
        if math.isfinite(value):
            parts.append(f"{'L' if down else 'M'}{xs(i + 1.0):.1f} {ys(value):.1f}")
        down = math.isfinite(value)
    return "".join(parts)

"""A roofline as SVG: the primitives of a formula a second, under the roofs of memory and arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from ogive.derive.drawing.axes import Scale
from ogive.derive.plot import Svg
from ogive.errors import InputError
from ogive.speed.results import Report, Row, short
from ogive.speed.table import SMALL

PANEL, HEIGHT, LEFT, BOTTOM, TOP = 430, 330, 52, 42, 34
_HEAD = 66
_MOST_LABELS = 16
_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
# Okabe and Ito's blue and vermilion, darkened on white and lightened on black.
_STYLE = """
svg{--paper:#fff;--ink:#222;--faint:#666;--grid:#e4e4e4;--ogive:#0072b2;--native:#c44d00}
@media(prefers-color-scheme:dark){svg{--paper:#16181c;--ink:#e8e8e8;--faint:#a0a0a0;--grid:#33363c;\
--ogive:#56b4e9;--native:#ff8f4d}}
.paper{fill:var(--paper)}.grid{stroke:var(--grid)}
text{font:11px system-ui,-apple-system,'Segoe UI',sans-serif;fill:var(--faint)}
.ink{fill:var(--ink)}.head{font-size:13px;fill:var(--ink);font-weight:600}
.roof{stroke:var(--ink);stroke-width:1.6;fill:none}.leader{stroke:var(--faint);stroke-width:.6}
.ogive{stroke:var(--ogive);fill:var(--ogive);stroke-width:1.4}
.native{stroke:var(--native);fill:none;stroke-width:1.6}.open{fill:var(--paper)}
.pair{stroke:var(--native);stroke-width:.9;stroke-dasharray:2 2}"""


@dataclass(frozen=True)
class Point:
    """One function in one direction: primitives for a byte moved, primitives a second of Ogive and of torch
    native (None: torch has none)."""

    function: str
    direction: str
    intensity: float
    ogive: float
    native: float | None


def points(report: Report, dtype: str, size: int) -> list[Point]:
    """The points of one panel. Forward reads and writes one tensor of the dtype; backward reads two and writes
    one; a gate one more of each that it has."""
    found = []
    for function in report.functions():
        for direction in ("forward", "backward"):
            row = report.best(function, dtype, size, direction)
            if row is None:
                continue
            other = report.best(function, dtype, size, direction, "native")
            work = row.primitives * size
            moved = streams(row) * _BYTES[dtype] * size
            found.append(Point(function, direction, work / moved, work / row.seconds,
                               work / other.seconds if other else None))  # fmt: skip
    return found


def streams(row: Row) -> int:
    """How many tensors the floor of ``row`` moves."""
    return sum({"copy_": 2, "add": 3}[part] for part in row.floor.split(" + "))


def bandwidth(report: Report, dtype: str, size: int) -> float:
    """Bytes a second of the floors of a panel: the fastest."""
    rows = [r for r in report.rows if (r.dtype, r.size) == (dtype, size)]
    return max(streams(r) * _BYTES[dtype] * size / r.floor_seconds for r in rows)


def roofline(report: Report) -> Svg:
    """The picture: a panel for each dtype and size of at least 1000 elements, two in a row.

    The slanted roof is the bandwidth of the floors (copy_ and the three-stream add), the level one a float32
    matrix product. A primitive (a sum, an exponential) counts as one operation, so the level roof is out of
    reach for exponentials computed as such (a table in their place can pass it); the vertical distance from a
    point to the slanted roof is its multiple of the floor. Raises :class:`~ogive.errors.InputError` when there
    is nothing to draw.
    """
    panels = [(d, n) for d, n in report.panels() if n >= SMALL and points(report, d, n)]
    if not panels:
        raise InputError(f"a roofline needs times of forward or backward at {SMALL} elements or more")
    columns = min(2, len(panels))
    width = columns * PANEL + 20
    height = _HEAD + math.ceil(len(panels) / columns) * HEIGHT + 10
    m = report.machine
    title = f"Roofline of {m.name}"
    about = "Primitive operations a second over primitive operations for a byte moved, both logarithmic."
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img" aria-labelledby="t d">',
        f'<title id="t">{escape(title)}</title><desc id="d">{about}</desc><style>{_STYLE}</style>',
        f'<rect class="paper" width="{width}" height="{height}"/>',
        f'<text class="head" x="14" y="22">{escape(_heading(report))}</text>',
        _legend(14, 44),
    ]
    for i, (dtype, size) in enumerate(panels):
        x, y = 10 + (i % columns) * PANEL, _HEAD + (i // columns) * HEIGHT
        parts.append(f'<g transform="translate({x} {y})">{_panel(report, dtype, size)}</g>')
    return Svg("".join([*parts, "</svg>"]))


def _heading(report: Report) -> str:
    m = report.machine
    threads = f", {m.threads} thread{'s' * (m.threads != 1)}" if m.device == "cpu" else ""
    return f"{m.name}{threads}, {m.capability}, torch {m.torch}"[:100]


def _legend(x: float, y: float) -> str:
    marks = [
        ('<circle class="ogive" cx="4" cy="-4" r="3.5"/>', "Ogive forward", 96),
        ('<circle class="ogive open" cx="4" cy="-4" r="3.5"/>', "Ogive backward", 106),
        ('<path class="native" d="M0 -8L8 0M0 0L8 -8"/>', "torch native", 86),
        ('<path class="roof" d="M0 -4H14"/>', "", 18),
    ]
    parts, at = [], x
    for mark, text, room in marks:
        words = f'<text class="ink" x="13" y="0">{text}</text>' if text else ""
        parts.append(f'<g transform="translate({at} {y})">{mark}{words}</g>')
        at += room
    parts.append(f'<text class="ink" x="{at}" y="{y}">roof: copy_ and add; matrix product</text>')
    return "".join(parts)


def _decades(low: float, high: float) -> list[float]:
    return [10.0**k for k in range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)]


def _panel(report: Report, dtype: str, size: int) -> str:
    shown = points(report, dtype, size)
    memory, peak = bandwidth(report, dtype, size), report.machine.peak
    low = min(p.intensity for p in shown) / 1.7
    high = max(p.intensity for p in shown) * 2.6
    rates = [v for p in shown for v in (p.ogive, p.native) if v]
    bottom = min(rates) / 2.0
    top = max(max(rates), min(peak, memory * high)) * 1.8
    xs = Scale(math.log10(low), math.log10(high), LEFT, PANEL - 14)
    ys = Scale(math.log10(bottom), math.log10(top), HEIGHT - BOTTOM, TOP)

    def at(x: float, y: float) -> tuple[float, float]:
        return xs(math.log10(x)), ys(math.log10(y))

    parts = [f'<text class="head" x="{LEFT}" y="{TOP - 12}">{dtype}, {short(size)} elements</text>']
    for v in _round(low, high):
        x = xs(math.log10(v))
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">{v:g}</text>')
    for v in _decades(bottom, top):
        y = ys(math.log10(v))
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{PANEL - 14}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{v / 1e9:g}</text>')
    parts.append(
        f'<text x="{(LEFT + PANEL) / 2:.0f}" y="{HEIGHT - BOTTOM + 30}" text-anchor="middle">primitives a byte</text>'
        f'<text transform="translate(13 {(HEIGHT - BOTTOM + TOP) / 2:.0f}) rotate(-90)" text-anchor="middle">'
        "billion primitives a second</text>"
    )
    knee = min(max(peak / memory, low), high)
    corner = [at(max(low, bottom / memory), max(memory * low, bottom)), at(knee, memory * knee)]
    corner += [at(high, peak)] if knee < high else []
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in corner)
    parts.append(f'<path class="roof" d="M{path}"/>')
    parts.append(_marks(shown, at))
    return "".join(parts)


def _round(low: float, high: float) -> list[float]:
    values = [m * d for d in _decades(low / 10, high) for m in (1.0, 2.0, 5.0) if low <= m * d <= high]
    return [float(f"{v:.6g}") for v in values]


def _marks(shown: Sequence[Point], place: Callable[[float, float], tuple[float, float]]) -> str:
    pairs, marks = [], []
    taken: list[tuple[float, float, float, float]] = []
    for p in shown:
        x, y = place(p.intensity, p.ogive)
        taken.append((x - 4, y - 4, x + 4, y + 4))
        name = escape(f"{p.function} {p.direction}")
        if p.native is not None:
            nx, ny = place(p.intensity, p.native)
            pairs.append(f'<path class="pair" d="M{x:.1f} {y:.1f}L{nx:.1f} {ny:.1f}"/>')
            d = f"M{nx - 3.5:.1f} {ny - 3.5:.1f}l7 7m-7 0l7 -7"
            marks.append(f'<path class="native" d="{d}"><title>{name}, torch native</title></path>')
            taken.append((nx - 4, ny - 4, nx + 4, ny + 4))
        kind = "ogive" if p.direction == "forward" else "ogive open"
        marks.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"><title>{name}</title></circle>')
    labels = []
    named = [p for p in shown if p.direction == "forward"] or list(shown)
    # of many, those farthest below the roof are named
    chosen = sorted(named, key=lambda p: p.ogive / p.intensity)[:_MOST_LABELS]
    for p in sorted(chosen, key=lambda p: -p.ogive):
        x, y = place(p.intensity, p.ogive)
        text = p.function if len(p.function) <= 14 else p.function[:13] + "…"
        spot = _spot(x, y, 6.2 * len(text), taken)
        if spot is None:
            continue
        lx, ly = spot
        taken.append((lx, ly - 9, lx + 6.2 * len(text), ly + 2))
        if math.hypot(lx - x, ly - y) > 22 and lx > x:
            labels.append(f'<path class="leader" d="M{x:.1f} {y:.1f}L{lx - 1:.1f} {ly - 3:.1f}"/>')
        labels.append(f'<text class="ink" x="{lx:.1f}" y="{ly:.1f}">{escape(text)}</text>')
    return "".join(pairs + marks + labels)


def _spot(x: float, y: float, width: float, taken: Sequence[tuple[float, ...]]) -> tuple[float, float] | None:
    """Where a label of ``width`` beside (x, y) covers nothing: right, left, then farther up and down."""
    for shift in (0, 11, -11, 22, -22, 33, -33, 44, -44):
        for left in (x + 7, x - 7 - width, x + 22):
            box = (left, y + shift - 5, left + width, y + shift + 6)
            if left < LEFT or box[2] > PANEL - 8 or box[1] < TOP or box[3] > HEIGHT - BOTTOM:
                continue
            if all(box[2] < t[0] or box[0] > t[2] or box[3] < t[1] or box[1] > t[3] for t in taken):
                return left, y + shift + 4
    return None

"""Scales, axes and marks of the report's charts: inline SVG, coloured by CSS, readable without colour.

An activation keeps its class (a0, a1, ...: the colour), its dash and its marker through the whole
report. Charts are drawn 360 to 420 units wide, about their size on a phone, so text keeps its size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ogive.bench.report.markup import Child, Markup, el, join
from ogive.derive.drawing.axes import Scale, ticks

__all__ = [
    "Look", "Scale", "decimals", "figure", "label", "looks", "number", "span", "ticks", "tidy",
    "x_axis", "y_axis",
]  # fmt: skip

COLOURS = 8  # classes a0 .. a7 of report.css
_DASHES = (None, "7 3", "2 3", "9 3 2 3", "12 4", "4 2 1 2")
# Unit markers of about equal area: circle, square, triangle, diamond, down triangle, plus, cross.
_MARKERS = (
    "M-1 0a1 1 0 1 0 2 0a1 1 0 1 0 -2 0z",
    "M-.9 -.9h1.8v1.8h-1.8z",
    "M0 -1.15L1.1 .8H-1.1z",
    "M0 -1.25L1.1 0L0 1.25L-1.1 0z",
    "M0 1.15L1.1 -.8H-1.1z",
    "M-.4 -1.15h.8v.75h.75v.8h-.75v.75h-.8v-.75h-.75v-.8h.75z",
    "M-1 -.5L-.5 -1L0 -.5L.5 -1L1 -.5L.5 0L1 .5L.5 1L0 .5L-.5 1L-1 .5L-.5 0z",
)


@dataclass(frozen=True)
class Look:
    """How one activation is drawn everywhere: colour class, dash, marker."""

    act: str
    index: int

    @property
    def class_(self) -> str:
        """CSS class of its colour."""
        return f"a{self.index % COLOURS}"

    @property
    def dash(self) -> str | None:
        """Its stroke-dasharray; None is a full line. Colours and dashes repeat together after 24."""
        return _DASHES[self.index % len(_DASHES)]

    def marker(self, x: float, y: float, size: float = 4.2, hollow: bool = False) -> Markup:
        """Its marker at a point; hollow means not resolved."""
        return el(
            "path",
            d=_MARKERS[self.index % len(_MARKERS)],
            transform=f"translate({x:.1f} {y:.1f}) scale({size:g})",
            class_=f"mark {self.class_}" + (" hollow" if hollow else ""),
        )

    def line(self, points: Sequence[tuple[float, float]]) -> Markup:
        """A curve in its colour and dash."""
        d = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        return el("path", d=d, class_=f"line {self.class_}", stroke_dasharray=self.dash)

    def swatch(self) -> Markup:
        """Line and marker for a legend or a table head."""
        return el(
            "svg", self.line([(1, 6), (29, 6)]), self.marker(15, 6, 3.8),
            viewBox="0 0 30 12", class_="swatch", aria_hidden="true",
        )  # fmt: skip


def looks(acts: Sequence[str]) -> dict[str, Look]:
    """The look of every activation, by its place in the experiment."""
    return {act: Look(act, i) for i, act in enumerate(acts)}


def span(values: Sequence[float], pad: float = 0.06) -> tuple[float, float]:
    """Lowest and highest finite value, a little wider; never empty.

    >>> span([1.0, 2.0], pad=0.5)
    (0.5, 2.5)
    """
    finite = [v for v in values if math.isfinite(v)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    room = pad * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def decimals(step: float) -> int:
    """Decimals that tell values `step` apart, 0 to 6."""
    return min(6, max(0, -math.floor(math.log10(step) + 1e-9))) if step > 0 and math.isfinite(step) else 3


def number(value: float | None, places: int | None = None) -> str:
    """A number for a reader: a true minus, thin spaces between thousands, four digits unless told.

    >>> number(-0.5, 2), number(1234567.0), number(None)
    ('−0.50', '1\u2009234\u2009567', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    if places is not None:
        shown = f"{value:,.{places}f}"
    elif abs(value) >= 1000:
        shown = f"{value:,.0f}"
    else:
        shown = f"{value:.3g}"
    if shown.strip("-0.") == "":
        shown = shown.lstrip("-")
    return shown.replace(",", "\u2009").replace("-", "−")


def tidy(name: str, most: int = 14) -> str:
    """A label that fits; the full name is in the element's title.

    >>> tidy("x * sigmoid(1.702 * x)")
    'x * sigmoid(1…'
    """
    return name if len(name) <= most else name[: most - 1] + "…"


def label(name: str, x: float, y: float, most: int = 14, **attributes: str | float) -> Markup:
    """A text label, shortened, with the full name for whoever points at it."""
    full = el("title", name) if len(name) > most else None
    return el("text", full, tidy(name, most), x=x, y=y, **attributes)


def x_axis(scale: Scale, y: float, top: float, values: Sequence[float], show: Callable[[float], str]) -> Markup:
    """Grid lines from top to y and their numbers below."""
    return join(
        (el("line", x1=scale(v), x2=scale(v), y1=top, y2=y, class_="grid") for v in values),
        (el("text", show(v), x=scale(v), y=y + 14, class_="tick", text_anchor="middle") for v in values),
    )


def y_axis(scale: Scale, x: float, right: float, values: Sequence[float], show: Callable[[float], str]) -> Markup:
    """Grid lines from x to right and their numbers on the left."""
    return join(
        (el("line", y1=scale(v), y2=scale(v), x1=x, x2=right, class_="grid") for v in values),
        (el("text", show(v), x=x - 5, y=scale(v) + 4, class_="tick", text_anchor="end") for v in values),
    )


def figure(title: str, description: str, width: int, height: float, *parts: Child, key: str) -> Markup:
    """An SVG with a title and a description that a screen reader reads.

    Args:
        title, description: what it shows, and what is seen in it.
        width, height: of the view box.
        key: unique in the page, for the ids.
    """
    return el(
        "svg", el("title", title, id=f"{key}-t"), el("desc", description, id=f"{key}-d"), *parts,
        viewBox=f"0 0 {width} {height:g}", role="img", aria_labelledby=f"{key}-t {key}-d", class_="chart",
    )  # fmt: skip

"""The picture of one activation: f, f' and f'' in three panels, kinks, jumps, flat stretches, asymptotes.

Colours come from the page's style sheet, so that a picture follows the page's theme; assets/plot.js draws the
same picture again when a slider moves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ogive.activation import Activation
from ogive.bench.report.markup import Child, Markup, el, join
from ogive.derive.calculus import derivative
from ogive.derive.drawing.axes import Array, Scale, number, path, ticks, worth_showing
from ogive.derive.drawing.curve import Curve, trace
from ogive.derive.limits import Limits
from ogive.derive.observed import values
from ogive.errors import OgiveError

REACH = 5.0  # half-width of the input axis
WIDTH = 640
PANELS = ((24, 264), (306, 406), (448, 548))  # top and bottom of f, f', f''
HEIGHT = 572
LEFT, RIGHT = 52, 628
FLAT = 0.01  # where |f'| is below this share of its largest value on show, the function counts as flat
_SHORTEST = 0.4  # a flat stretch shorter than this is a stationary point, not saturation
_PRIMES = ("f(x)", "f′(x)", "f″(x)")
_MOST_MARKS = 24


@dataclass(frozen=True)
class Picture:
    """An SVG, and what it marks within [-5, 5]: kinks, jumps, and stretches where f is flat."""

    svg: Markup
    kinks: tuple[float, ...]
    jumps: tuple[float, ...]
    flat: tuple[tuple[float, float], ...]


def picture(act: Activation, limits: Limits | None, kinks: Sequence[float]) -> Picture:
    """Draw ``act`` (of one input) with its derivatives on [-5, 5].

    ``limits`` gives the asymptotes, ``kinks`` are where the slope jumps. Raises
    :class:`~ogive.errors.OgiveError` where nothing can be drawn.
    """
    label, surrogate = act.name or "f", act.backward is not None
    curves = [trace(derivative(act, k), label, k, k, -REACH, REACH, 2 * WIDTH, surrogate) for k in range(3)]
    if not curves[0].pieces:
        raise OgiveError(f"{act.label} has no finite value on [-{REACH:g}, {REACH:g}]")
    flat = flat_stretches(curves[1])
    xs = Scale(-REACH, REACH, LEFT, RIGHT)
    parts: list[Child] = []
    for k, (curve, (top, bottom)) in enumerate(zip(curves, PANELS)):
        low, high = worth_showing([curve.values], REACH)
        ys = Scale(low, high, bottom, top)
        title = _PRIMES[k] + (" (declared backward)" if k and surrogate else "")
        extra: list[Child] = []
        if k == 0:
            extra = [_asymptotes(limits, xs, ys), _kinks(act, kinks, xs, ys)]
        parts.append(_panel(curve, title, xs, ys, flat if k < 2 else (), extra, last=k == 2))
    shown = tuple(v for v in kinks if abs(v) < REACH)
    jumps = tuple(j[0] for j in curves[0].jumps)
    words = f"{label} on [{number(-REACH)}, {number(REACH)}]: {_words(shown, jumps, flat)}"
    svg = el(
        "svg", el("title", f"f, f′ and f″ of {label}"), el("desc", words), *parts,
        viewBox=f"0 0 {WIDTH} {HEIGHT}", class_="plot", role="img", aria_label=words,
    )  # fmt: skip
    return Picture(svg, shown, jumps, flat)


def spark(act: Activation) -> str:
    """A small picture of ``act`` as path data in a box of 100 by 60, empty where nothing can be drawn."""
    if len(act.inputs) != 1:
        return ""
    try:
        curve = trace(act, act.name or "f", 0, 0, -4.0, 4.0, 260, False)
    except OgiveError:
        return ""
    if not curve.pieces:
        return ""
    low, high = worth_showing([curve.values], 4.0)
    d = path(curve.pieces, Scale(-4.0, 4.0, 2, 98), Scale(low, high, 57, 3))
    axis = Scale(low, high, 57, 3)(0.0) if low < 0 < high else None
    return d + (f"|{axis:.1f}" if axis is not None else "|")


def thumbnail(data: str, class_: str = "spark") -> Markup:
    """The small picture that ``spark`` described."""
    d, _, axis = data.partition("|")
    if not d:
        return el("svg", el("text", "f(x, y)", x=50, y=34, text_anchor="middle"), viewBox="0 0 100 60", class_=class_,
                  aria_hidden="true")  # fmt: skip
    return el(
        "svg",
        el("path", d="M50 2V58" + (f"M2 {axis}H98" if axis else ""), class_="zero"),
        el("path", d=d, class_="curve"),
        viewBox="0 0 100 60", class_=class_, aria_hidden="true",
    )  # fmt: skip


def flat_stretches(slope: Curve) -> tuple[tuple[float, float], ...]:
    """Where |f'| stays below a hundredth of its largest value on show, stretches of at least 0.4."""
    if not slope.pieces:
        return ()
    x = np.concatenate([p for p, _ in slope.pieces])
    y = np.abs(np.concatenate([q for _, q in slope.pieces]))
    most = float(y.max())
    if most == 0.0:
        return ((-REACH, REACH),)
    below = y <= FLAT * most
    edges = np.flatnonzero(np.diff(np.concatenate([[False], below, [False]]).astype(int)))
    found = [(float(x[a]), float(x[b - 1])) for a, b in zip(edges[::2], edges[1::2])]
    return tuple((a + 0.0, b + 0.0) for a, b in found if b - a >= _SHORTEST)


def _words(kinks: Sequence[float], jumps: Sequence[float], flat: Sequence[tuple[float, float]]) -> str:
    said = []
    for what, points in (("kink", kinks), ("jump", jumps)):
        if points:
            listed = ", ".join(number(float(f"{p:.4g}")) for p in points[:6]) + (", …" if len(points) > 6 else "")
            said.append(f"{what}{'s' * (len(points) > 1)} at {listed}")
    said += [f"flat from {number(float(f'{a:.3g}'))} to {number(float(f'{b:.3g}'))}" for a, b in flat[:4]]
    return "; ".join(said) or "no kink, no jump, nowhere flat"


def _panel(
    curve: Curve, title: str, xs: Scale, ys: Scale, flat: Sequence[tuple[float, float]], extra: Sequence[Child],
    last: bool,
) -> Markup:  # fmt: skip
    top, bottom = ys.end, ys.start
    clip = f"clip{curve.order}"
    grid = [
        el("path", d=f"M{xs(t):.1f} {top:.1f}V{bottom:.1f}", class_="axis" if t == 0 else "grid")
        for t in ticks(xs.low, xs.high, 10)
    ]
    numbers: list[Child] = []
    for t in ticks(ys.low, ys.high, max(3, int((bottom - top) / 42))):
        grid.append(el("path", d=f"M{LEFT} {ys(t):.1f}H{RIGHT}", class_="axis" if t == 0 else "grid"))
        numbers.append(el("text", number(t), x=float(LEFT - 8), y=ys(t) + 4, text_anchor="end"))
    if last:
        numbers += [
            el("text", number(t), x=xs(t), y=bottom + 17, text_anchor="middle") for t in ticks(xs.low, xs.high, 10)
        ]
    shade = [
        el("rect", x=xs(a), y=float(top), width=xs(b) - xs(a), height=float(bottom - top), class_="flat")
        for a, b in flat
    ]
    dots = [_dots(jump, xs, ys, curve.order) for jump in curve.jumps] if len(curve.jumps) <= _MOST_MARKS else []
    return el(
        "g",
        el("clipPath", el("rect", x=LEFT, y=top, width=RIGHT - LEFT, height=bottom - top), id=clip),
        shade,
        grid,
        numbers,
        el("text", title, x=LEFT, y=top - 9, class_="title"),
        el("g", el("path", d=path(curve.pieces, xs, ys), class_=f"line k{curve.order}"), *extra,
           clip_path=f"url(#{clip})"),
        dots,
        class_="panel",
        data_order=curve.order,
    )  # fmt: skip


def _dots(jump: tuple[float, float, float, float], xs: Scale, ys: Scale, order: int) -> Markup:
    x, before, at, after = jump
    marks = ((before, "dot open"), (after, "dot open"), (at, "dot"))
    return join(
        el("circle", cx=xs(x), cy=ys(y), r=3.2, class_=f"{kind} k{order}")
        for y, kind in marks
        if math.isfinite(y) and ys.low <= y <= ys.high
    )


def _kinks(act: Activation, kinks: Sequence[float], xs: Scale, ys: Scale) -> Markup:
    inside = [k for k in kinks if -REACH < k < REACH]
    if not inside or len(inside) > _MOST_MARKS:
        return join()
    heights: Array = values(act, np.array(inside))
    return join(
        el("circle", el("title", f"kink at x = {number(float(f'{k:.6g}'))}"), cx=xs(k), cy=ys(float(y)), r=5.5,
           class_="kink")
        for k, y in zip(inside, heights)
        if math.isfinite(y)
    )  # fmt: skip


def _asymptotes(limits: Limits | None, xs: Scale, ys: Scale) -> Markup:
    if limits is None:
        return join()
    lines = []
    for side, ends in ((limits.minus, (-REACH, 0.0)), (limits.plus, (0.0, REACH))):
        if side.asymptote is not None:
            a, b = side.asymptote
            points = [(xs(x), ys(a * x + b)) for x in ends]
            lines.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points))
    return el("path", d="".join(lines), class_="asymptote") if lines else join()

"""A description as plain text of 80 columns."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from ogive.derive.drawing.axes import worth_showing
from ogive.derive.drawing.braille import braille, framed
from ogive.derive.limits import Limits, Side
from ogive.derive.observed import REACH, values
from ogive.derive.recognition.constants import decimal

if TYPE_CHECKING:
    from ogive.derive.describe import Description

WIDTH = 80
_LABEL = 11  # columns of a row's label
_PLOT = (30, 8)  # columns and rows of the picture
_LONGEST = 3  # lines of a derivative; the whole is in to_dict()


def sheet(d: Description) -> str:
    """Title, formulas, picture beside facts, parameters, source."""
    act = d.activation
    year = f"{d.citations[0].short}" if d.citations else "a formula of one's own"
    head = " ".join(filter(None, [act.name or "unnamed", f"(also {', '.join(act.aliases)})" if act.aliases else ""]))
    where = f"{act.family.replace('_', ' ')}, {year}" if act.family and d.citations else year
    lines = [head + where.rjust(WIDTH - len(head))] if len(head) + len(where) < WIDTH else [head, where.rjust(WIDTH)]
    lines += [*textwrap.wrap(act.note, WIDTH, break_on_hyphens=False), ""]
    inputs = ", ".join(act.inputs)
    lines += _row(f"f({inputs})", d.formula)
    lines += _row("LaTeX", d.latex)
    of = f"df/d{act.inputs[0]}" if len(act.inputs) > 1 else "f'(x)"
    lines += _row(of, d.derivatives[0][0], _LONGEST)
    if d.surrogate is not None:
        lines += _row("backward", f"{d.surrogate}   (declared; training uses it for {of})")
    if len(act.inputs) == 1:
        lines += ["", *_beside(_picture(d), list(_facts(d)))]
    lines += [""]
    lines += _parameters(d)
    for what, text in _rows(d):
        lines += _row(what, text)
    for i, reference in enumerate(d.citations):
        lines += _row("published" if i == 0 else "", str(reference))
    return "\n".join(line.rstrip() for line in lines)


def _row(label: str, text: str, most: int | None = None) -> list[str]:
    room = WIDTH - _LABEL - 2
    wrapped = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
    if most is not None and len(wrapped) > most:
        wrapped = [*wrapped[: most - 1], wrapped[most - 1][: room - 4] + " ..."]
    return [f"  {label if i == 0 else '':<{_LABEL}}{line}" for i, line in enumerate(wrapped)]


def _beside(left: list[str], right: list[str]) -> list[str]:
    margin = max(map(len, left)) + 3
    return [f"  {a:<{margin}}{b}" for a, b in zip_longest(left, right, fillvalue="")]


def _picture(d: Description) -> list[str]:
    x = np.linspace(-5.0, 5.0, 2401)
    y = values(d.activation, x)
    low, high = worth_showing([y], 5.0)
    return framed(braille(x, y, low, high, *_PLOT), low, high, -5.0, 5.0)


def short(value: float | None) -> str:
    """Six digits, or ``none`` where there is no value."""
    if value is None or math.isnan(value):
        return "none"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if 0.0 < abs(value) < 1e-300:
        return f"{value:.2e}"
    mantissa, exponent = decimal(value)
    return f"{mantissa}e{exponent}" if exponent else mantissa


def _facts(d: Description) -> Iterator[str]:
    if d.limits is not None:
        yield f"{'x':<6}{'f(x)':<14}f'(x)"
        yield _side("-inf", d.limits.minus)
        yield from _at_zero(d.limits)
        yield _side("+inf", d.limits.plus)
        for name, side in (("-inf", d.limits.minus), ("+inf", d.limits.plus)):
            if side.asymptote is not None and side.asymptote[0]:
                yield f"towards {name}: {_line(*side.asymptote)}"
    o = d.observed
    if o is not None:
        yield ""
        yield f"sampled on [-{REACH:g}, {REACH:g}]:"
        yield f"  least    {short(o.low)} at {short(o.low_at)}"
        yield f"  greatest {short(o.high)} at {short(o.high_at)}"
        parity = f"{o.parity}{'' if o.parity_proved else ' as sampled'}" if o.parity else ""
        shape = ", ".join(filter(None, [parity, o.monotone or "not monotone"]))
        yield f"  {shape}" + ("" if o.defined else ", with gaps")


def _side(name: str, side: Side) -> str:
    return f"{name:<6}{short(side.value):<14}{short(side.slope)}"


def _at_zero(limits: Limits) -> Iterator[str]:
    """One row, or one for each side where the function jumps or bends."""
    if limits.continuous and not limits.kink:
        yield f"{'0':<6}{short(limits.value):<14}{short(limits.slope)}"
        return
    yield _side("0-", limits.left)
    if not limits.continuous:
        yield f"{'0':<6}{short(limits.value)}"
    yield _side("0+", limits.right)


def _line(slope: float, offset: float) -> str:
    head = {1.0: "x", -1.0: "-x"}.get(slope, f"{short(slope)} x")
    return head if abs(offset) < 1e-12 else f"{head} {'+' if offset > 0 else '-'} {short(abs(offset))}"


def _parameters(d: Description) -> list[str]:
    lines: list[str] = []
    for i, p in enumerate(d.parameters):
        value = f"{p.name} = {short(p.default)}"
        advice = [f"in {p.interval}"] if p.interval else []
        advice += [f"learned per {p.share}"]
        advice += [] if p.decay else ["no weight decay"]
        advice += [p.note] if p.note else []
        lines += _row("parameters" if i == 0 else "", f"{value:<14} {'; '.join(advice)}")
    return lines


def _rows(d: Description) -> Iterator[tuple[str, str]]:
    if len(d.activation.inputs) == 1 and (d.kinks or not d.jumps):
        yield "kinks", _listed(d.kinks)
    if d.jumps:
        yield "jumps", _listed(d.jumps)
    if d.gain is not None:
        of = " of the declared backward" if d.gain.surrogate else ""
        yield "gain", (f"forward {short(d.gain.forward)}, backward {short(d.gain.backward)}{of} "
                       f"(relative error {d.gain.error:.0e})")  # fmt: skip
    f, slope = d.operations
    yield "cost", f"{f} operations, {slope} for f'; backward keeps {d.saved_bytes:g} bytes a float32 element"
    if d.published_as is not None:
        yield "found", f"published as {d.published_as.text}"
    if d.activation.same_as:
        at = " at its defaults" if d.activation.params else ""
        yield "same as", f"{d.activation.same_as}{at}"
    if d.equals:
        yield "equals", f"{', '.join(d.equals)} (forward, at their defaults)"
    for law, reason in d.activation.exceptions.items():
        yield "exception", f"{law}: {reason}"
    for what, reason in d.missing.items():
        yield f"no {what}", reason


def _listed(points: tuple[float, ...]) -> str:
    if not points:
        return "none"
    if len(points) <= 8:
        return ", ".join(map(short, points))
    return f"{len(points)} in [-64, 64]: {', '.join(map(short, points[:3]))}, ..., {short(points[-1])}"

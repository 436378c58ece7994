"""The report in a terminal of 80 columns: a table for each size and dtype, targets, and what to doubt."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ogive.speed.allocator import TIMED, Fresh
from ogive.speed.results import Report, Row, Saved, short
from ogive.speed.targets import Share, geometric_mean, shares

WIDTH = 80
_SHORT = {"forward": "fwd", "backward": "bwd", "both": "both"}
_MARKS = {"noisy": "~", "preempted": "!"}
_OTHERS = ("native", "compiled", "eager")
_FLOORS = "floors: fwd copy_, bwd a three-stream add, both: both; of gates add, add + copy_"
_CALLED = {"compiled": "compil."}  # where eight columns must fit
SMALL = 1000  # elements; below, what is timed is the call


def show(report: Report, console: Console) -> None:
    """Print all of ``report``."""
    m = report.machine
    threads = f"{m.threads} thread{'s' * (m.threads != 1)}, " if m.device == "cpu" else ""
    console.print(Text(f"{m.name}, {threads}{m.capability}, torch {m.torch}, Ogive {m.ogive}", style="bold"))
    for dtype, size in report.panels():
        console.print()
        console.print(call_table(report, dtype, size) if size < SMALL else ratio_table(report, dtype, size))
    if any(size >= SMALL for _, size in report.panels()):
        console.print(Text(_FLOORS, style="dim"))
    found = shares(report)
    if found:
        console.print()
        console.print(target_table(found))
    mean = geometric_mean(report, "compiled")
    if mean is not None:
        console.print(f"torch.compile of the textbook formulas takes {mean:.2f} times as long (geometric mean)")
    for line in remarks(report):
        console.print(Text(line, style="yellow" if line[0] in "~!" else "dim"))


def ratio_table(report: Report, dtype: str, size: int) -> Table:
    """Multiples of the floor, and how many times as long the others take, results going to the same kind of place."""
    table = _table(f"{dtype}, {short(size)} elements; {_floors(report, dtype, size)}")
    others = [c for c in _OTHERS if any(r.contender == c for r in report.rows)]
    table.add_column("", no_wrap=True, overflow="ellipsis", max_width=13)
    table.add_column("", no_wrap=True)
    table.add_column("out=\nx floor", justify="right", no_wrap=True)
    table.add_column("fresh\nx floor", justify="right", no_wrap=True)
    for other in others:
        table.add_column(f"{other}\ntakes", justify="right", no_wrap=True)
    table.add_column("kept\nB/elem", justify="right", no_wrap=True)
    for function in report.functions():
        label = function
        for direction, brief in _SHORT.items():
            given = report.row(function, dtype, size, direction, "ogive", "preallocated")
            fresh = report.row(function, dtype, size, direction, "ogive", "fresh")
            row = given or fresh
            if row is None:
                continue
            ratios = [_ratio(report, row, other) for other in others]
            kept = _kept(report.kept(function, dtype)) if direction == "both" else Text("")
            table.add_row(label, brief, _multiple(given), _multiple(fresh), *ratios, kept)
            label = ""
    return table


def call_table(report: Report, dtype: str, size: int) -> Table:
    """Microseconds of a call on few elements, forward and both ways."""
    table = _table(f"{dtype}, {short(size)} elements: microseconds of a call forward, and forward with backward")
    present = ["ogive", *(c for c in _OTHERS if any(r.contender == c for r in report.rows))]
    table.add_column("", no_wrap=True, overflow="ellipsis", max_width=13)
    for brief in ("fwd", "both"):
        for i, name in enumerate(present):
            table.add_column(f"{brief if i == 0 else ''}\n{_CALLED.get(name, name)}", justify="right", no_wrap=True)
    for function in report.functions():
        cells = []
        for direction in ("forward", "both"):
            for name in present:
                row = report.row(function, dtype, size, direction, name, "fresh")
                cells.append(Text("-") if row is None else Text(_number(row.seconds * 1e6) + _mark(row), _style(row)))
        table.add_row(function, *cells)
    return table


def target_table(found: list[Share]) -> Table:
    """The share of functions inside each target, and the farthest from it."""
    table = _table("targets: share of the functions inside")
    table.add_column("", no_wrap=True, overflow="ellipsis", max_width=25)
    table.add_column("at least", justify="right", no_wrap=True)
    table.add_column("aim", justify="right", no_wrap=True)
    table.add_column("farthest off", overflow="fold", max_width=26)
    for s in found:
        sign = "<=" if s.most else ">="
        worst = ", ".join(f"{label} {value:.3g}" for label, value in s.worst[:3])
        least = Text(f"{sign}{s.least:.3g} {s.within}/{s.of}", style="green" if s.within == s.of else "red")
        aim = Text(f"{sign}{s.aim:.3g} {s.aimed}/{s.of}", style="green" if s.aimed == s.of else "")
        table.add_row(s.title, least, aim, worst or "-")
    return table


def allocator_table(found: list[Fresh]) -> Table:
    """Milliseconds of fresh results under each way of setting the allocator."""
    table = _table("glibc's allocator, float32, 1 thread: milliseconds")
    table.add_column("", no_wrap=True)
    table.add_column("elements", justify="right", no_wrap=True)
    for name in TIMED:
        table.add_column(name.replace(" ", "\n"), justify="right", no_wrap=True)
    table.add_column("peak\nMiB", justify="right", no_wrap=True)
    for f in found:
        for i, (size, times) in enumerate(f.seconds.items()):
            marks = [_MARKS.get(f.trouble[size][name], "") for name in TIMED]
            cells = [f"{times[name] * 1e3:.3g}{mark}" for name, mark in zip(TIMED, marks)]
            table.add_row(f.way if i == 0 else "", short(int(size)), *cells, f"{f.peak >> 20}" if i == 0 else "")
    return table


def remarks(report: Report) -> list[str]:
    """What the reader must know: which rows to doubt, how many samples were discarded, what was left out."""
    lines = []
    rows = report.rows
    for trouble, text in (
        ("noisy", "the thirds of its measurement still disagree by more than 10 % after three passes"),
        ("preempted", "most samples were interrupted by other work on this machine"),
    ):
        count = sum(r.trouble == trouble for r in rows)
        if count:
            lines.append(f"{_MARKS[trouble]} {count} of {len(rows)} times: {text}")
    lost = sum(r.discarded for r in rows)
    if lost:
        lines.append(f"{lost} of {sum(r.rounds for r in rows)} samples were interrupted, discarded and replaced")
    lines += [f"left out: {text}" for text in report.skipped[:8]]
    if len(report.skipped) > 8:
        lines.append(f"left out: {len(report.skipped) - 8} more, all in the JSON")
    if report.stopped:
        lines.append("stopped early: this is what was measured until then")
    return lines


def _table(title: str) -> Table:
    return Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1),
                 collapse_padding=True,
                 title_style="")  # fmt: skip


def _floors(report: Report, dtype: str, size: int) -> str:
    found: dict[str, float] = {}
    for r in report.rows:
        if (r.dtype, r.size) == (dtype, size) and "+" not in r.floor:
            found[r.floor] = min(r.floor_seconds, found.get(r.floor, r.floor_seconds))
    return ", ".join(f"{name} {_duration(seconds)}" for name, seconds in sorted(found.items(), reverse=True))


def _duration(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} us"


def _mark(row: Row) -> str:
    return _MARKS.get(row.trouble, "")


def _style(row: Row) -> str:
    return "yellow" if row.trouble else ""


def _number(value: float) -> str:
    """Five characters at most: 0.93, 13.9, 140, 1.5e4.

    >>> _number(0.934), _number(13.94), _number(140.2), _number(15208.0)
    ('0.93', '13.9', '140', '1.5e4')
    """
    if value >= 10_000:
        return f"{value:.1e}".replace("e+0", "e").replace("e+", "e")
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _multiple(row: Row | None) -> Text:
    return Text("-") if row is None else Text(_number(row.multiple) + _mark(row), _style(row))


def _ratio(report: Report, row: Row, other: str) -> Text:
    ratio = report.faster(row.function, row.dtype, row.size, row.direction, other)
    if ratio is None:
        return Text("-")
    return Text(f"{_number(ratio)}x", style="red" if ratio < 1 / 1.05 and other != "eager" else "")


def _kept(saved: Saved | None) -> Text:
    if saved is None:
        return Text("-")
    return Text(f"{saved.bytes:.3g}" + ("+y" if saved.output else ""))

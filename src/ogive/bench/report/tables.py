"""The report's tables of results: scores with intervals, who beats whom, what was measured besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ogive.bench.report.markup import Child, Markup, el, join
from ogive.bench.report.svg import Look, decimals, number, tidy
from ogive.bench.stats.analysis import Analysis, Cell
from ogive.bench.store import TaskInfo

__all__ = ["duel_table", "figure_table", "name", "p_text", "score_table", "table"]

Looks = Mapping[str, Look]
MARK = {"best": "★", "tied": "≈", "behind": "", "untested": "?"}
SPOKEN = {
    "best": "best",
    "tied": "not separable from the best",
    "behind": "behind the best",
    "untested": "not tested",
}


def table(head: Sequence[Child], rows: Sequence[Sequence[Child]], caption: str, class_: str = "") -> Markup:
    """A table in its own scrolling box, the caption outside so that it never scrolls away."""
    body = [
        el("tr", el("th", row[0], scope="row"), (c if _is_cell(c) else el("td", c) for c in row[1:])) for row in rows
    ]
    inner = el(
        "table",
        el("thead", el("tr", (el("th", cell, scope="col") for cell in head))),
        el("tbody", body),
        class_=class_ or None,
        aria_label=caption,
    )
    box = el("div", inner, class_="scroll", tabindex=0, role="region", aria_label=caption)
    return join(el("p", caption, class_="caption"), box)


def _is_cell(child: Child) -> bool:
    return isinstance(child, Markup) and child.startswith("<td")


def name(act: str, look: Looks) -> Markup:
    """An activation with its swatch."""
    return el(
        "span",
        look[act].swatch(),
        el("span", tidy(act, 16), title=act if len(act) > 16 else None),
        class_="act",
    )


def places(cells: Sequence[Cell]) -> int:
    """Decimals for the scores of one task: one more than the typical interval's first digit."""
    halves = sorted((c.high - c.low) / 2 for c in cells if c.low is not None and c.high is not None)
    halves = [h for h in halves if h > 0]
    return min(6, decimals(halves[len(halves) // 2]) + 1) if halves else 4


def score_table(analysis: Analysis, tasks: Sequence[TaskInfo], order: Sequence[str], look: Looks) -> Markup:
    """Task by activation: mean and interval, the best and those not separable from it marked."""
    rows: list[list[Child]] = []
    for task in tasks:
        cells = {act: analysis.cell(task.name, act) for act in order}
        digits = places([cell for cell in cells.values() if cell])
        arrow = "↑ higher is better" if task.higher_is_better else "↓ lower is better"
        head = join(task.title, el("small", f"{task.metric}, {arrow}"))
        rows.append([head, *(_score(cells[act], digits) for act in order)])
    level = 100 * (1 - analysis.alpha)
    caption = f"Test score: mean over seeds, {level:g} % t interval below"
    return table(["Task", *(name(act, look) for act in order)], rows, caption, "scores")


def _score(cell: Cell | None, digits: int) -> Markup:
    if cell is None:
        return el("td", "–", class_="none")
    flags = [f"{n} {what}" for n, what in ((cell.diverged, "diverged"), (cell.failed, "failed")) if n]
    interval = None
    if cell.ok in (1, 2):  # an interval from two runs is 13 standard errors wide and helps nobody
        interval = el("small", "one run" if cell.ok == 1 else "two runs")
    elif cell.low is not None and cell.high is not None:
        interval = el("small", f"{number(cell.low, digits)} – {number(cell.high, digits)}")
    mark = MARK[cell.standing] if cell.ok + cell.diverged else ""
    return el(
        "td",
        el("span", number(cell.mean, digits), class_="value"),
        el(
            "span",
            mark,
            class_="standing",
            title=SPOKEN[cell.standing],
            aria_label=SPOKEN[cell.standing],
            role="img",
        )
        if mark
        else None,
        interval,
        el("small", ", ".join(flags), class_="flag") if flags else None,
        class_=cell.standing,
    )


def duel_table(analysis: Analysis, order: Sequence[str], look: Looks) -> Markup:
    """Rows against columns over all tasks: better, worse or not resolved, with tasks won and lost."""
    duels = {(d.a, d.b): d for d in analysis.contests}

    def cell(row: str, column: str) -> Markup:
        duel = duels.get((row, column)) or duels.get((column, row))
        if row == column or duel is None:
            return el("td", "·" if row == column else "–", class_="none")
        wins, losses = (duel.wins, duel.losses) if duel.a == row else (duel.losses, duel.wins)
        mark, kind, spoken = "≈", "tied", "not resolved"
        if duel.resolved:
            better = duel.winner == row
            mark, kind, spoken = ("▲", "better", "better") if better else ("▽", "worse", "worse")
        return el(
            "td", el("span", mark, role="img", aria_label=spoken, class_="standing"),
            el("small", f"{wins}–{losses}"), class_=kind,
            title=f"{row} against {column}: {spoken}, corrected p = {p_text(duel.p_holm)}",
        )  # fmt: skip

    rows: list[list[Child]] = [[name(row, look), *(cell(row, column) for column in order)] for row in order]
    heads: list[Child] = ["", *(el("span", tidy(act, 10), title=act) for act in order)]
    return table(heads, rows, "Row against column over all tasks; tasks won – lost below", "duels")


def p_text(p: float) -> str:
    """A p-value for a reader.

    >>> p_text(0.00001), p_text(0.034), p_text(1.0)
    ('< 0.001', '0.034', '1')
    """
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def figure_table(
    analysis: Analysis, tasks: Sequence[TaskInfo], order: Sequence[str], look: Looks, figure: str,
    caption: str, scale: float = 1.0, unit: str = "", bar: bool = False,
) -> Markup | None:  # fmt: skip
    """Activation by task for one measured figure; None when nobody measured it."""
    values = {
        (act, task.name): cell.figures[figure] * scale
        for act in order
        for task in tasks
        if (cell := analysis.cell(task.name, act)) is not None and figure in cell.figures
    }
    if not values:
        return None

    def cell_of(act: str, task: str) -> Markup:
        value = values.get((act, task))
        if value is None:
            return el("td", "–", class_="none")
        # A share has its own full length; anything else is longest for the largest of its task.
        top = 100.0 if unit == " %" else max(v for (_, where), v in values.items() if where == task)
        style = f"--w:{100 * value / (top or 1.0):.1f}%" if bar else None
        return el(
            "td",
            number(value, 1 if unit == " %" else None) + unit,
            class_="bar" if bar else None,
            style=style,
        )

    rows: list[list[Child]] = [[name(act, look), *(cell_of(act, task.name) for task in tasks)] for act in order]
    return table(["", *(task.title for task in tasks)], rows, caption, "numbers")

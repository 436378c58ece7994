"""The first half of the report: what the runs showed.

Each section takes the page and returns its body, or None when there is nothing to show.
"""

from __future__ import annotations

import math

from ogive.bench.report import tables
from ogive.bench.report.charts import cost_chart, interval_chart, rank_chart
from ogive.bench.report.curves import curve_chart
from ogive.bench.report.markup import Markup, el, join
from ogive.bench.report.page import Page, framed, panels, prose
from ogive.bench.stats.verdict import count
from ogive.bench.store import TaskInfo

__all__ = ["cost", "curves", "differences", "health", "ranks", "scores"]


def scores(page: Page) -> Markup | None:
    """The table a reader decides from."""
    if not page.analysis.cells:
        return None
    note = prose(
        "★ best mean on the task · ≈ not separable from the best there, which is not the same as equal ·",
        "no mark: behind the best, resolved · ? no shared seeds. Columns stand in order of mean rank.",
        "Comparisons are paired by seed, so two activations can differ where these intervals overlap;",
        f"they are corrected within a task, and each task carries its own {page.risk} risk of a false one.",
        class_="note",
    )
    return join(tables.score_table(page.analysis, page.tasks, page.order, page.look), note)


def ranks(page: Page) -> Markup | None:
    """Overall: the critical-difference diagram and who beats whom."""
    ranking, analysis = page.analysis.ranking, page.analysis
    shown: list[Markup | None] = []
    told = None
    if ranking is not None:
        below = (
            f"Line: {page.level} bootstrap interval over seeds. Thick bar: not separable by these runs. "
            f"Dotted bar: closer than the critical difference, so the order may not hold on other "
            f"{ranking.blocks}."
        )
        shown.append(framed(rank_chart(ranking, analysis.groups, page.look), "Mean rank", below))
        verb = "differ" if ranking.p <= analysis.alpha else "do not differ"
        told = prose(
            f"Over {count(ranking.n_blocks, ranking.blocks[:-1])} the ranks {verb} more than chance would",
            f"make them (Friedman {ranking.statistic:.1f}, permutation p {_equals(ranking.p)}). Two",
            "questions are kept apart here: do these runs differ, and would the order carry over to new",
            f"{ranking.blocks}? The second needs many more {ranking.blocks}.",
        )
    if analysis.contests:
        note = prose(
            "▲ better, ▽ worse, ≈ not resolved: paired t tests combined over tasks (Stouffer),",
            f"Holm-corrected over {count(len(analysis.contests), 'pair')}.",
            class_="note",
        )
        shown.append(el("div", tables.duel_table(analysis, page.order, page.look), note))
    body = panels(shown, "two")
    return None if body is None else join(told, body)


def _equals(p: float) -> str:
    shown = tables.p_text(p)
    return shown if shown.startswith("<") else f"= {shown}"


def differences(page: Page) -> Markup | None:
    """Paired differences to the reference, task by task."""
    body = panels(
        [
            framed(interval_chart(task, page.analysis, page.look, f"d{i}"), task.title, _lost(page, task))
            for i, task in enumerate(page.tasks)
        ]
    )
    if body is None:
        return None
    told = prose(
        "Same seed, same data order, same initial weights: only the activation differs. Right of the line is",
        f"better than {page.analysis.reference}. Line: {page.level} t interval of the one difference, over",
        "seeds where both finished, not corrected for their number. Filled marker: resolved after correction",
        "within the task; hollow: not resolved.",
    )
    return join(told, body)


def _lost(page: Page, task: TaskInfo) -> str | None:
    """What the reference itself lacks on a task: it is in none of the rows."""
    cell = page.analysis.cell(task.name, page.analysis.reference or "")
    if cell is None or not cell.diverged + cell.failed:
        return None
    parts = [f"{n} {what}" for n, what in ((cell.diverged, "diverged"), (cell.failed, "failed")) if n]
    return f"{cell.act} itself: {' and '.join(parts)}"


def curves(page: Page) -> Markup | None:
    """Learning curves."""
    body = panels(
        [framed(curve_chart(page.results, task, page.look, f"l{i}"), task.title) for i, task in enumerate(page.tasks)]
    )
    if body is None:
        return None
    told = prose(
        "Score on the test split while training, finished runs only. Line: mean of the seeds; band: worst to",
        "best seed. The pictures start after a quarter of the training; their height fits its second half.",
    )
    legend = el("ul", (el("li", tables.name(act, page.look)) for act in page.order), class_="legend", role="list")
    return join(told, legend, body)


def _ratios(page: Page, figure: str) -> dict[str, float]:
    """Geometric mean over tasks of an activation's figure over the reference's."""
    analysis = page.analysis
    found: dict[str, float] = {}
    for act in page.order:
        logs = []
        for task in page.tasks:
            own = analysis.cell(task.name, act)
            base = analysis.cell(task.name, analysis.reference or "")
            if own and base and own.figures.get(figure, 0.0) > 0.0 and base.figures.get(figure, 0.0) > 0.0:
                logs.append(math.log(own.figures[figure] / base.figures[figure]))
        if logs:
            found[act] = math.exp(sum(logs) / len(logs))
    return found


def cost(page: Page) -> Markup | None:
    """Cost against quality."""
    ranking, reference = page.analysis.ranking, page.analysis.reference
    shown: list[Markup | None] = []
    same: list[str] = []
    kinds = (("ms_per_step", "Time per step"), ("saved_bytes", "Memory kept for backward"))
    for key, title in kinds if ranking else ():
        ratios = _ratios(page, key)
        rank = dict(zip(ranking.acts, ranking.mean_ranks)) if ranking else {}
        points = [(act, ratios[act], rank[act]) for act in page.order if act in ratios and act in rank]
        ratio = [x for _, x, _ in points]
        if len(points) > 1 and max(ratio) < 1.005 * min(ratio):
            same.append(f"{title} is the same for all.")
        elif len(points) > 1:
            unit = f"{title.lower()}, ratio to {reference}"
            shown.append(framed(cost_chart(points, page.look, unit, len(page.order), f"c-{key}"), title))
    rows = (
        ("ms_per_step", "Milliseconds per training step"),
        ("saved_bytes", "Kilobytes kept for backward per example", 1e-3),
        ("params", "Parameters"),
        ("flops", "FLOPs per example, forward"),
    )
    listed = [tables.figure_table(page.analysis, page.tasks, page.order, page.look, *row) for row in rows]
    numbers = [one for one in listed if one is not None]
    if not numbers:
        return None
    told = prose(
        "Up is better, left is cheaper; the ratio is the geometric mean over tasks. The dotted line joins",
        "those that nothing beats in both. Times are of this machine, while other runs may have shared it.",
    )
    more = el("details", el("summary", "Costs task by task"), *numbers)
    return join(told if shown else None, prose(*same) if same else None, panels(shown, "two"), more)


def health(page: Page) -> Markup | None:
    """Dead units and gradient norms."""
    rows = (
        ("dead_share", "Dead units at the end of training", 100.0, " %", True),
        ("grad_norm", "Gradient norm, mean over training", 1.0, "", True),
    )
    shown = [tables.figure_table(page.analysis, page.tasks, page.order, page.look, *row) for row in rows]
    found = [one for one in shown if one is not None]
    if not found:
        return None
    return join(prose("A dead unit gives the same output for every example, so it learns nothing."), *found)

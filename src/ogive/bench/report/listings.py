"""The report's listings: pairs that were not resolved, runs that broke, every cell in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ogive.bench.report.markup import Child, Markup, el, join
from ogive.bench.report.svg import number
from ogive.bench.report.tables import Looks, name, p_text, table
from ogive.bench.stats.analysis import Analysis
from ogive.bench.stats.comparisons import Contest, Pair
from ogive.bench.store import Results, TaskInfo, Trial

__all__ = ["long_table", "pair_table", "problem_table", "seeds_text", "unresolved_table"]

MOST_PAIRS = 60  # 14 activations on 6 tasks have 546 pairs, half of the page's bytes


def seeds_text(needed: int | None, have: int) -> str:
    """How many seeds more.

    >>> seeds_text(12, 5), seeds_text(359, 5), seeds_text(None, 5)
    ('7 more', '350 more', 'over 1000 more')
    """
    return "over 1000 more" if needed is None else f"{float(f'{max(1, needed - have):.2g}'):.0f} more"


def unresolved_table(duels: Sequence[Contest], have: int, look: Looks) -> Markup:
    """Pairs the whole experiment could not separate, the cheapest to resolve first."""
    rows: list[list[Child]] = []
    for duel in sorted(duels, key=lambda d: d.seeds_needed or 10**9):
        a, b, wins, losses = duel.a, duel.b, duel.wins, duel.losses
        if duel.z < 0:
            a, b, wins, losses = b, a, losses, wins
        rows.append([
            join(name(a, look), " ahead of ", name(b, look)), seeds_text(duel.seeds_needed, have),
            f"{wins}–{losses}", number(abs(duel.effect), 2), p_text(duel.p_holm), p_text(duel.p_flip),
        ])  # fmt: skip
    heads = [
        "Pair",
        "Seeds per task for 80 %",
        "Tasks won – lost",
        "Effect (sd)",
        "p, corrected",
        "p of sign flips",
    ]
    return table(heads, rows, "Not resolved over all tasks together", "numbers")


def pair_table(pairs: Sequence[Pair], tasks: Mapping[str, TaskInfo], look: Looks, caption: str) -> Markup:
    """Pairs on single tasks."""
    rows: list[list[Child]] = []
    for pair in pairs[:MOST_PAIRS]:
        turn = -1.0 if pair.effect < 0 else 1.0
        a, b = (pair.a, pair.b) if turn > 0 else (pair.b, pair.a)
        interval = "–"
        if pair.low is not None and pair.high is not None and pair.advantage is not None:
            low, high = sorted((turn * pair.low, turn * pair.high))
            interval = f"{number(turn * pair.advantage)} ({number(low)} to {number(high)})"
        rows.append([
            tasks[pair.task].title, join(name(a, look), " ahead of ", name(b, look)), interval,
            f"{pair.n}" + (f", {pair.diverged} diverged" if pair.diverged else ""),
            p_text(pair.p_holm), p_text(pair.p_flip), seeds_text(pair.seeds_needed, pair.n),
        ])  # fmt: skip
    heads = [
        "Task",
        "Pair",
        "Difference (interval)",
        "Seeds",
        "p, corrected",
        "p, sign flips",
        "Seeds for 80 %",
    ]
    if len(pairs) > MOST_PAIRS:
        caption += f"; the first {MOST_PAIRS} of {len(pairs)}, all are in results.json"
    return table(heads, rows, caption, "numbers")


def problem_table(trials: Sequence[Trial], look: Looks) -> Markup:
    """Runs that diverged or failed, alike ones together, with their error text."""
    alike: dict[tuple[str, str, str, str, str], list[Trial]] = {}
    for trial in trials:
        key = (trial.act, trial.task, trial.phase, trial.status, trial.error or "no message")
        alike.setdefault(key, []).append(trial)
    rows: list[list[Child]] = []
    for (act, task, phase, status, error), runs in alike.items():
        rates = dict.fromkeys(run.lr for run in runs)
        seeds = "; ".join(f"{lr:g}: seed {', '.join(str(run.seed) for run in runs if run.lr == lr)}" for lr in rates)
        where = join(f"{len(runs)} {status}", el("small", f"{task}, {phase}"))
        rows.append([name(act, look), where, el("code", error[:600]), seeds])
    heads = ["Activation", "Runs", "What it said", "Learning rate: seeds"]
    return table(heads, rows, "Runs that diverged or failed", "numbers problems")


def long_table(analysis: Analysis, results: Results, look: Looks) -> Markup:
    """Every cell with all its numbers."""
    titles = {task.name: task.title for task in results.tasks}
    rows: list[list[Child]] = [
        [
            titles[c.task], name(c.act, look), number(c.mean), number(c.iqm), number(c.sd), c.ok,
            c.diverged, c.failed, f"{c.lr:g}" if c.lr is not None else "–",
            number(c.figures.get("params")), number(c.figures.get("flops")),
        ]
        for c in analysis.cells
    ]  # fmt: skip
    heads = ["Task", "Activation", "Mean", "IQM", "sd", "Finished", "Diverged", "Failed", "Learning rate",
             "Parameters", "FLOPs per example"]  # fmt: skip
    return table(heads, rows, "Every cell (IQM: mean of the middle half of the seeds)", "numbers")

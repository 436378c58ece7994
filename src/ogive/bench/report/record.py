"""The second half of the report: what was not shown, what broke, and how to do it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ogive.bench.report.listings import long_table, pair_table, problem_table, unresolved_table
from ogive.bench.report.markup import Child, Markup, el, join
from ogive.bench.report.page import Page, prose
from ogive.bench.stats.verdict import count

__all__ = ["method", "problems", "reproduce", "tasks", "unresolved"]


def unresolved(page: Page) -> Markup:
    """What was not resolved and what it would take."""
    analysis = page.analysis
    tested = [pair for pair in analysis.pairs if pair.n >= 2]
    if not tested:
        return prose("No two activations share two seeds on a task yet, so nothing could be tested.")
    best = {(cell.task, cell.act) for cell in analysis.cells if cell.standing == "best"}
    open_duels = [duel for duel in analysis.contests if not duel.resolved]
    open_pairs = [pair for pair in tested if not pair.resolved]
    close = [pair for pair in open_pairs if {(pair.task, pair.a), (pair.task, pair.b)} & best]
    far = [pair for pair in open_pairs if pair not in close]
    parts: list[Child] = [
        prose(
            f"Over all tasks {len(open_duels)} of {count(len(analysis.contests), 'pair')} are not resolved;",
            f"on single tasks {len(open_pairs)} of {len(tested)}. The seeds are what 80 % power at the",
            "corrected level takes if the true difference is the one observed; an observed difference is",
            "itself noisy, so read them as an order of magnitude.",
        )
    ]
    if open_duels:
        parts.append(unresolved_table(open_duels, analysis.seeds, page.look))
    titles = {task.name: task for task in page.tasks}
    for title, pairs in (("Against the best of each task", close), ("Other pairs on single tasks", far)):
        if pairs:
            box = pair_table(pairs, titles, page.look, "Not resolved on one task")
            parts.append(el("details", el("summary", f"{title} ({len(pairs)})"), box))
    return join(*parts)


def problems(page: Page) -> Markup:
    """Failures and divergences, with what they said."""
    broken = [trial for trial in page.results.trials if trial.status != "ok"]
    if not broken:
        return prose("No run diverged and none failed.")
    test = [trial for trial in broken if trial.phase == "test"]
    tune = [trial for trial in broken if trial.phase != "test"]
    rule = prose(
        "A diverged test run counts as a result: it stands behind every finished run of its task. A run that",
        "failed with an error counts as missing. A learning rate that diverges while tuning is not chosen.",
    )
    shown = problem_table(test, page.look) if test else prose("No test run diverged or failed.")
    more = None
    if tune:
        summary = el("summary", f"While tuning the learning rate ({len(tune)})")
        more = el("details", summary, problem_table(tune, page.look))
    return join(rule, shown, more)


def tasks(page: Page) -> Markup | None:
    """What each task is."""
    blocks = []
    for task in page.tasks:
        direction = "higher" if task.higher_is_better else "lower"
        score = f"Score: {task.metric}, {direction} is better; {task.steps} steps."
        lines = (task.description, task.data, task.model, score)
        blocks.append(el("div", el("h3", task.title), (el("p", line) for line in lines if line)))
    return el("div", *blocks, class_="panels tasks") if blocks else None


def method(page: Page) -> Markup:
    """How the numbers were made."""
    fewest = min((pair.n for pair in page.analysis.pairs if pair.n >= 2), default=0)
    limit = ""
    if 0 < fewest <= 8:
        smallest = 2.0 ** (1 - fewest)
        limit = f"With {fewest} seeds the exact one cannot go below p = {smallest:.2g} on one task."
    return join(
        prose(
            "Every activation gets the same budget to tune its learning rate on a validation split; then the",
            "same seeds run for all, scored on the test split. Differences are taken seed by seed.",
        ),
        prose(
            "Overall: on each task a paired t test, combined over tasks by Stouffer's method and",
            f"Holm-corrected over all pairs, family-wise risk {page.risk}. Only this comparison may name a",
            "winner at the top. On one task: the paired t test, Holm-corrected within the task. Sign-flip",
            f"permutation tests stand beside both. {limit}",
        ),
        prose(
            "Intervals are t intervals because they cover what they promise at five seeds, where bootstrap",
            "intervals of the mean miss the truth about every sixth time. Ranks: Friedman's test by",
            "permutation, Nemenyi's critical difference.",
        ),
    )


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        between = "; " if any(isinstance(part, (list, tuple)) for part in value.values()) else ", "
        return between.join(f"{key} {_plain(part)}" for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(part) for part in value)
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


_LISTED = (
    ("versions", "Versions"),
    ("machine", "Machine"),
    ("test_seeds", "Test seeds"),
    ("tune_seeds", "Tuning seeds"),
    ("lrs", "Learning rates tried"),
    ("gain_correction", "Gain correction"),
    ("profile", "Profile"),
    ("started", "Started"),
    ("finished", "Finished"),
    ("complete", "Complete"),
)


def reproduce(page: Page) -> Markup:
    """Command, seeds, versions, machine, and everything else that was set."""
    config = page.results.config
    listed = [(el("dt", label), el("dd", _plain(config[key]))) for key, label in _LISTED if key in config]
    whole = json.dumps(dict(config), indent=2, default=str, ensure_ascii=False)
    numbers = long_table(page.analysis, page.results, page.look)
    return join(
        prose("The same command on the same machine gives the same scores, run by run."),
        el("pre", str(config["command"])) if config.get("command") else None,
        el("dl", listed),
        el("details", el("summary", "Every cell in numbers"), numbers) if page.analysis.cells else None,
        el("details", el("summary", "The whole configuration"), el("pre", whole)),
    )

"""What a reader should know before believing a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ogive.bench.stats.outcomes import Outcomes
from ogive.bench.stats.verdict import count, listed
from ogive.bench.store import Results

if TYPE_CHECKING:
    from ogive.bench.stats.analysis import Cell

__all__ = ["cautions"]


def cautions(
    results: Results,
    outcomes: Mapping[str, Outcomes],
    acts: Sequence[str],
    cells: Sequence[Cell],
) -> tuple[str, ...]:
    """What a reader should know before believing the verdict, most important first."""
    found: list[str] = []
    config = results.config
    planned = [len(config.get(key) or ()) for key in ("acts", "tasks", "test_seeds")]
    runs = sum(len(trials) for outcome in outcomes.values() for trials in outcome.trials.values())
    expected = planned[0] * planned[1] * planned[2]
    if not config.get("complete", False):
        part = f"{runs} of {expected} test runs" if expected else count(runs, "test run")
        found.append(f"The experiment is not complete ({part} so far): every number here can still move.")
    elif 0 < runs < expected:
        found.append(f"{expected - runs} of {expected} planned test runs are missing; pairs use the seeds both have.")
    diverged, failed = sum(cell.diverged for cell in cells), sum(cell.failed for cell in cells)
    lost = [f"{cell.act} on {cell.task}" for cell in cells if cell.diverged]
    if diverged:
        found.append(
            f"{count(diverged, 'test run')} diverged ({listed(lost, 4)}): in ranks and tests each stands "
            "behind every finished run of its task; means and intervals show the finished runs only."
        )
    if failed:
        counts = "counts" if failed == 1 else "count"
        found.append(f"{count(failed, 'test run')} failed with an error and {counts} as missing.")
    absent = [f"{act} on {task}" for task, outcome in outcomes.items() for act in acts if not outcome.goodness.get(act)]
    if absent and runs:
        found.append(f"No result for {listed(absent)}.")
    edges = _edges(results, cells)
    if edges:
        found.append(
            f"The chosen learning rate is the smallest or largest of those tried for {listed(edges, 4)}: "
            "another range could change the result."
        )
    known = {task.name for task in results.tasks}
    stray = sorted({trial.task for trial in results.trials} - known)
    if stray:
        found.append(f"Trials of {listed(stray)} are left out: the results do not describe these tasks.")
    return tuple(found)


def _edges(results: Results, cells: Sequence[Cell]) -> list[str]:
    """Activation and task where the tuned learning rate is the smallest or largest of those tried."""
    found = []
    for cell in cells:
        tried = {t.lr for t in results.trials if t.phase == "tune" and t.task == cell.task and t.act == cell.act}
        if len(tried) >= 3 and cell.lr in (min(tried), max(tried)):
            found.append(f"{cell.act} on {cell.task}")
    return found

"""What a run shows in the terminal: progress while it works, and a page that fits 80 columns."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from ogive.bench.stats import Analysis
from ogive.bench.store import Results, TaskInfo, Trial

PHASES = {"tune": "tuning the learning rate", "test": "test runs"}


class Watch:
    """Live progress: trials done, time left, the best activation so far on each task.

    Args:
        console: where to draw; without a terminal it prints a line a minute instead.
        total: trials of the whole run.
        tasks: the tasks, for the direction of their metrics.
    """

    def __init__(self, console: Console, total: int, tasks: Sequence[TaskInfo]) -> None:
        self._console, self._total, self._tasks = console, total, tasks
        self._scores: dict[tuple[str, str, str], list[float]] = {}
        self._lost = {"diverged": 0, "failed": 0}
        self._phase, self._kept, self._done, self._printed = "tune", 0, 0, time.monotonic()
        # The speed of the whole run, not of the last seconds: trials differ by a factor of twenty.
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
            console=console, speed_estimate_period=600,
        )  # fmt: skip
        self._bar: TaskID = self._progress.add_task(PHASES["tune"], total=total)
        self._live = Live(self, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Watch:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def __call__(self, event: str, trial: Trial | None) -> None:
        """An event of `Experiment.run`."""
        if trial is None:
            self._phase = event
            self._progress.update(self._bar, description=PHASES[event])
            if not self._console.is_terminal:
                self._console.print(f"{PHASES[event]}: {self._kept + self._done} of {self._total} trials done")
            return
        if trial.score is not None:
            self._scores.setdefault((trial.phase, trial.task, trial.act), []).append(trial.score)
        else:
            self._lost[trial.status] += 1
        if event == "kept":
            self._kept += 1
            self._progress.update(self._bar, total=self._total - self._kept)
            return
        self._done += 1
        self._progress.advance(self._bar)
        if not self._console.is_terminal and time.monotonic() - self._printed > 60:
            self._printed = time.monotonic()
            self._console.print(f"{self._kept + self._done} of {self._total} trials done")

    def __rich__(self) -> Group:
        lines = [Text("  best so far  ", style="dim") + self._running_best()]
        if self._kept:
            lines.append(Text(f"  {self._kept} trials were there already", style="dim"))
        lost = [f"{count} {status}" for status, count in self._lost.items() if count]
        if lost:
            lines.append(Text("  " + ", ".join(lost), style="yellow"))
        return Group(self._progress, *lines)

    def _running_best(self) -> Text:
        parts = []
        for task in self._tasks:
            # while tuning, an activation's mean over learning rates would mix them: show its best one
            sign = 1 if task.higher_is_better else -1
            means = {
                act: max(sign * s for s in scores) if phase == "tune" else sign * fmean(scores)
                for (phase, name, act), scores in self._scores.items()
                if (phase, name) == (self._phase, task.name)
            }
            if means:
                best = max(means, key=lambda act: means[act])
                parts.append(f"{task.name} {best} {number(sign * means[best])}")
        return Text(" · ".join(parts) or "…", overflow="fold")


def number(value: float) -> str:
    """A score in four significant digits at most.

    >>> number(0.97654), number(21.4412), number(1234.6)
    ('0.977', '21.4', '1235')
    """
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def summary(results: Results, analysis: Analysis, files: Sequence[Path], console: Console) -> None:
    """Print the verdict, a table of activations by tasks, what to know, and where the files are."""
    console.print()
    console.print(Text(analysis.verdict, style="bold"))
    console.print()
    console.print(_table(results, analysis))
    lost = [t for t in results.trials if t.status != "ok"]
    for status in ("diverged", "failed"):
        of_it = [t for t in lost if t.status == status]
        if of_it:
            first = of_it[0]
            console.print(
                Text(
                    f"{len(of_it)} {status}, the first: {first.act} on {first.task}: {first.error}",
                    style="yellow",
                )
            )
    for caution in analysis.cautions[:3]:
        console.print(Text(f"* {caution}", style="dim"))
    console.print()
    for file in files:
        console.print(Text(str(file)), soft_wrap=True)


def _table(results: Results, analysis: Analysis) -> Table:
    """Mean test scores: best in bold, those not separable from it marked with =."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), caption_justify="left")
    table.add_column("", no_wrap=True, overflow="ellipsis", max_width=16)
    table.add_column("rank", justify="right")
    for task in results.tasks:
        table.add_column(
            f"{task.name}\n{task.metric.split()[0]} {'↑' if task.higher_is_better else '↓'}", justify="right"
        )
    ranks = dict(zip(analysis.ranking.acts, analysis.ranking.mean_ranks)) if analysis.ranking else {}
    for act in sorted(analysis.acts, key=lambda act: ranks.get(act, float("inf"))):
        scores = [_cell(analysis, task.name, act) for task in results.tasks]
        table.add_row(act, f"{ranks[act]:.1f}" if act in ranks else "-", *scores)
    table.caption = f"means over {analysis.seeds} seeds; bold: best, =: not separable from it"
    return table


def _cell(analysis: Analysis, task: str, act: str) -> Text:
    cell = analysis.cell(task, act)
    if cell is None or cell.mean is None:
        return Text("-" if cell is None else "lost", style="yellow")
    mark = {"best": "", "tied": "="}.get(cell.standing, "")
    return Text(mark + number(cell.mean), style="bold" if cell.standing == "best" else "")

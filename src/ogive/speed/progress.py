"""What a run shows while it works: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ogive.speed.results import Row

_EVERY = 30.0  # seconds between lines where there is no terminal


class Watch:
    """Counts groups; hand it to :func:`ogive.speed.run.run`.

    Args:
        console: where to show it.
        total: groups of the whole run.
    """

    def __init__(self, console: Console, total: int) -> None:
        self._console, self._total, self._begun, self._printed = console, total, 0, time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=16), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("left"), TimeRemainingColumn(),
            console=console, transient=True, speed_estimate_period=600,
        )  # fmt: skip
        self._bar = self._progress.add_task("saved bytes", total=total)

    def __enter__(self) -> Watch:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._progress.stop()

    def __call__(self, what: str, row: Row | None) -> None:
        """The beginning of a group (``row`` None) or a finished row."""
        if row is not None:
            return
        self._progress.update(self._bar, description=what[:32], completed=self._begun)
        self._begun += 1
        if not self._console.is_terminal and time.monotonic() - self._printed > _EVERY:
            self._printed = time.monotonic()
            self._console.print(f"{self._begun - 1} of {self._total} groups timed; now {what}")

"""What every section of the report draws from, and the frames its charts stand in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ogive.bench.report.markup import Markup, el
from ogive.bench.report.svg import Look
from ogive.bench.stats.analysis import Analysis
from ogive.bench.store import Results, TaskInfo

__all__ = ["Page", "framed", "panels", "prose"]


@dataclass(frozen=True)
class Page:
    """One report.

    Args:
        results: the experiment.
        analysis: what it says.
        order: activations, best mean rank first.
        look: how each activation is drawn.
    """

    results: Results
    analysis: Analysis
    order: tuple[str, ...]
    look: Mapping[str, Look]

    @property
    def tasks(self) -> tuple[TaskInfo, ...]:
        """The tasks, in the order of the run."""
        return self.results.tasks

    @property
    def level(self) -> str:
        """Confidence of every interval, in percent."""
        return f"{100 * (1 - self.analysis.alpha):g} %"

    @property
    def risk(self) -> str:
        """Family-wise error rate, in percent."""
        return f"{100 * self.analysis.alpha:g} %"


def prose(*sentences: str, class_: str | None = None) -> Markup:
    """Sentences as one paragraph."""
    return el("p", " ".join(sentences), class_=class_)


def framed(chart: Markup | None, title: str, below: str | None = None) -> Markup | None:
    """A chart under its title; None stays None."""
    if chart is None:
        return None
    return el("figure", el("figcaption", title, el("small", below) if below else None), chart)


def panels(figures: Sequence[Markup | None], class_: str = "panels") -> Markup | None:
    """Figures side by side where there is room; None when there is none."""
    shown = [figure for figure in figures if figure is not None]
    return el("div", *shown, class_=class_) if shown else None

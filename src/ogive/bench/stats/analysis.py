"""From finished trials to what may be claimed: `analyse`.

The pieces: `outcomes` (runs as numbers), `comparisons` (pairs), `ranks` (over tasks), `verdict` (the
sentence). docs/statistics.md says the same to the reader of a report.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ogive.bench.stats.cautions import cautions
from ogive.bench.stats.comparisons import Contest, Pair, contests, task_pairs
from ogive.bench.stats.outcomes import Outcomes, read_outcomes
from ogive.bench.stats.ranks import Ranking, average_ranks, cliques, critical_difference, friedman, friedman_p
from ogive.bench.stats.verdict import leading_group, verdict
from ogive.bench.store import Results
from ogive.errors import ParameterError, UnknownName, closest
from ogive.statistics.inference import RESAMPLES, interquartile_mean, t_interval

__all__ = ["Analysis", "Cell", "analyse"]


@dataclass(frozen=True)
class Cell:
    """One activation on one task.

    Args:
        task, act: names.
        ok, diverged, failed: test runs by how they ended.
        mean, iqm, sd: of the finished scores, in the metric's units; None without a finished run.
        low, high: t interval of the mean; None below two finished runs.
        lr: learning rate of the test runs.
        standing: "best" (highest mean of those compared, diverged runs last), "tied" (not separable
            from the best), "behind" (resolved), "untested" (no two seeds shared with the best).
        figures: means of the test runs' figures (params, flops, ms_per_step, saved_bytes, ...).
    """

    task: str
    act: str
    ok: int
    diverged: int
    failed: int
    mean: float | None
    iqm: float | None
    sd: float | None
    low: float | None
    high: float | None
    lr: float | None
    standing: str
    figures: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """The cell as JSON values."""
        return {**asdict(self), "figures": dict(self.figures)}


@dataclass(frozen=True)
class Analysis:
    """What the trials say.

    Args:
        reference: activation the paired plots are drawn against.
        alpha: family-wise error rate of the overall comparison, and of each task's own.
        complete: whether the experiment ran to its end.
        acts: activations in the order of the run.
        seeds: largest number of test seeds of any cell.
        cells: task by activation, those with at least one test run.
        pairs: every pair on every task.  contests: every pair over all tasks.
        ranking: over tasks (or seeds); None when no block holds every activation.
        leaders: the best activation and those that cannot be separated from it.
        groups: maximal runs of neighbours by rank of which no two are separable over these tasks.
        verdict: one sentence.  cautions: what a reader should know before believing it.
    """

    reference: str | None
    alpha: float
    complete: bool
    acts: tuple[str, ...]
    seeds: int
    cells: tuple[Cell, ...]
    pairs: tuple[Pair, ...]
    contests: tuple[Contest, ...]
    ranking: Ranking | None
    leaders: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    verdict: str
    cautions: tuple[str, ...]

    def cell(self, task: str, act: str) -> Cell | None:
        """The cell of a task and an activation, if there was a run."""
        return next((c for c in self.cells if c.task == task and c.act == act), None)

    def pair(self, task: str, a: str, b: str) -> Pair | None:
        """The comparison of a and b on a task, in either order."""
        return next((p for p in self.pairs if p.task == task and {p.a, p.b} == {a, b}), None)

    def to_dict(self) -> dict[str, Any]:
        """The analysis as JSON values."""
        plain = {
            "reference": self.reference, "alpha": self.alpha, "complete": self.complete,
            "acts": list(self.acts), "seeds": self.seeds, "leaders": list(self.leaders),
            "groups": [list(group) for group in self.groups], "verdict": self.verdict,
            "cautions": list(self.cautions),
        }  # fmt: skip
        return {
            **plain,
            "ranking": self.ranking.to_dict() if self.ranking else None,
            "cells": [cell.to_dict() for cell in self.cells],
            "pairs": [pair.to_dict() for pair in self.pairs],
            "contests": [contest.to_dict() for contest in self.contests],
        }


def analyse(results: Results, *, reference: str | None = None, alpha: float = 0.05) -> Analysis:
    """What the finished test runs say about the activations, with error bars.

    Args:
        results: an experiment, finished or not.
        reference: activation of the paired plots; relu if it took part, else the first one.
        alpha: family-wise error rate, in (0, 1).

    Raises:
        UnknownName: the reference took no part.
        ParameterError: alpha outside (0, 1).
    """
    if not 0.0 < alpha < 1.0:
        raise ParameterError(f"alpha = {alpha!r} must lie between 0 and 1 (0.05 accepts one false alarm in twenty)")
    outcomes = read_outcomes(results)
    known = [str(act) for act in results.config.get("acts", ())]
    acts = tuple(dict.fromkeys([*known, *(trial.act for trial in results.trials)]))
    if reference is None:
        reference = "relu" if "relu" in acts else next(iter(acts), None)
    elif reference not in acts:
        near = ", ".join(closest(reference, acts)) or "none took part"
        raise UnknownName(f"reference {reference!r} took no part in this experiment (nearest: {near})")

    pairs = tuple(pair for task in outcomes.values() for pair in task_pairs(task, acts, alpha))
    duels = contests(outcomes, pairs, acts, alpha)
    cells = tuple(
        cell
        for task in outcomes.values()
        for cell in _cells(task, acts, [p for p in pairs if p.task == task.task.name], alpha)
    )
    tested = tuple(act for act in acts if any(o.goodness.get(act) for o in outcomes.values()))
    ranking = _ranking(list(outcomes.values()), tested, alpha)
    order = ranking.acts if ranking else _order_by_effect(tested, duels)
    resolved = {frozenset((c.a, c.b)) for c in duels if c.resolved}
    leaders = leading_group(order, duels)
    return Analysis(
        reference=reference, alpha=alpha, complete=bool(results.config.get("complete", False)), acts=acts,
        seeds=max((c.ok + c.diverged for c in cells), default=0), cells=cells, pairs=pairs, contests=duels,
        ranking=ranking, leaders=leaders,
        groups=cliques(order, lambda a, b: frozenset((a, b)) in resolved),
        verdict=verdict(results, order, leaders, ranking, duels, pairs),
        cautions=cautions(results, outcomes, acts, cells),
    )  # fmt: skip


def _cells(outcomes: Outcomes, acts: Sequence[str], pairs: Sequence[Pair], alpha: float) -> list[Cell]:
    """The task's cells; the best is one of those compared, by the mean over the seeds they share."""
    compared = {act for pair in pairs if pair.n >= 2 for act in (pair.a, pair.b)}
    present = [act for act in acts if act in compared]
    best = None
    if present:
        shared = outcomes.seeds(present)
        means = [float(outcomes.matrix([act], shared or outcomes.seeds([act])).mean()) for act in present]
        best = present[int(np.argmax(means))]
    found = []
    for act in acts:
        trials = outcomes.trials.get(act, ())
        if not trials:
            continue
        scores = outcomes.finished(act)
        results = len(outcomes.goodness.get(act, {}))
        standing = "untested"
        if act == best:
            standing = "best"
        elif best is not None and results:
            pair = next((p for p in pairs if {p.a, p.b} == {act, best}), None)
            if pair is not None and pair.n >= 2:
                standing = "behind" if pair.resolved else "tied"
        # Of one score the rounding has 1/sqrt 2 of the sd it has of a difference.
        interval = t_interval(scores, 1.0 - alpha, outcomes.floor / math.sqrt(2.0))
        low, high = interval if interval else (None, None)
        names = dict.fromkeys(name for trial in trials for name in trial.figures)
        figures = {}
        for name in names:
            values = [t.figures[name] for t in trials if name in t.figures and math.isfinite(t.figures[name])]
            if values:
                figures[name] = float(np.mean(values))
        found.append(Cell(
            task=outcomes.task.name, act=act, ok=scores.size, diverged=results - scores.size,
            failed=len(trials) - results,
            mean=float(scores.mean()) if scores.size else None,
            iqm=float(interquartile_mean(scores)) if scores.size else None,
            sd=float(scores.std(ddof=1)) if scores.size > 1 else None,
            low=low, high=high, lr=trials[-1].lr, standing=standing, figures=figures,
        ))  # fmt: skip
    return found


def _order_by_effect(acts: Sequence[str], duels: Sequence[Contest]) -> tuple[str, ...]:
    """Best first by the sum of z against the others: used when no block holds everybody."""
    total = dict.fromkeys(acts, 0.0)
    for duel in duels:
        total[duel.a] += duel.z
        total[duel.b] -= duel.z
    return tuple(sorted(acts, key=lambda act: -total[act]))


def _ranking(outcomes: Sequence[Outcomes], acts: Sequence[str], alpha: float) -> Ranking | None:
    """Mean ranks over tasks; over seeds when there is one task only."""
    full = [(o, o.seeds(acts)) for o in outcomes if len(acts) >= 2 and o.seeds(acts)]
    if not full:
        return None
    # A task with one shared seed has a rank but no noise: it waits until it has two, if others have.
    full = [(o, seeds) for o, seeds in full if len(seeds) >= 2] or full
    tables = [o.matrix(acts, seeds) for o, seeds in full]
    rng = np.random.default_rng(0)
    over_seeds = len(outcomes) == 1
    if over_seeds:
        ranks = average_ranks(tables[0].T)
        draws = rng.integers(0, len(ranks), (RESAMPLES, len(ranks)))
        drawn = ranks[draws].mean(axis=1)
    else:
        ranks = np.stack([average_ranks(table.mean(axis=1)) for table in tables])
        drawn = np.zeros((RESAMPLES, len(acts)))
        for table in tables:
            seeds = rng.integers(0, table.shape[1], (RESAMPLES, table.shape[1]))
            drawn += average_ranks(table[:, seeds].mean(axis=2).T) / len(tables)
    low, high = np.quantile(drawn, [alpha / 2.0, 1.0 - alpha / 2.0], axis=0)
    if all(table.shape[1] < 2 for table in tables):  # one seed: resampling it shows nothing
        low, high = np.ones(len(acts)), np.full(len(acts), float(len(acts)))
    means = ranks.mean(axis=0)
    order = np.argsort(means, kind="stable")
    names = tuple(acts[i] for i in order)
    width = critical_difference(len(acts), len(ranks), alpha)
    at = dict(zip(acts, means))
    return Ranking(
        acts=names, mean_ranks=tuple(float(means[i]) for i in order),
        low=tuple(float(low[i]) for i in order), high=tuple(float(high[i]) for i in order),
        blocks="seeds" if over_seeds else "tasks", n_blocks=len(ranks),
        statistic=friedman(ranks), p=friedman_p(ranks), critical_difference=width,
        cliques=cliques(names, lambda a, b: abs(at[a] - at[b]) >= width),
    )  # fmt: skip

"""The test runs of an experiment as numbers that can be compared, and what happens to runs that broke.

Three rules, which docs/statistics.md states for the reader:
* a diverged run (or a score that is not finite) is a result. In ranks and tests it stands behind
  every finished run of its task, one whole spread (best minus worst finished score) behind the worst;
* a failed run (an exception) says nothing of the activation: it is missing, and listed;
* two activations are compared only over the seeds that both have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ogive.bench.store import Results, TaskInfo, Trial

__all__ = ["Outcomes", "read_outcomes"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Outcomes:
    """The test runs of one task.

    Args:
        task: the task.
        goodness: act -> {seed: score, negated where lower is better}; nan for a diverged run.
        trials: act -> its test trials, failed ones included, one per seed.
        floor: smallest standard deviation of a difference the score's resolution allows.
    """

    task: TaskInfo
    goodness: Mapping[str, Mapping[int, float]]
    trials: Mapping[str, tuple[Trial, ...]]
    floor: float

    @property
    def sign(self) -> float:
        """+1 where a higher score is better, else -1."""
        return 1.0 if self.task.higher_is_better else -1.0

    @property
    def last_place(self) -> float:
        """The goodness a diverged run counts with: one spread behind the worst finished run."""
        finished = [g for runs in self.goodness.values() for g in runs.values() if math.isfinite(g)]
        if not finished:
            return 0.0
        best, worst = max(finished), min(finished)
        return worst - max(best - worst, 1e-3 * abs(worst), 1e-9)

    def seeds(self, acts: Sequence[str]) -> list[int]:
        """Seeds that every one of the activations has a result for, diverged ones included."""
        shared = set(self.goodness.get(acts[0], {})) if acts else set()
        for act in acts[1:]:
            shared &= set(self.goodness.get(act, {}))
        return sorted(shared)

    def matrix(self, acts: Sequence[str], seeds: Sequence[int]) -> Floats:
        """Goodness, shape (acts, seeds), with diverged runs in last place."""
        raw = np.array([[self.goodness[act][seed] for seed in seeds] for act in acts], dtype=np.float64)
        return np.where(np.isfinite(raw), raw, self.last_place).reshape(len(acts), len(seeds))

    def finished(self, act: str) -> Floats:
        """Scores of the finished runs in the task's own units, in the order of seeds."""
        runs = self.goodness.get(act, {})
        scores = [self.sign * runs[seed] for seed in sorted(runs) if math.isfinite(runs[seed])]
        return np.array(scores, dtype=np.float64)


def resolution_floor(scores: Sequence[float]) -> float:
    """Standard deviation of a difference of two scores due to their rounding alone, step / sqrt 6.

    The step is the smallest distance between two different scores of the task: 1/360 for accuracy on
    360 images. For a score that is not quantised it is tiny, and so is the floor.
    """
    values = np.unique(np.asarray([s for s in scores if math.isfinite(s)], dtype=np.float64))
    gaps = np.diff(values)
    gaps = gaps[gaps > 1e-9 * max(1.0, float(np.abs(values).max(initial=0.0)))]
    return float(gaps.min()) / math.sqrt(6.0) if gaps.size else 0.0


def read_outcomes(results: Results) -> dict[str, Outcomes]:
    """The test runs of every task, by the task's name."""
    found: dict[str, Outcomes] = {}
    for task in results.tasks:
        latest: dict[str, dict[int, Trial]] = {}
        for trial in results.trials:  # in the order in which they ended: a repeated seed keeps its last run
            if trial.task == task.name and trial.phase == "test":
                latest.setdefault(trial.act, {})[trial.seed] = trial
        sign = 1.0 if task.higher_is_better else -1.0
        goodness: dict[str, dict[int, float]] = {}
        for act, runs in latest.items():
            goodness[act] = {
                seed: sign * trial.score
                if trial.status == "ok" and trial.score is not None and math.isfinite(trial.score)
                else math.nan
                for seed, trial in runs.items()
                if trial.status != "failed"
            }
        floor = resolution_floor([g for runs in goodness.values() for g in runs.values()])
        trials = {act: tuple(runs[seed] for seed in sorted(runs)) for act, runs in latest.items()}
        found[task.name] = Outcomes(task, goodness, trials, floor)
    return found

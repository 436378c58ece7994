"""Every activation against every other: on one task, and over all tasks together.

Measured on simulated experiments without any difference, 6 activations (15 pairs), 600 experiments
each: share in which at least one pair is called different at a nominal 5 %.

    seeds x tasks  scores             Stouffer of t  sign flips  t in one task  Tukey (one variance)
    5 x 6          normal             0.058          0.050       0.036          0.047
    5 x 6          unequal variances  0.045          0.043       0.042          0.136
    5 x 6          Student t, 3 df    0.033          0.040       0.030          0.041
    5 x 6          accuracy, 360      0.052          0.037       0.050          0.050
    3 x 4          normal             0.043          0.040       0.047          0.055
    5 x 1          normal             0.050          never       0.050          0.058

and share of the five true pairs found when one activation is 1.5 run-to-run sd better everywhere:

    5 x 6 normal 0.99 / 0.98 / 0.06,  5 x 3 normal 0.68 / 0.68 / 0.06,  5 x 1 normal 0.05 / 0 / 0.05

Decisions: over tasks, Stouffer's combination of the paired t tests (it also works with one task or
three seeds, where sign flips cannot reach a corrected 5 %); sign flips stand beside it. Within a
task the paired t with its own variance: borrowing one variance for all pairs (Tukey) is wrong more
than twice as often as it says when an activation is noisier than the others, which is usual.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ogive.bench.stats.outcomes import Outcomes
from ogive.statistics.inference import (
    bca_interval,
    holm,
    paired_t,
    seeds_for_power,
    sign_flip,
    signed_z,
    stouffer,
    t_interval,
)

__all__ = ["Contest", "Pair", "contests", "task_pairs"]


@dataclass(frozen=True)
class Pair:
    """Two activations on one task.

    Args:
        task, a, b: names.
        n: seeds both have a result for.
        diverged: how many of these seeds have a diverged run of a or b.
        advantage: mean of a minus b over seeds where both finished, in the metric's units and
            turned so that positive means a is better; None without such a seed.
        low, high: its t interval, not corrected for the number of pairs; None below two seeds.
        bootstrap: BCa interval of the same mean; None below three seeds.
        effect: mean / sd with diverged runs in last place, times Hedges' small-sample factor.
        p: paired t.  p_flip: sign-flip permutation.  p_holm: p corrected within the task.
        resolved: p_holm <= alpha.
        seeds_needed: seeds for 80 % power to resolve this difference; None above 1000.
    """

    task: str
    a: str
    b: str
    n: int
    diverged: int
    advantage: float | None
    low: float | None
    high: float | None
    bootstrap: tuple[float, float] | None
    effect: float
    p: float
    p_flip: float
    p_holm: float
    resolved: bool
    seeds_needed: int | None

    def to_dict(self) -> dict[str, Any]:
        """The pair as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Contest:
    """Two activations over all tasks they share.

    Args:
        a, b: names.
        tasks: tasks with at least two shared seeds.
        wins, losses: tasks on which a's mean is better, worse.
        z: Stouffer's statistic; positive means a is better.
        effect: mean over tasks of z / sqrt seeds, a standardised difference on the normal scale. The
            z of one task is bounded, so a task on which b always diverges does not outweigh the rest.
        p: Stouffer's combination of the tasks' paired t tests.  p_flip: sign flips over all tasks.
        p_holm: p corrected for all pairs.
        resolved: p_holm <= alpha.
        seeds_needed: seeds per task for 80 % power; None above 1000.
    """

    a: str
    b: str
    tasks: int
    wins: int
    losses: int
    z: float
    effect: float
    p: float
    p_flip: float
    p_holm: float
    resolved: bool
    seeds_needed: int | None

    @property
    def winner(self) -> str | None:
        """The better one if the difference is resolved."""
        return (self.a if self.z > 0 else self.b) if self.resolved else None

    def to_dict(self) -> dict[str, Any]:
        """The contest as JSON values."""
        return {**asdict(self), "winner": self.winner}


def _differences(outcomes: Outcomes, a: str, b: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    seeds = outcomes.seeds([a, b])
    scores = outcomes.matrix([a, b], seeds)
    difference: np.ndarray[Any, np.dtype[np.float64]] = scores[0] - scores[1]
    return difference


def _effect(differences: np.ndarray[Any, np.dtype[np.float64]], floor: float) -> float:
    """Mean / sd, times 1 - 3 / (4 df - 1): with five seeds mean / sd is a quarter too large on average."""
    n = differences.size
    if n < 2:
        return 0.0
    mean, sd = float(differences.mean()), max(float(differences.std(ddof=1)), floor)
    if mean == 0.0:
        return 0.0
    shrink = 1.0 - 3.0 / (4.0 * (n - 1) - 1.0) if n > 2 else 0.5
    return shrink * mean / max(sd, 1e-6 * abs(mean))


def task_pairs(outcomes: Outcomes, acts: Sequence[str], alpha: float) -> tuple[Pair, ...]:
    """All pairs of activations on one task, Holm-corrected over the pairs that can be tested.

    Args:
        outcomes: the task's test runs.
        acts: activations; those without a result on this task are left out.
        alpha: family-wise error rate within the task, in (0, 1).
    """
    present = [act for act in acts if outcomes.goodness.get(act)]
    found: list[Pair] = []
    for a, b in itertools.combinations(present, 2):
        seeds = outcomes.seeds([a, b])
        difference = _differences(outcomes, a, b)
        raw = np.array([outcomes.goodness[a][s] - outcomes.goodness[b][s] for s in seeds], dtype=np.float64)
        finished = raw[np.isfinite(raw)]
        interval = t_interval(finished, 1.0 - alpha, outcomes.floor)
        low, high = interval if interval else (None, None)
        found.append(Pair(
            task=outcomes.task.name, a=a, b=b, n=len(seeds), diverged=len(seeds) - finished.size,
            advantage=float(finished.mean()) if finished.size else None, low=low, high=high,
            bootstrap=bca_interval(finished, 1.0 - alpha), effect=_effect(difference, outcomes.floor),
            p=paired_t(difference, outcomes.floor), p_flip=sign_flip([difference]), p_holm=1.0,
            resolved=False, seeds_needed=None,
        ))  # fmt: skip
    testable = [i for i, pair in enumerate(found) if pair.n >= 2]
    for i, p_holm in zip(testable, holm([found[i].p for i in testable])):
        pair = found[i]
        needed = seeds_for_power(pair.effect, alpha / len(testable))
        found[i] = replace(pair, p_holm=float(p_holm), resolved=bool(p_holm <= alpha), seeds_needed=needed)
    return tuple(found)


def contests(
    outcomes: Mapping[str, Outcomes], pairs: Sequence[Pair], acts: Sequence[str], alpha: float
) -> tuple[Contest, ...]:
    """All pairs of activations over all tasks together, Holm-corrected over the pairs.

    Args:
        outcomes: test runs by task.
        pairs: what `task_pairs` found on every task.
        acts: activations.
        alpha: family-wise error rate over the pairs, in (0, 1).
    """
    found: list[Contest] = []
    for a, b in itertools.combinations(acts, 2):
        shared = [pair for pair in pairs if (pair.a, pair.b) == (a, b) and pair.n >= 2]
        if not shared:
            continue
        z = [signed_z(pair.p, pair.effect) for pair in shared]
        flips = [_differences(outcomes[pair.task], a, b) for pair in shared]
        found.append(Contest(
            a=a, b=b, tasks=len(shared),
            wins=sum(pair.effect > 0 for pair in shared), losses=sum(pair.effect < 0 for pair in shared),
            z=float(sum(z)) / math.sqrt(len(z)),
            effect=float(np.mean([one / math.sqrt(pair.n) for one, pair in zip(z, shared)])),
            p=stouffer(z), p_flip=sign_flip(flips), p_holm=1.0, resolved=False, seeds_needed=None,
        ))  # fmt: skip
    for i, p_holm in enumerate(holm([contest.p for contest in found])):
        contest = found[i]
        needed = seeds_for_power(contest.effect, alpha / len(found), tasks=contest.tasks)
        found[i] = replace(contest, p_holm=float(p_holm), resolved=bool(p_holm <= alpha), seeds_needed=needed)
    return tuple(found)

"""Ranks over blocks: Friedman's test, Nemenyi's critical difference, groups that cannot be separated.

A block is a task (its mean scores are ranked) or, when there is only one task, a seed.
Source: Demšar 2006, "Statistical comparisons of classifiers over multiple data sets".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ogive.statistics.distributions import range_quantile

__all__ = ["Ranking", "average_ranks", "cliques", "critical_difference", "friedman", "friedman_p"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """Mean ranks, 1 = best, over blocks that hold every activation.

    Args:
        acts: activations, best mean rank first.
        mean_ranks: in the order of acts.
        low, high: 95 % bootstrap interval of each mean rank, seeds resampled within tasks.
        blocks: "tasks" or "seeds".
        n_blocks: how many.
        statistic, p: Friedman's statistic and its permutation p.
        critical_difference: Nemenyi's; mean ranks closer than this are not separable over new blocks.
        cliques: maximal runs of acts within the critical difference, at least two each.
    """

    acts: tuple[str, ...]
    mean_ranks: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    blocks: str
    n_blocks: int
    statistic: float
    p: float
    critical_difference: float
    cliques: tuple[tuple[str, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """The ranking as JSON values."""
        return asdict(self)


def average_ranks(goodness: ArrayLike) -> Floats:
    """Ranks along the last axis, 1 for the largest value, ties sharing their mean rank.

    >>> average_ranks([0.9, 0.7, 0.9]).tolist()
    [1.5, 3.0, 1.5]
    """
    x = np.asarray(goodness, dtype=np.float64)
    better = (x[..., None, :] > x[..., :, None]).sum(axis=-1)
    equal = (x[..., None, :] == x[..., :, None]).sum(axis=-1)  # counts itself
    return better + (equal + 1) / 2.0


def friedman(ranks: ArrayLike) -> float:
    """Friedman's statistic of ranks, shape (blocks, k), corrected for ties.

    chi2 = N (k - 1) * sum_j (Rbar_j - (k+1)/2)^2 / (mean over blocks of sum_j (r_ij - (k+1)/2)^2),
    which is the textbook 12 N / (k (k+1)) * ... when no block has ties. 0 when all are tied.
    """
    r = np.asarray(ranks, dtype=np.float64)
    blocks, k = r.shape
    centred = r - (k + 1) / 2.0
    within = float((centred**2).sum() / blocks)
    if within == 0.0:
        return 0.0
    return float(blocks * (k - 1) * (centred.mean(axis=0) ** 2).sum() / within)


def friedman_p(ranks: ArrayLike, seed: int = 0, draws: int = 10_000) -> float:
    """Permutation p of Friedman's statistic: ranks shuffled within every block.

    The usual chi-square reference is an approximation for many blocks; here there are a handful of
    tasks, and shuffling is exact up to the Monte Carlo error of the draws.
    """
    r = np.asarray(ranks, dtype=np.float64)
    blocks, k = r.shape
    rng = np.random.default_rng(seed)
    centred = r - (k + 1) / 2.0
    shuffled = rng.permuted(np.broadcast_to(centred, (draws, blocks, k)), axis=2)
    observed = float((centred.mean(axis=0) ** 2).sum())
    reached = int(np.sum((shuffled.mean(axis=1) ** 2).sum(axis=1) >= observed - 1e-9))
    return (reached + 1) / (draws + 1)


def critical_difference(k: int, blocks: int, alpha: float = 0.05) -> float:
    """Nemenyi's critical difference of mean ranks, q_alpha(k, inf) / sqrt 2 * sqrt(k (k+1) / (6 N)).

    >>> round(critical_difference(4, 14), 2)
    1.25
    """
    return range_quantile(1.0 - alpha, k) / math.sqrt(2.0) * math.sqrt(k * (k + 1) / (6.0 * blocks))


def cliques(order: Sequence[str], separable: Callable[[str, str], bool]) -> tuple[tuple[str, ...], ...]:
    """Maximal runs of neighbours in `order` in which no two are separable, at least two members each.

    >>> cliques(["a", "b", "c", "d"], lambda p, q: {p, q} in ({"a", "c"}, {"a", "d"}, {"b", "d"}))
    (('a', 'b'), ('b', 'c'), ('c', 'd'))
    """
    found: list[tuple[str, ...]] = []
    last_end = -1
    for start in range(len(order)):
        end = start
        while end + 1 < len(order) and not any(separable(order[i], order[end + 1]) for i in range(start, end + 1)):
            end += 1
        if end > start and end > last_end:
            found.append(tuple(order[start : end + 1]))
            last_end = end
    return tuple(found)

"""Which activations to keep: exact two-stage dynamic programming over tables of time and importance.

Layers 0 .. n-1 stand in a row. Stage one makes, for every run of layers without activations inside, the fastest split
into merged layers from the times of the merged layers alone. Stage two picks the activations to keep: runs that cover
the row, their importances summed as large as can be while their times sum to at most the budget.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ogive.errors import ParameterError

Span = tuple[int, int]  # layers first .. last - 1


@dataclass(frozen=True)
class Option:
    """One way to run layers ``first .. last - 1`` with no activation inside: its time, its importance (larger is
    better), and ``what`` it is to the caller."""

    first: int
    last: int
    time: float
    importance: float
    what: Any = None


@dataclass(frozen=True)
class Plan:
    """Options that cover the row; ``met`` says whether the budget holds (else it is the fastest there is)."""

    options: tuple[Option, ...]
    time: float
    importance: float
    met: bool


def fastest(times: Mapping[Span, float], n: int) -> dict[Span, tuple[float, tuple[int, ...]]]:
    """Stage one: the least time of every span and where it is cut: ``T(i, j) = min_m T(i, m) + t(m, j)``.

    Args:
        times: of one layer made of the span; a span that is missing cannot be one layer.
        n: layers.

    >>> fastest({(0, 1): 2.0, (1, 2): 2.0, (2, 3): 2.0, (0, 2): 3.0, (0, 3): 9.0}, 3)[0, 3]
    (5.0, (2,))
    """
    best: dict[Span, tuple[float, tuple[int, ...]]] = {}
    for i in range(n):
        for j in range(i + 1, n + 1):
            found: tuple[float, tuple[int, ...]] = (times[i, j], ()) if (i, j) in times else (math.inf, ())
            for m in range(i + 1, j):
                if (i, m) in best and (m, j) in times and best[i, m][0] + times[m, j] < found[0]:
                    found = best[i, m][0] + times[m, j], (*best[i, m][1], m)
            if math.isfinite(found[0]):
                best[i, j] = found
    return best


def choose(options: Sequence[Option], n: int, budget: float, points: int = 4000) -> Plan:
    """Stage two: options that cover layers 0 .. n-1 with the largest sum of importances in the budget.

    For every end a list of (time, importance) pairs that no other pair beats in both is kept, so the answer is exact.
    A list of more than ``points`` pairs inside the budget is thinned: of as many equal parts of the budget each keeps
    its most important pair, and the fastest pair of all stays. Then the answer may miss the best, never the budget.

    Raises:
        ParameterError: when no options cover the row, or a time or importance is not a finite number.

    >>> keep, drop = [Option(i, i + 1, 2.0, 0.0) for i in range(2)], Option(0, 2, 3.0, -1.0)
    >>> choose([*keep, drop], 2, 4.0).importance, choose([*keep, drop], 2, 3.5).importance
    (0.0, -1.0)
    """
    by_end: dict[int, list[Option]] = {}
    for option in options:
        if not (math.isfinite(option.importance) and math.isfinite(option.time) and option.time >= 0.0):
            raise ParameterError(f"choose: time {option.time!r}, importance {option.importance!r}; they are finite")
        by_end.setdefault(option.last, []).append(option)
    # a front: times rising, importances rising; each with the option it ends in and the place of what is before it
    fronts: list[list[tuple[float, float, Option | None, int]]] = [[(0.0, 0.0, None, -1)]]
    for end in range(1, n + 1):
        reached = []
        for option in by_end.get(end, []):
            for at, (spent, worth, _, _) in enumerate(fronts[option.first]):
                reached.append((spent + option.time, worth + option.importance, option, at))
        reached.sort(key=lambda r: (r[0], -r[1]))
        front: list[tuple[float, float, Option | None, int]] = []
        for row in reached:
            if not front or row[1] > front[-1][1]:
                front.append(row)
        fronts.append(front if len(front) <= points else _thinned(front, budget, points))
    last = fronts[n]
    if not last:
        raise ParameterError(f"choose: no options cover all of {n} layers")
    inside = bisect_right([row[0] for row in last], budget * (1.0 + 1e-12))
    picked, end, at = [], n, max(inside - 1, 0)
    while end:
        last_one, before = fronts[end][at][2:]
        assert last_one is not None
        picked.append(last_one)
        end, at = last_one.first, before
    picked.reverse()
    time = math.fsum(o.time for o in picked)
    return Plan(tuple(picked), time, math.fsum(o.importance for o in picked), inside > 0)


def _thinned(
    front: list[tuple[float, float, Option | None, int]], budget: float, points: int
) -> list[tuple[float, float, Option | None, int]]:
    parts = {int(row[0] * points / budget): row for row in front[1:] if row[0] <= budget}  # the last of each stays
    return [front[0], *parts.values()]


def kept_layers(sizes: Sequence[int], norms: Sequence[float], removable: Sequence[bool]) -> dict[int, tuple[int, ...]]:
    """For every kernel size that a run of layers can be merged to by removing some: the layers to keep.

    Of the sets that give one size, the one with the largest sum of norms stays (LayerMerge's rule).

    Args:
        sizes: kernel size less 1 of each layer. norms: the sum of |weights|. removable: whether the identity fits.

    >>> kept_layers([2, 0, 2], [5.0, 1.0, 7.0], [True, True, False])
    {2: (1, 2), 4: (0, 1, 2)}
    """
    best: dict[int, tuple[float, tuple[int, ...]]] = {0: (0.0, ())}
    for i, (size, norm, may_go) in enumerate(zip(sizes, norms, removable)):
        grown: dict[int, tuple[float, tuple[int, ...]]] = dict(best) if may_go else {}
        for total, (sum_, kept) in best.items():
            found = sum_ + norm, (*kept, i)
            if total + size not in grown or found[0] > grown[total + size][0]:
                grown[total + size] = found
        best = grown
    return {size: kept for size, (_, kept) in sorted(best.items())}

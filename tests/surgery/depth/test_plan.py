"""The dynamic programme against trying everything."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from ogive.errors import ParameterError
from ogive.surgery.depth.plan import Option, choose, fastest, kept_layers


def covers(n):
    """Every way to cut n layers into runs."""
    for cuts in itertools.product([False, True], repeat=n - 1):
        ends = [0, *(i + 1 for i, c in enumerate(cuts) if c), n]
        yield list(itertools.pairwise(ends))


def tables(n, seed, share=0.7):
    rng = random.Random(seed)
    spans = [(i, j) for i in range(n) for j in range(i + 1, n + 1)]
    times = {s: rng.uniform(0.5, 1.0 + 0.6 * (s[1] - s[0])) for s in spans if s[1] - s[0] == 1 or rng.random() < share}
    worth = {s: -rng.random() * (s[1] - s[0] - 1) for s in spans}
    return times, worth


@pytest.mark.parametrize("n", [1, 2, 5, 8])
@pytest.mark.parametrize("seed", range(3))
def test_stage_one_is_the_best_of_all_cuts(n, seed):
    times, _ = tables(n, seed)
    best = fastest(times, n)
    for i in range(n):
        for j in range(i + 1, n + 1):
            every = [sum(times.get((i + a, i + b), math.inf) for a, b in cover) for cover in covers(j - i)]
            assert best[i, j][0] == pytest.approx(min(every))
            ends = [i, *best[i, j][1], j]
            assert sum(times[s] for s in itertools.pairwise(ends)) == pytest.approx(min(every))


@pytest.mark.parametrize("n", [3, 6, 10])
@pytest.mark.parametrize("seed", range(4))
def test_both_stages_are_the_best_of_all_plans(n, seed):
    """Brute force over the activations that stay and, in every run between two of them, over the merges."""
    times, worth = tables(n, seed)
    best = fastest(times, n)
    options = [Option(i, j, t, worth[i, j]) for (i, j), (t, _) in best.items()]
    least = {(i, j): min(sum(times.get((i + a, i + b), math.inf) for a, b in c) for c in covers(j - i))
             for i in range(n) for j in range(i + 1, n + 1)}  # fmt: skip
    plans = [(sum(least[s] for s in cover), sum(worth[s] for s in cover)) for cover in covers(n)]
    for share in (0.5, 0.7, 0.9, 1.1):
        budget = share * sum(times[i, i + 1] for i in range(n))
        plan = choose(options, n, budget)
        inside = [w for t, w in plans if t <= budget]
        assert plan.met == bool(inside)
        if inside:
            assert plan.importance == pytest.approx(max(inside))
            assert plan.time <= budget + 1e-9
        else:
            assert plan.time == pytest.approx(min(t for t, _ in plans))
        assert [o.first for o in plan.options[1:]] == [o.last for o in plan.options[:-1]]


def test_several_options_for_one_span():
    """LayerMerge's table: (position, position, kernel size)."""
    rng = random.Random(3)
    n = 6
    options = [Option(i, j, rng.random() * (j - i), -rng.random() * (j - i), k)
               for i in range(n) for j in range(i + 1, min(i + 3, n) + 1) for k in range(3)]  # fmt: skip
    at = {}
    for o in options:
        at.setdefault((o.first, o.last), []).append(o)
    budget = 1.2
    worths = [sum(o.importance for o in pick) for cover in covers(n) if all(s in at for s in cover)
              for pick in itertools.product(*(at[s] for s in cover)) if sum(o.time for o in pick) <= budget]  # fmt: skip
    assert choose(options, n, budget).importance == pytest.approx(max(worths))


def test_thinned_lists_keep_the_budget():
    times, worth = tables(10, 5, share=1.0)
    options = [Option(i, j, t, worth[i, j]) for (i, j), (t, _) in fastest(times, 10).items()]
    for share in (0.6, 0.8):
        budget = share * sum(times[i, i + 1] for i in range(10))
        exact, coarse = choose(options, 10, budget), choose(options, 10, budget, points=20)
        assert coarse.time <= budget
        assert exact.importance - 0.5 < coarse.importance <= exact.importance


def test_kept_layers_against_all_sets():
    rng = random.Random(0)
    sizes, norms = [rng.choice([0, 2, 4]) for _ in range(7)], [rng.random() for _ in range(7)]
    may_go = [rng.random() < 0.6 for _ in range(7)]
    best = {}
    for kept in itertools.product([False, True], repeat=7):
        if all(k or m for k, m in zip(kept, may_go)):
            size = sum(s for s, k in zip(sizes, kept) if k)
            norm = sum(x for x, k in zip(norms, kept) if k)
            best[size] = max(best.get(size, -1.0), norm)
    found = kept_layers(sizes, norms, may_go)
    assert {s: pytest.approx(sum(norms[i] for i in kept)) for s, kept in found.items()} == best


def test_tables_that_make_no_sense():
    with pytest.raises(ParameterError, match="no options cover all of 3"):
        choose([Option(0, 1, 1.0, 0.0), Option(2, 3, 1.0, 0.0)], 3, 9.0)
    with pytest.raises(ParameterError, match="they are finite"):
        choose([Option(0, 1, math.nan, 0.0)], 1, 9.0)

"""The statistics of `ogive compare` against independent oracles and experiments with a known truth."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as scipy_stats
from synthetic_results import ACTS, TASKS, make_results, null_results

from ogive.bench.stats import analyse
from ogive.bench.stats.comparisons import Contest
from ogive.bench.stats.ranks import average_ranks, cliques, critical_difference, friedman, friedman_p
from ogive.bench.stats.verdict import leading_group
from ogive.errors import ParameterError, UnknownName
from ogive.statistics.distributions import normal_cdf, range_quantile, t_power, t_quantile, t_two_sided
from ogive.statistics.inference import (
    bca_interval,
    holm,
    interquartile_mean,
    paired_t,
    seeds_for_power,
    sign_flip,
    signed_z,
    stouffer,
    t_interval,
)

# ---- distributions -------------------------------------------------------------------------------


@pytest.mark.parametrize("df", [1, 2, 3, 4, 5, 9, 10, 31, 99, 100, 400])
def test_t_tail_and_quantile_agree_with_scipy(df):
    t = np.linspace(0.0, 12.0, 60)
    np.testing.assert_allclose(t_two_sided(t, df), 2 * scipy_stats.t.sf(t, df), atol=1e-12)
    for level in (0.5, 0.9, 0.95, 0.99, 0.9999):
        assert t_quantile(level, df) == pytest.approx(scipy_stats.t.ppf((1 + level) / 2, df), rel=2e-6)


@pytest.mark.parametrize("k", [2, 3, 6, 14, 40])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_range_quantile_agrees_with_scipy(k, level):
    expected = scipy_stats.studentized_range.ppf(level, k, np.inf)
    assert range_quantile(level, k) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("effect", "n", "level"), [(0.5, 5, 0.95), (1.0, 10, 0.95), (0.2, 80, 0.99), (2.0, 3, 0.95)])
def test_power_agrees_with_the_noncentral_t(effect, n, level):
    critical, shift = scipy_stats.t.ppf((1 + level) / 2, n - 1), effect * math.sqrt(n)
    expected = scipy_stats.nct.sf(critical, n - 1, shift) + scipy_stats.nct.cdf(-critical, n - 1, shift)
    assert t_power(effect, n, level) == pytest.approx(expected, abs=2e-4)


def test_normal_cdf_keeps_its_far_tail():
    assert float(normal_cdf(-20.0)) == pytest.approx(scipy_stats.norm.cdf(-20.0), rel=1e-12)


def test_bad_arguments_are_named():
    with pytest.raises(ParameterError, match="df = 0"):
        t_two_sided(1.0, 0)
    with pytest.raises(ParameterError, match="k = 1"):
        range_quantile(0.95, 1)
    with pytest.raises(ParameterError, match=r"alpha = 2"):
        seeds_for_power(1.0, 2.0)


# ---- intervals and tests -------------------------------------------------------------------------


def test_interquartile_mean_is_the_trimmed_mean_and_continuous_between():
    rng = np.random.default_rng(0)
    for n in (4, 8, 20):
        x = rng.normal(size=n)
        assert float(interquartile_mean(x)) == pytest.approx(scipy_stats.trim_mean(x, 0.25))
    assert float(interquartile_mean([1.0, 2.0, 3.0, 4.0, 1000.0])) == pytest.approx((0.75 * 2 + 3 + 0.75 * 4) / 2.5)
    table = rng.normal(size=(3, 5))
    assert interquartile_mean(table).shape == (3,)


def test_paired_t_is_scipy_s():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=7), rng.normal(0.8, 1.0, size=7)
    assert paired_t(a - b) == pytest.approx(scipy_stats.ttest_rel(a, b).pvalue)


def test_equal_steps_of_a_coarse_score_are_not_certainty():
    step = 1 / 360
    assert paired_t([step] * 5) == 0.0  # what the plain test would say
    floored = paired_t([step] * 5, floor=step / math.sqrt(6))
    assert 1e-4 < floored < 0.05
    assert paired_t([0.1 + 0.2 - 0.3] * 5) in (0.0, 1.0)


def test_sign_flip_is_the_enumeration():
    rng = np.random.default_rng(2)
    for n in (3, 5, 8):
        d = rng.normal(0.5, 1.0, size=n)
        count = sum(abs(np.dot(s, d)) >= abs(d.sum()) - 1e-12 for s in itertools.product((1, -1), repeat=n))
        assert sign_flip([d]) == count / 2**n
    one, two = rng.normal(0.5, 1.0, size=4), 100 * rng.normal(0.5, 1.0, size=5)
    z = np.concatenate([one / np.sqrt(np.mean(one**2)), two / np.sqrt(np.mean(two**2))])
    count = sum(abs(np.dot(s, z)) >= abs(z.sum()) - 1e-12 for s in itertools.product((1, -1), repeat=9))
    assert sign_flip([one, two]) == count / 2**9


def test_drawn_sign_flips_come_close_to_the_enumeration():
    d = np.random.default_rng(3).normal(0.35, 1.0, size=14)
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=14)))
    exact = np.mean(np.abs(signs @ d) >= abs(d.sum()) - 1e-12)
    assert sign_flip([d]) == pytest.approx(exact, abs=4 * math.sqrt(exact / 10_000))


def test_five_seeds_cannot_go_below_a_sixteenth():
    assert sign_flip([[5.0, 6.0, 5.5, 7.0, 6.1]]) == 1 / 16


def test_holm_is_the_closed_bonferroni_test():
    """Adjusted p of i is the largest, over all sets of hypotheses that hold i, of |S| min p_S."""
    rng = np.random.default_rng(4)
    for _ in range(20):
        p = rng.uniform(size=5) ** 3
        sets = [s for r in range(1, 6) for s in itertools.combinations(range(5), r)]
        expected = [max(min(1.0, len(s) * min(p[j] for j in s)) for s in sets if i in s) for i in range(5)]
        np.testing.assert_allclose(holm(p), expected)


def test_stouffer_is_scipy_s_and_direction_counts():
    p = [0.03, 0.2, 0.6]
    z = [signed_z(q, 1.0) for q in p]
    one_sided = scipy_stats.combine_pvalues([q / 2 for q in p], method="stouffer").pvalue
    assert stouffer(z) == pytest.approx(2 * one_sided)
    assert stouffer([signed_z(0.01, 1.0), signed_z(0.01, -1.0)]) == pytest.approx(1.0)
    assert stouffer([]) == 1.0


def test_bca_agrees_with_scipy():
    x = np.random.default_rng(5).lognormal(size=40)
    expected = scipy_stats.bootstrap((x,), np.mean, method="BCa", n_resamples=10_000, rng=1).confidence_interval
    width = expected.high - expected.low
    low, high = bca_interval(x)
    assert abs(low - expected.low) < 0.05 * width
    assert abs(high - expected.high) < 0.08 * width
    assert bca_interval(x) == (low, high)  # seeded


@pytest.mark.parametrize("n", [5, 10])
def test_t_intervals_cover_and_bootstrap_intervals_do_not(n):
    """The measurement the report's choice rests on (see the table in inference.py)."""
    rng = np.random.default_rng(6)
    samples = rng.normal(size=(2000, n))
    ends = np.array([t_interval(x) for x in samples])
    covered = np.mean((ends[:, 0] <= 0) & (ends[:, 1] >= 0))
    assert abs(covered - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 2000)
    ends = np.array([bca_interval(x) for x in samples[:400]])
    covered = np.mean((ends[:, 0] <= 0) & (ends[:, 1] >= 0))
    assert covered < (0.90 if n == 5 else 0.94)


@pytest.mark.parametrize(("effect", "alpha"), [(1.0, 0.05), (0.5, 0.05 / 15), (3.0, 0.05), (0.15, 0.05)])
def test_seeds_for_power_is_the_first_number_that_suffices(effect, alpha):
    n = seeds_for_power(effect, alpha)
    assert t_power(effect, n, 1 - alpha) >= 0.8 > t_power(effect, n - 1, 1 - alpha)


def test_seeds_for_power_over_tasks_by_simulation():
    tasks, effect, alpha = 4, 0.5, 0.05 / 6
    seeds = seeds_for_power(effect, alpha, tasks=tasks)
    d = np.random.default_rng(7).normal(effect, 1.0, size=(600, tasks, seeds))
    t = d.mean(axis=2) / d.std(axis=2, ddof=1) * math.sqrt(seeds)
    z = np.sign(t) * scipy_stats.norm.isf(scipy_stats.t.sf(np.abs(t), seeds - 1))
    power = np.mean(2 * scipy_stats.norm.sf(np.abs(z.sum(axis=1)) / math.sqrt(tasks)) <= alpha)
    assert 0.65 < power < 0.9


def test_no_difference_needs_no_finite_number_of_seeds():
    assert seeds_for_power(0.0, 0.05) is None
    assert seeds_for_power(1e-4, 0.05) is None


# ---- ranks ---------------------------------------------------------------------------------------


def test_ranks_and_friedman_are_scipy_s():
    rng = np.random.default_rng(8)
    for table in (rng.normal(size=(9, 5)), rng.integers(0, 3, size=(9, 5)).astype(float)):
        ranks = average_ranks(table)
        np.testing.assert_array_equal(ranks, scipy_stats.rankdata(-table, axis=1))
        assert friedman(ranks) == pytest.approx(scipy_stats.friedmanchisquare(*table.T).statistic)
    assert friedman(np.full((4, 3), 2.0)) == 0.0


def test_friedman_p_is_the_enumeration_of_all_orders():
    ranks = np.array([[1, 2, 3], [1, 2, 3], [2, 1, 3]], dtype=float)
    orders = list(itertools.permutations((1, 2, 3)))
    values = [friedman(np.array(rows, dtype=float)) for rows in itertools.product(orders, repeat=3)]
    exact = np.mean(np.array(values) >= friedman(ranks) - 1e-9)
    assert friedman_p(ranks) == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 10_000))


def test_nemenyi_values_of_demsar_2006():
    # Table 5(a): q_0.05 = 2.343 for 3, 2.850 for 6 classifiers; cd = q sqrt(k (k + 1) / (6 N)).
    assert critical_difference(3, 10) == pytest.approx(2.343 * math.sqrt(12 / 60), abs=1e-3)
    assert critical_difference(6, 6) == pytest.approx(2.850 * math.sqrt(42 / 36), abs=1e-3)


def test_cliques_are_the_maximal_runs():
    rng = np.random.default_rng(9)
    names = list("abcdef")
    for _ in range(40):
        split = {frozenset(p) for p in itertools.combinations(names, 2) if rng.random() < 0.4}
        runs = [
            tuple(names[i:j]) for i in range(6) for j in range(i + 2, 7)
            if not any(frozenset(p) in split for p in itertools.combinations(names[i:j], 2))
        ]  # fmt: skip
        maximal = tuple(r for r in runs if not any(set(r) < set(other) for other in runs))
        assert cliques(names, lambda a, b, split=split: frozenset((a, b)) in split) == maximal


# ---- whole experiments with a known truth --------------------------------------------------------


def test_no_difference_is_reported_19_times_in_20():
    """100 experiments without any difference: a verdict that names a winner is a false alarm."""
    verdicts = [analyse(null_results(acts=4, tasks=2, seeds=4, rng=i)).verdict for i in range(100)]
    quiet = np.mean(["o difference resolved" in verdict for verdict in verdicts])
    assert quiet >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 100)


def test_a_planted_winner_is_found():
    found = [
        analyse(make_results(acts=("relu", "gelu", "golu"), quality={"golu": 3.0}, points=1, rng=i)).verdict
        for i in range(8)
    ]
    assert sum(verdict.startswith("golu is best over 6 tasks") for verdict in found) >= 7


def test_a_planted_loser_and_an_open_lead():
    analysis = analyse(make_results(rng=1))
    assert "tanh" not in analysis.leaders
    assert {"gelu", "mish", "golu"} & set(analysis.leaders)
    assert "cannot be separated from" in analysis.verdict
    assert all(duel.winner != "tanh" for duel in analysis.contests)


def test_the_direction_of_the_metric_is_kept():
    for name in ("stdlib", "camera"):
        task = next(t for t in TASKS if t.name == name)
        results = make_results(acts=("relu", "golu"), tasks=(task,), quality={"golu": 8.0})
        analysis = analyse(results)
        assert analysis.verdict.startswith(f"golu is best on {name}")
        assert analysis.cell(name, "golu").standing == "best"
        better = analysis.cell(name, "golu").mean > analysis.cell(name, "relu").mean
        assert better == task.higher_is_better
        pair = analysis.pair(name, "golu", "relu")
        assert (pair.advantage > 0) == (pair.a == "golu")


def test_a_change_of_units_changes_no_conclusion():
    results = make_results(rng=2, points=1)
    scaled = replace(
        results,
        trials=tuple(replace(t, score=1000 * t.score if t.score is not None else None) for t in results.trials),
    )
    one, other = analyse(results), analyse(scaled)
    assert one.verdict == other.verdict
    np.testing.assert_allclose([d.p for d in one.contests], [d.p for d in other.contests], rtol=1e-9)


def test_the_order_of_activations_changes_no_p():
    results = make_results(points=1)
    turned = replace(results, config={**results.config, "acts": list(reversed(ACTS))})
    one, other = analyse(results), analyse(turned)
    assert one.verdict == other.verdict
    ps = {frozenset((d.a, d.b)): d.p_holm for d in other.contests}
    assert all(ps[frozenset((d.a, d.b))] == pytest.approx(d.p_holm) for d in one.contests)


def test_the_same_results_give_the_same_analysis_and_json():
    results = make_results(points=1, diverged=[("camera", "tanh", None)])
    one, other = analyse(results), analyse(results)
    assert one == other
    told = json.loads(json.dumps(one.to_dict(), allow_nan=False))
    assert told["verdict"] == one.verdict
    assert len(told["pairs"]) == 6 * 15


# ---- runs that broke -----------------------------------------------------------------------------


def test_a_diverged_run_is_a_result_and_ranks_last():
    results = make_results(acts=("relu", "golu"), tasks=TASKS[:1], quality={"golu": 5.0},
                           diverged=[("mnist", "golu", None)])  # fmt: skip
    analysis = analyse(results)
    cell = analysis.cell("mnist", "golu")
    assert (cell.ok, cell.diverged, cell.failed, cell.mean) == (0, 5, 0, None)
    assert analysis.ranking.acts == ("relu", "golu")
    assert analysis.cell("mnist", "relu").standing == "best"
    assert analysis.verdict.startswith("relu is best on mnist")
    assert any("5 test runs diverged (golu on mnist)" in line for line in analysis.cautions)


def test_one_divergence_in_five_makes_a_good_activation_no_winner():
    quality = {"golu": 3.0}
    clean = analyse(make_results(acts=("relu", "golu"), tasks=TASKS[4:5], quality=quality, seeds=8))
    broken = analyse(make_results(acts=("relu", "golu"), tasks=TASKS[4:5], quality=quality, seeds=8,
                                  diverged=[("camera", "golu", 0)]))  # fmt: skip
    assert clean.verdict.startswith("golu is best")
    assert "o difference resolved" in broken.verdict
    pair = broken.pair("camera", "golu", "relu")
    assert pair.diverged == 1
    assert pair.n == 8


def test_a_task_that_always_diverges_does_not_turn_the_others_around():
    """The effect of constant last places is huge; winner and direction come from the bounded z."""
    results = make_results(acts=("relu", "golu"), quality={"golu": 4.0}, diverged=[("camera", "golu", None)])
    (duel,) = analyse(results).contests
    assert (duel.wins if duel.a == "golu" else duel.losses) == 5
    assert duel.winner == "golu"
    assert "5 of its test runs diverged" in analyse(results).verdict


def test_a_failed_run_is_missing_and_pairs_use_common_seeds():
    results = make_results(failed=[("co2", "mish", 2)], missing=[("co2", "relu", 4)])
    analysis = analyse(results)
    assert analysis.pair("co2", "mish", "relu").n == 3
    assert analysis.pair("co2", "gelu", "silu").n == 5
    assert analysis.cell("co2", "mish").failed == 1
    assert any("1 test run failed" in line for line in analysis.cautions)
    seeds = {
        t.seed: t.score for t in results.trials if (t.task, t.act, t.phase, t.status) == ("co2", "mish", "test", "ok")
    }
    base = {t.seed: t.score for t in results.trials if (t.task, t.act, t.phase) == ("co2", "relu", "test")}
    expected = np.mean([base[s] - seeds[s] for s in (0, 1, 3)])  # lower is better
    pair = analysis.pair("co2", "mish", "relu")
    assert pair.advantage * (1 if pair.a == "mish" else -1) == pytest.approx(expected)


def test_a_score_that_is_not_finite_counts_as_diverged():
    results = make_results(acts=("relu", "golu"), tasks=TASKS[4:5])
    trials = tuple(
        replace(t, score=math.nan) if (t.act, t.phase, t.seed) == ("golu", "test", 1) else t for t in results.trials
    )
    assert analyse(replace(results, trials=trials)).cell("camera", "golu").diverged == 1


def test_everything_diverged_resolves_nothing():
    acts = ("relu", "gelu")
    analysis = analyse(make_results(acts=acts, diverged=[(t.name, a, None) for t in TASKS for a in acts]))
    assert "o difference resolved" in analysis.verdict
    assert not any(pair.resolved for pair in analysis.pairs)


def test_identical_scores_resolve_nothing():
    results = make_results(acts=("relu", "gelu", "silu"))
    same = replace(results, trials=tuple(replace(t, score=1.0) for t in results.trials))
    analysis = analyse(same)
    assert "No difference resolved between relu, gelu and silu" in analysis.verdict
    assert analysis.ranking.mean_ranks == (2.0, 2.0, 2.0)


# ---- experiments that are not complete -----------------------------------------------------------


def test_an_unfinished_run_says_so_and_compares_what_is_there():
    results = make_results(complete=False, missing=[(t.name, a, s) for t in TASKS[2:] for a in ACTS for s in range(5)])
    analysis = analyse(results)
    assert not analysis.complete
    assert analysis.verdict.startswith("So far, in a run that is not complete: ")
    assert analysis.ranking.n_blocks == 2
    assert any("60 of 180 test runs" in line for line in analysis.cautions)


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_make_no_claim_they_cannot_carry(seeds):
    analysis = analyse(make_results(seeds=seeds, tasks=TASKS[:1]))
    assert "o difference resolved" in analysis.verdict
    if seeds == 1:
        assert all(pair.low is None and pair.p == 1.0 for pair in analysis.pairs)
        assert (analysis.ranking.low, analysis.ranking.high) == ((1.0,) * 6, (6.0,) * 6)


def test_nothing_has_run_yet():
    results = make_results(complete=False)
    analysis = analyse(replace(results, trials=()))
    assert "no test run has finished yet" in analysis.verdict
    assert (analysis.cells, analysis.pairs, analysis.ranking, analysis.leaders) == ((), (), None, ())


def test_one_task_ranks_over_seeds():
    ranking = analyse(make_results(tasks=TASKS[:1])).ranking
    assert (ranking.blocks, ranking.n_blocks) == ("seeds", 5)


def test_the_reference_is_relu_or_the_first_or_named():
    results = make_results(points=1)
    assert analyse(results).reference == "relu"
    assert analyse(results, reference="gelu").reference == "gelu"
    with pytest.raises(UnknownName, match=r"'golo' took no part.*golu"):
        analyse(results, reference="golo")
    with pytest.raises(ParameterError, match="alpha"):
        analyse(results, alpha=5.0)


def test_a_learning_rate_at_the_edge_is_a_caution():
    results = make_results()
    edge = tuple(
        replace(t, lr=1e-2) if (t.act, t.task, t.phase) == ("mish", "co2", "test") else t for t in results.trials
    )
    assert any("mish on co2" in line for line in analyse(replace(results, trials=edge)).cautions)
    assert not any("learning rate" in line for line in analyse(results).cautions)


def test_the_leader_is_never_one_that_somebody_beats():
    def duel(a, b, winner=None):
        z = 0.0 if winner is None else (4.0 if winner == a else -4.0)
        return Contest(a, b, 3, 2, 1, z, z / 4, 0.01, 0.01, 0.01, winner is not None, 5)

    duels = [duel("a", "b", "b"), duel("a", "c"), duel("b", "c")]
    assert leading_group(("a", "b", "c"), duels) == ("b", "c")


def test_one_run_each_marks_nobody_best():
    analysis = analyse(make_results(seeds=1))
    assert {cell.standing for cell in analysis.cells} == {"untested"}


def test_a_task_with_one_shared_seed_waits_for_its_second():
    results = make_results(missing=[("camera", "golu", s) for s in (1, 2, 3, 4)], complete=False)
    analysis = analyse(results)
    assert analysis.ranking.n_blocks == 5
    assert analysis.cell("camera", "golu").standing == "untested"
    assert sum(cell.standing == "best" for cell in analysis.cells if cell.task == "camera") == 1


def test_equal_scores_of_a_coarse_metric_have_an_interval():
    results = make_results(acts=("relu", "golu"), tasks=TASKS[1:2])
    trials = tuple(replace(t, score=0.975) if (t.act, t.phase) == ("golu", "test") else t for t in results.trials)
    cell = analyse(replace(results, trials=trials)).cell("digits", "golu")
    assert cell.sd == pytest.approx(0.0, abs=1e-12)
    assert cell.high - cell.low > 1 / 360 / 3

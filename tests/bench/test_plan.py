import pytest

from ogive.bench.plan import PROFILES, best_lr, make_plan
from ogive.bench.store import Trial
from ogive.bench.tasks import task_names
from ogive.errors import OgiveError, ParameterError, UnknownName

SMALL = {"task": "tiny_task:TASK", "acts": "relu,tanh", "seeds": 3}


def tuned(lr, score, seed=500, act="relu"):
    status = "ok" if score is not None else "diverged"
    return Trial("tiny", act, "tune", lr, seed, status, score)


def test_without_options_every_task_and_six_activations():
    plan = make_plan({})
    assert [t.name for t in plan.tasks] == list(task_names()) and len(task_names()) >= 6
    assert len(plan.acts) == 6 and len(plan.test_seeds) == 8
    assert plan.total == len(plan.tune_jobs()) + len(plan.test_jobs([]))


def test_every_activation_has_the_same_budget():
    plan = make_plan(SMALL)
    for jobs in (plan.tune_jobs(), plan.test_jobs([])):
        budget = {act: sorted((j.lr, j.seed) for j in jobs if j.act == act) for act in plan.acts}
        assert budget["relu"] == budget["tanh"]


def test_tuning_and_testing_share_no_seed():
    plan = make_plan({**SMALL, "seed": 7, "tune_seeds": 500, "seeds": 500})
    assert not set(plan.tune_seeds) & set(plan.test_seeds)
    assert not {*plan.tune_seeds, *plan.test_seeds} & set(make_plan({**SMALL, "seed": 8}).tune_seeds)


def test_the_learning_rate_is_chosen_for_each_activation():
    plan = make_plan(SMALL)
    trials = [tuned(3e-3, 0.9), tuned(1e-2, 0.8), tuned(3e-3, 0.1, act="tanh"), tuned(1e-2, 0.2, act="tanh")]
    assert {(j.act, j.lr) for j in plan.test_jobs(trials)} == {("relu", 3e-3), ("tanh", 1e-2)}
    assert {j.phase for j in plan.test_jobs(trials)} == {"test"}


def test_best_learning_rate():
    assert best_lr([tuned(1, 0.5), tuned(2, 0.6)], [1, 2], True) == 2
    assert best_lr([tuned(1, 0.5), tuned(2, 0.6)], [1, 2], False) == 1
    assert best_lr([tuned(1, 0.5), tuned(2, 0.5)], [1, 2], True) == 1  # of equals the smaller
    assert best_lr([tuned(1, 0.1), tuned(2, None)], [1, 2], True) == 1
    lucky = [tuned(1, 0.5), tuned(1, 0.5, 501), tuned(2, 0.9), tuned(2, None, 501)]
    assert best_lr(lucky, [1, 2], True) == 1  # one of two runs was lost at 2
    assert best_lr([tuned(1, None), tuned(2, None)], [1, 2], True) == 1


def test_profiles_and_sizes():
    full = make_plan({**SMALL, "profile": "full"})
    assert full.lrs["tiny"] == (9.5e-4, 3e-3, 1e-2, 0.032)
    assert full.infos()[0].steps == 30 * PROFILES["full"].scale
    assert make_plan({**SMALL, "steps": 5, "batch": 3}).tasks[0].resolve().steps == 5
    assert make_plan({**SMALL, "lrs": "1e-2, 1e-3,1e-2"}).lrs["tiny"] == (1e-3, 1e-2)
    assert [t.name for t in make_plan({**SMALL, "tasks": "digits"}).tasks] == ["tiny", "digits"]


@pytest.mark.parametrize(
    "wrong, error, said",
    [
        ({"acts": "relu,rellu"}, UnknownName, "rellu"),
        ({"tasks": "digit"}, UnknownName, "digits"),
        ({"tasks": ","}, ParameterError, "no task"),
        ({"profile": "fast"}, UnknownName, "quick"),
        ({"lrs": "1e-3,much"}, ParameterError, "much"),
        ({"lrs": "-1"}, ParameterError, "positive"),
        ({"lrs": "nan"}, ParameterError, "positive"),
        ({"seeds": 0}, ParameterError, "--seeds 0"),
        ({"model": "a:b"}, ParameterError, "--data"),
        ({"task": "tiny_task"}, ParameterError, "package.module:attribute"),
        ({"task": "tiny_task:NOT_A_TASK"}, OgiveError, "TaskSpec"),
    ],
)
def test_wrong_options_say_what_to_do(wrong, error, said):
    with pytest.raises(error, match=said):
        make_plan(wrong)

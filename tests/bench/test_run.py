import contextlib
import signal
from pathlib import Path

import pytest

from ogive.bench.engines import Here, OnRay, Processes, engine_for
from ogive.bench.run import FILE, prepare
from ogive.bench.store import Store, StoreError, Trial
from ogive.errors import ParameterError

SMALL = {"task": "tiny_task:TASK", "acts": "relu,tanh", "seeds": 3, "steps": 12}


def experiment(out, resume=False, **changed):
    return prepare({**SMALL, **changed}, out, resume=resume, command="ogive compare", engine=Here())


def outcomes(results):
    return {t.key: (t.status, t.score, t.curve, t.error) for t in results.trials}


def stop_after(n):
    seen = []

    def observe(event, trial):
        seen.append(event)
        if seen.count("done") == n:
            raise KeyboardInterrupt

    return observe


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return experiment(tmp_path_factory.mktemp("whole")).run(Here())


def test_a_run_keeps_every_trial(whole):
    assert len(whole.trials) == 2 * (2 + 3)
    assert whole.config["complete"] and whole.config["finished"] >= whole.config["started"]
    assert whole.config["acts"] == ["relu", "tanh"] and whole.config["gain_correction"]
    assert {t.status for t in whole.trials} == {"ok"}


def test_an_identical_run_gives_identical_numbers(whole, tmp_path):
    assert outcomes(experiment(tmp_path).run(Here())) == outcomes(whole)


def test_processes_give_the_numbers_of_one_process(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(Path(__file__).parent)  # a worker looks for the user's modules where it starts
    assert outcomes(experiment(tmp_path).run(Processes(2))) == outcomes(whole)


@pytest.mark.parametrize("n", [1, 4, 5, 9])
def test_a_stopped_run_goes_on_to_the_same_numbers(whole, tmp_path, n):
    with pytest.raises(KeyboardInterrupt):
        experiment(tmp_path).run(Here(), stop_after(n))
    with Store.open(tmp_path / FILE) as store:
        before = store.results()
    assert len(before.trials) == n and not before.config["complete"]
    events = []
    resumed = prepare({}, tmp_path, resume=True, command="ogive compare --resume")
    results = resumed.run(Here(), lambda event, trial: events.append(event))
    assert events.count("kept") == n and events.count("done") == len(whole.trials) - n
    assert results.trials[:n] == before.trials
    assert outcomes(results) == outcomes(whole) and results.config["complete"]


def test_a_complete_run_resumes_to_nothing(tmp_path):
    first = experiment(tmp_path, seeds=1).run(Here())
    assert prepare({}, tmp_path, resume=True, command="").run(Here()) == first


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"acts": "relu,gelu"}, "acts"),
        ({"seeds": 4}, "test_seeds"),
        ({"lrs": "1e-3"}, "lrs"),
        ({"gain": False}, "gain_correction"),
        ({"seed": 1}, "tune_seeds"),
        ({"steps": 13}, "task_refs"),
    ],
)
def test_a_different_configuration_is_refused_with_what_differs(tmp_path, changed, said):
    experiment(tmp_path).run(Here(), lambda event, trial: None)
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(StoreError, match=f"{said}: .* there, .* now"):
        experiment(tmp_path, resume=True, **changed)
    assert (tmp_path / FILE).read_bytes() == before


def test_the_same_options_may_be_repeated_with_resume(tmp_path):
    experiment(tmp_path, seeds=1).run(Here())
    assert experiment(tmp_path, resume=True, seeds=1).resumed


def test_results_are_not_overwritten_and_not_invented(tmp_path):
    experiment(tmp_path, seeds=1).run(Here())
    with pytest.raises(StoreError, match="--resume"):
        experiment(tmp_path)
    with pytest.raises(StoreError, match="nothing to resume"):
        experiment(tmp_path / "elsewhere", resume=True)


@pytest.mark.parametrize("resume", [False, True])
def test_a_corrupt_file_is_left_untouched(tmp_path, resume):
    (tmp_path / FILE).write_bytes(b"SQLite format 3\0" + b"nonsense" * 500)
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(StoreError, match=r"corrupt.*left untouched"):
        experiment(tmp_path, resume=resume)
    assert (tmp_path / FILE).read_bytes() == before


def test_a_failing_model_is_kept_and_the_run_goes_on(tmp_path):
    request = {"model": "tiny_task:broken_model", "data": "tiny_task:load_arrays", "tasks": "digits"}
    request |= {"acts": "relu,tanh", "steps": 4, "seeds": 1}
    results = prepare(request, tmp_path, resume=False, command="").run(Here())
    by_task = {name: [t for t in results.trials if t.task == name] for name in ("own", "digits")}
    assert {t.status for t in by_task["own"]} == {"failed"} and len(by_task["own"]) == 2 * (3 + 1)
    assert all("attention9" in t.error for t in by_task["own"])
    assert {t.status for t in by_task["digits"]} == {"ok"}


def test_failed_trials_are_tried_again(tmp_path):
    first = experiment(tmp_path, seeds=1)
    with pytest.raises(KeyboardInterrupt):
        first.run(Here(), stop_after(2))
    broken = Trial("tiny", "relu", "test", 3e-3, 0, "failed", error="OSError: the disk was full")
    with Store.open(tmp_path / FILE) as store:
        store.add(broken)
    results = prepare({}, tmp_path, resume=True, command="").run(Here())
    assert {t.status for t in results.trials} == {"ok"} and len(results.trials) == first.plan.total


def test_divergence_does_not_stop_a_run(tmp_path):
    results = experiment(tmp_path, acts="relu,x*x*x", lrs="1e4", seeds=1).run(Here())
    assert {t.status for t in results.trials if t.act == "x*x*x"} == {"diverged"}
    assert len(results.trials) == 4


def test_engines_by_name():
    assert engine_for(None, 1) == Here()
    assert engine_for(None, 3) == Processes(3)
    assert engine_for("ray", 2) == OnRay(None, 2)
    assert engine_for("ray://head:10001", 2) == OnRay("ray://head:10001", 2)
    with pytest.raises(ParameterError, match="dask"):
        engine_for("dask", None)


def test_an_interrupt_that_a_library_swallows_still_stops_the_run():
    from ogive.bench.run import ctrl_c

    before = signal.getsignal(signal.SIGINT)
    with ctrl_c() as stop_if_asked:
        stop_if_asked()  # nobody asked
        with contextlib.suppress(KeyboardInterrupt):  # what a destructor or a pool's clean-up does
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            stop_if_asked()
    assert signal.getsignal(signal.SIGINT) is before

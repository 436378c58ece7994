import random

import numpy as np
import pytest
import torch
from torch import nn

from ogive.bench.jobs import Job, TaskRef
from ogive.bench.measure import cost, dead_share, forward_flops, grad_norm, saved_bytes
from ogive.bench.train import run_trial

TINY = TaskRef("tiny", spec="tiny_task:TASK")


def job(act="relu", task=TINY, phase="test", lr=1e-2, seed=0, gain=True):
    return Job(task, act, phase, lr, seed, gain, 3)


def own(model="make_model", data="load_arrays", **size):
    return TaskRef("own", model=f"tiny_task:{model}", data=f"tiny_task:{data}", steps=20, **size)


def outcome(trial):
    return (*trial.key, trial.status, trial.score, trial.curve, trial.error)


def test_a_trial_learns_and_is_measured():
    trial = run_trial(job())
    assert trial.status == "ok" and trial.error is None and trial.key == ("tiny", "relu", "test", 1e-2, 0)
    assert trial.score > 0.6
    assert [step for step, _, _ in trial.curve] == [10, 20, 30] and trial.curve[-1][2] == trial.score
    assert set(trial.figures) == {
        "params", "flops", "saved_bytes", "steps", "ms_per_step", "grad_norm", "grad_norm_first",
        "grad_norm_last", "dead_share", "seconds", "cpu_seconds",
    }  # fmt: skip
    assert trial.figures["params"] == 64 * 24 + 24 + 24 * 24 + 24 + 24 * 10 + 10
    assert trial.figures["flops"] == 2 * (64 * 24 + 24 * 24 + 24 * 10)


def test_an_identical_run_gives_identical_numbers():
    assert outcome(run_trial(job("gelu"))) == outcome(run_trial(job("gelu")))


def test_the_phase_decides_the_split():
    assert run_trial(job(phase="tune")).curve[0][1] == run_trial(job(phase="test")).curve[0][1]
    assert run_trial(job(phase="tune")).score != run_trial(job(phase="test")).score


def test_a_trial_leaves_the_process_as_it_was():
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    expected = (torch.rand(3).tolist(), random.random(), np.random.rand())
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    threads = torch.get_num_threads()
    run_trial(job())
    assert (torch.rand(3).tolist(), random.random(), np.random.rand()) == expected
    assert torch.get_num_threads() == threads


def test_divergence_is_a_result():
    trial = run_trial(job(act="x * x", lr=1e3))
    assert trial.status == "diverged" and trial.score is None
    assert "loss was" in trial.error and "of 30" in trial.error
    assert trial.figures["params"] > 0
    assert all(np.isfinite(point).all() for point in trial.curve)


@pytest.mark.parametrize(
    "task, said",
    [
        (own(model="broken_model"), "RuntimeError: no such layer: attention9"),
        (own(data="broken_data"), "FileNotFoundError: measurements.csv is not where it was"),
        (own(model="make_text"), "returned str, not an nn.Module"),
        (own(model="nowhere"), "has no 'nowhere'"),
        (TaskRef("own", model="no_such_package:f", data="tiny_task:load_arrays"), "no_such_package"),
        (TaskRef("tiny", spec="tiny_task:NOT_A_TASK"), "not an ogive.bench.TaskSpec"),
    ],
)
def test_what_fails_is_kept_with_its_error(task, said):
    trial = run_trial(job(task=task))
    assert trial.status == "failed" and trial.score is None and said in trial.error
    assert trial.figures["seconds"] > 0


def test_users_arrays_are_classes_or_values():
    classes = run_trial(job(task=own(batch=32)))
    assert classes.status == "ok" and 0.1 < classes.score <= 1
    values = own(model="make_regressor", data="load_values")
    assert (values.resolve().metric, values.resolve().higher_is_better) == ("RMSE", False)
    assert 0.5 < run_trial(job(task=values)).score < 6


def test_an_activation_may_learn():
    trial = run_trial(job("torch.nn:PReLU"))
    assert trial.status == "ok"
    assert trial.figures["params"] == run_trial(job()).figures["params"] + 2


def test_dropout_and_batch_norm_are_the_same_for_every_activation():
    task = TaskRef("noisy", spec="tiny_task:NOISY")
    a, b = run_trial(job(task=task, gain=False)), run_trial(job("torch.nn:ReLU", task=task, gain=False))
    assert a.status == "ok" and a.curve == b.curve


def test_saved_bytes_of_a_known_network():
    # float32, one example: tanh keeps its output, which the second layer keeps too: one storage
    model = nn.Sequential(nn.Linear(10, 20), nn.Tanh(), nn.Linear(20, 5))
    assert saved_bytes(model, torch.randn(4, 10)) == 20 * 4
    # silu keeps its input, the second layer its output
    model[1] = nn.SiLU()
    assert saved_bytes(model, torch.randn(4, 10)) == 2 * 20 * 4


def test_measuring_leaves_the_network_alone():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    cost(model, torch.randn(8, 4, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.rand(2), expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_flops_of_a_convolution():
    model = nn.Conv2d(3, 8, 3, padding=1)
    assert forward_flops(model, torch.randn(2, 3, 6, 6)) == 2 * 36 * 8 * 27


def test_dead_share_counts_channels():
    act, x = nn.ReLU(), torch.randn(16, 10)
    x[:, :3] = -x[:, :3].abs()  # three of ten units never open
    assert dead_share(nn.Sequential(act), [act], x) == pytest.approx(0.3)
    image = torch.randn(4, 5, 6, 6)
    image[:, 1] = -image[:, 1].abs()
    assert dead_share(nn.Sequential(act), [act], image) == pytest.approx(0.2)
    saturated = nn.Tanh()
    assert dead_share(nn.Sequential(saturated), [saturated], x * 0 + 9) == 1.0
    assert dead_share(nn.Linear(10, 2), [], x) is None


def test_gradient_norm():
    p, q, r = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    p.grad, q.grad = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])
    assert grad_norm([p, q, r]) == 5.0

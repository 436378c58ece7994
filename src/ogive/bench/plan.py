"""The plan of an experiment: from the options of a user to every trial that will run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from ogive.bench.candidate import candidate, split_acts
from ogive.bench.jobs import Job, TaskRef, task_refs
from ogive.bench.spec import TaskSpec
from ogive.bench.store import TaskInfo, Trial
from ogive.errors import ParameterError, UnknownName, closest


@dataclass(frozen=True)
class Profile:
    """How much work a run is.

    Args:
        acts: the activations when the user names none.
        scale: factor on each task's steps.
        widen: learning rates added on either side of a task's own grid.
        tune_seeds, test_seeds: seeds of the two phases.
        points: points of a learning curve.
    """

    acts: tuple[str, ...]
    scale: int
    widen: int
    tune_seeds: int
    test_seeds: int
    points: int


_COMMON = ("relu", "gelu", "silu", "mish", "golu", "tanh")
# Eight paired seeds: a sign-flip test of one activation against the four others can then reach 5 %
# after Holm's correction: 4 * 2 / 2^8 = 0.031.
PROFILES = {
    "quick": Profile(_COMMON, scale=1, widen=0, tune_seeds=1, test_seeds=8, points=4),
    "full": Profile(
        (*_COMMON, "leaky_relu", "elu", "selu", "softplus", "hardswish", "identity"),
        scale=4, widen=1, tune_seeds=3, test_seeds=20, points=12,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What an experiment runs.

    Args:
        acts: the activations as the user wrote them.
        tasks: the tasks.
        lrs: learning rates of each task, by its name.
        tune_seeds, test_seeds: seeds of the two phases; they do not meet.
        gain_correction: whether weights carry the activation's gain.
        profile: name of the profile.
        points: points of a learning curve.
    """

    acts: tuple[str, ...]
    tasks: tuple[TaskRef, ...]
    lrs: Mapping[str, tuple[float, ...]]
    tune_seeds: tuple[int, ...]
    test_seeds: tuple[int, ...]
    gain_correction: bool
    profile: str
    points: int

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON values, under the names `Results.config` has for them."""
        return {
            "acts": list(self.acts),
            "tasks": [task.name for task in self.tasks],
            "task_refs": [task.to_dict() for task in self.tasks],
            "lrs": {name: list(lrs) for name, lrs in self.lrs.items()},
            "tune_seeds": list(self.tune_seeds),
            "test_seeds": list(self.test_seeds),
            "gain_correction": self.gain_correction,
            "profile": self.profile,
            "points": self.points,
        }

    @property
    def total(self) -> int:
        """Number of trials."""
        tune = sum(len(lrs) for lrs in self.lrs.values()) * len(self.tune_seeds)
        return len(self.acts) * (tune + len(self.tasks) * len(self.test_seeds))

    def infos(self) -> tuple[TaskInfo, ...]:
        """What the report says of each task."""
        return tuple(_info(task.name, task.resolve()) for task in self.tasks)

    def tune_jobs(self) -> list[Job]:
        """Every (task, activation, learning rate, tuning seed): the same budget for each activation."""
        return [
            self._job(task, act, "tune", lr, seed)
            for seed in self.tune_seeds
            for task in self.tasks
            for lr in self.lrs[task.name]
            for act in self.acts
        ]

    def test_jobs(self, tuned: Iterable[Trial]) -> list[Job]:
        """Every (task, activation, test seed) at the learning rate that the tuning chose.

        Seeds are the outermost loop: a run that is stopped has whole pairs.
        """
        tuned = [trial for trial in tuned if trial.phase == "tune"]
        chosen = {
            (task.name, act): best_lr(
                [t for t in tuned if (t.task, t.act) == (task.name, act)],
                self.lrs[task.name],
                task.resolve().higher_is_better,
            )
            for task in self.tasks
            for act in self.acts
        }
        return [
            self._job(task, act, "test", chosen[task.name, act], seed)
            for seed in self.test_seeds
            for task in self.tasks
            for act in self.acts
        ]

    def _job(self, task: TaskRef, act: str, phase: str, lr: float, seed: int) -> Job:
        return Job(task, act, phase, lr, seed, self.gain_correction, self.points)


def best_lr(trials: Sequence[Trial], lrs: Sequence[float], higher_is_better: bool) -> float:
    """The learning rate with the best mean validation score.

    One that lost a trial is taken only when each of them did; with no score at all it is the smallest.

    Args:
        trials: the tuning trials of one activation on one task.
        lrs: the grid.
        higher_is_better: direction of the metric.
    """
    sign = 1 if higher_is_better else -1
    ranked = []
    for lr in lrs:
        runs = [t for t in trials if t.lr == lr]
        scores = [t.score for t in runs if t.score is not None]
        if scores:
            ranked.append((len(scores) == len(runs), sign * fmean(scores), -lr))
    return -max(ranked)[2] if ranked else min(lrs)


def _info(name: str, task: TaskSpec) -> TaskInfo:
    return TaskInfo(
        name,
        task.title,
        task.metric,
        task.higher_is_better,
        task.description,
        task.data,
        task.model,
        task.steps,
    )


def make_plan(request: Mapping[str, Any]) -> Plan:
    """The plan of the options a user gave; what is not given comes from the profile.

    Args:
        request: any of profile, tasks, acts, seeds, tune_seeds, lrs, seed, gain, model, data, task, steps,
            batch, as the command line names them.

    Raises:
        OgiveError: when an activation, a task, a reference or a number cannot be used; nothing has run then.
    """
    name = request.get("profile", "quick")
    if name not in PROFILES:
        raise UnknownName(f"--profile {name!r} is not known; there are {', '.join(closest(name, PROFILES))}")
    profile = PROFILES[name]
    gain = bool(request.get("gain", True))
    acts = split_acts(request["acts"]) if "acts" in request else profile.acts
    for act in acts:
        candidate(act, with_gain=gain)
    tasks = _tasks(request, profile.scale)
    grid = _numbers(request["lrs"]) if "lrs" in request else None
    first = 1000 * int(request.get("seed", 0))
    tune, test = request.get("tune_seeds", profile.tune_seeds), request.get("seeds", profile.test_seeds)
    if not (1 <= tune <= 500 and 1 <= test <= 500):
        raise ParameterError(f"--seeds {test} and --tune-seeds {tune} must be from 1 to 500")
    return Plan(
        acts=acts,
        tasks=tasks,
        lrs={ref.name: grid or _widened(ref.resolve().lrs, profile.widen) for ref in tasks},
        tune_seeds=tuple(range(first + 500, first + 500 + tune)),
        test_seeds=tuple(range(first, first + test)),
        gain_correction=gain,
        profile=name,
        points=profile.points,
    )


def _tasks(request: Mapping[str, Any], scale: int) -> tuple[TaskRef, ...]:
    """The user's own tasks first; built-in ones when named, or when there are none of the user's."""
    model, data, spec = request.get("model"), request.get("data"), request.get("task")
    if (model is None) != (data is None):
        raise ParameterError("--model and --data belong together: give both, or a TaskSpec by --task")
    own = []
    if model is not None:
        own.append(TaskRef("own", model=model, data=data))
    if spec is not None:
        own.append(TaskRef(TaskRef("own", spec=spec).resolve().name, spec=spec))
    named = request.get("tasks")
    builtin = task_refs(named) if named is not None or not own else ()
    steps, batch = request.get("steps"), request.get("batch")
    refs = tuple(replace(ref, steps=steps, batch=batch, scale=scale) for ref in (*own, *builtin))
    names = [ref.name for ref in refs]
    if len(set(names)) < len(names):
        raise ParameterError(f"two tasks have the same name: {', '.join(names)}")
    return refs


def _numbers(text: str) -> tuple[float, ...]:
    try:
        values = tuple(dict.fromkeys(float(part) for part in text.split(",") if part.strip()))
    except ValueError:
        raise ParameterError(f"--lrs {text!r} is not a list of numbers such as 1e-3,3e-3,1e-2") from None
    if not values or not all(0 < v < float("inf") for v in values):
        raise ParameterError(f"--lrs {text!r} must be positive numbers")
    return tuple(sorted(values))


def _widened(lrs: Sequence[float], steps: int) -> tuple[float, ...]:
    """The grid with `steps` more values on either side, a factor of the square root of ten apart."""
    low, high = min(lrs), max(lrs)
    below = [float(f"{low / 10 ** (i / 2):.2g}") for i in range(steps, 0, -1)]
    above = [float(f"{high * 10 ** (i / 2):.2g}") for i in range(1, steps + 1)]
    return (*below, *sorted(lrs), *above)

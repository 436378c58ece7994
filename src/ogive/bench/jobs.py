"""What a worker is told: which trial to run, by names and numbers only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

from ogive.bench.candidate import load_object
from ogive.bench.protocol import as_data
from ogive.bench.scores import accuracy, cross_entropy, mse, rmse
from ogive.bench.spec import Data, TaskSpec
from ogive.bench.tasks import get_task, task_names
from ogive.errors import InputError, ParameterError

QUICK_STEPS, USER_BATCH = 400, 64


@dataclass(frozen=True)
class TaskRef:
    """Where a task comes from; a worker on another machine finds it again by this.

    Args:
        name: of a built-in task, or what the user's own is called in the results.
        spec: package.module:attribute of a `TaskSpec`.
        model: package.module:attribute of `make_model(act)`, with `data`.
        data: package.module:attribute of `load_data()`, with `model`.
        steps: optimisation steps, None for the task's own.
        batch: examples a step, None for the task's own.
        scale: the profile's factor on the task's own steps.
    """

    name: str
    spec: str | None = None
    model: str | None = None
    data: str | None = None
    steps: int | None = None
    batch: int | None = None
    scale: int = 1

    def to_dict(self) -> dict[str, Any]:
        """The reference as JSON values."""
        return asdict(self)

    def resolve(self) -> TaskSpec:
        """The task, with the steps and the batch of this run.

        Raises:
            UnknownName: when no built-in task has the name.
            ParameterError: when a reference leads nowhere.
            InputError: when it leads to something that is not a task.
        """
        if self.spec is not None:
            task = load_object(self.spec)
            if not isinstance(task, TaskSpec):
                raise InputError(f"{self.spec!r} is {type(task).__name__}, not an ogive.bench.TaskSpec")
        elif self.model is not None and self.data is not None:
            task = own_task(self.name, self.model, self.data)
        else:
            task = get_task(self.name)
        steps = self.steps or task.steps * self.scale
        return replace(task, steps=steps, batch=self.batch or task.batch)


def own_task(name: str, model: str, data: str) -> TaskSpec:
    """The task of `--model` and `--data`: classes when the targets are integers, else values.

    The loader runs inside each trial, so that a loader that fails is a failed trial; only the name of
    the metric needs the targets here, and is accuracy when they cannot be had.
    """
    try:
        classes = not load_own(data).train[1].is_floating_point()
    except Exception:  # whatever the user's loader raises is recorded by the trials
        classes = True
    return TaskSpec(
        name=name,
        title=name,
        metric="accuracy" if classes else "RMSE",
        higher_is_better=classes,
        description=f"The user's own: {model} on {data}.",
        data=f"What {data} returns.",
        model=f"What {model} returns.",
        load=lambda: load_own(data),
        make_model=lambda act: load_object(model)(act),
        loss=cross_entropy if classes else mse,
        score=accuracy if classes else rmse,
        batch=USER_BATCH,
        steps=QUICK_STEPS,
    )


@lru_cache(maxsize=2)
def load_own(reference: str) -> Data:
    """The user's data, read once in a process."""
    return as_data(load_object(reference)())


@lru_cache(maxsize=16)
def loaded(ref: TaskRef) -> tuple[TaskSpec, Data]:
    """A task and its data, read once in a process."""
    task = ref.resolve()
    return task, as_data(task.load())


def task_refs(names: str | None) -> tuple[TaskRef, ...]:
    """The built-in tasks of a comma separated list, all of them for None.

    Raises:
        UnknownName: with the closest names.
        ParameterError: when the list is empty.
    """
    wanted = task_names() if names is None else tuple(dict.fromkeys(n.strip() for n in names.split(",") if n.strip()))
    if not wanted:
        raise ParameterError(f"--tasks {names!r} names no task; there are {', '.join(task_names())}")
    for name in wanted:
        get_task(name)
    return tuple(TaskRef(name) for name in wanted)


@dataclass(frozen=True)
class Job:
    """One trial to run."""

    task: TaskRef
    act: str
    phase: str
    lr: float
    seed: int
    gain_correction: bool
    points: int

    @property
    def key(self) -> tuple[str, str, str, float, int]:
        """The key of the trial it becomes."""
        return (self.task.name, self.act, self.phase, self.lr, self.seed)


def ref_from(record: Mapping[str, Any]) -> TaskRef:
    """The inverse of `TaskRef.to_dict`."""
    return TaskRef(**record)

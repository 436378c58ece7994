"""The tasks that come with Ogive: every module of this folder holds one `TASK`, found by looking."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from ogive.bench.spec import TaskSpec
from ogive.errors import UnknownName, closest


@cache
def task_names() -> tuple[str, ...]:
    """The names of the built-in tasks: the modules of this folder."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def get_task(name: str) -> TaskSpec:
    """The built-in task of that name.

    Raises:
        UnknownName: with the three closest names.

    >>> get_task("digits").metric
    'accuracy'
    """
    if name not in task_names():
        near = ", ".join(closest(name, task_names()))
        raise UnknownName(f"no task is called {name!r}; the closest are {near}")
    task: TaskSpec = importlib.import_module(f"{__name__}.{name}").TASK
    return task

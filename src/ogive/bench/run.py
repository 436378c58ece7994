"""The whole experiment: plan, run, keep, say what it means."""

from __future__ import annotations

import platform
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

import ogive
from ogive.bench.engines import Engine, available_cpus
from ogive.bench.plan import Plan, make_plan
from ogive.bench.store import Results, Store, StoreError, Trial

FILE = "trials.sqlite"
Observer = Callable[[str, Trial | None], None]


@dataclass(frozen=True)
class Experiment:
    """A plan bound to a directory.

    Args:
        plan: what runs.
        out: the directory of the results.
        config: what is kept with them.
        resumed: whether the directory holds trials of the same plan already.
    """

    plan: Plan
    out: Path
    config: Mapping[str, Any]
    resumed: bool

    @property
    def path(self) -> Path:
        """The results file."""
        return self.out / FILE

    def run(self, engine: Engine, observe: Observer = lambda event, trial: None) -> Results:
        """Run what is missing, committing each trial as it ends.

        Args:
            engine: where the trials run.
            observe: called with ("kept", trial) for each trial that was there, ("tune" or "test", None)
                when a phase starts, ("done", trial) after each commit.

        Raises:
            KeyboardInterrupt: by Ctrl-C; what is finished is kept.
            StoreError: when the results file cannot be used.
            EngineError: when the workers cannot be used.
        """
        with self._store() as store, ctrl_c() as stop_if_asked:
            for trial in store.results().trials:
                observe("kept", trial)
            for phase in ("tune", "test"):
                trials = store.results().trials
                jobs = self.plan.tune_jobs() if phase == "tune" else self.plan.test_jobs(trials)
                done = {trial.key for trial in trials}
                jobs = [job for job in jobs if job.key not in done]
                observe(phase, None)
                if not jobs:
                    continue
                for trial in engine.stream(jobs):
                    store.add(trial)
                    observe("done", trial)
                    stop_if_asked()
            if not self.config["complete"]:
                store.set_config({**self.config, "complete": True, "finished": _now()})
            return store.results()

    def _store(self) -> Store:
        if not self.resumed:
            return Store.create(self.path, self.config, self.plan.infos())
        store = Store.open(self.path)
        store.drop_failed()
        return store


@contextmanager
def ctrl_c() -> Iterator[Callable[[], None]]:
    """A check that raises KeyboardInterrupt when Ctrl-C came and was lost on the way.

    Python drops an interrupt that lands in a destructor or in a callback of a library's clean-up, such as
    the end of a pool between the two phases: the run would go on as if nobody had asked.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield lambda: None
        return
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        before(number, frame)

    def check() -> None:
        if came:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)


def prepare(
    request: Mapping[str, Any], out: Path, *, resume: bool, command: str, engine: Engine | None = None
) -> Experiment:
    """Turn options into an experiment; nothing has run or been written when it returns.

    Args:
        request: the options the user gave, see `ogive.bench.plan.make_plan`.
        out: directory of the results.
        resume: go on with what the directory holds; options left out are those of the first run.
        command: what the user typed, kept with the results.
        engine: where it will run, kept with the results.

    Raises:
        StoreError: when the directory holds results and resume is False, or none and resume is True, when
            its file is corrupt, or when an option differs from the first run.
        OgiveError: when an option cannot be used.
    """
    path = out / FILE
    if not resume:
        if path.exists():
            Store.open(path).close()
            raise StoreError(
                f"{path} already holds an experiment: go on with it by --resume, or give another directory by --out"
            )
        plan = make_plan(request)
        return Experiment(plan, out, _config(plan, request, command, engine), resumed=False)
    with Store.open(path) as store:
        config = store.results().config
    plan = make_plan({**config["request"], **request})
    wanted = {**plan.to_dict(), "versions": _versions()}
    different = [
        f"  {key}: {_apart(config.get(key), value)} there, {_apart(value, config.get(key))} now"
        for key, value in wanted.items()
        if config.get(key) != value
    ]
    if different:
        raise StoreError(
            f"{path} is of a different experiment, so it cannot be resumed with these options:\n"
            + "\n".join(different)
            + "\nLeave the options out, or give another directory by --out."
        )
    return Experiment(plan, out, config, resumed=True)


def _apart(value: Any, other: Any) -> str:
    """A value in a line; of two mappings, the part of the first that the second does not have."""
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        value = {key: item for key, item in value.items() if other.get(key) != item}
    text = str(value)
    return text if len(text) <= 120 else text[:117] + "..."


def _config(plan: Plan, request: Mapping[str, Any], command: str, engine: Engine | None) -> dict[str, Any]:
    return {
        **plan.to_dict(),
        "request": dict(request),
        "versions": _versions(),
        "machine": {
            "cpu": cpu_model(),
            "cpus": available_cpus(),
            "system": f"{platform.system()} {platform.machine()}",
            "threads_per_trial": 1,
            "engine": engine.name if engine else "this process",
            "workers": getattr(engine, "workers", 1),
        },
        "command": command,
        "started": _now(),
        "finished": None,
        "complete": False,
    }


def _versions() -> dict[str, str]:
    return {
        "ogive": ogive.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def cpu_model() -> str:
    """The processor's own name, or what the platform module knows."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

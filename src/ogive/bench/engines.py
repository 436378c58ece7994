"""Where trials run: in this process, in processes of this machine (joblib), or on a Ray cluster.

An engine takes jobs and yields trials as they end. None of them writes: the results file belongs to
the caller.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from ogive.bench.jobs import Job
from ogive.bench.store import Trial
from ogive.bench.train import run_trial
from ogive.errors import OgiveError, ParameterError


class EngineError(OgiveError):
    """A worker or a cluster that cannot be used or went away."""


class Engine(Protocol):
    """Runs jobs."""

    @property
    def name(self) -> str:
        """What the results call it."""
        ...

    def stream(self, jobs: Sequence[Job]) -> Iterator[Trial]:
        """The trials of the jobs, each as soon as it ends, in any order."""
        ...


@dataclass(frozen=True)
class Here:
    """One trial after the other in this process."""

    name: str = "this process"

    def stream(self, jobs: Sequence[Job]) -> Iterator[Trial]:
        return map(run_trial, jobs)


@dataclass(frozen=True)
class Processes:
    """Worker processes of this machine by joblib (loky).

    Args:
        workers: number of processes, each with one thread.
    """

    workers: int
    name: str = "joblib"

    def stream(self, jobs: Sequence[Job]) -> Iterator[Trial]:
        if importlib.util.find_spec("joblib") is None:
            raise EngineError(f"--jobs {self.workers} needs joblib: pip install ogive[bench], or take --jobs 1")
        from joblib import Parallel, delayed
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        pool = Parallel(self.workers, backend="loky", return_as="generator_unordered", batch_size=1)
        trials = pool(delayed(_in_worker)(job, os.getpid()) for job in jobs)
        try:
            yield from trials
        except TerminatedWorkerError as problem:
            raise EngineError(
                "a worker process ended in the middle of a trial (killed, or out of memory?); "
                "the finished trials are kept"
            ) from problem
        finally:
            trials.close()  # stops the workers when the caller leaves early


def _in_worker(job: Job, parent: int) -> Trial:
    # Ctrl-C reaches the whole process group; the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _leave_with(parent)
    return run_trial(job)


@cache
def _leave_with(parent: int) -> None:
    """End this process when its parent is gone: a killed run leaves no workers behind."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@dataclass(frozen=True)
class OnRay:
    """Tasks of a Ray cluster, one CPU each.

    Args:
        address: of a cluster ("ray://host:port" for Ray's client, "host:port" for a node inside), None for
            the cluster of this environment (RAY_ADDRESS, or one started here) and else a new local one.
        workers: CPUs of a new local cluster.
    """

    address: str | None
    workers: int
    name: str = "ray"

    def stream(self, jobs: Sequence[Job]) -> Iterator[Trial]:
        if importlib.util.find_spec("ray") is None:
            raise EngineError("--on ray needs Ray: pip install ogive[cluster]")
        import ray

        own = not ray.is_initialized()
        if own:
            self._connect(ray)
        try:
            trial = ray.remote(num_cpus=1)(run_trial)
            running = {trial.remote(job): job for job in jobs}
            try:
                while running:
                    (ended,), _ = ray.wait(list(running), num_returns=1)
                    yield _fetched(ray, ended, running.pop(ended))
            finally:
                for left in running:
                    ray.cancel(left, force=True)
        finally:
            if own:
                ray.shutdown()

    def _connect(self, ray: Any) -> None:
        quiet = {"logging_level": "ERROR", "log_to_driver": False}
        try:
            if self.address is not None:
                ray.init(self.address, **quiet)
            elif os.environ.get("RAY_ADDRESS"):
                ray.init(**quiet)
            else:
                try:
                    ray.init("auto", **quiet)
                except ConnectionError:  # none is running here
                    ray.init("local", num_cpus=self.workers, include_dashboard=False, **quiet)
        except (ConnectionError, ImportError, RuntimeError, ValueError) as problem:
            where = self.address or os.environ.get("RAY_ADDRESS") or "a local cluster"
            raise EngineError(f"Ray at {where} cannot be reached: {problem}") from problem


def _fetched(ray: Any, ended: Any, job: Job) -> Trial:
    """A trial's record; a worker that died after Ray's own retries is a failed trial."""
    try:
        result: Trial = ray.get(ended)
        return result
    except ray.exceptions.RayError as problem:
        line = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        return Trial(*job.key, status="failed", error=f"{type(problem).__name__}: {line}")


def engine_for(on: str | None, jobs: int | None) -> Engine:
    """The engine of `--on` and `--jobs`.

    Args:
        on: None, "ray", or an address that starts with "ray://".
        jobs: number of workers, None for the CPUs this process may use.

    Raises:
        ParameterError: for another text.
    """
    workers = jobs or available_cpus()
    if on is None:
        return Processes(workers) if workers > 1 else Here()
    if on != "ray" and not on.startswith("ray://"):
        raise ParameterError(f"--on {on!r} is not an engine: ray or ray://host:port")
    return OnRay(None if on == "ray" else on, workers)


def available_cpus() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

"""Finished trials: the records themselves and the SQLite file that keeps them.

Each trial is committed as it ends, by the parent process alone, so that a kill loses at most the
trials that were running.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from ogive.errors import OgiveError

PHASES = ("tune", "test")
STATUSES = ("ok", "diverged", "failed")


class StoreError(OgiveError):
    """A results file that cannot be used: corrupt, foreign, or of another experiment."""


@dataclass(frozen=True)
class Trial:
    """One finished training run.

    Args:
        task: name of the task.
        act: the activation as the user wrote it.
        phase: "tune" (scored on the validation split) or "test" (scored on the test split).
        lr: learning rate.
        seed: seed of the weights, the data order and everything else that is drawn.
        status: "ok", "diverged" (the loss left the finite numbers) or "failed" (an exception).
        score: the task's metric at the end; None unless ok.
        curve: (step, mean train loss since the point before, score) along the run.
        figures: params, flops, ms_per_step, saved_bytes, dead_share, grad_norm, grad_norm_first,
            grad_norm_last, steps, seconds, cpu_seconds (see docs/protocol.md); those that could be measured.
        error: last line of the traceback when failed, where the loss was lost when diverged.
    """

    task: str
    act: str
    phase: str
    lr: float
    seed: int
    status: str
    score: float | None = None
    curve: tuple[tuple[int, float, float], ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None

    @property
    def key(self) -> tuple[str, str, str, float, int]:
        """What makes a trial the same trial: (task, act, phase, lr, seed)."""
        return (self.task, self.act, self.phase, self.lr, self.seed)

    def to_dict(self) -> dict[str, Any]:
        """The trial as JSON values."""
        return {**asdict(self), "curve": [list(point) for point in self.curve], "figures": dict(self.figures)}


@dataclass(frozen=True)
class TaskInfo:
    """What a reader of the report must know of a task."""

    name: str
    title: str
    metric: str
    higher_is_better: bool
    description: str
    data: str
    model: str
    steps: int

    def to_dict(self) -> dict[str, Any]:
        """The description as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Results:
    """Everything one experiment produced so far.

    Args:
        config: everything needed to reproduce: acts, tasks, lrs, tune_seeds, test_seeds,
            gain_correction, profile, versions, machine, started, finished, command, complete.
        tasks: the tasks, in the order of the run.
        trials: finished trials in the order in which they ended.
    """

    config: Mapping[str, Any]
    tasks: tuple[TaskInfo, ...]
    trials: tuple[Trial, ...]

    def to_dict(self) -> dict[str, Any]:
        """The results as JSON values."""
        return {
            "config": dict(self.config),
            "tasks": [task.to_dict() for task in self.tasks],
            "trials": [trial.to_dict() for trial in self.trials],
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Results:
        """The inverse of `to_dict`."""
        return cls(
            config=record["config"],
            tasks=tuple(TaskInfo(**task) for task in record["tasks"]),
            trials=tuple(_trial(row) for row in record["trials"]),
        )


def _trial(row: Mapping[str, Any]) -> Trial:
    curve = tuple((int(step), float(loss), float(score)) for step, loss, score in row["curve"])
    trial = Trial(**{**row, "curve": curve})
    if trial.phase not in PHASES or trial.status not in STATUSES:
        raise ValueError(f"phase {trial.phase!r}, status {trial.status!r}")
    return trial


# A rollback journal rather than write-ahead logging: a commit is one trial (a second or more of
# work), so speed does not matter, and the results stay one file that can be copied at any moment.
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE trials (
    task TEXT NOT NULL, act TEXT NOT NULL, phase TEXT NOT NULL, lr REAL NOT NULL, seed INTEGER NOT NULL,
    status TEXT NOT NULL, score REAL, curve TEXT NOT NULL, figures TEXT NOT NULL, error TEXT,
    PRIMARY KEY (task, act, phase, lr, seed)
);
"""
_APPLICATION_ID = 0x4F676976  # "Ogiv": tells our file from any other SQLite file


class Store:
    """The SQLite file of one experiment.

    Args:
        path: the file; `Store.create` makes it, `Store.open` takes one that exists.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._db = connection

    @classmethod
    def create(cls, path: Path, config: Mapping[str, Any], tasks: Iterable[TaskInfo]) -> Store:
        """Start a new file.

        Raises:
            StoreError: when the file exists.
        """
        if path.exists():
            raise StoreError(
                f"{path} already holds an experiment: go on with it by --resume, or give another directory by --out"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path)
        db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        with db:
            db.executescript("BEGIN;" + _SCHEMA)
            rows = [("config", _dumps(config)), ("tasks", _dumps([task.to_dict() for task in tasks]))]
            db.executemany("INSERT INTO meta VALUES (?, ?)", rows)
        return cls(path, db)

    @classmethod
    def open(cls, path: Path) -> Store:
        """Take a file that exists, after reading all of it.

        Raises:
            StoreError: when it is missing, corrupt or not a results file; the file stays as it was.
        """
        if not path.exists():
            raise StoreError(f"{path} does not exist: there is nothing to resume (leave out --resume)")
        try:
            # mode=rw does not create; a journal left by a kill is rolled back by the first read,
            # which is SQLite's own repair and only touches files that are SQLite's.
            db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)
            try:
                if db.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
                    raise StoreError(f"{path} is not a file of `ogive compare`; it was left untouched")
                check = db.execute("PRAGMA quick_check(1)").fetchone()[0]
                if check != "ok":
                    raise sqlite3.DatabaseError(check)
                store = cls(path, db)
                store.results()
            except BaseException:
                db.close()
                raise
        except (sqlite3.Error, ValueError, TypeError, KeyError) as problem:
            raise StoreError(
                f"{path} is corrupt ({problem}); it was left untouched: move it away or give another directory by --out"
            ) from problem
        return store

    def add(self, trial: Trial) -> None:
        """Commit one finished trial; a second record of the same trial replaces the first."""
        record = trial.to_dict()
        record["curve"], record["figures"] = _dumps(record["curve"]), _dumps(record["figures"])
        marks = ", ".join(f":{column}" for column in record)
        with self._db:
            self._db.execute(f"INSERT OR REPLACE INTO trials ({', '.join(record)}) VALUES ({marks})", record)

    def drop_failed(self) -> None:
        """Forget trials that ended in an exception, so that a resumed run tries them again."""
        with self._db:
            self._db.execute("DELETE FROM trials WHERE status = 'failed'")

    def set_config(self, config: Mapping[str, Any]) -> None:
        """Replace the stored configuration (when a run ends or goes on)."""
        with self._db:
            self._db.execute("UPDATE meta SET value = ? WHERE key = 'config'", (_dumps(config),))

    def results(self) -> Results:
        """Everything in the file."""
        meta = {key: json.loads(value) for key, value in self._db.execute("SELECT key, value FROM meta")}
        cursor = self._db.execute("SELECT * FROM trials ORDER BY rowid")
        columns = [column[0] for column in cursor.description]
        rows = [dict(zip(columns, row)) for row in cursor]
        for row in rows:
            row["curve"], row["figures"] = json.loads(row["curve"]), json.loads(row["figures"])
        return Results.from_dict({"config": meta["config"], "tasks": meta["tasks"], "trials": rows})

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))

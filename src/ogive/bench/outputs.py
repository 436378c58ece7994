"""The files of a finished run: report.html, results.json, results.csv and results.parquet."""

from __future__ import annotations

import csv
import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ogive.bench.stats import Analysis
from ogive.bench.store import Results, Trial

COLUMNS = ("task", "act", "phase", "lr", "seed", "status", "score", "error")


def rows(trials: Iterable[Trial]) -> list[dict[str, Any]]:
    """One flat record a trial: its columns, then every figure (None where it was not measured)."""
    trials = list(trials)
    figures = sorted({name for trial in trials for name in trial.figures})
    return [
        {column: getattr(trial, column) for column in COLUMNS} | {name: trial.figures.get(name) for name in figures}
        for trial in trials
    ]


def write(results: Results, analysis: Analysis, html: str, out: Path) -> list[Path]:
    """Write the files of a run.

    Args:
        results: the trials.
        analysis: what they mean.
        html: the report page.
        out: directory that exists.

    Returns:
        The files, the report first; results.parquet only where pyarrow is installed.
    """
    records = rows(results.trials)
    report, whole, flat = out / "report.html", out / "results.json", out / "results.csv"
    report.write_text(html, encoding="utf-8")
    whole.write_text(
        json.dumps({**results.to_dict(), "analysis": analysis.to_dict()}, indent=1, allow_nan=False, default=str),
        encoding="utf-8",
    )
    with flat.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, fieldnames=list(records[0]) if records else list(COLUMNS))
        table.writeheader()
        table.writerows(records)
    written = [report, whole, flat]
    if importlib.util.find_spec("pyarrow") is not None and records:
        import pyarrow
        from pyarrow import parquet

        written.append(out / "results.parquet")
        parquet.write_table(pyarrow.Table.from_pylist(records), written[-1])
    return written

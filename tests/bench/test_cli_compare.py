"""The command as a user runs it: another process, killed, stopped, resumed, given nonsense."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ogive.bench.run import FILE
from ogive.bench.store import Store
from ogive.cli import app

HERE = Path(__file__).parent
TINY = ("--task", "tiny_task:TASK", "--steps", "12", "--seeds", "2", "--acts", "relu,tanh")
# long enough to be killed in the middle
SLOW = ("--task", "tiny_task:SLOW", "--acts", "torch.nn:ReLU,torch.nn:Tanh", "--seeds", "5")


def start(*arguments, **options):
    command = [sys.executable, "-c", "from ogive.cli import main; main()", "compare", *map(str, arguments)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": HERE} | options
    return subprocess.Popen(command, env={**os.environ, "COLUMNS": "80"}, start_new_session=True, **options)


def ogive(*arguments):
    """The command in this process."""
    result = CliRunner().invoke(app, ["compare", *map(str, arguments)], terminal_width=80)
    if not isinstance(result.exception, SystemExit | None):
        raise result.exception
    return result.exit_code, result.output


def kept(out):
    with Store.open(out / FILE) as store:
        return {t.key: (t.status, t.score, t.curve) for t in store.results().trials}


def wait_for(out, n):
    """Wait until n trials are committed, looking from outside."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        try:
            with sqlite3.connect(f"{(out / FILE).as_uri()}?mode=ro", uri=True) as db:
                found = db.execute("SELECT count(*) FROM trials").fetchone()[0]
            db.close()
        except sqlite3.OperationalError:
            found = 0
        if found >= n:
            return
        time.sleep(0.02)
    raise TimeoutError(f"{n} trials did not end")


def children(pid):
    """Process ids of the children, where the system tells them (Linux)."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return listed.read_text().split() if listed.exists() else []


def command_of(pid):
    line = Path(f"/proc/{pid}/cmdline")
    return line.read_bytes().replace(b"\0", b" ").decode() if line.exists() else ""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The numbers of the slow experiment without any accident."""
    out = tmp_path_factory.mktemp("whole")
    code, said = ogive(*SLOW, "--jobs", 1, "--out", out)
    assert code == 0, said
    return kept(out)


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def test_a_run_writes_its_files_and_fits_80_columns(tmp_path):
    out = tmp_path / "o"
    code, said = ogive(*TINY, "--jobs", 1, "--out", out)
    assert code == 0, said
    assert {"report.html", "results.json", "results.csv", FILE} <= {p.name for p in out.iterdir()}
    paths = [line for line in said.splitlines() if str(out) in line]
    assert all(len(line) <= 80 for line in said.splitlines() if line not in paths)
    assert "tanh" in said and "rank" in said and any("report.html" in line for line in paths)
    record = json.loads((out / "results.json").read_text())
    assert len(record["trials"]) == 8 and record["analysis"]["verdict"] in " ".join(said.split())
    rows = (out / "results.csv").read_text().splitlines()
    assert len(rows) == 9 and rows[0].startswith("task,act,phase,lr,seed,status,score,error,")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(out / "results.parquet")
    assert table.num_rows == 8 and set(table.column("act").to_pylist()) == {"relu", "tanh"}


def test_kill_9_loses_only_what_was_running(tmp_path, whole):
    process = start(*SLOW, "--jobs", 2, "--out", tmp_path)
    wait_for(tmp_path, 3)
    workers = children(process.pid)
    process.kill()
    process.wait()
    before = kept(tmp_path)
    assert 3 <= len(before) < len(whole)
    code, said = ogive("--out", tmp_path, "--resume", "--jobs", 1)
    assert code == 0, said
    after = kept(tmp_path)
    assert before.items() <= after.items() and after == whole
    assert not [pid for pid in workers if "loky" in command_of(pid) and "tracker" not in command_of(pid)]


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(tmp_path, whole):
    process = start(*SLOW, "--jobs", 2, "--out", tmp_path)
    wait_for(tmp_path, 3)
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does: the workers get it too
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert f"--out {tmp_path} --resume" in said and "Traceback" not in said
    assert len(kept(tmp_path)) >= 3
    code, said = ogive("--out", tmp_path, "--resume", "--jobs", 1)
    assert code == 0, said
    assert kept(tmp_path) == whole


def test_a_users_model_and_data(tmp_path):
    own = ("--model", "tiny_task:make_model", "--data", "tiny_task:load_arrays", "--steps", 20)
    code, said = ogive(*own, "--acts", "relu,x*sigmoid(2*x)", "--seeds", 2, "--jobs", 1, "--out", tmp_path)
    assert code == 0, said
    assert {key[0] for key in kept(tmp_path)} == {"own"}
    assert {status for status, _, _ in kept(tmp_path).values()} == {"ok"}


def test_a_failing_loader_is_reported_and_the_report_is_written(tmp_path):
    own = ("--model", "tiny_task:make_model", "--data", "tiny_task:broken_data", "--steps", 20)
    code, said = ogive(*own, "--acts", "relu,tanh", "--seeds", 2, "--jobs", 1, "--out", tmp_path)
    assert code == 0, said
    assert "measurements.csv is not where it was" in " ".join(said.split()) and (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("--acts", "rellu"), "relu"),
        (("--acts", "relu,x * __import__('os')"), "__import__"),
        (("--tasks", "digts"), "digits"),
        (("--on", "dask"), "ray://"),
        (("--resume",), "nothing to resume"),
    ],
)
def test_wrong_options_end_at_once_with_one_message(tmp_path, arguments, said):
    code, output = ogive(*arguments, "--out", tmp_path / "o")
    assert code == 2 and said in output and "Traceback" not in output
    assert not (tmp_path / "o").exists()


def test_a_corrupt_file_is_reported_and_left_untouched(tmp_path):
    (tmp_path / FILE).write_bytes(b"SQLite format 3\0" + b"nonsense" * 500)
    code, output = ogive("--out", tmp_path, "--resume")
    assert code == 2 and "corrupt" in output and "left untouched" in output
    assert (tmp_path / FILE).read_bytes() == b"SQLite format 3\0" + b"nonsense" * 500

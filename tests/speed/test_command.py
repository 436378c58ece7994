"""`ogive speed` as a user runs it: its output, its files, nonsense, and Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from xml.etree import ElementTree

import pytest
import torch
from typer.testing import CliRunner

from ogive.cli import app
from ogive.errors import InputError
from ogive.speed.command import whole
from ogive.speed.run import Request, run

FAST = ("--seconds", "0.001", "--dtypes", "float32")


def ogive(*arguments):
    result = CliRunner().invoke(app, ["speed", *map(str, arguments)], terminal_width=80, env={"COLUMNS": "80"})
    if not isinstance(result.exception, SystemExit | None):
        raise result.exception
    return result.exit_code, result.output


def test_a_run_prints_and_writes(tmp_path):
    out, svg = tmp_path / "out.json", tmp_path / "roof.svg"
    code, text = ogive("silu", "x*tanh(x)", "swish", *FAST, "--sizes", "100,2e3", "--json", out, "--svg", svg)
    assert code == 0
    assert max(map(len, text.replace(str(tmp_path), "").splitlines())) <= 80
    data = json.loads(out.read_text())
    assert {(r["function"], r["size"]) for r in data["rows"]} >= {("silu", 100), ("x*tanh(x)", 2000)}
    assert {r["direction"] for r in data["rows"]} == {"forward", "backward", "both"}
    assert all(r["seconds"] > 0 and r["multiple"] > 0 for r in data["rows"])
    assert data["machine"]["threads"] == 1
    assert data["stopped"] is False
    ElementTree.parse(svg)


def test_threads_are_set_for_the_run_only():
    before = torch.get_num_threads()
    report = run(Request(("relu",), ("float32",), (2000,), ("forward",), threads=2, seconds=1e-3))
    assert report.machine.threads == 2
    assert torch.get_num_threads() == before


def test_a_name_and_its_alias_are_timed_once():
    report = run(Request(("snake", "snake"), ("float32",), (2000,), ("forward",), seconds=1e-3))
    kinds = [(r.contender, r.output) for r in report.rows]
    assert len(kinds) == len(set(kinds))


def test_an_interrupt_keeps_what_was_measured():
    finished = []

    def watch(what, row):
        if row is not None:
            finished.append(row)
        elif finished:
            raise KeyboardInterrupt

    report = run(Request(("relu", "silu"), ("float32",), (2000,), ("forward", "backward"), seconds=1e-3), watch)
    assert report.stopped
    assert list(report.rows) == finished
    assert {(r.function, r.direction) for r in report.rows} == {("relu", "forward")}


def test_a_step_function_has_no_eager_backward_to_time():
    report = run(Request(("heaviside",), ("float32",), (2000,), seconds=1e-3))
    timed = {(r.direction, r.contender) for r in report.rows}
    assert timed == {("forward", "ogive"), ("forward", "eager"), ("backward", "ogive"), ("both", "ogive")}
    assert [text.partition(": ")[0] for text in report.skipped] == [
        "heaviside, float32, backward, eager",
        "heaviside, float32, both, eager",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_prints_the_table_and_writes_the_json(tmp_path):
    out = tmp_path / "out.json"
    line = [sys.executable, "-c", "from ogive.cli import main; main()", "speed", "relu", "silu", "mish", "--dtypes",
            "float32", "--sizes", "2000", "--seconds", "1.5", "--json", str(out)]  # fmt: skip
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               env={**os.environ, "COLUMNS": "80"}, start_new_session=True)  # fmt: skip
    time.sleep(9)  # some of the nine groups of at least 1.5 s
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 130, text
    assert "stopped early" in text
    assert json.loads(out.read_text())["stopped"] is True
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gleu"], ("'gleu'", "gelu", "rational")),
        (["x +* 2"], ("x +* 2",)),
        (["relu", "--sizes", "many"], ("'many'", "whole number")),
        (["relu", "--sizes", "1.5"], ("'1.5'",)),
        (["relu", "--sizes", "0"], ("size 0", "from 1 to")),
        (["relu", "--sizes", "-5"], ("size -5",)),
        (["relu", "--sizes", "3e9"], ("size 3000000000",)),
        (["relu", "--sizes", "inf"], ("'inf'",)),
        (["relu", "--sizes", ","], ("no size",)),
        (["relu", "--dtypes", "int8"], ("'int8'", "float32")),
        (["relu", "--dtypes", "bf16"], ("'bf16'", "bfloat16")),
        (["relu", "--device", "tpu"], ("'tpu'", "cpu, cuda")),
        (["relu", "--device", "cpu:1"], ("'cpu:1'",)),
        (["relu", "--seconds", "0"], ("seconds 0",)),
        (["relu", "--all"], ("--all", "SPECS")),
        (["relu", "--allocator"], ("--allocator", "SPECS")),
        (["relu", "--svg", "a.svg", "--sizes", "100"], ("a.svg", "at least 1000")),
        (["relu", "--json", "/nonexistent/out.json"], ("cannot write /nonexistent/out.json",)),
    ],
    ids=lambda v: " ".join(v)[:40] if isinstance(v, list) else "",
)
def test_nonsense_is_quoted(arguments, words):
    code, text = ogive(*arguments)
    assert code == 2
    assert text.count("\n") <= 3 and text.startswith("error: ")
    for word in words:
        assert word in text


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_missing_gpu_is_said():
    code, text = ogive("relu", "--device", "cuda")
    assert code == 2
    assert "device 'cuda'" in text and "use cpu" in text


def test_negative_threads_are_refused():
    assert ogive("relu", "--threads", "-1")[0] == 2
    with pytest.raises(InputError, match="threads -1"):
        Request(threads=-1)


@pytest.mark.parametrize("text", ["", "1e400", "nan", "0x10"])
def test_what_is_no_size(text):
    with pytest.raises(InputError, match="whole number"):
        whole(text)

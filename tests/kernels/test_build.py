"""The cache of compiled libraries and everything that can go wrong with a compiler."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ogive.kernels import build, native

pytestmark = pytest.mark.skipif(native.runtime() is None, reason="no C compiler here")
TEXT = '__attribute__((visibility("default"))) int answer(void) { return %d; }'

# Runs one activation with compiled kernels wanted; prints the result and what was said.
RUN = """
import warnings, torch
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    import ogive
    from ogive.kernels import native
    x = torch.linspace(-3, 3, 7)
    y = [ogive.get(n)(x) for n in ("gelu", "relu", "gelu")]
    y.append(ogive.get("swish")(x, beta=torch.tensor(1.5)))
lines = [str(w.message) for w in said if "ogive runs" in str(w.message)]
print(len(lines), *lines)
print(float(y[0].double().sum()), native.runtime() is not None)
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OGIVE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def run(**env: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", RUN], capture_output=True, text=True, env={**os.environ, **env}, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_kept_once_under_the_name_of_its_content(cache):
    assert build.library(TEXT % 3).answer() == 3
    (first,) = cache.glob("*.so")
    before = first.stat().st_mtime_ns
    assert build.library(TEXT % 3).answer() == 3
    assert build.library(TEXT % 4).answer() == 4
    assert first.stat().st_mtime_ns == before and len(list(cache.glob("*.so"))) == 2
    assert not list(cache.glob(".build-*"))
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700


@pytest.mark.parametrize("damage", ["truncated", "poisoned", "empty"])
def test_a_damaged_file_is_made_again(cache, damage):
    code = f"from ogive.kernels import build; print(build.library({TEXT % 5!r}).answer())"

    def ask() -> str:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()

    assert ask() == "5"
    (path,) = cache.glob("*.so")
    whole = path.read_bytes()
    path.write_bytes(
        {"truncated": whole[: len(whole) // 2], "poisoned": whole[:-8] + b"12345678", "empty": b""}[damage]
    )
    assert ask() == "5"
    (again,) = cache.glob("*.so")
    assert build._sound(again)


def test_two_processes_at_once(cache):
    code = f"from ogive.kernels import build; print(build.library({TEXT % 6!r}).answer())"
    together = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [p.communicate(timeout=120)[0].strip() for p in together] == ["6"] * 4
    assert len(list(cache.glob("*.so"))) >= 1 and all(build._sound(p) for p in cache.glob("*.so"))


def test_a_folder_that_others_may_write_is_not_trusted(cache):
    cache.mkdir(mode=0o777)
    cache.chmod(0o777)
    assert not build._usable(cache)
    assert build.library(TEXT % 7).answer() == 7
    assert not list(cache.glob("*.so"))


def test_a_home_that_cannot_be_written(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("a file where the folder should be")
    said = run(OGIVE_CACHE=str(blocked), TMPDIR=str(tmp_path))
    assert said[0] == "0" and said[1].endswith("True")
    assert list(tmp_path.glob("ogive-*/*.so"))


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("text,says", [
    ('echo "fake: error: out of paper" >&2; exit 1', "error: out of paper"),
    ('[ "$1" = --version ] && exit 0; sleep 30', "did not finish within 2 s"),
    ('[ "$1" = --version ] && exit 0; echo "error: No space left on device" >&2; exit 1', "No space left"),
    ("", None),
])  # fmt: skip
def test_a_compiler_that_fails_or_hangs(tmp_path, text, says):
    """The same numbers by the slower way, and one line that says why."""
    command = script(tmp_path / "cc", text) if says else str(tmp_path / "nothing")
    cache, limit = str(tmp_path / "cache"), "2"
    good = run(OGIVE_CACHE=cache)
    bad = run(OGIVE_CACHE=str(tmp_path / "other"), CC=command, OGIVE_COMPILE_TIMEOUT=limit, TMPDIR=str(tmp_path))
    assert good[0] == "0" and good[1].endswith("True")
    assert bad[0].startswith("1 ") and "install a C compiler" in bad[0]
    assert (says or "is not on PATH") in bad[0]
    assert bad[1].endswith("False")
    assert abs(float(good[1].split()[0]) - float(bad[1].split()[0])) < 1e-6


def test_no_text_of_a_user_reaches_the_compiler():
    import torch

    from ogive import define
    from ogive.kernels.emit import Layout, kernel_text

    sly = define("x*sigmoid(system*x)", params={"system": 2.0})
    text = kernel_text((sly.form.program,), Layout(("f32", ""), ("f32",)))
    assert "system" not in text and "og_sigmoid" in text
    with pytest.raises(Exception, match=r"not\b|cannot|unexpected"):
        define('x*sigmoid(x); system("ls")')
    assert sly(torch.ones(3)).shape == (3,)


@pytest.mark.parametrize("isa", ["AVX2", "DEFAULT"])
def test_other_instruction_sets(tmp_path, isa):
    if native.build.isa()[0] not in ("AVX512", "AVX2"):
        pytest.skip("not an x86-64 machine with AVX2")
    here, there = run(OGIVE_CACHE=str(tmp_path / "a")), run(OGIVE_CACHE=str(tmp_path / "b"), OGIVE_ISA=isa)
    assert there[0] == "0" and there[1].endswith("True")
    assert abs(float(here[1].split()[0]) - float(there[1].split()[0])) < 2e-6

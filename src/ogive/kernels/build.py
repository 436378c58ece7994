"""C text to a loaded library: found compiler, content-hashed cache on disk, and what to say when there is none.

A library is named by two digests: of what went into it (text, flags, compiler, instruction set) and of the
file itself. The first makes the cache safe to share between versions and machines; the second is checked
before the file is mapped, because a truncated library ends the process when it is touched. Files appear by
atomic rename, so two processes that compile the same text both succeed and one of the equal files wins.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
import warnings
from functools import lru_cache
from pathlib import Path

import torch

from ogive.errors import OgiveError

SOURCES = Path(__file__).parent / "c"
TIMEOUT = 60.0  # seconds; the largest kernel takes about one

# No -ffast-math: its reassociation breaks compensated forms, and gcc links code that switches the whole
# process to flush-to-zero. What vectorising needs is only that nobody reads errno or the trap flags.
_FLAGS = ("-O3", "-std=gnu11", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast",
          "-fopenmp-simd", "-fvisibility=hidden", "-w")  # fmt: skip
_ISA = {
    "AVX512": ("-march=x86-64-v4", "-mprefer-vector-width=512"),
    "AVX2": ("-march=x86-64-v3",),
}


class NoCompiler(OgiveError):
    """There is no working C compiler; the message says what was tried."""


@lru_cache(maxsize=1)
def isa() -> tuple[str, tuple[str, ...]]:
    """The instruction set this process may use, and the flags that select it."""
    name = os.environ.get("OGIVE_ISA", "").upper() or torch.backends.cpu.get_cpu_capability()
    if platform.machine() in ("aarch64", "arm64"):
        return "ARMV8", ("-march=armv8-a",)
    return name, _ISA.get(name, ())


@lru_cache(maxsize=8)
def _found(wish: str | None) -> tuple[str, ...]:
    for command in [wish] if wish else ["cc", "gcc", "clang"]:
        words = shlex.split(command)
        path = shutil.which(words[0]) if words else None
        if path:
            return (path, *words[1:])
    raise NoCompiler(f"CC={wish!r} is not on PATH" if wish else "no C compiler (cc, gcc or clang) is on PATH")


@lru_cache(maxsize=8)
def _version(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoCompiler(f"{shlex.join(command)} --version failed: {error}") from None
    return done.stdout


def compiler() -> tuple[str, ...]:
    """The command of the C compiler: ``CC`` when it is set, else cc, gcc or clang. Raises NoCompiler."""
    return _found(os.environ.get("CC") or None)


def cache_dirs() -> list[Path]:
    """Where libraries are kept, in the order tried: ``OGIVE_CACHE``, the user's cache, a private temporary."""
    wish = os.environ.get("OGIVE_CACHE")
    if wish:
        return [Path(wish), _temporary()]
    base = os.environ.get("XDG_CACHE_HOME")
    home = Path(base) if base else Path("~").expanduser() / ".cache"
    return [home / "ogive", _temporary()]


def _temporary() -> Path:
    who = str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    return Path(tempfile.gettempdir()) / f"ogive-{who}"


def _usable(folder: Path) -> bool:
    """Whether libraries may be kept in ``folder``: ours alone to write, since what lies there is executed."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        about = folder.stat()
    except OSError:
        return False
    if hasattr(os, "getuid") and (about.st_uid != os.getuid() or about.st_mode & stat.S_IWOTH):
        return False
    return os.access(folder, os.W_OK)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:24]


def _sound(path: Path) -> bool:
    """Whether the file is what its name says."""
    try:
        return _digest(path.read_bytes()) == path.stem.rpartition("-")[2]
    except OSError:
        return False


def library(text: str, label: str = "kernel", openmp: bool = False) -> ctypes.CDLL:
    """The loaded library of C ``text`` (``#include "x.h"`` finds the files beside this module, which count as
    part of the text). Raises :class:`NoCompiler` with the reason when it cannot be made."""
    command = compiler()
    name, flags = isa()
    flags = (*_FLAGS, *flags, *(("-fopenmp",) if openmp else ()))
    parts = [text, " ".join(flags), name, _version(command), *_headers()]
    key = f"{label}-{_digest(chr(0).join(parts).encode())}"
    folders = [f for f in cache_dirs() if _usable(f)]
    for folder in cache_dirs():
        for path in folder.glob(f"{key}-*.so") if folder.is_dir() else ():
            if _owned(path) and _sound(path):
                return ctypes.CDLL(str(path))
            path.unlink(missing_ok=True) if folder in folders else None
    problem: Exception = OSError("no directory to keep libraries in; set OGIVE_CACHE to one you can write")
    for folder in folders:
        try:
            return ctypes.CDLL(str(_compile(text, command, flags, folder, key)))
        except OSError as error:  # a full disk, a directory mounted noexec: try the next
            problem = error
    raise NoCompiler(f"the library could not be kept: {problem}")


def _owned(path: Path) -> bool:
    return not hasattr(os, "getuid") or path.stat().st_uid in (os.getuid(), 0)


@lru_cache(maxsize=1)
def _headers() -> tuple[str, ...]:
    return tuple(p.read_text() for p in sorted(SOURCES.glob("*.h")))


def _compile(text: str, command: tuple[str, ...], flags: tuple[str, ...], folder: Path, key: str) -> Path:
    with tempfile.TemporaryDirectory(prefix=".build-", dir=folder) as scratch:
        source, made = Path(scratch) / "kernel.c", Path(scratch) / "kernel.so"
        source.write_text(text)
        line = [*command, *flags, f"-I{SOURCES}", str(source), "-o", str(made), "-lm"]
        limit = float(os.environ.get("OGIVE_COMPILE_TIMEOUT", TIMEOUT))
        try:
            done = subprocess.run(line, capture_output=True, text=True, timeout=limit, cwd=scratch)
        except subprocess.TimeoutExpired:
            raise NoCompiler(f"{command[0]} did not finish within {limit:g} s (OGIVE_COMPILE_TIMEOUT)") from None
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["nothing said"]
            said = next((line for line in lines if "error" in line), lines[0])[:300]
            if "No space left" in done.stderr:
                raise OSError(said)
            raise NoCompiler(f"{shlex.join(command)} failed with {done.returncode}: {said}")
        target = folder / f"{key}-{_digest(made.read_bytes())}.so"
        made.replace(target)
    return target


_told: set[str] = set()


def tell_once(reason: str) -> None:
    """One line, once: why the slower path runs and what would change it."""
    if not _told:
        _told.add(reason)
        warnings.warn(
            f"ogive runs without compiled kernels: {reason}. Results are the same, slower; install a C compiler "
            "(for example gcc) or set CC",
            RuntimeWarning,
            stacklevel=3,
        )

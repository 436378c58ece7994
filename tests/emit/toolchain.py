"""How emitted texts are run: gcc for C, files imported by path for Python."""

from __future__ import annotations

import ctypes
import importlib.util
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from ogive.activation import Activation
from ogive.derive.emit import emit
from tests.emit.reference import COUNT, data, points

FLAGS = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-Wdouble-promotion", "-O0", "-ffp-contract=off")
_BITS = {"double": ctypes.c_double, "float": ctypes.c_float}


def compiled(text: str, folder: Path, name: str, flags: Sequence[str] = FLAGS) -> ctypes.CDLL:
    """The library that gcc makes of ``text``."""
    source = folder / f"{name}.c"
    source.write_text(text)
    library = folder / f"{name}.so"
    made = subprocess.run(
        ["gcc", *flags, "-shared", "-fPIC", str(source), "-o", str(library), "-lm"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert made.returncode == 0, made.stderr[:3000]
    return ctypes.CDLL(str(library))


def loop(function: str, kind: str, inputs: int, params: Sequence[float]) -> str:
    """C that calls ``function`` on arrays; the driver of a test, no part of what is emitted."""
    s = "f" if kind == "float" else ""
    args = [*(f"{'xy'[i]}[i]" for i in range(inputs)), *(f"{p!r}{s}" for p in params)]
    return (
        f"void run_{function}(const {kind} *x, const {kind} *y, {kind} *out, long n) {{\n"
        f"    (void)y;\n    for (long i = 0; i < n; i++) out[i] = {function}({', '.join(args)});\n}}\n"
    )


def call(library: ctypes.CDLL, function: str, kind: str, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """What ``function`` gives on ``inputs``."""
    dtype = np.float64 if kind == "double" else np.float32
    ready = [np.ascontiguousarray(x, dtype=dtype) for x in inputs]
    out = np.empty(len(ready[0]), dtype=dtype)
    pointers = [a.ctypes.data_as(ctypes.POINTER(_BITS[kind])) for a in (ready[0], ready[-1], out)]
    getattr(library, f"run_{function}")(*pointers, ctypes.c_long(len(out)))
    return out


def run_c(
    entries: Sequence[Activation], dtype: str, order: int, folder: Path | str
) -> dict[str, dict[str, np.ndarray]]:
    """Results by kind ("double", "float") and name, all entries compiled into one library."""
    parts: list[str] = []
    kinds = ("double", "float") if dtype == "float64" else ("float",)
    for i, entry in enumerate(entries):
        text = emit(entry, "c", dtype=dtype, derivative=order, name=f"f{i}")
        parts.append(text)
        act = arguments(entry, order)
        for kind in kinds:
            name = f"f{i}f" if dtype == "float64" and kind == "float" else f"f{i}"
            parts.append(loop(name, kind, len(entry.inputs), act))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    library = compiled("\n".join(parts), folder, f"all_{dtype}_{order}")
    return {
        kind: {
            str(e.name): call(library, f"f{i}f" if dtype == "float64" and kind == "float" else f"f{i}", kind, data(e))
            for i, e in enumerate(entries)
        }
        for kind in kinds
    }


def arguments(entry: Activation, order: int) -> list[float]:
    """The parameters that the text takes, at their defaults."""
    from ogive.derive.calculus import derivative

    return list((derivative(entry, order) if order else entry).defaults.values())


def imported(text: str, folder: Path, name: str) -> ModuleType:
    """A Python text as a module, from a file."""
    path = folder / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GLSL_IN_C = """#include <math.h>
#include <stdbool.h>
#include <stdint.h>
static inline float uintBitsToFloat(uint32_t bits) { union { uint32_t u; float f; } v; v.u = bits; return v.f; }
#define abs(a) fabsf(a)
#define floor(a) floorf(a)
#define roundEven(a) rintf(a)
#define sqrt(a) sqrtf(a)
#define exp(a) expf(a)
#define log(a) logf(a)
#define sin(a) sinf(a)
#define cos(a) cosf(a)
#define tan(a) tanf(a)
#define atan(a) atanf(a)
#define pow(a, b) powf(a, b)
"""


def run_glsl(entries: Sequence[Activation], folder: Path) -> dict[str, np.ndarray]:
    """The GLSL texts read as C: the language is C where these texts are concerned, literals are floats."""
    parts = [GLSL_IN_C]
    for i, entry in enumerate(entries):
        parts.append(emit(entry, "glsl", name=f"f{i}"))
        parts.append(loop(f"f{i}", "float", len(entry.inputs), arguments(entry, 0)))
    flags = (
        "-std=gnu99",
        "-Wall",
        "-Wextra",
        "-O0",
        "-ffp-contract=off",
        "-fsingle-precision-constant",
        "-Wno-unused-parameter",
    )
    library = compiled("\n".join(parts), folder, "glsl", flags)
    return {str(e.name): call(library, f"f{i}", "float", data(e)) for i, e in enumerate(entries)}


def run_octave(entries: Sequence[Activation], folder: Path) -> dict[str, np.ndarray]:
    """One script with all functions, which reads the points and writes the values as doubles."""
    parts = ["1;"]
    np.concatenate((points(), points()[::-1])).tofile(folder / "points.bin")
    for i, entry in enumerate(entries):
        parts.append(emit(entry, "matlab", name=f"f{i}"))
    parts += ["file = fopen('points.bin'); p = fread(file, [1, Inf], 'double'); fclose(file);",
              f"x = p(1:{COUNT}); y = p({COUNT + 1}:end);", "out = fopen('values.bin', 'w');"]  # fmt: skip
    for i, entry in enumerate(entries):
        parts.append(f"fwrite(out, f{i}({', '.join('xy'[: len(entry.inputs)])}), 'double');")
    (folder / "all.m").write_text("\n".join([*parts, "fclose(out);", ""]))
    ran = subprocess.run(
        ["octave-cli", "--no-init-file", "--quiet", "all.m"], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    values = np.fromfile(folder / "values.bin").reshape(len(entries), COUNT)
    return {str(e.name): values[i] for i, e in enumerate(entries)}

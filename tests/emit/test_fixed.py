"""Fixed point: the error in the text is the error over all inputs, counted on what gcc compiled."""

from __future__ import annotations

import ctypes
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import ogive
from ogive.derive.emit import emit
from ogive.derive.emit.fixed import Fixed
from ogive.errors import InputError
from tests.emit.toolchain import compiled
from tests.entries import ONE_INPUT

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
SMALL = Fixed(word=16, fraction=8, low=-6.0, high=6.0)


def driver(name: str) -> str:
    return (
        f"void run_{name}(const int64_t *x, int64_t *y, long n) {{\n"
        f"    for (long i = 0; i < n; i++) y[i] = {name}(x[i]);\n}}\n"
    )


def run(library: ctypes.CDLL, name: str, codes: np.ndarray) -> np.ndarray:
    out = np.empty_like(codes)
    kind = ctypes.POINTER(ctypes.c_int64)
    getattr(library, f"run_{name}")(codes.ctypes.data_as(kind), out.ctypes.data_as(kind), ctypes.c_long(len(codes)))
    return out


def exact(spec: object, codes: np.ndarray, fixed: Fixed) -> np.ndarray:
    act = ogive.get(spec)
    x = torch.from_numpy(codes / fixed.scale)
    numbers = [torch.tensor(v, dtype=torch.float64) for v in act.defaults.values()]
    return act.form.program.run([x, *numbers], torch.float64).expand(x.shape).numpy() * fixed.out_scale


def stated(text: str) -> float:
    found = re.search(r"Largest error over all (\d+) inputs: ([0-9.]+) of the last place", text)
    assert found is not None
    return float(found.group(2))


def test_the_catalogue_over_an_interval(tmp_path: Path) -> None:
    texts, refused = {}, {}
    for i, e in enumerate(ONE_INPUT):
        try:
            texts[e] = emit(e, "c-fixed", name=f"f{i}", fixed=SMALL)
        except InputError as problem:
            refused[e] = str(problem)
    library = compiled(
        "\n".join([*texts.values(), *(driver(f"f{i}") for i, e in enumerate(ONE_INPUT) if e in texts)]),
        tmp_path,
        "fixed",
    )
    codes = np.arange(SMALL.codes[0], SMALL.codes[1] + 1, dtype=np.int64)
    for i, e in enumerate(ONE_INPUT):
        want = exact(e, codes, SMALL)
        if e in refused:  # the function really leaves the range of the word
            assert not (np.isfinite(want) & (np.round(want) >= -32768) & (np.round(want) <= 32767)).all(), refused[e]
            continue
        error = np.abs(run(library, f"f{i}", codes) - want).max()
        assert error == pytest.approx(stated(texts[e]), abs=6e-5), e.name
    assert len(texts) > len(ONE_INPUT) // 2


@pytest.mark.parametrize(
    "spec, fixed, most",
    [
        ("mish", Fixed(), 1.0),
        ("gelu", Fixed(word=16, fraction=12, degree=2, error=0.75), 0.75),
        ("relu", Fixed(word=8, fraction=4), 0.5),
        ("hard_swish", Fixed(word=16, fraction=8, low=-8, high=8, degree=2), 1.0),
        ("sign", Fixed(word=8, fraction=3), 0.0),
        ("tanh", Fixed(word=12, fraction=8, degree=0, entries=65536), 1.0),
        ("sigmoid", Fixed(word=32, fraction=16, out_fraction=30, low=-8, high=8, degree=2, error=64.0), 64.0),
    ],
)
def test_formats(spec: str, fixed: Fixed, most: float, tmp_path: Path) -> None:
    text = emit(spec, "c-fixed", name="f", fixed=fixed)
    assert "float" not in text.split("#include", 1)[1] and "double" not in text.split("#include", 1)[1]
    library = compiled(text + driver("f"), tmp_path, "one")
    codes = np.arange(fixed.codes[0], fixed.codes[1] + 1, dtype=np.int64)
    error = float(np.abs(run(library, "f", codes) - exact(spec, codes, fixed)).max())
    assert error <= most + 1e-9
    assert error == pytest.approx(stated(text), abs=6e-5)


def test_other_inputs_are_taken_to_the_nearer_end(tmp_path: Path) -> None:
    fixed = Fixed(word=16, fraction=8, low=-2.0, high=2.0)
    library = compiled(emit("tanh", "c-fixed", name="f", fixed=fixed) + driver("f"), tmp_path, "ends")
    got = run(library, "f", np.array([-32768, -512, 512, 32767], dtype=np.int64))
    assert got[0] == got[1] and got[2] == got[3] and got[1] < got[2]


@pytest.mark.parametrize(
    "spec, make, message",
    [
        ("exp(x)", lambda: Fixed(word=16, fraction=12), r"does not fit -8 to 7\.99976"),
        ("tanh", lambda: Fixed(word=16, fraction=12, low=-20), r"low=-20.*Q3\.12.*-8 to 7\.99976"),
        ("tanh", lambda: Fixed(word=16, fraction=16), r"fraction=16.*0 to 15"),
        ("tanh", lambda: Fixed(word=64), r"word=64"),
        ("tanh", lambda: Fixed(word=32, fraction=20), r"at most 4194304"),
        ("tanh", lambda: Fixed(low=1.0, high=1.0), r"no two inputs"),
        ("tanh", lambda: Fixed(error=0.1), r"rounding alone"),
        ("1/x", lambda: Fixed(), r"not finite everywhere"),
        ("glu", lambda: Fixed(), r"one input"),
    ],
)
def test_what_cannot_be_is_refused(spec: str, make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        emit(spec, "c-fixed", fixed=make())  # type: ignore[operator]

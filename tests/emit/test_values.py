"""Every emitted text, run where its runtime installs, against the reference: within 4 units."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ogive.activation import Activation
from ogive.derive.emit import emit
from ogive.derive.emit.for_onnx import onnx_model
from tests.emit import toolchain
from tests.emit.reference import COUNT, data, misses, points, reference
from tests.entries import ENTRIES

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
EVERY = pytest.mark.parametrize("order", [0, 1])


def judged(got: dict[str, np.ndarray], dtype: type, order: int = 0, single: bool = False) -> dict[str, str]:
    results = {str(e.name): (reference(e, order), got[str(e.name)]) for e in ENTRIES}
    return misses(results, dtype, single)


@needs_gcc
@EVERY
def test_c_computes_in_double_and_rounds_once_to_float(order: int, tmp_path: Path) -> None:
    got = toolchain.run_c(ENTRIES, "float64", order, tmp_path)
    assert judged(got["double"], np.float64, order) == {}
    assert judged(got["float"], np.float32, order) == {}


@needs_gcc
@EVERY
def test_c_in_float_throughout(order: int, tmp_path: Path) -> None:
    got = toolchain.run_c(ENTRIES, "float32", order, tmp_path)
    assert judged(got["float"], np.float32, order, single=True) == {}


@EVERY
def test_numpy(order: int, tmp_path: Path) -> None:
    text = "\n\n".join(emit(e, "numpy", derivative=order, name=f"f{i}") for i, e in enumerate(ENTRIES))
    module = toolchain.imported(text, tmp_path, "all_numpy")
    for dtype in (np.float64, np.float32):
        got = {
            str(e.name): getattr(module, f"f{i}")(*(x.astype(dtype) for x in data(e))) for i, e in enumerate(ENTRIES)
        }
        assert {v.dtype for v in got.values()} == {np.dtype(dtype)}
        assert judged(got, dtype, order) == {}


def test_pytorch_and_its_backward(tmp_path: Path) -> None:
    text = "\n\n".join(emit(e, "pytorch", name=f"f{i}") for i, e in enumerate(ENTRIES))
    module = toolchain.imported(text, tmp_path, "all_pytorch")
    values, slopes = {}, {}
    for i, e in enumerate(ENTRIES):
        x = [torch.from_numpy(v).requires_grad_() for v in data(e)]
        y = getattr(module, f"f{i}")(*x)
        y.sum().backward()
        values[str(e.name)], slopes[str(e.name)] = y.detach().numpy(), _grad(x[0])
    assert judged(values, np.float64) == {}
    assert judged(slopes, np.float64, 1) == {}
    half = {str(e.name): getattr(module, f"f{i}")(*(torch.from_numpy(v).float() for v in data(e))).numpy()
            for i, e in enumerate(ENTRIES)}  # fmt: skip
    assert judged(half, np.float32) == {}


def _grad(x: torch.Tensor) -> np.ndarray:
    return np.zeros(COUNT) if x.grad is None else x.grad.numpy()


def test_the_ends_and_nan_are_those_of_the_library(tmp_path: Path) -> None:
    text = "\n\n".join(emit(e, "pytorch", name=f"f{i}") for i, e in enumerate(ENTRIES))
    module = toolchain.imported(text, tmp_path, "ends")
    ends = torch.tensor([math.inf, -math.inf, math.nan], dtype=torch.float64)
    wrong = []
    for i, e in enumerate(ENTRIES):
        rest = [torch.full_like(ends, 0.7) for _ in e.inputs[1:]]
        got = getattr(module, f"f{i}")(ends, *rest)
        numbers = [torch.tensor(v, dtype=torch.float64) for v in e.defaults.values()]
        want = e.form.program.run([ends, *rest, *numbers], torch.float64).expand(3)
        if not torch.allclose(got, want, rtol=1e-12, atol=1e-25, equal_nan=True):
            wrong.append((e.name, got.tolist(), want.tolist()))
    assert wrong == []


def test_jax(tmp_path: Path) -> None:
    jnp = pytest.importorskip("jax.numpy")
    text = "\n\n".join(emit(e, "jax", name=f"f{i}") for i, e in enumerate(ENTRIES))
    module = toolchain.imported(text, tmp_path, "all_jax")
    got = {str(e.name): np.asarray(getattr(module, f"f{i}")(*(jnp.asarray(x, dtype=jnp.float32) for x in data(e))))
           for i, e in enumerate(ENTRIES)}  # fmt: skip
    assert judged(got, np.float32, single=True) == {}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_onnx(dtype: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    got = {}
    for e in ENTRIES:
        model = onnx_model(e, dtype=dtype).SerializeToString()
        session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        feed = {i.name: x.astype(np.float32) for i, x in zip(session.get_inputs(), data(e))}
        got[str(e.name)] = session.run(None, feed)[0]
    assert judged(got, np.float32, single=dtype == "float32") == {}


@needs_gcc
def test_glsl_read_as_c(tmp_path: Path) -> None:
    assert judged(toolchain.run_glsl(ENTRIES, tmp_path), np.float32, single=True) == {}


@pytest.mark.skipif(shutil.which("glslangValidator") is None, reason="needs glslangValidator (glslang-tools)")
@pytest.mark.parametrize("version", ["330", "300 es"])
def test_glsl_is_accepted(version: str, tmp_path: Path) -> None:
    text = "\n".join(emit(e, "glsl", name=f"f{i}") for i, e in enumerate(ENTRIES))
    precision = "precision highp float;\n" if "es" in version else ""
    shader = tmp_path / "all.frag"
    shader.write_text(
        f"#version {version}\n{precision}{text}\nout vec4 colour;\nvoid main() {{ colour = vec4(0.0); }}\n"
    )
    ran = subprocess.run(["glslangValidator", str(shader)], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout[-2000:]


@pytest.mark.skipif(shutil.which("octave-cli") is None, reason="needs Octave, which reads MATLAB")
def test_matlab_in_octave(tmp_path: Path) -> None:
    assert judged(toolchain.run_octave(ENTRIES, tmp_path), np.float64) == {}


@pytest.mark.skipif(shutil.which("julia") is None, reason="needs Julia")
def test_julia(tmp_path: Path) -> None:
    parts = [emit(e, "julia", name=f"f{i}") for i, e in enumerate(ENTRIES)]
    points().tofile(tmp_path / "points.bin")
    parts += [
        f'p = Array{{Float64}}(undef, {COUNT}); read!("points.bin", p); q = reverse(p)',
        'out = open("values.bin", "w")',
    ]
    for i, e in enumerate(ENTRIES):
        parts.append(f"write(out, f{i}.({', '.join(('p', 'q')[: len(e.inputs)])}))")
    (tmp_path / "all.jl").write_text("\n".join([*parts, "close(out)", ""]))
    subprocess.run(["julia", "--startup-file=no", "-O0", "all.jl"], cwd=tmp_path, check=True, timeout=300)
    values = np.fromfile(tmp_path / "values.bin").reshape(len(ENTRIES), COUNT)
    assert judged({str(e.name): values[i] for i, e in enumerate(ENTRIES)}, np.float64) == {}


def test_triton_in_its_interpreter(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    some: list[Activation] = ENTRIES[:: max(1, len(ENTRIES) // 24)]
    lines = ["import os", 'os.environ["TRITON_INTERPRET"] = "1"', "import numpy as np, torch, importlib"]
    for i, e in enumerate(some):
        (tmp_path / f"g{i}.py").write_text(emit(e, "triton", name=f"g{i}"))
        np.save(tmp_path / f"x{i}.npy", np.stack(data(e)).astype(np.float32))
    lines += ["np.seterr(all='ignore')", f"for i in range({len(some)}):",
              "    module = importlib.import_module(f'g{i}')",
              "    x = [torch.from_numpy(v.copy()) for v in np.load(f'x{i}.npy')]",
              "    np.save(f'y{i}.npy', getattr(module, f'g{i}')(*x).numpy())"]  # fmt: skip
    (tmp_path / "run.py").write_text("\n".join([*lines, ""]))
    ran = subprocess.run([sys.executable, "run.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr[-3000:]
    results = {str(e.name): (reference(e, 0), np.load(tmp_path / f"y{i}.npy")) for i, e in enumerate(some)}
    assert misses(results, np.float32, single=True) == {}

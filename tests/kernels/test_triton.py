"""Generated GPU kernels: values in Triton's interpreter, instructions from its compiler, both without a GPU."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

import ogive
from ogive.diff import differentiate
from ogive.kernels import Form, apply
from ogive.kernels import triton as gpu
from ogive.kernels.program import compile_program
from ogive.kernels.triton_text import Layout, number_text, source
from ogive.ops import OPS
from tests.entries import ENTRIES, every_entry, every_scalar_entry
from tests.rounding import rounding

HERE = Path(__file__).parent
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
GATES = [e for e in ENTRIES if len(e.inputs) == 2]


def outcome(script: str, *arguments: str) -> dict:
    """What a script of this folder prints, run without anything Triton kept from earlier runs."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed")
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parents[1]), "PYTHONWARNINGS": "ignore"}
    env.pop("TRITON_INTERPRET", None)
    with tempfile.TemporaryDirectory() as folder:
        env["TRITON_CACHE_DIR"] = folder
        done = subprocess.run([sys.executable, str(HERE / script), *arguments], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="session")
def interpreted() -> dict:
    return outcome("interpreted.py", "192", ",".join(str(e.name) for e in ENTRIES))


@needs_triton
@every_entry
def test_values_and_slopes_in_the_interpreter(entry, interpreted):
    """16-bit inputs and float32 inputs of every size, infinite and NaN: one unit in the last place of 16 bits,
    four units of eps (|f| + |x f'| + |p df/dp|) in float32, after rounding the float32 result; or what the rounding of
    the formula's operations explains, where that is more."""
    found = interpreted["sweep"][entry.name]
    assert len(found) == 8
    for key, worst in found.items():
        dtype = key.split()[1]
        if dtype == "lost":
            assert not worst, f"{entry.name} {key} at {worst}"
            continue
        error, x, got, true = worst
        fine = error <= (4.0 if dtype == "float32" else 1.0)
        assert fine, f"{entry.name} {key}: {error:.3g} units at x = {x!r}: got {got!r}, exact {true!r}"


@needs_triton
@pytest.mark.parametrize("gate", [e.name for e in GATES])
def test_both_gradients_of_a_gate_from_one_kernel(gate, interpreted):
    assert len(interpreted["gates"][gate]) == 2
    assert max(interpreted["gates"][gate]) < 3e-6


@needs_triton
def test_every_layout(interpreted):
    bounds = {"float64": 1e-15, "float64 mish": 4e-15, "float64 elephant": 1e-15, "float64 arctan": 1e-15}
    for name, difference in interpreted["layouts"].items():
        assert difference is not None, f"{name}: shape, dtype or memory format differ"
        assert difference <= bounds.get(name, 4e-6), f"{name}: {difference}"
    assert len(interpreted["layouts"]) == 21


TWELVE = (
    "relu",
    "silu",
    "gelu",
    "gelu_tanh",
    "mish",
    "golu",
    "serf",
    "tanhexp",
    "snake",
    "rational",
    "prelu",
    "swiglu",
)


def check_instructions(name: str, found: dict) -> None:
    for key, both in found.items():
        for which, made in both.items():
            label = f"{key} {which}"
            entry = ogive.get(name) if name != "rational" else None
            inputs = len(entry.inputs) if entry else 1
            streams = inputs + (which == "backward")
            outputs = inputs if which == "backward" else 1
            assert [i for i in made["loads"] if "v4" in i] == ["ld.global.v4.b32"] * streams, (label, made["loads"])
            assert made["stores"] == ["st.global.v4.b32"] * outputs, (label, made["stores"])
            assert made["spills"] == 0, label
            assert made["registers"] <= 128, (label, made["registers"])


@pytest.fixture(scope="session")
def compiled() -> dict:
    return outcome("compiled.py", *TWELVE)


@needs_triton
@pytest.mark.parametrize("name", TWELVE)
def test_compiles_to_wide_accesses_without_spills(name, compiled):
    """One 128-bit access per thread and tensor on sm_80 and sm_90, forward and backward, bfloat16 and float32."""
    mine = {k: v for k, v in compiled.items() if k.split()[0] == name}
    assert len(mine) == 4
    check_instructions(name, mine)
    # as many hardware exponentials per element as the formula needs, nothing recomputed
    once = {"relu": 0, "silu": 1, "gelu_tanh": 1, "mish": 1, "golu": 2, "swiglu": 1, "rational": 0, "prelu": 0}
    for key, both in mine.items():
        elements = 8 if "bfloat16" in key else 4
        if name in once:
            assert both["forward"]["exponentials"] == once[name] * elements, key
            assert both["backward"]["exponentials"] == once[name] * elements, key


@needs_triton
@pytest.mark.exhaustive
def test_everything_compiles_to_wide_accesses_without_spills():
    names = [e.name for e in ENTRIES]
    for start in range(0, len(names), 20):
        found = outcome("compiled.py", *names[start : start + 20])
        for name in names[start : start + 20]:
            check_instructions(name, {k: v for k, v in found.items() if k.split()[0] == name})


# The text itself needs no Triton.


@every_scalar_entry
def test_text_holds_generated_names_only(entry):
    """Parsed as Python: one kernel, and no name but those the printer makes."""
    for form in (entry.form, entry.form.vjp(0)):
        text = source((gpu._program(form),), Layout(("data",) * len(form.names)))
        tree = ast.parse(text)
        names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        allowed = {"tl", "triton", "m", "s", "at", "keep", "first", "start", "end", "BLOCK", "WIDE", "float"}
        for name in names - allowed:
            assert name[0] in "xpoa" and name[1:].strip("knfarehugdlimstpvbc_0123456789") == "", name


def test_hostile_names_and_constants_stay_outside():
    act = ogive.define("x*os_system + 1e-40*x + 1e300*tanh(x)", params={"os_system": ogive.Param(default=0.5)})
    text = source((gpu._program(act.form),), Layout(("data", "scalar")))
    assert "os_system" not in text and 'float("inf")' in text
    ast.parse(text)


def test_constants_are_those_of_the_compute_type():
    assert number_text(0.1, True) == "0.1"
    assert float(number_text(0.1, False)) == torch.tensor(0.1).item()
    assert number_text(1e300, False) == 'float("inf")' and number_text(-1e300, False) == 'float("-inf")'


def test_every_primitive_prints():
    from ogive.expr import Expr, var

    x = var("x")
    for name, op in OPS.items():
        args = {"where": (Expr("gt", (x, var("y"))), x, var("y"))}.get(name, (x, var("y"))[: op.arity])
        expr = Expr(name, args, 2 if name == "sinc" else None)
        if name in ("gt", "ge"):
            expr = Expr("where", (expr, x, var("y")))
        text = source((compile_program(expr, ("x", "y"), (0.7,)),), Layout(("data", "data")))
        ast.parse(text)


def test_only_plain_cuda_tensors_run():
    form = ogive.get("silu").form
    assert not gpu.runs(form, []) and not gpu.runs(form, [torch.zeros(3)])


@pytest.mark.parametrize(
    "shape, strides, dense",
    [((2, 3), (3, 1), True), ((2, 3), (1, 2), True), ((2, 3), (6, 2), False), ((2, 3), (0, 1), False), ((1, 3), (99, 1), True),
     ((2, 3, 4, 5), (60, 1, 15, 3), True), ((), (), True)],
)  # fmt: skip
def test_dense_layouts(shape, strides, dense):
    assert gpu.dense(shape, strides) is dense


cuda = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"), needs_triton]


def on(*marks):
    def mark(function):
        for m in marks:
            function = m(function)
        return function

    return mark


@on(*cuda)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64], ids=str)
def test_on_a_gpu(dtype):
    """The compiled kernel of every entry against the eager program in float64 on the same GPU, value and slope:
    one unit in the last place and eight units of eps32 (|f| + |x f'|), where float32 arithmetic does not cancel."""
    x = torch.cat([torch.linspace(-30, 30, 4001), torch.tensor([-1e3, 1e3, 3e4, -3e4])]).to("cuda", dtype)
    info, wide32 = torch.finfo(dtype), torch.finfo(torch.float32).eps
    for entry in ENTRIES:
        inputs = (x, x.flip(0).contiguous())[: len(entry.inputs)]
        args = (*inputs, *entry.defaults.values())
        for which, form, given in (
            ("value", entry.form, args),
            ("slope", entry.form.vjp(0), (*args, torch.ones_like(x))),
        ):
            got = gpu.run(form, dtype, given).double()
            wide = [torch.as_tensor(a, device="cuda").double() for a in given]
            true = form.program.run(wide, torch.float64).expand_as(x)
            bent = Form(differentiate(form.expr, form.names[0]), form.names, form.defaults, derived=True)
            bend = (bent.program.run(wide, torch.float64) * wide[0]).abs().expand_as(x)
            unit = info.eps if dtype == torch.float64 else wide32
            allowed = 8 * unit * (true.abs() + bend) + info.eps * true.abs() + info.smallest_normal
            explained = rounding(form.canonical.expr, form.names, [w.cpu() for w in wide]).bound(np.float32)
            allowed = allowed if dtype == torch.float64 else allowed + 2.0 * explained.to("cuda")
            worst = int(((got - true).abs() - allowed).nan_to_num(0.0).argmax())
            fine = ((got - true).abs() <= allowed) | (got == true)
            assert bool(fine.all()), (entry.name, which, x[worst].item(), got[worst].item(), true[worst].item())


@on(*cuda)
def test_gates_layouts_and_large_offsets_on_a_gpu():
    x, y, g = (torch.randn(64, 1000, device="cuda") for _ in range(3))
    wide = [t.double().requires_grad_() for t in (x, y)]
    form = ogive.get("swiglu").form
    true = torch.autograd.grad(apply(form, torch.float64, wide), wide, g.double())
    for a, b in zip(gpu.gradients(form, (0, 1), (x, y), g), true):
        torch.testing.assert_close(a, b.float(), rtol=1e-5, atol=1e-6)
    per = torch.linspace(-0.5, 0.5, 7, device="cuda").view(7, 1, 1)
    image = torch.randn(2, 7, 9, 11, device="cuda").to(memory_format=torch.channels_last)
    got = gpu.run(ogive.get("prelu").form, torch.float32, (image, per))
    torch.testing.assert_close(got, torch.where(image > 0, image, per * image))
    assert got.is_contiguous(memory_format=torch.channels_last)
    if torch.cuda.mem_get_info()[0] > 10 * 2**30:  # offsets that need 64 bits
        long = torch.full((2**31 + 37,), -1.0, device="cuda", dtype=torch.bfloat16)
        assert bool((gpu.run(ogive.get("relu").form, torch.bfloat16, (long,)) == 0).all())

"""Compiles generated Triton kernels for GPUs that need not be there and prints what the assembler made of them.

A program of its own, because it needs Triton's compiler where the interpreter's test needs its interpreter.
Memory instructions are read from PTX; registers and spills from the assembler that comes with Triton.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.pop("TRITON_INTERPRET", None)

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

import ogive
from ogive.kernels import triton as gpu
from ogive.kernels.program import Program
from ogive.kernels.triton_text import Layout, source

TYPES = {torch.bfloat16: "*bf16", torch.float16: "*fp16", torch.float32: "*fp32", torch.float64: "*fp64"}
ALIGNED = [["tt.divisibility", 16]]
# Triton brings several assemblers, for old and new GPUs; an old one may not know the version of the text.
PTXAS = sorted((Path(triton.__file__).parent / "backends" / "nvidia" / "bin").glob("ptxas*"))


def build(programs: tuple[Program, ...], kinds: tuple[str, ...], dtype: torch.dtype, capability: int) -> dict:
    """PTX and resources of one kernel at aligned pointers and a multiple of 16 elements."""
    layout = Layout(kinds, dtype == torch.float64, dtype.itemsize >= 4)
    kernel = gpu._kernel(source(programs, layout))
    signature, constants, attributes = {}, {}, {}
    for i, name in enumerate(kernel.arg_names):
        if name in ("BLOCK", "WIDE"):
            signature[name] = "constexpr"
            constants[(i,)] = gpu.BLOCK[dtype.itemsize] if name == "BLOCK" else False
            continue
        pointer = re.fullmatch(r"[op](\d+)", name)
        scalar = name[0] == "p" and kinds[int(name[1:])] == "scalar"
        signature[name] = "i32" if not pointer else "*fp64" if scalar else TYPES[dtype]
        attributes[(i,)] = ALIGNED
    target = GPUTarget("cuda", capability, 32)
    made = triton.compile(ASTSource(kernel, signature, constants, attributes), target=target,
                          options={"num_warps": gpu.WARPS})  # fmt: skip
    ptx = made.asm["ptx"]
    arch = re.search(r"\.target (\w+)", ptx)[1]
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "kernel.ptx"
        text.write_text(ptx)
        for assembler in PTXAS:
            line = [str(assembler), "-v", f"-arch={arch}", str(text), "-o", str(text.with_suffix(".cubin"))]
            done = subprocess.run(line, capture_output=True, text=True)
            if done.returncode == 0:
                break
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stderr
    return {
        "loads": re.findall(r"ld\.global\S*", ptx),
        "stores": re.findall(r"st\.global\S*", ptx),
        "registers": int(re.search(r"Used (\d+) registers", said)[1]),
        "spills": sum(map(int, re.findall(r"(\d+) bytes spill", said))),  # stores and loads
        "exponentials": ptx.count("ex2.approx"),
    }


def report(name: str, capability: int, dtype: torch.dtype) -> dict:
    """Forward, and backward with all gradients of the data inputs."""
    entry = ogive.get(name)
    data = len(entry.inputs)
    kinds = ("data",) * data + tuple("channel" if p.share == "channel" else "scalar" for p in entry.params.values())
    return {
        "forward": build((gpu._program(entry.form),), kinds, dtype, capability),
        "backward": build(gpu._gradient_programs(entry.form, tuple(range(data))), (*kinds, "data"), dtype, capability),
    }


if __name__ == "__main__":
    wanted = [ogive.define("(x**5 + 2*x**3 + x)/(x**4 + 3*x**2 + 1)") if n == "rational" else n for n in sys.argv[1:]]
    found = {}
    for name, spec in zip(sys.argv[1:], wanted):
        for capability in (80, 90):
            for dtype in (torch.bfloat16, torch.float32):
                found[f"{name} {capability} {str(dtype)[6:]}"] = report(spec, capability, dtype)
    print(json.dumps(found))

"""The decode kernels for a GPU: values in Triton's interpreter, instructions from its compiler, both without a GPU."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")

# Programs of their own: which of the two runs is chosen when Triton is first imported.
VALUES = """
import json, torch
from ogive.surgery.sparsity import decode_triton as gpu

torch.manual_seed(0)
found = {}
for dtype in (torch.float32, torch.float16, torch.bfloat16):
    for d, n, width, batch in ((140, 70, 33, 1), (20, 530, 30, 2))[: 1 + (dtype is torch.float32)]:
        x, h = torch.randn(batch, d), torch.randn(batch, n)
        h[:, ::3] = 0.0
        up, down = (torch.randn(n, k).to(dtype) for k in (d, width))
        bias, start = torch.randn(n), torch.randn(width)
        rows = torch.randperm(n)[: n // 2].sort()[0].int()
        for low in (0.0, 0.8) if dtype is torch.float32 and batch == 1 else (0.8,):
            kept = torch.where(h.abs() < low, 0.0, h).double()
            u = x.double() @ up.double().t()
            here = kept[:, rows.long()]
            cases = {
                "linear": (gpu.summed(h, down, low), kept @ down.double()),
                "linear listed": (gpu.summed(h[:, rows.long()].contiguous(), down, low, rows=rows, start=start),
                                  here @ down.double()[rows.long()] + start),
                "glu": (gpu.summed(h, down, low, up, bias, x), (kept * (u + bias)) @ down.double()),
                "glu listed": (gpu.summed(h[:, rows.long()].contiguous(), down, low, up, None, x, rows),
                               (here * u[:, rows.long()]) @ down.double()[rows.long()]),
            }
            for name, (got, want) in cases.items():
                key = f"{name} {str(dtype)[6:]} {d} {low}"
                found[key] = float((got.double() - want).norm() / want.norm())
        # rows that are not used may hold anything
        down[::3], up[::3] = float("nan"), float("inf")
        found[f"unread {str(dtype)[6:]} {d}"] = float(not gpu.summed(h, down, 0.0, up, bias, x).isfinite().all())
print(json.dumps(found))
"""

CODE = """
import json, re, torch, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from ogive.surgery.sparsity import decode_triton as gpu

found = {}
for capability, name, dtype in ((90, "bfloat16", "*bf16"), (80, "float32", "*fp32")):
    for kernel in (gpu.products, gpu.row_sums):
        types = {"up": dtype, "down": dtype, "rows": "*i32", "low": "fp32"}
        blocks = {"M": gpu.NEURONS, "K": gpu.COLUMNS, "N": gpu.COLUMNS, "LISTED": False, "BIASED": False}
        signature, constants, aligned = {}, {}, {}
        for i, argument in enumerate(kernel.arg_names):
            if argument in blocks:
                signature[argument], constants[(i,)] = "constexpr", blocks[argument]
                continue
            pointer = argument in ("h", "x", "a", "y", "bias")
            signature[argument] = types.get(argument, "*fp32" if pointer else "i32")
            if signature[argument] != "fp32":
                aligned[(i,)] = [["tt.divisibility", 16]]
        made = triton.compile(ASTSource(kernel, signature, constants, aligned), options={"num_warps": 4},
                              target=GPUTarget("cuda", capability, 32))
        loads = re.findall(r"(@\\S+ )?(ld\\.global\\S*)", made.asm["ptx"])
        found[f"{kernel.fn.__name__} {name} {capability}"] = [[bool(p), k] for p, k in loads]
print(json.dumps(found))
"""


def outcome(script: str, folder: str, **more: str) -> dict:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "TRITON_CACHE_DIR": folder, **more}
    if not more:
        env.pop("TRITON_INTERPRET", None)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_values_in_the_interpreter(tmp_path):
    found = outcome(VALUES, str(tmp_path), TRITON_INTERPRET="1")
    assert len(found) == 9 + 5 + 2 * 5
    for name, error in found.items():
        assert error < 1e-6, (name, error)


def test_weights_are_read_under_a_mask_16_bytes_at_a_time(tmp_path):
    """Every load of a weight is predicated, so that a row that is not used costs nothing."""
    found = outcome(CODE, str(tmp_path))
    assert len(found) == 4
    for name, loads in found.items():
        wide = [(masked, kind) for masked, kind in loads if ".v" in kind]
        assert {kind for _, kind in wide} == {"ld.global.v4.b32"}, (name, loads)
        assert all(masked for masked, _ in wide), (name, loads)

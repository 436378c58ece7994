"""Kernels and modules that read only the rows a sparse activation asks for, against dense products in float64."""

from __future__ import annotations

import copy
import io
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import ogive
from ogive.errors import InputError, ParameterError
from ogive.kernels import native
from ogive.surgery.sparsity import decode_rows
from ogive.surgery.sparsity.decode_modules import SparseFFN, SparseGLU, SparseLinear
from tests.surgery.models import SwiGLU

SIZES = [(37, 61, 50), (64, 128, 64), (100, 1300, 30), (5, 3, 1), (16, 8, 48)]  # inputs, neurons, outputs
needs_compiler = pytest.mark.skipif(native.runtime() is None, reason="no C compiler here")


def far(got: torch.Tensor, want: np.ndarray) -> float:
    return float(np.linalg.norm(got.double().numpy() - want) / np.linalg.norm(want))


def wide(t: torch.Tensor | None) -> np.ndarray:
    return np.zeros(1) if t is None else t.detach().double().numpy()


@pytest.fixture(params=["compiled", "gathered"])
def way(request):
    """Both ways: the kernels and torch's own operations, as without a compiler."""
    if request.param == "compiled" and native.runtime() is None:
        pytest.skip("no C compiler here")
    before = native.enable(request.param == "compiled")
    yield request.param
    native.enable(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("batch", range(1, 9))
def test_rows_against_float64(way, dtype, batch):
    """Every batch size, sizes that no vector width divides, with and without biases and a list of neurons. bfloat16
    weights with float32 sums: as exact as float32 by the kernels; torch rounds the products to bfloat16."""
    torch.manual_seed(batch)
    bound = 1e-6 if way == "compiled" or dtype is torch.float32 else 2e-2
    for d, n, width in SIZES:
        up, down = torch.randn(n, d).to(dtype), torch.randn(n, width).to(dtype)
        x, h, bias, start = torch.randn(batch, d), torch.randn(batch, n), torch.randn(n), torch.randn(width)
        bias, start = bias.to(dtype), start.to(dtype)
        h[:, 1::2] = 0.0
        h[0, 0] = 0.9
        some = torch.arange(0, n, 3, dtype=torch.int32)
        for rows in (None, some):
            pick = slice(None) if rows is None else some.tolist()
            for b in (None, bias):
                u = wide(x) @ wide(up)[pick].T + (wide(b)[pick] if b is not None else 0.0)
                assert far(decode_rows.scores(up, b, x, rows), u) < bound
                for low in (0.0, 0.7):
                    given = h[:, pick].contiguous()
                    kept = np.where(np.abs(wide(given)) < low, 0.0, wide(given))
                    y, used = decode_rows.summed(given, down, low, up, b, x, rows, start)
                    assert far(y, (kept * u) @ wide(down)[pick] + wide(start)) < bound
                    assert used == (kept != 0).any(0).sum()
                    y, _ = decode_rows.summed(given, down, low, rows=rows)
                    assert far(y, kept @ wide(down)[pick]) < bound


@needs_compiler
def test_rows_that_are_not_used_are_not_read(way):
    """Infinite and NaN weights of unused neurons do not show; of used ones, and a NaN factor, they do."""
    h = torch.randn(2, 100)
    h[:, ::4] = 0.0
    h[:, 1::4] = 0.1
    up, down, x = torch.randn(100, 20), torch.randn(100, 30), torch.randn(2, 20)
    want, _ = decode_rows.summed(h, down, 0.2, up, None, x)
    for unused in (slice(0, None, 4), slice(1, None, 4)):
        up[unused], down[unused] = float("inf"), float("nan")
    if way == "compiled":
        assert torch.equal(decode_rows.summed(h, down, 0.2, up, None, x)[0], want)
    h[1, 2] = float("nan")
    got, _ = decode_rows.summed(h, torch.ones(100, 30), 0.2)
    assert got[1].isnan().all() and got[0].isfinite().all()


@needs_compiler
def test_threads_share_the_rows(monkeypatch):
    """As many partial sums as threads: the same result to rounding, with more threads than groups of rows too."""
    torch.manual_seed(0)
    for n in (9, 700):
        h, down, up, x = torch.randn(3, n), torch.randn(n, 40), torch.randn(n, 24), torch.randn(3, 24)
        want = (wide(h) * (wide(x) @ wide(up).T)) @ wide(down) + 1.0
        for threads in (1, 2, 5):
            monkeypatch.setattr(decode_rows, "_threads", lambda _, t=threads: t)
            y, used = decode_rows.summed(h, down, 0.0, up, None, x, None, torch.ones(40))
            assert far(y, want) < 1e-6 and used == n
            assert far(decode_rows.scores(up, None, x), wide(x) @ wide(up).T) < 1e-6


OTHER = """
import torch
from ogive.surgery.sparsity import decode_rows

torch.manual_seed(0)
worst = 0.0
for dtype in (torch.float32, torch.bfloat16):
    for batch in (1, 3):
        up, down = torch.randn(90, 75).to(dtype), torch.randn(90, 50).to(dtype)
        x, h = torch.randn(batch, 75), torch.relu(torch.randn(batch, 90))
        want = (h.double() * (x.double() @ up.double().t())) @ down.double()
        got, _ = decode_rows.summed(h, down, 0.0, up, None, x)
        worst = max(worst, float((got.double() - want).norm() / want.norm()))
        u = decode_rows.scores(up, None, x).double() - x.double() @ up.double().t()
        worst = max(worst, float(u.norm() / (x.double() @ up.double().t()).norm()))
assert decode_rows.kernels(torch.float32) is not None
print(worst)
"""


@pytest.mark.parametrize("isa", ["AVX2", pytest.param("DEFAULT", marks=pytest.mark.slow)])
def test_other_instruction_sets(tmp_path, isa):
    if native.runtime() is None or native.build.isa()[0] not in ("AVX512", "AVX2"):
        pytest.skip("not an x86-64 machine with AVX2 and a compiler")
    env = {**os.environ, "OGIVE_ISA": isa, "OGIVE_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", OTHER], capture_output=True, text=True, env=env, timeout=120)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1e-6


def test_no_row_and_no_neuron(way):
    down = torch.randn(8, 4)
    y, used = decode_rows.summed(torch.zeros(2, 8), down, start=torch.ones(4))
    assert torch.equal(y, torch.ones(2, 4)) and used == 0
    empty = torch.empty(0, dtype=torch.int32)
    y, used = decode_rows.summed(torch.empty(1, 0), down, rows=empty)
    assert torch.equal(y, torch.zeros(1, 4)) and used == 0


# Modules


class Gated(nn.Module):
    """down(act(gate x) where it is not below t, times up x)"""

    def __init__(self, act, t: float = 0.0, bias: bool = True) -> None:
        super().__init__()
        self.w1, self.w3, self.w2 = nn.Linear(48, 200, bias), nn.Linear(48, 200, bias), nn.Linear(200, 40, bias)
        self.act, self.t = act, t

    def forward(self, x):
        h = self.act(self.w1(x))
        return self.w2(torch.where(h.abs() < self.t, 0.0, h) * self.w3(x))


@torch.no_grad()
@pytest.mark.parametrize("name,t", [("relu", 0.0), ("silu", 0.15), ("gelu", 0.1), ("fatrelu", 0.0), ("golu", 0.2),
                                    ("where(x > 0.1, x**2, 0)", 0.0), ("softshrink", 0.0)])  # fmt: skip
@pytest.mark.parametrize("shape", [(48,), (1, 48), (8, 48), (2, 4, 48), (1, 1, 48), (9, 48), (2, 5, 48)])
def test_gated_block_equals_the_dense_one(way, name, t, shape):
    torch.manual_seed(0)
    act = ogive.get(name)
    dense, x = Gated(act, t), torch.randn(*shape)
    want = copy.deepcopy(dense).double()(x.double())
    sparse = SparseGLU(dense, "w1", "w3", "w2", act, threshold=t)
    got = sparse(x)
    assert got.shape == (*shape[:-1], 40)
    assert far(got, want.numpy()) < 1e-6
    known = torch.randperm(200)[:60]
    h = act(dense.w1(x).double())
    keep = torch.zeros(200).index_fill_(0, known, 1.0)
    want = (torch.where(h.abs() < t, 0.0, h) * keep * dense.w3(x).double()) @ dense.w2.weight.double().t()
    assert far(sparse(x, known), (want + dense.w2.bias.double()).numpy()) < 1e-6


@torch.no_grad()
@pytest.mark.parametrize("bias", [True, False])
def test_plain_block_and_linear_equal_the_dense_ones(way, bias):
    torch.manual_seed(1)
    block = nn.Sequential(nn.Linear(48, 300, bias), nn.GELU(), nn.Linear(300, 40, bias))
    x = torch.randn(4, 48)
    h = functional.gelu(block[0](x).double())
    want = torch.where(h.abs() < 0.1, 0.0, h) @ block[2].weight.double().t()
    want = want + block[2].bias.double() if bias else want
    assert far(SparseFFN(block, "0", "2", "gelu", 0.1)(x), want.numpy()) < 1e-6
    assert far(SparseLinear(block[2], 0.1)(h.float()), want.numpy()) < 1e-6


@torch.no_grad()
def test_bfloat16_sums_in_float32(way):
    torch.manual_seed(2)
    dense = Gated(nn.ReLU()).bfloat16()
    x = torch.randn(3, 48).bfloat16()
    want = copy.deepcopy(dense).double()(x.double()).numpy()
    torch_error = far(dense(x), want)
    got = SparseGLU(dense, "w1", "w3", "w2", "relu")(x)
    assert got.dtype == torch.bfloat16
    # what is left is the rounding of the result, and of the table that makes relu's values float32 here
    assert far(got, want) < (2.5e-3 if way == "compiled" else 2 * torch_error)


@torch.no_grad()
def test_state_dict_moves_both_ways():
    """Same keys and values, also through a file and into the dense block; loading into the sparse one is seen."""
    torch.manual_seed(3)
    dense, other = SwiGLU(), SwiGLU()
    x = torch.randn(2, 16)
    want, want_other = dense(x), other(x)
    sparse = SparseGLU(dense, "gate", "up", "down", "silu")
    assert [(k, v.shape) for k, v in sparse.state_dict().items()] == [
        (k, v.shape) for k, v in other.state_dict().items()
    ]
    file = io.BytesIO()
    torch.save(sparse.state_dict(), file)
    file.seek(0)
    fresh = SwiGLU()
    fresh.load_state_dict(torch.load(file))
    torch.testing.assert_close(fresh(x), want)
    sparse.load_state_dict(other.state_dict())
    torch.testing.assert_close(sparse(x), want_other)
    sparse.load_state_dict(fresh.state_dict(), assign=True)  # new tensors, by rows again
    torch.testing.assert_close(sparse(x), want)
    linear = SparseLinear(fresh.down)
    linear.load_state_dict({"weight": other.down.weight.clone(memory_format=torch.contiguous_format)}, assign=True)
    h = torch.relu(torch.randn(2, 32))
    torch.testing.assert_close(linear(h), other.down(h))
    twin = copy.deepcopy(sparse)
    torch.testing.assert_close(twin(x), want)
    torch.testing.assert_close(sparse.double()(x.double()), want.double(), rtol=1e-5, atol=1e-6)


def test_gradients_take_the_dense_way():
    torch.manual_seed(4)
    dense, x = SwiGLU(), torch.randn(2, 16)
    want = torch.autograd.grad(dense(x).sum(), dense.gate.weight)[0]
    sparse = SparseGLU(dense, "gate", "up", "down", "silu")
    torch.testing.assert_close(torch.autograd.grad(sparse(x).sum(), dense.gate.weight)[0], want)
    x.requires_grad_()
    for p in sparse.parameters():
        p.requires_grad_(False)
    assert sparse(x).requires_grad


@torch.no_grad()
def test_a_hook_and_a_function_mode_still_see_the_block():
    """Sites are found in a sparse block as in the dense one: who watches operations gets the dense way."""
    sparse = SparseGLU(SwiGLU(), "gate", "up", "down", "silu")
    model = nn.Sequential(nn.Linear(16, 16), sparse)
    (site,) = ogive.sites(model, torch.randn(2, 16))
    assert site.label == "silu" and site.gates
    met = []
    hook = sparse.register_forward_hook(lambda *_: met.append(1))
    model(torch.randn(1, 16))
    hook.remove()
    assert met == [1]


@torch.no_grad()
def test_under_other_defaults():
    """A default dtype and device of the user's, inference mode, autocast."""
    torch.manual_seed(5)
    dense, x = Gated(nn.ReLU(), bias=False), torch.randn(2, 48)
    want = dense(x)
    sparse = SparseGLU(dense, "w1", "w3", "w2", "relu")
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            got = sparse(x)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(got, want)
    with torch.inference_mode():
        torch.testing.assert_close(sparse(x), want)
    with torch.autocast("cpu", torch.bfloat16):
        assert sparse(x).dtype == torch.bfloat16  # as the dense block's


@pytest.mark.slow
@torch.no_grad()
def test_a_compiled_model_takes_the_dense_way():
    dense, x = Gated(nn.ReLU()), torch.randn(2, 48)
    want = dense(x)
    sparse = SparseGLU(dense, "w1", "w3", "w2", "relu")
    torch.testing.assert_close(torch.compile(sparse, backend="eager")(x), want)


def test_refusals():
    block = SwiGLU()
    with pytest.raises(InputError, match=r"SparseLinear takes an nn\.Linear, not Conv2d"):
        SparseLinear(nn.Conv2d(1, 1, 1))
    with pytest.raises(InputError, match="SwiGLU has no gate 'wg'"):
        SparseGLU(block, "wg", "up", "down", "silu")
    with pytest.raises(InputError, match="down '1' is ReLU"):
        SparseFFN(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), "0", "1", "relu")
    for wrong in (-0.1, float("nan")):
        with pytest.raises(ParameterError, match="0 or more"):
            SparseGLU(block, "gate", "up", "down", "silu", wrong)
    sparse = SparseGLU(block, "gate", "up", "down", "silu")
    with pytest.raises(InputError, match="indices from 0 to 31"):
        sparse(torch.randn(1, 16), torch.tensor([3, 32]))
    with pytest.raises(RuntimeError):
        SparseLinear(nn.Linear(4, 4))(torch.randn(1, 5))

"""The decode kernels on a GPU: rows whose factor is zero are masked out of the loads.

Two launches for a block: the products h (w_up x) of the neurons that are used, then the sum of rows of the transposed
down projection in slices of neurons, added up by torch, so that a result does not depend on the order of blocks. The
mask of a load is one value a row, and a thread reads 16 bytes of one row: a masked row costs no memory traffic.
Nothing is compacted and nothing waits for the host.
"""

# ruff: noqa: ANN001, ANN201  (device code: what goes in are pointers and numbers)
# mypy: ignore-errors

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

NEURONS, COLUMNS, SLICES = 16, 128, 32  # a block of rows and columns, and the slices of neurons of the second launch


@triton.jit
def products(h, up, bias, x, rows, a, low, n, d,
             LISTED: tl.constexpr, BIASED: tl.constexpr, M: tl.constexpr, K: tl.constexpr):  # fmt: skip
    """a = h (up_r . x + bias_r) where h is not 0 and not below ``low`` in size, else 0."""
    b = tl.program_id(1)
    m = tl.program_id(0) * M + tl.arange(0, M)
    v = tl.load(h + b * n + m, mask=m < n, other=0.0)
    keep = (v != 0.0) & ((tl.abs(v) < low) == 0)
    r = tl.load(rows + m, mask=m < n, other=0) if LISTED else m
    r = r.to(tl.int64)
    total = tl.zeros((M, K), tl.float32)
    for start in range(0, d, K):
        k = start + tl.arange(0, K)
        w = tl.load(up + r[:, None] * d + k[None, :], mask=keep[:, None] & (k < d)[None, :], other=0.0)
        z = tl.load(x + b * d + k, mask=k < d, other=0.0)
        total += w.to(tl.float32) * z[None, :]
    u = tl.sum(total, 1)
    if BIASED:
        u += tl.load(bias + r, mask=keep, other=0.0).to(tl.float32)
    tl.store(a + b * n + m, tl.where(keep, v * u, 0.0), mask=m < n)


@triton.jit
def row_sums(a, down, rows, y, low, n, width, each,
         LISTED: tl.constexpr, M: tl.constexpr, N: tl.constexpr):  # fmt: skip
    """y[slice, b] = sum over the slice's neurons of a_m down_r, a row read where a is not 0 nor below ``low``."""
    b = tl.program_id(2)
    j = tl.program_id(0) * N + tl.arange(0, N)
    total = tl.zeros((M, N), tl.float32)
    first = tl.program_id(1) * each
    for start in range(0, each, M):
        m = first + start + tl.arange(0, M)
        mine = (start + tl.arange(0, M) < each) & (m < n)
        v = tl.load(a + b * n + m, mask=mine, other=0.0)
        keep = (v != 0.0) & ((tl.abs(v) < low) == 0)
        r = tl.load(rows + m, mask=mine, other=0) if LISTED else m
        r = r.to(tl.int64)
        w = tl.load(down + r[:, None] * width + j[None, :], mask=keep[:, None] & (j < width)[None, :], other=0.0)
        total += tl.where(keep, v, 0.0)[:, None] * w.to(tl.float32)
    at = y + (tl.program_id(1) * tl.num_programs(2) + b) * width + j
    tl.store(at, tl.sum(total, 0), mask=j < width)


def summed(
    h: Tensor, down: Tensor, threshold: float = 0.0, up: Tensor | None = None, bias: Tensor | None = None,
    x: Tensor | None = None, rows: Tensor | None = None, start: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """As :func:`ogive.surgery.sparsity.decode_rows.summed`, on CUDA tensors; the result alone."""
    batch, n = h.shape
    width = down.shape[1]
    listed: Any = h if rows is None else rows
    low = float(threshold)
    if up is not None:
        assert x is not None
        a = torch.empty_like(h)
        grid = (-(-n // NEURONS), batch)
        products[grid](h, up, h if bias is None else bias, x, listed, a, low, n, x.shape[1], LISTED=rows is not None,
                       BIASED=bias is not None, M=NEURONS, K=COLUMNS, num_warps=4)  # fmt: skip
        h, low = a, 0.0  # a small product of a large h stays
    each = -(-n // (SLICES * NEURONS)) * NEURONS
    slices = -(-n // each)
    y = torch.empty(slices, batch, width, dtype=torch.float32, device=h.device)
    row_sums[(-(-width // COLUMNS), slices, batch)](h, down, listed, y, low, n, width, each, LISTED=rows is not None,
                                                M=NEURONS, N=COLUMNS, num_warps=4)  # fmt: skip
    return y.sum(0) if start is None else y.sum(0) + start

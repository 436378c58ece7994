"""Products of a few vectors with the rows of a matrix that matter: compiled, or gathered by torch."""

from __future__ import annotations

import ctypes
from functools import lru_cache

import torch
from torch import Tensor

from ogive.kernels import build, native
from ogive.surgery.sparsity.decode_text import NAMES, text

MOST = 8  # vectors at a time; for more a dense product is faster
PARALLEL = 1 << 20  # weights from which the threads of torch share the work

_P, _I, _L, _F = ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_float


class Kernels:
    """The two functions for weights of one dtype."""

    def __init__(self, dtype: torch.dtype) -> None:
        name = NAMES[dtype]
        self.library = build.library(text(dtype), f"decode_{name}", openmp=torch.backends.openmp.is_available())
        self.dots = getattr(self.library, f"og_dots_{name}")
        self.dots.restype, self.dots.argtypes = None, [_P, _P, _L, _P, _P, _L, _L, _P, _I]
        self.sum = getattr(self.library, f"og_sum_{name}")
        self.sum.restype = _L
        self.sum.argtypes = [_P, _P, _P, _P, _L, _P, _F, _P, _L, _L, _L, _P, _P, _P, _P, _I, _P]


@lru_cache(maxsize=4)
def _loaded(dtype: torch.dtype) -> Kernels | None:
    try:
        return Kernels(dtype)
    except build.NoCompiler as problem:
        build.tell_once(str(problem))
        return None


def kernels(dtype: torch.dtype) -> Kernels | None:
    """The compiled kernels; None for another dtype than float32 and bfloat16, without a compiler (said once), or
    while compiled kernels are switched off."""
    return _loaded(dtype) if dtype in NAMES and native.enabled else None


def _address(t: Tensor | None) -> int | None:
    return None if t is None else t.data_ptr()


def _threads(weights: int) -> int:
    return torch.get_num_threads() if weights >= PARALLEL else 1


def _vector(t: Tensor | None) -> Tensor | None:
    return t if t is None or (t.dtype is torch.float32 and t.is_contiguous()) else t.float().contiguous()


def scores(weight: Tensor, bias: Tensor | None, x: Tensor, rows: Tensor | None = None) -> Tensor:
    """``x @ weight[rows].T + bias[rows]`` in float32, the weights as they are.

    Args:
        weight: (neurons, d), rows dense.
        bias: (neurons,) or None.
        x: (batch, d) float32, dense.
        rows: int32 indices of neurons, all in range; None for every one.
    """
    n = weight.shape[0] if rows is None else rows.numel()
    run = kernels(weight.dtype) if x.is_cpu else None
    if run is None:
        if rows is not None:
            weight, bias = weight[rows], None if bias is None else bias[rows]
        return torch.nn.functional.linear(x.to(weight.dtype), weight, bias).float()
    bias = _vector(bias)
    out = torch.empty(x.shape[0], n, dtype=torch.float32, device="cpu")
    run.dots(weight.data_ptr(), _address(rows), n, _address(bias), x.data_ptr(), x.shape[0], x.shape[1], out.data_ptr(),
             _threads(n * x.shape[1]))  # fmt: skip
    return out


def summed(
    h: Tensor, down: Tensor, threshold: float = 0.0, up: Tensor | None = None, bias: Tensor | None = None,
    x: Tensor | None = None, rows: Tensor | None = None, start: Tensor | None = None,
) -> tuple[Tensor, int]:  # fmt: skip
    """``(h * (x @ up.T + bias)) @ down + start`` in float32 over the neurons where h is not 0 and |h| is not below the
    threshold; the rows of the others are not read. Without ``up`` the middle factor is left out.

    Args:
        h: (batch, neurons) float32, dense; of the ``rows`` alone where these are given.
        down: (neurons, width), rows dense: the transposed weight of the projection.
        threshold: 0 or more.
        up: (neurons, d), rows dense.
        bias: (neurons,) of ``up``.
        x: (batch, d) float32, dense.
        rows: int32 indices of neurons, all in range and different; None for every one.
        start: (width,) or None.

    Returns:
        The result (batch, width), and how many neurons some example used.
    """
    run = kernels(down.dtype) if h.is_cpu else None
    if run is None or (up is not None and up.dtype != down.dtype):
        made, count = _gathered(h, down, threshold, up, bias, x, rows)
        return (made if start is None else made + start), count
    batch, n = h.shape
    width = down.shape[1]
    threads = _threads(n * width)
    sums = threads * batch * width
    # sums of each thread, the list of neurons, their factors
    room = torch.empty(sums + 2 * n, dtype=torch.float32, device="cpu")
    at, used = room.data_ptr(), ctypes.c_int(1)
    bias, start = _vector(bias), _vector(start)
    count = run.sum(_address(up), _address(bias), down.data_ptr(), _address(rows), n, h.data_ptr(), threshold,
                    _address(x), batch, 0 if x is None else x.shape[1], width, at, at + 4 * sums, at + 4 * (sums + n),
                    _address(start), threads, ctypes.addressof(used))  # fmt: skip
    y = room[: used.value * batch * width].view(-1, batch, width)
    return (y[0] if used.value == 1 else y.sum(0)), int(count)


def _gathered(
    h: Tensor, down: Tensor, threshold: float, up: Tensor | None, bias: Tensor | None, x: Tensor | None,
    rows: Tensor | None,
) -> tuple[Tensor, int]:  # fmt: skip
    kept = torch.where(h.abs() < threshold, torch.zeros_like(h), h)
    places = (kept != 0).any(0).nonzero()[:, 0]
    count = places.numel()
    # copying rows costs more than reading them: below 80 % zeros all of them are multiplied
    whole = rows is None and 5 * count > h.shape[1]
    if not whole:
        kept = kept[:, places]
        neurons = places if rows is None else rows[places].long()
        down, up = down[neurons], None if up is None else up[neurons]
        bias = None if bias is None else bias[neurons]
    if up is not None:
        assert x is not None
        u = torch.nn.functional.linear(x.to(up.dtype), up, bias).float()
        kept = torch.where(kept == 0, torch.zeros_like(u), kept * u)
    return (kept.to(down.dtype) @ down).float(), count

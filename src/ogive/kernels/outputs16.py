"""The derivative from a 16-bit output and one bit: a table of 131,072 slopes, built from all 65,536 inputs.

Several inputs round to one output. For every output they are split into the two groups whose slopes vary least
(a weighted two-means in one dimension, solved exactly by trying every cut of the sorted slopes), and the bit says
which group an input is in. Where an output comes from two branches of f the groups are the branches; where it
comes from one, the bit halves the rounding error of y. No other assignment of one bit gives a smaller error.

Inputs are weighted as a Student t with three degrees of freedom. Measured on held-out N(0, 0.3^2), N(0, 1) and
N(0, 3^2): at the first two as good as weights made for them; on the third weights of N(0, 1) lose a factor of
16 on mish and 13 on serf, because they know nothing of the left tail; even weights lose a percent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ogive.kernels.eager import Form
from ogive.kernels.fewbit import apart, at, slope_of
from ogive.kernels.packing import keys, values

# What the policy promises: at most this many times the error of rounding the exact slope to bfloat16. float16 is
# held to the same: near a minimum of f the error goes with the square root of y's, so that three more bits of y
# bring gelu from .0021 to .0006, better than bfloat16 can hold f' and 2.4 times what float16 can.
WITHIN = 1.5
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, eq=False)
class Slopes16:
    """``slope[bit << 16 | bits of y]``, and the bit of every input by bit pattern, or None where y alone will do.
    ``error`` and ``rounding`` are relative L2 errors of f' under N(0, 1): of this table, and of f' rounded to
    bfloat16."""

    slope: Tensor
    bit: Tensor | None
    error: float
    rounding: float

    @property
    def bits(self) -> int:
        """Bits kept beside the output."""
        return 0 if self.bit is None else 1

    @property
    def why_not(self) -> str:
        """Empty when the table keeps the promise."""
        return shortfall(self.error, self.rounding)

    @lru_cache(maxsize=4)  # noqa: B019  tables are few, shared, and kept for the life of the process
    def on(self, device: torch.device) -> tuple[Tensor, Tensor | None]:
        """The two tables on a device."""
        return self.slope.to(device), None if self.bit is None else self.bit.to(device)

    def to_dict(self) -> dict[str, Any]:
        """Bits, bytes of the tables and errors, as plain values."""
        size = self.slope.numel() * 4 + (0 if self.bit is None else self.bit.numel())
        return {"bits": self.bits, "table_bytes": size, "error": self.error, "rounding": self.rounding}


def shortfall(error: float, rounding: float) -> str:
    """Why an error is too large, or nothing."""
    if error <= WITHIN * rounding or error < 1e-6:
        return ""
    times = f"{error / rounding:.1f} times that of rounding it" if rounding else "and rounding it would cost nothing"
    return f"its derivative cannot be rebuilt from the output and one bit: relative error {error:.2g}, {times}"


def _weights(x: Array) -> Array:
    """Of each number, for its share of a Student t with three degrees of freedom."""
    width = np.gradient(x)
    share: Array = width / (1 + x * x / 3) ** 2
    return np.maximum(share, 1e-300)


def _normal(x: Array) -> Array:
    """The probability that N(0, 1) rounds to each of the sorted numbers ``x``."""
    middle = torch.from_numpy(0.5 * (x[1:] + x[:-1])) / math.sqrt(2)
    below = np.concatenate([[0.0], 0.5 * torch.erfc(-middle).numpy(), [1.0]])
    above = np.concatenate([[1.0], 0.5 * torch.erfc(middle).numpy(), [0.0]])
    share: Array = np.where(x < 0, np.diff(below), -np.diff(above))  # each tail from its own end, to the last digit
    return share


def _runs(cell: Array) -> tuple[Array, Array]:
    """Of a sorted array: where each run of equal numbers starts, and the run every element is in."""
    new = np.concatenate([[True], cell[1:] != cell[:-1]])
    return np.nonzero(new)[0], np.cumsum(new) - 1


def _split(cell: Array, slope: Array, weight: Array) -> Array:
    """The better half (0 or 1) for every element; elements are sorted by cell, then slope."""
    start, run = _runs(cell)

    def within(v: Array) -> Array:  # running sums that begin anew in every cell
        total = np.cumsum(v)
        return total - np.concatenate([[0.0], total])[start][run]

    w = weight / np.add.reduceat(weight, start)[run]
    s = slope - slope[start][run]
    low_w, low_s = within(w), within(w * s)
    all_s = np.add.reduceat(w * s, start)[run]
    high_w = 1 - low_w
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = low_s**2 / low_w + np.where(high_w > 1e-9, (all_s - low_s) ** 2 / high_w, 0.0)
    best = np.maximum.reduceat(gain, start)
    position = np.arange(len(gain))
    cut = np.minimum.reduceat(np.where(gain >= best[run], position, len(gain)), start)
    half: Array = (position > cut[run]).astype(np.int64)
    return half


def _means(cell: Array, slope: Array, weight: Array, size: int) -> Array:
    """The weighted mean of the slopes in each of ``size`` cells, NaN in empty ones."""
    order = np.argsort(cell, kind="stable")
    cell, slope, weight = cell[order], slope[order], weight[order]
    start, run = _runs(cell)
    base = slope[start]  # sums of differences: the mean of equal slopes is that slope
    w = weight / np.maximum.reduceat(weight, start)[run]
    mean = base + np.add.reduceat(w * (slope - base[run]), start) / np.add.reduceat(w, start)
    full = np.full(size, np.nan)
    full[cell[start]] = mean
    return full


def _filled(table: Array, order: Array) -> Array:
    """Cells that no input reaches, interpolated along the outputs in their order."""
    known = np.isfinite(table[order])
    out = table.copy()
    out[order] = np.interp(np.arange(len(order)), np.nonzero(known)[0], table[order][known])
    return out


def _build(form: Form, numbers: tuple[float, ...], dtype: torch.dtype) -> Slopes16:
    all_x = values(dtype)
    pattern = keys(all_x).numpy().astype(np.int64).argsort()  # bit patterns in the order of their values
    pattern = pattern[torch.isfinite(all_x).numpy()[pattern]]
    narrow = all_x[torch.from_numpy(pattern)]
    x = narrow.double().numpy()
    y = at(form, numbers, narrow, dtype)
    slope = at(slope_of(form), numbers, narrow.double()).numpy()
    usable = np.isfinite(slope) & torch.isfinite(y).numpy()  # beyond, the gradient is lost with the value
    normal = _normal(x)[usable]
    pattern, x, slope = pattern[usable], x[usable], slope[usable].clip(-1e100, 1e100)
    cell = y.view(torch.int16).numpy().astype(np.int64)[usable] & 0xFFFF
    weight = _weights(x)
    outputs = keys(all_x).numpy().astype(np.int64).argsort()
    outputs = outputs[~torch.isnan(all_x).numpy()[outputs]]
    scale = float(np.sqrt((normal * slope**2).sum())) or 1.0

    def rounded(to: torch.dtype) -> Array:
        return torch.from_numpy(slope).to(to).double().numpy().clip(-1e100, 1e100)

    def off(approximate: Array) -> float:
        return float(np.sqrt((normal * (slope - approximate) ** 2).sum())) / scale

    rounding = off(rounded(torch.bfloat16))
    alone = _means(cell, slope, weight, 65536)
    error = off(alone[cell])
    if error <= max(off(rounded(dtype)), 1e-6):  # as good as rounding it, and a bit cheaper
        return Slopes16(torch.from_numpy(_filled(alone, outputs)).float(), None, error, rounding)
    order = np.lexsort((slope, cell))
    half = np.empty(len(cell), dtype=np.int64)
    half[order] = _split(cell[order], slope[order], weight[order])
    both = _means(half * 65536 + cell, slope, weight, 131072)
    low, high = both[:65536], both[65536:]
    high = np.where(np.isnan(high), low, high)  # one group only
    error = off(np.where(half, high[cell], low[cell]))
    bit = np.zeros(65536, dtype=np.uint8)
    bit[pattern] = half
    table = np.concatenate([_filled(low, outputs), _filled(high, outputs)])
    return Slopes16(torch.from_numpy(table).float(), torch.from_numpy(bit), error, rounding)


@lru_cache(maxsize=128)
def slopes16(form: Form, numbers: tuple[float, ...], dtype: torch.dtype) -> Slopes16:
    """The table of ``form`` with its parameters ``numbers``, for bfloat16 or float16; kept once built (0.6 MB)."""
    return apart(_build, form, numbers, dtype)

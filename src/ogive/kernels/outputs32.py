"""The derivative from a float32 output and one bit: f' as a function of y on each branch, in piecewise cubics.

Between two turning or break points f is monotone, and f' is a function of y. It is smooth in y except at the
ends of the branch's range, where it behaves like a power of the distance to the end (a square root at a minimum
of f). So the argument of the cubics is that distance t = |y - end|, and the cells are sixteenths of an octave of
t, found from the bits of t without a logarithm: however f' behaves at an end, on such a cell it is smooth. The
nodes of the cubics are inverted by bisection in float64 when the table is made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ogive.kernels.branches import LARGEST, Branch, bisect, branches, number_at, sides
from ogive.kernels.eager import Form
from ogive.kernels.fewbit import apart, at, slope_of
from ogive.kernels.outputs16 import WITHIN
from ogive.kernels.packing import keys

SMALLEST = 2.0**-40  # the distance below which f' is taken as constant
NODES = 4


@dataclass(frozen=True)
class Segment:
    """Outputs from ``low`` on, on one branch, as distances from ``anchor`` in the direction ``side``."""

    low: float
    anchor: float
    side: float
    reach: float
    branch: Branch


def _segments(branch: Branch) -> list[Segment]:
    low, high = branch.low, branch.high
    if branch.sign == 0:
        return [Segment(low, low, 1.0, 0.0, branch)]
    near, far = low > -1e30, high < 1e30
    if min(-low, high) > 16 and branch.left < 0 < branch.right:
        near = far = False  # asinh: ends so far off that the cells near them say nothing about those near 0
    if near and far:
        half = 0.5 * (high - low)
        return [Segment(low, low, 1.0, half, branch), Segment(low + half, high, -1.0, half, branch)]
    if near:
        return [Segment(low, low, 1.0, high - low, branch)]
    if far:
        return [Segment(low, high, -1.0, high - low, branch)]
    return [Segment(low, 0.0, -1.0, -low, branch), Segment(0.0, 0.0, 1.0, high, branch)]


@dataclass(frozen=True, eq=False)
class Slopes32:
    """Segments of both branches in order; segment j holds outputs from ``low[j]`` on and has ``cells[j]`` cubics
    from ``cubic[base[j]]``. ``cuts`` and ``code`` give the bit of an x, and are empty where y alone will do."""

    start: Tensor
    low: Tensor
    anchor: Tensor
    first: Tensor
    cells: Tensor
    base: Tensor
    cubic: Tensor
    cuts: tuple[float, ...]
    code: Tensor
    error: float
    rounding: float

    @property
    def bits(self) -> int:
        """Bits kept beside the output."""
        return 1 if self.cuts else 0

    @property
    def why_not(self) -> str:
        """Empty when the table keeps the promise: the error of f' rounded to float16, times 1.5."""
        if self.error <= max(WITHIN * self.rounding, 1e-6):
            return ""
        return (f"its derivative cannot be rebuilt from a float32 output: relative error {self.error:.2g}, that of "
                f"rounding it to float16 is {self.rounding:.2g}")  # fmt: skip

    def slope(self, y: Tensor, bit: Tensor | int = 0) -> Tensor:
        """f' for outputs y of the branch ``bit``: the operations of ``ogive_rebuild_f32``, in torch."""
        t = self.on(y.device)
        j = torch.zeros_like(y, dtype=torch.int64)
        for b in range(len(self.start) - 1):
            a, end = int(self.start[b]), int(self.start[b + 1])
            found = torch.searchsorted(t.low[a:end].contiguous(), y, right=True).clamp_min(1) - 1 + a
            j = torch.where(torch.as_tensor(bit, device=y.device) == b, found, j)
        distance = (y.double() - t.anchor[j]).abs().float().view(torch.int32)
        cell = (distance >> 19) - t.first[j]
        u = (distance & 0x7FFFF).float() * 2.0**-19
        u = torch.where(cell < 0, 0.0, torch.where(cell >= t.cells[j], 1.0, u))
        c = t.cubic[t.base[j] + torch.minimum(cell.clamp_min(0), t.cells[j] - 1)]
        found = ((c[..., 3] * u + c[..., 2]) * u + c[..., 1]) * u + c[..., 0]
        return torch.where(torch.isnan(y), y, found)

    @lru_cache(maxsize=4)  # noqa: B019  tables are few, shared, and kept for the life of the process
    def on(self, device: torch.device) -> Slopes32:
        """The tables on a device."""
        names = ("start", "low", "anchor", "first", "cells", "base", "cubic", "code")
        return replace(self, **{k: getattr(self, k).to(device) for k in names})

    def to_dict(self) -> dict[str, Any]:
        """Bits, bytes of the tables and errors, as plain values."""
        return {"bits": self.bits, "table_bytes": self.cubic.numel() * 4, "error": self.error,
                "rounding": self.rounding}  # fmt: skip


def _cubics(form: Form, numbers: tuple[float, ...], segment: Segment) -> tuple[int, Tensor]:
    """The first cell of a segment and a row of four coefficients for each of its cells."""
    if segment.reach == 0.0:
        return 0, torch.zeros(1, 4)
    end = torch.tensor([SMALLEST, max(SMALLEST, min(segment.reach, LARGEST))]).view(torch.int32) >> 19
    cell = torch.arange(int(end[0]), int(end[1]) + 1, dtype=torch.int32)
    edge = (cell << 19).view(torch.float32).double()
    width = torch.exp2(torch.floor(torch.log2(edge))) / 16
    node = 0.5 - 0.5 * torch.cos((torch.arange(NODES, dtype=torch.float64) + 0.5) * math.pi / NODES)
    y = segment.anchor + segment.side * (edge[:, None] + width[:, None] * node)
    b = segment.branch
    y = y.clamp(b.low, b.high).flatten()
    left, right = torch.full_like(y, b.left), torch.full_like(y, b.right)
    x = bisect(left, right, lambda v: (at(form, numbers, v) < y) == (b.sign > 0))
    slope = at(slope_of(form), numbers, x).view(-1, NODES).clamp(-1e30, 1e30)
    powers = node[:, None] ** torch.arange(NODES, dtype=torch.float64)
    return int(end[0]), torch.linalg.solve(powers, slope.T).T.float().contiguous()


def _build(form: Form, numbers: tuple[float, ...]) -> Slopes32 | str:
    found = branches(form, numbers)
    if isinstance(found, str):
        return found
    bits = sides(found)
    if bits is None:
        return "an output comes from three branches or more, and one bit tells only two apart"
    groups = [[s for b, own in zip(found, bits) if own == side for s in _segments(b)] for side in (0, 1)]
    groups = [sorted(g, key=lambda s: (s.low, s.reach > 0)) for g in groups if g]
    segments = [s for g in groups for s in g]
    made = [_cubics(form, numbers, s) for s in segments]
    sizes = [len(c) for _, c in made]
    low = torch.tensor([s.low for s in segments], dtype=torch.float64)
    # a segment owns the float32 numbers from its low end on, a constant piece that number itself
    near = low.float()
    near = torch.where(near.double() < low, torch.nextafter(near, torch.tensor(math.inf)), near)
    flat = torch.tensor([s.reach == 0.0 for s in segments])
    for k in range(1, len(near)):
        if flat[k - 1] and not flat[k] and near[k] <= near[k - 1]:
            near[k] = torch.nextafter(near[k - 1], torch.tensor(math.inf))
    changes = [k for k in range(1, len(bits)) if bits[k] != bits[k - 1]]
    at_change = torch.tensor([found[k].left for k in changes], dtype=torch.float64)
    cuts = tuple(number_at(keys(at_change) - 1).tolist())  # x > cut says x >= the first of the next branch
    code = torch.tensor([bits[0], *(bits[k] for k in changes)] + [0] * 256, dtype=torch.uint8)[:256]
    table = Slopes32(
        torch.tensor([0, *(sum(map(len, groups[: k + 1])) for k in range(len(groups)))], dtype=torch.int32),
        near, torch.tensor([s.anchor for s in segments], dtype=torch.float64),
        torch.tensor([first for first, _ in made], dtype=torch.int32), torch.tensor(sizes, dtype=torch.int32),
        torch.tensor([sum(sizes[:k]) for k in range(len(sizes))], dtype=torch.int32),
        torch.cat([c for _, c in made]), cuts, code, 0.0, 0.0,
    )  # fmt: skip
    return _measured(form, numbers, table)


def _measured(form: Form, numbers: tuple[float, ...], table: Slopes32) -> Slopes32:
    """The table with its error on 65,536 inputs of N(0, 1)."""
    x = torch.randn(65536, generator=torch.Generator().manual_seed(1), dtype=torch.float32)
    exact = at(slope_of(form), numbers, x.double())
    passed = torch.searchsorted(torch.tensor(table.cuts, dtype=torch.float64), x.double())
    rebuilt = table.slope(at(form, numbers, x, torch.float32), table.code[passed] if table.cuts else 0).double()
    size = float(exact.norm()) or 1.0
    error, rounding = (float((exact - other).norm()) / size for other in (rebuilt, exact.half().double()))
    return replace(table, error=error, rounding=rounding)


@lru_cache(maxsize=128)
def slopes32(form: Form, numbers: tuple[float, ...]) -> Slopes32 | str:
    """The table of ``form`` with its parameters ``numbers``, or why there is none; kept once built."""
    return apart(_build, form, numbers)

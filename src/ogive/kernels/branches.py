"""The monotone branches of a formula: between two turning or break points an output determines its input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ogive.kernels.eager import Form
from ogive.kernels.fewbit import at, kinks, slope_of
from ogive.kernels.packing import keys, values

LARGEST = float(torch.finfo(torch.float32).max)
MOST = 24  # branches: beyond, a table is larger than what it saves
# f' counts as zero below this part of its size near 0: gelu's left tail, which no gradient notices
NOTHING = 1e-12


@dataclass(frozen=True)
class Branch:
    """An interval of x on which f' has one sign (0: f is constant), and the values of f at its ends."""

    left: float
    right: float
    sign: int
    start: float
    end: float

    @property
    def low(self) -> float:
        return min(self.start, self.end)

    @property
    def high(self) -> float:
        return max(self.start, self.end)


def number_at(key: Tensor) -> Tensor:
    """The float64 numbers with these :func:`~ogive.kernels.packing.keys`."""
    return (key ^ ((key >> 63) & 0x7FFFFFFFFFFFFFFF)).view(torch.float64)


def bisect(left: Tensor, right: Tensor, go_right: Callable[[Tensor], Tensor]) -> Tensor:
    """The least double in (left, right] where ``go_right`` is false."""
    lo, hi = keys(left), keys(right)
    for _ in range(64):
        mid = (lo >> 1) + (hi >> 1) + (lo & hi & 1)
        right_of = go_right(number_at(mid))
        lo, hi = torch.where(right_of, mid, lo), torch.where(right_of, hi, mid)
    return number_at(hi)


def branches(form: Form, numbers: tuple[float, ...]) -> list[Branch] | str:
    """The monotone branches of a formula from left to right, or why there are none."""
    steep = slope_of(form)
    x = values(torch.bfloat16)
    x = x[torch.isfinite(x)].double().unique()
    slope = at(steep, numbers, x)
    wild = ~(slope.abs() < 1e30)
    if bool(wild.any()):  # exp: what lies between the last such inputs on either side of 0
        left, right = x[wild & (x < 0)], x[wild & (x >= 0)]
        tame = torch.ones_like(wild)
        if len(left):
            tame &= x > left[-1]
        if len(right):
            tame &= x < right[0]
        x, slope = x[tame], slope[tame]
        if not len(x) or float(x[-1]) < 4 or float(x[0]) > -4:
            return "its derivative is not finite near 0"
    floor = NOTHING * float(slope[x.abs() <= 4].abs().max())

    def sign(v: Tensor) -> Tensor:
        return torch.where(v.abs() <= floor, torch.zeros_like(v), v.sign())

    signs = sign(slope)
    change = (signs[1:] != signs[:-1]).nonzero().flatten()
    if len(change) > MOST:
        return f"it turns {len(change)} times"
    before = signs[change]
    turns = bisect(x[change], x[change + 1], lambda v: sign(at(steep, numbers, v)) == before)
    bounds = [float(x[0])]
    for bound in sorted([*turns.tolist(), *kinks(form, numbers)]):
        if bound - bounds[-1] > 1e-6 * abs(bound) + 1e-30 and bound < float(x[-1]):
            bounds.append(bound)
    bounds.append(float(x[-1]))
    if len(bounds) > MOST:
        return f"it has {len(bounds) - 1} branches"
    left, right = torch.tensor(bounds[:-1], dtype=torch.float64), torch.tensor(bounds[1:], dtype=torch.float64)
    inner_left = left + left.abs().clamp_min(1e-290) * 1e-15
    inner_right = right - right.abs().clamp_min(1e-290) * 1e-15
    middle = number_at((keys(inner_left) >> 1) + (keys(inner_right) >> 1))
    probe = torch.stack([0.5 * (left + right), middle, 0.25 * left + 0.75 * right])
    kinds = sign(at(steep, numbers, probe.flatten()).view(3, -1))
    kind = torch.where(kinds[0] != 0, kinds[0], torch.where(kinds[1] != 0, kinds[1], kinds[2]))
    starts, ends = at(form, numbers, inner_left), at(form, numbers, inner_right)
    return [Branch(a, b, int(k), s, e) for a, b, k, s, e in zip(
        bounds, bounds[1:], kind.tolist(), starts.clamp(-LARGEST, LARGEST).tolist(),
        ends.clamp(-LARGEST, LARGEST).tolist())]  # fmt: skip


def _apart(group: Sequence[Branch]) -> bool:
    """Whether no two branches share more than an end of their ranges."""
    found = sorted(group, key=lambda b: (b.low, b.high))
    return all(b.low >= a.high - 4e-7 * max(abs(a.high), abs(b.low), 1e-6) for a, b in pairwise(found))


def sides(found: Sequence[Branch]) -> list[int] | None:
    """The bit of each branch such that branches of one bit do not overlap: all 0 if possible, else by direction
    (a constant piece goes with the neighbour where it fits); None if neither works."""
    if _apart(found):
        return [0] * len(found)
    rising = [None if b.sign == 0 else int(b.sign > 0) for b in found]
    for step in (-1, 1):
        bits = list(rising)
        order = range(len(bits)) if step < 0 else range(len(bits) - 1, -1, -1)
        for k in order:
            if bits[k] is None and 0 <= k + step < len(bits):
                bits[k] = bits[k + step]
        for k in order:  # at the edge there is the other neighbour only
            if bits[k] is None:
                bits[k] = next((b for b in rising if b is not None), 0)
        if all(_apart([b for b, own in zip(found, bits) if own == side]) for side in (0, 1)):
            return [b or 0 for b in bits]
    return None

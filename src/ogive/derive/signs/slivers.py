"""What happens inside a sliver a few doubles wide, settled in twice double precision."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ogive.derive.solving.bracketed import double_at, middle, order_of
from ogive.derive.solving.double_double import Wide
from ogive.derive.solving.precise_formula import Sharp

FEW = 4096  # doubles: what a sliver is looked at one by one


def one(x: float) -> Tensor:
    """A number as a tensor."""
    return torch.tensor([x], dtype=torch.float64)


def greatest(x: Tensor, y: Wide) -> float:
    """The x with the greatest y."""
    rest = torch.where(y.hi == y.hi.max(), y.lo, torch.full_like(y.lo, -math.inf))
    return float(x[rest == rest.max()].median())


def gap(a: Wide, b: Wide) -> float:
    """``|b - a|``."""
    return abs(float((b - a).hi))


def jump(p: float, q: float, sharp: Sharp) -> tuple[float, float] | None:
    """The neighbouring doubles between which f jumps in [p, q], None where it is continuous."""
    a, b = one(p), one(q)
    fa, fb = sharp.wide(a), sharp.wide(b)
    while int(order_of(b) - order_of(a)) > 1:
        m = middle(a, b)
        fm = sharp.wide(m)
        if gap(fa, fm) >= gap(fm, fb):
            b, fb = m, fm
        else:
            a, fa = m, fm
    # A continuous function moves by its slope from one double to the next; a root at its end by no more than itself.
    slopes = torch.abs(sharp.slope(torch.cat([a, b])))
    smooth = 8.0 * float(torch.nan_to_num(slopes).sum()) * float(b - a)
    # the smallest powers of a root are still small: (5e-324)**0.1 is 5e-33
    size = float(torch.abs(fa.hi) + torch.abs(fb.hi))
    return (float(a), float(b)) if gap(fa, fb) > smooth + 1e-24 * (1.0 + size) else None


def end_of_flat(p: float, q: float, sharp: Sharp, left: bool) -> float:
    """The last double of [p, q] with the value that f has at its flat end."""
    a, b = (one(p), one(q)) if left else (one(q), one(p))
    level = sharp.wide(a)
    while abs(int(order_of(b) - order_of(a))) > 1:
        m = middle(torch.minimum(a, b), torch.maximum(a, b))
        if gap(level, sharp.wide(m)) <= 1e-28 * abs(float(level.hi)):
            a = m
        else:
            b = m
    same = gap(level, sharp.wide(b)) <= 1e-28 * abs(float(level.hi))
    return float(b if same else a)


def turn_in(p: float, q: float, sharp: Sharp, top: bool) -> float:
    """The double of [p, q] with the greatest value, or the least."""
    sign = 1.0 if top else -1.0
    a, b = one(p), one(q)
    while int(order_of(b) - order_of(a)) > FEW:
        m = middle(a, b)
        if sign * float(sharp.slope(m)) > 0:
            a = m
        else:
            b = m
    start = int(order_of(a))
    x = double_at(torch.arange(start, int(order_of(b)) + 1, dtype=torch.int64))
    y = sharp.wide(x)
    return greatest(x, Wide(sign * y.hi, sign * y.lo))

"""Images and crests where no sign of f' or f'' is proved: intervals are cut and their parts enclosed.

An activation that oscillates ever faster or ever wider (x cos x) has stretches whose rows cannot be counted. There a
part [p, q] is enclosed twice, by f on it and by its mean value form f(m) + f'([p, q]) (x - m), both in outward rounded
interval arithmetic, and parts that could hold the extreme are cut again.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ogive import intervals as iv
from ogive.derive.signs.enclosure import Enclosure

PARTS = 64  # of an interval that a line is laid over
ROUNDS = 12  # of cutting for an image
MOST = 200_000  # parts at a time: beyond, the image is as wide as it is by then
CLOSE = 1e-12  # an image this much too wide, relative to its size, is left

Array = NDArray[np.float64]


def enclosed(code: Enclosure, lo: Array, hi: Array) -> tuple[Array, Array]:
    """Least and greatest value that f can take on each [lo, hi]."""
    found = code(iv.box(lo, hi), (0, 1))
    value, rate = found.boxes
    middle = np.clip(0.5 * lo + 0.5 * hi, lo, hi)
    with np.errstate(all="ignore"):
        step = iv.sub(iv.box(lo, hi), iv.box(middle, middle))
        mean = iv.add(code(iv.box(middle, middle), (0,)).boxes[0], iv.mul(rate, step))
    smooth = ~(found.broken | found.torn)
    low = np.where(smooth, np.fmax(value[0], mean[0]), value[0])
    high = np.where(smooth, np.fmin(value[1], mean[1]), value[1])
    return low, high


def parts(code: Enclosure, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every ``[p, q]`` cut into equal parts: their ends, one more than parts, and what encloses f on each."""
    share = torch.linspace(0.0, 1.0, PARTS + 1, dtype=torch.float64)
    ends = p[:, None] * (1.0 - share) + q[:, None] * share
    ends = torch.minimum(torch.maximum(ends, p[:, None]), q[:, None])
    low, high = enclosed(code, ends[:, :-1].reshape(-1).cpu().numpy(), ends[:, 1:].reshape(-1).cpu().numpy())
    shape = (len(p), PARTS)
    least, most = (torch.from_numpy(np.array(v)).to(p.device).reshape(shape) for v in (low, high))
    return ends, least, most


def greatest(code: Enclosure, sign: int, p: Tensor, q: Tensor) -> Tensor:
    """An upper bound of ``sign * f`` on each ``[p, q]``, by branch and bound."""
    lo, hi = p.cpu().numpy().copy(), q.cpu().numpy().copy()
    owner = np.arange(len(lo))
    seen = np.full(len(lo), -np.inf)  # a value that is surely reached
    bound = np.full(len(lo), -np.inf)  # what the parts that were put aside can hold
    cut = 8
    for turn in range(ROUNDS):
        share = np.linspace(0.0, 1.0, cut + 1)
        with np.errstate(over="ignore"):
            edges = np.clip(lo[:, None] * (1.0 - share) + hi[:, None] * share, lo[:, None], hi[:, None])
        lo, hi, owner = edges[:, :-1].reshape(-1), edges[:, 1:].reshape(-1), np.repeat(owner, cut)
        low, high = enclosed(code, lo, hi)
        top = high if sign == 1 else -low
        middle = np.clip(0.5 * lo + 0.5 * hi, lo, hi)
        at = code(iv.box(middle, middle), (0,)).boxes[0]
        np.maximum.at(seen, owner, at[0] if sign == 1 else -at[1])
        with np.errstate(invalid="ignore"):
            open_ = top > seen[owner] + CLOSE * np.maximum(np.abs(seen[owner]), 1e-300)
        last = turn == ROUNDS - 1 or open_.sum() * 4 > MOST
        aside = np.ones_like(open_) if last else ~open_
        np.maximum.at(bound, owner[aside], top[aside])
        if last or not open_.any():
            break
        lo, hi, owner, cut = lo[open_], hi[open_], owner[open_], 4
    return torch.from_numpy(bound).to(p.device)

"""What rounding can cost, so that bounds computed in floating point hold in real arithmetic.

A sum of n products, in any order and with or without fused multiplications, differs from the exact one by at most
gamma(n) sum |a_i b_i| with gamma(n) = n u/(1 - n u) and u half the spacing of numbers at 1 (Higham, Accuracy and
Stability of Numerical Algorithms, 2nd edition, section 3.1). That is true of every matrix product that multiplies and
adds; it is not true of Strassen's or Winograd's schemes nor of products in TF32, which torch uses on request only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ogive.verify.network import Box


def gamma(terms: float, dtype: torch.dtype) -> float:
    """A bound on the relative error of ``terms`` roundings, itself rounded up.

    >>> gamma(3, torch.float64) > 3 * 2**-53
    True
    """
    share = (terms + 1.0) * torch.finfo(dtype).eps / 2.0
    return share / (1.0 - share) if share < 0.5 else float("inf")


def least(dtype: torch.dtype) -> float:
    """What underflow may add or take: far more than any sum here can lose to it."""
    return torch.finfo(dtype).tiny * 2.0**20


def middle(box: Box) -> tuple[Tensor, Tensor]:
    """Centre c and radius r with [lo, hi] inside [c - r, c + r] in real arithmetic."""
    centre = 0.5 * box.lo + 0.5 * box.hi
    radius = torch.maximum(box.hi - centre, centre - box.lo)
    return centre, radius * (1.0 + 2.0 * torch.finfo(radius.dtype).eps) + least(radius.dtype)


def outward(lo: Tensor, hi: Tensor, size: Tensor, terms: float) -> Box:
    """A box widened by what ``terms`` roundings of numbers as large as ``size`` can amount to."""
    slack = gamma(terms, lo.dtype) * size + least(lo.dtype)
    return Box(lo - slack, hi + slack)

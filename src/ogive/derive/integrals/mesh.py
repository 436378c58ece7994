"""The fewest panels on which a function times the root of the normal density is a polynomial to quadrature accuracy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ogive.derive.integrals.panels import NODES, REACH, rule
from ogive.errors import OgiveError

# The size of the last two of 20 Legendre coefficients against the norm. A product of two functions resolved to
# this is integrated by 20 Gauss nodes to its square: the rule is exact up to degree 39.
RESOLVED = 1e-8
NEGLIGIBLE = 1e-15
# Share of E f^2 that may lie outside: with it goes at most its root, by Cauchy and Schwarz, of E f(u) f(v).
OUTSIDE = 1e-28
_GRID = (-REACH, -30.0, -22.0, -16.0, -11.0, -6.0, -2.0, 2.0, 6.0, 11.0, 16.0, 22.0, 30.0, REACH)


class Mesh(NamedTuple):
    """Edges in units of std, ascending; which of them are break points; and sqrt(E f^2)."""

    edges: Tensor
    breaks: Tensor
    norm: float


@lru_cache(maxsize=1)
def legendre() -> Tensor:
    """From values at the Gauss nodes to coefficients in Legendre polynomials: (nodes, coefficients)."""
    x, w = np.polynomial.legendre.leggauss(NODES)
    degree = np.arange(NODES)
    return torch.from_numpy(w[:, None] * np.polynomial.legendre.legvander(x, NODES - 1) * (2 * degree + 1) / 2)


def mesh(function: Callable[[Tensor], Tensor], cuts: Iterable[float], mean: float, std: float) -> Mesh:
    """Panels that resolve ``function(mean + std z) phi(z)^(1/2)``, as wide as they can be.

    ``cuts`` are break points x. Raises :class:`OgiveError` where the function is not a number.
    """
    breaks = sorted({z for z in ((c - mean) / std for c in cuts) if abs(z) < REACH})

    def root(z: Tensor) -> Tensor:
        y = function(mean + std * z) * ((2.0 * math.pi) ** -0.25 * torch.exp(-0.25 * z * z))
        if not bool(torch.isfinite(y).all()):
            raise OgiveError("the expectation is undefined: the function is not finite everywhere")
        return y

    edges = torch.tensor(sorted({*_GRID, *breaks}), dtype=torch.float64)
    edges, y = _refined(root, edges)
    mass = ((y * y) @ rule()[1]) * edges.diff()
    total = float(mass.sum())
    inside = (mass.cumsum(0) > OUTSIDE * total) & (mass.flip(0).cumsum(0).flip(0) > OUTSIDE * total)
    if bool(inside.any()):
        kept = inside.nonzero().flatten()
        first, last = int(kept[0]), int(kept[-1]) + 1
        edges, y = edges[first : last + 1], y[first:last]
    edges = _coarsened(root, edges, y, math.sqrt(total))
    return Mesh(edges, torch.isin(edges, torch.tensor(breaks, dtype=torch.float64)), math.sqrt(total))


def _on(root: Callable[[Tensor], Tensor], lo: Tensor, hi: Tensor) -> Tensor:
    return root(torch.addcmul(lo[:, None], (hi - lo)[:, None], rule()[0]))


def shortfall(y: Tensor, width: Tensor) -> Tensor:
    """About the error of the Gauss rule for the values ``y`` at its nodes."""
    return _ends(y)[1] * width


def _ends(y: Tensor) -> tuple[Tensor, Tensor]:
    """The size of the highest coefficients and, extrapolated, of those at degree 40, the first the rule does not see.

    From degree 10 to 20 they fell by a ratio; two more such steps lead to 40 (an algebraic tail falls less: to the
    third of 80^-p for 40^-p, which is what panels at a singular end are held to).
    """
    a = (y @ _marks()).abs()
    middle, tail = a[..., :2].amax(-1), a[..., 2:].amax(-1)
    return tail, tail * (tail / middle.clamp_min(1e-300)).clamp_max(1.0) ** 2


@lru_cache(maxsize=1)
def _marks() -> Tensor:
    return legendre()[:, [NODES // 2 - 2, NODES // 2 - 1, NODES - 2, NODES - 1]]


def _excess(y: Tensor, width: Tensor, norm: float) -> Tensor:
    """Above 1 where a panel is not resolved."""
    tail, beyond = _ends(y)
    return torch.maximum(tail / RESOLVED, beyond / NEGLIGIBLE) * width.sqrt() / max(norm, 1e-300)


def _refined(root: Callable[[Tensor], Tensor], edges: Tensor) -> tuple[Tensor, Tensor]:
    y = _on(root, edges[:-1], edges[1:])
    for _ in range(50):
        width = edges.diff()
        norm = float((((y * y) @ rule()[1]) * width).sum().sqrt())
        mid = 0.5 * (edges[:-1] + edges[1:])
        split = (_excess(y, width, norm) > 1.0) & (mid > edges[:-1]) & (mid < edges[1:])
        if not bool(split.any()) or len(edges) > 4000:
            break
        lo, hi = edges[:-1], edges[1:]
        new_lo = torch.cat([lo[~split], lo[split], mid[split]])
        new_y = torch.cat(
            [y[~split], _on(root, torch.cat([lo[split], mid[split]]), torch.cat([mid[split], hi[split]]))]
        )
        new_lo, order = new_lo.sort()
        edges, y = torch.cat([new_lo, edges[-1:]]), new_y[order]
    return edges, y


def _coarsened(root: Callable[[Tensor], Tensor], edges: Tensor, y: Tensor, norm: float) -> Tensor:
    """Neighbours merged while the polynomial through the merged panel's nodes also meets both old sets of values."""
    x = rule()[0]
    start, idle = 0, 0
    while idle < 2 and len(edges) > 2:
        lo, mid, hi = edges[start:-2:2], edges[start + 1 : -1 : 2], edges[start + 2 :: 2]
        if not len(lo):
            start, idle = 1 - start, idle + 1
            continue
        merged = _on(root, lo, hi)
        width = (hi - lo)[:, None]
        # Where the nodes of both parts lie in [-1, 1] of the merged panel.
        old = torch.cat([x * (mid - lo)[:, None] / width, ((mid - lo)[:, None] + x * (hi - mid)[:, None]) / width], 1)
        there = _vander(2.0 * old - 1.0)
        fitted = (there @ (merged @ legendre())[:, :, None])[..., 0]
        known = torch.cat([y[start:-1:2][: len(lo)], y[start + 1 :: 2][: len(lo)]], 1)
        off = (fitted - known).abs().amax(1) * width[:, 0].sqrt()
        good = (off <= RESOLVED * norm) & (_excess(merged, width[:, 0], norm) <= 1.0)
        if not bool(good.any()):
            start, idle = 1 - start, idle + 1
            continue
        gone = start + 1 + 2 * good.nonzero().flatten()
        y = y.clone()
        y[gone - 1] = merged[good]
        stay = torch.ones(len(edges), dtype=torch.bool)
        stay[gone] = False
        edges, y = edges[stay], y[stay[:-1]]
        start, idle = 1 - start, 0
    return edges


def _vander(t: Tensor) -> Tensor:
    """Legendre polynomials 0 ... NODES - 1 at ``t``, along a new last dimension."""
    p = [torch.ones_like(t), t]
    for k in range(1, NODES - 1):
        p.append(((2 * k + 1) * t * p[k] - k * p[k - 1]) / (k + 1))
    return torch.stack(p, -1)

"""Adaptive Gauss-Legendre panels over the line, for many integrands and many normal distributions in one go.

The line is cut at the break points, every panel is integrated twice (whole, and as two parts), the difference is the
panel's error, and panels whose error matters are split until the sum is small enough. All panels of a round are one
tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ogive.errors import OgiveError

# exp(-z^2/2) underflows to 0 in float64 at |z| = 38.6. What lies beyond contributes less than 1e-16 of the
# whole for every integrand below exp(30 |z|): its peak at z = 30 is e^450, its value at 39 is e^409.5.
REACH = 39.0
NODES = 20
TOLERANCE = 1e-14
BUDGET = 20_000

# Narrow at the centre, where the mass and most features are; wide where only fast growth has any weight.
_EDGES = (0.0, 0.75, 1.5, 2.5, 4.0, 6.0, 9.0, 14.0, 22.0, REACH)
_GRID = tuple(sorted({*_EDGES, *(-e for e in _EDGES)}))
# A panel that still splits at a break point after so many rounds has a singular end, |x - b|^p. There the
# nodes are b + width t^4, under which |x|^-1/2 becomes a polynomial, and the split is at t = 1/2.
_PATIENCE = 6
_GRADE = 4
# What is smaller is not worked out: 32 deviations away, where float64 runs out of exponents, no splitting settles it.
NOTHING = 1e-200
# ∫_0^h |x|^p over that over [0, h/16] is 16^(p + 1): nearer to 1 than this, three times over, is p <= -1.
_STALL = 0.97
# Splitting takes the error of a resolved panel down by powers of ten, and leaves the error at a singular point in one
# part. Where both parts keep a tenth of it, and it is as small as this share of the panel, it is the rounding of the
# function itself (1 - 0.995 of a soft threshold, sin of 9000), which no splitting removes.
_KEPT = 0.1
_ROUGH = 1e-11

# (x, z, owner) with x and z of shape (panels, nodes) and owner of shape (panels,): integrands including the
# density, (integrands, panels, nodes). x is mean + std z, but exact in its distance from a break point.
Integrand = Callable[[Tensor, Tensor, Tensor], Tensor]


class Sums(NamedTuple):
    """Integrals (integrands, owners), estimates of their absolute errors, and the integrals of magnitudes."""

    value: Tensor
    error: Tensor
    mass: Tensor


@lru_cache(maxsize=1)
def rule() -> tuple[Tensor, Tensor]:
    """Gauss-Legendre nodes and weights on [0, 1]."""
    x, w = np.polynomial.legendre.leggauss(NODES)
    return torch.from_numpy(0.5 * (x + 1.0)), torch.from_numpy(0.5 * w)


def root_density(z: Tensor, power: int) -> Tensor:
    """The ``power``-th root of the standard normal density."""
    return (2.0 * math.pi) ** (-0.5 / power) * torch.exp(z * z * (-0.5 / power))


def integrate(
    integrand: Integrand,
    cuts: list[list[float]],
    mean: Tensor,
    std: Tensor,
    tol: float = TOLERANCE,
    budget: int = BUDGET,
    group: Tensor | None = None,
) -> Sums:
    """All integrals over the line of ``integrand`` for all normal distributions (``mean``, ``std``).

    ``cuts`` are lists of break points x; ``group`` says which list belongs to which distribution (the first to
    all when left out). ``tol`` is relative to the integral of the magnitude; ``budget`` is panels per distribution.
    A pole that cannot be integrated gives inf with an infinite error. Raises :class:`OgiveError` for an integrand
    that is NaN somewhere or has not died out at the ends of the reach.
    """
    check_tails(integrand, mean, std)
    return adapt(integrand, cuts, mean, std, tol, budget, group, floor=torch.full_like(mean, NOTHING))


def adapt(
    integrand: Integrand,
    cuts: list[list[float]],
    mean: Tensor,
    std: Tensor,
    tol: float = TOLERANCE,
    budget: int = BUDGET,
    group: Tensor | None = None,
    grid: Sequence[float] = _GRID,
    floor: Tensor | None = None,
) -> Sums:
    """:func:`integrate` without the look at the ends, over the ``grid`` of z it is given; ``tol`` is relative to at
    least ``floor``, one per distribution."""
    least = torch.zeros_like(mean) if floor is None else floor
    return _adapt(integrand, _start(cuts, mean, std, group, grid), mean, std, tol, budget, least)


def check_tails(integrand: Integrand, mean: Tensor, std: Tensor) -> None:
    """An integrand that has not died out at the ends of the reach belongs to an infinite expectation."""
    ends = torch.linspace(0.9 * REACH, 0.98 * REACH, 8, dtype=torch.float64)
    core = torch.linspace(-30.0, 30.0, 121, dtype=torch.float64) + 0.0123
    z = torch.cat([-ends, ends, core]).expand(len(mean), -1)
    y = integrand(torch.addcmul(mean[:, None], std[:, None], z), z, torch.arange(len(mean))).abs()
    if bool(torch.isnan(y[..., :16]).any()):
        raise OgiveError("the expectation is undefined: the function is not a number on part of the line")
    # relu of a mean 34 deviations below 0 lives in the tail alone, and falls there: only the outermost ends count
    outer, inside = y[..., [7, 15]].amax(-1), y[..., [*range(7), *range(8, 15), *range(16, y.shape[-1])]]
    top = inside.nan_to_num(0.0, posinf=0.0).amax(-1)
    if bool((outer > 1e-13 * top.clamp_min(1e-290)).any()):
        raise OgiveError("the expectation is infinite or beyond float64: the function outgrows the normal density")


class _Panels(NamedTuple):
    """From ``lo`` to ``hi`` in units of std, measured from ``base``, where x is ``origin``, of the distribution
    ``owner``; ``at_lo`` and ``at_hi`` are the break point x at that end or NaN; ``grade`` is -1 or +1 where the end lo
    or hi is a singular break point, which is then the base; ``stalled`` counts the rounds it has not shrunk."""

    lo: Tensor
    hi: Tensor
    owner: Tensor
    at_lo: Tensor
    at_hi: Tensor
    grade: Tensor
    stalled: Tensor
    base: Tensor
    origin: Tensor

    def where(self, mask: Tensor) -> _Panels:
        return _Panels(*(t[mask] for t in self))


def _start(cuts: list[list[float]], mean: Tensor, std: Tensor, group: Tensor | None, grid: Sequence[float]) -> _Panels:
    base = torch.tensor(grid, dtype=torch.float64)
    parts = []
    for g, places in enumerate(cuts):
        who = torch.arange(len(mean)) if group is None else (group == g).nonzero().flatten()
        x = torch.tensor(sorted(set(places)), dtype=torch.float64)
        z = torch.cat([base.expand(len(who), -1), (x - mean[who, None]) / std[who, None]], 1)
        at = torch.cat([torch.full_like(base, math.nan).expand(len(who), -1), x.expand(len(who), -1)], 1)
        z, order = z.clamp(-REACH, REACH).sort(dim=1, stable=True)
        at = at.gather(1, order)
        # Of an edge of the grid that is a break point too, both twins know it.
        twin = z[:, 1:] == z[:, :-1]
        at[:, :-1] = torch.where(twin & torch.isnan(at[:, :-1]), at[:, 1:], at[:, :-1])
        real = z[:, 1:] > z[:, :-1]
        owner = who[:, None].expand_as(real)[real]
        parts.append((z[:, :-1][real], z[:, 1:][real], owner, at[:, :-1][real], at[:, 1:][real]))
        if group is None:
            break
    lo, hi, owner, at_lo, at_hi = (torch.cat(p) for p in zip(*parts))
    none = torch.zeros(len(lo), dtype=torch.int64)
    return _Panels(lo, hi, owner, at_lo, at_hi, none, none, torch.zeros_like(lo), mean[owner])


def _sample(integrand: Integrand, p: _Panels, std: Tensor, graded: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The integrals over each panel of the integrands and of their magnitudes, and what of the latter float64 leaves
    in doubt: x = b + offset is rounded, by up to all of its distance from a singular break point b other than 0."""
    t, w = rule()
    width, sigma, origin = p.hi - p.lo, std[p.owner][:, None], p.origin[:, None]
    if not graded:
        z = torch.addcmul(p.lo[:, None], width[:, None], t)
        y = integrand(torch.addcmul(origin, sigma, z), z, p.owner)
        return (y @ w) * width, (y.abs() @ w) * width, torch.zeros(())
    steep = (p.grade != 0)[:, None]
    offset = torch.where(steep, t**_GRADE, t) * width[:, None]
    weight = torch.where(steep, w * _GRADE * t ** (_GRADE - 1), w)
    offset = torch.where((p.grade > 0)[:, None], p.hi[:, None] - offset, p.lo[:, None] + offset)
    y = integrand(torch.addcmul(origin, sigma, offset), p.base[:, None] + offset, p.owner)
    blur = 2.0**-53 * origin.abs() / (sigma * offset).abs()
    size = y.abs() * weight
    doubt = ((size * blur.clamp_max(1.0)).sum(-1) * width).nan_to_num(math.inf)
    return (y * weight).sum(-1) * width, size.sum(-1) * width, doubt


def _cut(p: _Panels, graded: bool) -> _Panels:
    """Every panel in two: first all left parts, then all right ones."""
    mid = 0.5 * (p.lo + p.hi)
    if graded:
        step = 0.5**_GRADE * (p.hi - p.lo)
        mid = torch.where(p.grade == 0, mid, torch.where(p.grade < 0, p.lo + step, p.hi - step))
    nan = torch.full_like(mid, math.nan)
    return _Panels(
        torch.cat([p.lo, mid]),
        torch.cat([mid, p.hi]),
        torch.cat([p.owner, p.owner]),
        torch.cat([p.at_lo, nan]),
        torch.cat([nan, p.at_hi]),
        torch.cat([p.grade.clamp_max(0), p.grade.clamp_min(0)]) if graded else torch.cat([p.grade, p.grade]),
        torch.cat([p.stalled, p.stalled]),
        torch.cat([p.base, p.base]),
        torch.cat([p.origin, p.origin]),
    )


def _anchored(p: _Panels) -> _Panels:
    """Panels that touch a break point measured from it, so that x - b is exact however near."""
    low, high = ~torch.isnan(p.at_lo), ~torch.isnan(p.at_hi) & torch.isnan(p.at_lo)
    shift = torch.where(low, p.lo, torch.where(high, p.hi, 0.0))
    return p._replace(
        lo=p.lo - shift,
        hi=p.hi - shift,
        at_lo=torch.full_like(p.lo, math.nan),
        at_hi=torch.full_like(p.hi, math.nan),
        grade=torch.where(low, -1, torch.where(high, 1, p.grade)),
        base=p.base + shift,
        origin=torch.where(low, p.at_lo, torch.where(high, p.at_hi, p.origin)),
    )


def _adapt(integrand: Integrand, p: _Panels, mean: Tensor, std: Tensor, tol: float, budget: int, floor: Tensor) -> Sums:
    whole = _sample(integrand, p, std, False)[0]
    shape = (len(whole), len(mean))
    done, done_error, done_mass = (torch.zeros(shape, dtype=torch.float64) for _ in range(3))
    lost = torch.zeros(shape, dtype=torch.bool)
    before = torch.full_like(whole, math.inf)
    used, rounds = len(p.lo), 0
    while True:
        graded = rounds >= _PATIENCE
        parts = _cut(p, graded)
        halves, sizes, doubt = _sample(integrand, parts, std, graded)
        left, right = halves.chunk(2, 1)
        value, size = left + right, sizes[:, : len(p.lo)] + sizes[:, len(p.lo) :]
        if bool(torch.isnan(value).any()):
            raise OgiveError("the expectation is undefined: the function is not finite everywhere")
        error = (value - whole).abs().nan_to_num(math.inf)
        total, mass = done.index_add(1, p.owner, value), done_mass.index_add(1, p.owner, size)
        count: Any = torch.bincount(p.owner, minlength=len(mean)) if len(mean) > 1 else len(p.lo)
        # A panel is done at its rounding noise, or when it is too small a part of the sum to matter.
        fair = (torch.maximum(mass, floor) * tol / (8.0 * count + 8.0))[:, p.owner]
        wide = error > torch.maximum(4e-16 * size, fair)
        if rounds:
            both = torch.minimum(*error.chunk(2, 1)).repeat(1, 2)
            wide &= (both < _KEPT * before) | (error > _ROUGH * size)
        stalled = p.stalled
        if graded:
            inner = torch.where(p.grade < 0, left, right)
            still = wide & (p.grade != 0) & (inner.abs() > _STALL * whole.abs())
            stalled = torch.where(still.any(0), stalled + 1, 0)
            lost |= torch.zeros(shape).index_add(1, p.owner, (still & (stalled > 2)).float()) > 0.0
            wide &= ~lost[:, p.owner]
        if graded:  # no splitting takes it away
            error = error + doubt[:, : len(p.lo)] + doubt[:, len(p.lo) :]
        middle = parts.hi[: len(p.lo)]
        split = wide.any(0) & (middle > p.lo) & (middle < p.hi)
        used, rounds = used + 2 * len(p.lo), rounds + 1
        if not bool(split.any()) or used > budget * len(mean):
            # The rounding of sums and of the function itself: a few units in the last place of the whole.
            bound = done_error.index_add(1, p.owner, error) + 4.5e-16 * mass
            if graded:
                total, bound = torch.where(lost, math.inf * total.sign(), total), torch.where(lost, math.inf, bound)
            return Sums(total, bound, mass)
        keep = ~split
        done = done.index_add(1, p.owner[keep], value[:, keep])
        done_error = done_error.index_add(1, p.owner[keep], error[:, keep])
        done_mass = done_mass.index_add(1, p.owner[keep], size[:, keep])
        whole = torch.cat([left[:, split], right[:, split]], 1)
        before = error[:, split].repeat(1, 2)
        p = parts._replace(stalled=torch.cat([stalled, stalled])).where(torch.cat([split, split]))
        if rounds >= _PATIENCE:
            p = _anchored(p)

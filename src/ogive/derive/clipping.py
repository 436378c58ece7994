"""Clipping: the level at which a sparsifying activation keeps its lengths on the edge of chaos."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch

from ogive import ops
from ogive.activation import Activation
from ogive.derive.critical import CriticalPoint, critical_point
from ogive.derive.solving.roots import root
from ogive.derive.wide.maps import Maps
from ogive.errors import InputError, OgiveError, ParameterError


@dataclass(frozen=True)
class Clipping:
    """How far an activation is to be clipped: ``activation`` is it, between -level and level.

    ``point`` is the critical point of the clipped one, ``slope`` the slope of its length map (1 or more of the
    unclipped one: ``unclipped``), ``sparsity`` the share of outputs that are exactly 0.
    """

    level: float
    activation: Activation
    point: CriticalPoint
    unclipped: float
    sparsity: float

    def to_dict(self) -> dict[str, Any]:
        """All fields, the activation as its formula, ready for JSON."""
        return {**vars(self), "activation": str(self.activation), "point": asdict(self.point)}

    def __repr__(self) -> str:
        p = self.point
        return (
            f"Clipping(level {self.level:.9g}: slope of the length map {p.slope:.6g}, unclipped {self.unclipped:.6g}; "
            f"sigma_w {p.sigma_w:.9g}, sigma_b {p.sigma_b:.9g} at q {p.q:.6g}; {self.sparsity:.1%} zeros)"
        )


def clipping_level(spec: Any, slope: float = 0.5, *, q: float = 1.0, **params: float) -> Clipping:
    """The level m at which ``min(max(f(x), -m), m)`` keeps the length ``q`` on the edge of chaos with the given slope.

    Sparsifying activations (relu(x - tau), soft thresholding) have a length map with slope 1 or more wherever chi
    is 1, so lengths run away; clipped at m the slope falls, and more zeros stay trainable.

    Args:
        spec: an activation of one input that is 0 on part of the line, or any other.
        slope: the slope of the length map to reach, in (0, 1): smaller is more stable and closer to a step.
        q: the length to keep.

    Raises:
        OgiveError: where no level from 1e-3 to 1e3 reaches the slope.

    Source: Price et al. 2024, Deep Neural Network Initialization with Sparsity Inducing Activations.

    >>> from ogive.derive.critical import critical_point
    >>> found = clipping_level("relu(x - 1)", 0.6)
    >>> round(critical_point(found.activation).slope, 9), f"{found.sparsity:.3f}"
    (0.6, '0.841')
    """
    maps = Maps(spec, **params)
    if not isinstance(slope, (int, float)) or isinstance(slope, bool) or not 0.0 < slope < 1.0:
        raise ParameterError(f"clipping of {maps.act.label}: slope={slope!r}; it takes a number between 0 and 1")
    if maps.act.backward is not None:
        raise InputError(
            f"clipping of {maps.act.label}: it has a declared surrogate derivative; clip its formula instead"
        )
    act = maps.act.with_params(**maps.values).fixed() if maps.values else maps.act
    (name,) = act.inputs

    def clipped(level: float) -> Activation:
        return Activation(ops.clip(act.written, -level, level), (name,))

    def above(level: float) -> float:
        got = Maps(clipped(level))
        values = got.moments(q)[0]
        return values[1] / math.sqrt(q) / values[3] - slope if values[3] > 0.0 else math.nan

    grid = [10.0 ** (k / 4.0) for k in range(-12, 13)]
    rows = [(m, above(m)) for m in grid]
    cross = next(((a, b) for (a, u), (b, v) in pairwise(rows) if u < 0.0 <= v), None)
    if cross is None:
        reached = [v + slope for _, v in rows if not math.isnan(v)]
        span = f"from {min(reached):.4g} to {max(reached):.4g}" if reached else "nowhere defined"
        raise OgiveError(
            f"clipping of {act.label}: the slope of the length map at q={q!r} is {span} over all levels, not {slope!r}"
        )
    level = root(above, *cross)
    made = clipped(level)
    point = critical_point(made, q)
    free = maps.moments(q)[0]
    return Clipping(level, made, point, free[1] / math.sqrt(q) / free[3], _zeros(Maps(made), q))


def _zeros(maps: Maps, q: float) -> float:
    """P(f(sqrt(q) z) = 0): between two break points f is 0 everywhere or hardly anywhere."""
    cuts = [-math.inf, *maps.bundle.cuts(), math.inf]
    total = 0.0
    for a, b in pairwise(cuts):
        lo, hi = max(a, min(b, 0.0) - 30.0), min(b, max(a, 0.0) + 30.0)
        inside = lo + (hi - lo) * torch.tensor([0.21, 0.47, 0.83], dtype=torch.float64)
        if bool((maps.bundle.at(inside) == 0.0).all()):
            left, right = (0.5 * math.erfc(-v / math.sqrt(2.0 * q)) for v in (a, b))
            total += right - left
    return total

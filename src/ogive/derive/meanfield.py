"""The deep limit of a random network: where lengths and correlations go, how fast, and what becomes of gradients."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from ogive.derive.solving.roots import root
from ogive.derive.wide.maps import Maps, at_zero
from ogive.errors import OgiveError

# A slope this near to 1 is 1: the quadrature is good to some 1e-15 and the fixed point's own error adds to it.
ONE = 1e-9
_GRID = [10.0 ** (k / 5.0) for k in range(-40, 21)]


@dataclass(frozen=True)
class FixedPoint:
    """A length that the length map keeps: its slope there (chi_parallel), its curvature, chi (chi_perp) and whether
    lengths near it come back: "stable", "unstable", "half-stable" (from one side), "neutral" (a line of them)."""

    q: float
    slope: float
    curvature: float | None
    chi: float
    stability: str


@dataclass(frozen=True)
class MeanField:
    """The deep limit of a random network.

    ``q`` is the length that an input of length 1 runs to: 0 when signals die out, inf when they explode. ``chi`` and
    ``slope`` are taken there, ``correlation`` is where the correlation of two different inputs goes. Depth scales
    are in layers: over ``depth_length`` a perturbation of the length falls by e, over ``depth_correlation`` that of
    the correlation, over ``depth_gradient`` the squared gradient grows or falls by e. ``phase`` is "ordered" (chi < 1:
    inputs become alike, gradients vanish), "chaotic" (chi > 1), "critical", or "exploding".
    """

    activation: str
    sigma_w: float
    sigma_b: float
    skip: float
    branch: float
    fixed_points: tuple[FixedPoint, ...]
    q: float
    slope: float | None
    chi: float | None
    phase: str
    correlation: float | None
    depth_length: float | None
    depth_correlation: float | None
    depth_gradient: float | None
    error: float
    surrogate: bool = False

    def __repr__(self) -> str:
        def text(v: float | None) -> str:
            return "none" if v is None else f"{v:.6g}"

        return (
            f"MeanField({self.activation}, sigma_w {self.sigma_w:.6g}, sigma_b {self.sigma_b:.6g}: {self.phase}, "
            f"q {text(self.q)}, slope {text(self.slope)}, chi {text(self.chi)}, correlation {text(self.correlation)}; "
            f"depth scales: length {text(self.depth_length)}, correlation {text(self.depth_correlation)}, "
            f"gradient {text(self.depth_gradient)})"
        )

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON (infinities stay floats)."""
        return asdict(self)


def mean_field(
    spec: Any, sigma_w: float = 1.0, sigma_b: float = 0.0, *, skip: float = 0.0, branch: float = 1.0, **params: float
) -> MeanField:
    """Fixed points of ``q -> sigma_b^2 + sigma_w^2 E f(sqrt(q) z)^2``, chi, phase and depth scales.

    Arguments are those of :class:`Maps`. Lengths are looked for between 1e-8 and 1e4, and at 0 where f(0) = 0 and
    there is no bias. Source: Poole et al. 2016, Schoenholz et al. 2017; of residual branches Yang and Schoenholz 2017.

    >>> deep = mean_field("tanh", sigma_w=1.5, sigma_b=0.3)
    >>> deep.phase, round(deep.q, 6), deep.fixed_points[0].stability
    ('chaotic', 0.960844, 'stable')
    """
    maps = Maps(spec, sigma_w, sigma_b, skip=skip, branch=branch, **params)
    points = fixed_points(maps)
    q = _reached(maps, points)
    found = next((p for p in points if p.q == q), None)
    slope = chi = c = depth_c = None
    if found is not None:
        slope, chi = found.slope, found.chi
        if maps.act.backward is None and not maps.bundle.jumps and found.q > 0.0:
            c, depth_c = _correlation_limit(maps, found)
    return MeanField(
        maps.act.label,
        maps.sigma_w,
        maps.sigma_b,
        maps.skip,
        maps.branch,
        points,
        q,
        slope,
        chi,
        "exploding" if chi is None else "critical" if abs(chi - 1.0) < ONE else "ordered" if chi < 1.0 else "chaotic",
        c,
        None if slope is None else _scale(slope),
        depth_c,
        None if chi is None else _scale(chi),
        maps.errors(q if 0.0 < q < math.inf else 1.0),
        maps.act.backward is not None,
    )


def _scale(rate: float) -> float:
    """Layers over which something multiplied by ``rate`` in each changes by e."""
    size = abs(rate)
    if abs(size - 1.0) < ONE:
        return math.inf
    return 0.0 if size == 0.0 or size == math.inf else 1.0 / abs(math.log(size))


def fixed_points(maps: Maps) -> tuple[FixedPoint, ...]:
    """All fixed points of the length map, from the smallest; of a line of them one, at q = 1."""
    found: list[FixedPoint] = []
    slopes = at_zero(maps) if maps.sigma_b == 0.0 else None
    if slopes is not None:
        found.append(_zero(maps, slopes))

    def growth(q: float) -> float:
        try:
            ratio = maps.length(q) / q
        except OgiveError:
            return math.inf
        return math.log(ratio) if 0.0 < ratio < math.inf else math.copysign(math.inf, ratio - 1.0)

    def bend(q: float) -> float:  # d growth / d log q
        try:
            return maps.length_slope(q) * q / maps.length(q) - 1.0
        except (OgiveError, ZeroDivisionError):
            return math.inf

    maps.prepare(_GRID)
    rows = [(q, growth(q), bend(q)) for q in _GRID]
    if sum(abs(g) < 1e-12 for _, g, _ in rows) > len(rows) // 2:
        return (FixedPoint(1.0, maps.length_slope(1.0), 0.0, maps.chi(1.0), "neutral"),)
    roots: list[float] = []
    for (a, ga, ba), (b, gb, bb) in pairwise(rows):
        if abs(ga) < 1e-11 and a < 1e-3:
            continue  # the tail of the fixed point at 0, too flat to carry a sign
        if abs(ga) < 1e-13 or abs(gb) < 1e-13:
            if abs(gb) < 1e-13:
                roots.append(b)  # a fixed point on the grid itself
            continue
        if math.isfinite(ga) and math.isfinite(gb) and ga * gb < 0.0:
            roots.append(root(growth, a, b))
        elif all(map(math.isfinite, (ga, gb, ba, bb))) and ba * bb < 0.0 and min(abs(ga), abs(gb)) < 0.1:
            # An extremum of the growth: where it touches 0 two fixed points are one.
            top = root(bend, a, b)
            if abs(growth(top)) < ONE:
                roots.append(top)
            elif growth(top) * ga < 0.0:
                roots += [root(growth, a, top), root(growth, top, b)]
    return (*found, *(_point(maps, q) for q in sorted(roots)))


def _point(maps: Maps, q: float) -> FixedPoint:
    slope, curvature = maps.length_slope(q), maps.length_curvature(q)
    size = abs(slope)
    # At a double root the slope is 1 to the root of the error of the fixed point.
    if abs(size - 1.0) < 1e-6:
        stability = "half-stable" if abs(curvature) * q > 1e-6 else "neutral"
    else:
        stability = "stable" if size < 1.0 else "unstable"
    return FixedPoint(q, slope, curvature, maps.chi(q), stability)


def _zero(maps: Maps, slopes: tuple[float, float]) -> FixedPoint:
    rate = maps.skip**2 + (maps.branch * maps.sigma_w) ** 2 * 0.5 * (slopes[0] ** 2 + slopes[1] ** 2)
    if abs(rate - 1.0) > ONE:
        stability = "stable" if rate < 1.0 else "unstable"
    else:
        drift = maps.length(1e-3) / 1e-3 - 1.0
        stability = "neutral" if abs(drift) < 1e-12 else "stable" if drift < 0.0 else "unstable"
    return FixedPoint(0.0, rate, None, rate, stability)


def _reached(maps: Maps, points: tuple[FixedPoint, ...]) -> float:
    """Where an input of length 1 goes: the next fixed point in the direction of the first step (exact for a length
    map that increases, which it does for every |f| that increases away from 0)."""
    try:
        first = maps.length(1.0)
    except OgiveError:
        return math.inf
    if any(p.q == 1.0 and p.stability == "neutral" for p in points):
        return 1.0
    up = first > 1.0
    ahead = [p for p in points if (p.q >= 1.0) == up or abs(p.q - 1.0) < ONE]
    ahead.sort(key=lambda p: abs(math.log(p.q)) if p.q > 0.0 else math.inf)
    for p in ahead:
        if p.stability != "unstable":
            return p.q
    if up:
        return math.inf
    return 0.0 if not points or maps.sigma_b == 0.0 else math.inf


def _correlation_limit(maps: Maps, point: FixedPoint) -> tuple[float, float]:
    """The stable fixed point of the correlation map and its depth scale. All coefficients of the map in c are at
    least 0, so it is convex on [0, 1] and crosses the diagonal below 1 once at most."""
    if point.chi <= 1.0 + ONE:
        return 1.0, _scale(point.chi)

    def off(c: float) -> float:
        return maps.correlation(c, point.q) - c

    low, high = 0.0, 1.0 - 1e-9
    if abs(off(low)) < 1e-15:
        return 0.0, _scale(maps.correlation_slope(0.0, point.q))
    if off(high) >= 0.0:
        return 1.0, _scale(point.chi)
    c = root(off, low, high, 1e-12, log=False)  # the error of the dual activation
    return c, _scale(maps.correlation_slope(c, point.q))

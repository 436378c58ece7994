"""The edge of chaos: the weight and bias variances at which neither signals nor gradients die out or explode.

At a length q, chi = 1 needs sigma_w^2 = 1/E f'(sqrt(q) z)^2, and q stays where it is for sigma_b^2 = q - sigma_w^2
E f(sqrt(q) z)^2; where that is not negative the pair is on the critical line. A critical point needs more: the slope
of the length map has to be 1 as well, or the line has to start at q = 0.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ogive.derive.meanfield import ONE
from ogive.derive.solving.roots import root
from ogive.derive.wide.maps import Maps, at_zero
from ogive.errors import OgiveError, ParameterError

_LENGTHS = [10.0 ** (k / 8.0) for k in range(-32, 25)]


@dataclass(frozen=True)
class CriticalPoint:
    """One pair (sigma_w, sigma_b) with chi = 1 at the length ``q``.

    ``slope`` and ``curvature`` are those of the length map at q: below 1 in size the length is kept by itself.
    ``decay`` says how two inputs become alike there: 1 - correlation falls as constant/layers^power, (power,
    constant), or None for a linear function, which leaves correlations alone, and at q = 0.
    """

    sigma_w: float
    sigma_b: float
    q: float
    slope: float
    curvature: float | None
    decay: tuple[int, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)

    @property
    def stable(self) -> bool:
        """Whether lengths near q come back to it."""
        return abs(self.slope) < 1.0 - ONE or (self.q == 0.0)


@dataclass(frozen=True)
class EdgeOfChaos:
    """The critical line of one activation, and its critical point where it has one.

    ``universality`` is "scale-invariant" (any length is kept), "K*=0" (the length goes to 0, for a smooth f
    as 1/layers), "half-stable" (a length is kept that is stable from one side) or "none"; ``reason`` says why.
    ``line`` holds points in the order of q.
    """

    activation: str
    universality: str
    reason: str
    point: CriticalPoint | None
    line: tuple[CriticalPoint, ...]
    error: float

    def __repr__(self) -> str:
        at = "no critical point" if self.point is None else (
            f"sigma_w {self.point.sigma_w:.9g}, sigma_b {self.point.sigma_b:.9g}, q {self.point.q:.6g}"
        )  # fmt: skip
        line = f"{len(self.line)} points on the line"
        return f"EdgeOfChaos({self.activation}: {self.universality}, {at}; {line}; {self.reason})"

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


def edge_of_chaos(spec: Any, *, lengths: tuple[float, ...] = (), **params: float) -> EdgeOfChaos:
    """The line ``sigma_w^2 = 1/E f'(sqrt(q) z)^2, sigma_b^2 = q - sigma_w^2 E f(sqrt(q) z)^2`` and the critical point.

    Args:
        spec: a name, a formula, an Activation or an ``ogive.Act`` of one input.
        lengths: the q of the line, above 0; by default 57 from 1e-4 to 1e3. Where sigma_b^2 would be negative
            there is no point.
        params: numbers that replace defaults of the activation's parameters.

    Source: Hayou et al. 2019 for the line, Roberts, Yaida and Hanin 2022 (chapter 5) for the classes.

    >>> edge_of_chaos("tanh").universality, edge_of_chaos("sigmoid").universality
    ('K*=0', 'none')
    >>> gelu = edge_of_chaos("gelu")
    >>> gelu.universality, round(gelu.point.q - (3 + 17**0.5) / 2, 9)
    ('half-stable', 0.0)
    """
    maps = Maps(spec, **params)
    label = maps.act.label
    for q in lengths:
        if isinstance(q, bool) or not isinstance(q, (int, float)) or not 0.0 < q < math.inf:
            raise ParameterError(f"edge of chaos of {label}: lengths has q={q!r}; a length is a finite number above 0")
    why = _no_line(maps)
    if why:
        return EdgeOfChaos(label, "none", why, None, (), 0.0)
    ratio = _scale_invariant(maps)
    if ratio is not None:
        point = CriticalPoint(1.0 / math.sqrt(ratio), 0.0, 1.0, 1.0, 0.0, _decay(maps, 1.0, 1.0 / ratio))
        why = "f(t x) = t f(x) for t > 0: the length map is a straight line, so every length is kept"
        return EdgeOfChaos(label, "scale-invariant", why, point, (point,), maps.errors(1.0))
    asked = sorted(lengths) if lengths else _LENGTHS
    maps.prepare(asked)
    if not maps.bundle.kinks:
        maps.bundle.prepare(_curved, 2, [math.sqrt(q) for q in asked])
    line = tuple(p for p in (_on_line(maps, q) for q in asked) if p is not None)
    error = max((maps.errors(p.q) for p in line), default=0.0)
    start = _at_origin(maps)
    if start is not None:
        why = "f(0) = 0 and the length map bends down there: without biases lengths fall to 0, but not exponentially"
        return EdgeOfChaos(label, "K*=0", why, start, line, error)
    found, why = _half_stable(maps)
    return EdgeOfChaos(label, "none" if found is None else "half-stable", why, found, line, error)


def critical_point(spec: Any, q: float = 1.0, **params: float) -> CriticalPoint:
    """The point of the critical line at the length ``q``: sigma_w, sigma_b, and the length map's slope and curvature.

    Raises :class:`~ogive.errors.OgiveError` where sigma_b^2 would have to be negative.

    >>> point = critical_point("relu(x - 1)")  # marginal: lengths do not come back
    >>> round(point.slope, 9), point.stable
    (1.0, False)
    """
    maps = Maps(spec, **params)
    why = _no_line(maps)
    if why:
        raise OgiveError(f"the critical line of {maps.act.label}: {why}")
    point = _on_line(maps, q)
    if point is None:
        values = maps.moments(q)[0]
        need = q - values[0] / values[3]
        raise OgiveError(
            f"the critical line of {maps.act.label} does not reach q={q!r}: "
            f"the variance of the biases would be {need:.6g}"
        )
    return point


def _no_line(maps: Maps) -> str:
    """Why chi = 1 cannot be had at any length, or nothing."""
    f = maps.bundle
    if f.jumps:
        return (
            f"f jumps at {f.jumps[0]:.6g}: however near two inputs are, a fixed share of them falls on "
            "different sides, so chi is infinite for every sigma_w"
        )
    try:
        slope = maps.chi(1.0)
    except OgiveError as error:
        return f"the moments do not exist: {error}"
    if slope == 0.0:
        return "f'(x) = 0 almost everywhere, so chi is 0 for every sigma_w"
    if math.isinf(slope):
        return "E f'(z)^2 is infinite, so chi is infinite for every sigma_w"
    return ""


def _scale_invariant(maps: Maps) -> float | None:
    """``(f(1)^2 + f(-1)^2)/2`` where f(t x) = t f(x) for every t > 0, else None."""
    t = torch.tensor([10.0 ** (k / 3.0) for k in range(-24, 25)], dtype=torch.float64)
    total = 0.0
    for sign in (1.0, -1.0):
        y = maps.bundle.at(sign * t) / t
        if not bool(((y - y[24]).abs() <= 1e-14 * y[24].abs()).all()):
            return None
        total += 0.5 * float(y[24]) ** 2
    return total or None


def _on_line(maps: Maps, q: float) -> CriticalPoint | None:
    try:
        second, third, fourth, slopes = maps.moments(q)[0]
    except OgiveError:
        return None
    if not (0.0 < slopes < math.inf and second < math.inf):
        return None
    spare = q - second / slopes
    if spare < -1e-13 * q:
        return None
    weight, bias = 1.0 / slopes, max(spare, 0.0)
    here = (third / math.sqrt(q), fourth / (2.0 * q**1.5)) if maps.smooth else (third / (2 * q), fourth / (4 * q * q))
    return CriticalPoint(
        math.sqrt(weight), math.sqrt(bias), q, weight * here[0], weight * here[1], _decay(maps, q, weight)
    )


def _curved(z: Tensor, w: Tensor, f: Tensor, g: Tensor, h: Tensor) -> tuple[Tensor, ...]:
    return (h * h,)


def _decay(maps: Maps, q: float, weight: float) -> tuple[int, float] | None:
    """How fast 1 - c falls where chi = 1, for two inputs of length q.

    A jump J of f' at b costs the slope of the correlation map at c = 1 - e as much as the two inputs fall on
    different sides of b: 1 - s sqrt(e), s = sigma_w^2 sum J^2 density(b) sqrt(q/pi). So e' = e - 2/3 s e^1.5, and e
    falls as 9/(s l)^2 (9 pi^2/2 for relu). Without kinks the second derivative k = sigma_w^2 q E f''^2 of the map
    rules: e' = e - k e^2/2, and e falls as 2/(k l).
    """
    density = [(step, math.exp(-0.5 * b * b / q) / math.sqrt(2.0 * math.pi * q)) for b, step in maps.bundle.kinks]
    s = weight * sum(step * step * d for step, d in density) * math.sqrt(q / math.pi)
    if s > 1e-12:
        return 2, 9.0 / (s * s)
    try:
        curved = weight * q * maps.bundle.expect(_curved, 2, 0.0, math.sqrt(q))[0][0]
    except OgiveError:
        return None
    return (1, 2.0 / curved) if 1e-12 < curved < math.inf else None


def _at_origin(maps: Maps) -> CriticalPoint | None:
    """The critical point at q = 0, where lengths that start small fall to it."""
    slopes = at_zero(maps)
    if slopes is None or slopes == (0.0, 0.0):
        return None
    rate = 0.5 * (slopes[0] ** 2 + slopes[1] ** 2)
    # The sign of V(q) - q at the smallest q where rounding leaves one (hardtanh is a line until 1/q = 60).
    drift = [maps.moments(q)[0][0] / (rate * q) - 1.0 for q in (1e-4, 1e-3, 1e-2, 1e-1)]
    if next((d for d in drift if abs(d) > 1e-12), 1.0) > 0.0:
        return None
    return CriticalPoint(1.0 / math.sqrt(rate), 0.0, 0.0, 1.0, None)


def _half_stable(maps: Maps) -> tuple[CriticalPoint | None, str]:
    """The smallest length at which both susceptibilities are 1 with a bias variance from 0, or why there is none."""

    def apart(q: float) -> float:
        values = maps.moments(q)[0]
        rate = values[1] / math.sqrt(q) if maps.smooth else values[1] / (2.0 * q)
        return rate / values[3] - 1.0

    rows: list[tuple[float, float]] = []
    for q in _LENGTHS:
        try:
            rows.append((q, apart(q)))
        except (OgiveError, ZeroDivisionError):  # beyond float64 at one end, or nothing but zeros at the other
            continue
    roots = [root(apart, a, b) for (a, u), (b, v) in pairwise(rows) if u * v < 0.0 and abs(u) + abs(v) > 1e-10]
    refused = ""
    for q in roots:
        point = _on_line(maps, q)
        if point is not None:
            kept, lost = ("below", "above") if (point.curvature or 0.0) > 0.0 else ("above", "below")
            return point, (
                f"at q = {q:.6g} the slope of the length map and chi are both 1: the length is kept from {kept} and "
                f"lost from {lost}"
            )
        second, _, _, slopes = maps.moments(q)[0]
        need = q - second / slopes
        refused = f"at q = {q:.6g} both susceptibilities are 1, but the variance of the biases would be {need:.6g}"
    if refused:
        return None, refused
    values = [v for _, v in rows]
    if values and max(map(abs, values)) < 1e-8 and (marginal := _on_line(maps, 1.0)) is not None:
        return marginal, (
            "wherever chi = 1 the slope of the length map is 1 as well, and lengths are kept from one side only; "
            "ogive.clipping_level gives a clipped f that keeps them"
        )
    if not values:
        return None, "the moments do not exist at any length"
    at_origin = float(maps.bundle.at(torch.zeros(1, dtype=torch.float64))[0])
    slopes0 = float(maps.bundle.at(torch.zeros(1, dtype=torch.float64), 1)[0])
    if abs(values[0]) < 1e-3 and at_origin != 0.0 and slopes0 != 0.0:
        return None, (
            "the slope of the length map and chi meet only at q = 0, where the variance of the biases would be "
            f"-(f(0)/f'(0))^2 = {-((at_origin / slopes0) ** 2):.6g}"
        )
    which = "above" if values[len(values) // 2] > 0.0 else "below"
    return None, f"wherever chi = 1 the slope of the length map is {which} 1, so no point has both at 1"

"""Sound lines below and above an activation on intervals: what CROWN and its kin propagate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ogive.derive.image import blockwise, carried, extremes, pair
from ogive.derive.lines.outline import Outline, outline
from ogive.derive.lines.rounding import EPS, up
from ogive.derive.lines.support_line import Ends, best_slope, intercept
from ogive.errors import InputError

_ROUNDS_BY_UNITS = 1e-290


@dataclass(frozen=True, eq=False)
class Lines:
    """``lower_slope x + lower_intercept <= f(x) <= upper_slope x + upper_intercept`` on each interval, in real
    arithmetic: a tensor of each, all of one shape and dtype."""

    lower_slope: Tensor
    lower_intercept: Tensor
    upper_slope: Tensor
    upper_intercept: Tensor

    def lower(self, x: Tensor) -> Tensor:
        """The lower line at ``x``, in the rounding of its dtype."""
        return self.lower_slope * x + self.lower_intercept

    def upper(self, x: Tensor) -> Tensor:
        """The upper line at ``x``, in the rounding of its dtype."""
        return self.upper_slope * x + self.upper_intercept

    def __repr__(self) -> str:
        return f"Lines({tuple(self.lower_slope.shape)}, {str(self.lower_slope.dtype).removeprefix('torch.')})"

    def to_dict(self) -> dict[str, Any]:
        """All fields as lists, ready for JSON."""
        return {k: getattr(self, k).tolist() for k in self.__dataclass_fields__}


def bounds(
    spec: Any, lo: Tensor, hi: Tensor, at: Tensor | tuple[Tensor, Tensor] | None = None, **params: float
) -> Lines:
    """The tightest line below and above f at the point ``at`` of every interval ``[lo, hi]``.

    The upper line supports the concave hull of f on the interval at ``at``, the lower one the convex hull. At the
    midpoint, the default, these are the lines with the least area between them and f. ``at`` is free (the alpha of
    alpha-CROWN), clipped to the interval; a pair gives the lower line's and the upper line's. The slopes follow from
    it; to choose those themselves see :func:`support_lines`.

    ``spec`` is a name, a formula, an Activation or an ``ogive.Act`` of one input, ``params`` are numbers. ``lo``,
    ``hi`` and ``at`` are float32 or float64 tensors that broadcast. The lines hold in real arithmetic for the slopes
    and intercepts as returned, with intercepts rounded outward after the slopes were rounded
    (:mod:`ogive.derive.lines.rounding` states what is assumed of float64 code). Where an end or a value is infinite,
    the lines are flat at the ends of the image. Differentiable in ``lo``, ``hi`` and ``at``: which points a line
    touches is held, how they move is followed. Raises as :func:`image` does.

    >>> import torch
    >>> lines = bounds("silu", torch.tensor(-6.0), torch.tensor(1.0))
    >>> x = torch.linspace(-6, 1, 5)
    >>> bool((lines.lower(x) <= x * torch.sigmoid(x) + 1e-6).all()), round(float(lines.upper_slope), 4)
    (True, 0.1066)
    """
    shape, lo, hi = _prepared(spec, lo, hi, params)
    points = [_middle(shape, lo, hi, point) for point in (at if isinstance(at, tuple) else (at, at))]
    live = any(t.requires_grad for t in (lo, hi, *points))
    found = blockwise(lambda l, u, m, n: _both(shape, l, u, (m, n), lo.dtype, live), lo, hi, *points)
    made = []
    for sign, m, (slope, height, *moves) in zip((-1, 1), points, (found[: len(found) // 2], found[len(found) // 2 :])):
        slope, height = slope.to(lo.dtype), up(_above_subnormal(slope, height, lo, hi), lo.dtype)
        if live:
            by_l, by_u, by_m, of_l, of_u, of_m = (t.to(lo.dtype) for t in moves)
            slope = slope + carried(by_l, lo) + carried(by_u, hi) + carried(by_m, m)
            height = height + carried(of_l, lo) + carried(of_u, hi) + carried(of_m, m)
        made += [slope * sign, height * sign]
    return Lines(*made)


def support_lines(
    spec: Any, lo: Tensor, hi: Tensor, lower_slope: Tensor, upper_slope: Tensor, **params: float
) -> Lines:
    """The lowest line above f and the highest below it on every interval, of given slopes.

    The intercepts are ``max (f(x) - a x)`` and ``min (f(x) - a x)``, rounded outward. Their gradient by the slope is
    ``-x`` where the line touches, so slopes can be optimised freely: no slope is unsound. Arguments as for
    :func:`bounds`; slopes are finite.

    >>> import torch
    >>> lo, hi = torch.tensor([-1.0, 2.0]), torch.tensor([3.0, 5.0])
    >>> [round(v, 6) for v in support_lines("relu", lo, hi, torch.zeros(2), torch.ones(2)).upper_intercept.tolist()]
    [1.0, 0.0]
    """
    shape, lo, hi = _prepared(spec, lo, hi, params)
    made = []
    for sign, given in ((-1, lower_slope), (1, upper_slope)):
        slope = given.to(lo.dtype).expand_as(lo)
        if not bool(torch.isfinite(slope.detach()).all()):
            raise InputError(f"bounds of {shape.label}: a slope is not finite")
        found = blockwise(lambda l, u, a, s=sign: _height(shape, s, l, u, a * s), lo, hi, slope)
        height = up(_above_subnormal(slope, found[0], lo, hi), lo.dtype)
        if lo.requires_grad or hi.requires_grad or slope.requires_grad:
            x, by_l, by_u = (t.to(lo.dtype) for t in found[1:])
            height = height - carried(x * sign, slope) + carried(by_l, lo) + carried(by_u, hi)
        made += [slope, height * sign]
    return Lines(*made)


def _above_subnormal(slope: Tensor, height: Tensor, lo: Tensor, hi: Tensor) -> Tensor:
    """``height``, raised by what products ``a x`` that are subnormal were rounded by: units of 5e-324, not of eps."""
    reach = slope.detach().double().abs() * torch.maximum(lo.detach().abs(), hi.detach().abs()).double()
    return torch.where((reach > 0.0) & (reach < _ROUNDS_BY_UNITS), height + 64 * 5e-324, height)


def _prepared(spec: Any, lo: Any, hi: Any, params: Any) -> tuple[Outline, Tensor, Tensor]:
    shape = outline(spec, "bounds", params, lo.device if isinstance(lo, Tensor) else torch.device("cpu"))
    return (shape, *pair(shape.label, lo, hi))


def _middle(shape: Outline, lo: Tensor, hi: Tensor, at: Any) -> Tensor:
    if at is None:
        return 0.5 * lo + 0.5 * hi
    if not isinstance(at, Tensor) or not at.is_floating_point():
        raise InputError(f"bounds of {shape.label}: at is {at!r}; it takes a tensor of points, or a pair of them")
    return torch.minimum(torch.maximum(at.to(lo.dtype).expand_as(lo), lo), hi)


def _ends(shape: Outline, l: Tensor, u: Tensor) -> tuple[dict[int, Ends], Tensor, dict[int, Tensor]]:
    """By sign the intervals, with those that only flat lines fit moved to 0; which these are; and their heights."""
    low_l, high_l = shape.values(l)
    low_u, high_u = shape.values(u)
    size = torch.maximum(low_l.abs(), high_l.abs()) + torch.maximum(low_u.abs(), high_u.abs())
    odd = ~torch.isfinite(size + (u - l) * size)
    flat = {-1: torch.zeros_like(l), 1: torch.zeros_like(l)}
    if bool(odd.any()):
        low, high, _, _ = extremes(shape, l[odd], u[odd])
        flat[1][odd], flat[-1][odd] = high, -low
        l, u, low_l, high_l, low_u, high_u = (t.masked_fill(odd, 0.0) for t in (l, u, low_l, high_l, low_u, high_u))
    return {1: Ends(l, u, high_l, high_u), -1: Ends(l, u, -low_l, -low_u)}, odd, flat


def _both(
    shape: Outline, l: Tensor, u: Tensor, points: tuple[Tensor, Tensor], dtype: torch.dtype, live: bool
) -> tuple[Tensor, ...]:
    """Slope and intercept of a line above -f and of one above f; with ``live`` their derivatives by l, u and m."""
    by_sign, odd, flat = _ends(shape, l, u)
    limit, sharp = torch.finfo(dtype).max, dtype == torch.float64
    made: list[Tensor] = []
    for sign, m in zip((-1, 1), points):
        ends = by_sign[sign]
        m = torch.minimum(torch.maximum(m, ends.l), ends.u)
        a, left, right = best_slope(shape, sign, ends, m, sharp)
        a = a.clamp_(-limit, limit).to(dtype).double().masked_fill_(odd, 0.0)
        height, _ = intercept(shape, sign, ends, a, 2 if sharp else 1)
        height = torch.where(odd, flat[sign], torch.nan_to_num_(height, nan=torch.inf, posinf=torch.inf))
        made += [a, height]
        if live:
            made += _moves(shape, sign, ends, odd, a, m, left, right)
    return tuple(made)


def _moves(
    shape: Outline, sign: int, ends: Ends, odd: Tensor, a: Tensor, m: Tensor, left: Tensor, right: Tensor
) -> tuple[Tensor, ...]:
    """Derivatives of slope and intercept by l, u and m.

    A tangent at m has da/dm = g''(m) and db/dm = -m g''(m). A bridge from L to R has da/dL = (a - g'(L))/(R - L) and
    da/dR = (g'(R) - a)/(R - L), which vanish where it touches the graph, so only ends that are contacts move it.
    """
    zero = torch.zeros_like(a)
    tangent = (left == right) & (left == m) & ~odd
    bend = torch.where(tangent, torch.nan_to_num(shape.rounded.bend(m), 0.0, 0.0, 0.0) * sign, zero)
    width = (right - left).clamp(min=EPS)
    at_l = ~tangent & ~odd & (left == ends.l) & (right > left)
    at_u = ~tangent & ~odd & (right == ends.u) & (right > left)
    gap_l = torch.nan_to_num(a - sign * shape.rounded.slope(ends.l), 0.0, 0.0, 0.0)
    gap_u = torch.nan_to_num(sign * shape.rounded.slope(ends.u) - a, 0.0, 0.0, 0.0)
    a_l, a_u = torch.where(at_l, gap_l / width, zero), torch.where(at_u, gap_u / width, zero)
    b_l = torch.where(at_l, -gap_l, zero) - left * a_l
    return a_l, a_u, bend, b_l, -left * a_u, -m * bend


def _height(shape: Outline, sign: int, l: Tensor, u: Tensor, a: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The intercept of slope ``a``, the point that decides it, and its derivatives by l and u."""
    by_sign, odd, flat = _ends(shape, l, u)
    ends = by_sign[sign]
    height, x = intercept(shape, sign, ends, a, 2, where=True)
    slope = torch.nan_to_num(shape.rounded.slope(x) * sign - a, 0.0, 0.0, 0.0)
    zero = torch.zeros_like(a)
    # a flat fallback has slope 0, not a: only +inf is above a line of another slope
    height = torch.where(odd, torch.where(a == 0.0, flat[sign], torch.inf), height)
    height = torch.nan_to_num(height, nan=torch.inf, posinf=torch.inf)
    return (height, torch.where(odd, zero, x), torch.where((x == l) & ~odd, slope, zero),
            torch.where((x == u) & ~odd, slope, zero))  # fmt: skip

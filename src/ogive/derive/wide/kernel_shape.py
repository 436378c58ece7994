"""The conditions of deep kernel shaping and TAT on alpha and beta, and their solution.

With m = E f, s = E f^2, ... under N(beta, alpha^2) and phi = gamma (f(alpha x + beta) + delta): Q(1) = gamma^2 (s + 2
delta m + delta^2), C(0) = gamma^2 (m + delta)^2, C'(1) = gamma^2 alpha^2 E f'^2, C''(1) = gamma^2 alpha^4 E f''^2, and
Q'(1) = gamma^2 alpha E[(f + delta) f' z].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from ogive.derive.integrals.bundle import Bundle
from ogive.derive.solving.roots import Conditions, Point, newton, root
from ogive.errors import OgiveError

# Where Newton starts, (alpha, beta) in this order; the first six settle nearly every entry.
STARTS = [(a, b) for a in (1.0, 0.1) for b in (0.0, 1.0, -1.0)] + [
    (a, b) for a in (0.5, 0.03, 0.25, 2.0) for b in (0.5, -0.5, 2.0, -2.0, 0.1)
]
NAMES = ("alpha", "beta")


@dataclass(frozen=True)
class Moments:
    """Of g = f - f(beta) under N(beta, alpha^2); E g' z g and E g' z make Q'(1)."""

    origin: float
    mean: float
    square: float
    slope: float
    rise: float
    lift: float
    curve: float

    @property
    def variance(self) -> float:
        return self.square - self.mean**2


def _first(z: Tensor, w: Tensor, g: Tensor, d: Tensor) -> tuple[Tensor, ...]:
    return g * w, g * g, d * d, g * d * z, w * d * z


def _second(z: Tensor, w: Tensor, g: Tensor, d: Tensor, h: Tensor) -> tuple[Tensor, ...]:
    return (*_first(z, w, g, d), h * h)


# alpha and beta, what they solve, and delta + f(beta) from the moments there and alpha
Solution = tuple[Point, Conditions, Callable[[Moments, float], float]]


def kernel_moments(bundle: Bundle, points: Sequence[Point], curved: bool = False, quick: bool = False) -> list[Moments]:
    alphas, betas = zip(*points)
    origin, got = bundle.around(_second if curved else _first, 2 if curved else 1, betas, alphas, quick)
    return [Moments(o, *values, *(() if curved else (0.0,))) for o, values in zip(origin, got)]


def dks_conditions(bundle: Bundle, target: float, slope: float) -> Conditions:
    """Of (alpha, beta), with delta = -E f for C(0) = 0 and gamma^2 = 1/Var f for Q(1) = 1."""

    def off(points: Sequence[Point], quick: bool) -> list[Point]:
        return [
            (a * a * m.slope / m.variance - target, a * (m.rise - m.mean * m.lift) / m.variance - slope)
            for (a, _), m in zip(points, kernel_moments(bundle, points, quick=quick))
        ]

    return off


def dks(bundle: Bundle, target: float, slope: float | None) -> Solution:
    off = dks_conditions(bundle, target, slope or 0.0)
    if slope is None:
        return _along(bundle, lambda a, b: off([(a, b)], True)[0][0]), off, lambda m, _: -m.mean
    return solve(bundle, off), off, lambda m, _: -m.mean


def tat(bundle: Bundle, target: float) -> Solution:
    """delta + f(beta) follows from the rest: C'(1) = 1 says (delta + E f)^2 = alpha^2 E f'^2 - Var f, which is never
    negative (Poincare), and gamma = 1/(alpha rms f')."""
    failed: OgiveError | None = None
    for sign in (1.0, -1.0):

        def shift(m: Moments, alpha: float, sign: float = sign) -> float:
            return -m.mean + sign * math.sqrt(max(alpha * alpha * m.slope - m.variance, 0.0))

        def off(points: Sequence[Point], quick: bool, shift: Callable[[Moments, float], float] = shift) -> list[Point]:
            return [
                (a * a * m.curve / m.slope / target - 1.0, (m.rise + shift(m, a) * m.lift) / (a * m.slope) - 1.0)
                for (a, _), m in zip(points, kernel_moments(bundle, points, True, quick))
            ]

        try:
            return solve(bundle, off), off, shift
        except OgiveError as error:
            failed = failed or error
    assert failed is not None
    raise failed


def solve(bundle: Bundle, off: Conditions) -> Point:
    """alpha and beta at which both of ``off`` vanish: Newton in (log alpha, beta), steps cut until they help, by the
    quick quadrature where that finds a solution; the caller holds it to the adaptive one."""
    what = f"tailoring of {bundle.act.label}"
    try:
        return newton(off, STARTS, True, NAMES, what)
    except OgiveError:
        return newton(off, STARTS, False, NAMES, what)


def _along(bundle: Bundle, off: Callable[[float, float], float]) -> Point:
    """alpha for beta = 1 or -1, where C'(1) alone is asked for."""
    for beta in (1.0, -1.0):
        previous: tuple[float, float] | None = None
        for k in range(-24, 25):
            alpha = 10.0 ** (k / 8.0)
            try:
                value = off(alpha, beta)
            except (OgiveError, ZeroDivisionError):
                previous = None
                continue
            if previous is not None and previous[1] < 0.0 <= value:
                return root(lambda a, b=beta: off(a, b), previous[0], alpha), beta  # type: ignore[misc]
            previous = (alpha, value)
    label = bundle.act.label
    raise OgiveError(f"tailoring of {label}: C'(1) does not reach the target for any alpha at beta = 1 or -1")

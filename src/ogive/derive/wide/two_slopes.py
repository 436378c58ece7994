"""Functions of two slopes, f(t x) = t f(x) for t > 0: how steep either side is, and their kernel map in closed form."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from ogive.activation import Activation
from ogive.derive.integrals.bundle import Bundle
from ogive.errors import OgiveError


def two_slopes(bundle: Bundle) -> float | None:
    """f(-1)/f(1) of a function with f(t x) = t f(x) for t > 0, else None."""
    t = torch.tensor([1e-6, 0.3, 1.0, 7.0, 1e5], dtype=torch.float64)
    right, left = bundle.at(t) / t, bundle.at(-t) / t
    flat = all(bool(((s - s[2]).abs() <= 1e-14 * s[2].abs()).all()) for s in (right, left))
    return -float(left[2]) / float(right[2]) if flat and float(right[2]) != 0.0 else None


def lever(act: Activation, values: Mapping[str, float]) -> tuple[str, float, float]:
    """The parameter that sets the ratio of the two slopes: its name, and ratio = a + b value."""
    for key, param in act.params.items():
        at = [v for v in (0.25, 0.5, 0.75) if param.admits(v)]
        ratios = [two_slopes(Bundle(act, {**values, key: v})) for v in at]
        if len(ratios) == 3 and None not in ratios:
            r0, r1, r2 = (float(r or 0.0) for r in ratios)
            rate = (r2 - r0) / 0.5
            if rate != 0.0 and abs(r1 - 0.5 * (r0 + r2)) < 1e-14:
                return key, r0 - 0.25 * rate, rate
    raise OgiveError(
        f"tailoring of {act.label}: it has two slopes and no parameter that sets them, so scaling and shifting "
        "leave one number free; use leaky_relu, or method='dks' with slope=None"
    )


def two_slope_map(c: float, a: float) -> float:
    """C(c) of max(x, 0) + a min(x, 0), normalised: ``c + (1 - a)^2/(pi (1 + a^2)) (sqrt(1 - c^2) - c arccos c)``.

    >>> round(two_slope_map(0.0, 0.0) * 3.141592653589793, 12)
    1.0
    """
    c = min(max(c, -1.0), 1.0)
    return c + (1.0 - a) ** 2 / (math.pi * (1.0 + a * a)) * (math.sqrt(1.0 - c * c) - c * math.acos(c))

"""How far a slider goes: round the default, inside what the parameter admits."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from ogive.activation import Param

_STEPS = 400.0


@dataclass(frozen=True)
class Slider:
    """A slider from ``low`` to ``high``; the parameter itself admits numbers between ``least`` and ``most`` (None:
    without end), the ends too if ``closed``."""

    name: str
    value: float
    low: float
    high: float
    step: float
    note: str
    least: float | None = None
    most: float | None = None
    closed: bool = True

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


def slider(name: str, param: Param) -> Slider:
    """The slider of one parameter.

    Its ends are the parameter's own where it has them, else the default plus and minus twice its size (at
    least 2). An end that is not admitted is moved one step inside.

    >>> s = slider("beta", Param(1.0, low=0.0))
    >>> s.low, s.high, s.step
    (0.01, 3.0, 0.01)
    """
    value = float(param.default or 0.0)
    room = max(2.0, 2.0 * abs(value))
    low = param.low if math.isfinite(param.low) and value - param.low <= 4 * room else value - room
    high = param.high if math.isfinite(param.high) and param.high - value <= 4 * room else value + room
    low, high = max(low, param.low), min(high, param.high)
    step = 10.0 ** math.floor(math.log10((high - low) / (_STEPS / 4.0)))
    if low == param.low and not param.closed:
        low += step
    if high == param.high and not param.closed:
        high -= step
    note = "; ".join(filter(None, [f"in {param.interval}" if param.interval else "", param.note]))
    low, high = (float(f"{v:.12g}") for v in (low, high))
    return Slider(
        name, value, min(low, value), max(high, value), step, note,
        param.low if math.isfinite(param.low) else None, param.high if math.isfinite(param.high) else None,
        param.closed,
    )  # fmt: skip

"""The slopes of a function on the two sides of many numbers at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ogive.activation import Activation
from ogive.certify.subject import Subject
from ogive.derive.pieces import enclosure
from ogive.derive.signs.enclosure import Enclosure
from ogive.errors import OgiveError
from ogive.intervals import box

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
VERTICAL = 1e100  # a slope beyond this next to a break is taken for infinite
# Neighbours, in units in the last place (at 0: of 2^-1000), at which the slope of a side is read off: the first at
# which no choice is open and the enclosure is finite.
_STEPS = (1.0, 4.0, 2.0**10, 2.0**20)
_STEPS_AT_ZERO = (2.0**-1000, 2.0**-500, 2.0**-100, 2.0**-40)


@dataclass(frozen=True, eq=False)
class Sides:
    """Enclosures of the slopes from the left and from the right, equal where no branch ends.

    ``broken`` where one ends within a unit in the last place of a double, ``jump`` where the value jumps there,
    ``apart`` where the two slopes differ, ``vertical`` where one is infinite; ``bend`` bounds \\|f''\\|,
    ``slack`` is how far the slopes themselves may be off.
    """

    low_left: Array
    high_left: Array
    low_right: Array
    high_right: Array
    bend: Array
    slack: Array
    broken: Mask
    jump: Mask
    apart: Mask
    vertical: Mask

    def left(self, i: int) -> float:
        return 0.5 * (float(self.low_left[i]) + float(self.high_left[i]))

    def right(self, i: int) -> float:
        return 0.5 * (float(self.low_right[i]) + float(self.high_right[i]))


def enclosed(act: Activation, x: Array) -> Sides:
    """Of a formula; of one that declares a surrogate, the values of the surrogate on the two sides."""
    name, numbers = act.inputs[0], act.defaults
    if act.backward is None:
        f, k = enclosure(act.expr, name, tuple(numbers.items())), 1
    else:
        f, k = Enclosure.of(act.backward, name, numbers, 1), 0
    down, up = np.nextafter(x, -math.inf), np.nextafter(x, math.inf)
    broken = f(box(down, up), tuple(range(k + 1))).broken
    at = f.at(x, (k, k + 1))
    slope, bend = at.boxes[0].copy(), np.abs(at.boxes[1]).max(0)
    left, right = slope.copy(), slope.copy()
    jump = np.zeros(len(x), dtype=bool)
    where = np.flatnonzero(broken)
    if len(where):
        (before, bend_before, low), (after, bend_after, high) = (_beside(f, k, x[where], way) for way in (-1.0, 1.0))
        left[:, where], right[:, where] = before, after
        bend[where] = np.maximum(bend_before, bend_after)
        if k:
            height = f.at(x[where], (0,)).boxes[0]
            jump[where] = _gap(low[0], height, low[1]) | _gap(height, high[0], high[1])
            jump[where] |= _gap(low[0], high[0], low[1] + high[1])
    with np.errstate(all="ignore"):
        size = 1e-9 * (1.0 + np.abs(left[0]) + np.abs(right[0]))
        apart = broken & ((left[0] > right[1] + size) | (right[0] > left[1] + size))
    steep = (np.abs(left) > VERTICAL) | (np.abs(right) > VERTICAL)
    return Sides(left[0], left[1], right[0], right[1], bend, np.zeros(len(x)), broken, jump, apart,
                 steep.any(0) & broken)  # fmt: skip


def _gap(a: Array, b: Array, near: Array) -> Mask:
    """Whether two values differ by more than ``near``, what the slope makes of the step between them, and rounding."""
    with np.errstate(all="ignore"):
        size = near + 1e-12 * np.maximum(np.abs(a), np.abs(b)).max(0)
        apart: Mask = (a[0] > b[1] + size) | (b[0] > a[1] + size)
    return apart


def _beside(f: Enclosure, k: int, x: Array, way: float) -> tuple[Array, Array, tuple[Array, Array]]:
    """The slope and the size of the curvature at the nearest neighbour at which they are known; the value there and
    eight times what a step of that length along that slope makes."""
    unit = np.spacing(np.abs(x))
    slope = np.stack([np.full(len(x), -math.inf), np.full(len(x), math.inf)])
    height, bend, near = slope.copy(), np.zeros(len(x)), np.full(len(x), math.inf)
    open_ = np.ones(len(x), dtype=bool)
    for step, at_zero in zip(_STEPS, _STEPS_AT_ZERO):
        y = x + way * np.where(x == 0.0, at_zero, step * unit)
        seen = f.at(y, (*range(k + 1), k + 1))
        rate = seen.boxes[k]
        use = open_ & ~seen.broken & np.isfinite(rate).all(0)
        slope[:, use], height[:, use] = rate[:, use], seen.boxes[0][:, use]
        bend[use] = np.abs(seen.boxes[k + 1]).max(0)[use]
        near[use] = (8.0 * np.abs(rate).max(0) * np.abs(y - x))[use]
        open_ &= ~use
    return slope, np.where(np.isfinite(bend), bend, 0.0), (height, near)


def by_differences(what: Subject, x: Array) -> Sides:
    """Of code that cannot be read as a formula: one-sided difference quotients of its float64 result, each good to
    about 1e-5 of 1 + \\|f'\\|; beyond \\|x\\| = 1000 nothing is held against it."""
    assert what.run is not None
    wide = torch.from_numpy(np.ascontiguousarray(x))
    step = 1e-6 * (1.0 + wide.abs())
    try:
        with torch.no_grad():
            here, before, after = (what.run(v).double().numpy() for v in (wide, wide - step, wide + step))
            nearer = [what.run(wide + s * 0.5 * step).double().numpy() for s in (-1.0, 1.0)]
    except (RuntimeError, NotImplementedError) as error:
        raise OgiveError(f"check_ad of {what.label}: it fails in float64: {error}") from error
    h = step.numpy()
    with np.errstate(all="ignore"):
        left, right = (here - before) / h, (after - here) / h
        room = 1e-4 * (1.0 + np.abs(left) + np.abs(right))
        # A quotient that doubles as the step is halved belongs to a jump, not to a slope.
        steeper = [(here - nearer[0]) / (0.5 * h), (nearer[1] - here) / (0.5 * h)]
        jump = np.zeros(len(x), dtype=bool)
        for far, near in zip((left, right), steeper):
            jump |= (np.abs(near) > 1e3) & (np.abs(near) > 1.9 * np.abs(far)) & (np.abs(far) > 0.0)
        apart = np.abs(right - left) > 1e-2 * (1.0 + np.abs(left))
    lost = ~(np.isfinite(left) & np.isfinite(right)) | (np.abs(x) > 1e3)
    broken = np.ones(len(x), dtype=bool)
    return Sides(left, left, right, right, np.zeros(len(x)), np.where(lost, math.inf, room), broken, jump & ~lost,
                 apart & ~jump & ~lost, lost)  # fmt: skip

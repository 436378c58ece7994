"""Where a signal breaks down on its way through a network, by the numbers of a run."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from ogive.probe.measurement import Run, Seen
from ogive.surgery.graph import Node

Row = tuple[int, Seen, str]  # number of the layer from 0, what was measured, its name

# A square that changed 10,000 times, or a gradient 100 times, is a vector that grew or shrank a hundredfold: one
# learning rate no longer fits the first and the last layer.
SQUARE, GRADIENT = 1e4, 1e2
ALIKE = 0.02  # of what told two inputs apart at the first layer


@dataclass(frozen=True)
class Break:
    """``what`` begins at ``layer``, number ``depth`` from 1: seen from the input, and from the output for gradients."""

    what: str
    layer: str
    depth: int
    figure: str

    def __str__(self) -> str:
        return f"{self.what} at layer {self.depth} ({self.layer}): {self.figure}"

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


def breaks(run: Run, names: tuple[str, ...]) -> tuple[Break, ...]:
    """The first layer at which each of these begins: signal or gradient not finite, vanishing, exploding; inputs alike.

    Layers are compared step by step, and a step over a pooling does not count: an average over positions makes small
    and alike whatever comes in. Layers whose weights are all zero are passed over: so a residual branch may start.
    """
    rows = [(i, s, names[i]) for i, s in enumerate(run.seen) if s.weight != 0.0]
    found = (_signal(rows), _alike(rows), _gradient(rows[::-1]))
    return tuple(b for b in found if b is not None)


def _pooled(node: Node) -> bool:
    """Whether something between this linear map and those before it makes one value of many."""
    stack, seen = list(node.parents), set()
    while stack:
        at = stack.pop()
        if at.kind == "linear" or at.index in seen:
            continue
        seen.add(at.index)
        if at.kind == "mix" and at.parents and 0 < math.prod(at.shape) < math.prod(at.parents[0].shape):
            return True
        stack.extend(at.parents)
    return False


def _changes(rows: list[Row], values: list[float], backward: bool) -> list[float]:
    """By what each layer's value differs from the first one's, steps over a pooling left out."""
    change, factor, last = [], 1.0, math.nan
    for k, value in enumerate(values):
        over = k > 0 and _pooled(rows[k - 1 if backward else k][1].node)
        if k and not over and last > 0.0:
            factor *= value / last
        if math.isfinite(value) and value > 0.0:
            last = value
        change.append(factor)
    return change


def _beyond(rows: list[Row], values: list[float], limit: float, what: str, figure: str, backward: bool) -> Break | None:
    """Where ``what`` is not finite, or has changed ``limit`` times."""
    for (i, _, name), value, change in zip(rows, values, _changes(rows, values, backward)):
        if not math.isfinite(value):
            return Break(f"the {what} is not finite", name, i + 1, f"{figure} {value:g}")
        if not 1.0 / limit <= change <= limit:
            fate = "vanishes" if change < 1.0 else "explodes"
            return Break(
                f"the {what} {fate}", name, i + 1, f"{figure} {value:.2g}, changed by a factor of {change:.1g}"
            )
    return None


def _signal(rows: list[Row]) -> Break | None:
    return _beyond(rows, [s.square for _, s, _ in rows], SQUARE, "signal", "mean square", False)


def _alike(rows: list[Row]) -> Break | None:
    rows = [row for row in rows if math.isfinite(row[1].correlation)]
    values = [1.0 - s.correlation for _, s, _ in rows]
    for (i, s, name), change in zip(rows, _changes(rows, values, False)):
        if change < ALIKE:
            return Break("inputs become alike", name, i + 1,
                         f"correlation {s.correlation:.5f}, {change:.1g} of the difference is left")  # fmt: skip
    return None


def _gradient(rows: list[Row]) -> Break | None:
    # of a layer without a gradient the output does not depend on it, or a branch begins at zero
    rows = [row for row in rows if not math.isnan(row[1].gradient) and row[1].gradient != 0.0]
    return _beyond(rows, [s.gradient for _, s, _ in rows], GRADIENT, "gradient", "norm", True)

"""A piecewise-linear activation as its cuts and lines, read off its proved pieces."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.derive.pieces import pieces
from ogive.errors import InputError
from ogive.lookup import scalar
from ogive.verify.formula import Formula
from ogive.verify.network import Network, Step

_SLIVER = 1e-9  # rows of pieces this narrow are cuts, not stretches


@dataclass(frozen=True)
class LinearPieces:
    """``f(x) = slopes[k] x + intercepts[k]`` between ``cuts[k - 1]`` and ``cuts[k]``; one line more than cuts."""

    activation: str
    cuts: tuple[float, ...]
    slopes: tuple[float, ...]
    intercepts: tuple[float, ...]

    def piece(self, x: Tensor) -> Tensor:
        """The number of the piece that holds each element; at a cut the left one."""
        return torch.bucketize(x, torch.tensor(self.cuts, dtype=x.dtype))

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


def linear_pieces(spec: Any, **params: float) -> LinearPieces:
    """The cuts and lines of a piecewise-linear activation, jumps allowed.

    ``spec`` is a name, a formula, an Activation or an ``ogive.Act`` of one input. Raises
    :class:`~ogive.errors.InputError` for one that is not piecewise linear with finitely many pieces, naming a stretch.

    >>> linear_pieces("hardtanh").cuts, linear_pieces("leaky_relu").slopes
    ((-1.0, 1.0), (0.01, 1.0))
    """
    act, values = scalar(spec, "linear pieces", params)
    return _linear(act, tuple(values.items()))


@lru_cache(maxsize=256)
def _linear(act: Activation, values: tuple[tuple[str, float], ...]) -> LinearPieces:
    found = pieces(act, **dict(values))
    if found.period is not None:
        raise InputError(f"{act.label} is periodic: it has no finite number of linear pieces")
    rows = []
    for r in found.rows:
        if r.hi - r.lo <= _SLIVER * max(abs(r.lo), abs(r.hi), 1.0):
            continue
        if r.curvature != 0 or r.derivative[1] - r.derivative[0] > 1e-12 * (1.0 + abs(r.derivative[0])):
            raise InputError(f"{act.label} is not piecewise linear, or not proved to be: see x from {r.lo:.6g} to "
                             f"{r.hi:.6g}")  # fmt: skip
        rows.append(r)
    known = act.breakpoints(**dict(values))
    cuts: list[float] = []
    lines: list[tuple[float, float]] = []
    for i, r in enumerate(rows):
        slope = min(r.derivative, key=lambda v: len(repr(v)))  # of two neighbouring doubles the one written shorter
        at = min(max(0.0, r.lo), r.hi)
        if i:
            middle = 0.5 * rows[i - 1].hi + 0.5 * r.lo
            near = [b for b in known if abs(b - middle) <= 4.0 * _SLIVER * max(1.0, abs(middle))]
            cuts.append(near[0] if near else middle)
        value = float(act(torch.tensor(at, dtype=torch.float64), **dict(values)))
        lines.append((slope, value - slope * at + 0.0))
    for i in reversed(range(len(cuts))):  # a sliver about no kink
        if lines[i] == lines[i + 1]:
            del cuts[i], lines[i + 1]
    return LinearPieces(act.label, tuple(cuts), *(tuple(v) for v in zip(*lines)))


def of_step(network: Network, step: Step) -> list[LinearPieces]:
    """The pieces of every element of one nonlinear step, in flat order. Raises :class:`~ogive.errors.InputError` for
    an operation that is not piecewise linear in single elements."""
    operation = step.operation
    where = step.where or "the model itself"
    if not isinstance(operation, Formula):
        raise InputError(f"{network.model}: {operation.name} in {where} mixes or multiplies elements; pieces are "
                         "followed through linear layers and piecewise-linear functions of single "
                         "elements")  # fmt: skip
    made: list[LinearPieces] = [linear_pieces(operation.groups[0][0])] * math.prod(step.shape)
    for act, places in operation.groups:
        if places is not None:
            for i in places.tolist():
                made[i] = linear_pieces(act)
    return made

"""Linear bounds carried backward through a network (CROWN), with what rounding can cost taken off.

Rows of coefficients A start at one step, ``A z``, and are carried to the input: through a linear step by its
transpose, through a nonlinear one by planes. The computed A differs from the exact product; since the next step uses
the computed one, each step only owes its own rounding, at most gamma |A| size with size the sum of absolute values
behind every element, and that is subtracted. What remains is a bound in real arithmetic.
Source: Zhang et al. 2018, "Efficient neural network robustness certification with general activation functions".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from ogive.verify.network import Box, Network, Step
from ogive.verify.relaxation import Elementwise, Relaxation, dot
from ogive.verify.rounding import gamma, least


class Region(Protocol):
    """The set of inputs: the least value of a linear functional over it."""

    def box(self) -> Box:
        """The smallest box around it, one example a row."""

    def least(self, rows: Tensor) -> Tensor:
        """For rows ``[rows, examples, *shape]`` the least value of each over the region, rounded down."""


def lower_bounds(
    network: Network,
    start: int,
    rows: Tensor,
    boxes: Sequence[Box],
    relaxed: Callable[[Step], Relaxation],
    region: Region,
    penalty: Mapping[int, Callable[[Tensor], tuple[Tensor, Tensor]]] | None = None,
    stop: bool = False,
    watch: Callable[[Step, Tensor], None] | None = None,
) -> Tensor:
    """Lower bounds of ``A z`` over ``region`` for the result z of step ``start``: ``[rows, examples]``.

    Args:
        network, boxes: the steps, and for each a box that holds its values on the region.
        rows: A, ``[rows, examples or 1, *shape of the step]``.
        relaxed: the planes of a nonlinear step.
        penalty: for a step, what is added to its coefficients and to the bound: multipliers of split constraints.
        stop: end at the first nonlinear steps, at their boxes (interval bound propagation with the last linear
            layers taken together).
        watch: is shown the coefficients of every step.
    """
    coefficients: dict[int, Tensor] = {start: rows}
    shares: dict[int, int] = {start: 1}
    folded: set[int] = set()
    dtype = rows.dtype
    total = rows.new_zeros(len(rows), len(boxes[0].lo))
    owed = torch.zeros_like(total)
    end = gamma(2.0 * len(network.steps) + 8.0, dtype)
    for step in reversed(network.steps[: start + 1]):
        a = coefficients.pop(step.index, None)
        if a is None:
            continue
        if penalty is not None and step.index in penalty:
            more, constant = penalty[step.index](a)
            a, total, owed = a + more, total + constant, owed + constant.abs()
            shares[step.index] += 1
        if shares[step.index] > 1:  # coefficients were added up: a rounding for each
            total = total - gamma(shares[step.index] + 8.0, dtype) * dot(a.abs(), boxes[step.index].reach)
        if watch is not None:
            watch(step, a)
        if step.operation is None:
            found = region.least(a)
            total, owed = total + found, owed + found.abs()
            continue
        if step.linear:
            if step.index not in folded and not step.operation.exact:
                bias = step.operation.bias(dtype)
                if bias is not None:
                    term = dot(a, bias.expand(step.shape).unsqueeze(0))
                    total, owed = total + term, owed + term.abs()
                size = step.operation.size([boxes[i].reach for i in step.inputs])
                terms = step.operation.terms + math.prod(step.shape) + 8.0
                total = total - gamma(terms, dtype) * dot(a.abs(), size)
            parts = step.operation.transpose(a)
        elif stop:
            value = dot(a.clamp(min=0.0), boxes[step.index].lo) + dot(a.clamp(max=0.0), boxes[step.index].hi)
            slack = gamma(math.prod(step.shape) + 8.0, dtype) * dot(a.abs(), boxes[step.index].reach)
            total, owed = total + value - slack, owed + value.abs()
            continue
        else:
            planes = relaxed(step)
            before = network.steps[step.inputs[0]]
            if isinstance(planes, Elementwise) and _foldable(network, step, before, penalty):
                if not planes.folded:
                    size = before.operation.size([boxes[i].reach for i in before.inputs])
                    bias = before.operation.bias(dtype)
                    planes.fold(None if bias is None else bias.expand(before.shape), size,
                                before.operation.terms + math.prod(before.shape))  # fmt: skip
                folded.add(before.index)
            value, parts = planes.through(a)
            total, owed = total + value, owed + value.abs()
        for i, part in zip(step.inputs, parts):
            if i in coefficients:
                coefficients[i], shares[i] = coefficients[i] + part, shares[i] + 1
            else:
                coefficients[i], shares[i] = part, 1
    return total - end * (owed + total.abs()) - least(dtype)


def _foldable(network: Network, step: Step, before: Step, penalty: Mapping[int, object] | None) -> bool:
    """Whether the linear step before can be charged here: nothing else uses it."""
    alone = len(step.inputs) == 1 and before.linear and network.uses[before.index] == 1
    return alone and not before.operation.exact and (penalty is None or before.index not in penalty)

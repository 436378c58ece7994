"""A traced model as the verifier sees it: steps in order of execution, each one operation on the results of others.

Tensors carry the leading dimensions of the verifier (examples, rows of coefficients) before the shape that the step
had when the model was traced with one example.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from ogive.errors import InputError


class Box(NamedTuple):
    """Every element between ``lo`` and ``hi``, tensors of the same shape."""

    lo: Tensor
    hi: Tensor

    @property
    def reach(self) -> Tensor:
        """The largest absolute value in the box."""
        return torch.maximum(self.lo.abs(), self.hi.abs())


class Unbounded(InputError):
    """An operation without finite bounds on the values that reach it."""


class Operation(Protocol):
    """What a step does. ``linear`` ones are propagated exactly, the others are relaxed by lines."""

    name: str
    linear: bool

    def evaluate(self, values: Sequence[Tensor]) -> Tensor:
        """The result on values with any leading dimensions."""

    def interval(self, boxes: Sequence[Box]) -> Box:
        """A box that holds the result on every point of the boxes, rounded outward."""


@dataclass(frozen=True, eq=False)
class Step:
    """One operation: ``inputs`` index earlier steps, ``shape`` is that of one example, ``where`` the module."""

    index: int
    operation: Any  # an Operation; None for the input of the network
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    where: str

    @property
    def linear(self) -> bool:
        return self.operation is not None and self.operation.linear

    def __repr__(self) -> str:
        name = "input" if self.operation is None else self.operation.name
        return f"<{self.index} {name} in {self.where or 'the model'}, from {list(self.inputs)}, {self.shape}>"


@dataclass(frozen=True, eq=False)
class Network:
    """All steps; the first is the input, ``output`` is the index of the result.

    ``notes`` say what a reader of a bound has to know (an activation with a declared surrogate derivative is bounded
    by its forward function).
    """

    steps: tuple[Step, ...]
    output: int
    model: str
    notes: tuple[str, ...] = ()

    def evaluate(self, x: Tensor) -> Tensor:
        """The output for ``x``, one example a row: what the model computes, by the steps that were traced."""
        values: dict[int, Tensor] = {0: x.reshape(len(x), *self.steps[0].shape)}
        for step in self.steps[1:]:
            values[step.index] = step.operation.evaluate([values[i] for i in step.inputs])
        return values[self.output]

    def boxes(self, x: Box) -> list[Box]:
        """Interval bounds of every step, by interval arithmetic alone."""
        found: list[Box] = [x]
        for step in self.steps[1:]:
            found.append(checked(step, step.operation.interval([found[i] for i in step.inputs])))
        return found

    @property
    def nonlinear(self) -> list[Step]:
        """The steps that are relaxed, in order."""
        return [s for s in self.steps if s.operation is not None and not s.operation.linear]

    @cached_property
    def uses(self) -> dict[int, int]:
        """How many steps use each one; the result counts as used once more."""
        found = {s.index: int(s.index == self.output) for s in self.steps}
        for step in self.steps:
            for i in step.inputs:
                found[i] += 1
        return found

    def __repr__(self) -> str:
        kinds: dict[str, int] = {}
        for step in self.nonlinear:
            kinds[step.operation.name] = kinds.get(step.operation.name, 0) + 1
        listed = ", ".join(f"{n} x {k}" for k, n in kinds.items())
        return f"Network({self.model}: {len(self.steps)} steps, nonlinear: {listed or 'none'})"


def checked(step: Step, box: Box) -> Box:
    """``box`` itself when it is finite. Raises :class:`Unbounded` that names the operation."""
    if not bool(torch.isfinite(box.lo).all() & torch.isfinite(box.hi).all()):
        where = step.where or "the model itself"
        raise Unbounded(f"verify: {step.operation.name} in {where} has no finite bounds on the values that reach it "
                        "(a pole, an overflow or an infinite input); a smaller eps or a bounded activation before it "
                        "helps")  # fmt: skip
    return box

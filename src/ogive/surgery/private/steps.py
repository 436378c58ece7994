"""Affine maps, polynomials and sums in order: what a scheme of additions and multiplications can run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Step:
    """One step of a :class:`Circuit`: ``result = op(inputs)``, wires by number (0 is the input).

    ``affine`` is ``v W + b`` (W of shape (n, m)), ``polynomial`` is ``sum_k c_k v^k`` by entry, ``square`` is ``v^2``,
    ``add`` the sum of two wires. ``level`` is the number of multiplications in a row up to its result.
    """

    op: str
    name: str
    inputs: tuple[int, ...]
    result: int
    level: int
    weight: Array | None = None
    bias: Array | None = None
    coefficients: tuple[float, ...] = ()

    def __call__(self, *values: Array) -> Array:
        """In plain numbers."""
        if self.op == "affine":
            assert self.weight is not None and self.bias is not None
            mapped: Array = values[0] @ self.weight + self.bias
            return mapped
        if self.op == "add":
            return values[0] + values[1]
        if self.op == "square":
            return values[0] * values[0]
        made: Array = np.polynomial.polynomial.polyval(values[0], np.array(self.coefficients))
        return made


@dataclass(frozen=True)
class Circuit:
    """Steps that take the flat input of one example to its flat output."""

    steps: tuple[Step, ...]
    inputs: int
    outputs: int

    @property
    def depth(self) -> int:
        """Multiplications in a row from input to output."""
        return self.steps[-1].level if self.steps else 0

    def __call__(self, x: Array) -> Array:
        """The outputs in plain numbers, float64, for rows of inputs."""
        wires = {0: np.asarray(x, dtype=np.float64).reshape(-1, self.inputs)}
        last = 0
        for step in self.steps:
            wires[step.result] = step(*(wires[i] for i in step.inputs))
            last = step.result
        return wires[last]

    def __repr__(self) -> str:
        lines = [f"circuit of depth {self.depth}, {self.inputs} inputs, {self.outputs} outputs"]
        for s in self.steps:
            size = f"{s.weight.shape[0]} -> {s.weight.shape[1]}" if s.weight is not None else ""
            size = f"degree {len(s.coefficients) - 1}" if s.coefficients else size
            lines.append(f"{s.op:<11} {size:<14} level {s.level:<3} {s.name}")
        return "\n".join(line[:80].rstrip() for line in lines)

    def to_dict(self) -> dict[str, Any]:
        """Names, sizes and levels of the steps, ready for JSON."""
        return {"depth": self.depth, "inputs": self.inputs, "outputs": self.outputs,
                "steps": [{"op": s.op, "name": s.name, "level": s.level} for s in self.steps]}  # fmt: skip

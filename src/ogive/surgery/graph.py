"""The graph of one forward run: what happened to the signal, in order, with the formula of every nonlinearity."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ogive.activation import Activation

# What a node does to the second moment of the signal:
#   input, constant, parameter, embedding, opaque   where a signal starts (or where it cannot be followed)
#   linear                                          a matrix or a convolution with a learned weight
#   act, gate                                       f(x); the product of two branches
#   add, join                                       the sum of two branches; several tensors in one
#   scale                                           a x + b with numbers, buffers or learned vectors
#   norm                                            fixes the scale whatever came in
#   pass                                            the same values in another shape
#   mix                                             followed, but not by a formula: pooling, softmax, attention
KINDS = ("input", "constant", "parameter", "embedding", "opaque", "linear", "act", "gate", "add", "join", "scale",
         "norm", "pass", "mix")  # fmt: skip


class Call(NamedTuple):
    """A call that helped to make a formula: the module whose code made it (``#2`` in its second run), the function,
    the how many-th of that name in this run of that code (0: the module itself, which carries its formula), and the
    argument that held the signal."""

    owner: str
    name: str
    nth: int = 0
    slot: int | str | None = None

    def __str__(self) -> str:
        return f"{self.owner}:{self.name}" if self.owner else self.name


@dataclass(frozen=True)
class Weight:
    """How a linear map uses its weight: which dimensions are summed over, how many terms each way.

    ``fan_in`` is the number of products in one output, ``fan_out`` the mean number of outputs one input goes
    into (a stride divides it). ``inward`` and ``outward`` are dimensions of the parameter as it is stored.
    ``name`` and ``bias`` are keys of ``named_parameters``; a weight that is computed has ``name=""``.
    """

    name: str
    bias: str
    shape: tuple[int, ...]
    fan_in: float
    fan_out: float
    inward: tuple[int, ...]
    outward: tuple[int, ...]
    why_not: str = ""  # the reason when it cannot be set


@dataclass(eq=False)
class Node:
    """One step. ``moment`` is the mean square measured in the run; ``factor`` and ``offset`` are the mean squares
    of a and b in a x + b; ``learned`` says that one of them is a parameter."""

    index: int
    kind: str
    op: str
    owner: str
    parents: tuple[Node, ...] = ()
    shape: tuple[int, ...] = ()
    moment: float = math.nan
    activation: Activation | None = None
    label: str = ""
    calls: tuple[Call, ...] = ()
    weight: Weight | None = None
    factor: float = 1.0
    offset: float = 0.0
    learned: bool = False
    scale_name: str = ""  # of a norm or a learned scale: the parameter that multiplies
    note: str = ""
    children: list[Node] = field(default_factory=list)

    def __repr__(self) -> str:
        what = self.label or self.op
        return (
            f"<{self.index} {self.kind} {what} in {self.owner or 'the model'}, from {[p.index for p in self.parents]}>"
        )

    def ancestors(self) -> Iterator[Node]:
        """Every node the signal came through, each once, not the node itself."""
        seen: set[int] = set()
        stack = list(self.parents)
        while stack:
            node = stack.pop()
            if node.index not in seen:
                seen.add(node.index)
                yield node
                stack.extend(node.parents)


@dataclass(frozen=True)
class Stop:
    """A call that could not be followed: its name, the module it happened in, and what that means."""

    call: str
    owner: str
    why: str

    def __str__(self) -> str:
        return f"{self.call} in {self.owner or 'the model itself'}: {self.why}"


@dataclass(frozen=True)
class Graph:
    """All nodes in order of execution, and the calls that stopped the following."""

    nodes: tuple[Node, ...]
    outputs: tuple[Node, ...]
    stops: tuple[Stop, ...]

    def of_kind(self, *kinds: str) -> list[Node]:
        """The nodes of these kinds, in order."""
        return [n for n in self.nodes if n.kind in kinds]

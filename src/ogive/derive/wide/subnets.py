"""The largest slope, curvature or correlation over all parts of a network, from its layers and residual sums.

Deep kernel shaping bounds what happens in every subnetwork, not only from end to end. With each nonlinear layer
replaced by one and the same map r, the value after a chain is r applied again and again, and after a normalised
residual sum the mean of both branches, weighted by their variances.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Union

from ogive.errors import InputError, ParameterError

Map = Callable[[float], float]


@dataclass(frozen=True)
class Residual:
    """``skip * shortcut(x) + branch * layers(x)``: factors as in the network, of which only the ratio counts.

    ``layers`` and ``shortcut`` are graphs themselves: a number of nonlinear layers, or a sequence of numbers and
    residual sums.
    """

    layers: Graph
    branch: float = math.sqrt(0.5)
    skip: float = math.sqrt(0.5)
    shortcut: Graph = 0

    def __post_init__(self) -> None:
        for name in ("branch", "skip"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise ParameterError(f"Residual: {name}={value!r}; it takes a finite number")
        if self.branch == 0.0 and self.skip == 0.0:
            raise ParameterError("Residual: branch and skip are both 0, so nothing goes through")

    @property
    def share(self) -> float:
        """The branch's part of the variance of the sum."""
        return self.branch**2 / (self.branch**2 + self.skip**2)


class Reckoned(Protocol):
    """A network that knows its largest value itself, as :class:`ogive.derive.wide.network.Network` does."""

    def largest(self, x: float, r: Map) -> float: ...


Graph = Union[int, Residual, Reckoned, Sequence["Graph"]]  # noqa: UP007 (Python 3.10 cannot write it with |)


def through(graph: Graph, x: float, r: Map) -> float:
    """The value after ``graph`` of an input ``x``, every nonlinear layer replaced by ``r``.

    >>> through(3, 1.0, lambda y: 1.1 * y) == 1.1**3
    True
    """
    return _walk(graph, x, r)[0]


def largest(graph: Graph, x: float, r: Map) -> float:
    """The largest value over all subnetworks of ``graph`` from ``x``, for an increasing r with r(y) >= y.

    A subnetwork ends anywhere, also inside a branch that the residual sum would dilute; one that begins later begins
    with a smaller value. Source: Martens et al. 2021, Rapid training of deep neural networks without skip connections
    or normalization layers, for the definition.

    >>> largest([Residual(3, branch=0.6, skip=0.8)], 1.0, lambda y: 2 * y)
    8.0
    """
    own: Any = getattr(graph, "largest", None)
    return float(own(x, r)) if callable(own) else _walk(graph, x, r)[1]


def _walk(graph: Graph, x: float, r: Map) -> tuple[float, float]:
    """The value at the end and the largest on the way."""
    if isinstance(graph, Residual):
        (inside, most), (beside, more) = _walk(graph.layers, x, r), _walk(graph.shortcut, x, r)
        end = graph.share * inside + (1.0 - graph.share) * beside
        return end, max(end, most, more)
    if isinstance(graph, int) and not isinstance(graph, bool):
        if graph < 0:
            raise ParameterError(f"graph: {graph} layers; a number of layers is from 0")
        best = x
        for _ in range(graph):
            x = r(x)
            best = max(best, x)
        return x, best
    if isinstance(graph, Sequence) and not isinstance(graph, str):
        best = x
        for part in graph:
            x, most = _walk(part, x, r)
            best = max(best, most)
        return x, best
    raise InputError(f"graph: {graph!r}; it takes a number of layers, a Residual, a sequence of these, or a Network")

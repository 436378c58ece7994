"""A network as a graph of nonlinear layers and normalised sums, and its largest slope over all subnetworks.

Chains and residual blocks written by hand are in :mod:`ogive.derive.wide.subnets`; this is for the graph of a model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ogive.derive.wide.subnets import Map
from ogive.errors import InputError


@dataclass(frozen=True)
class Step:
    """One step: ``kind`` is "input", "map" (a nonlinear layer), "same" (anything that leaves correlations alone) or
    "sum"; ``parents`` are indices of earlier steps; ``factor`` multiplies the variance of a "same"; ``unit`` says that
    its variance is 1 whatever came in (a normalisation)."""

    kind: str
    parents: tuple[int, ...] = ()
    factor: float = 1.0
    unit: bool = False


@dataclass(frozen=True)
class Network:
    """Steps in order of execution, each after its parents."""

    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        for i, step in enumerate(self.steps):
            count = {"input": 0, "map": 1, "same": 1}.get(step.kind)
            wrong = len(step.parents) != count if count is not None else step.kind != "sum" or not step.parents
            if wrong or any(not 0 <= p < i for p in step.parents):
                raise InputError(f"network: step {i} is {step!r}; its parents are earlier steps, as many as it takes")

    @property
    def layers(self) -> int:
        """The number of nonlinear layers."""
        return sum(s.kind == "map" for s in self.steps)

    def largest(self, x: float, r: Map) -> float:
        """The largest value over all subnetworks from ``x``, every nonlinear layer replaced by an increasing ``r`` with
        r(y) >= y. A subnetwork that begins later begins with a smaller value, so the input's run holds the maximum.

        >>> Network((Step("input"), Step("map", (0,)), Step("map", (1,)))).largest(1.0, lambda y: 2 * y)
        4.0
        """
        value: list[float] = []
        for step, share in zip(self.steps, self._shares):
            parts = [value[p] for p in step.parents]
            if step.kind == "sum":
                value.append(sum(s * v for s, v in zip(share, parts)))
            else:
                value.append(r(parts[0]) if step.kind == "map" else parts[0] if parts else x)
        return max(value, default=x)

    @cached_property
    def _shares(self) -> list[tuple[float, ...]]:
        """Of each sum, its parents' shares of the variance, when a layer gives variance 1 for variance 1."""
        variance: list[float] = []
        shares: list[tuple[float, ...]] = []
        for step in self.steps:
            parts = [variance[p] for p in step.parents]
            total = sum(parts)
            unit = step.kind in ("input", "map") or step.unit
            variance.append(1.0 if unit else total * step.factor)
            shares.append(tuple(v / total for v in parts) if total > 0.0 else ())
        return shares

"""Activation patterns as specifications: which units the examples of a class switch on and off, and what is proved of
all inputs that do the same.

A ball around one example is a poor description of a class; the inputs that share the phases of its dominant units are
a better one, reach further, and are easier to bound, since a relu whose phase is given is linear.
Source: Geng, Le, Xu, Wang, Gurfinkel and Si 2023, "Towards reliable neural specifications".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError
from ogive.verify.bounding import Bounds
from ogive.verify.formula import Formula
from ogive.verify.network import Box, Network
from ogive.verify.robustness import around, margin_rows
from ogive.verify.tracer import trace

METHODS = ("ibp", "crown-ibp", "crown")


@dataclass(frozen=True)
class Recall:
    """Of the examples of one class: how many there are, the share that follows its pattern, the share of all other
    examples that follows it too, and how many units the pattern fixes of how many."""

    label: int
    examples: int
    recall: float
    strangers: float
    fixed: int
    units: int


@dataclass(frozen=True, eq=False)
class Patterns:
    """For each class and each activation layer a tensor shaped like the layer: 1 where the unit is on (its input is at
    least 0), -1 where it is off (at most 0), 0 where it is free. ``layers`` are the steps whose signs count."""

    states: dict[int, dict[int, Tensor]]
    delta: float
    network: Network = field(repr=False)

    @property
    def layers(self) -> tuple[int, ...]:
        return tuple(next(iter(self.states.values())))

    def __repr__(self) -> str:
        fixed = [sum(int((s != 0).sum()) for s in layers.values()) for layers in self.states.values()]
        units = sum(s.numel() for s in next(iter(self.states.values())).values())
        return (f"Patterns({self.network.model}, delta={self.delta:g}: {len(self.states)} classes, "
                f"{min(fixed)} to {max(fixed)} of {units} units fixed)")  # fmt: skip

    def follows(self, x: Tensor, label: int) -> Tensor:
        """For each example whether its units have the phases of a class; true on the border between on and off."""
        values = preactivations(self.network, x, self.layers)
        agree = torch.ones(len(x), dtype=torch.bool)
        for layer, state in self._of(label).items():
            agree &= (values[layer] * state >= 0.0).flatten(1).all(1)
        return agree

    def recall(self, x: Tensor, labels: Tensor) -> tuple[Recall, ...]:
        """How well the patterns describe examples that they were not mined from."""
        rows = []
        units = sum(s.numel() for s in next(iter(self.states.values())).values())
        for label, layers in self.states.items():
            own, here = labels == label, self.follows(x, label)
            share = [float(here[k].double().mean()) if bool(k.any()) else math.nan for k in (own, ~own)]
            fixed = sum(int((s != 0).sum()) for s in layers.values())
            rows.append(Recall(label, int(own.sum()), share[0], share[1], fixed, units))
        return tuple(rows)

    def clip(self, label: int, dtype: torch.dtype = torch.float64) -> dict[int, Box]:
        """The pattern as boxes of the inputs of the activations, one example wide."""
        boxes = {}
        for layer, state in self._of(label).items():
            s = state.to(dtype).unsqueeze(0)
            low, high = torch.where(s > 0.0, 0.0, -math.inf), torch.where(s < 0.0, 0.0, math.inf)
            boxes[layer] = Box(low.to(dtype), high.to(dtype))
        return boxes

    def _of(self, label: int) -> dict[int, Tensor]:
        if label not in self.states:
            raise InputError(f"patterns: no pattern of class {label!r}; there are {sorted(self.states)}")
        return self.states[label]

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {"delta": self.delta, "states": {str(c): {str(k): s.tolist() for k, s in v.items()} for c, v in
                                                self.states.items()}}  # fmt: skip


def mine(model: nn.Module, x: Tensor, labels: Tensor, delta: float = 0.0) -> Patterns:
    """The phases that at least ``1 - delta`` of the examples of each class share, unit by unit.

    Args:
        model: as for :func:`ogive.verify.verify`; the units are the elements that its activations are applied to.
        x, labels: examples and their classes.
        delta: in [0, 0.5); 0 takes units on which all examples agree.

    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> x = torch.tensor([[1.0, 1.0], [1.1, 0.9], [-1.0, -1.0]])
    >>> mine(net, x, torch.tensor([0, 0, 1]))
    Patterns(Sequential, delta=0: 2 classes, 8 to 8 of 8 units fixed)
    """
    if not isinstance(delta, (int, float)) or not 0.0 <= delta < 0.5:
        raise InputError(f"patterns: delta={delta!r}; a share of at least 0 and less than a half")
    if labels.shape != (len(x),) or labels.is_floating_point() or not len(x):
        raise InputError("patterns: labels are whole numbers, one for each example")
    network = trace(model, x[:1])
    layers = tuple(sorted({s.inputs[0] for s in network.nonlinear if isinstance(s.operation, Formula)} - {0}))
    if not layers:
        raise InputError(f"patterns: {network.model} has no activation behind a layer, so no units to look at")
    values = preactivations(network, x, layers)
    states: dict[int, dict[int, Tensor]] = {}
    for label in labels.unique().tolist():
        own = labels == label
        found = {}
        for layer in layers:
            v = values[layer][own]
            on, off = ((v >= 0.0).double().mean(0) >= 1.0 - delta), ((v <= 0.0).double().mean(0) >= 1.0 - delta)
            found[layer] = (on.to(torch.int8) - off.to(torch.int8)).cpu()
        states[label] = found
    return Patterns(states, float(delta), network)


def preactivations(network: Network, x: Tensor, layers: tuple[int, ...]) -> dict[int, Tensor]:
    """What the activations are applied to, in float64: ``[examples, *shape of one example]`` for each step."""
    values: dict[int, Tensor] = {0: x.detach().double().reshape(len(x), *network.steps[0].shape)}
    with torch.no_grad():
        for step in network.steps[1:]:
            values[step.index] = step.operation.evaluate([values[i] for i in step.inputs])
    return {k: values[k] for k in layers}


@dataclass(frozen=True)
class PatternBounds:
    """Proved lower bounds of the margin of ``label`` on the inputs in the region of each example that follow the
    pattern; infinite where bounds show that no input there does."""

    label: int
    eps: float
    margins: tuple[float, ...]
    empty: tuple[bool, ...]
    method: str

    @property
    def verified(self) -> float:
        """The share of examples whose region, cut to the pattern, is proved to have the label."""
        return sum(m > 0.0 for m in self.margins) / max(len(self.margins), 1)

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return {"label": self.label, "eps": self.eps, "method": self.method, "empty": list(self.empty),
                "margins": [m if math.isfinite(m) else None for m in self.margins]}  # fmt: skip


def pattern_bounds(
    patterns: Patterns, label: int, x: Tensor, eps: float, *, method: str = "crown", norm: float = math.inf,
    within: tuple[float, float] | None = None, fixed: bool = True,
) -> PatternBounds:  # fmt: skip
    """Bounds over ``{z : |z - x| <= eps, z follows the pattern of label}`` of the label's score less the best other.

    Args:
        patterns: from :func:`mine`; they keep the network that they were mined from.
        x, eps, norm, within: the region, as for :func:`ogive.verify.verify`. With ``within`` a large eps is the whole
            input space.
        method: "ibp", "crown-ibp" or "crown".
        fixed: False leaves the phases free: the same bounds without the pattern, to compare with.
    """
    if method not in METHODS:
        raise InputError(f"patterns: method={method!r}; there are {', '.join(METHODS)}")
    if not isinstance(eps, (int, float)) or not 0.0 <= eps < math.inf:
        raise InputError(f"patterns: eps={eps!r}; a radius is a finite number, at least 0")
    clip = patterns.clip(label) if fixed else {}
    network, dtype = patterns.network, torch.float64
    known = torch.full((len(x),), label, dtype=torch.long)
    with torch.no_grad():
        region = around(network, x, eps, norm, within, dtype)
        bounds = Bounds(network, region, method == "crown", clip)
        found = bounds.lower(margin_rows(network, known, dtype), stop=method == "ibp").amin(0)
    found = torch.where(bounds.empty, math.inf, found)
    return PatternBounds(label, float(eps), tuple(found.tolist()), tuple(bounds.empty.tolist()), method)


def pattern_radius(
    patterns: Patterns, label: int, x: Tensor, *, most: float = 1.0, rounds: int = 12, **options: Any
) -> Tensor:
    """For each example the largest radius up to ``most`` with a proof, by bisection; 0 if there is none.

    ``options`` are those of :func:`pattern_bounds`, ``fixed=False`` among them.
    """
    good, bad = torch.zeros(len(x), dtype=torch.float64), torch.full((len(x),), most, dtype=torch.float64)
    for i in range(len(x)):
        for k in range(rounds + 1):
            eps = float(0.5 * (good[i] + bad[i])) if k else most
            holds = pattern_bounds(patterns, label, x[i : i + 1], eps, **options).margins[0] > 0.0
            (good if holds else bad)[i] = eps
            if k == 0 and holds:
                break
    return good

"""Bounds on the results of layers and norms that no nonlinearity follows: linear bottlenecks, read-outs, residual sums.

A fault in front of a bounded function ends there. What goes into a sum or the next layer without one travels on, so
these results are held to the values of the data too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import OgiveError
from ogive.surgery.effect import run
from ogive.surgery.follow import follow
from ogive.surgery.graph import Node


class Held:
    """A forward hook: the module's result within [low, high], NaN as 0. Keys of the ``state_dict`` stay.

    >>> layer = nn.Linear(1, 1)
    >>> hook = layer.register_forward_hook(Held(-1.0, 2.0))
    >>> _ = layer.weight.data.fill_(1e30)
    >>> float(layer(torch.ones(1)))
    2.0
    """

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def __call__(self, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return torch.nan_to_num(output, 0.0, self.high, self.low).clamp(self.low, self.high)


class _Seen:
    """A forward hook that remembers the least and the greatest value."""

    def __init__(self) -> None:
        self.low, self.high = float("inf"), float("-inf")

    def __call__(self, module: nn.Module, args: Any, output: Tensor) -> None:
        self.low, self.high = min(self.low, float(output.amin())), max(self.high, float(output.amax()))


def unbounded(model: nn.Module, example: Any) -> list[str]:
    """Paths of the layers and norms whose result goes somewhere without a nonlinearity or a norm of its own."""
    modules = dict(model.named_modules())
    graph = follow(model, example)
    found: dict[str, None] = {}
    for node in graph.of_kind("linear", "norm"):
        path = node.owner.partition("#")[0]
        if path in modules and not any(modules[path].children()) and not _covered(node):
            found[path] = None
    return list(found)


def _covered(node: Node) -> bool:
    return bool(node.children) and all(c.kind in ("act", "norm") for c in node.children)


def ends_on(model: nn.Module, paths: Sequence[str], batches: Sequence[Any]) -> dict[str, Held]:
    """A bound for each of these modules, at the values of the data. Raises OgiveError where they are not finite."""
    seen = {path: _Seen() for path in paths}
    hooks = [model.get_submodule(path).register_forward_hook(see) for path, see in seen.items()]
    try:
        run(model, batches)
    finally:
        for hook in hooks:
            hook.remove()
    for path, see in seen.items():
        if not -float("inf") < see.low <= see.high < float("inf"):
            raise OgiveError(f"harden: {path} gives values that are not finite on this data, or is never run")
    return {path: Held(see.low, see.high) for path, see in seen.items()}


def hold(model: nn.Module, ends: dict[str, Held]) -> Callable[[], None]:
    """Put the bounds on; the result takes them off."""
    hooks = [model.get_submodule(path).register_forward_hook(end) for path, end in ends.items()]

    def undo() -> None:
        while hooks:
            hooks.pop().remove()

    return undo

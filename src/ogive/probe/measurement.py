"""One forward and one backward run of a model: the statistics of every linear map's output."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError
from ogive.surgery.follow import follow
from ogive.surgery.graph import Graph, Node
from ogive.surgery.provenance import tensors_in
from ogive.surgery.weights import Map


@dataclass
class Seen:
    """The output y of one linear map. ``weight`` is the mean square of the weights as they are used, ``bias`` that of
    the biases; ``input_square`` and ``input_correlation`` describe the map's input. ``channels`` is the mean over
    channels of the squared mean of y; ``gradient`` is the root over examples of the mean squared norm of dL/dy."""

    node: Node
    mean: float
    variance: float
    channels: float
    correlation: float
    weight: float
    bias: float
    input_square: float
    input_correlation: float
    gradient: float = math.nan

    @property
    def square(self) -> float:
        """E y^2."""
        return self.variance + self.mean**2


@dataclass(frozen=True)
class Run:
    """The graph of a run, its linear maps in order, the examples in the batch, and the squared gradient of one output
    element, which is 1 by construction (0 where the output has none)."""

    graph: Graph
    seen: tuple[Seen, ...]
    examples: int


def run(model: nn.Module, example: Any, seed: int = 0) -> Run:
    """Run ``model`` on ``example`` and back: L is the output times a random direction, every element N(0, 1).

    The model stays as it was, its ``.grad`` fields too. Errors of the model itself pass through.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"expected a model, an nn.Module; got {type(model).__name__}: {str(model)[:80]!r}")
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError(f"signal: {model.original_name} is TorchScript, and nothing in it can be followed; give the "
                         "nn.Module that it was made from")  # fmt: skip
    examples = _examples(example)
    seen: list[Seen] = []
    outputs: list[Tensor] = []
    values: list[Tensor] = []

    def on_linear(node: Node, found: Map, made: Tensor, again: Callable[[Tensor], Tensor]) -> Tensor:
        seen.append(_statistics(node, found, made, examples))
        values.append(made)
        return made.clone()  # what later changes it in place leaves ``made`` as it is

    def keep(module: nn.Module, args: Any, output: Any) -> None:
        found = [output] if isinstance(output, Tensor) else tensors_in(output)
        outputs.extend(t for t in found if t.requires_grad and t.is_floating_point())

    handle = model.register_forward_hook(keep)
    try:
        graph = follow(model, example, on_linear)
    finally:
        handle.remove()
    for one, gradient in zip(seen, _gradients(outputs, values, seed)):
        if gradient is not None:
            one.gradient = math.sqrt(float(gradient.double().square().sum()) / max(examples, 1))
    return Run(graph, tuple(seen), examples)


def _gradients(outputs: list[Tensor], values: list[Tensor], seed: int) -> tuple[Tensor | None, ...]:
    inside = [v for v in values if v.requires_grad]
    if not outputs or not inside:
        return (None,) * len(values)
    generator = torch.Generator().manual_seed(seed)
    directions = [torch.randn(o.shape, generator=generator, dtype=torch.float64).to(o) for o in outputs]
    found = iter(torch.autograd.grad(outputs, inside, directions, allow_unused=True))
    return tuple(next(found) if v.requires_grad else None for v in values)


def _examples(example: Any) -> int:
    tensors = tensors_in(dict(example) if isinstance(example, dict) else (example,))
    return next((t.shape[0] for t in tensors if t.dim()), 1)


def _statistics(node: Node, found: Map, made: Tensor, examples: int) -> Seen:
    with torch.no_grad():
        y, weight = made.detach().double(), found.weight.detach().double()
        channel = 1 if node.op.startswith("conv") and y.dim() > 2 else -1
        others = [d for d in range(y.dim()) if d != channel % y.dim()]
        means = y.mean(others) if others else y
        return Seen(
            node,
            float(y.mean()),
            float(y.var(correction=0)),
            float(means.square().mean()),
            correlation(y, examples),
            float(weight.square().mean()),
            node.offset,
            float(found.data.detach().double().square().mean()),
            correlation(found.data.detach().double(), examples),
        )


def correlation(values: Tensor, examples: int) -> float:
    """The mean over pairs of examples of ``<u, v>/(|u| |v|)``; nan where the batch is not to be seen in the shape."""
    if examples < 2 or values.dim() < 2:
        return math.nan
    if values.shape[0] % examples and values.dim() > 1 and values.shape[1] == examples:
        values = values.transpose(0, 1)
    if values.shape[0] % examples:
        return math.nan
    rows = values.reshape(examples, -1)
    size = rows.norm(dim=1, keepdim=True)
    if not bool((torch.isfinite(size) & (size > 0.0)).all()):
        return math.nan
    total = (rows / size).sum(0)
    return float((total.square().sum() - examples) / (examples * (examples - 1)))

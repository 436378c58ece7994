"""Layer-sequential unit variance: orthonormal weights, then each layer scaled until its output varies as wanted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError, OgiveError, ParameterError
from ogive.surgery.draw import assign
from ogive.surgery.follow import follow
from ogive.surgery.graph import Node
from ogive.surgery.initialise import init_
from ogive.surgery.sites import folded, table
from ogive.surgery.weights import Map


@dataclass(frozen=True)
class Scaled:
    """One layer: the variance of its output before, by what the weights were multiplied, the variance after."""

    weight: str
    before: float
    factor: float
    after: float


@dataclass(frozen=True)
class Rescaled:
    """What :func:`lsuv_` did, layer by layer; weights it could not scale, with the reason."""

    layers: tuple[Scaled, ...]
    left: tuple[tuple[str, str], ...]
    variance: float

    def __repr__(self) -> str:
        rows: list[tuple[str, ...]] = [("weight", "variance before", "factor", "after")]
        rows += [(r.weight, f"{r.before:.4g}", f"{r.factor:.4g}", f"{r.after:.4g}") for r in self.layers]
        head = f"lsuv_ scaled {len(self.layers)} weights to an output variance of {self.variance:g}"
        return "\n".join([head, table(rows, (36, 15, 10, 8)), *(folded(f"left: {n}, {why}") for n, why in self.left)])

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


def lsuv_(
    model: nn.Module,
    batches: Any,
    *,
    variance: float = 1.0,
    orthonormal: bool = True,
    zero_mean: bool = False,
    generator: torch.Generator | None = None,
) -> Rescaled:
    """Scale every linear and convolution weight, first to last, so that its output has variance ``variance`` on data.

    The paper runs the model several times per layer; here one run does all layers, since a layer is scaled the
    moment it is computed and its exact new output goes on to the next. It needs no formula and works with any
    activation. The variance is that of all elements of W x, without the bias. Source: Mishkin and Matas 2016,
    "All you need is a good init".

    Args:
        batches: what the model is called with (a tensor, a tuple of arguments, a dict), or a list or iterator of
            such. Batch k moves the weights by 1/k of what it asks for in log scale: the mean over batches.
        orthonormal: draw orthogonal weights first, for the activations (:func:`ogive.init_`); False scales the
            weights that are there.
        zero_mean: subtract the mean of each output channel in the bias, where there is one.

    Raises:
        ParameterError: for a variance that is not positive.
        InputError: when there is no batch.
        OgiveError: when the output of a layer is infinite or not a number; the model is as it was before.

    >>> mlp = nn.Sequential(nn.Linear(16, 64), nn.Softplus(), nn.Linear(64, 4))
    >>> report = lsuv_(mlp, torch.randn(128, 16), generator=torch.Generator().manual_seed(0))
    >>> [round(layer.after, 6) for layer in report.layers]
    [1.0, 1.0]
    """
    if not (math.isfinite(variance) and variance > 0.0):
        raise ParameterError(f"lsuv_: variance={variance!r}; it takes a positive number")
    every = list(batches) if _several(batches) else [batches]
    if not every:
        raise InputError("lsuv_: batches is empty; it takes at least one batch of what the model is called with")
    saved = {name: p.detach().clone() for name, p in model.named_parameters()}
    try:
        if orthonormal:
            init_(model, every[0], distribution="orthogonal", generator=generator, check=False)
        scaler = _Scaler(model, variance, zero_mean)
        for scaler.round, batch in enumerate(every, 1):
            scaler.seen.clear()
            follow(model, batch, scaler.scale)
    except BaseException:
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(saved[name])
        raise
    if not scaler.factor:
        raise InputError("lsuv_: no linear map or convolution with a weight of its own was reached by the run")
    layers = tuple(Scaled(n, scaler.before[n], f, scaler.after[n]) for n, f in scaler.factor.items())
    return Rescaled(layers, tuple(scaler.left.items()), variance)


class _Scaler:
    def __init__(self, model: nn.Module, variance: float, zero_mean: bool) -> None:
        self.model, self.variance, self.zero_mean = model, variance, zero_mean
        self.parameters = dict(model.named_parameters())
        self.round = 1
        self.seen: set[str] = set()
        self.before: dict[str, float] = {}
        self.after: dict[str, float] = {}
        self.factor: dict[str, float] = {}
        self.left: dict[str, str] = {}

    def scale(self, node: Node, found: Map, made: Tensor, again: Callable[[Tensor], Tensor]) -> Tensor | None:
        """Scale the weight of ``found`` and return its new output, or None when it stays."""
        weight = node.weight
        assert weight is not None
        name = weight.name or f"{node.op} in {node.owner or 'the model'}"
        if name in self.seen:
            return None  # shared: its first use decides
        self.seen.add(name)
        shift = None if found.bias is None else _placed(found.bias, made, node.op)
        spread = _variance(made, shift)
        if not math.isfinite(spread):
            raise OgiveError(f"lsuv_: the output of {name} is not finite; the data or the layers before it overflow")
        if weight.why_not or spread == 0.0:
            self.left[name] = weight.why_not or "its output is constant"
            return None
        step = (self.variance / spread) ** (0.5 / self.round)
        stored, scaled = self.parameters.get(name), found.weight.detach() * step
        assign(self.model, name, (found.weight if stored is None else stored).detach() * step)
        output = again(scaled)
        if self.zero_mean and weight.bias and found.bias is not None:
            dim = (1 if node.op.startswith("conv") else -1) % output.dim()
            mean = output.detach().mean([d for d in range(output.dim()) if d != dim])
            assign(self.model, weight.bias, found.bias.detach() - mean)
            output = again(scaled)
            shift = _placed(found.bias, made, node.op)
        self.before.setdefault(name, spread)
        self.factor[name] = self.factor.get(name, 1.0) * step
        self.after[name] = _variance(output, shift)
        self.left.pop(name, None)
        return output


def _variance(made: Tensor, shift: Tensor | None) -> float:
    """Of all elements without the bias, which no scale of the weights moves."""
    plain = made.detach().double()
    if plain.numel() < 2:
        return 0.0
    return float((plain if shift is None else plain - shift).var(correction=0))


def _placed(bias: Tensor, made: Tensor, op: str) -> Tensor:
    """A bias as it was added: along dimension 1 of a convolution, else along the last."""
    if op.startswith("conv"):
        return bias.detach().reshape(-1, *[1] * (made.dim() - 2))
    return bias.detach()


def _several(batches: Any) -> bool:
    """Whether these are several batches: a list of tuples, dicts or tensors, a loader, an iterator."""
    if isinstance(batches, (Tensor, Mapping, tuple)):
        return False
    return isinstance(batches, Iterable)

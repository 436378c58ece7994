"""Which Linear and convolution modules follow one another with only a nonlinearity between them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ogive.activation import Activation
from ogive.errors import InputError, OgiveError
from ogive.surgery.follow import follow
from ogive.surgery.graph import Node
from ogive.surgery.modes import evaluating

Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_POOLS = ("max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool", "mean")


@dataclass(frozen=True)
class Link:
    """One layer and what its result goes through to the next: ``norm`` is the path of a batch normalisation straight
    after it, ``act`` the nonlinearity (None: none), ``act_owner`` the module whose code computes it, ``pooled`` that
    there is pooling after it. ``why_not`` says why the chain ends here; ``second`` is "" then."""

    first: str
    second: str
    norm: str = ""
    act: Activation | None = None
    act_owner: str = ""
    label: str = ""
    pooled: bool = False
    why_not: str = ""


def packed(weight: Tensor) -> str:
    """Why the numbers of a weight cannot be read and written in place, "" where they can: a quantised one is a tensor
    type of its own (torchao).

    >>> packed(nn.Linear(2, 2).weight)
    ''
    """
    kind = type(weight)
    if kind in (Tensor, nn.Parameter):
        return ""
    return f"its weight is packed as {kind.__module__.partition('.')[0]}'s {kind.__name__}"


def layers_of(model: nn.Module) -> dict[str, Layer]:
    """Linear and convolution modules by path, but those whose weights are packed. Raises OgiveError when all are."""
    every = {name: m for name, m in model.named_modules() if isinstance(m, LAYERS)}
    found = {name: m for name, m in every.items() if not packed(m.weight)}
    if every and not found:
        path, layer = next(iter(every.items()))
        raise OgiveError(f"no layer has weights that can be changed ({path}: {packed(layer.weight)}); change the model "
                         "first and quantise it afterwards")  # fmt: skip
    return found


def example_of(model: nn.Module) -> Tensor:
    """Random numbers of a shape that ``model`` takes, from the sizes of its first layer: to see how it is wired.

    Raises:
        InputError: when none of the shapes tried runs; give data then.
    """
    first = next(iter(layers_of(model).values()), None)
    if first is None:
        raise InputError("the model has no Linear and no convolution")
    with evaluating(model):
        for size in (32, 28, 64, 8, 16, 96, 128, 224):
            if isinstance(first, nn.Linear):
                shape: tuple[int, ...] = (2, first.in_features)
            else:
                shape = (2, first.in_channels, *[size] * len(first.kernel_size))
            x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(first.weight)
            try:
                with torch.no_grad():
                    model(x)
            except (RuntimeError, ValueError, IndexError, TypeError):
                continue
            return x
    raise InputError("no shape made from the first layer runs through the model; give data=, one batch is enough")


def links(model: nn.Module, example: Any) -> list[Link]:
    """What every layer's result goes through to the next layer, in order of execution."""
    graph = follow(model, example)
    modules = layers_of(model)
    used = Counter(n.weight.name for n in graph.nodes if n.weight is not None)
    found = []
    for node in graph.nodes:
        path = _path(node, modules)
        if path:
            found.append(_link(node, path, modules, used, dict(model.named_modules())))
    return found


def _path(node: Node, modules: dict[str, Layer]) -> str:
    if node.kind != "linear" or node.weight is None or not node.weight.name.endswith("weight"):
        return ""
    path = node.weight.name.rpartition(".")[0]
    return path if path in modules else ""


def _link(node: Node, path: str, modules: dict[str, Layer], used: Counter[str], every: dict[str, nn.Module]) -> Link:
    weight = f"{path}.weight" if path else "weight"
    known: dict[str, Any] = {"first": path}
    if used[weight] > 1:
        return Link(**known, second="", why_not=f"{weight} is used {used[weight]} times in one run")
    at = node
    while True:
        if len(at.children) != 1:
            why = "the model ends here" if not at.children else f"its result goes to {len(at.children)} places"
            return Link(**known, second="", why_not=why)
        at = at.children[0]
        second = _path(at, modules)
        if second:
            if used[f"{second}.weight"] > 1:
                return Link(**known, second="", why_not=f"{second}.weight is used more than once in one run")
            return Link(**known, second=second)
        owner = at.owner.partition("#")[0]
        if at.kind == "norm" and isinstance(every.get(owner), nn.modules.batchnorm._BatchNorm) and len(known) == 1:
            known["norm"] = owner
        elif at.kind == "act" and at.activation is not None and "act" not in known:
            known |= {"act": at.activation, "act_owner": owner, "label": at.label}
        elif at.kind == "mix" and at.op.startswith(_POOLS):
            known["pooled"] = True
        elif at.kind != "pass":
            what = at.label or at.op
            return Link(**known, second="", why_not=f"{what} in {owner or 'the model'} comes before the next layer")


def channels_of(layer: Layer) -> int:
    """Output channels."""
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


def outward(layer: Layer) -> Tensor:
    """The largest weight, in size, that makes each output channel; float64."""
    return layer.weight.detach().double().flatten(1).abs().amax(1)


def inward(layer: Layer, channels: int) -> Tensor:
    """The largest weight, in size, that each of ``channels`` input channels meets; float64.

    A Linear after a flattened convolution has several inputs a channel.
    """
    return by_input(layer, channels).abs().amax((0, 2))


def by_input(layer: Layer, channels: int) -> Tensor:
    """The weight as (outputs of a group, input channels, the rest); float64, a copy."""
    w = layer.weight.detach().double()
    if isinstance(layer, nn.Linear):
        return w.reshape(w.shape[0], channels, -1).clone()
    groups = layer.groups
    w = w.reshape(groups, w.shape[0] // groups, w.shape[1], -1).permute(1, 0, 2, 3)
    return w.reshape(w.shape[0], channels, -1).clone()


def scaled_input(layer: Layer, factor: Tensor) -> Tensor:
    """The weight with every input channel multiplied by its factor, in the shape and dtype it is stored in."""
    channels = factor.numel()
    w = by_input(layer, channels) * factor.to(layer.weight.device)[None, :, None]
    if not isinstance(layer, nn.Linear):
        groups = layer.groups
        w = w.reshape(w.shape[0], groups, channels // groups, -1).permute(1, 0, 2, 3)
    return w.reshape(layer.weight.shape).to(layer.weight.dtype)


def fits(first: Layer, second: Layer) -> bool:
    """Whether every output channel of ``first`` is a whole number of inputs of ``second``."""
    inputs = second.in_features if isinstance(second, nn.Linear) else second.in_channels
    same = isinstance(first, nn.Linear) == isinstance(second, nn.Linear)
    return inputs == channels_of(first) if same else inputs % channels_of(first) == 0

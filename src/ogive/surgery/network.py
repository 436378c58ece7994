"""The network that tailoring needs, from a model as it runs: its nonlinear layers and how sums mix them."""

from __future__ import annotations

from typing import Any

from torch import nn

from ogive.derive.wide.network import Network, Step
from ogive.errors import InputError
from ogive.surgery.follow import follow


def network_of(model: nn.Module, example: Any) -> Network:
    """The nonlinear layers and sums of ``model`` on ``example``, for ``ogive.tailor(..., graph=network_of(...))``.

    Linear layers and convolutions are taken to keep variance and correlation, as their initialisation for tailoring
    does; constant factors count, so 0.8 * x + 0.6 * branch(x) is the sum it says. Pooling and reshaping leave
    correlations alone, and a normalisation gives variance 1.

    Raises :class:`~ogive.errors.InputError` for products of two branches, for what cannot be followed, and for a
    model without a nonlinearity.

    >>> import torch
    >>> network_of(nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh()), torch.randn(2, 3)).layers
    2
    """
    graph = follow(model, example)
    if graph.stops:
        raise InputError(f"network: not all of the model could be followed: {graph.stops[0]}")
    steps: list[Step] = []
    index: dict[int, int] = {}
    for node in graph.nodes:
        parents = tuple(index[p.index] for p in node.parents if p.index in index)
        where = f"{node.label or node.op} in {node.owner or 'the model itself'}"
        if node.kind == "gate":
            raise InputError(f"network: {where} multiplies two branches; tailoring is for layers of one input")
        if node.kind in ("constant", "parameter", "opaque"):
            continue  # a bias added, a scale: no signal comes from there
        if node.kind in ("input", "embedding"):
            step = Step("input")
        elif not parents:
            continue
        elif node.kind == "act":
            step = Step("map", parents[:1])
        elif node.kind in ("add", "join") and len(parents) > 1:
            step = Step("sum", parents)
        else:
            step = Step("same", parents[:1], node.factor if node.kind == "scale" else 1.0, node.kind == "norm")
        index[node.index] = len(steps)
        steps.append(step)
    found = Network(tuple(steps))
    if found.layers == 0:
        raise InputError("network: the model has no nonlinearity that could be tailored")
    return found

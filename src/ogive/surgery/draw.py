"""Weights of a wanted variance: normal, uniform, truncated, orthogonal."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ogive.surgery.graph import Weight

DISTRIBUTIONS = ("normal", "uniform", "truncated", "orthogonal")
# The standard deviation of a standard normal cut off at ±2, which a truncated draw is divided by.
_CUT = math.sqrt(1.0 - 4.0 * math.exp(-2.0) / math.sqrt(2.0 * math.pi) / math.erf(math.sqrt(2.0)))


def drawn(weight: Weight, std: float, distribution: str, generator: torch.Generator | None) -> Tensor:
    """A float32 tensor of the weight's shape whose entries have standard deviation ``std`` and mean zero.

    ``orthogonal`` makes the rows (or columns, the fewer ones) of the matrix from inputs to outputs orthogonal
    and equally long (Saxe et al. 2014); a weight of which only a view is used, whose dimensions cannot be told,
    is normal.
    """
    shape = weight.shape
    if distribution == "uniform":
        bound = math.sqrt(3.0) * std
        return torch.empty(shape).uniform_(-bound, bound, generator=generator)
    if distribution == "truncated":
        values = torch.empty(shape)
        nn.init.trunc_normal_(values, 0.0, 1.0, -2.0, 2.0, generator=generator)
        return values * (std / _CUT)
    if distribution == "normal" or not weight.inward or not weight.outward:
        return torch.empty(shape).normal_(0.0, 1.0, generator=generator) * std
    kept = [d for d in range(len(shape)) if d not in (*weight.outward, *weight.inward)]
    order = [*kept, *weight.outward, *weight.inward]
    rows, columns = (math.prod(shape[d] for d in dims) for dims in (weight.outward, weight.inward))
    blocks = [_orthogonal(rows, columns, generator) for _ in range(math.prod(shape[d] for d in kept))]
    turned = torch.stack(blocks).reshape([shape[d] for d in order]) * (std * math.sqrt(max(rows, columns)))
    return turned.permute([order.index(d) for d in range(len(shape))]).contiguous()


def _orthogonal(rows: int, columns: int, generator: torch.Generator | None) -> Tensor:
    tall = torch.empty(max(rows, columns), min(rows, columns)).normal_(0.0, 1.0, generator=generator)
    q, r = torch.linalg.qr(tall)
    q = q * r.diagonal().sign()  # uniform over all orthogonal matrices (Mezzadri 2007)
    return q if rows >= columns else q.T


def assign(model: nn.Module, name: str, values: Tensor) -> None:
    """Write ``values`` into the parameter ``name``, through its parametrisation when it has one."""
    path, _, attribute = name.rpartition(".")
    module = model.get_submodule(path)
    with torch.no_grad():
        if nn.utils.parametrize.is_parametrized(module, attribute):
            current = getattr(module, attribute)
            setattr(module, attribute, values.to(current))
        else:
            module.get_parameter(attribute).copy_(values)

"""Weights rounded to a grid of integers, one a tensor or one an output channel, and put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ogive.surgery.edits import Edits
from ogive.surgery.integer.grid import grid
from ogive.surgery.wiring import layers_of


def rounded(weight: Tensor, bits: int = 8, per_channel: bool = False, symmetric: bool = False) -> Tensor:
    """``weight`` on the grid over its own least and greatest value, or on one for each first index.

    >>> rounded(torch.tensor([[0.1, 1.0], [0.001, 0.01]]), bits=3)
    tensor([[0.1429, 1.0000],
            [0.0000, 0.0000]])
    """
    rows = weight.detach().flatten(1) if per_channel else weight.detach().reshape(1, -1)
    made = [grid(float(r.min()), float(r.max()), bits, symmetric).rounded(r) for r in rows]
    return torch.stack(made).reshape(weight.shape)


@contextmanager
def rounded_weights(model: nn.Module, bits: int = 8, per_channel: bool = False) -> Iterator[None]:
    """Inside, the weights of every Linear and convolution are rounded; afterwards they are as they were, bit for bit.

    >>> layer = nn.Linear(2, 1)
    >>> before = layer.weight.clone()
    >>> with rounded_weights(layer, 4):
    ...     changed = not torch.equal(layer.weight, before)
    >>> changed, torch.equal(layer.weight, before)
    (True, True)
    """
    edits = Edits()
    try:
        for layer in layers_of(model).values():
            edits.write(layer.weight, rounded(layer.weight, bits, per_channel))
        yield
    finally:
        edits.undo()

"""Fold an affine map around a nonlinearity into the layers before and after it.

``gamma f(alpha x + beta) + delta`` between two layers is f between two others: ``alpha`` and ``beta`` go into the
weight and bias before it, ``gamma`` into the weight after it, ``delta`` times that weight's row sums into its bias.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ogive.surgery.edits import Edits
from ogive.surgery.refit import Fitted
from ogive.surgery.wiring import Layer, Link, layers_of


def why_not(model: nn.Module, link: Link | None, fit: Fitted) -> str:
    """Why ``fit`` cannot be folded into the two layers of ``link``; "" where it can."""
    if link is None or not link.second:
        return link.why_not if link is not None else "no single layer stands before it"
    if link.norm:
        return f"{link.norm} stands between it and {link.first}"
    if link.pooled:
        return f"pooling stands between it and {link.second}"
    after = layers_of(model)[link.second]
    if fit.delta != 0.0 and _padded(after):
        return f"{link.second} pads with zeros, where delta = {fit.delta:.3g} would be missing"
    return ""


def fold(model: nn.Module, link: Link, fit: Fitted, edits: Edits) -> None:
    """Write ``fit`` into the layers of ``link``; ``edits`` takes it back."""
    layers = layers_of(model)
    before, after = layers[link.first], layers[link.second]
    rows = _sums(after)
    edits.write(before.weight, before.weight.detach().double() * fit.alpha)
    bias = 0.0 if before.bias is None else before.bias.detach().double()
    edits.add_bias(before, torch.zeros(before.weight.shape[0]).to(rows) + (fit.alpha - 1.0) * bias + fit.beta)
    edits.write(after.weight, after.weight.detach().double() * fit.gamma)
    edits.add_bias(after, fit.delta * rows)


def _sums(layer: Layer) -> Tensor:
    """The sum of the weights that make each output; float64."""
    return layer.weight.detach().double().flatten(1).sum(1)


def _padded(layer: Layer) -> bool:
    return not isinstance(layer, nn.Linear) and (isinstance(layer.padding, str) or any(layer.padding))

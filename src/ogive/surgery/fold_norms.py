"""Batch normalisation folded into the layer before it, with what it says of that layer's results."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ogive.surgery.edits import Edits
from ogive.surgery.wiring import Layer, Link, layers_of


class Normal(NamedTuple):
    """The mean and standard deviation of every output channel of a layer; float64."""

    mean: Tensor
    std: Tensor


def remember(layer: Layer, normal: Normal, edits: Edits) -> None:
    """What is known of the layer's results; an attribute beside the parameters, not part of the state_dict."""
    old = vars(layer).get("preactivation")

    def back() -> None:
        vars(layer)["preactivation"] = old
        if old is None:
            del vars(layer)["preactivation"]

    vars(layer)["preactivation"] = normal
    edits.later(back)


def known_normal(layer: Layer) -> Normal | None:
    """The distribution of the layer's results that a folded normalisation told."""
    found = vars(layer).get("preactivation")
    return found if isinstance(found, Normal) else None


def normal_of(norm: nn.modules.batchnorm._BatchNorm) -> Normal:
    """What a batch normalisation gives: mean its shift, standard deviation its scale."""
    count = norm.num_features
    mean = torch.zeros(count).double() if norm.bias is None else norm.bias.detach().double().clone()
    std = torch.ones(count).double() if norm.weight is None else norm.weight.detach().double().abs()
    return Normal(mean, std)


def fold_norms(model: nn.Module, found: list[Link], edits: Edits) -> list[str]:
    """Fold every batch normalisation that stands straight after a layer into it; returns their paths.

    ``w' = w g / sqrt(v + eps)``, ``b' = (b - m) g / sqrt(v + eps) + shift``; Identity takes the norm's place.
    """
    layers, folded = layers_of(model), []
    for link in found:
        if not link.norm:
            continue
        layer, norm = layers[link.first], model.get_submodule(link.norm)
        assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
        if norm.running_mean is None or norm.running_var is None:
            continue  # it uses the batch's own statistics: nothing fixed to fold
        told = normal_of(norm)
        scale = torch.rsqrt(norm.running_var.double() + norm.eps)
        scale = scale if norm.weight is None else scale * norm.weight.detach().double()
        bias = 0.0 if layer.bias is None else layer.bias.detach().double()
        wanted = (bias - norm.running_mean.double()) * scale + told.mean
        edits.write(layer.weight, layer.weight.detach().double() * scale.view(-1, *[1] * (layer.weight.dim() - 1)))
        edits.add_bias(layer, wanted - bias)
        edits.exchange(model, norm, nn.Identity())
        remember(layer, told, edits)
        folded.append(link.norm)
    return folded

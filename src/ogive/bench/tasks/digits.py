"""Handwritten digits, 8 x 8 pixels, by a plain multilayer perceptron."""

from __future__ import annotations

import torch
from torch import nn

from ogive.bench.scores import accuracy, cross_entropy
from ogive.bench.shipped import shipped, split, table
from ogive.bench.spec import ActFactory, Data, TaskSpec


def load() -> Data:
    """1797 images in [0, 1] and their digits."""
    rows = torch.from_numpy(table(shipped("sklearn", "datasets", "data", "digits.csv.gz")))
    x, y = rows[:, :64] / 16, rows[:, 64].long()
    train, validation, test = split(len(x))
    return Data((x[train], y[train]), (x[validation], y[validation]), (x[test], y[test]))


def make_model(act: ActFactory) -> nn.Module:
    """64 pixels -> 64 -> 64 -> 64 -> 10 classes."""
    return nn.Sequential(
        nn.Linear(64, 64), act(channels=64),
        nn.Linear(64, 64), act(channels=64),
        nn.Linear(64, 64), act(channels=64),
        nn.Linear(64, 10),
    )  # fmt: skip


TASK = TaskSpec(
    name="digits",
    title="Digits, MLP",
    metric="accuracy",
    higher_is_better=True,
    description="Recognise a handwritten digit from 8 x 8 grey pixels.",
    data="UCI optical digits from scikit-learn: 1797 images, split 60/20/20.",
    model="Perceptron with three hidden layers of 64 units, no normalisation.",
    load=load,
    make_model=make_model,
    loss=cross_entropy,
    score=accuracy,
    batch=64,
    steps=300,
    lrs=(3e-3, 1e-2, 3e-2, 1e-1),
)

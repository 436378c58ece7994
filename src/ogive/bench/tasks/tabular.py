"""Who reports an affair: answers of a magazine survey, by a perceptron."""

from __future__ import annotations

import torch
from torch import nn

from ogive.bench.scores import bits, cross_entropy
from ogive.bench.shipped import shipped, split, table
from ogive.bench.spec import ActFactory, Data, TaskSpec


def load() -> Data:
    """Eight answers, mean 0 and variance 1 over the training rows, and whether time was spent."""
    rows = torch.from_numpy(table(shipped("statsmodels", "datasets", "fair", "fair.csv"), header=True))
    x, y = rows[:, :8], (rows[:, 8] > 0).long()
    train, validation, test = split(len(x))
    x = (x - x[train].mean(0)) / x[train].std(0)
    return Data((x[train], y[train]), (x[validation], y[validation]), (x[test], y[test]))


def make_model(act: ActFactory) -> nn.Module:
    """8 answers -> 32 -> 32 -> 2 classes."""
    return nn.Sequential(nn.Linear(8, 32), act(channels=32), nn.Linear(32, 32), act(channels=32), nn.Linear(32, 2))


TASK = TaskSpec(
    name="tabular",
    title="Survey answers, MLP",
    metric="log loss bits",
    higher_is_better=False,
    description="Predict from eight survey answers whether an affair is reported.",
    data="The 6366 answers of Fair (1978) from statsmodels, split 60/20/20 (answers are coarse: equal ones recur).",
    model="Perceptron with two hidden layers of 32 units.",
    load=load,
    make_model=make_model,
    loss=cross_entropy,
    score=bits,
    batch=64,
    steps=250,
    lrs=(3e-3, 1e-2, 3e-2, 1e-1),
)

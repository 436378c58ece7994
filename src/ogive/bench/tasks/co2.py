"""Forecasting atmospheric carbon dioxide beyond every level seen in training."""

from __future__ import annotations

import csv
from itertools import groupby

import torch
from torch import nn

from ogive.bench.scores import mse, rmse
from ogive.bench.shipped import shipped
from ogive.bench.spec import ActFactory, Data, Pair, TaskSpec

PAST, AHEAD = 24, 12  # months
SCALE = 10.0  # ppm, about the spread of the training years; targets stay in this unit of the network


def monthly() -> torch.Tensor:
    """Monthly means in ppm, 1958 to 2001; a month without a measurement is interpolated."""
    with shipped("statsmodels", "datasets", "co2", "co2.csv").open(encoding="utf-8") as file:
        weeks = [(row["date"][:6], row["co2"]) for row in csv.DictReader(file)]
    values = [[float(v) for _, v in month if v] for _, month in groupby(weeks, key=lambda row: row[0])]
    level = [sum(v) / len(v) if v else float("nan") for v in values]
    known = [i for i, v in enumerate(level) if v == v]
    for i, v in enumerate(level):
        if v != v:
            left, right = max(k for k in known if k < i), min(k for k in known if k > i)
            level[i] = level[left] + (level[right] - level[left]) * (i - left) / (right - left)
    return torch.tensor(level)


def load() -> Data:
    """Windows of two years and the year that follows, in order of time: 60 % train, 20 %, 20 %."""
    series = (monthly() - 330.0) / SCALE
    first, second = int(len(series) * 0.6), int(len(series) * 0.8)

    def windows(start: int, stop: int) -> Pair:
        """Windows whose forecast year lies inside [start, stop)."""
        cut = series[max(start - PAST, 0) : stop].unfold(0, PAST + AHEAD, 1)
        return cut[:, :PAST].contiguous(), cut[:, PAST:].contiguous()

    return Data(windows(0, first), windows(first, second), windows(second, len(series)))


def make_model(act: ActFactory) -> nn.Module:
    """24 months -> 64 -> 64 -> the next 12 months."""
    return nn.Sequential(
        nn.Linear(PAST, 64), act(channels=64), nn.Linear(64, 64), act(channels=64), nn.Linear(64, AHEAD)
    )


TASK = TaskSpec(
    name="co2",
    title="CO2, forecast",
    metric="RMSE ppm",
    higher_is_better=False,
    description="Forecast twelve months of atmospheric CO2, at levels above all of the training years.",
    data="Mauna Loa record from statsmodels, monthly means 1958 to 2001, split 60/20/20 in time.",
    model="Perceptron from 24 months to the next 12, two hidden layers of 64 units.",
    load=load,
    make_model=make_model,
    loss=mse,
    score=lambda out, y: SCALE * rmse(out, y),
    batch=32,
    steps=350,
    lrs=(1e-3, 3e-3, 1e-2, 3e-2),
)

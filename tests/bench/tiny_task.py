"""A task of the tests, real data in a fraction of a second, and what a user may get wrong."""

from __future__ import annotations

import numpy as np
from torch import nn

from ogive.bench import TaskSpec
from ogive.bench.scores import accuracy, cross_entropy
from ogive.bench.tasks import digits


def make_model(act):
    return nn.Sequential(nn.Linear(64, 24), act(channels=24), nn.Linear(24, 24), act(), nn.Linear(24, 10))


def task(**changed):
    fields = {
        "name": "tiny", "title": "Tiny", "metric": "accuracy", "higher_is_better": True,
        "description": "Digits, briefly.", "data": "1797 digits.", "model": "Two hidden layers of 24.",
        "load": digits.load, "make_model": make_model, "loss": cross_entropy, "score": accuracy,
        "batch": 32, "steps": 30, "lrs": (3e-3, 1e-2),
    }  # fmt: skip
    return TaskSpec(**{**fields, **changed})


TASK = task()


def make_noisy(act):
    return nn.Sequential(nn.Linear(64, 24), nn.BatchNorm1d(24), act(channels=24), nn.Dropout(0.2), nn.Linear(24, 10))


NOISY = task(name="noisy", make_model=make_noisy)
SLOW = task(name="slow", steps=200)


def load_arrays():
    """A pair of arrays, as a user has them."""
    data = digits.load()
    return np.asarray(data.train[0]), np.asarray(data.train[1], dtype=np.int32)


def load_values():
    data = digits.load()
    return data.train[0].numpy(), data.train[1].double().numpy()


def make_regressor(act):
    return nn.Sequential(nn.Linear(64, 16), act(), nn.Linear(16, 1))


def broken_model(act):
    raise RuntimeError("no such layer: attention9")


def broken_data():
    raise FileNotFoundError("measurements.csv is not where it was")


def make_text(act):
    return "a model"


class Nothing(nn.Module):
    def forward(self, x):
        return 0 * x


NOT_A_TASK = 3

"""What untrained models guess: the shares of the classes over many initialisations, beside the theory."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ogive.derive.guessing_bias import favourite
from ogive.errors import InputError, ParameterError

_CLASSES = 20  # beyond, the integral over all classes takes minutes


@dataclass(frozen=True)
class Guesses:
    """``shares`` has a row for each model and a column for each class. ``largest`` is the mean share of a model's
    favourite class, ``error`` its standard error; ``gamma`` the variance of the outputs' centres over that of the
    outputs around them; ``predicted`` the favourite's share that follows from gamma (nan beyond 20 classes)."""

    shares: Tensor
    largest: float
    error: float
    gamma: float
    predicted: float

    def __repr__(self) -> str:
        models, classes = self.shares.shape
        return (f"Guesses({models} untrained models, {classes} classes: the favourite gets {self.largest:.1%}, "
                f"{self.predicted:.1%} predicted from gamma {self.gamma:.3g})")  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return {**vars(self), "shares": self.shares.tolist()}


def guesses(make: Callable[[], nn.Module], data: Tensor, models: int = 100, seed: int = 0) -> Guesses:
    """Count the guesses of ``models`` untrained models, each from ``make()``, on ``data``; outputs (batch, classes).

    Args:
        make: returns a new model with new weights.
        data: a batch, 100 examples or more for shares to 5 %.
        models: from 2.
        seed: of the weights; the global generator is left as it was.

    Raises:
        ParameterError: for fewer than two models.
        InputError: when ``make`` does not return a module, or its output is no matrix of two classes or more.

    Source: Francazi, Lucchi and Baity-Jesi 2024, Initial guessing bias; see :func:`ogive.derive.guessing_bias`.

    >>> found = guesses(lambda: nn.Sequential(nn.Linear(8, 99), nn.ReLU(), nn.Linear(99, 2)), torch.randn(200, 8))
    >>> 0.5 < found.largest < 1.0
    True
    """
    if not isinstance(models, int) or isinstance(models, bool) or models < 2:
        raise ParameterError(f"guesses: models={models!r}; it takes a whole number from 2")
    centres, spreads, shares = [], [], []
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for _ in range(models):
            model = make()
            if not isinstance(model, nn.Module):
                raise InputError(f"guesses: make returned {type(model).__name__}: {str(model)[:60]!r}; it takes a "
                                 "function that returns a new model")  # fmt: skip
            output = model.eval()(data)
            if not isinstance(output, Tensor) or output.dim() != 2 or output.shape[1] < 2:
                what = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
                raise InputError(f"guesses: the model returns {what}; it takes a tensor of shape (batch, classes)")
            values = output.double()
            centres.append(values.mean(0))
            spreads.append(values.var(0).mean())
            shares.append(values.argmax(1).bincount(minlength=values.shape[1]) / len(values))
    share, centre = torch.stack(shares).double(), torch.stack(centres)
    classes = share.shape[1]
    around = float(torch.stack(spreads).mean())
    # what the classes of one model have in common moves no guess
    apart = centre - centre.mean(1, keepdim=True)
    gamma = float(apart.square().sum()) / (models * (classes - 1)) / around if around > 0.0 else math.inf
    top = share.max(1).values
    predicted = favourite(gamma, classes)[0] if classes <= _CLASSES else math.nan
    return Guesses(share, float(top.mean()), float(top.std()) / math.sqrt(models), gamma, predicted)

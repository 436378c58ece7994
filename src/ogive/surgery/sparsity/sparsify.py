"""``sparsify``: zeros by the method of choice, and the kernels that turn them into time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from ogive.errors import ParameterError, closest
from ogive.surgery.report import Figure, Report
from ogive.surgery.sparsity.conduct import Scores
from ogive.surgery.sparsity.decode import accelerate
from ogive.surgery.sparsity.gates import cats, fat_relu
from ogive.surgery.sparsity.rsparse import rsparse
from ogive.surgery.sparsity.teal import teal

METHODS: dict[str, Callable[..., Report]] = {"cats": cats, "fat_relu": fat_relu, "teal": teal, "rsparse": rsparse}


def sparsify(
    model: nn.Module,
    data: Any,
    *,
    target: float = 0.5,
    method: str = "cats",
    kernels: bool = False,
    score: Scores = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Make a share of a model's activations 0 by a threshold calibrated at each site, and use the zeros if asked.

    Args:
        model: a model with feed-forward blocks (``cats``, ``fat_relu``) or with Linear layers (``teal``, ``rsparse``).
        data: what the model is called with, a batch or a list or loader of batches.
        target: the share of zeros, from 0 to 1.
        method: ``cats`` drops small results of a gate, ``fat_relu`` those of a rectifier, ``teal`` small inputs of
            Linear layers, ``rsparse`` the same with a low-rank path for what is dropped.
        kernels: exchange what has enough zeros for decode kernels that skip them.
        score: a function of the model, or several by name.
        time: measure a batch before and after, in turn.
        seed: of what is drawn.

    Raises:
        ParameterError: for another method.
        OgiveError: as the method does. The model is then as it was.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> mlp = nn.Sequential(nn.Linear(8, 64), nn.GELU(), nn.Linear(64, 4))
    >>> report = sparsify(mlp, torch.randn(500, 8), target=0.7, time=False)
    >>> round(report["zeros into down projections"].after, 2)
    0.7
    """
    if method not in METHODS:
        near = closest(str(method), list(METHODS), 1)[0]
        raise ParameterError(f"sparsify: method={method!r}; it is one of {', '.join(METHODS)} (did you mean {near!r}?)")
    made = METHODS[method](model, data, target=target, score=score, time=time and not kernels, seed=seed)
    if not kernels:
        return made
    try:
        used = accelerate(model, data, time=time, seed=seed)
    except BaseException:
        made.undo()
        raise

    def undo() -> None:
        used.undo()
        made.undo()

    own = {f.name for f in made.figures}
    figures: list[Figure] = [*made.figures, *(f for f in used.figures if f.name not in own)]
    changes = (*made.changes, *used.changes)
    return Report("sparsify", changes, (*made.left, *used.left), tuple(figures), (*made.notes, *used.notes),
                  made.examples, undo)  # fmt: skip

"""Training and evaluation mode of every module, put back one by one: a frozen norm stays frozen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


class Modes:
    """The mode of each module of a model; ``restore()`` gives each its own again.

    ``model.train(model.training)`` would put all of them into the mode of the outermost, and so wake the batch norms
    that somebody has frozen by ``eval()``. Modules that came in since take the outermost's mode.

    >>> model = nn.Sequential(nn.BatchNorm1d(2).eval(), nn.Dropout()).train()
    >>> _ = model[0].eval()
    >>> modes = Modes(model)
    >>> _ = model.eval()
    >>> modes.restore()
    >>> [m.training for m in model.modules()]
    [True, False, True]
    """

    def __init__(self, model: nn.Module) -> None:
        self.model, self.outer = model, model.training
        self.kept = {m: m.training for m in model.modules()}

    def restore(self) -> None:
        """Each module as it was; ``training`` alone is written, so that a ``train()`` of the model's own is not run."""
        for module in self.model.modules():
            module.training = self.kept.get(module, self.outer)
        for module, mode in self.kept.items():  # also those that hang elsewhere now
            module.training = mode


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside, every module is in evaluation mode; afterwards each has its own mode again.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Dropout().eval())
    >>> with evaluating(model):
    ...     inside = [m.training for m in model.modules()]
    >>> inside, [m.training for m in model.modules()]
    ([False, False, False], [True, True, False])
    """
    modes = Modes(model)
    model.eval()
    try:
        yield
    finally:
        modes.restore()


@contextmanager
def training(model: nn.Module) -> Iterator[None]:
    """Inside, the model trains: one in evaluation mode all through, one in training mode with what is frozen in it.

    Afterwards each module has its own mode again.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2).eval())
    >>> with training(model):
    ...     inside = [m.training for m in model.modules()]
    >>> _ = model.eval()
    >>> with training(model):
    ...     print(inside, [m.training for m in model.modules()])
    [True, True, False] [True, True, True]
    """
    modes = Modes(model)
    if not model.training:
        model.train()
    try:
        yield
    finally:
        modes.restore()

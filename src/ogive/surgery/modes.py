"""Training and evaluation mode of every module, put back one by one: a frozen norm stays frozen."""

from __future__ import annotations

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

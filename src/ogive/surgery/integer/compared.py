"""The time of a model against that of the copy from before the change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from ogive.surgery.effect import timed
from ogive.surgery.report import Figure


class Either(nn.Module):
    """One of two models, by a switch."""

    def __init__(self, before: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.before, self.after, self.changed = before, after, False

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return (self.after if self.changed else self.before)(*args, **kwargs)

    def switch(self) -> Callable[[], None]:
        """To the second; the result switches back."""
        self.changed = True
        return lambda: setattr(self, "changed", False)


def timed_copies(before: nn.Module, after: nn.Module, batch: Any) -> Figure:
    """Milliseconds of one batch of both models, in turn."""
    pair = Either(before, after)
    return timed(pair, batch, pair.switch)

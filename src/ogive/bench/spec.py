"""What a task is: data with three splits, a model that takes an activation, a loss and a score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from ogive.errors import ParameterError

Pair = tuple[Tensor, Tensor]


class ActFactory(Protocol):
    """Makes the activation under test: `act()` or `act(channels=64)`, a fresh module per call."""

    def __call__(self, *, channels: int | None = None) -> nn.Module: ...


@dataclass(frozen=True)
class Data:
    """Inputs and targets of the three splits, example first.

    Args:
        train: what the weights are fitted to.
        validation: what the learning rate is chosen on.
        test: what is reported; no choice looks at it.

    Raises:
        ParameterError: when a split is empty or has more inputs than targets or the reverse.
    """

    train: Pair
    validation: Pair
    test: Pair

    def __post_init__(self) -> None:
        for split in ("train", "validation", "test"):
            x, y = getattr(self, split)
            if len(x) != len(y) or len(x) == 0:
                raise ParameterError(
                    f"the {split} split has {len(x)} inputs and {len(y)} targets: "
                    "both must have the same number of examples, at least one"
                )


@dataclass(frozen=True)
class TaskSpec:
    """One task of the experiment.

    Args:
        name: short and unique, what `--tasks` takes.
        title: a few words for tables.
        metric: what `score` returns, with its unit ("accuracy", "bits per character", "PSNR dB").
        higher_is_better: direction of the metric.
        description: one sentence on what is learned.
        data: one sentence on the data and its splits.
        model: one sentence on the network.
        load: returns the `Data`, or what `ogive.bench.protocol.as_data` turns into it.
        make_model: takes an `ActFactory`, returns the network.
        loss: (outputs, targets) of a batch -> scalar to minimise.
        score: (outputs, targets) of a whole split -> the metric.
        batch: examples in a step, >= 1.
        steps: optimisation steps in the quick profile, >= 1 (the full profile takes more).
        lrs: learning rates tried for every activation, all > 0.
        redraw: whether the protocol draws the weights (False keeps the network's own initialisation).

    Raises:
        ParameterError: when batch, steps or lrs are out of range.
    """

    name: str
    title: str
    metric: str
    higher_is_better: bool
    description: str
    data: str
    model: str
    load: Callable[[], Any]
    make_model: Callable[[ActFactory], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
    score: Callable[[Tensor, Tensor], float]
    batch: int
    steps: int
    lrs: tuple[float, ...] = (1e-3, 3e-3, 1e-2)
    redraw: bool = True

    def __post_init__(self) -> None:
        if self.batch < 1 or self.steps < 1:
            raise ParameterError(
                f"task {self.name!r}: batch = {self.batch} and steps = {self.steps} must be at least 1"
            )
        if not self.lrs or not all(0 < lr < float("inf") for lr in self.lrs):
            raise ParameterError(f"task {self.name!r}: lrs = {self.lrs!r} must be one or more positive numbers")

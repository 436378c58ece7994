"""What the tests share: one thread (so that runs are alike), a fixed seed, points away from kinks."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from ogive import catalogue
from ogive.activation import Activation
from ogive.diff import differentiate
from ogive.expr import const, value_of

torch.set_num_threads(1)

ENTRIES = list(catalogue.entries().values())
ONE_INPUT = [entry for entry in ENTRIES if len(entry.inputs) == 1]


def name_of(entry: object) -> str | None:
    """The test id of an entry."""
    return entry.name if isinstance(entry, Activation) else None


every_entry = pytest.mark.parametrize("entry", ENTRIES, ids=name_of)
every_scalar_entry = pytest.mark.parametrize("entry", ONE_INPUT, ids=name_of)


def trainable(entry: Activation) -> list[str]:
    """Parameters whose derivative is not zero everywhere."""
    return [k for k in entry.params if value_of(differentiate(entry.expr, k)) != 0.0]


every_learnable_entry = pytest.mark.parametrize("entry", [e for e in ENTRIES if trainable(e)], ids=name_of)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def smooth_points(entry: Activation, near: float = 0.05) -> torch.Tensor:
    """A few points of float64 no closer than ``near`` to a break point of ``entry`` in any of its inputs."""
    found = [0.0]
    for name in entry.inputs:  # the others held at a number
        held = {other: const(0.7) for other in entry.inputs if other != name}
        found += Activation(entry.written.substitute(held), (name,), entry.params).breakpoints()
    kinks = torch.tensor(found, dtype=torch.float64)
    candidates = torch.tensor([-3.73, -1.31, -0.61, -0.173, 0.271, 0.83, 1.37, 4.19], dtype=torch.float64)
    moved = [candidates + k * 0.037 for k in range(12)]
    apart = torch.stack([(c[:, None] - kinks).abs().amin(1) > near for c in moved])
    first = apart.int().argmax(0)
    chosen = torch.stack(moved)[first, torch.arange(len(candidates))]
    chosen = chosen[apart.any(0)]
    assert len(chosen) >= 4, f"{entry.label} has break points everywhere"
    return chosen


def inputs_of(entry: Activation, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """``x`` for every input of ``entry``, the second one reversed."""
    return (x, x.flip(0).clone())[: len(entry.inputs)]

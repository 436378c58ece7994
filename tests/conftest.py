"""What the tests share: one thread (so that runs are alike), a fixed seed, points away from kinks."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from ogive.activation import Activation
from ogive.expr import const
from tests.selection import choose

torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--entries", default="sample", help="entries the laws run over: sample, all, names or families")


def pytest_configure(config: pytest.Config) -> None:
    choose(config.getoption("--entries"))  # before any law is imported


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
    assert len(chosen) >= 3, f"{entry.label} has break points everywhere"
    return chosen


def inputs_of(entry: Activation, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """``x`` for every input of ``entry``, the second one reversed."""
    return (x, x.flip(0).clone())[: len(entry.inputs)]

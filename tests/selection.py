"""Which catalogue entries the laws run over: ``pytest --entries all``, ``--entries rectified,mish`` or, by default,
a sample."""

from __future__ import annotations

import pytest

from ogive import catalogue
from ogive.activation import Activation

_chosen: list[Activation] = []


def choose(wish: str) -> list[Activation]:
    """The entries meant by ``wish``: ``all``, or names and families by commas. Remembered for :func:`chosen`."""
    everything = list(catalogue.entries().values())
    words = {w.strip() for w in wish.split(",")}
    unknown = words - {"all"} - {str(e.name) for e in everything} - {str(e.family) for e in everything}
    if unknown:
        raise pytest.UsageError(f"--entries: no entry or family is called {', '.join(sorted(unknown))}")
    _chosen[:] = [e for e in everything if words & {"all", str(e.name), str(e.family)}]
    return chosen()


def chosen() -> list[Activation]:
    """What the run was asked to look at."""
    return list(_chosen)

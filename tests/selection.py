"""Which catalogue entries the laws run over: ``pytest --entries all``, ``--entries rectified,mish`` or, by default, a
quarter of those whose formula is certified as it stands and every one whose formula is not."""

from __future__ import annotations

import pytest

from ogive import catalogue
from ogive.activation import Activation
from ogive.certify.store import certified

_chosen: list[Activation] = []


def choose(wish: str) -> list[Activation]:
    """The entries meant by ``wish``: ``sample``, ``all``, or names and families by commas; remembered for :func:`chosen`."""
    everything = list(catalogue.entries().values())
    if wish == "sample":
        _chosen[:] = [e for i, e in enumerate(everything) if i % 4 == 0 or len(e.inputs) > 1 or not certified(e)]
        return chosen()
    words = {w.strip() for w in wish.split(",")}
    unknown = words - {"all"} - {str(e.name) for e in everything} - {str(e.family) for e in everything}
    if unknown:
        raise pytest.UsageError(f"--entries: no entry or family is called {', '.join(sorted(unknown))}")
    _chosen[:] = [e for e in everything if words & {"all", str(e.name), str(e.family)}]
    return chosen()


def chosen() -> list[Activation]:
    """What the run was asked to look at."""
    return list(_chosen)

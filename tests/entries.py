"""The entries a run looks at, and the marks that make one test of each. Import it from tests only: it is filled once
the command line has been read."""

from __future__ import annotations

import pytest

from ogive.activation import Activation
from ogive.diff import differentiate
from ogive.expr import value_of
from tests.selection import chosen

ENTRIES = chosen()
ONE_INPUT = [entry for entry in ENTRIES if len(entry.inputs) == 1]


def name_of(entry: object) -> str | None:
    """The test id of an entry."""
    return entry.name if isinstance(entry, Activation) else None


def trainable(entry: Activation) -> list[str]:
    """Parameters whose derivative is not zero everywhere."""
    return [k for k in entry.params if value_of(differentiate(entry.expr, k)) != 0.0]


every_entry = pytest.mark.parametrize("entry", ENTRIES, ids=name_of)
every_scalar_entry = pytest.mark.parametrize("entry", ONE_INPUT, ids=name_of)
every_learnable_entry = pytest.mark.parametrize("entry", [e for e in ENTRIES if trainable(e)], ids=name_of)
# for what takes seconds an entry: a quarter of those a run looks at, or all when it looks at a few
few_scalar_entries = pytest.mark.parametrize("entry", ONE_INPUT[:: 4 if len(ONE_INPUT) > 40 else 1], ids=name_of)

"""The one family of errors: each quotes what the user wrote and says what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class OgiveError(Exception):
    """Base of every error Ogive raises on purpose."""


class FormulaError(OgiveError, ValueError):
    """A formula that cannot be read or makes no sense."""


class UnknownName(OgiveError, LookupError):
    """A name that is not in the catalogue."""

    def __str__(self) -> str:  # LookupError would quote the whole message
        return str(self.args[0]) if self.args else ""


class ParameterError(OgiveError, ValueError):
    """A parameter that does not exist or a value it cannot take."""


class InputError(OgiveError, TypeError):
    """An input of the wrong kind: not a tensor, not floating point, a shape that does not fit."""


def closest(name: str, known: Iterable[str], n: int = 3) -> list[str]:
    """The ``n`` names in ``known`` most like ``name``, best first.

    >>> closest("gleu", ["relu", "gelu", "tanh", "silu"], 2)
    ['gelu', 'relu']
    """
    word = name.lower()
    ranked = sorted(known, key=lambda k: (slips(word, k.lower()), abs(len(word) - len(k)), _likeness(word, k)))
    return ranked[:n]


def _likeness(a: str, b: str) -> float:
    return -difflib.SequenceMatcher(None, a, b.lower()).ratio()


def slips(a: str, b: str) -> int:
    """How many letters were forgotten, added, mistaken or swapped with their neighbour between ``a`` and ``b``.

    >>> slips("gleu", "gelu"), slips("gleu", "glu"), slips("sofplus", "softplus")
    (1, 1, 1)
    """
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, p in enumerate(a, 1):
        last, row, older = row, [i], before
        before = last
        for j, q in enumerate(b, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (p != q))
            if i > 1 and j > 1 and p == b[j - 2] and a[i - 2] == q:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
    return row[-1]

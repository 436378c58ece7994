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
    pool = list(known)
    ranked = sorted(pool, key=lambda k: -difflib.SequenceMatcher(None, name.lower(), k.lower()).ratio())
    return ranked[:n]

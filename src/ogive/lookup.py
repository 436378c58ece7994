"""From what a user has in hand to an :class:`Activation`."""

from __future__ import annotations

import re
from typing import Any

from ogive import catalogue
from ogive.activation import Activation, define
from ogive.errors import InputError


def get(spec: Any) -> Activation:
    """The activation meant by ``spec``: a name or alias, a formula in x, an Activation, an ``ogive.Act``.

    Raises :class:`~ogive.errors.UnknownName` with the three closest names, or
    :class:`~ogive.errors.FormulaError` for a formula that cannot be read.

    >>> get("silu").name, str(get("x*tanh(x)"))
    ('silu', 'x*tanh(x)')
    """
    if isinstance(spec, Activation):
        return spec
    if isinstance(spec, str):
        text = spec.strip()
        if re.fullmatch(r"[A-Za-z_]\w*", text) and text != "x":
            return catalogue.lookup(text)
        found: Activation = define(text)
        return found
    inner = getattr(spec, "activation", None)
    if isinstance(inner, Activation):
        return inner
    raise InputError(f"expected a name, a formula or an activation; got {type(spec).__name__}: {str(spec)[:80]!r}")


def names() -> list[str]:
    """Names of all catalogue entries, sorted (aliases not included)."""
    return sorted(catalogue.entries())

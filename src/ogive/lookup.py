"""From what a user has in hand to an :class:`Activation`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ogive import catalogue
from ogive.activation import Activation, define
from ogive.errors import InputError, ParameterError


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


def scalar(spec: Any, what: str, params: Mapping[str, Any]) -> tuple[Activation, dict[str, float]]:
    """The activation of one input meant by ``spec`` and its parameters as numbers, ``params`` over defaults.

    ``what`` names the quantity asked for, in errors. Raises :class:`~ogive.errors.InputError` for a gate of
    two inputs and :class:`~ogive.errors.ParameterError` for a parameter that is not a number.

    >>> scalar("swish", "the gain", {"beta": 2})[1]
    {'beta': 2.0}
    """
    act = get(spec)
    if len(act.inputs) != 1:
        raise InputError(
            f"{what} of {act.label}: it takes {len(act.inputs)} inputs ({', '.join(act.inputs)}); "
            "ask about an activation of one input"
        )
    values = act.settle(params)
    for key, value in values.items():
        if isinstance(value, Tensor):
            raise ParameterError(f"{what} of {act.label}: parameter {key} is a tensor; it takes a number")
    return act, values


def names() -> list[str]:
    """Names of all catalogue entries, sorted (aliases not included)."""
    return sorted(catalogue.entries())

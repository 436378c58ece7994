"""The catalogue: published activations, one file per family, collected by being there."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from ogive.activation import Activation
from ogive.errors import OgiveError, UnknownName, closest


@lru_cache(maxsize=1)
def entries() -> MappingProxyType[str, Activation]:
    """Every entry by name, family by family."""
    found: dict[str, Activation] = {}
    for module in pkgutil.iter_modules(__path__):
        family = importlib.import_module(f"{__name__}.{module.name}")
        for value in vars(family).values():
            mine = isinstance(value, Activation) and value.family == module.name and value.name
            if mine and found.setdefault(value.name, value) is not value:
                raise OgiveError(f"two entries are called {value.name!r}")
    return MappingProxyType(found)


@lru_cache(maxsize=1)
def aliases() -> MappingProxyType[str, str]:
    """Every other spelling and the entry it means."""
    table: dict[str, str] = {}
    for entry in entries().values():
        for alias in entry.aliases:
            if alias in entries() or table.setdefault(alias, str(entry.name)) != entry.name:
                raise OgiveError(f"the alias {alias!r} of {entry.name!r} already means something else")
    return MappingProxyType(table)


def lookup(name: str) -> Activation:
    """The entry called ``name``, by name or alias. Raises :class:`UnknownName` with the three closest."""
    found = entries().get(name) or entries().get(aliases().get(name, ""))
    if found is None:
        near = closest(name, [*entries(), *aliases()])
        raise UnknownName(f"no activation is called {name!r}; the closest are {', '.join(near)}")
    return found


@lru_cache(maxsize=1)
def callables() -> dict[str, Callable[..., Any]]:
    """Entries as functions for formulas: define('0.5*gelu(x) + 0.5*relu(x)')."""
    from ogive.ops import FUNCTIONS

    def caller(name: str) -> Callable[..., Any]:
        return lambda *args: lookup(name)(*args)

    return {n: caller(n) for n in (*entries(), *aliases()) if n not in FUNCTIONS}


def __getattr__(name: str) -> Activation:
    if name.startswith("_"):
        raise AttributeError(name)
    try:
        return lookup(name)
    except UnknownName as error:
        raise AttributeError(str(error)) from None


def __dir__() -> list[str]:
    return sorted([*globals(), *entries(), *aliases()])

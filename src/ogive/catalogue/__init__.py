"""The catalogue: published activations, one file per family, collected by being there."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from ogive.activation import Activation
from ogive.errors import OgiveError, UnknownName, closest
from ogive.plugins import Plugin, load

# Plain dictionaries, filled once: a graph compiler can read them where it could not run the loading.
_entries: dict[str, Activation] = {}
_aliases: dict[str, str] = {}
_plugins: list[Plugin] = []


def entries() -> Mapping[str, Activation]:
    """Every entry by name, family by family."""
    if not _entries:
        _load()
    return MappingProxyType(_entries)


def aliases() -> Mapping[str, str]:
    """Every other spelling and the entry it means."""
    if not _entries:
        _load()
    return MappingProxyType(_aliases)


def plugins() -> tuple[Plugin, ...]:
    """What installed packages added through the entry point group ``ogive.activations``, and what was skipped."""
    if not _entries:
        _load()
    return tuple(_plugins)


def _load() -> None:
    found: dict[str, Activation] = {}
    for module in pkgutil.iter_modules(__path__):
        family = importlib.import_module(f"{__name__}.{module.name}")
        for value in vars(family).values():
            mine = isinstance(value, Activation) and value.family == module.name and value.name
            if mine and found.setdefault(value.name, value) is not value:
                raise OgiveError(f"two entries are called {value.name!r}")
    table: dict[str, str] = {}
    for entry in found.values():
        for alias in entry.aliases:
            if alias in found or table.setdefault(alias, str(entry.name)) != entry.name:
                raise OgiveError(f"the alias {alias!r} of {entry.name!r} already means something else")
    _aliases.update(table)
    _entries.update(found)
    # A plugin may use the catalogue while it is being loaded, so ours is there first.
    more, report = load({**found, **table})
    _aliases.update({alias: name for name, entry in more.items() for alias in entry.aliases})
    _entries.update(more)
    _plugins[:] = report
    callables.cache_clear()


def lookup(name: str) -> Activation:
    """The entry called ``name``, by name or alias. Raises :class:`UnknownName` with the three closest."""
    if not _entries:
        _load()
    found = _entries.get(_aliases.get(name, name))
    if found is None:
        from ogive.cards import KINDS, known

        other = known(name)
        if other is not None:
            raise UnknownName(f"{name!r} is not a function of one number: {other.title} {KINDS[other.kind]}, "
                              f"{other.definition}; layer: {other.where}")  # fmt: skip
        near = closest(name, [*_entries, *_aliases])
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

"""Entries from other packages: an entry point of the group ``ogive.activations`` names a module of entries, one
activation, or several. What is broken is reported and skipped; the catalogue itself is never at risk."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

from ogive.activation import Activation

GROUP = "ogive.activations"


@dataclass(frozen=True)
class Plugin:
    """What one entry point gave: the names of its entries, and its problems as sentences."""

    name: str
    package: str
    entries: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return {"name": self.name, "package": self.package, "entries": list(self.entries),
                "problems": list(self.problems)}  # fmt: skip


def load(taken: Mapping[str, Any]) -> tuple[dict[str, Activation], tuple[Plugin, ...]]:
    """Entries of every installed plugin whose names are not in ``taken`` (names and aliases), and what became of each.

    Problems are also warned of, once.
    """
    found: dict[str, Activation] = {}
    plugins = []
    for point in sorted(entry_points(group=GROUP), key=lambda p: (p.name, p.value)):
        package = point.dist.name if point.dist is not None else point.value
        mine: list[str] = []
        problems: list[str] = []
        for act in _given(point, problems):
            words = [str(act.name), *act.aliases]
            clash = [w for w in words if w in taken or w in found]
            if clash:
                problems.append(f"{act.name}: the name {clash[0]!r} is taken; rename it")
                continue
            found[str(act.name)] = act
            mine.append(str(act.name))
        for problem in problems:
            warnings.warn(f"plugin {point.name!r} of {package}: {problem}", stacklevel=2)
        plugins.append(Plugin(point.name, package, tuple(mine), tuple(problems)))
    return found, tuple(plugins)


def _given(point: EntryPoint, problems: list[str]) -> Iterator[Activation]:
    try:
        loaded = point.load()
    except Exception as error:  # whatever somebody else's module raises
        problems.append(f"loading {point.value!r} failed with {type(error).__name__}: {error}; it was skipped")
        return
    for value in _several(loaded):
        if not isinstance(value, Activation):
            problems.append(f"{point.value!r} holds a {type(value).__name__} where an ogive.Activation is expected")
        elif not value.name:
            problems.append(f"'{value}' has no name; give one to ogive.define")
        else:
            yield value


def _several(loaded: Any) -> Iterable[Any]:
    if isinstance(loaded, ModuleType):
        return [v for v in vars(loaded).values() if isinstance(v, Activation) and v.name]
    if isinstance(loaded, Mapping):
        return list(loaded.values())
    return list(loaded) if isinstance(loaded, (list, tuple)) else [loaded]

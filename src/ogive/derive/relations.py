"""Which entries are the same function, which contain which, and which are near: facts, stored and tested.

The facts stand in ``catalogue/relations.tsv``. They come from a search over the whole catalogue
(:mod:`ogive.derive.recognition.kinship`, two to four minutes for 650 entries on one core)::

    python -m ogive.derive.relations --write
    python -m ogive.derive.relations --count

Relations are between entries at default parameters: ``a`` contains ``b`` when some values of a's parameters make it
b as published. The forward map alone is compared; two entries that are the same may differ in a declared backward.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ogive.catalogue import entries, lookup
from ogive.errors import OgiveError
from ogive.expr import number_text

FILE = Path(__file__).parent.parent / "catalogue" / "relations.tsv"
HEADER = ("name", "kind", "other", "parameters", "gap")
KINDS = ("same as", "contains", "contained in", "near")


@dataclass(frozen=True)
class Relation:
    """``kind`` is "same as", "contains" or "contained in" (at ``parameters``, those that are not the defaults of
    the entry that contains), or "near". ``gap`` is the largest difference for |x| <= 8."""

    kind: str
    other: str
    parameters: Mapping[str, float]
    gap: float

    @property
    def text(self) -> str:
        """As a sentence would say it: ``contains silu at kappa = 1``."""
        at = ", ".join(f"{k} = {number_text(v)}" for k, v in self.parameters.items())
        if self.kind == "near":
            return f"near {self.other}, at most {self.gap:.2g} away for |x| <= 8"
        return f"{self.kind} {self.other}" + (f" at {at}" if at else "")

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return {"kind": self.kind, "other": self.other, "parameters": dict(self.parameters), "gap": self.gap}


@dataclass(frozen=True)
class Fact:
    """One line of the file. Of entries that are one function only the first is spoken of; the others are told
    by their "same as"."""

    name: str
    kind: str
    other: str
    parameters: Mapping[str, float]
    gap: float

    @property
    def line(self) -> str:
        given = ", ".join(f"{k}={number_text(v)}" for k, v in self.parameters.items())
        return "\t".join((self.name, self.kind, self.other, given, f"{self.gap:.3g}"))


def relations(name: str) -> tuple[Relation, ...]:
    """What the catalogue knows of the relatives of the entry called ``name`` (or by an alias): the same function
    first, then what it contains and is contained in, then the nearest.

    Raises :class:`~ogive.errors.UnknownName` with the three closest names.

    >>> [r.text for r in relations("swish") if r.other == "silu"]
    ['same as silu']
    """
    return _all().get(str(lookup(name).name), ())


@lru_cache(maxsize=1)
def facts() -> tuple[Fact, ...]:
    """The lines of the file."""
    found = []
    for number, line in enumerate(FILE.read_text().splitlines()[1:], 2):
        parts = line.split("\t")
        try:
            name, kind, other, given, gap = parts
            pairs = (p.split("=") for p in given.split(", ") if p)
            found.append(Fact(name, kind, other, {k: float(v) for k, v in pairs}, float(gap)))
        except ValueError:
            raise OgiveError(f"{FILE.name}, line {number}: {line[:80]!r} is not {', '.join(HEADER)}") from None
    return tuple(found)


@lru_cache(maxsize=1)
def _all() -> Mapping[str, tuple[Relation, ...]]:
    stands = {f.name: f.other for f in facts() if f.kind == "same as"}
    twins: dict[str, list[str]] = {}
    for member, first in stands.items():
        twins.setdefault(first, [first]).append(member)
    told: dict[str, list[Relation]] = {}
    for group in twins.values():
        for a in group:
            told.setdefault(a, []).extend(Relation("same as", b, {}, 0.0) for b in group if b != a)
    for kind in KINDS[1:]:
        for f in facts():
            told_of = twins.get(f.other, [f.other])
            if kind == "contains" == f.kind:
                told.setdefault(f.name, []).extend(
                    Relation(kind, b, f.parameters, f.gap) for b in told_of if b != f.name
                )
            elif kind == "contained in" and f.kind == "contains":
                for b in told_of:
                    if b != f.name:
                        told.setdefault(b, []).append(Relation(kind, f.name, f.parameters, f.gap))
            elif kind == "near" == f.kind:
                for a in twins.get(f.name, [f.name]):
                    told.setdefault(a, []).append(Relation(kind, f.other, {}, f.gap))
    return MappingProxyType({k: tuple(v) for k, v in told.items()})


def write(found: Iterable[Fact]) -> int:
    """Replace the file by these facts, sorted; how many there are."""
    lines = sorted(f.line for f in found)
    FILE.write_text("\n".join(("\t".join(HEADER), *lines)) + "\n")
    facts.cache_clear()
    _all.cache_clear()
    return len(lines)


def main(arguments: list[str]) -> int:
    """``--write`` searches the catalogue and writes the file, ``--count`` counts functions."""
    from ogive.derive.recognition.kinship import distinct, search

    if arguments == ["--write"]:
        total = write(search(progress=lambda text: print(text, file=sys.stderr)))
        print(f"{total} facts about {len(entries())} entries in {FILE.name}")
    elif arguments == ["--count"]:
        print(distinct())
    else:
        print("usage: python -m ogive.derive.relations --write | --count", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

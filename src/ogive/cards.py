"""Cards: what is published and is not a function of one number. Maps over an axis, gates, bases, neurons, statistics
and noise have a name, a definition, a source, and the layer that computes them or 'not yet'."""

from __future__ import annotations

import csv
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from ogive.errors import OgiveError, UnknownName, closest
from ogive.references import cited

KINDS = {
    "vector": "maps a vector to a vector",
    "gate": "multiplies two inputs",
    "stochastic": "draws random numbers",
    "basis": "a learned sum of basis functions",
    "rational": "a learned quotient of polynomials",
    "edge": "sits on the edge of a Kolmogorov-Arnold network",
    "statistic": "uses statistics of its input",
    "conditional": "takes its parameters from elsewhere",
    "neuron": "is a whole neuron, weights included",
    "interval": "is not defined on the whole real line",
}


@dataclass(frozen=True)
class Card:
    """One published nonlinearity that is not a scalar formula: what it is, whose, and what computes it here."""

    name: str
    title: str
    kind: str
    definition: str
    cite: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    layer: str | None = None

    @property
    def where(self) -> str:
        """The layer that computes it, or 'not yet'."""
        return self.layer or "not yet"

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return {**asdict(self), "cite": list(self.cite), "aliases": list(self.aliases)}

    def __str__(self) -> str:
        lines = [f"{self.title} ({self.name}): {KINDS[self.kind]}"]
        rows = (("definition", self.definition), ("also", ", ".join(self.aliases)), ("layer", self.where),
                ("source", "; ".join(map(cited, self.cite))))  # fmt: skip
        for head, text in rows:
            if text:
                wrapped = textwrap.wrap(text, 66, break_long_words=False)
                lines += [f"  {head:<12}{wrapped[0]}", *(f"{'':14}{line}" for line in wrapped[1:])]
        return "\n".join(lines)


@lru_cache(maxsize=1)
def cards() -> Mapping[str, Card]:
    """Every card by name, sorted."""
    file = resources.files("ogive.catalogue") / "cards.tsv"
    if not file.is_file():
        return MappingProxyType({})
    rows = csv.DictReader(file.read_text(encoding="utf-8").splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    found: dict[str, Card] = {}
    for r in rows:
        card = Card(r["name"], r["title"], r["kind"], r["definition"], _several(r["cite"]), _several(r["aliases"]),
                    r["layer"] or None)  # fmt: skip
        if card.kind not in KINDS:
            raise OgiveError(f"cards.tsv: {card.name} is of the kind {card.kind!r}; there are {', '.join(KINDS)}")
        if found.setdefault(card.name, card) is not card:
            raise OgiveError(f"cards.tsv: {card.name!r} occurs twice")
    return MappingProxyType(dict(sorted(found.items())))


def _several(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(";") if part.strip())


def card(name: str) -> Card:
    """The card called ``name``, by name or alias. Raises UnknownName with the closest.

    >>> card("softmax").kind
    'vector'
    """
    found = known(name)
    if found is None:
        near = ", ".join(closest(name, cards())) or "none"
        raise UnknownName(f"there is no card {name!r}; the closest are {near}")
    return found


def known(name: str) -> Card | None:
    """The card called ``name``, by name or alias, else None."""
    everything = cards()
    return everything.get(name) or next((c for c in everything.values() if name in c.aliases), None)

"""Cards: published activations that are no scalar formula, as records of the index and simple pages."""

from __future__ import annotations

from ogive.bench.report.markup import el, join
from ogive.cards import KINDS, Card
from ogive.gallery.facts import Record
from ogive.gallery.sections import block
from ogive.gallery.shell import page
from ogive.references import Reference, bibtex, family_name, references


def _cited(card: Card) -> list[Reference]:
    known = references()
    return [known[k] for k in card.cite if k in known]


def card_record(card: Card) -> Record:
    """What the index knows of a card: words only."""
    found = _cited(card)
    return Record(
        name=card.name, aliases=tuple(card.aliases), family=card.kind,
        year=min((r.year for r in found if r.year is not None), default=None),
        authors=tuple(dict.fromkeys(family_name(a) for r in found for a in r.authors)),
        source=found[0].short if found else "", formula=card.definition, note=card.title, inputs=0, params=(),
        monotone=None, bounded=False, ends="unknown", smooth=None, zero=False, parity=None, low=None, high=None,
        gain=None, cost=0.0, operations=0, saved=0.0, spark="", kind="card",
    )  # fmt: skip


def card_page(card: Card) -> str:
    """The page of a card: title, definition, the layer that implements it, sources."""
    layer = f"Implemented by {card.layer}." if card.layer else "Not implemented in Ogive yet."
    sources = [el("li", str(r), block("BibTeX", bibtex(r.key)) if bibtex(r.key) else None) for r in _cited(card)]
    also = f"also {', '.join(card.aliases)}" if card.aliases else None
    lead = f"{card.title}: {KINDS[card.kind]}."
    body = join(
        el("header", el("p", el("a", "Index", href="../index.html"), f" / {card.kind}", class_="crumbs"),
           el("h1", card.name), el("p", also, class_="aliases") if also else None, el("p", lead, class_="lead"),
           class_="head"),
        el("section", el("h2", "Definition"), el("pre", el("code", card.definition)), el("p", layer)),
        el("section", el("h2", "Sources"), el("ol", sources, class_="sources")) if sources else None,
    )  # fmt: skip
    return page(card.name, body, kind="card", root="../", scripts=("../assets/entry.js",),
                description=f"{card.title}. {card.definition}"[:300])  # fmt: skip

"""A tile: an entry or a card as the index and the family pages show it."""

from __future__ import annotations

from collections.abc import Sequence

from ogive.bench.report.markup import Markup, el
from ogive.gallery.facts import Record
from ogive.gallery.picture import thumbnail

LONGEST = 90  # characters of a formula on a tile


def place(facts: Record) -> str:
    """Where the page of an entry or card lies, from the root of the site."""
    return f"{'entry' if facts.kind == 'entry' else 'card'}/{facts.name}.html"


def tile(facts: Record, root: str = "", pick: bool = True) -> Markup:
    """A small picture, name, family and year, the formula; a button to compare."""
    formula = facts.formula if len(facts.formula) <= LONGEST else facts.formula[: LONGEST - 1] + "…"
    small = " · ".join(filter(None, [facts.family.replace("_", " "), str(facts.year or "")]))
    can_pick = pick and facts.kind == "entry" and facts.inputs == 1
    picture = thumbnail(facts.spark) if facts.kind == "entry" else el("span", facts.family or "card", class_="badge")
    return el(
        "li",
        el("a", picture, el("b", facts.name), el("small", small), el("code", formula), href=root + place(facts)),
        el("button", "+", type="button", class_="pick", data_name=facts.name, aria_pressed="false",
           aria_label=f"Compare {facts.name}", title="Compare") if can_pick else None,
        class_="tile",
        data_name=facts.name,
    )  # fmt: skip


def tiles(records: Sequence[Record], root: str = "") -> Markup:
    """Tiles as one list."""
    return el("ul", (tile(r, root) for r in records), class_="tiles")

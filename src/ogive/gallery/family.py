"""Pages of families: one with all of them, one for each."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence

from ogive.bench.report.markup import Markup, el, join
from ogive.gallery.facts import Record
from ogive.gallery.picture import thumbnail
from ogive.gallery.shell import page
from ogive.gallery.tiles import tiles


def titled(family: str) -> str:
    """A family's name as a heading.

    >>> titled("smooth_rectified")
    'Smooth rectified'
    """
    return family.replace("_", " ").capitalize()


def note(family: str) -> str:
    """What the family's file says of itself, empty for entries that came from elsewhere."""
    name = f"ogive.catalogue.{family}"
    if not family.isidentifier() or importlib.util.find_spec(name) is None:
        return ""
    said = importlib.import_module(name).__doc__ or ""
    return " ".join(said.strip().split("\n\n")[0].split())


def family_page(family: str, members: Sequence[Record]) -> str:
    """The page of one family."""
    years = [r.year for r in members if r.year is not None]
    span = f" · {min(years)} to {max(years)}" if years and min(years) < max(years) else ""
    body = join(
        el("header", el("p", el("a", "Families", href="../families.html"), class_="crumbs"), el("h1", titled(family)),
           el("p", note(family), class_="lead"),
           el("p", f"{len(members)} entr{'y' if len(members) == 1 else 'ies'}{span}", class_="source"), class_="head"),
        tiles(members, "../"),
    )  # fmt: skip
    return page(titled(family), body, kind="family", root="../", scripts=("../assets/index.js",),
                description=note(family))  # fmt: skip


def families_page(families: Mapping[str, Sequence[Record]]) -> str:
    """The page that lists all families, each with its first curves."""

    def row(family: str, members: Sequence[Record]) -> Markup:
        shown = [r for r in members if r.spark][:6]
        return el(
            "li",
            el("a", el("b", titled(family)), el("small", f"{len(members)}"), href=f"family/{family}.html"),
            el("p", note(family)),
            el("div", (thumbnail(r.spark) for r in shown), class_="strip"),
        )

    body = join(
        el("header", el("h1", "Families"), class_="head"),
        el("ul", (row(f, families[f]) for f in sorted(families)), class_="families"),
    )
    return page("Families", body, kind="families", description="Activation functions by family")

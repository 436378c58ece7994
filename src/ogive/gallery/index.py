"""The index: search, filters, tiles; and the data that the site's scripts share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from json import dumps

from ogive.bench.report.markup import Child, Markup, el, join
from ogive.gallery.facts import Record
from ogive.gallery.shell import page
from ogive.gallery.tiles import tiles

FILTERS = (
    ("scalar", "Formulas"),
    ("monotone", "Monotone"),
    ("bounded", "Bounded"),
    ("smooth", "Smooth"),
    ("learnable", "Learnable"),
    ("zero", "Zero-preserving"),
    ("cheap", "Cheapest"),
)
CHEAP = 0.5  # exponentials: arithmetic, comparisons, at most one division or root
ORDERS = (("name", "A to Z"), ("cost", "Cheapest first"), ("new", "Newest first"), ("old", "Oldest first"))


def flags(facts: Record) -> dict[str, bool]:
    """Which filters an entry passes. Smooth: the slope is continuous."""
    return {
        "scalar": facts.kind == "entry",
        "monotone": facts.monotone is not None,
        "bounded": facts.bounded,
        "smooth": (facts.smooth or 0) >= 2,
        "learnable": bool(facts.params),
        "zero": facts.zero,
        "cheap": facts.kind == "entry" and facts.cost <= CHEAP,
    }


def data(records: Sequence[Record]) -> str:
    """The script that tells the others what there is."""
    rows = []
    for r in records:
        row = {k: v for k, v in r.to_dict().items() if k not in ("spark", "note")}
        rows.append({**row, "flags": [k for k, on in flags(r).items() if on]})
    return f"'use strict';\nconst CATALOGUE = {_compact(rows)};\n"


def _compact(value: object) -> str:
    # U+2028 ends a line in old JavaScript; "</" cannot occur outside a page, and is escaped all the same.
    return dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")


def index_page(records: Sequence[Record], families: Mapping[str, Sequence[Record]]) -> str:
    """The front page."""
    entries = [r for r in records if r.kind == "entry"]
    cards = len(records) - len(entries)
    years = [r.year for r in records if r.year is not None]
    first, last = (min(years), max(years)) if years else (0, 0)
    also = f", and {cards} published layers and gates as cards" if cards else ""
    found = f"{len(entries)} activation function{'s' * (len(entries) != 1)}"
    body = join(
        el("header", el("h1", found),
           el("p", f"Each with its derivatives, limits, gain, cost, code and source, all from one formula{also}.",
              class_="lead"), class_="head"),
        _controls(families, first, last),
        el("p", f"{len(records)} shown", class_="count", role="status"),
        tiles(records),
        el("p", "Nothing matches. ", el("button", "Clear search and filters", type="button", class_="clear"),
           class_="empty", hidden=True),
        tray(),
    )  # fmt: skip
    return page("Activation functions", body, kind="index", scripts=("assets/catalogue.js", "assets/index.js"),
                description=f"{found}, searchable")  # fmt: skip


def tray() -> Markup:
    """What was picked for comparison, at the foot of the window."""
    return el("div", el("ol", class_="picked"), el("a", "Compare", href="compare.html", class_="go"), class_="tray",
              hidden=True, role="region", aria_label="Picked for comparison")  # fmt: skip


def _controls(families: Mapping[str, Sequence[Record]], first: int, last: int) -> Markup:
    chips: list[Child] = [
        el("label", el("input", type="checkbox", name="flag", value=key), el("span", label)) for key, label in FILTERS
    ]
    family = el("select", el("option", "all families", value=""),
                (el("option", f.replace("_", " "), value=f) for f in sorted(families)), name="family",
                aria_label="Family")  # fmt: skip
    order = el("select", (el("option", label, value=key) for key, label in ORDERS), name="order", aria_label="Order")

    def year(name: str, at: int, what: str) -> Markup:
        return el("input", type="number", name=name, value=at, min=first, max=last, aria_label=what)

    return el(
        "form",
        el("div", el("input", type="search", name="q", placeholder="Name, author, formula …", autocomplete="off",
                     spellcheck="false", aria_label="Search"), el("kbd", "/"), class_="search"),
        el("div", *chips, class_="chips", role="group", aria_label="Filters"),
        el("div", family, el("span", year("from", first, "From year"), " to ", year("to", last, "To year"),
                             class_="years"), order, class_="selects"),
        class_="controls",
        role="search",
    )  # fmt: skip

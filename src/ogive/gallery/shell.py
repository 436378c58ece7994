"""The frame of every page: head, menu, theme switch, footer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from string import Template

from ogive import __version__
from ogive.bench.report.markup import Markup, el, join, text

MENU = (("index.html", "Index"), ("families.html", "Families"), ("map.html", "Map"), ("compare.html", "Compare"))
SCRIPTS = ("math.js", "plot.js", "site.js", "index.js", "entry.js", "map.js", "compare.js")


@lru_cache(maxsize=32)
def asset(name: str) -> str:
    """The text of one file of the package's assets."""
    return (resources.files("ogive.gallery") / "assets" / name).read_text(encoding="utf-8")


def style() -> str:
    """The style sheet, with the report's light and dark palettes put in."""
    templates = resources.files("ogive.bench.report") / "templates"
    palettes = {k: (templates / f"{k}.css").read_text(encoding="utf-8").strip() for k in ("light", "dark")}
    return Template(asset("gallery.css")).substitute(palettes)


def page(
    title: str, body: Markup, *, kind: str, root: str = "", scripts: Sequence[str] = (), description: str = ""
) -> str:
    """A whole page.

    Args:
        title: of the browser's tab.
        body: the content of <main>.
        kind: class of <body>.
        root: the way from this page to the site's root, "" or "../".
        scripts: script files, relative to the page.
        description: one sentence for search engines.
    """
    return Template(asset("page.html")).substitute(
        title=text(title),
        description=text(description or title),
        root=root,
        kind=kind,
        scripts=join(*(el("script", src=src, defer=True) for src in scripts)),
        menu=join(
            el("a", label, href=root + file, aria_current="page" if file.startswith(kind + ".") else None)
            for file, label in MENU
        ),
        body=body,
        footer=text(f"Made by Ogive {__version__} from its own formulas. This site loads nothing from anywhere."),
    )

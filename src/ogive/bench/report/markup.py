"""HTML and SVG elements that escape by construction.

Names, errors and configurations come from users and from other people's exceptions. Text is escaped
where an element is built, and only `Markup`, which nothing but `el` and `join` makes from text,
passes through: forgetting to escape is not possible, only escaping twice is (and tests see that).
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TypeAlias

__all__ = ["Child", "Markup", "el", "join"]

_VOID = frozenset({"br", "circle", "input", "line", "meta", "path", "polygon", "polyline", "rect", "use"})


class Markup(str):
    """Text that already is HTML."""


Child: TypeAlias = "str | int | float | Iterable[Child] | None"


def text(value: str) -> Markup:
    """A user's text as HTML: escaped, control characters shown as U+FFFD.

    >>> text("<script>&'")
    '&lt;script&gt;&amp;&#x27;'
    """
    shown = "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in value)
    return Markup(escape(shown, quote=True))


def join(*children: Child) -> Markup:
    """Children one after the other, each escaped unless it is Markup; None is nothing."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Markup):
            parts.append(child)
        elif isinstance(child, str):
            parts.append(text(child))
        elif isinstance(child, (int, float)):
            parts.append(f"{child:g}")
        else:
            parts.extend(join(part) for part in child)
    return Markup("".join(parts))


def el(tag: str, *children: Child, **attributes: str | int | float | bool | None) -> Markup:
    """One element; attribute names lose a final underscore and have _ for -, floats get two decimals.

    >>> el("p", "a < b", class_="note", hidden=True, id=None)
    '<p class="note" hidden>a &lt; b</p>'
    """
    parts = [f"<{tag}"]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        name = name.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(f" {name}")
            continue
        shown = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
        parts.append(f' {name}="{text(shown)}"')
    body = join(*children)
    if tag in _VOID and not body:
        return Markup("".join([*parts, ">" if tag in {"br", "input", "meta"} else "/>"]))
    return Markup("".join([*parts, ">", body, f"</{tag}>"]))

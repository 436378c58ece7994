"""What a transform did to a model and what it bought: the same table for all of them."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ogive.errors import InputError
from ogive.surgery.sites import folded, table


@dataclass(frozen=True)
class Change:
    """One site: the function before, the one after, and by how much the results differ on what the site is given
    (root mean square over that of the old results; nan where it was not measured)."""

    site: str
    before: str
    after: str
    error: float = math.nan
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """One quantity before and after. ``low`` and ``high`` are the 95 % interval of ``after`` (nan: no interval)."""

    name: str
    before: float
    after: float
    unit: str = ""
    low: float = math.nan
    high: float = math.nan

    def cells(self) -> tuple[str, str, str, str]:
        """The row of a table."""
        interval = f"[{_number(self.low)}, {_number(self.high)}]" if math.isfinite(self.low) else ""
        name = f"{self.name}, {self.unit}" if self.unit else self.name
        return name, _number(self.before), _number(self.after), interval


@dataclass(frozen=True)
class Report:
    """What a transform did: sites changed, sites left and why, figures before and after on the user's data.

    ``undo()`` gives the model back as it was, bit for bit. ``save(path)`` writes HTML or JSON by the ending.
    """

    transform: str
    changes: tuple[Change, ...]
    left: tuple[tuple[str, str], ...] = ()
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    examples: int = 0
    undo: Callable[[], None] = field(default=lambda: None, repr=False, compare=False)

    def __getitem__(self, name: str) -> Figure:
        found = [f for f in self.figures if f.name == name]
        if not found:
            raise KeyError(f"no figure {name!r}; there are {', '.join(f.name for f in self.figures) or 'none'}")
        return found[0]

    def __repr__(self) -> str:
        head = f"{self.transform}: {len(self.changes)} of {len(self.changes) + len(self.left)} sites changed"
        rows: list[tuple[str, ...]] = [("site", "before", "after", "error")]
        rows += [(c.site, c.before, c.after, _number(c.error)) for c in self.changes]
        parts = [head, *([table(rows, (28, 16, 24, 9))] if self.changes else [])]
        parts += [folded(f"{c.site}: {c.note}") for c in self.changes if c.note]
        parts += [folded(f"left: {name}, {why}") for name, why in self.left]
        if self.figures:
            cells: list[tuple[str, ...]] = [(f"on {self.examples} examples", "before", "after", "95 % interval")]
            parts += ["", table([*cells, *(f.cells() for f in self.figures)], (30, 12, 12, 22))]
        return "\n".join([*parts, *map(folded, self.notes)])

    def to_dict(self) -> dict[str, Any]:
        """Everything but ``undo``, ready for JSON; numbers that are not finite are None."""
        found = {k: v for k, v in self.__dict__.items() if k != "undo"}
        rows = {k: [asdict(r) for r in found[k]] for k in ("changes", "figures")}
        plain: dict[str, Any] = _plain({**found, **rows})
        return plain

    def save(self, path: str | Path) -> Path:
        """Write the report; ``.json`` or ``.html`` decides how. Raises InputError for another ending."""
        path = Path(path)
        if path.suffix not in (".json", ".html"):
            raise InputError(f"save {str(path)!r}: the name ends in .json or .html")
        text = json.dumps(self.to_dict(), indent=1) if path.suffix == ".json" else self._page()
        path.write_text(text, encoding="utf-8")
        return path

    def _page(self) -> str:
        def rows(head: tuple[str, ...], body: list[tuple[str, ...]]) -> str:
            lines = ["".join(f"<td>{html.escape(c)}</td>" for c in row) for row in body]
            top = "".join(f"<th>{html.escape(c)}</th>" for c in head)
            return f"<table><tr>{top}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"

        changes: list[tuple[str, ...]] = [(c.site, c.before, c.after, _number(c.error), c.note)
                                          for c in self.changes]  # fmt: skip
        parts = [rows(("site", "before", "after", "error", ""), changes)]
        if self.figures:
            parts.append(rows((f"on {self.examples} examples", "before", "after", "95 % interval"),
                              [f.cells() for f in self.figures]))  # fmt: skip
        if self.left:
            parts.append(rows(("left as it was", "why"), list(self.left)))
        parts += [f"<p>{html.escape(n)}</p>" for n in self.notes]
        title = html.escape(self.transform)
        return _PAGE.format(title=title, body="\n".join(parts))


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }}
th, td {{ text-align: left; padding: .25rem .75rem; border-bottom: 1px solid #8884; }}
td {{ font-variant-numeric: tabular-nums; }}
</style></head><body><h1>{title}</h1>
{body}
</body></html>
"""


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    if value and (abs(value) < 1e-3 or abs(value) >= 1e5):
        return f"{value:.2e}"
    return f"{value:.4g}"


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value

"""Laws 5 and 6: no function twice without saying so, no alias with two meanings, every citation real."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest
import torch

import ogive
from ogive import catalogue

ENTRIES = catalogue.entries()
FOLDER = Path(catalogue.__file__).parent
BIB = (FOLDER / "references.bib").read_text()


def bib_entries() -> dict[str, str]:
    chunks = re.split(r"^@", BIB, flags=re.M)[1:]
    return {re.match(r"\w+\{([^,\s]+)", c).group(1): c for c in chunks}


def test_there_are_enough_entries():
    assert len(ENTRIES) >= 80


def test_no_alias_points_two_ways():
    spelled = Counter(a for e in ENTRIES.values() for a in e.aliases)
    assert not [a for a, n in spelled.items() if n > 1]
    assert not set(spelled) & set(ENTRIES)
    for alias, name in catalogue.aliases().items():
        assert ogive.get(alias) is ENTRIES[name]


def _probe(entry) -> torch.Tensor:
    x = torch.linspace(-6, 6, 173, dtype=torch.float64) + 0.013
    x = torch.cat(
        [x, torch.tensor([-101.0, -31.0, -13.0, -0.004, 0.0007, 0.004, 13.0, 31.0, 101.0], dtype=torch.float64)]
    )
    return entry(x, x.flip(0)) if len(entry.inputs) == 2 else entry(x)


def _root(name: str) -> str:
    seen = []
    while ENTRIES[name].same_as:
        assert name not in seen, f"same_as goes round in a circle: {seen}"
        seen.append(name)
        name = ENTRIES[name].same_as
    return name


def test_equal_functions_say_so_and_only_they():
    values = {n: _probe(e) for n, e in ENTRIES.items()}
    names = list(ENTRIES)
    for i, a in enumerate(names):
        for b in names[:i]:
            equal = len(ENTRIES[a].inputs) == len(ENTRIES[b].inputs) and torch.allclose(
                values[a], values[b], rtol=1e-9, atol=1e-9, equal_nan=True
            )
            # Two step functions with different surrogates are two entries: they train differently.
            backward = ENTRIES[a].backward is not None or ENTRIES[b].backward is not None
            if equal and not backward:
                assert _root(a) == _root(b), f"{a} and {b} are the same function; one must say same_as"
            if not equal:
                assert ENTRIES[a].same_as != b and ENTRIES[b].same_as != a, f"{a} and {b} differ"


def test_every_citation_exists_and_is_used():
    known = bib_entries()
    used = {k for e in ENTRIES.values() for k in e.cite} | {k for c in ogive.cards.cards().values() for k in c.cite}
    assert all(e.cite for e in ENTRIES.values()), [n for n, e in ENTRIES.items() if not e.cite]
    assert used <= set(known), f"cited but not in references.bib: {sorted(used - set(known))}"
    assert set(known) <= used, f"in references.bib but never cited: {sorted(set(known) - used)}"


@pytest.mark.parametrize("key", sorted(bib_entries()))
def test_reference_is_complete(key):
    text = bib_entries()[key]
    for field in ("author", "title", "year"):
        assert re.search(rf"\b{field}\s*=\s*[{{\"]?.+", text), f"{key} has no {field}"


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_entry_is_documented_and_round_trips(name):
    entry = ENTRIES[name]
    assert entry.note, f"{name} has no docstring"
    back = ogive.define(str(entry.fixed())) if entry.inputs[0] == "x" else entry.fixed()
    if len(back.inputs) == len(entry.inputs):
        x = torch.linspace(-5, 5, 41, dtype=torch.float64)
        data = (x,) if len(entry.inputs) == 1 else (x, x.flip(0))
        assert torch.allclose(back(*data), entry(*data), rtol=1e-12, atol=1e-300, equal_nan=True)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("[a-z]*.py")), ids=lambda p: p.stem)
def test_family_files_hold_entries_only(path):
    for node in ast.parse(path.read_text()).body:
        plain = isinstance(node, (ast.ImportFrom, ast.Import, ast.FunctionDef, ast.Expr, ast.Assign))
        assert plain, f"{path.name}:{node.lineno}: a family file holds imports, constants and entries"
        if isinstance(node, ast.FunctionDef):
            body = [n for n in ast.walk(node) if isinstance(n, (ast.If, ast.For, ast.While, ast.Try))]
            assert not body, f"{path.name}:{node.lineno}: {node.name} has control flow; write where()"
            assert len(node.body) <= 8, f"{path.name}:{node.lineno}: {node.name} is more than a formula"


def test_unknown_name_names_the_three_closest():
    with pytest.raises(ogive.UnknownName, match=r"gleu.*gelu"):
        ogive.get("gleu")
    with pytest.raises(AttributeError, match="closest"):
        _ = catalogue.gleu

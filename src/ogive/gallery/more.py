"""What other parts of Ogive know of an entry, where they are there: code, relations, certificates, cards."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

from ogive.activation import Activation
from ogive.errors import OgiveError


def _member(module: str, name: str) -> Any:
    """``name`` of ``module``; None where this installation has no such module."""
    package, _, last = module.rpartition(".")
    folder = resources.files("ogive").joinpath(*package.split(".")[1:])
    if not (folder / f"{last}.py").is_file() and not (folder / last).is_dir():
        return None
    return getattr(importlib.import_module(module), name)


LANGUAGES = ("numpy", "c", "triton", "jax", "glsl")  # a page shows these; `emit` knows more


def emitted(act: Activation) -> Iterator[tuple[str, str]]:
    """(language, text) of every shown language that can express ``act``."""
    emit, targets = _member("ogive.derive.emit", "emit"), _member("ogive.derive.emit", "TARGETS")
    for target in LANGUAGES:
        if targets is None or target not in targets:
            continue
        try:
            text = emit(act, target)
        except OgiveError:
            continue
        yield targets[target].title, str(text)


def relations(name: str) -> tuple[Any, ...]:
    """Exact and near relations of the entry to others, empty without ogive.derive.relations."""
    find = _member("ogive.derive.relations", "relations")
    return tuple(find(name)) if find else ()


def certificate(name: str) -> Any:
    """The stored certificate of the entry, or None."""
    find = _member("ogive.certify.store", "certificate")
    return find(name) if find else None


def cards() -> Mapping[str, Any]:
    """Published activations that are no scalar formula, empty without ogive.catalogue.cards."""
    find = _member("ogive.catalogue.cards", "cards")
    return find() if find else {}


def bibtex(key: str) -> str:
    """The BibTeX of the reference ``key`` as the catalogue has it, empty where it has none."""
    return _blocks().get(key, "")


@lru_cache(maxsize=1)
def _blocks() -> dict[str, str]:
    text = (resources.files("ogive.catalogue") / "references.bib").read_text(encoding="utf-8")
    blocks = re.split(r"(?m)^(?=@)", text)
    named = ((re.match(r"@\w+\s*\{\s*([^,\s]+)", block), block) for block in blocks)
    return {m[1]: re.sub(r"(?m)^%.*\n?", "", block).strip() for m, block in named if m}

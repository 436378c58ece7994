"""Code of an entry in other languages, for those that can express it."""

from __future__ import annotations

from collections.abc import Iterator

from ogive.activation import Activation
from ogive.derive.emit import TARGETS, emit
from ogive.errors import OgiveError

LANGUAGES = ("numpy", "c", "triton", "jax", "glsl")  # a page shows these; `emit` knows more


def emitted(act: Activation) -> Iterator[tuple[str, str]]:
    """(language, text) of every shown language that can express ``act``."""
    for target in LANGUAGES:
        try:
            yield TARGETS[target].title, emit(act, target)
        except OgiveError:
            continue

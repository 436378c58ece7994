"""Identifiers: what a user may call a function, and what the names of a formula become in another language."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from ogive.errors import InputError

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
LONGEST = 48  # MATLAB reads 63 characters, and helper functions add their own


def checked(name: str, reserved: Collection[str], language: str) -> str:
    """``name`` as it is, where the language takes it as the name of a new function.

    Raises InputError.

    >>> checked("my_mish", {"for"}, "C")
    'my_mish'
    """
    if not isinstance(name, str) or not _IDENTIFIER.fullmatch(name) or "__" in name or len(name) > LONGEST:
        raise InputError(
            f"name={name!r}: a function in {language} is called by a letter, then letters, digits and single "
            f"underscores, at most {LONGEST} characters"
        )
    if name in reserved:
        raise InputError(f"name={name!r}: {language} has that word already; choose another, such as {name}_act")
    return name


def proposed(label: str | None, reserved: Collection[str]) -> str:
    """A function name made of the name of an entry.

    >>> proposed("mish", set()), proposed("tanh", {"tanh"}), proposed(None, set())
    ('mish', 'act_tanh', 'activation')
    """
    plain = _plain(label or "activation")[:LONGEST]
    return f"act_{plain}"[:LONGEST] if plain in reserved else plain


def _plain(name: str) -> str:
    words = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9_]", "_", name)).strip("_")
    return words if words[:1].isalpha() else f"v{words}"


class Names:
    """Hands out names of one text: each once, none reserved."""

    def __init__(self, reserved: Collection[str], taken: Iterable[str] = ()) -> None:
        self._reserved = reserved
        self._taken = set(taken)
        self._count = 0

    def next(self) -> str:
        """The next of t1, t2, ... that is free."""
        while True:
            self._count += 1
            if f"t{self._count}" not in self._taken:
                return f"t{self._count}"

    def of(self, name: str) -> str:
        """``name``, spelled so that the language takes it and nothing else in the text has it.

        >>> names = Names({"lambda"}); names.of("lambda"), names.of("x"), names.of("_x")
        ('lambda_', 'x', 'x2')
        """
        plain, k = _plain(name), 1
        found = plain
        while found in self._reserved or found in self._taken:
            found = f"{plain}_" if found == plain and plain in self._reserved else f"{plain}{(k := k + 1)}"
        self._taken.add(found)
        return found


_PUNCTUATION = re.compile(r"[^A-Za-z0-9 _.,+*/()<>=:;\[\]^|'-]")


def comment_text(text: str) -> str:
    """One line of plain ASCII that closes no comment and continues none.

    >>> comment_text("x */ y;" + chr(10) + "#")
    'x * / y;  '
    """
    return _PUNCTUATION.sub(" ", text).replace("*/", "* /").replace("/*", "/ *")

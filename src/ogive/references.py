"""The sources of the catalogue: a reader for its BibTeX file and citations as people print them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from ogive.errors import FormulaError, UnknownName, closest


@dataclass(frozen=True)
class Reference:
    """One source: who, when, what, and the identifier to find it by (DOI, arXiv number, web address)."""

    key: str
    authors: tuple[str, ...]
    year: int | None
    title: str
    venue: str = ""
    identifier: str = ""

    @property
    def short(self) -> str:
        """As a sentence cites it: ``Misra 2019``, ``Hendrycks and Gimpel 2016``, ``Clevert et al. 2015``."""
        names = [family_name(a) for a in self.authors]
        if not names:
            who = self.title or self.key
        elif len(names) == 1:
            who = names[0]
        elif len(names) == 2 and names[1] != "others":
            who = f"{names[0]} and {names[1]}"
        else:
            who = f"{names[0]} et al."
        return f"{who} {self.year}" if self.year is not None else who

    def __str__(self) -> str:
        parts = [
            ", ".join(spoken_name(a) for a in self.authors),
            str(self.year or ""),
            self.title,
            self.venue,
            self.identifier,
        ]
        return ". ".join(p for p in parts if p)

    def to_dict(self) -> dict[str, Any]:
        """All fields and ``short``, ready for JSON."""
        return {**asdict(self), "authors": list(self.authors), "short": self.short}


def reference(key: str) -> Reference:
    """The entry ``key`` of the catalogue's ``references.bib``.

    Raises :class:`~ogive.errors.UnknownName` with the closest keys.
    """
    table = references()
    if key not in table:
        near = ", ".join(closest(key, table)) or "none, the file is empty"
        raise UnknownName(f"references.bib has no entry {key!r}; the closest are {near}")
    return table[key]


@lru_cache(maxsize=1)
def references() -> MappingProxyType[str, Reference]:
    """Every entry of the catalogue's ``references.bib`` by key."""
    file = resources.files("ogive.catalogue") / "references.bib"
    return MappingProxyType(read(file.read_text(encoding="utf-8")) if file.is_file() else {})


def bibtex(key: str) -> str:
    """The BibTeX of ``key`` as the catalogue has it, empty where it has none.

    >>> bibtex("misra2019mish").splitlines()[0]
    '@misc{misra2019mish,'
    """
    return _texts().get(key, "")


@lru_cache(maxsize=1)
def _texts() -> dict[str, str]:
    text = (resources.files("ogive.catalogue") / "references.bib").read_text(encoding="utf-8")
    parts = re.split(r"(?m)^(?=@)", text)
    named = ((re.match(r"@\w+\s*\{\s*([^,\s]+)", part), part) for part in parts)
    return {m[1]: re.sub(r"(?m)^%.*\n?", "", part).strip() for m, part in named if m}


def cited(key: str) -> str:
    """The short form of ``key``, or ``key`` itself when references.bib lacks it (a formula of one's own)."""
    found = references().get(key)
    return found.short if found else key


def read(text: str) -> dict[str, Reference]:
    """The references in BibTeX ``text``, by key, in order.

    Fields are braced, quoted or bare numbers; ``@comment``, ``@string`` and ``@preamble`` are skipped. Raises
    :class:`~ogive.errors.FormulaError` that quotes the place for unbalanced braces and repeated keys.

    >>> read('@article{a1, author={E, Weinan and Yu, Bing}, title={{Ritz}}, year=2018}')["a1"].short
    'E and Yu 2018'
    """
    found: dict[str, Reference] = {}
    for kind, body in _blocks(text):
        if kind in ("comment", "string", "preamble"):
            continue
        key, _, rest = body.partition(",")
        key = key.strip()
        if key in found:
            raise FormulaError(f"references.bib: the key {key!r} occurs twice")
        found[key] = _reference(key, dict(_fields(rest)))
    return found


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """(type, what stands between the outer braces) of every ``@type{...}``."""
    at = 0
    while head := re.compile(r"^[ \t]*@(\w+)\s*\{", re.MULTILINE).search(text, at):
        end = _closing(text, head.end() - 1)
        yield head[1].lower(), text[head.end() : end]
        at = end + 1


def _closing(text: str, start: int) -> int:
    """Where the brace at ``start`` closes."""
    depth = 0
    for i in range(start, len(text)):
        if text[i] in "{}" and text[i - 1] != "\\":
            depth += 1 if text[i] == "{" else -1
            if depth == 0:
                return i
    raise FormulaError(f"references.bib: the brace of '{text[max(0, start - 20) : start + 40]}' never closes")


def _fields(body: str) -> Iterator[tuple[str, str]]:
    at = 0
    while head := re.compile(r"(\w+)\s*=\s*").search(body, at):
        at = head.end()
        if body[at : at + 1] == "{":
            end = _closing(body, at)
            value = body[at + 1 : end]
        elif body[at : at + 1] == '"':
            end = body.index('"', at + 1)
            value = body[at + 1 : end]
        else:
            end = next((i for i in range(at, len(body)) if body[i] in ",\n"), len(body))
            value = body[at:end]
        yield head[1].lower(), " ".join(value.split())
        at = end + 1


_MARKS = "\u0301\u0300\u0308\u0302\u0303\u0304\u0307\u0327\u030c\u0306\u030b\u0328"
_ACCENTS = dict(zip("'`\"^~=.cvuHk", _MARKS))
_LETTERS = {
    r"\ss": "ß", r"\o": "ø", r"\O": "Ø", r"\l": "ł", r"\L": "Ł", r"\ae": "æ", r"\AE": "Æ", r"\aa": "å",
    r"\i": "i", r"\&": "&", r"\_": "_", r"\%": "%", r"\$": "$", r"\#": "#",
    "---": "—", "--": "–", "~": " ", "{": "", "}": "",
}  # fmt: skip


def plain(text: str) -> str:
    r"""BibTeX text without its braces, TeX accents turned into letters.

    >>> plain(r"Sch{\"u}tt and {Ga{\l}}")
    'Schütt and Gał'
    """

    def accent(m: re.Match[str]) -> str:
        return unicodedata.normalize("NFC", m[2].removeprefix("\\") + _ACCENTS[m[1]])

    text = re.sub(r"\\(['`\"^~=.])\s*\{?(\\?[A-Za-z])\}?", accent, text)
    text = re.sub(r"\\([cvuHk])(?:\s+|\{)(\\?[A-Za-z])\}?", accent, text)
    letter = r"\\(?:ss|ae|AE|aa|[oOlLi])(?![A-Za-z])\s*|\\[&_%$#]|---?|[~{}]"
    return re.sub(letter, lambda m: _LETTERS[m[0] if m[0] in _LETTERS else m[0].strip()], text).strip()


def _authors(text: str) -> tuple[str, ...]:
    depth, start, parts = 0, 0, []
    for m in re.finditer(r"[{}]|\s+and\s+", text):
        if m[0] in "{}":
            depth += 1 if m[0] == "{" else -1
        elif depth == 0:
            parts.append(text[start : m.start()])
            start = m.end()
    parts.append(text[start:])
    return tuple(_person(p.strip()) for p in parts if p.strip())


def _person(text: str) -> str:
    """``Family, Given``; a name in braces is an organisation and stays whole."""
    if text.startswith("{") and _closing(text, 0) == len(text) - 1:
        return plain(text)
    if "," in text or " " not in text:
        return plain(text)
    words = plain(text).split()
    cut = next((i for i, w in enumerate(words) if w[0].islower() and i > 0), len(words) - 1)
    return f"{' '.join(words[cut:])}, {' '.join(words[:cut])}"


def family_name(author: str) -> str:
    """``Ramachandran`` of ``Ramachandran, Prajit``."""
    return author.split(",")[0].strip()


def spoken_name(author: str) -> str:
    """``Prajit Ramachandran`` of ``Ramachandran, Prajit``."""
    family, _, given = author.partition(",")
    return f"{given.strip()} {family.strip()}".strip()


_VENUES = ("journal", "booktitle", "publisher", "howpublished", "institution", "school")


def _reference(key: str, fields: dict[str, str]) -> Reference:
    year = re.search(r"\d{4}", fields.get("year", fields.get("date", "")))
    return Reference(
        key,
        _authors(fields.get("author", fields.get("editor", ""))),
        int(year[0]) if year else None,
        plain(fields.get("title", "")),
        next((plain(fields[k]) for k in _VENUES if k in fields), ""),
        _identifier(fields),
    )


def _identifier(fields: dict[str, str]) -> str:
    if "doi" in fields:
        return "doi:" + fields["doi"].removeprefix("https://doi.org/").replace("\\_", "_")
    for name in ("eprint", "arxiv"):
        if name in fields:
            return "arXiv:" + re.sub(r"^arxiv:", "", fields[name], flags=re.IGNORECASE)
    number = r"arxiv[: ]\s*(?:preprint arxiv:)?(\d{4}\.\d{4,5}|[a-z-]+/\d{7})"
    told = re.search(number, " ".join(fields.values()), re.IGNORECASE)
    if told:
        return f"arXiv:{told[1]}"
    if "isbn" in fields:
        return "isbn:" + fields["isbn"]
    return fields.get("identifier", fields.get("url", "")).removeprefix("\\url{").rstrip("}")

"""What a gallery's directory holds: the file that says which pages came from what, and safe writing."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ogive import __version__
from ogive.activation import Activation
from ogive.derive.drawing.axes import Array
from ogive.errors import InputError

NAME = "ogive-gallery.json"
_SOURCES = ("", "derive", "gallery", "gallery/assets", "kernels", "bench/report", "bench/report/templates")


@dataclass
class Manifest:
    """``files`` are the paths this gallery wrote, ``pages`` for each entry its key and record, ``signatures``
    for each entry the digest of its formula and its vector on the map."""

    files: set[str] = field(default_factory=set)
    pages: dict[str, dict[str, Any]] = field(default_factory=dict)
    signatures: dict[str, tuple[str, Array | None]] = field(default_factory=dict)

    def save(self, out: Path) -> None:
        """Write it into ``out``."""
        signatures = {n: [d, None if v is None else v.astype("<f8").tobytes().hex()]
                      for n, (d, v) in sorted(self.signatures.items())}  # fmt: skip
        whole = {"made_by": "ogive gallery", "version": __version__, "files": sorted(self.files),
                 "pages": dict(sorted(self.pages.items())), "signatures": signatures}  # fmt: skip
        write(out / NAME, json.dumps(whole, separators=(",", ":"), allow_nan=False))


def opened(out: Path) -> Manifest:
    """The manifest in ``out``, a new one where there is none yet; the directory is made.

    Raises :class:`~ogive.errors.InputError` where ``out`` is a file or holds something else.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: it is a file; name a directory for the gallery")
    if not out.exists():
        out.mkdir(parents=True)
    file = out / NAME
    if not file.exists():
        strange = sorted(p.name for p in out.iterdir())
        if strange:
            raise InputError(
                f"--out {out}: it holds other things ({', '.join(strange[:3])}{', …' if len(strange) > 3 else ''}); "
                "name an empty directory, or one that ogive gallery made"
            )
        return Manifest()
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        mine = stored["made_by"] == "ogive gallery"
        found = Manifest(
            set(stored["files"]),
            dict(stored["pages"]),
            {n: (d, None if v is None else np.frombuffer(bytes.fromhex(v), "<f8"))
             for n, (d, v) in stored["signatures"].items()},
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError):
        mine = False
    if not mine:
        raise InputError(
            f"--out {out}: {NAME} in it is damaged or not a gallery's; remove the directory or name another"
        )
    return found


def write(path: Path, text: str) -> None:
    """Write ``path`` whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def named(name: str) -> bool:
    """Whether a name can be the name of a page.

    >>> named("leaky_relu"), named("../x"), named("")
    (True, False, False)
    """
    return re.fullmatch(r"\w[\w.-]{0,120}", name) is not None


def digest(*parts: object) -> str:
    """A hash of JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


@lru_cache(maxsize=1)
def code() -> str:
    """A hash of the code that pages are made by."""
    made = hashlib.sha256(torch.__version__.encode())
    for folder in _SOURCES:
        for file in sorted(resources.files("ogive").joinpath(*folder.split("/")).iterdir(), key=lambda f: f.name):
            if file.is_file():
                made.update(file.name.encode() + b"\0" + file.read_bytes())
    return made.hexdigest()


def fields(act: Activation) -> Mapping[str, Any]:
    """All that an entry says of itself."""
    return {
        "formula": str(act.written), "inputs": list(act.inputs), "params": {k: repr(p) for k, p in act.params.items()},
        "name": act.name, "cite": list(act.cite), "aliases": list(act.aliases), "note": act.note,
        "family": act.family, "backward": None if act.backward is None else str(act.backward),
        "same_as": act.same_as, "exceptions": dict(act.exceptions),
    }  # fmt: skip

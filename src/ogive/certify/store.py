"""Certificates that are kept: those of the catalogue, shipped beside it, and those made on this machine."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ogive.activation import Activation
from ogive.certify.certificate import ORDERS, Certificate, Finding
from ogive.certify.digest import digest, numerics
from ogive.kernels.build import cache_dirs

_DTYPES = ("bfloat16", "float16", "float32", "float64")
EVERY, WIDE = "every", 4000
_COLUMNS = ("name", "digest", "numerics", *(f"{law} {d}" for law in ORDERS for d in _DTYPES), "excepted", "inputs")
_REFERENCE = "exact arithmetic on the formula"


@lru_cache(maxsize=1)
def shipped() -> Mapping[str, Mapping[str, str]]:
    """The rows of the catalogue's ``certificates.tsv`` by entry."""
    file = resources.files("ogive.catalogue") / "certificates.tsv"
    if not file.is_file():
        return MappingProxyType({})
    rows = csv.DictReader(file.read_text(encoding="utf-8").splitlines(), delimiter="\t")
    return MappingProxyType({r["name"]: MappingProxyType(r) for r in rows})


def certificate(name: str) -> Certificate | None:
    """The certificate of the entry ``name`` if its formula is still the one that was certified, else None.

    Raises UnknownName.

    >>> certificate("nonsense")
    Traceback (most recent call last):
    ...
    ogive.errors.UnknownName: no activation is called 'nonsense'; the closest are ...
    """
    from ogive.catalogue import lookup

    act = lookup(name)
    row = shipped().get(str(act.name))
    if row is None or row["digest"] != digest(act):
        return None
    return _from_row(act, row)


def certified(act: Activation) -> bool:
    """Whether the catalogue ships a certificate for exactly this formula."""
    row = shipped().get(str(act.name))
    return row is not None and row["digest"] == digest(act)


def current(act: Activation) -> bool:
    """Whether, besides, every input was checked and the code that computes formulas has not changed since."""
    if not certified(act):
        return False
    kept = shipped()[str(act.name)]
    return kept["numerics"] == numerics() and kept["inputs"] == EVERY


def _from_row(act: Activation, row: Mapping[str, str]) -> Certificate:
    from ogive.certify.run import OURS

    bounds = {str(d)[6:]: b for d, b in OURS.items()}
    reasons = act.exceptions
    found = []
    for law in ORDERS:
        for d in _DTYPES:
            text = row[f"{law} {d}"]
            if text:
                units = float(text)
                found.append(Finding(law, d, "compiled and eager", units, bounds[d],
                                     excepted=reasons.get(law, "") if units > bounds[d] else ""))  # fmt: skip
    seen = f"every 16-bit input and {WIDE} wide ones" if row["inputs"] == EVERY else f"{row['inputs']} inputs a dtype"
    return Certificate(act.label, str(act), f"{_REFERENCE}, {seen}", row["digest"], tuple(found))


def row(act: Activation, made: Certificate, source: str, points: int | None = None) -> dict[str, str]:
    """What ``certificates.tsv`` keeps of a certificate made on ``points`` inputs of each dtype, None for every one."""
    out = {"name": str(act.name), "digest": made.digest, "numerics": source}
    for law in ORDERS:
        for d in _DTYPES:
            seen = any(f.law == law and f.dtype == d for f in made.findings)
            out[f"{law} {d}"] = f"{made.worst(law, d):.3g}" if seen else ""
    out["inputs"] = EVERY if points is None else str(points)
    out["excepted"] = ",".join(dict.fromkeys(f.law for f in made.exceptions))
    return out


def write(rows: Mapping[str, Mapping[str, str]], path: Path) -> None:
    """Replace ``certificates.tsv`` by ``rows``, sorted, in one step."""
    fresh = path.with_suffix(".new")
    with fresh.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, _COLUMNS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[name] for name in sorted(rows))
    fresh.replace(path)
    shipped.cache_clear()


def remembered(act: Activation) -> Certificate | None:
    """The certificate this machine made of the same formula with the same code, or None."""
    for folder in cache_dirs():
        path = _place(folder, act)
        try:
            return read(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def remember(act: Activation, made: Certificate) -> None:
    """Keep ``made`` on this machine; where nothing can be written, nothing is kept."""
    for folder in cache_dirs():
        path = _place(folder, act)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_suffix(f".{os.getpid()}")
            fresh.write_text(json.dumps(made.to_dict()), encoding="utf-8")
            fresh.replace(path)
            return
        except OSError:
            continue


def _place(folder: Path, act: Activation) -> Path:
    return folder / "certificates" / f"{digest(act)}-{numerics()}.json"


def read(data: Mapping[str, Any]) -> Certificate:
    """The certificate that ``to_dict`` wrote."""
    names = set(asdict(Finding("", "", "")))
    numbers = {"units", "bound", "x", "got", "want"}

    def finding(d: Mapping[str, Any]) -> Finding:
        known: dict[str, Any] = {k: float(v) if k in numbers else v for k, v in d.items() if k in names}
        return Finding(**known)

    return Certificate(data["label"], data["formula"], data["reference"], data["digest"],
                       tuple(map(finding, data["findings"])), data["stable"], data["note"])  # fmt: skip

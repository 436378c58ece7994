"""Tables of numbers kept on disk between processes, mapped into memory when they are read again.

A file is a length, a JSON header (names, types, shapes, a checksum) and the arrays. Its name carries a digest of what
the tables were made from; it appears by atomic rename, and a file that is damaged is made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ogive.kernels.build import cache_dirs

Arrays = dict[str, np.ndarray[Any, Any]]
_ALIGN = 64


def digest(parts: Iterable[str]) -> str:
    """A name for what a table was made from."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def kept(label: str, key: str, make: Callable[[], Arrays]) -> Arrays:
    """The arrays that ``make`` returns, from disk where they are already; nothing is kept where no directory can be
    written (:func:`ogive.kernels.build.cache_dirs`)."""
    name = f"{label}-{key}.tables"
    for folder in cache_dirs():
        found = read(folder / name)
        if found is not None:
            return found
    made = make()
    for folder in cache_dirs():
        if _write(folder, name, made):
            _drop_old(folder, label)
            break
    return made


def _drop_old(folder: Path, label: str, keep: int = 2) -> None:
    """Removes all but the newest tables of a label: those of an earlier version are 150 MB, two may share a cache."""
    try:
        found = sorted(folder.glob(f"{label}-*.tables"), key=lambda f: f.stat().st_mtime)
        for old in found[:-keep]:
            old.unlink()
    except OSError:  # another process was faster
        return


def read(path: Path) -> Arrays | None:
    """The arrays of a file, None where there is none or it is not what its header says."""
    try:
        if hasattr(os, "getuid") and path.stat().st_uid not in (os.getuid(), 0):
            return None
        data = np.memmap(path, dtype=np.uint8, mode="r")
        start = int.from_bytes(data[:8].tobytes(), "little")
        header = json.loads(data[8:start].tobytes())
        if zlib.crc32(data[start:].data) != header["checksum"]:
            return None
        found: Arrays = {}
        for k, (kind, shape, lo, hi) in header["arrays"].items():
            found[k] = np.asarray(data[start + lo : start + hi]).view(np.dtype(kind)).reshape(shape)
        return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _write(folder: Path, name: str, arrays: Arrays) -> bool:
    about, chunks, at = {}, [], 0
    for k, a in arrays.items():
        raw = np.ascontiguousarray(a).tobytes()
        about[k] = (a.dtype.str, a.shape, at, at + len(raw))
        chunks.append(raw + b"\0" * (-len(raw) % _ALIGN))
        at += len(chunks[-1])
    body = b"".join(chunks)
    header = json.dumps({"arrays": about, "checksum": zlib.crc32(body)}).encode()
    header += b" " * (-(8 + len(header)) % _ALIGN)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(prefix=".tables-", dir=folder, delete=False) as file:
            try:
                file.write((8 + len(header)).to_bytes(8, "little") + header + body)
                file.close()
                Path(file.name).replace(folder / name)
            except OSError:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError:
        return False
    return True


def text(value: Any) -> np.ndarray[Any, Any]:
    """A JSON value as an array of bytes."""
    return np.frombuffer(json.dumps(value).encode(), dtype=np.uint8)


def value(array: np.ndarray[Any, Any]) -> Any:
    """The JSON value of an array of bytes."""
    return json.loads(array.tobytes())

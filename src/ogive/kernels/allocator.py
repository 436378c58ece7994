"""Large results without page faults: an opt-in setting of the C library's allocator.

glibc takes an allocation above a threshold (32 MiB at most, by its own adjustment) from the system and gives
it back when it is freed. The next one gets fresh pages, each of which faults and is zeroed before use: seven
times the cost of computing relu of 20 million float32 elements. Kept in the heap, freed memory is used
again. The price is that the process does not shrink, which is why nothing sets this silently.
"""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ogive.errors import OgiveError

# From malloc.h; mallopt answers 1 when it accepts.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_LARGEST_INT = 2**31 - 1
_OTHERS = ("jemalloc", "tcmalloc", "mimalloc")

# The same for a whole process, before it starts. The trailing underscore belongs to the names.
ENVIRONMENT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(_LARGEST_INT)}


class AllocatorError(OgiveError, RuntimeError):
    """The allocator of this process cannot be set; the message says why."""


@dataclass(frozen=True)
class AllocatorSettings:
    """What was set: ``mmap_max`` 0 takes everything from the heap, ``mmap_threshold`` is the size in bytes from
    which the system is asked, ``trim_threshold`` -1 never gives the top of the heap back (None: not set)."""

    library: str
    mmap_max: int | None
    mmap_threshold: int | None
    trim_threshold: int

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def glibc() -> str:
    """The version of glibc this process allocates with.

    Raises:
        AllocatorError: on another system or C library, or when jemalloc, tcmalloc or mimalloc is loaded.
    """
    if not sys.platform.startswith("linux"):
        raise AllocatorError(f"large_outputs() sets glibc's allocator; this system is {sys.platform}")
    try:
        version = os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):
        version = None
    if not version:
        raise AllocatorError("large_outputs() sets glibc's allocator; this process runs on another C library")
    maps = Path("/proc/self/maps")
    loaded = maps.read_text(errors="replace") if maps.exists() else ""
    for other in _OTHERS:
        if other in loaded:
            raise AllocatorError(
                f"large_outputs() sets glibc's allocator; this process allocates with {other}, which keeps large "
                "blocks by settings of its own"
            )
    return version


def large_outputs(upto: int | None = None) -> AllocatorSettings:
    """Keep freed large tensors in the heap for the next result, instead of fresh pages for each.

    Once, at the start of a program that makes large results on the CPU. Nothing else in Ogive calls it. The
    process keeps the memory it once used, and this cannot be undone in the process. The first results of a
    program still get fresh pages, each above the last: glibc's thread cache holds the crumbs between aligned
    blocks, up to seven of a size, which keeps them apart. Measured on results of 36 to 96 MB in twelve sizes: 11
    of 60 got fresh pages and the peak was 1151 MiB instead of 495; with the environment variable
    ``GLIBC_TUNABLES=glibc.malloc.tcache_count=0``, which makes small allocations slower, 2 of 60 and 498 MiB.
    In threads other than the one that loaded torch, glibc still asks the system for blocks above 64 MiB.

    Args:
        upto: bytes; larger blocks still come from the system and return to it. None: there are no such blocks.
            Some versions of glibc refuse more than 32 MiB (33,554,432).

    Returns:
        What was set.

    Raises:
        AllocatorError: where it would have no effect: not Linux, not glibc, another allocator loaded, or a value
            that glibc refuses.

    Without changing the program, the same from outside is
    ``MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=2147483647 python train.py``; tcmalloc and jemalloc have their
    own ways. ``ogive speed --allocator`` measures what it is worth here.
    """
    if upto is not None and (isinstance(upto, bool) or not isinstance(upto, int) or not 0 < upto <= _LARGEST_INT):
        raise AllocatorError(f"large_outputs(upto={upto!r}): it takes a whole number of bytes up to {_LARGEST_INT}")
    version = glibc()
    library = ctypes.CDLL(None)
    if upto is None:
        _set(library, _MMAP_MAX, 0, "M_MMAP_MAX=0")
    else:
        _set(library, _MMAP_THRESHOLD, upto, f"M_MMAP_THRESHOLD={upto}")
    _set(library, _TRIM_THRESHOLD, -1, "M_TRIM_THRESHOLD=-1")
    return AllocatorSettings(version, 0 if upto is None else None, upto, -1)


def _set(library: ctypes.CDLL, what: int, value: int, text: str) -> None:
    if library.mallopt(what, value) != 1:
        raise AllocatorError(f"glibc refused mallopt({text})")

"""Codes of k bits without gaps: eight codes are k bytes, element i of the eight in bits k*i of their word.

The compiled kernels of ``c/bits.h`` and the torch operations here give the same bits. Both compare integers:
the bit patterns of a floating type put in the order of their values, and a cut rounded down to the type, say
``x > cut`` exactly in every dtype.
"""

from __future__ import annotations

import ctypes
import sys
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ogive.kernels.build import NoCompiler, library, tell_once

# Integers of a dtype's width, and the mask of all bits but the sign.
_INTEGER = {
    torch.float64: (torch.int64, 2**63 - 1),
    torch.float32: (torch.int32, 2**31 - 1),
    torch.bfloat16: (torch.int16, 2**15 - 1),
    torch.float16: (torch.int16, 2**15 - 1),
}
_NAME = {torch.float64: "f64", torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}
DTYPES = tuple(_INTEGER)
_PARALLEL = 1 << 16  # elements from which threads are worth waking


@lru_cache(maxsize=1)
def _native() -> ctypes.CDLL | None:
    try:
        return library('#include "bits.h"\n', "bits", openmp=True)
    except NoCompiler as problem:
        tell_once(str(problem))
        return None


def native(t: Tensor) -> ctypes.CDLL | None:
    """The compiled kernels, when ``t`` is something they can read."""
    return _native() if t.device.type == "cpu" and sys.byteorder == "little" else None


def threads(n: int) -> int:
    """How many threads ``n`` elements are worth."""
    return torch.get_num_threads() if n >= _PARALLEL else 1


def pointer(t: Tensor | None) -> ctypes.c_void_p:
    """The address of the first element, null for None."""
    return ctypes.c_void_p(0 if t is None else t.data_ptr())


def keys(x: Tensor) -> Tensor:
    """The bit patterns of ``x`` as integers in the order of the values (-0 just below +0)."""
    integer, low = _INTEGER[x.dtype]
    v = x.view(integer)
    return v ^ ((v >> (8 * x.element_size() - 1)) & low)


def values(dtype: torch.dtype) -> Tensor:
    """All 65,536 numbers of a 16-bit dtype, by bit pattern."""
    return torch.arange(65536, dtype=torch.int32).to(torch.int16).view(dtype)


@lru_cache(maxsize=256)
def cut_keys(cuts: tuple[float, ...], dtype: torch.dtype) -> Tensor:
    """The keys of ``cuts``, each rounded down to ``dtype`` first."""
    wide = torch.tensor(cuts, dtype=torch.float64) + 0.0  # -0 counts as 0
    near = wide.to(dtype)
    found: Tensor = keys(near) - (near.double() > wide).to(_INTEGER[dtype][0])
    return found


@lru_cache(maxsize=256)
def _padded(cuts: tuple[float, ...], dtype: torch.dtype) -> tuple[Tensor, int]:
    """The keys of the cuts, filled up to 2^depth - 1 with the largest key, which nothing passes."""
    depth = max(1, len(cuts).bit_length())
    full = torch.full(((1 << depth) - 1,), _INTEGER[dtype][1], dtype=_INTEGER[dtype][0])
    full[: len(cuts)] = cut_keys(cuts, dtype)
    return full, depth


def passed(x: Tensor, cuts: tuple[float, ...]) -> Tensor:
    """How many of the sorted ``cuts`` each element is above, as int64; a positive NaN is above all."""
    at = cut_keys(cuts, x.dtype).to(x.device)
    found: Tensor = torch.searchsorted(at, keys(x.contiguous()))
    return found


@lru_cache(maxsize=64)
def code_table(cuts: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """The number of cuts passed by each of a 16-bit dtype's 65,536 numbers."""
    return passed(values(dtype), cuts).to(torch.uint8).to(device)


def size(n: int, bits: int) -> int:
    """Bytes of ``n`` codes."""
    return (n + 7) // 8 * bits


def squeeze(codes: Tensor, bits: int) -> Tensor:
    """Codes in 0 .. 2^bits - 1, one a byte, packed."""
    full = torch.zeros(size(codes.numel(), 8), dtype=torch.int64, device=codes.device)
    full[: codes.numel()] = codes
    shift = torch.arange(8, device=codes.device) * bits
    words = (full.view(-1, 8) << shift).sum(1)
    return words.view(torch.uint8).view(-1, 8)[:, :bits].contiguous().view(-1)


def spread(packed: Tensor, n: int, bits: int) -> Tensor:
    """The inverse of :func:`squeeze`: ``n`` codes as int64."""
    words = torch.zeros(packed.numel() // bits, 8, dtype=torch.uint8, device=packed.device)
    words[:, :bits] = packed.view(-1, bits)
    shift = torch.arange(8, device=packed.device) * bits
    return ((words.view(torch.int64) >> shift) & ((1 << bits) - 1)).view(-1)[:n]


def pack_looked_up(x: Tensor, table: Tensor, bits: int) -> Tensor:
    """The packed codes of a 1-d tensor of 16-bit numbers, whose code by bit pattern is in ``table``."""
    n, lib = x.numel(), native(x)
    if lib is None:
        return squeeze(table[x.view(torch.int16).long() & 0xFFFF], bits)
    out = torch.empty(size(n, bits), dtype=torch.uint8)
    lib.ogive_pack16(pointer(x), ctypes.c_int64(n), pointer(table), bits, pointer(out), threads(n))
    return out


def pack_counted(x: Tensor, cuts: tuple[float, ...], bits: int, code: Tensor | None = None) -> Tensor:
    """The packed codes of a 1-d tensor: the number of ``cuts`` passed, looked up in ``code`` where it is given."""
    if x.dtype in (torch.bfloat16, torch.float16) and code is None:
        return pack_looked_up(x, code_table(cuts, x.dtype, x.device), bits)
    n, lib = x.numel(), native(x)
    if lib is None:
        counted = passed(x, cuts)
        return squeeze(counted if code is None else code.to(x.device)[counted], bits)
    out = torch.empty(size(n, bits), dtype=torch.uint8)
    full, depth = _padded(cuts, x.dtype)
    run = lib.ogive_pack32 if x.dtype == torch.float32 else lib.ogive_pack64
    run(pointer(x), ctypes.c_int64(n), pointer(full), depth, pointer(code), bits, pointer(out), threads(n))
    return out


def scale(g: Tensor, packed: Tensor, bits: int, levels: Tensor) -> Tensor:
    """``g * levels[code]``, rounded once to the dtype of ``g``; ``levels`` is float32 (float64 for float64) and
    has a number for every code."""
    n, lib = g.numel(), native(g)
    if lib is None:
        return (g.to(levels.dtype) * levels[spread(packed, n, bits)]).to(g.dtype)
    out = torch.empty_like(g)
    run = getattr(lib, f"ogive_scale_{_NAME[g.dtype]}")
    run(pointer(g), pointer(packed), ctypes.c_int64(n), bits, pointer(levels), pointer(out), threads(n))
    return out


def layout(x: Tensor) -> torch.memory_format:
    """The memory format in which the elements of ``x`` are walked."""
    if not x.is_contiguous():
        for dims, form in ((4, torch.channels_last), (5, torch.channels_last_3d)):
            if x.dim() == dims and x.is_contiguous(memory_format=form):
                return form
    return torch.contiguous_format


def line_up(t: Tensor, form: torch.memory_format) -> tuple[Tensor, Tensor]:
    """``t`` dense in the memory format, and its elements in that order as one dimension."""
    dense = t.contiguous(memory_format=form)
    return dense, dense.as_strided((dense.numel(),), (1,))


def as_before(flat: Tensor, like: Tensor) -> Tensor:
    """The elements of ``flat`` in the shape and the order of the dense tensor ``like``."""
    result: Any = flat.as_strided(like.shape, like.stride())
    return result

"""Table lookup in C: bytes to bytes, and float32 to float32 with both roundings in one pass."""

from __future__ import annotations

import ctypes
from functools import lru_cache

import torch
from torch import Tensor

from ogive.kernels.build import NoCompiler, library, tell_once
from ogive.surgery.integer.grid import Grid

# Two permutations of 128 bytes, chosen between by the top bit, look 64 bytes up at once where the processor has them
# (AVX-512 VBMI), asked when it runs: libraries are kept for a wider family than that.
# Division and not a product with the reciprocal: ONNX's QuantizeLinear divides, and ties must fall the same way.
_TEXT = """
#include <stdint.h>
#include <math.h>
#ifdef __x86_64__
#include <immintrin.h>
__attribute__((target("avx512f,avx512bw,avx512vbmi")))
static int64_t wide(const uint8_t *restrict x, uint8_t *restrict y, const uint8_t *restrict table, int64_t n) {
    const __m512i a = _mm512_loadu_si512(table), b = _mm512_loadu_si512(table + 64);
    const __m512i c = _mm512_loadu_si512(table + 128), d = _mm512_loadu_si512(table + 192);
    int64_t i = 0;
    for (; i + 64 <= n; i += 64) {
        const __m512i v = _mm512_loadu_si512(x + i);
        const __m512i low = _mm512_permutex2var_epi8(a, v, b), high = _mm512_permutex2var_epi8(c, v, d);
        _mm512_storeu_si512(y + i, _mm512_mask_blend_epi8(_mm512_movepi8_mask(v), low, high));
    }
    return i;
}
#endif
__attribute__((visibility("default")))
void bytes(const uint8_t *restrict x, uint8_t *restrict y, const uint8_t *restrict table, int64_t n) {
    int64_t i = 0;
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512vbmi")) i = wide(x, y, table, n);
#endif
    for (; i < n; i++) y[i] = table[x[i]];
}
static inline int32_t place(float x, float scale, float zero, float low, float high) {
    float q = rintf(x / scale) + zero;
    q = q != q ? zero : q;
    q = q < low ? low : q;
    q = q > high ? high : q;
    return (int32_t)(q - low);
}
#define CHUNK 1024
__attribute__((visibility("default")))
void floats(const float *restrict x, float *restrict y, const float *restrict values, const uint8_t *restrict table,
            int64_t n, float scale, float zero, float low, float high, float unit, int32_t offset) {
    int64_t i = 0;
#ifdef __x86_64__
    uint8_t at[CHUNK], q[CHUNK];
    if (__builtin_cpu_supports("avx512vbmi"))
        for (; i + CHUNK <= n; i += CHUNK) {
            for (int j = 0; j < CHUNK; j++) at[j] = (uint8_t)place(x[i + j], scale, zero, low, high);
            wide(at, q, table, CHUNK);
            for (int j = 0; j < CHUNK; j++) y[i + j] = (float)((int8_t)q[j] - offset) * unit;
        }
#endif
    for (; i < n; i++) y[i] = values[place(x[i], scale, zero, low, high)];
}
"""
_POINTER = ctypes.c_void_p


@lru_cache(maxsize=1)
def _loaded() -> ctypes.CDLL | None:
    try:
        made = library(_TEXT, "table")
    except NoCompiler as reason:
        tell_once(str(reason))
        return None
    made.bytes.argtypes = [_POINTER] * 3 + [ctypes.c_int64]
    made.floats.argtypes = [_POINTER] * 4 + [ctypes.c_int64] + [ctypes.c_float] * 5 + [ctypes.c_int32]
    made.bytes.restype = made.floats.restype = None
    return made


def usable(x: Tensor) -> bool:
    """Whether the kernels take this tensor: plain memory of the CPU, nothing traced or compiled."""
    return (
        type(x) is Tensor
        and x.device.type == "cpu"
        and x.layout == torch.strided
        and not torch.compiler.is_compiling()
        and not torch._C._functorch.maybe_current_level()
        and _loaded() is not None
    )


def bytes_through(x: Tensor, table: Tensor) -> Tensor:
    """``table[x + 128]`` of an int8 tensor. ``table``: 256 int8 in the order of x as unsigned bytes, so 0 ... 127 and
    then -128 ... -1."""
    x = x.contiguous()
    y = torch.empty_like(x)
    made = _loaded()
    assert made is not None
    made.bytes(x.data_ptr(), y.data_ptr(), table.data_ptr(), x.numel())
    return y


def floats_through(x: Tensor, values: Tensor, table: Tensor, into: Grid, out: Grid) -> Tensor:
    """``values[clamp(round(x / scale) + zero, low, high) - low]`` of a float32 tensor, by the grid ``into``.

    ``table`` has the int8 that ``values`` stand for on the grid ``out``, in the same order, 256 of them.
    """
    x = x.detach().contiguous()
    y = torch.empty_like(x)
    made = _loaded()
    assert made is not None
    made.floats(x.data_ptr(), y.data_ptr(), values.data_ptr(), table.data_ptr(), x.numel(), into.scale, into.zero,
                into.low, into.high, out.scale, out.zero)  # fmt: skip
    return y

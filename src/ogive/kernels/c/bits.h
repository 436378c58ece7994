/* What backward keeps in less than a number per element: k-bit codes packed without gaps (element i of a group
 * of eight takes bits k*i.. of a little-endian word of k bytes), and slopes rebuilt from them or from the output.
 *
 * All comparisons are between integers: key(x) = x ^ ((x >> last bit) & the others) puts the bit patterns of a
 * floating type in the order of their values, -0 just below +0 and NaN outside the infinities. A cut is rounded
 * down to the type beforehand, so that key(x) > key(cut) says exactly x > cut, in every dtype and in torch too. */

#include "kernel.h"
#ifdef __BMI2__
#include <immintrin.h>
#endif

enum { LOT = 2048 }; /* elements between the two passes: codes stay in the first-level cache */

OG_INLINE uint64_t lowest(int k) { return 0x0101010101010101ull * ((1u << k) - 1); }

/* n codes (bytes, n a multiple of 8) to k-bit codes; writes up to 8 bytes beyond the end of out */
static void squeeze(const uint8_t *code, int64_t n, int k, uint8_t *out) {
    const uint64_t mask = lowest(k);
    for (int64_t i = 0; i < n; i += 8, out += k) {
        uint64_t word, bits = 0;
        memcpy(&word, code + i, 8);
#ifdef __BMI2__
        bits = _pext_u64(word, mask);
#else
        for (int j = 0; j < 8; j++) bits |= ((word >> 8 * j) & mask & 0xff) << k * j;
#endif
        memcpy(out, &bits, 8);
    }
}

/* the inverse; reads up to 8 bytes beyond the end of in */
static void spread(const uint8_t *in, int64_t n, int k, uint8_t *code) {
    const uint64_t mask = lowest(k);
    for (int64_t i = 0; i < n; i += 8, in += k) {
        uint64_t word = 0, bits;
        memcpy(&bits, in, 8);
#ifdef __BMI2__
        word = _pdep_u64(bits, mask);
#else
        for (int j = 0; j < 8; j++) word |= ((bits >> k * j) & mask & 0xff) << 8 * j;
#endif
        memcpy(code + i, &word, 8);
    }
}

static void squeeze_lot(uint8_t *code, int64_t n, int k, uint8_t *out) {
    uint8_t room[LOT + 8];
    int64_t whole = (n + 7) / 8 * 8;
    memset(code + n, 0, whole - n);
    squeeze(code, whole, k, room);
    memcpy(out, room, whole / 8 * k);
}

static void spread_lot(const uint8_t *in, int64_t n, int k, uint8_t *code) {
    uint8_t room[LOT + 8];
    int64_t whole = (n + 7) / 8 * 8;
    memcpy(room, in, whole / 8 * k);
    spread(room, whole, k, code);
}

/* start of each lot of n elements: s, and its length m */
#define LOTS(n, threads)                                                              \
    _Pragma("omp parallel for schedule(static) num_threads(threads) if (threads > 1)") \
    for (int64_t s = 0; s < (n); s += LOT)

/* 16-bit data: the code of each of the 65,536 patterns is in a table */
OG_EXPORT void ogive_pack16(const uint16_t *x, int64_t n, const uint8_t *table, int k, uint8_t *out, int threads) {
    LOTS(n, threads) {
        int64_t m = n - s < LOT ? n - s : LOT;
        uint8_t code[LOT + 8];
        for (int64_t i = 0; i < m; i++) code[i] = table[x[s + i]];
        squeeze_lot(code, m, k, out + s / 8 * k);
    }
}

/* Wider data: the code is the number of cuts passed, looked up in map. cut holds 2^depth - 1 keys in order, the
 * unused ones at the largest. Few cuts are counted (vectorised, no branches), many are halved. */
#define PACK(NAME, INT, TOP, LARGEST)                                                                          \
    OG_EXPORT void NAME(const INT *x, int64_t n, const INT *cut, int depth, const uint8_t *map, int k, uint8_t *out, \
                        int threads) {                                                                         \
        LOTS(n, threads) {                                                                                     \
            int64_t m = n - s < LOT ? n - s : LOT;                                                             \
            INT key[LOT], passed[LOT];                                                                         \
            uint8_t code[LOT + 8];                                                                             \
            for (int64_t i = 0; i < m; i++) {                                                                  \
                INT v = x[s + i];                                                                              \
                key[i] = v ^ ((v >> TOP) & LARGEST);                                                           \
                passed[i] = 0;                                                                                 \
            }                                                                                                  \
            if (depth <= 4)                                                                                    \
                for (int c = 0; c < (1 << depth) - 1; c++)                                                     \
                    for (int64_t i = 0; i < m; i++) passed[i] += key[i] > cut[c];                              \
            else                                                                                               \
                for (int h = 1 << (depth - 1); h; h >>= 1)                                                     \
                    for (int64_t i = 0; i < m; i++) passed[i] += key[i] > cut[passed[i] + h - 1] ? h : 0;      \
            if (map)                                                                                           \
                for (int64_t i = 0; i < m; i++) code[i] = map[passed[i]];                                      \
            else                                                                                               \
                for (int64_t i = 0; i < m; i++) code[i] = (uint8_t)passed[i];                                  \
            squeeze_lot(code, m, k, out + s / 8 * k);                                                          \
        }                                                                                                      \
    }

PACK(ogive_pack32, int32_t, 31, 0x7fffffff)
PACK(ogive_pack64, int64_t, 63, 0x7fffffffffffffffll)

/* gradient times the level of each code; level has 2^k numbers */
#define SCALE(NAME, TYPE, WIDE, READ, WRITE)                                                                    \
    OG_EXPORT void NAME(const TYPE *g, const uint8_t *packed, int64_t n, int k, const WIDE *level, TYPE *out,    \
                        int threads) {                                                                          \
        LOTS(n, threads) {                                                                                      \
            int64_t m = n - s < LOT ? n - s : LOT;                                                              \
            uint8_t code[LOT + 8];                                                                              \
            spread_lot(packed + s / 8 * k, m, k, code);                                                         \
            for (int64_t i = 0; i < m; i++) out[s + i] = WRITE(READ(g[s + i]) * level[code[i]]);                \
        }                                                                                                       \
    }

SCALE(ogive_scale_f32, float, float, og_load_f32, og_store_f32)
SCALE(ogive_scale_f64, double, double, og_load_f64, og_store_f64)
SCALE(ogive_scale_bf16, uint16_t, float, og_load_bf16, og_store_bf16)
SCALE(ogive_scale_f16, uint16_t, float, og_load_f16, og_store_f16)

/* gradient times the slope found in a table at (the branch bit, the 16 bits of the output) */
#define REBUILD16(NAME, READ, WRITE)                                                                            \
    OG_EXPORT void NAME(const uint16_t *g, const uint16_t *y, const uint8_t *packed, int64_t n, const float *slope, \
                        uint16_t *out, int threads) {                                                           \
        LOTS(n, threads) {                                                                                      \
            int64_t m = n - s < LOT ? n - s : LOT;                                                              \
            uint8_t code[LOT + 8];                                                                              \
            if (packed) {                                                                                       \
                spread_lot(packed + s / 8, m, 1, code);                                                         \
                for (int64_t i = 0; i < m; i++)                                                                 \
                    out[s + i] = WRITE(READ(g[s + i]) * slope[((uint32_t)code[i] << 16) | y[s + i]]);           \
            } else                                                                                              \
                for (int64_t i = 0; i < m; i++) out[s + i] = WRITE(READ(g[s + i]) * slope[y[s + i]]);           \
        }                                                                                                       \
    }

REBUILD16(ogive_rebuild_bf16, og_load_bf16, og_store_bf16)
REBUILD16(ogive_rebuild_f16, og_load_f16, og_store_f16)

/* float32: the slope as piecewise cubics of t = |y - anchor| in cells of 1/16 of an octave. Segment j of a branch
 * holds y in [lo[j], lo[j + 1]); branch b has the segments start[b] .. start[b + 1] - 1. */
OG_EXPORT void ogive_rebuild_f32(const float *restrict g, const float *restrict y, const uint8_t *restrict packed,
                                 int64_t n, const int32_t *restrict start, const float *restrict lo,
                                 const double *restrict anchor, const int32_t *restrict first,
                                 const int32_t *restrict cells, const int32_t *restrict base,
                                 const float *restrict cubic, float *restrict out, int threads) {
    LOTS(n, threads) {
        int64_t m = n - s < LOT ? n - s : LOT;
        uint8_t code[LOT + 8];
        int32_t segment[LOT];
        const float *v = y + s;
        if (packed) spread_lot(packed + s / 8, m, 1, code);
        else memset(code, 0, m);
        for (int64_t i = 0; i < m; i++) segment[i] = start[code[i]];
        for (int b = 0; b <= (packed != 0); b++) /* the search without branches: 4 ns an element in all, not 6 to 10 */
            for (int j = start[b] + 1; j < start[b + 1]; j++)
                for (int64_t i = 0; i < m; i++) segment[i] += (code[i] == b) & (v[i] >= lo[j]);
        for (int64_t i = 0; i < m; i++) {
            int32_t j = segment[i], t, cell, last = cells[j] - 1;
            float distance = (float)__builtin_fabs((double)v[i] - anchor[j]);
            memcpy(&t, &distance, 4);
            cell = (t >> 19) - first[j];
            float u = cell < 0 ? 0.0f : cell > last ? 1.0f : (float)(t & 0x7ffff) * 0x1p-19f;
            const float *c = cubic + 4 * (base[j] + (cell < 0 ? 0 : cell > last ? last : cell));
            float p = ((c[3] * u + c[2]) * u + c[1]) * u + c[0];
            out[s + i] = g[s + i] * (v[i] == v[i] ? p : v[i]);
        }
    }
}

/* What every generated kernel includes: the calling convention, the dtypes, and the primitives that are one
 * instruction. A kernel reads arrays and scalars, writes arrays and adds to sums; its text fixes which is which. */
#ifndef OGIVE_KERNEL_H
#define OGIVE_KERNEL_H

#include <stdint.h>
#include <string.h>

#define OG_EXPORT __attribute__((visibility("default")))
#define OG_INLINE static inline __attribute__((always_inline))

typedef void og_kernel(const void *data, const void *const *in, const double *scalar, void *const *out, double *sum,
                       long n);

typedef uint16_t og_bf16;
typedef uint16_t og_f16;
typedef uint32_t __attribute__((may_alias, aligned(2))) og_pair; /* two sixteen-bit numbers */

OG_INLINE float og_single(uint32_t u) { float f; memcpy(&f, &u, 4); return f; }
OG_INLINE uint32_t og_word(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }

OG_INLINE float og_load_bf16(uint16_t v) { return og_single((uint32_t)v << 16); }

/* Round to nearest even by adding half a unit below the cut; a NaN stays one. */
OG_INLINE uint16_t og_store_bf16(float f) {
  uint32_t u = og_word(f), r = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  return (uint16_t)(f == f ? r : ((u >> 16) | 0x40u));
}

/* Exponent and fraction of a half moved up are the value times 2^-112, subnormals included. */
OG_INLINE float og_load_f16(uint16_t h) {
  uint32_t body = (uint32_t)(h & 0x7fffu) << 13;
  float scaled = og_single(body) * 0x1p112f;
  uint32_t wide = (h & 0x7c00u) == 0x7c00u ? (body | 0x7f800000u) : og_word(scaled);
  return og_single(wide | ((uint32_t)(h & 0x8000u) << 16));
}

/* Below 2^-14 adding 1/2 makes the float's own rounding cut at the half's last place; above, round as bf16 does. */
OG_INLINE uint16_t og_store_f16(float f) {
  uint32_t u = og_word(f), sign = (u >> 16) & 0x8000u, a = u & 0x7fffffffu;
  uint32_t small = og_word(og_single(a) + 0.5f) - 0x3f000000u;
  uint32_t normal = (a - 0x38000000u + 0xfffu + ((a >> 13) & 1u)) >> 13;
  uint32_t r = a < 0x38800000u ? small : normal;
  r = a >= 0x477ff000u ? 0x7c00u : r;
  r = a > 0x7f800000u ? 0x7e00u : r;
  return (uint16_t)(r | sign);
}

OG_INLINE double og_load_f64(double v) { return v; }
OG_INLINE float og_load_f32(float v) { return v; }
OG_INLINE double og_store_f64(double v) { return v; }
OG_INLINE float og_store_f32(double v) { return (float)v; }

/* In either precision. A choice is made among the bits: written with `?:`, gcc 12 turns a chain of choices into
 * jumps and does not vectorise it (min(max(x, 0), a) at 1e6: 8.0 ms). Of two numbers of which one is NaN the result
 * is NaN, as torch has it; a tie takes the second, which decides nothing but the sign of a zero. */
OG_INLINE double ox_select(int64_t c, double a, double b) {
  uint64_t u, v, m = (uint64_t)0 - (uint64_t)c;
  memcpy(&u, &a, 8);
  memcpy(&v, &b, 8);
  u = (u & m) | (v & ~m);
  memcpy(&a, &u, 8);
  return a;
}
OG_INLINE float ox_selectf(int32_t c, float a, float b) {
  const uint32_t m = (uint32_t)0 - (uint32_t)c;
  return og_single((og_word(a) & m) | (og_word(b) & ~m));
}
#define OX_SIMPLE(T, S, ABS, FLOOR, RINT, SQRT, COPYSIGN)                                                    \
  OG_INLINE T ox_max##S(T a, T b) { return ox_select##S((a > b) | (a != a), a, b); }                                                   \
  OG_INLINE T ox_min##S(T a, T b) { return ox_select##S((a < b) | (a != a), a, b); }                                                   \
  OG_INLINE T ox_abs##S(T a) { return ABS(a); }                                                              \
  OG_INLINE T ox_floor##S(T a) { return FLOOR(a); }                                                          \
  OG_INLINE T ox_round##S(T a) { return RINT(a); }                                                           \
  OG_INLINE T ox_sqrt##S(T a) { return SQRT(a); }                                                            \
  OG_INLINE T ox_sign##S(T a) { return (T)(a > 0) - (T)(a < 0); }                                         \
  OG_INLINE T ox_square##S(T a) { return a * a; }                                                            \
  OG_INLINE T ox_cube##S(T a) { return a * a * a; }                                                          \
  OG_INLINE T ox_mulsat##S(T a, T b) { return ox_select##S((a == 0) | (b == 0), (T)0, a * b); }
OX_SIMPLE(double, , __builtin_fabs, __builtin_floor, __builtin_rint, __builtin_sqrt, __builtin_copysign)
OX_SIMPLE(float, f, __builtin_fabsf, __builtin_floorf, __builtin_rintf, __builtin_sqrtf, __builtin_copysignf)

#endif

/* The part of the kernels that no formula changes: fitted polynomials, sixteen-bit tables, launching on threads. */
#include "kernel.h"
#ifdef _OPENMP
#include <omp.h>
#endif
#ifdef __AVX512F__
#include <immintrin.h>
#endif

/* ---- fitted piecewise polynomials ------------------------------------------------------------------------
 * 32 segments of equal width; the outer two reach to infinity. In segment k: sum coef[j][k] (x - centre[k])^j.
 * A segment without a fit has a NaN for its centre, so its results are NaN and go to `rare`: a kernel for the
 * same function, or for sixteen bits a table of it. */
#define SEGMENTS 32
#define DEGREES 11
#define BLOCK 1024

struct fit {
  int32_t degree;
  float low, high, scale, shift;
  float centre[SEGMENTS];
  float coef[DEGREES][SEGMENTS];
  og_kernel *rare;            /* float32 */
  const float *table;         /* sixteen bits: the function at every code */
};

enum { F32, BF16, F16 };

static const float MAGIC = 12582912.0f; /* 1.5 * 2^23: adding it leaves the integer in the low bits */

OG_INLINE int size_of(int dtype) { return dtype == F32 ? 4 : 2; }

OG_INLINE float load(int dtype, const void *p, long i) {
  if (dtype == F32) return ((const float *)p)[i];
  return dtype == BF16 ? og_load_bf16(((const uint16_t *)p)[i]) : og_load_f16(((const uint16_t *)p)[i]);
}

OG_INLINE void store(int dtype, void *p, long i, float v) {
  if (dtype == F32) ((float *)p)[i] = v;
  else ((uint16_t *)p)[i] = dtype == BF16 ? og_store_bf16(v) : og_store_f16(v);
}

/* The elements a fit does not cover: their places, and their values, since y may lie over x. */
static long resolve(const struct fit *fit, int dtype, int times, const float *kept, const void *g, void *y,
                    const int *where, int count) {
  if (dtype != F32) {
    for (int k = 0; k < count; k++) {
      const float v = fit->table[dtype == BF16 ? og_store_bf16(kept[k]) : og_store_f16(kept[k])];
      store(dtype, y, where[k], times ? v * load(dtype, g, where[k]) : v);
    }
    return 0;
  }
  if (!fit->rare) return count;
  float to[BLOCK + 16];
  const void *in[1] = {kept};
  void *out[1] = {to};
  fit->rare(0, in, 0, out, 0, count);
  for (int k = 0; k < count; k++) ((float *)y)[where[k]] = times ? to[k] * ((const float *)g)[where[k]] : to[k];
  return 0;
}

#ifdef __AVX512F__
OG_INLINE __m512 load16(int dtype, const void *p, long i, __mmask16 m, int whole) {
  if (dtype == F32) return whole ? _mm512_loadu_ps((const float *)p + i) : _mm512_maskz_loadu_ps(m, (const float *)p + i);
  const __m256i *at = (const __m256i *)((const uint16_t *)p + i);
  const __m256i h = whole ? _mm256_loadu_si256(at) : _mm256_maskz_loadu_epi16(m, at);
  if (dtype == BF16) return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
  return _mm512_cvtph_ps(h);
}

OG_INLINE void store16(int dtype, void *p, long i, __mmask16 m, __m512 v, int stream, int whole) {
  if (dtype == F32) {
    if (stream) _mm512_stream_ps((float *)p + i, v);
    else if (whole) _mm512_storeu_ps((float *)p + i, v);
    else _mm512_mask_storeu_ps((float *)p + i, m, v);
    return;
  }
  __m256i h;
  if (dtype == BF16) {
    /* Half a unit up: on a tie away from zero, as good as to even here. A NaN of a fit has nothing below its
     * quiet bit, so the add leaves it one. */
    const __m512i u = _mm512_add_epi32(_mm512_castps_si512(v), _mm512_set1_epi32(0x8000));
    h = _mm512_cvtepi32_epi16(_mm512_srli_epi32(u, 16));
  } else {
    h = _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  if (whole) _mm256_storeu_si256((__m256i *)((uint16_t *)p + i), h);
  else _mm256_mask_storeu_epi16((uint16_t *)p + i, m, h);
}
#endif

/* One dtype, one degree, with or without a factor g, stores past the cache or not: all constants of the loop. */
OG_INLINE long fitted(const int dtype, const int degree, const int times, const int stream, const struct fit *fit,
                      const void *x, const void *g, void *y, long n) {
  long missing = 0;
  int where[BLOCK + 16];
  float kept[BLOCK + 16];
#ifdef __AVX512F__
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  __m512 a[DEGREES], b[DEGREES];
  for (int j = 0; j <= degree; j++) {
    a[j] = _mm512_loadu_ps(fit->coef[j]);
    b[j] = _mm512_loadu_ps(fit->coef[j] + 16);
  }
  const __m512 ca = _mm512_loadu_ps(fit->centre), cb = _mm512_loadu_ps(fit->centre + 16);
  const __m512 low = _mm512_set1_ps(fit->low), high = _mm512_set1_ps(fit->high);
  const __m512 scale = _mm512_set1_ps(fit->scale), shift = _mm512_set1_ps(MAGIC + fit->shift);
  for (long start = 0; start < n; start += BLOCK) {
    const int size = n - start < BLOCK ? (int)(n - start) : BLOCK;
    const char *bx = (const char *)x + start * size_of(dtype), *bg = (const char *)g + start * size_of(dtype);
    char *by = (char *)y + start * size_of(dtype);
    int count = 0;
    int i = 0;
#define EVALUATE(v, r)                                                                                          \
  __m512 r;                                                                                                     \
  {                                                                                                             \
    const __m512 inside = _mm512_min_ps(_mm512_max_ps(v, low), high); /* a NaN gives `low` */                   \
    const __m512i k = _mm512_castps_si512(                                                                      \
        _mm512_fmadd_round_ps(inside, scale, shift, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC));                \
    const __m512 t = _mm512_sub_ps(v, _mm512_permutex2var_ps(ca, k, cb));                                       \
    r = _mm512_permutex2var_ps(a[degree], k, b[degree]);                                                        \
    for (int j = degree - 1; j >= 0; j--) r = _mm512_fmadd_ps(r, t, _mm512_permutex2var_ps(a[j], k, b[j]));     \
  }
#define COLLECT(bad, at, v) /* through a register: the compress that stores is microcode on AMD */              \
  if (__builtin_expect(bad != 0, 0)) {                                                                          \
    _mm512_storeu_si512(where + count, _mm512_maskz_compress_epi32(bad, at));                                   \
    _mm512_storeu_ps(kept + count, _mm512_maskz_compress_ps(bad, v));                                           \
    count += __builtin_popcount(bad);                                                                           \
  }
    if (dtype == BF16) { /* the even and the odd numbers of a vector, each in the upper half of its lane */
      const __m512i upper = _mm512_set1_epi32((int)0xffff0000), half = _mm512_set1_epi32(0x8000);
      for (; i + 32 <= size; i += 32) {
        const __m512i w = _mm512_loadu_si512((const uint16_t *)bx + i);
        const __m512 even = _mm512_castsi512_ps(_mm512_slli_epi32(w, 16));
        const __m512 odd = _mm512_castsi512_ps(_mm512_and_si512(w, upper));
        EVALUATE(even, p)
        EVALUATE(odd, q)
        const __mmask16 bp = _mm512_cmp_ps_mask(p, p, _CMP_UNORD_Q), bq = _mm512_cmp_ps_mask(q, q, _CMP_UNORD_Q);
        if (times) {
          const __m512i f = _mm512_loadu_si512((const uint16_t *)bg + i);
          p = _mm512_mul_ps(p, _mm512_castsi512_ps(_mm512_slli_epi32(f, 16)));
          q = _mm512_mul_ps(q, _mm512_castsi512_ps(_mm512_and_si512(f, upper)));
        }
        const __m512i lower = _mm512_srli_epi32(_mm512_add_epi32(_mm512_castps_si512(p), half), 16);
        const __m512i r = _mm512_mask_blend_epi16(0xaaaaaaaau, lower, _mm512_add_epi32(_mm512_castps_si512(q), half));
        _mm512_storeu_si512((uint16_t *)by + i, r);
        const __m512i at = _mm512_add_epi32(_mm512_set1_epi32(i), _mm512_slli_epi32(lanes, 1));
        COLLECT(bp, at, even)
        COLLECT(bq, _mm512_add_epi32(at, _mm512_set1_epi32(1)), odd)
      }
    }
    for (; i < size; i += 16) { /* whole vectors without a mask, which costs a fifth */
      const int whole = i + 16 <= size;
      const __mmask16 m = whole ? 0xffff : (__mmask16)((1u << (size - i)) - 1);
#define STEP(m, whole)                                                                                          \
  {                                                                                                             \
    const __m512 v = load16(dtype, bx, i, m, whole);                                                            \
    EVALUATE(v, r)                                                                                              \
    const __mmask16 bad = _mm512_mask_cmp_ps_mask(m, r, r, _CMP_UNORD_Q);                                       \
    if (times) r = _mm512_mul_ps(r, load16(dtype, bg, i, m, whole));                                            \
    store16(dtype, by, i, m, r, stream && whole, whole);                                                        \
    COLLECT(bad, _mm512_add_epi32(_mm512_set1_epi32(i), lanes), v)                                              \
  }
      if (__builtin_expect(whole, 1)) STEP(0xffff, 1)
      else STEP(m, 0)
    }
    if (count) missing += resolve(fit, dtype, times, kept, bg, by, where, count);
  }
  if (stream) _mm_sfence();
#else
  for (long start = 0; start < n; start += BLOCK) {
    const int size = n - start < BLOCK ? (int)(n - start) : BLOCK;
    const char *bx = (const char *)x + start * size_of(dtype), *bg = (const char *)g + start * size_of(dtype);
    char *by = (char *)y + start * size_of(dtype);
    float value[BLOCK];
    int32_t wrong = 0;
    const float scale = fit->scale, low = fit->low, high = fit->high;
    const int offset = (int)fit->shift;
    for (int i = 0; i < size; i++) {
      const float v = load(dtype, bx, i);
      const float inside = v > low ? (v < high ? v : high) : low; /* a NaN gives `low` */
      const int k = ((int)__builtin_floorf(inside * scale) + offset) & (SEGMENTS - 1);
      const float t = v - fit->centre[k];
      float r = fit->coef[degree][k];
      for (int j = degree - 1; j >= 0; j--) r = __builtin_fmaf(r, t, fit->coef[j][k]);
      value[i] = r;
      wrong |= r != r;
    }
    int count = 0;
    if (wrong)
      for (int i = 0; i < size; i++)
        if (value[i] != value[i]) kept[count] = load(dtype, bx, i), where[count++] = i;
    for (int i = 0; i < size; i++) store(dtype, by, i, times ? value[i] * load(dtype, bg, i) : value[i]);
    if (count) missing += resolve(fit, dtype, times, kept, bg, by, where, count);
  }
#endif
  return missing;
}

#define DEGREE(d) case d: missing = fitted(DTYPE, d, TIMES, STREAM, data, in[0], TIMES ? in[1] : 0, out[0], n); break;
#define KERNEL(name)                                                                                               \
  OG_EXPORT void name(const void *data, const void *const *in, const double *scalar, void *const *out, double *sum, \
                      long n) {                                                                                    \
    long missing = 0;                                                                                              \
    switch (((const struct fit *)data)->degree) {                                                                  \
      DEGREE(1) DEGREE(2) DEGREE(3) DEGREE(4) DEGREE(5) DEGREE(6) DEGREE(7) DEGREE(8) DEGREE(10)                   \
    }                                                                                                              \
    sum[0] += (double)missing;                                                                                     \
  }

#define STREAM 0
#define TIMES 0
#define DTYPE F32
KERNEL(og_fit_f32)
#undef DTYPE
#define DTYPE BF16
KERNEL(og_fit_bf16)
#undef DTYPE
#define DTYPE F16
KERNEL(og_fit_f16)
#undef TIMES
#define TIMES 1
KERNEL(og_fit_times_f16)
#undef DTYPE
#define DTYPE BF16
KERNEL(og_fit_times_bf16)
#undef DTYPE
#define DTYPE F32
KERNEL(og_fit_times_f32)
#undef STREAM
#undef TIMES
#define STREAM 1
#define TIMES 0
KERNEL(og_fit_stream_f32)

/* ---- sixteen-bit tables ----------------------------------------------------------------------------------
 * The function at all 65,536 codes: rounded, for values; as float32, where a factor follows. */
OG_EXPORT void og_table(const void *data, const void *const *in, const double *scalar, void *const *out, double *sum,
                        long n) {
  const uint16_t *table = data, *x = in[0];
  uint16_t *y = out[0];
  for (long i = 0; i < n; i++) y[i] = table[x[i]];
}

#define TABLE_TIMES(name, dtype)                                                                                   \
  OG_EXPORT void name(const void *data, const void *const *in, const double *scalar, void *const *out, double *sum, \
                      long n) {                                                                                    \
    const float *table = data;                                                                                     \
    const uint16_t *x = in[0], *g = in[1];                                                                         \
    uint16_t *y = out[0];                                                                                          \
    float value[BLOCK];                                                                                            \
    for (long start = 0; start < n; start += BLOCK) {                                                              \
      const long size = n - start < BLOCK ? n - start : BLOCK;                                                     \
      for (long i = 0; i < size; i++) value[i] = table[x[start + i]];                                              \
      _Pragma("omp simd") for (long i = 0; i < size; i++)                                                          \
          store(dtype, y, start + i, value[i] * load(dtype, g, start + i));                                        \
    }                                                                                                              \
  }
TABLE_TIMES(og_table_times_bf16, BF16)
TABLE_TIMES(og_table_times_f16, F16)

/* ---- gates -----------------------------------------------------------------------------------------------
 * f(x) y and its two gradients f'(x) y g and f(x) g, with f and f' fitted. Rows of the three tensors may lie
 * apart (halves of one tensor); within a row elements are neighbours. */
#define PIECE 4096

static long fitted_block(const struct fit *fit, int dtype, const void *x, long at, float *value, int n) {
  float wide[BLOCK];
  double missing = 0;
  const void *in[1] = {(const float *)x + at};
  void *out[1] = {value};
  if (dtype != F32) {
#pragma omp simd
    for (int i = 0; i < n; i++) wide[i] = load(dtype, x, at + i);
    in[0] = wide;
  }
  og_fit_f32(fit, in, 0, out, &missing, n);
  if (dtype == F32 || missing == 0) return (long)missing;
  for (int i = 0; i < n; i++)
    if (value[i] != value[i]) value[i] = fit->table[((const uint16_t *)x)[at + i]];
  return 0;
}

OG_INLINE void gate_block(const int dtype, const float *p, const float *q, const void *y, long ay, const void *g,
                          long ag, void *dx, long ax, void *dy, long ady, int n) {
  if (!g) {
#pragma omp simd
    for (int i = 0; i < n; i++) store(dtype, dx, ax + i, p[i] * load(dtype, y, ay + i));
    return;
  }
#pragma omp simd
  for (int i = 0; i < n; i++) {
    const float u = load(dtype, g, ag + i);
    store(dtype, dx, ax + i, q[i] * load(dtype, y, ay + i) * u);
    store(dtype, dy, ady + i, p[i] * u);
  }
}

/* Forward (g null): f(x) y into dx. Backward: both gradients. `apart` holds the distance between rows of x, y, g,
 * dx, dy in elements. */
OG_EXPORT long og_gate(const struct fit *f, const struct fit *slope, int dtype, const void *x, const void *y,
                       const void *g, void *dx, void *dy, const long *apart, long rows, long columns, int threads) {
  const long pieces = (columns + PIECE - 1) / PIECE;
  long missing = 0;
#pragma omp parallel for num_threads(threads) if (threads > 1) reduction(+ : missing)
  for (long task = 0; task < rows * pieces; task++) {
    const long row = task / pieces, first = task % pieces * PIECE;
    const long last = first + PIECE < columns ? first + PIECE : columns;
    float p[BLOCK], q[BLOCK];
    for (long at = first; at < last; at += BLOCK) {
      const int n = last - at < BLOCK ? (int)(last - at) : BLOCK;
      missing += fitted_block(f, dtype, x, row * apart[0] + at, p, n);
      if (g) missing += fitted_block(slope, dtype, x, row * apart[0] + at, q, n);
      const long ay = row * apart[1] + at, ag = row * apart[2] + at, ax = row * apart[3] + at, ady = row * apart[4] + at;
      if (dtype == F32) gate_block(F32, p, q, y, ay, g, ag, dx, ax, dy, ady, n);
      else if (dtype == BF16) gate_block(BF16, p, q, y, ay, g, ag, dx, ax, dy, ady, n);
      else gate_block(F16, p, q, y, ay, g, ag, dx, ax, dy, ady, n);
    }
  }
  return missing;
}

/* ---- launching -------------------------------------------------------------------------------------------
 * Contiguous shares, one per thread, in multiples of a cache line of every dtype. Sums are added in the order
 * of the threads, so that they depend on nothing else. */
#define MOST 16
#define SHARE 1024

OG_EXPORT double og_launch(og_kernel *kernel, const void *data, int nin, const void *const *in, const int *in_size,
                           const double *scalar, int nout, void *const *out, const int *out_size, int nsum, double *sum,
                           long n, int threads) {
#ifdef _OPENMP
  if (threads > 1 && n > SHARE) {
    const long share = ((n + threads - 1) / threads + SHARE - 1) / SHARE * SHARE;
    double part[64][MOST];
    if (threads > 64) threads = 64;
    memset(part, 0, sizeof part);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++) {
      const long first = t * share, left = n - first, size = left < share ? left : share;
      if (size <= 0) continue;
      const void *from[MOST];
      void *to[MOST];
      for (int i = 0; i < nin; i++) from[i] = (const char *)in[i] + first * in_size[i];
      for (int i = 0; i < nout; i++) to[i] = (char *)out[i] + first * out_size[i];
      kernel(data, from, scalar, to, part[t], size);
    }
    for (int t = 0; t < threads; t++)
      for (int k = 0; k < nsum; k++) sum[k] += part[t][k];
    return sum[0];
  }
#endif
  kernel(data, in, scalar, out, sum, n);
  return sum[0];
}

/* One input (g null) or two, one output: no arrays to build on the caller's side. Returns what the kernel could
 * not do. */
OG_EXPORT double og_unary(og_kernel *kernel, const void *data, const double *scalar, const void *x, const void *g,
                          void *y, int in_size, int out_size, long n, int threads) {
  const void *in[2] = {x, g};
  const int sizes[2] = {in_size, in_size};
  double sum[MOST] = {0};
  return og_launch(kernel, data, g ? 2 : 1, in, sizes, scalar, 1, &y, &out_size, 1, sum, n, threads);
}

/* Runs of one channel: (outer, channels, inner) with the parameter of the channel as a scalar. `scalar` holds
 * `nscalar` numbers per channel, `sum` receives `nsum` per channel. */
OG_EXPORT void og_channels(og_kernel *kernel, int nin, const void *const *in, const int *in_size, const double *scalar,
                           int nscalar, int nout, void *const *out, const int *out_size, int nsum, double *sum,
                           long outer, long channels, long inner, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
  for (long c = 0; c < channels; c++) {
    double part[MOST] = {0};
    for (long o = 0; o < outer; o++) {
      const void *from[MOST];
      void *to[MOST];
      const long first = (o * channels + c) * inner;
      for (int i = 0; i < nin; i++) from[i] = (const char *)in[i] + first * in_size[i];
      for (int i = 0; i < nout; i++) to[i] = (char *)out[i] + first * out_size[i];
      kernel(0, from, scalar + c * nscalar, to, part, inner);
    }
    for (int k = 0; k < nsum; k++) sum[c * nsum + k] += part[k];
  }
}

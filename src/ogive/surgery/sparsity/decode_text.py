"""The C of the decode kernels: dot products with rows of a matrix, and sums of the rows that are used.

Rows are taken eight at a time, each a stream of its own, and the lines of the next eight are asked for while these
are used: rows picked at random are then read as fast as rows in order. One thread of a machine with AVX-512, hidden
size 8192 of 2048, every tenth neuron, float32: one row at a time 2.1 ms, eight 0.97, eight with prefetch 0.83; larger
pages take another 5 to 10 % off, which a library should not ask for behind its user's back.
"""

from __future__ import annotations

import torch

NAMES = {torch.float32: "f32", torch.bfloat16: "bf16"}
_C = {"f32": "float", "bf16": "uint16_t"}

_HEAD = r"""#include "kernel.h"
#ifdef _OPENMP
#include <omp.h>
#endif
#ifdef __AVX512F__
enum { BYTES = 64 };
#elif defined(__AVX__)
enum { BYTES = 32 };
#else
enum { BYTES = 16 };
#endif
enum { WIDE = BYTES / 4, GROUP = 8, TILE = 1024 };
typedef float lanes __attribute__((vector_size(BYTES), aligned(4), may_alias));
typedef uint32_t words __attribute__((vector_size(BYTES), aligned(4), may_alias));
typedef uint16_t codes __attribute__((vector_size(BYTES / 2), aligned(2), may_alias));

OG_INLINE lanes read_f32(const float *p) { return *(const lanes *)p; }
OG_INLINE lanes read_bf16(const uint16_t *p) {
  return (lanes)(__builtin_convertvector(*(const codes *)p, words) << 16);
}
OG_INLINE float total(lanes v) {
  float s = 0;
  for (int k = 0; k < WIDE; k++) s += v[k];
  return s;
}

/* Threads take whole groups of positions. */
OG_INLINE void share(long n, int thread, int threads, long *from, long *to) {
  const long groups = (n + GROUP - 1) / GROUP;
  *from = groups * thread / threads * GROUP;
  *to = groups * (thread + 1) / threads * GROUP;
  if (*to > n) *to = n;
}
#ifdef _OPENMP
#define TEAM _Pragma("omp parallel num_threads(threads) if (threads > 1)")
#define THREAD omp_get_thread_num()
#define THREADS omp_get_num_threads()
#else
#define TEAM
#define THREAD 0
#define THREADS 1
#endif
"""

# u[b][k] = w_k . x_b + bias: `next` are the rows asked for meanwhile, at the same columns
_DOTS = r"""
OG_INLINE void dots_@T@_@R@_@B@(const @C@ *const *w, const @C@ *const *next, const float *x, long d, float *u,
                                long apart) {
@zero@
  long j = 0;
  for (; j + WIDE <= d; j += WIDE) {
@read@
@ahead@
@multiply@
  }
  float s[@B@][@R@] = {@sums@};
  for (; j < d; j++)
    for (int b = 0; b < @B@; b++)
      for (int k = 0; k < @R@; k++) s[b][k] += x[b * d + j] * og_load_@T@(w[k][j]);
  for (int b = 0; b < @B@; b++)
    for (int k = 0; k < @R@; k++) u[b * apart + k] = s[b][k];
}
"""

# y += sum over k of a[k] w_k, the sum of a group before it is added: y is rounded once a group
_ADD = r"""
OG_INLINE void add_@T@_@R@(const @C@ *const *w, const @C@ *const *next, const float *a, long d, float *y) {
@factor@
  long j = 0;
  for (; j + WIDE <= d; j += WIDE) {
@ahead@
    lanes t = f0 * read_@T@(w[0] + j);
@multiply@
    *(lanes *)(y + j) += t;
  }
  for (; j < d; j++) {
    float t = 0;
    for (int k = 0; k < @R@; k++) t += a[k] * og_load_@T@(w[k][j]);
    y[j] += t;
  }
}
"""

_RUN = r"""
/* out[b][m] = bias[r] + w_r . x_b for the row r at position m of `rows`, all of them where rows is null */
OG_EXPORT void og_dots_@T@(const @C@ *w, const int32_t *rows, long n, const float *bias, const float *x, long batch,
                           long d, float *out, int threads) {
  TEAM {
    long m, end;
    share(n, THREAD, THREADS, &m, &end);
    while (m < end) {
      const int some = end - m >= GROUP ? GROUP : end - m >= 4 ? 4 : 1;
      const @C@ *p[GROUP], *q[GROUP];
      for (int k = 0; k < some; k++) {
        const long later = m + some + k < end ? m + some + k : m + k;
        p[k] = w + (rows ? rows[m + k] : m + k) * d;
        q[k] = w + (rows ? rows[later] : later) * d;
      }
      long b = 0;
      if (some == 1)
        for (; b < batch; b++) dots_@T@_1_1(p, q, x + b * d, d, out + b * n + m, n);
      for (; b + 4 <= batch; b += 4)
        for (int k = 0; k < some; k += 4) dots_@T@_4_4(p + k, q + k, x + b * d, d, out + b * n + m + k, n);
      for (; b + 2 <= batch; b += 2)
        for (int k = 0; k < some; k += 4) dots_@T@_4_2(p + k, q + k, x + b * d, d, out + b * n + m + k, n);
      if (b < batch && some == GROUP) dots_@T@_8_1(p, q, x + b * d, d, out + b * n + m, n);
      else if (b < batch) dots_@T@_4_1(p, q, x + b * d, d, out + b * n + m, n);
      if (bias)
        for (b = 0; b < batch; b++)
          for (int k = 0; k < some; k++) out[b * n + m + k] += bias[rows ? rows[m + k] : m + k];
      m += some;
    }
  }
}

/* y_b = start + sum of h[b][m] (up_r . x_b + bias[r]) down_r over the positions m with h[b][m] not 0 and not below
 * `low` in size. Without `up` the factor is h alone. `y` holds `batch` sums for each thread; `list` and `factor` n
 * numbers. Every example has a list of its own and goes through a tile of positions while that is in the cache: of 8
 * examples with 90 % zeros each, 57 % of the rows are used by one at least, and lists of their own took 4.3 ms, one
 * list for all with a factor of zero where a row is not used 12 ms (float32). Returns how many different rows were
 * used. */
OG_EXPORT long og_sum_@T@(const @C@ *up, const float *bias, const @C@ *down, const int32_t *rows, long n,
                          const float *h, float low, const float *x, long batch, long d, long width, float *y,
                          int32_t *list, float *factor, const float *start, int threads, int *used) {
  long count = 0;
  TEAM {
    const int thread = THREAD;
    float *mine = y + thread * batch * width;
    long from, end, met = 0;
    if (!thread) *used = THREADS;
    share(n, thread, THREADS, &from, &end);
    memset(mine, 0, batch * width * sizeof(float));
    for (long b = 0; start && !thread && b < batch; b++) memcpy(mine + b * width, start, width * sizeof(float));
    for (; from < end; from += TILE) {
      const long to = from + TILE < end ? from + TILE : end;
      for (long b = 0; b < batch; b++) {
        int32_t *row = list + from;
        float *a = factor + from;
        const float *v = h + b * n;
        long size = 0, m = 0;
        for (long i = from; i < to; i++) {
          row[size] = rows ? rows[i] : i;
          a[size] = v[i];
          size += (v[i] != 0) & !(__builtin_fabsf(v[i]) < low);
        }
        if (batch == 1) met += size;
        while (m < size) {
          const int some = size - m >= GROUP ? GROUP : size - m >= 4 ? 4 : 1;
          const @C@ *p[GROUP], *q[GROUP], *next[GROUP];
          float u[GROUP];
          for (int k = 0; k < some; k++) {
            const long later = row[m + some + k < size ? m + some + k : m + k];
            q[k] = down + row[m + k] * width;
            p[k] = up ? up + row[m + k] * d : q[k];
            next[k] = up ? up + later * d : down + later * width;
          }
          if (up) {
            /* the rows of `down` come next; where they are longer, what is beyond d is left to the machine */
            if (some == GROUP) dots_@T@_8_1(p, d <= width ? q : p, x + b * d, d, u, 0);
            else if (some == 4) dots_@T@_4_1(p, d <= width ? q : p, x + b * d, d, u, 0);
            else dots_@T@_1_1(p, d <= width ? q : p, x + b * d, d, u, 0);
            for (int k = 0; k < some; k++) a[m + k] *= u[k] + (bias ? bias[row[m + k]] : 0);
            if (width > d)
              for (int k = 0; k < some; k++) next[k] = q[k];
          }
          if (some == GROUP) add_@T@_8(q, next, a + m, width, mine + b * width);
          else if (some == 4) add_@T@_4(q, next, a + m, width, mine + b * width);
          else add_@T@_1(q, next, a + m, width, mine + b * width);
          m += some;
        }
      }
      if (batch > 1)
        for (long i = from; i < to; i++) {
          int any = 0;
          for (long b = 0; b < batch; b++) any |= (h[b * n + i] != 0) & !(__builtin_fabsf(h[b * n + i]) < low);
          met += any;
        }
    }
#pragma omp atomic
    count += met;
  }
  return count;
}
"""


def text(dtype: torch.dtype) -> str:
    """The whole of the C for weights of one dtype; vectors are float32."""
    name = NAMES[dtype]
    parts = [_HEAD, *(_dots(r, b) for r, b in ((8, 1), (4, 1), (4, 2), (4, 4), (1, 1))), *(_add(r) for r in (8, 4, 1))]
    return "".join([*parts, _RUN]).replace("@T@", name).replace("@C@", _C[name])


def _lines(lines: list[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)


def _dots(rows: int, batch: int) -> str:
    both = [(b, k) for b in range(batch) for k in range(rows)]
    parts = {
        "zero": _lines([f"lanes s{b}_{k} = {{0}};" for b, k in both]),
        "read": _lines([f"const lanes x{b} = *(const lanes *)(x + {b} * d + j);" for b in range(batch)]),
        "ahead": _lines([f"__builtin_prefetch(next[{k}] + j, 0, 2);" for k in range(rows)]),
        "multiply": _lines([line for k in range(rows) for line in _row(k, batch)]),
        "sums": ", ".join("{" + ", ".join(f"total(s{b}_{k})" for k in range(rows)) + "}" for b in range(batch)),
        "R": str(rows), "B": str(batch),
    }  # fmt: skip
    return _filled(_DOTS, parts)


def _row(k: int, batch: int) -> list[str]:
    return [f"const lanes w{k} = read_@T@(w[{k}] + j);", *(f"s{b}_{k} += x{b} * w{k};" for b in range(batch))]


def _add(rows: int) -> str:
    parts = {
        "factor": _lines([f"const lanes f{k} = (lanes){{0}} + a[{k}];" for k in range(rows)]),
        "ahead": _lines([f"__builtin_prefetch(next[{k}] + j, 0, 2);" for k in range(rows)]),
        "multiply": _lines([f"t += f{k} * read_@T@(w[{k}] + j);" for k in range(1, rows)]),
        "R": str(rows),
    }
    return _filled(_ADD, parts)


def _filled(template: str, parts: dict[str, str]) -> str:
    for key, value in parts.items():
        template = template.replace(f"@{key}@", value)
    return template

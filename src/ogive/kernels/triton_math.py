"""The functions that generated Triton kernels call, built from what every Triton backend and its interpreter run.

Triton has exp2, erf, sin, cos and square roots; its exp and log are the hardware's, whose relative error grows
with the argument and near 1. Here are a compensated exponential, logarithms that keep the digits of 1 + x, and
the complementary error function with its tail. Single precision runs polynomials, double precision the
library's exp and log. ``exact`` asks for float32 digits in the result; 16-bit results do without.

Coefficients: Chebyshev interpolation with 60 digits on the interval named at each, relative error beside it.
"""

# ruff: noqa: ANN001, ANN201  (device code: what goes in are blocks of numbers)
# mypy: ignore-errors

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def most(a, b):
    """The larger of two; NaN if either is."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def least(a, b):
    """The smaller of two; NaN if either is."""
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def sign(a):
    """-1, 0 or 1; 0 for NaN, as torch has it."""
    low = tl.where(a < 0.0, tl.full([], -1.0, a.dtype), tl.full([], 0.0, a.dtype))
    return tl.where(a > 0.0, tl.full([], 1.0, a.dtype), low)


@triton.jit
def nearest(a):
    """The nearest integer, ties to even."""
    low = tl.floor(a)
    rest = a - low
    odd = low - 2.0 * tl.floor(0.5 * low)
    # a whole number as it is: it may be infinite
    return tl.where(low == a, a, tl.where(rest < 0.5, low, tl.where(rest > 0.5, low + 1.0, low + odd)))


@triton.jit
def times(a, b):
    """a*b where an exact zero wins over an overflow."""
    product = a * b
    # not a | of two comparisons: a factor may be a number, and | of a block and a number is refused
    return tl.where(a == 0.0, tl.zeros_like(product), tl.where(b == 0.0, tl.zeros_like(product), product))


@triton.jit
def exp(x, exact: tl.constexpr):
    """e^x. Exact: exp2 of x log2(e) rounded, times 1 + log(2) (what the rounding dropped)."""
    if x.dtype == tl.float64:
        return tl.exp(x)
    if not exact:
        return tl.exp2(x * 1.4426950408889634)
    near = least(most(x, -160.0), 130.0)  # beyond, exp is 0 or inf; keeps inf - inf away
    p = near * 1.4426950408889634
    lost = tl.fma(near, 1.4426950408889634, -p) + near * 1.925963033500842e-08
    return tl.exp2(p) * (1.0 + lost * 0.6931471805599453)


@triton.jit
def expm1(x, exact: tl.constexpr):
    """e^x - 1."""
    if x.dtype == tl.float64:  # Kahan: the rounding of e^x is undone by its logarithm
        u = tl.exp(x)
        less = u - 1.0
        usual = (u > 0.0) & (u != 1.0) & (u < 1e300)
        ratio = less * (x / tl.log(tl.where(usual, u, 2.0)))
        return tl.where(u == 1.0, x, tl.where((less == -1.0) | (u >= 1e300), less, ratio))
    # (e^x - 1 - x)/x^2 on [-1/2, 1/2], 7.6e-10
    p = tl.fma(x, 2.492243642934227e-05, 0.000199621762266955)
    p = tl.fma(tl.fma(tl.fma(p, x, 0.001388873772021196), x, 0.008333182071584195), x, 0.04166666713918055)
    p = tl.fma(tl.fma(p, x, 0.16666667139493802), x, 0.5)
    return tl.where(tl.abs(x) < 0.5, tl.fma(x * x, p, x), exp(x, exact) - 1.0)


@triton.jit
def log(x):
    """The natural logarithm, to the last digits near 1 as well."""
    if x.dtype == tl.float64:
        return tl.log(x)
    small = x < 1.1754943508222875e-38
    y = tl.where(small, x * 8388608.0, x)
    bits = y.to(tl.int32, bitcast=True)
    e = (bits - 0x3F3504F3) >> 23
    f = (bits - (e << 23)).to(tl.float32, bitcast=True) - 1.0
    k = e.to(tl.float32) - tl.where(small, 23.0, 0.0)
    # (log(1 + f) - f + f^2/2)/f^3 on [sqrt(1/2) - 1, sqrt(2) - 1], 6.9e-8
    p = tl.fma(f, 0.06971611471451178, -0.11479733846637635)
    p = tl.fma(tl.fma(tl.fma(p, f, 0.1168541992348674), f, -0.12425687331451106), f, 0.1424905764569748)
    p = tl.fma(tl.fma(tl.fma(p, f, -0.16667802319501254), f, 0.200007157488921), f, -0.24999996957950882)
    p = tl.fma(p, f, 0.33333331180030046)
    r = tl.fma(f * f, tl.fma(f, p, -0.5), k * 1.42860682030941723212e-6) + f
    r = tl.fma(k, 0.693145751953125, r)
    r = tl.where(x == float("inf"), x, r)
    return tl.where(x > 0.0, r, tl.where(x == 0.0, tl.full([], float("-inf"), tl.float32), x - x + float("nan")))


@triton.jit
def log1p(x):
    """log(1 + x): the rounding of 1 + x put back to first order."""
    u = 1.0 + x
    lost = (x - (u - 1.0)) / u
    return log(u) + tl.where(tl.abs(x) < 1e9, tl.where(u > 0.0, lost, 0.0), 0.0)


@triton.jit
def sigmoid(x, exact: tl.constexpr):
    """1/(1 + e^-x), the exponential of -|x| on both sides."""
    t = exp(-tl.abs(x), exact)
    return tl.where(x < 0.0, t, tl.full([], 1.0, x.dtype)) / (1.0 + t)


@triton.jit
def sech2(x, exact: tl.constexpr):
    """4t/(1 + t)^2 with t = e^(-2|x|)."""
    t = exp(-2.0 * tl.abs(x), exact)
    return 4.0 * (t / ((1.0 + t) * (1.0 + t)))


@triton.jit
def softplus(x, exact: tl.constexpr):
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)."""
    return most(x, 0.0) + log1p(exp(-tl.abs(x), exact))


@triton.jit
def tanh(x, exact: tl.constexpr):
    """The hyperbolic tangent."""
    a = tl.abs(x)
    if x.dtype == tl.float64:
        m = expm1(-2.0 * a, exact)
        r = -m / (m + 2.0)
        return tl.where(x < 0.0, -r, r)
    # (tanh(x)/x - 1)/x^2 in x^2 on [0, 0.3025], 1.2e-9
    z = x * x
    p = tl.fma(z, 0.0025263907105745136, -0.00852633305780133)
    p = tl.fma(tl.fma(tl.fma(p, z, 0.021818449128639904), z, -0.0539647004451583), z, 0.13333324200007313)
    p = tl.fma(p, z, -0.3333333329502591)
    r = 1.0 - 2.0 / (1.0 + exp(2.0 * a, exact))
    return tl.where(a < 0.55, tl.fma(x * z, p, x), tl.where(x < 0.0, -r, r))


@triton.jit
def sinh(x, exact: tl.constexpr):
    """(e^x - e^-x)/2; through the half argument, whose square overflows no sooner than sinh."""
    a = tl.abs(x)
    m = expm1(least(a, 1.0), exact)
    h = exp(0.5 * a, exact)
    r = tl.where(a < 1.0, 0.5 * (m + m / (m + 1.0)), (0.5 * h) * h - 0.5 / (h * h))
    return tl.where(x < 0.0, -r, r)


@triton.jit
def cosh(x, exact: tl.constexpr):
    """(e^x + e^-x)/2."""
    h = exp(0.5 * tl.abs(x), exact)
    return (0.5 * h) * h + 0.5 / (h * h)


@triton.jit
def logcosh(x, exact: tl.constexpr):
    """log(cosh(x)) = |x| - log 2 + log(1 + e^(-2|x|)); below 1 half the log of 1 + sinh^2."""
    a = tl.abs(x)
    s = sinh(least(a, 1.0), exact)
    return tl.where(a < 1.0, 0.5 * log1p(s * s), a - 0.6931471805599453 + log1p(exp(-2.0 * a, exact)))


@triton.jit
def tanhshrink(x, exact: tl.constexpr):
    """x - tanh(x); below 1/2 its Taylor series."""
    small = least(most(x, -0.5), 0.5)
    z = small * small
    p = tl.fma(z, 4.6962953982309016e-09, -1.1587644432798853e-08)
    p = tl.fma(tl.fma(tl.fma(p, z, 2.859136662305254e-08), z, -7.054636946400968e-08), z, 1.7406618963571648e-07)
    p = tl.fma(tl.fma(tl.fma(p, z, -4.294911078273806e-07), z, 1.0597268320104654e-06), z, -2.6147711512907546e-06)
    p = tl.fma(tl.fma(tl.fma(p, z, 6.451689215655431e-06), z, -1.5918905069328964e-05), z, 3.927832388331683e-05)
    p = tl.fma(tl.fma(tl.fma(p, z, -9.691537956929451e-05), z, 0.00023912911424355248), z, -0.000590027440945586)
    p = tl.fma(tl.fma(tl.fma(p, z, 0.0014558343870513183), z, -0.003592128036572481), z, 0.008863235529902197)
    p = tl.fma(tl.fma(tl.fma(p, z, -0.021869488536155203), z, 0.05396825396825397), z, -0.13333333333333333)
    p = tl.fma(p, z, 0.3333333333333333)
    return tl.where(tl.abs(x) < 0.5, p * z * small, x - tanh(x, exact))

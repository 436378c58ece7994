"""The elementary functions in twice double precision, each from a double that is nearly right or from its series."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import lru_cache

import torch
from torch import Tensor

from ogive.derive.solving.double_double import (
    Wide,
    constant,
    constants,
    magnitude,
    pick,
    quick,
    split,
    two_product,
    wide,
)


def _named(name: str, like: Tensor) -> Wide:
    return constant(constants()[name], like)


def square(a: Wide) -> Wide:
    p, e = two_product(a.hi, a.hi)
    return quick(p, e + 2.0 * (a.hi * a.lo))


def sqrt(a: Wide) -> Wide:
    x = torch.sqrt(a.hi)
    r = a - square(wide(x))
    rest = torch.where(x > 0, r.hi / (2.0 * x), torch.zeros_like(x))
    return quick(x, torch.nan_to_num(rest, nan=0.0, posinf=0.0, neginf=0.0))


@lru_cache(maxsize=1)
def _exponentials() -> list[tuple[float, float]]:
    with localcontext() as context:
        context.prec = 50
        return [split((Decimal(j) / 64).exp()) for j in range(-23, 24)]


def _reduced(a: Wide) -> tuple[Wide, Wide, Tensor]:
    """``p, t, k`` with exp(a) = (1 + p) t 2**k: p = expm1(r) for r below 1/128 in size."""
    log2 = _named("log2", a.hi)
    k = torch.round(a.hi / log2.hi)
    r = a - log2 * k
    j = torch.clamp(torch.round(r.hi * 64.0), -23, 23)
    r = r - j / 64.0
    table = torch.tensor(_exponentials(), dtype=torch.float64, device=a.hi.device)
    t = table[(torch.nan_to_num(j) + 23).long()]
    x = r.hi
    # Only r, r^2/2 and r^3/6 need both doubles: the rest is 2**-30 of r and its rounding 2**-83.
    rest = x * x * x * x * (1 / 24 + x * (1 / 120 + x * (1 / 720 + x * (1 / 5040 + x * (1 / 40320 + x / 362880)))))
    r2 = square(r)
    p = r + r2.scaled(0.5) + r2 * r / 6.0 + rest
    return p, Wide(t[..., 0], t[..., 1]), k


def _shift(a: Wide, k: Tensor) -> Wide:
    # In two steps: 2**1024 and 2**-1074 are no factors of their own.
    one = torch.trunc(k / 2.0)
    for part in (one, k - one):
        a = a.scaled(torch.exp2(part))
    return a


def _inside(a: Wide, low: float, high: float) -> Wide:
    hi = torch.clamp(a.hi, low, high)
    return Wide(hi, torch.where(hi == a.hi, a.lo, torch.zeros_like(hi)))


def exp(a: Wide) -> Wide:
    p, t, k = _reduced(_inside(a, -760.0, 720.0))
    return _shift(t + t * p, k)


def expm1(a: Wide) -> Wide:
    p, t, k = _reduced(_inside(a, -760.0, 720.0))
    near = (k == 0) & (t.hi == 1.0)
    return pick(near, p, _shift(t + t * p, k) - 1.0)


def _log1p_near(t: Wide) -> Wide:
    """log(1 + t) for t in [-0.3, 0.5]."""
    y = torch.log1p(t.hi)
    e = expm1(wide(y))
    d = ((t - e) / (e + 1.0)).hi
    return wide(y) + (d - 0.5 * d * d)


def log(a: Wide) -> Wide:
    m, k = torch.frexp(a.hi)
    low = m < math.sqrt(0.5)
    k = k.to(torch.float64) - low.to(torch.float64)
    y = _log1p_near(_shift(a, -k) - 1.0) + _named("log2", a.hi) * k
    plain = torch.log(a.hi)
    return pick(torch.isfinite(plain), y, wide(plain))


def log1p(a: Wide) -> Wide:
    near = (a.hi > -0.29) & (a.hi < 0.41)
    return pick(near, _log1p_near(_inside(a, -0.29, 0.41)), log(a + 1.0))


@lru_cache(maxsize=4)
def _taylor(kind: str) -> list[tuple[float, float]]:
    offset = 1 if kind == "sin" else 0
    with localcontext() as context:
        context.prec = 50
        return [split(Decimal((-1) ** k) / math.factorial(2 * k + offset)) for k in range(15)]


def _series(z: Wide, coefficients: list[tuple[float, float]], sharp: int) -> Wide:
    """``sum c_k z**k``; from the power ``sharp`` on in one double."""
    tail = torch.zeros_like(z.hi)
    for c, _ in reversed(coefficients[sharp:]):
        tail = tail * z.hi + c
    total = wide(tail)
    both = torch.tensor(coefficients[:sharp], dtype=torch.float64, device=z.hi.device)
    for pair in reversed(both.unbind()):
        total = total * z + Wide(pair[0], pair[1])
    return total


def sin_cos(a: Wide) -> tuple[Wide, Wide]:
    half, rest = _named("half_pi", a.hi), _named("half_pi_rest", a.hi)
    k = torch.round(a.hi / half.hi)
    r = a - _product(k, half.hi) - _product(k, half.lo) - rest * k
    z = square(r)
    s, c = r * _series(z, _taylor("sin"), 5), _series(z, _taylor("cos"), 6)
    turn = torch.remainder(k, 4.0)
    odd = (turn == 1.0) | (turn == 3.0)
    sine, cosine = pick(odd, c, s), pick(odd, s, c)
    sine, cosine = pick(turn >= 2.0, -sine, sine), pick((turn == 1.0) | (turn == 2.0), -cosine, cosine)
    # pi/2 in three doubles is not enough for more turns than this
    near = torch.abs(a.hi) < 2.0**45
    return pick(near, sine, wide(torch.sin(a.hi))), pick(near, cosine, wide(torch.cos(a.hi)))


def _product(a: Tensor, b: Tensor) -> Wide:
    return Wide(*two_product(a, b.expand_as(a)))


def sin(a: Wide) -> Wide:
    return sin_cos(a)[0]


def cos(a: Wide) -> Wide:
    return sin_cos(a)[1]


def atan(a: Wide) -> Wide:
    size = magnitude(a)
    steep = size.hi > 1.0
    t = pick(steep, 1.0 / size, size)
    y = torch.atan(t.hi)
    s, c = sin_cos(wide(y))
    e = ((t * c - s) / (c + t * s)).hi
    v = wide(y) + e
    v = pick(steep, _named("half_pi", a.hi) - v, v)
    return pick(a.hi < 0, -v, v)


def sinh(a: Wide) -> Wide:
    e = expm1(magnitude(a))
    v = pick(torch.isinf(e.hi), e, (e + e / (e + 1.0)).scaled(0.5))
    return pick(a.hi < 0, -v, v)


def cosh(a: Wide) -> Wide:
    e = exp(magnitude(a))
    return (e + 1.0 / e).scaled(0.5)


def tanh(a: Wide) -> Wide:
    e = expm1(_inside(magnitude(a), 0.0, 340.0).scaled(2.0))
    v = e / (e + 2.0)
    return pick(a.hi < 0, -v, v)


def asinh(a: Wide) -> Wide:
    size = magnitude(a)
    inner = _inside(size, 0.0, 1e140)
    z = square(inner)
    v = pick(size.hi > 1e100, log(size) + _named("log2", a.hi), log1p(inner + z / (sqrt(z + 1.0) + 1.0)))
    return pick(a.hi < 0, -v, v)


def sech2(a: Wide) -> Wide:
    t = exp(magnitude(a).scaled(-2.0))
    return t.scaled(4.0) / square(t + 1.0)


def logcosh(a: Wide) -> Wide:
    size = magnitude(a)
    near = log1p(square(sinh(_inside(size, 0.0, 1.0)))).scaled(0.5)
    far = size - _named("log2", a.hi) + log1p(exp(size.scaled(-2.0)))
    return pick(size.hi < 1.0, near, far)


@lru_cache(maxsize=1)
def _tanhshrink_terms() -> list[tuple[float, float]]:
    # tanh' = 1 - tanh^2 gives the coefficients of tanh by convolution; x - tanh x starts with x^3/3.
    c = [Fraction(1)]
    for k in range(1, 16):
        c.append(-sum((c[i] * c[k - 1 - i] for i in range(k)), Fraction(0)) / (2 * k + 1))
    with localcontext() as context:
        context.prec = 50
        return [split(-Decimal(v.numerator) / Decimal(v.denominator)) for v in c[1:]]


def tanhshrink(a: Wide) -> Wide:
    small = _inside(a, -0.06, 0.06)
    z = square(small)
    return pick(torch.abs(a.hi) < 0.06, _series(z, _tanhshrink_terms(), 5) * z * small, a - tanh(a))


def sigmoid(a: Wide) -> Wide:
    t = exp(-magnitude(a))
    return pick(a.hi < 0, t, wide(torch.ones_like(t.hi))) / (t + 1.0)


def softplus(a: Wide) -> Wide:
    rest = log1p(exp(-magnitude(a)))
    return pick(a.hi > 0, a + rest, rest)


@lru_cache(maxsize=1)
def _erf_terms() -> list[tuple[float, float]]:
    with localcontext() as context:
        context.prec = 50
        return [split(Decimal(2 * (-1) ** k) / (math.factorial(k) * (2 * k + 1))) for k in range(26)]


_STEP = Decimal("0.35")  # of the trapezoidal rule below: exp(-(pi/0.35)**2) = 1e-35 is its error


@lru_cache(maxsize=1)
def _erfc_weights() -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    with localcontext() as context:
        context.prec = 50
        places = [(k * _STEP) ** 2 for k in range(1, 26)]
        return [split((-p).exp()) for p in places], [split(p) for p in places]


def _erf_near(a: Wide) -> Wide:
    z = square(a)
    return _series(z, _erf_terms(), 10) * a * _named("rsqrt_pi", a.hi)


def _erfc_far(x: Wide) -> Wide:
    """erfc for x >= 0.7: the trapezoidal rule on ``(2 x/pi) exp(-x^2) int_0^inf exp(-t^2)/(t^2 + x^2) dt``, whose
    error is the residue at t = ix. Matta and Reichel 1971, "Uniform computation of the error function and other
    related functions"."""
    z = square(x)
    weights, places = _erfc_weights()
    table = torch.tensor([weights[:14], places[:14]], dtype=torch.float64, device=x.hi.device)
    total = 0.5 / z
    for w, p in zip(table[0], table[1]):
        total = total + Wide(w[0], w[1]) / (z + Wide(p[0], p[1]))
    rest = torch.zeros_like(x.hi)
    for w, p in zip(weights[14:], places[14:]):  # weights below 1e-11: one double is enough
        rest = rest + w[0] / (z.hi + p[0])
    h = constant(split(_STEP), x.hi)
    body = exp(-z) * (total + rest) * x * (h.scaled(2.0) / _named("pi", x.hi))
    # beyond x = pi/h = 8.98 the contour no longer passes the pole at t = ix
    residue = 2.0 / expm1(_inside(x, 0.7, 8.9) * _named("pi", x.hi).scaled(2.0) / h)
    return pick(x.hi < 8.9, body - residue, body)


def erfc(a: Wide) -> Wide:
    size = magnitude(a)
    far = _erfc_far(_inside(size, 0.7, 28.0))
    far = pick(a.hi < 0, 2.0 - far, far)
    return pick(size.hi < 0.7, 1.0 - _erf_near(_inside(a, -0.7, 0.7)), far)


def erf(a: Wide) -> Wide:
    size = magnitude(a)
    far = 1.0 - _erfc_far(_inside(size, 0.7, 28.0))
    return pick(size.hi < 0.7, _erf_near(_inside(a, -0.7, 0.7)), pick(a.hi < 0, -far, far))


def Phi(a: Wide) -> Wide:
    return erfc(-a * _named("sqrt_half", a.hi)).scaled(0.5)


def phi(a: Wide) -> Wide:
    return exp(square(_inside(a, -40.0, 40.0)).scaled(-0.5)) * _named("rsqrt_2pi", a.hi)


def softsign(a: Wide) -> Wide:
    return a / (magnitude(a) + 1.0)


def hypot1(a: Wide) -> Wide:
    size = magnitude(a)
    return pick(size.hi > 1e100, size, sqrt(square(_inside(size, 0.0, 1e100)) + 1.0))


def hypotm1(a: Wide) -> Wide:
    return a * (a / (hypot1(a) + 1.0))


def isru(a: Wide) -> Wide:
    return a / hypot1(a)


def sqp(a: Wide) -> Wide:
    sum_ = hypot1(a) + magnitude(a)
    return pick(a.hi < 0, 1.0 / sum_, sum_)


def sqp1(a: Wide) -> Wide:
    return sqp(a) / hypot1(a)


def tan(a: Wide) -> Wide:
    s, c = sin_cos(a)
    return s / c


def sinc(a: Wide, order: int = 0) -> Wide:
    """The derivative of ``sin(x)/x`` of that order: Taylor near 0, beyond by x s_n + n s_(n-1) = sin^(n)(x)."""
    edge = 1.0 + order
    small, first = _inside(a, -edge, edge), (order + 1) // 2
    with localcontext() as context:
        context.prec = 50
        terms = [
            split(
                Decimal((-1) ** k * math.factorial(2 * k)) / (math.factorial(2 * k - order) * math.factorial(2 * k + 1))
            )
            for k in range(first, first + 16 + 4 * order)
        ]
    near = _series(square(small), terms, 10 + 2 * order)
    near = near * small if order % 2 else near
    big = pick(torch.abs(a.hi) < edge, wide(torch.full_like(a.hi, edge)), a)
    s, c = sin_cos(big)
    turns = (s, c, -s, -c)
    value = s / big
    for n in range(1, order + 1):
        value = (turns[n % 4] - value * float(n)) / big
    return pick(torch.abs(a.hi) < edge, near, value)

"""What a primitive is where a language lacks it: a tree of simpler primitives that neither overflows nor cancels.

Each definition holds in float32 and in float64. Besides the rows of :data:`ogive.ops.OPS` the trees use ``eq``,
``isnan`` and ``isinf``, which every language has, and ``times``, a product in which an exact zero wins over an
overflow; ``near`` and ``limit`` stand at the ends of a formula that is indeterminate there. A printer asks for a
definition only when its language has no such function of its own, and prints it once however often it is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

from ogive.expr import Expr, const, var, where
from ogive.stable import _TANHSHRINK as TANHSHRINK

Definition = tuple[tuple[str, ...], Expr]

_a, _b, _x = var("a"), var("b"), var("x")
_zero, _one = const(0.0), const(1.0)


def _f(op: str, *args: Expr) -> Expr:
    return Expr(op, args)


def number(value: float) -> Expr:
    """A constant that may be infinite or NaN, as a formula's may not."""
    return Expr("const", (), value)


def horner(z: Expr, coefficients: Sequence[float]) -> Expr:
    """The polynomial with ``coefficients``, the highest first."""
    total = const(coefficients[0])
    for c in coefficients[1:]:
        total = Expr("add", (Expr("mul", (total, z)), const(c)))
    return total


_size = _f("abs", _x)
_square = _f("mul", _x, _x)


def _maximum() -> Expr:
    # a NaN fails both comparisons and is handed on by the sum
    return where(_a > _b, _a, where(_b >= _a, _b, _a + _b))


def _minimum() -> Expr:
    return where(_b > _a, _a, where(_a >= _b, _b, _a + _b))


def _nearest() -> Expr:
    # ties to even; a whole number as it is, for it may be infinite
    low = _f("floor", _x)
    rest = _x - low
    odd = low - 2.0 * _f("floor", 0.5 * low)
    tie = where(rest > 0.5, low + 1.0, low + odd)
    return where(_f("eq", low, _x), _x, where(const(0.5) > rest, low, tie))


def _times() -> Expr:
    return where(_f("eq", _a, _zero), _zero, where(_f("eq", _b, _zero), _zero, _f("mul", _a, _b)))


def _xlogy() -> Expr:
    return where(_f("isnan", _b), _b, where(_f("eq", _a, _zero), _zero, _f("mul", _a, _f("log", _b))))


def _power() -> Expr:
    # where the language's own power refuses a negative base: its sign by the parity of a whole exponent
    size = _f("power_of_positive", -_a, _b)
    half = 0.5 * _b
    even = where(_f("eq", _f("floor", half), half), size, -size)
    negative = where(_f("eq", _f("floor", _b), _b), even, number(math.nan))
    return where(_f("eq", _b, _zero), _one, where(_zero > _a, negative, _f("power_of_positive", _a, _b)))


def _expm1() -> Expr:
    # Taylor's series below 1/2, where e^x - 1 would cancel; 16 terms leave 1e-19
    small = horner(_x, [1.0 / math.factorial(k) for k in range(17, 1, -1)])
    return where(const(0.5) > _size, _x + _square * small, _f("exp", _x) - 1.0)


def _log1p() -> Expr:
    # 2 artanh(s) with s = x/(2 + x): for |x| < 0.4 s^2 is below 1/16 and 13 terms leave 1e-18
    s = _x / (_x + 2.0)
    z = s * s
    small = 2.0 * (s + s * (z * horner(z, [1.0 / (2 * k + 1) for k in range(13, 0, -1)])))
    return where(const(0.4) > _size, small, _f("log", 1.0 + _x))


def _tan() -> Expr:
    return _f("sin", _x) / _f("cos", _x)


def _atan() -> Expr:
    # arctan u = 2 arctan(u/(1 + sqrt(1 + u^2))), twice, for u = |x| or 1/|x|: the rest is below 0.2
    u = where(_size > 1.0, 1.0 / _size, _size)
    for _ in range(2):
        u = u / (1.0 + _f("sqrt", 1.0 + u * u))
    z = u * u
    angle = 4.0 * (u + u * (z * horner(z, [(-1.0) ** k / (2 * k + 1) for k in range(12, 0, -1)])))
    turned = where(_size > 1.0, math.pi / 2 - angle, angle)
    return where(_zero > _x, -turned, turned)


def _sinh() -> Expr:
    # e^|x| through its half, whose square overflows no sooner than sinh does
    m = _f("expm1", where(_size > 1.0, _one, _size))
    h = _f("exp", 0.5 * _size)
    value = where(_size > 1.0, _f("mul", 0.5 * h, h) - 0.5 / (h * h), 0.5 * (m + m / (m + 1.0)))
    return where(_zero > _x, -value, value)


def _cosh() -> Expr:
    h = _f("exp", 0.5 * _size)
    return _f("mul", 0.5 * h, h) + 0.5 / (h * h)


def _asinh() -> Expr:
    # sqrt(1 + a^2) - 1 keeps the digits of a small a; beyond 1e10 it is a to every digit
    small = _f("log1p", _size + _f("hypotm1", _size))
    value = where(_size > 1e10, _f("log", _size) + math.log(2.0), small)
    return where(_zero > _x, -value, value)


def _tanh() -> Expr:
    m = _f("expm1", -2.0 * _size)
    value = m / (m + 2.0)
    return where(_zero > _x, value, -value)


def _decay(rate: float = 1.0) -> Expr:
    return _f("exp", -rate * _size)


def _sigmoid() -> Expr:
    t = _decay()
    return where(_zero > _x, t, _one) / (1.0 + t)


def _sech2() -> Expr:
    t = _decay(2.0)
    return 4.0 * (t / ((1.0 + t) * (1.0 + t)))


def _softplus() -> Expr:
    return _f("maximum", _x, _zero) + _f("log1p", _decay())


def _logcosh() -> Expr:
    # below 1 half the logarithm of 1 + sinh^2, exact to first order at 0
    s = _f("sinh", where(_size > 1.0, _one, _size))
    large = _size - math.log(2.0) + _f("log1p", _decay(2.0))
    return where(const(1.0) > _size, 0.5 * _f("log1p", s * s), large)


def _tanhshrink() -> Expr:
    small = where(const(0.5) > _size, _x, const(0.5))
    z = small * small
    series = (horner(z, TANHSHRINK[::-1]) * z) * small
    return where(const(0.5) > _size, series, _x - _f("tanh", _x))


# erfc(z) e^(z^2) (1 + 2z) in t = (z - 3.75)/(z + 3.75), z on [0, 27.5]: the interpolation of kernels/triton_special,
# relative error 1.5e-17
_ERFC = (-2.3753040476186743e-09, -7.727235767979867e-10, 3.285190504744905e-08, 1.5728734708960965e-08,
         -2.527781196400794e-07, -4.7881952579250564e-08, 1.7483772448749153e-06, -9.80313074712996e-07,
         -1.1443182344738672e-05, 2.2387299147117716e-05, 5.1648995064347805e-05, -0.00029015496872975417,
         0.00029371364519794555, 0.001755626016319403, -0.009746579550129066, 0.02836227740070735,
         -0.05869339859060613, 0.09230432116150673, -0.10880393014169877, 0.08227673849011297,
         0.003585415485463536, -0.1402405985855467, 1.2375126308378275)  # fmt: skip


def _erfc() -> Expr:
    z = _f("minimum", _size, const(27.5))
    # z = head + rest with the square of head exact in float32 too: e^(-z^2) without the rounding of z^2
    head = 0.0625 * _f("floor", 16.0 * z)
    bell = _f("exp", -(head * head)) * _f("exp", -((z - head) * (z + head)))
    value = (horner((z - 3.75) / (z + 3.75), _ERFC) / (1.0 + 2.0 * z)) * bell
    return where(_zero > _x, 2.0 - value, value)


def _erf() -> Expr:
    # the alternating Taylor series below 1/2 (15 terms leave 1e-20), from there on 1 - erfc
    terms = [(-1.0) ** k / (math.factorial(k) * (2 * k + 1)) for k in range(14, -1, -1)]
    series = _x * (2.0 / math.sqrt(math.pi) * horner(_square, terms))
    tail = 1.0 - _f("erfc", _size)
    return where(const(0.5) > _size, series, where(_zero > _x, -tail, tail))


def _hypot1() -> Expr:
    inverse = 1.0 / _size
    large = _size * _f("sqrt", 1.0 + inverse * inverse)
    return where(_size > 1.0, large, _f("sqrt", 1.0 + _square))


def _sqp() -> Expr:
    # x + h and 1/(h - x) are one number; half of it, because h + |x| may not fit
    half = 0.5 * _f("hypot1", _x) + 0.5 * _size
    return where(_zero > _x, 0.5 / half, half + half)


def _sqp1() -> Expr:
    h = _f("hypot1", _x)
    return where(_x > 0.0, 1.0 + _size / h, (1.0 / (h + _size)) / h)


_UNARY: dict[str, Callable[[], Expr]] = {
    "sign": lambda: where(_x > 0.0, _one, where(_zero > _x, const(-1.0), _zero)),
    "round": _nearest, "expm1": _expm1, "log1p": _log1p, "tan": _tan, "atan": _atan, "sinh": _sinh, "cosh": _cosh,
    "tanh": _tanh, "asinh": _asinh, "sigmoid": _sigmoid, "sech2": _sech2, "softplus": _softplus,
    "logcosh": _logcosh, "tanhshrink": _tanhshrink, "erf": _erf, "erfc": _erfc, "hypot1": _hypot1, "sqp": _sqp,
    "sqp1": _sqp1,
    "Phi": lambda: 0.5 * _f("erfc", -math.sqrt(0.5) * _x),
    "phi": lambda: (1.0 / math.sqrt(2.0 * math.pi)) * _f("exp", -0.5 * _square),
    "softsign": lambda: _x / (1.0 + _size),
    "hypotm1": lambda: _x * (_x / (_f("hypot1", _x) + 1.0)),
    "isru": lambda: _x / _f("hypot1", _x),
}  # fmt: skip
_BINARY: dict[str, Callable[[], Expr]] = {
    "maximum": _maximum, "minimum": _minimum, "times": _times, "xlogy": _xlogy, "pow": _power,
}  # fmt: skip


def _sinc(order: int) -> Expr:
    # Taylor's series of the derivative within order + 2, beyond it x s_n + n s_(n-1) = sin^(n)(x)
    edge = 2.0 + order
    inside = const(edge) > _size
    parity = order % 2
    first = (order + parity) // 2
    near = where(inside, _x, const(edge))
    series = horner(near * near, [
        (-1) ** k * math.factorial(2 * k) / (math.factorial(2 * k - order) * math.factorial(2 * k + 1))
        for k in range(first + 18 + 2 * order, first - 1, -1)
    ])  # fmt: skip
    far = where(inside, const(edge), _x)
    s, c = _f("sin", far), _f("cos", far)
    turns = (s, c, -s, -c)
    value = s / far
    for n in range(1, order + 1):
        value = (turns[n % 4] - float(n) * value) / far
    return where(inside, series * near if parity else series, value)


def _near(op: str, digits: int) -> Expr:
    # an infinite input as a number far enough out to reach the limit of an indeterminate form
    far = 10.0**digits
    low = _x if op == "near_high" else where(_f("eq", _x, number(-math.inf)), const(-far), _x)
    return low if op == "near_low" else where(_f("eq", _x, number(math.inf)), const(far), low)


def _limit(digits: int) -> Expr:
    # out there a power law has passed 10^(digits/2) or its inverse: it is infinite or zero
    size = _f("abs", _b)
    small = where(const(10.0 ** -(digits / 2)) > size, Expr("mul", (const(0.0), _b)), _b)
    reached = where(size > 10.0 ** (digits / 2), Expr("mul", (number(math.inf), _b)), small)
    return where(_f("isinf", _a), reached, _b)


@lru_cache(maxsize=256)
def definition(op: str, data: int | None = None) -> Definition:
    """The arguments and the tree of a primitive; ``data`` is the order of a derivative of sinc,
    or how far out an infinite input is taken.

    >>> definition("sigmoid")[0], str(definition("softsign")[1])
    (('x',), 'x/(1 + abs(x))')
    """
    if op == "sinc":
        return ("x",), _sinc(int(data or 0))
    if op.startswith("near"):
        return ("x",), _near(op, int(data or 0))
    if op == "limit":
        return ("a", "b"), _limit(int(data or 0))
    if op in _BINARY:
        return ("a", "b"), _BINARY[op]()
    return ("x",), _UNARY[op]()

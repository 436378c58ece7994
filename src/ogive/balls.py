"""The primitives on Taylor series of rigorous error balls (python-flint's ``arb_series``).

These are the oracle: independent of the tensor code and of the symbolic derivatives, because a truncated
series carries its own derivatives. flint is imported by the caller; nothing here needs it at import time.
A choice that a ball cannot decide raises :class:`Undecided`; the caller then adds precision.
"""

from __future__ import annotations

from typing import Any


class Undecided(ArithmeticError):
    """A comparison whose two sides overlap at this precision."""


def _series(x: Any) -> Any:
    return type(x)


def _like(x: Any, coeffs: list[Any]) -> Any:
    return type(x)(coeffs, prec=max(x.prec, 1))


def head(x: Any) -> Any:
    """The constant term."""
    return x[0]


def constant(x: Any, value: Any) -> Any:
    """``value`` as a series as long as ``x``."""
    return _like(x, [value])


def _greater(a: Any, b: Any) -> bool:
    d = head(a) - head(b)
    if d > 0:
        return True
    if d <= 0:
        return False
    raise Undecided


def add(a: Any, b: Any) -> Any:
    return a + b


def sub(a: Any, b: Any) -> Any:
    return a - b


def mul(a: Any, b: Any) -> Any:
    return a * b


def div(a: Any, b: Any) -> Any:
    return a / b


def neg(a: Any) -> Any:
    return -a


def gt(a: Any, b: Any) -> bool:
    return _greater(a, b)


def ge(a: Any, b: Any) -> bool:
    return not _greater(b, a)


def where(cond: bool, a: Any, b: Any) -> Any:
    return a if cond else b


def maximum(a: Any, b: Any) -> Any:
    return a if _greater(a, b) else b


def minimum(a: Any, b: Any) -> Any:
    return a if _greater(b, a) else b


def _sign_of(a: Any) -> int:
    h = head(a)
    if h > 0:
        return 1
    if h < 0:
        return -1
    if h == 0:
        return 0
    raise Undecided


def abs_(a: Any) -> Any:
    s = _sign_of(a)
    return a * s  # at 0 the convention |x|' = 0


def sign(a: Any) -> Any:
    return constant(a, _sign_of(a))


def floor(a: Any) -> Any:
    value = head(a).floor()
    if not value.is_exact():
        raise Undecided
    return constant(a, value)


def round_(a: Any) -> Any:
    # Ties to even, as torch.round: floor(a + 1/2), less one where a + 1/2 is an odd integer.
    shifted = head(a) + 0.5
    low = shifted.floor()
    if not low.is_exact():
        raise Undecided
    if shifted == low and int(low.unique_fmpz()) % 2:
        low = low - 1
    return constant(a, low)


def power(a: Any, b: Any) -> Any:
    exponent = head(b)
    whole = exponent.unique_fmpz() if exponent.is_integer() and b.length() <= 1 else None
    if whole is not None and abs(int(whole)) <= 64:
        n = int(whole)
        result = constant(a, 1)
        for _ in range(abs(n)):
            result = result * a
        return result if n >= 0 else 1 / result
    if head(a) == 0:
        if exponent > 0:
            # Derivatives of x**p at 0 up to the length kept: 0 while the order is below p.
            if exponent < a.prec and a.length() > 1:
                raise ZeroDivisionError("a fractional power has no Taylor series at 0")
            return constant(a, 0)
        raise ZeroDivisionError("a non-positive power of zero")
    return (b * a.log()).exp()


def xlogy(a: Any, b: Any) -> Any:
    return constant(a, 0) if head(a) == 0 else a * b.log()


def sqrt(a: Any) -> Any:
    return a.sqrt()


def exp(a: Any) -> Any:
    return a.exp()


def expm1(a: Any) -> Any:
    return a.exp() - 1


def log(a: Any) -> Any:
    return a.log()


def log1p(a: Any) -> Any:
    return (1 + a).log()


def sin(a: Any) -> Any:
    return a.sin()


def cos(a: Any) -> Any:
    return a.cos()


def tan(a: Any) -> Any:
    return a.sin() / a.cos()


def atan(a: Any) -> Any:
    return a.atan()


def sinh(a: Any) -> Any:
    return (a.exp() - (-a).exp()) / 2


def cosh(a: Any) -> Any:
    return (a.exp() + (-a).exp()) / 2


def _folded(a: Any) -> tuple[Any, bool]:
    """``exp(-2|a|)`` for the side the constant term is on, and whether that side is negative."""
    below = head(a) < 0
    return ((a if below else -a) * 2).exp(), bool(below)


def tanh(a: Any) -> Any:
    t, below = _folded(a)
    value = (1 - t) / (1 + t)
    return -value if below else value


def sech2(a: Any) -> Any:
    t, _ = _folded(a)
    u = 1 + t
    return 4 * t / (u * u)


def asinh(a: Any) -> Any:
    if head(a) < 0:
        return -asinh(-a)
    return (a + (1 + a * a).sqrt()).log()


def logcosh(a: Any) -> Any:
    t, below = _folded(a)
    return (-a if below else a) + (1 + t).log() - constant(a, 2).log()


def tanhshrink(a: Any) -> Any:
    return a - tanh(a)


def sigmoid(a: Any) -> Any:
    if head(a) < 0:
        t = a.exp()
        return t / (1 + t)
    return 1 / (1 + (-a).exp())


def softplus(a: Any) -> Any:
    if head(a) > 0:
        return a + (1 + (-a).exp()).log()
    return (1 + a.exp()).log()


def erf(a: Any) -> Any:
    return a.erf()


def erfc(a: Any) -> Any:
    return a.erfc()


def Phi(a: Any) -> Any:
    return (-a / constant(a, 2).sqrt()).erfc() / 2


def phi(a: Any) -> Any:
    two_pi = constant(a, head(a).pi() * 2)
    return (-(a * a) / 2).exp() / two_pi.sqrt()


def softsign(a: Any) -> Any:
    return a / (1 + abs_(a))


def hypot1(a: Any) -> Any:
    return (1 + a * a).sqrt()


def hypotm1(a: Any) -> Any:
    return hypot1(a) - 1


def isru(a: Any) -> Any:
    return a / hypot1(a)


def sqp(a: Any) -> Any:
    return 1 / (hypot1(a) - a) if head(a) < 0 else a + hypot1(a)


def sqp1(a: Any) -> Any:
    return sqp(a) / hypot1(a)


def sinc(a: Any, order: int = 0) -> Any:
    c, length = head(a), max(a.prec, 1)
    long = length + order
    kind = type(a)
    if c == 0:
        taylor = kind([0 if k % 2 else (-1) ** (k // 2) / _factorial(a, k + 1) for k in range(long)], prec=long)
    else:
        t = kind([c, 1], prec=long)
        taylor = t.sin() / t
    for _ in range(order):
        taylor = taylor.derivative()
    step = a - c
    result = constant(a, taylor[length - 1])
    for k in range(length - 2, -1, -1):
        result = result * step + taylor[k]
    return result


def _factorial(a: Any, n: int) -> Any:
    one = head(a) * 0 + 1
    for k in range(2, n + 1):
        one = one * k
    return one

"""Numbers of twice the precision: the unevaluated sum of two doubles, on tensors.

A sum and a product of doubles are known exactly as two doubles (Knuth 1969; Dekker 1971), so some 100 bits are had
from ordinary tensor operations on any device that has float64. Series keep two doubles only in the terms that need
them: results are good to about 2**-72, which is what an inverse correct to the last bit of a double asks for.
Near overflow, and below 1e-290, the second double is lost and plain double precision remains.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from functools import lru_cache
from typing import Union

import torch
from torch import Tensor

Number = Union["Wide", Tensor, float]
_SPLIT = 134217729.0  # 2**27 + 1: cuts a double into two of 26 bits


class Wide:
    """``hi + lo`` with \\|lo\\| at most half a unit in the last place of ``hi``."""

    __slots__ = ("hi", "lo")

    def __init__(self, hi: Tensor, lo: Tensor) -> None:
        self.hi, self.lo = hi, lo

    def __add__(self, other: Number) -> Wide:
        if isinstance(other, (Tensor, float)):
            s, e = two_sum(self.hi, _tensor(other, self.hi))
            return quick(s, e + self.lo)
        s, e = two_sum(self.hi, other.hi)
        t, f = two_sum(self.lo, other.lo)
        s, e = two_sum(s, e + t)
        return quick(s, e + f)

    __radd__ = __add__

    def __neg__(self) -> Wide:
        return Wide(-self.hi, -self.lo)

    def __sub__(self, other: Number) -> Wide:
        return self + (-other)

    def __rsub__(self, other: Number) -> Wide:
        return (-self) + other

    def __mul__(self, other: Number) -> Wide:
        if isinstance(other, (Tensor, float)):
            b = _tensor(other, self.hi)
            p, e = two_product(self.hi, b)
            return quick(p, e + self.lo * b)
        p, e = two_product(self.hi, other.hi)
        return quick(p, e + (self.hi * other.lo + self.lo * other.hi))

    __rmul__ = __mul__

    def __truediv__(self, other: Number) -> Wide:
        d = other if isinstance(other, Wide) else wide(_tensor(other, self.hi))
        q = self.hi / d.hi
        r = self - d * q
        again = r.hi / d.hi
        return quick(q, again + (r - d * again).hi / d.hi)

    def __rtruediv__(self, other: Tensor | float) -> Wide:
        return wide(_tensor(other, self.hi)) / self

    def scaled(self, by: float | Tensor) -> Wide:
        """Times a power of two, exactly."""
        return Wide(self.hi * by, self.lo * by)

    def below(self, other: Wide) -> Tensor:
        """Where ``self < other``."""
        return (self.hi < other.hi) | ((self.hi == other.hi) & (self.lo < other.lo))


def _tensor(value: Tensor | float, like: Tensor) -> Tensor:
    return value if isinstance(value, Tensor) else torch.full_like(like, value)


def wide(value: Tensor) -> Wide:
    """A double as it is."""
    return Wide(value, torch.zeros_like(value))


def two_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """``a + b`` and what it rounds away, exactly."""
    s = a + b
    c = s - a
    return s, _kept((a - (s - c)) + (b - c))


def two_product(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """``a * b`` and what it rounds away."""
    p = a * b
    t, u = a * _SPLIT, b * _SPLIT
    ah, bh = t - (t - a), u - (u - b)
    al, bl = a - ah, b - bh
    return p, _kept(((ah * bh - p) + ah * bl + al * bh) + al * bl)


def _kept(error: Tensor) -> Tensor:
    # An overflow on the way leaves inf - inf: the value then stands without its second half.
    return error.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)


def quick(hi: Tensor, lo: Tensor) -> Wide:
    """``hi + lo`` where hi is the larger, as a :class:`Wide`."""
    s = hi + lo
    return Wide(s, _kept(lo - (s - hi)))


def pick(where: Tensor, a: Wide, b: Wide) -> Wide:
    """``a`` where it is so, else ``b``."""
    return Wide(torch.where(where, a.hi, b.hi), torch.where(where, a.lo, b.lo))


def magnitude(a: Wide) -> Wide:
    """``|a|``."""
    return pick(a.hi < 0, -a, a)


def split(value: Decimal) -> tuple[float, float]:
    """A decimal as two doubles."""
    hi = float(value)
    return hi, float(value - Decimal(hi))


def constant(pair: tuple[float, float], like: Tensor) -> Wide:
    """Two doubles as a number that broadcasts against ``like``."""
    return Wide(*(torch.tensor(v, dtype=torch.float64, device=like.device) for v in pair))


@lru_cache(maxsize=1)
def constants() -> dict[str, tuple[float, float]]:
    """log 2, pi, 1/sqrt(pi), sqrt(2) and 1/sqrt(2 pi) as two doubles each; ``half_pi_rest`` is what pi/2 leaves."""
    with localcontext() as context:
        context.prec = 70
        # Machin: pi/4 = 4 atan(1/5) - atan(1/239)
        pi = 4 * (4 * _atan_inverse(5) - _atan_inverse(239))
        half = split(pi / 2)
        return {
            "log2": split(Decimal(2).ln()), "half_pi": half,
            "half_pi_rest": split(pi / 2 - Decimal(half[0]) - Decimal(half[1])),
            "rsqrt_pi": split(1 / pi.sqrt()), "sqrt_half": split(Decimal("0.5").sqrt()),
            "rsqrt_2pi": split(1 / (2 * pi).sqrt()), "pi": split(pi),
        }  # fmt: skip


def _atan_inverse(n: int) -> Decimal:
    total, power, k = Decimal(0), Decimal(1) / n, 0
    while abs(power) > Decimal("1e-68"):
        total += power / (2 * k + 1) * (-1) ** k
        power /= n * n
        k += 1
    return total

"""Tensor evaluation of the primitives torch lacks or has only in a form that cancels, overflows or is slow.

Relative accuracy is a few units in the last place over the whole range of the dtype they are called in.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

_SQRT_HALF = math.sqrt(0.5)
_RSQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)
_LOG2 = math.log(2.0)


def mul_saturated(a: Any, b: Any) -> Any:
    """``a * b`` where an exact zero wins over an overflow: exp(x) * sech2(exp(x)) is 0 at x = 1000."""
    product = torch.mul(a, b)
    return torch.where(torch.logical_or(torch.eq(_tensor(a, product), 0), torch.eq(_tensor(b, product), 0)),
                       torch.zeros((), dtype=product.dtype, device=product.device), product)  # fmt: skip


def _tensor(a: Any, like: Tensor) -> Tensor:
    return a if isinstance(a, Tensor) else torch.as_tensor(a, dtype=like.dtype, device=like.device)


def div(a: Any, b: Any) -> Tensor:
    return torch.reciprocal(b) if not isinstance(a, Tensor) and a == 1.0 else torch.true_divide(*_pair(a, b))


def _pair(a: Any, b: Any) -> tuple[Any, Any]:
    # torch.true_divide and where want a tensor first
    return (a, b) if isinstance(a, Tensor) else (torch.as_tensor(a, dtype=b.dtype, device=b.device), b)


def power(a: Any, b: Any) -> Tensor:
    if not isinstance(b, Tensor):
        if b == 2.0:
            return torch.mul(a, a)
        if b == 3.0:
            return torch.mul(torch.mul(a, a), a)
        if b == -1.0:
            return torch.reciprocal(a)
        if b == -2.0:
            return torch.reciprocal(torch.mul(a, a))
        if b == -3.0:
            return torch.reciprocal(torch.mul(torch.mul(a, a), a))
        if b == -0.5:  # torch takes 1/sqrt, which is -inf at -0 where the power is inf
            return torch.rsqrt(torch.add(a, 0.0))
    return torch.pow(a, b)


def xlogy(a: Any, b: Any) -> Tensor:
    return torch.xlogy(a, b)


def maximum(a: Any, b: Any) -> Tensor:
    if not isinstance(b, Tensor):
        return torch.clamp_min(a, b)
    return torch.clamp_min(b, a) if not isinstance(a, Tensor) else torch.maximum(*_same(a, b))


def minimum(a: Any, b: Any) -> Tensor:
    if not isinstance(b, Tensor):
        return torch.clamp_max(a, b)
    return torch.clamp_max(b, a) if not isinstance(a, Tensor) else torch.minimum(*_same(a, b))


def _same(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    # A 0-d parameter takes the dtype of the data, as it does under arithmetic.
    dtype = torch.result_type(a, b)
    return a.to(dtype), b.to(dtype)


_BITS = {torch.float32: torch.int32, torch.float16: torch.int16, torch.bfloat16: torch.int16}


def where(cond: Tensor | bool, a: Any, b: Any) -> Any:
    if isinstance(cond, bool):  # between numbers: a parameter's value decides
        return a if cond else b
    # torch.where branches on every element of a CPU tensor, 3.9 ns each when the condition is random: relu's
    # backward at 1e6 float32 elements took 25 times torch's. Choosing among the bits takes 0.6 ns; it loses on
    # small tensors and in float64, and a traced graph must not depend on the size.
    plain = isinstance(a, Tensor) and isinstance(b, Tensor) and cond.device.type == "cpu" and a.dtype == b.dtype
    if (
        plain
        and not torch._C._len_torch_dispatch_stack()
        and cond.numel() >= 65_536
        and a.dtype in _BITS
        and cond.numel() == max(a.numel(), b.numel())
        and not (torch.is_grad_enabled() and (a.requires_grad or b.requires_grad))  # bits carry no gradient
    ):
        bits = _BITS[a.dtype]
        mask, other = cond.to(bits).neg_(), b.view(bits)
        return torch.bitwise_xor(a.view(bits), other).bitwise_and_(mask).bitwise_xor_(other).view(a.dtype)
    return torch.where(cond, a, b)


def sech2(x: Tensor) -> Tensor:
    # With t = exp(-2|x|) in (0, 1]: sech^2 = 4t/(1+t)^2, no overflow and full relative accuracy in the tail.
    t = torch.exp(torch.abs(x) * -2.0)
    u = t + 1.0
    return 4.0 * t / (u * u)


def softplus(x: Tensor) -> Tensor:
    # max(x, 0) + log1p(exp(-|x|)); torch's own switches to x at 20, an error of 2500 ulp in float64.
    return torch.clamp_min(x, 0.0) + torch.log1p(torch.exp(-torch.abs(x)))


def logcosh(x: Tensor) -> Tensor:
    # Below 1: half log1p(sinh^2), exact to first order at 0. Above: |x| - log 2 + log1p(exp(-2|x|)).
    a = torch.abs(x)
    s = torch.sinh(torch.clamp_max(a, 1.0))
    return torch.where(a < 1.0, 0.5 * torch.log1p(s * s), a - _LOG2 + torch.log1p(torch.exp(-2.0 * a)))


def Phi(x: Tensor) -> Tensor:
    return 0.5 * torch.erfc(x * -_SQRT_HALF)


def phi(x: Tensor) -> Tensor:
    return _RSQRT_2PI * torch.exp(-0.5 * (x * x))


def softsign(x: Tensor) -> Tensor:
    return x / (1.0 + torch.abs(x))


def hypot1(x: Tensor) -> Tensor:
    return torch.hypot(x, torch.ones((), dtype=x.dtype, device=x.device))


def hypotm1(x: Tensor) -> Tensor:
    h = hypot1(x)
    return x * (x / (h + 1.0))


def isru(x: Tensor) -> Tensor:
    return x / hypot1(x)


def sqp(x: Tensor) -> Tensor:
    # x + h and 1/(h - x) are the same number; each is taken where it adds magnitudes.
    # Half of it, because the sum of two numbers near the largest would not fit.
    half = 0.5 * hypot1(x) + 0.5 * torch.abs(x)
    return torch.where(x < 0.0, 0.5 / half, half + half)


def sqp1(x: Tensor) -> Tensor:
    return sqp(x) / hypot1(x)


def _tanh_taylor(terms: int) -> list[float]:
    # tanh' = 1 - tanh^2 gives the coefficients c_k of x^(2k+1) exactly by convolution.
    c = [Fraction(1)]
    for k in range(1, terms):
        c.append(-sum((c[i] * c[k - 1 - i] for i in range(k)), Fraction(0)) / (2 * k + 1))
    return [float(v) for v in c]


_TANHSHRINK = [-c for c in _tanh_taylor(22)[1:]]


def tanhshrink(x: Tensor) -> Tensor:
    # Below 1/2 the Taylor series of x - tanh x (radius pi/2; 21 terms leave 1e-21), above it the difference.
    small = torch.clamp(x, -0.5, 0.5)
    t = small * small
    poly = torch.full_like(t, _TANHSHRINK[-1])
    for c in reversed(_TANHSHRINK[:-1]):
        poly = poly * t + c
    return torch.where(torch.abs(x) < 0.5, poly * t * small, x - torch.tanh(x))


def sinc(x: Tensor, order: int = 0) -> Tensor:
    # Derivatives of sin(x)/x. Near 0 the Taylor series of the n-th derivative; beyond, the recurrence
    # x s_n + n s_{n-1} = sin^(n)(x), which is forward stable once |x| > n.
    edge = 2.0 + order
    small = torch.clamp(x, -edge, edge)
    t = small * small
    parity = order % 2
    first = (order + parity) // 2
    poly = torch.zeros_like(t)
    for k in range(first + 18 + 2 * order, first - 1, -1):
        c = (-1) ** k * math.factorial(2 * k) / (math.factorial(2 * k - order) * math.factorial(2 * k + 1))
        poly = poly * t + c
    poly = poly * small if parity else poly
    big = torch.where(torch.abs(x) < edge, torch.full_like(x, edge), x)
    s, c_ = torch.sin(big), torch.cos(big)
    turns = (s, c_, -s, -c_)
    value = s / big
    for n in range(1, order + 1):
        value = (turns[n % 4] - n * value) / big
    return torch.where(torch.abs(x) < edge, poly, value)

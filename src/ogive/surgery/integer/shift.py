"""Exponential, softmax and x*sigmoid(b x) of integers by shifts and additions, as I-ViT computes them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ogive.errors import InputError, ParameterError

_REACH = 15  # powers of two that the exponential goes down before it is held at its least value
_GATE_REACH = 23  # of a sigmoid, which divides two small ones: a limit of 8 takes 11.5 of them
_FRACTION = 4  # bits behind the point of the factor that b is taken as: 1.702 is 27/16


def unit(scale: float) -> int:
    """How many steps of the input make 1, the integer that stands for 1. Raises ParameterError for a coarser scale."""
    if not 0.0 < scale <= 1.0:
        raise ParameterError(f"scale={scale!r}; shift forms take a step over 0 and at most 1")
    return math.floor(1.0 / scale)


def whole(q: Tensor, what: str) -> Tensor:
    """The integers as int64. Raises InputError for a floating tensor."""
    if q.is_floating_point() or q.is_complex() or q.dtype == torch.bool:
        raise InputError(f"{what} takes integers; got {q.dtype}")
    return q.to(torch.int64)


def shift_exp(q: Tensor, scale: float, reach: int = _REACH) -> tuple[Tensor, float]:
    """``exp(scale q)`` for integers ``q <= 0``: integers and their scale.

    With t = q + (q >> 1) - (q >> 4), near q log2(e), and n = floor(1/scale) steps to 1, t = -k n + r and
    2^(t/n) = 2^-k 2^(r/n), where 2^u for u in (-1, 0] is taken as 1 + u/2: the result is
    ``((r >> 1) + n) << (reach - k)``. Below ``-reach`` powers of two it stays at its least value. The largest relative
    error of the formula is 6.2 % (the chord, at u = -0.47) and 0.36 % of the exponent.

    Source: Li and Gu 2023, I-ViT: Integer-only Quantization for Efficient Vision Transformer Inference, algorithm 1.

    >>> q, s = shift_exp(torch.tensor([0, -16, -64]), 1 / 16)
    >>> q.tolist(), [round(v, 3) for v in (q * s).tolist()]
    ([524288, 196608, 10240], [1.0, 0.375, 0.02])
    """
    n = unit(scale)
    t = whole(q, "shift_exp")
    t = t + (t >> 1) - (t >> 4)
    t = t.clamp(-reach * n, 0)
    k = torch.div(-t, n, rounding_mode="floor")
    r = t + k * n
    return ((r >> 1) + n) << (reach - k), 1.0 / (n << reach)


def shift_softmax(q: Tensor, scale: float, bits: int = 8, dim: int = -1) -> tuple[Tensor, float]:
    """Softmax of integers along ``dim``: integers from 0 to ``2**bits - 1`` and their scale ``2**-bits``.

    The exponentials of :func:`shift_exp` after subtracting the largest, divided by their sum as
    ``e * floor(2^62 / sum) >> (62 - bits)``.

    >>> q, s = shift_softmax(torch.tensor([32, 16, 0]), 1 / 16)
    >>> (q * s).tolist()  # of 2, 1, 0: 0.665, 0.245, 0.090
    [0.65625, 0.24609375, 0.08984375]
    """
    x = whole(q, "shift_softmax")
    e, _ = shift_exp(x - x.amax(dim, keepdim=True), scale)
    return ratio(e, e.sum(dim, keepdim=True), bits), 2.0**-bits


def ratio(part: Tensor, of: Tensor, bits: int) -> Tensor:
    """``part / of`` in units of ``2**-bits``, for ``0 <= part <= of``: one integer division an ``of``."""
    shift = 62
    return ((part * torch.div(1 << shift, of, rounding_mode="floor")) >> (shift - bits)).clamp(max=(1 << bits) - 1)


def shift_gate(
    q: Tensor, scale: float, beta: float = 1.702, bits: int = 8, lam: float | None = None
) -> tuple[Tensor, float]:
    """``x sigmoid(beta x)`` of integers: ShiftGELU at beta 1.702, ShiftSiLU at 1; integers and their scale.

    The sigmoid is ``exp(t - m) / (exp(t - m) + exp(-m))`` with t = beta x (beta in sixteenths) and m the largest t of
    the row, at least 0, so that no exponent is positive. Where m is large both exponentials of an ordinary value fall
    under the reach of :func:`shift_exp` and their ratio is lost: one outlier of a long-tailed row makes every sigmoid
    in it 1/2. ``lam`` holds m and t at ``lam`` at most, where sigmoid is 1 to within exp(-lam): the tail keeps its
    x and the others keep their sigmoid.

    Args:
        q: integers; rows along the last dimension.
        scale: what one of them is worth, at most 1/2.
        beta: the slope of the sigmoid.
        bits: of the sigmoid.
        lam: the largest exponent, or None for none, as in I-ViT; 5 to 8 is
            sensible (the reach here is 23 powers of two).

    Source: ShiftGELU of Li and Gu 2023 (I-ViT), algorithm 2. The limit is our reading of lambda-ShiftGELU (I-Segmenter,
    arXiv:2509.10334, whose abstract names it for long-tailed activations; its formula was not at hand).

    >>> row = torch.tensor([-16, 16, 640])  # -1, 1, 40
    >>> for lam in (None, 8.0):
    ...     y, s = shift_gate(row, 1 / 16, lam=lam)
    ...     print([round(v, 2) for v in (y * s).tolist()])
    [-0.5, 0.5, 39.84]
    [-0.14, 0.83, 39.84]
    """
    x = whole(q, "shift_gate")
    factor = round(beta * (1 << _FRACTION))
    if factor < 1:
        raise ParameterError(f"beta={beta!r}; shift_gate takes 1/32 and more")
    t = (x * factor) >> _FRACTION
    if lam is not None:
        if not lam > 0.0:
            raise ParameterError(f"lam={lam!r}; the largest exponent is over 0")
        t = t.clamp(max=math.floor(lam / scale))
    m = t.amax(-1, keepdim=True).clamp(min=0) if t.dim() and t.numel() else t.clamp(min=0)
    part, _ = shift_exp(t - m, scale, _GATE_REACH)
    rest, _ = shift_exp(-m, scale, _GATE_REACH)
    return x * ratio(part, part + rest, bits), scale * 2.0**-bits

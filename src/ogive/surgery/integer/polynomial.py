"""Exponential, softmax and x*Phi(b x) of integers by polynomials of degree two, as I-BERT computes them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ogive.errors import ParameterError
from ogive.surgery.integer.shift import ratio, whole

# exp(p) = a (p + b)^2 + c on (-ln 2, 0]; erf(x) = sign(x) (a (min(|x|, -b) + b)^2 + c). Kim et al. 2021, I-BERT:
# Integer-only BERT Quantization, equations 13 and 8 (https://arxiv.org/abs/2101.01321).
_EXP = (0.3585, 1.353, 0.344)
_ERF = (-0.2888, -1.769, 1.0)
_REACH = 20  # halvings of the exponential that keep their bits


def integer_square(q: Tensor, scale: float, a: float, b: float, c: float) -> tuple[Tensor, float]:
    """``a (x + b)^2 + c`` for ``x = scale q``: ``(q + floor(b/scale))^2 + floor(c/(a scale^2))`` and ``a scale^2``."""
    out = a * scale * scale
    return (q + math.floor(b / scale)) ** 2 + math.floor(c / out), out


def polynomial_exp(q: Tensor, scale: float) -> tuple[Tensor, float]:
    """``exp(scale q)`` for integers ``q <= 0``: a parabola on (-ln 2, 0], halved as often as ln 2 fits.

    >>> q, s = polynomial_exp(torch.tensor([0, -64, -256]), 1 / 64)
    >>> [round(v, 4) for v in (q * s).tolist()]  # 1, 0.3679, 0.0183
    [0.9913, 0.3626, 0.0176]
    """
    steps = math.floor(math.log(2.0) / scale) if scale > 0.0 else 0
    if steps < 1:
        raise ParameterError(f"scale={scale!r}; the polynomial exponential takes a step over 0 and at most ln 2")
    x = whole(q, "polynomial_exp").clamp(max=0)
    halvings = torch.div(-x, steps, rounding_mode="floor")
    part, out = integer_square(x + halvings * steps, scale, *_EXP)
    return (part << _REACH) >> halvings.clamp(max=62), out * 2.0**-_REACH


def polynomial_softmax(q: Tensor, scale: float, bits: int = 8, dim: int = -1) -> tuple[Tensor, float]:
    """Softmax of integers along ``dim`` with :func:`polynomial_exp`: integers of scale ``2**-bits``.

    >>> q, s = polynomial_softmax(torch.tensor([128, 64, 0]), 1 / 64)
    >>> (q * s).tolist()  # of 2, 1, 0: 0.665, 0.245, 0.090
    [0.6640625, 0.2421875, 0.0859375]
    """
    x = whole(q, "polynomial_softmax")
    e, _ = polynomial_exp(x - x.amax(dim, keepdim=True), scale)
    return ratio(e, e.sum(dim, keepdim=True), bits), 2.0**-bits


def polynomial_gate(q: Tensor, scale: float, beta: float = 1.0) -> tuple[Tensor, float]:
    """``x Phi(beta x)`` of integers, GELU at beta 1: ``q (erf + 1) / 2`` with erf a clipped parabola.

    Within 0.0182 of GELU at fine scales (the parabola's own error); returns integers and their scale.

    Source: Kim et al. 2021, I-BERT: Integer-only BERT Quantization, algorithm 2.

    >>> q, s = polynomial_gate(torch.tensor([-64, 64, 192]), 1 / 64)
    >>> [round(v, 3) for v in (q * s).tolist()]  # -0.159, 0.841, 2.996
    [-0.166, 0.834, 3.0]
    """
    if not (scale > 0.0 and beta > 0.0):
        raise ParameterError(f"scale={scale!r}, beta={beta!r}; both are over 0")
    x = whole(q, "polynomial_gate")
    inner = scale * beta / math.sqrt(2.0)
    a, b, c = _ERF
    held = x.abs().clamp(max=math.floor(-b / inner))
    part, out = integer_square(held, inner, a, b, c)
    erf = x.sign() * part
    return -x * (erf + math.floor(1.0 / out)), -scale * out / 2.0

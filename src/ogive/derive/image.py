"""The exact image of intervals: f([lo, hi]), element by element."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ogive.derive.lines.outline import Box, Outline, Turn, outline
from ogive.derive.lines.rounding import EPS, up
from ogive.derive.lines.unproved import greatest
from ogive.errors import InputError

BLOCK = 16384  # elements at a time: what a step needs then stays in the cache


def image(spec: Any, lo: Tensor, hi: Tensor, **params: float) -> tuple[Tensor, Tensor]:
    """The image of every interval, ``min f`` and ``max f`` over ``[lo, hi]``, rounded outward.

    ``spec`` is a name, a formula, an Activation or an ``ogive.Act`` of one input, ``params`` are numbers that replace
    defaults. ``lo <= hi`` are float32 or float64 tensors that broadcast; infinite ends are allowed (the image then
    encloses the limits). The two results have their dtype and shape. An interval that holds a pole has an infinite
    image, a NaN end a NaN image. The gradient by an end that the extreme is taken at is f' there, otherwise zero.

    Both results are the true extremes up to the allowance for float64 code (:mod:`ogive.derive.lines.rounding`:
    relative 1.4e-14) and one rounding to the dtype, both outward. Raises :class:`~ogive.errors.InputError` for tensors
    of other dtypes or where ``lo > hi``. A declared surrogate backward is not followed: this is the function.

    >>> import torch
    >>> low, high = image("silu", torch.tensor([-4.0, 0.0]), torch.tensor([-0.5, 1.0]))
    >>> [f"{v:.6f}" for v in low.tolist()], [f"{v:.6f}" for v in high.tolist()]
    (['-0.278465', '-0.000000'], ['-0.071945', '0.731059'])
    """
    shape = outline(spec, "the image", params, lo.device if isinstance(lo, Tensor) else torch.device("cpu"))
    lo, hi = pair(shape.label, lo, hi)
    low, high, at_low, at_high = blockwise(lambda l, u: extremes(shape, l, u), lo, hi)
    dtype = lo.dtype
    low, high = -up(-low, dtype), up(high, dtype)
    if lo.requires_grad or hi.requires_grad:
        low, high = (steered(y, at.to(dtype), shape, lo, hi) for y, at in ((low, at_low), (high, at_high)))
    return low, high


def pair(label: str, lo: Any, hi: Any) -> tuple[Tensor, Tensor]:
    """``lo`` and ``hi`` broadcast together, checked. Raises :class:`~ogive.errors.InputError`."""
    for name, t in (("lo", lo), ("hi", hi)):
        if not isinstance(t, Tensor) or t.dtype not in (torch.float32, torch.float64):
            got = t.dtype if isinstance(t, Tensor) else type(t).__name__
            raise InputError(f"bounds of {label}: {name} is {got}; it takes a float32 or float64 tensor")
    if lo.dtype != hi.dtype:
        raise InputError(f"bounds of {label}: lo is {lo.dtype} and hi is {hi.dtype}; they take one dtype")
    lo, hi = torch.broadcast_tensors(lo, hi)
    wrong = lo.detach() > hi.detach()
    if bool(wrong.any()):
        i = int(wrong.flatten().nonzero()[0])
        a, b = float(lo.flatten()[i]), float(hi.flatten()[i])
        raise InputError(f"bounds of {label}: lo = {a!r} is above hi = {b!r} at element {i}; intervals have lo <= hi")
    return lo, hi


def blockwise(run: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
    """``run`` on blocks of the flattened tensors in float64, without gradients; its results in their shape."""
    with torch.no_grad():
        flat = [t.detach().reshape(-1) for t in tensors]
        parts = [run(*(t[i : i + BLOCK].double() for t in flat)) for i in range(0, max(len(flat[0]), 1), BLOCK)]
        return tuple(torch.cat(made).reshape(tensors[0].shape) for made in zip(*parts))


def extremes(shape: Outline, l: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The ends of the images of ``[l, u]`` in float64, and where they are taken: -1 at l, 1 at u, 0 elsewhere."""
    low_l, high_l = shape.values(l)
    low_u, high_u = shape.values(u)
    low, high = low_l, high_l
    at_low, at_high = (torch.where(c, 1.0, -1.0) for c in (low_u < low, high_u > high))
    low, high = torch.fmin(low, low_u), torch.fmax(high, high_u)
    point = l == u
    for move in shape.moves(l, u):
        for box in shape.turns:
            a, b, least, most = moved(box, move)
            inside = (l <= b) & (u >= a) & ~point
            if move is not None:
                inside &= move.only
            if not bool(inside.any()):
                continue
            lower, higher = inside & ~(low <= least), inside & ~(high >= most)
            low, high = torch.where(lower, least, low), torch.where(higher, most, high)
            at_low, at_high = at_low.masked_fill(lower, 0.0), at_high.masked_fill(higher, 0.0)
    for box in shape.lost:
        index = ((l <= box.hi) & (u >= box.lo) & ~point).nonzero().squeeze(1)
        if len(index):
            p, q = l.index_select(0, index).clamp_(min=box.lo), u.index_select(0, index).clamp_(max=box.hi)
            low[index] = torch.fmin(low[index], (-greatest(shape.enclosure, -1, p, q)).clamp_(min=box.low))
            high[index] = torch.fmax(high[index], greatest(shape.enclosure, 1, p, q).clamp_(max=box.high))
    lost = torch.isnan(l) | torch.isnan(u)
    # of the others, an end without a value: a pole, or outside the domain, whose border the rows do not show
    nowhere = lost | torch.isnan(low_l) | torch.isnan(low_u) | torch.isnan(low) | torch.isnan(high)
    if bool(nowhere.any()):
        low = torch.where(nowhere, torch.where(lost, math.nan, -math.inf), low)
        high = torch.where(nowhere, torch.where(lost, math.nan, math.inf), high)
    return low, high, at_low, at_high


def moved(box: Box, move: Turn | None) -> tuple[Any, Any, Any, Any]:
    """``box`` moved by whole periods: its ends and what it encloses, both outward."""
    if move is None:
        return box.lo, box.hi, box.low, box.high
    more = move.blur * (2.0 * box.steep) + 4.0 * EPS * move.rise.abs()
    return (
        box.lo + move.shift - move.blur, box.hi + move.shift + move.blur,
        box.low + move.rise - more, box.high + move.rise + more,
    )  # fmt: skip


def steered(y: Tensor, at: Tensor, shape: Outline, lo: Tensor, hi: Tensor) -> Tensor:
    """``y`` with the gradient f' by the end that it is taken at (``at`` -1: lo, 1: hi)."""
    for end, side in ((lo, -1.0), (hi, 1.0)):
        x = end.detach().double().reshape(-1)
        slope = torch.nan_to_num(shape.rounded.slope(x), nan=0.0, posinf=0.0, neginf=0.0).reshape(end.shape)
        weight = torch.where((at == side) & torch.isfinite(end.detach()), slope.to(end.dtype), 0.0)
        y = y + carried(weight, end)
    return y


def carried(weight: Tensor, x: Tensor) -> Tensor:
    """Zero, with the gradient ``weight`` by ``x``."""
    held = torch.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0)
    return weight * (held - held.detach())

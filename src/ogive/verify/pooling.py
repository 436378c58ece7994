"""Largest and smallest elements: over dimensions, and in the windows of pooling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ogive.verify.axis import Maximum
from ogive.verify.linear import Reshaped, Scaled, Traced
from ogive.verify.replay import Sources, Special, bound

if TYPE_CHECKING:
    from ogive.verify.tracer import Tracer


def extreme(sign: float) -> Special:
    """The largest (or smallest) element over one or several dimensions."""

    def special(tracer: Tracer, args: Any, kwargs: Any, sources: Sources, made: list[Tensor]) -> bool:
        got = bound(("input", "dim", "keepdim"), args, kwargs, dim=(), keepdim=False)
        if len(sources) != 1 or isinstance(got.get("other", got["dim"]), Tensor):
            return False  # of two tensors: a formula
        x, step = tracer.inputs(sources)[0]
        shape = tuple(x.shape)
        dims = got["dim"] if isinstance(got["dim"], (tuple, list)) else (got["dim"],)
        over = sorted({d % len(shape) for d in dims}) or list(range(len(shape)))
        rest = [i for i in range(len(shape)) if i not in over]
        size = (*(shape[i] for i in rest), math.prod(shape[i] for i in over))
        step = _negated(tracer, step, sign)
        replay = lambda v: v.permute(*rest, *over).reshape(size)  # noqa: E731
        step = tracer.step(Traced("movedim", replay, [shape], (), True), (step,), size)
        step = _negated(tracer, tracer.step(Maximum(), (step,), size[:-1]), sign)
        step = tracer.step(Reshaped("reshape", size[:-1], tuple(made[0].shape)), (step,), tuple(made[0].shape))
        tracer.learn(made[0], step)
        return True

    return special


def _negated(tracer: Tracer, step: int, sign: float) -> int:
    return step if sign > 0 else tracer.step(Scaled("neg", [-1.0]), (step,), tracer.steps[step].shape)


def max_pool(tracer: Tracer, args: Any, kwargs: Any, sources: Sources, made: list[Tensor]) -> bool:
    names = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    got = bound(names, args, kwargs, stride=None, padding=0, dilation=1, ceil_mode=False)
    x, step = tracer.inputs(sources)[0]
    shape, out = tuple(x.shape), tuple(made[0].shape)
    dims = next(n for n in (1, 2, 3) if len(shape) - n in (1, 2) and _pools(n, shape, got, out))
    size = shape[len(shape) - dims :]
    places = _windows(dims, size, got, out[len(out) - dims :])
    flat = (*shape[: len(shape) - dims], math.prod(size))
    step = tracer.step(Reshaped("flatten", shape, flat), (step,), flat)
    windows = (*flat[:-1], *places.shape)
    step = tracer.step(Traced("windows", lambda v: v[..., places], [flat], (), True), (step,), windows)
    step = tracer.step(Maximum(), (step,), windows[:-1])
    tracer.learn(made[0], tracer.step(Reshaped("unflatten", windows[:-1], out), (step,), out))
    return True


def _pools(dims: int, shape: Any, got: Any, out: Any) -> bool:
    kernel = got["kernel_size"]
    return len(out) == len(shape) and (isinstance(kernel, int) or len(kernel) in (1, dims)) and len(shape) >= dims


def _windows(dims: int, size: tuple[int, ...], got: Mapping[str, Any], out: tuple[int, ...]) -> Tensor:
    """Flat positions of every window's elements, ``[windows, taps]``; what lies outside is repeated from inside."""

    def each(name: str) -> tuple[int, ...]:
        value = got[name] if got[name] not in (None, (), []) else got["kernel_size"]
        return (
            tuple(value) * (dims if len(tuple(value)) == 1 else 1)
            if isinstance(value, (tuple, list))
            else (value,) * dims
        )

    kernel, stride, padding, dilation = (each(n) for n in ("kernel_size", "stride", "padding", "dilation"))
    axes = []
    for n, k, s, p, d, o in zip(size, kernel, stride, padding, dilation, out):
        taps = torch.arange(o).unsqueeze(1) * s - p + torch.arange(k) * d
        inside = (taps >= 0) & (taps < n)
        first = torch.where(inside, taps, n).amin(1, keepdim=True)
        axes.append(torch.where(inside, taps, first))
    index = axes[0]
    for n, more in zip(size[1:], axes[1:]):
        index = index.unsqueeze(1).unsqueeze(-1) * n + more.unsqueeze(0).unsqueeze(-2)
        index = index.flatten(0, 1).flatten(-2)
    return index


def adaptive_max(tracer: Tracer, args: Any, kwargs: Any, sources: Sources, made: list[Tensor]) -> bool:
    x = next(iter(sources.values()))[0]
    dims = 2 if x.dim() - made[0].dim() == 0 and made[0].dim() >= 3 else 1
    wanted = args[1] if len(args) > 1 else kwargs["output_size"]
    if isinstance(wanted, (tuple, list)):
        dims = len(wanted)
    before, after = x.shape[-dims:], made[0].shape[-dims:]
    if any(b % a for a, b in zip(after, before)):
        raise tracer.refuse("adaptive max pooling", f"from {tuple(before)} to {tuple(after)} has windows of several "
                            "sizes, which are not followed")  # fmt: skip
    kernel = tuple(b // a for a, b in zip(after, before))
    return max_pool(tracer, (x, kernel), {}, sources, made)

"""Linear layers and convolutions as affine maps in float64, and the one map that two in a row are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from math import gcd
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ogive.errors import OgiveError
from ogive.surgery.wiring import Layer

_CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_MODULE = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@dataclass(frozen=True)
class Affine:
    """``y = W * pad(x) + b``: a convolution with zero padding, or a Linear (no spatial dimension).

    ``weight`` is (outputs, inputs / groups, *kernel), float64; ``pad`` has (before, after) for each spatial dimension.
    """

    weight: Tensor
    bias: Tensor
    stride: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    pad: tuple[tuple[int, int], ...] = ()

    @property
    def dims(self) -> int:
        """Spatial dimensions; 0 for a Linear."""
        return self.weight.dim() - 2

    @property
    def extent(self) -> tuple[int, ...]:
        """How far the kernel reaches in each dimension, dilation included."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.weight.shape[2:], self.dilation))

    @property
    def padded(self) -> bool:
        """Whether zeros are put around the input."""
        return any(any(p) for p in self.pad)

    def __call__(self, x: Tensor) -> Tensor:
        """In float64."""
        if not self.dims:
            return functional.linear(x, self.weight, self.bias)
        flat = [n for p in self.pad[::-1] for n in p]
        x = functional.pad(x, flat) if self.padded else x
        return _CONV[self.dims](x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    def module(self, like: Tensor) -> nn.Module:
        """A module that computes it, in the dtype and on the device of ``like``.

        Padding that differs at the two ends is a module of its own before the convolution.
        """
        flat = tuple(n for p in self.pad[::-1] for n in p)
        even = all(a == b for a, b in self.pad)
        if not self.dims:
            made: Any = nn.Linear(self.weight.shape[1], self.weight.shape[0])
        else:
            make: Any = _MODULE[self.dims]
            made = make(
                self.weight.shape[1] * self.groups, self.weight.shape[0], tuple(self.weight.shape[2:]), self.stride,
                tuple(a for a, _ in self.pad) if even else 0, self.dilation, self.groups,
            )  # fmt: skip
        with torch.no_grad():
            made.weight.copy_(self.weight)
            made.bias.copy_(self.bias)
        whole: nn.Module = made.to(device=like.device, dtype=like.dtype)
        return whole if even else nn.Sequential(_PAD[self.dims](flat, 0.0), whole)


_PAD: dict[int, Any] = {1: nn.ConstantPad1d, 2: nn.ConstantPad2d, 3: nn.ConstantPad3d}


def affine_of(layer: Layer, norm: nn.Module | None = None, seen: tuple[Tensor, Tensor] | None = None) -> Affine:
    """The map of a layer, with the batch normalisation after it folded in.

    ``seen`` is one input of the layer and what it gave: a subclass with a ``forward`` of its own is taken for a
    convolution of its zero-padded input where that gives the same.

    Raises:
        OgiveError: for padding other than zeros, a layer whose code does something else, a normalisation that uses the
            statistics of the batch.
    """
    weight = layer.weight.detach().double()
    bias = torch.zeros(weight.shape[0], dtype=torch.float64, device=weight.device)
    if layer.bias is not None:
        bias = bias + layer.bias.detach().double()
    made = Affine(weight, bias)
    if not isinstance(layer, nn.Linear):
        if layer.padding_mode != "zeros":
            raise OgiveError(f"it pads by {layer.padding_mode}, which is no convolution with zeros around")
        made = Affine(weight, bias, tuple(layer.stride), tuple(layer.dilation), layer.groups, _padding(layer))
    if seen is not None and type(layer).forward not in (nn.Linear.forward, *(m.forward for m in _MODULE.values())):
        made = _as_it_runs(made, *seen)
    if norm is None:
        return made
    assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
    if norm.running_mean is None or norm.running_var is None:
        raise OgiveError("the normalisation after it uses the statistics of the batch, so nothing fixed can be folded")
    scale = torch.rsqrt(norm.running_var.double() + norm.eps)
    scale = scale if norm.weight is None else scale * norm.weight.detach().double()
    shift = 0.0 if norm.bias is None else norm.bias.detach().double()
    return replace(
        made,
        weight=weight * scale.view(-1, *[1] * (weight.dim() - 1)),
        bias=(bias - norm.running_mean.double()) * scale + shift,
    )


def _padding(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> tuple[tuple[int, int], ...]:
    if layer.padding == "valid":
        return ((0, 0),) * len(layer.kernel_size)
    if isinstance(layer.padding, str):  # "same": torch puts the odd one after
        total = [d * (k - 1) for k, d in zip(layer.kernel_size, layer.dilation)]
        return tuple((t // 2, t - t // 2) for t in total)
    return tuple((p, p) for p in layer.padding)


def _as_it_runs(made: Affine, x: Tensor, y: Tensor) -> Affine:
    """The zero padding that gives what the layer's own code gave."""
    choices = []
    for i, (n, m, reach, step) in enumerate(zip(x.shape[2:], y.shape[2:], made.extent, made.stride)):
        least = max((m - 1) * step + reach - n, 0)
        totals = range(least, least + step)
        splits = [(a, t - a) for t in totals for a in range(t + 1)]
        own = made.pad[i]
        choices.append(sorted(splits, key=lambda p, own=own: (p != own, sum(p), abs(p[0] - p[1]))))  # type: ignore[misc]
    wide, want = x[:1].detach().double(), y[:1].detach().double()
    for pad in product(*choices):
        tried = replace(made, pad=tuple(pad))
        got = tried(wide)
        if got.shape == want.shape and float((got - want).abs().max()) <= 1e-4 * float(want.abs().max()) + 1e-9:
            return tried
    raise OgiveError("its class has a forward of its own that is not a convolution of the zero-padded input")


def why_not(first: Affine, second: Affine, exact: bool) -> str:
    """Why ``second`` after ``first`` is no single map; "" where it is.

    Zeros that ``second`` puts around are what it meets where ``first`` would have made ``W * pad(x) + b``. Both agree
    where first is 1 wide, unpadded and without bias.
    """
    if first.dims != second.dims:
        return "a Linear and a convolution have no common shape"
    if first.weight.shape[0] != second.weight.shape[1] * second.groups:
        return f"{first.weight.shape[0]} channels do not go into {second.weight.shape[1] * second.groups}"
    if exact and second.padded:
        wide = any(k > 1 for k in first.extent) or first.padded
        if wide:
            return "it pads what a wider convolution gives; padding='moved' pads the input instead, changing the border"
        if bool((first.bias != 0.0).any()):
            return "it pads with zeros where the first has its bias; padding='moved' pads the input instead"
    return ""


def merged(first: Affine, second: Affine, *, exact: bool = True) -> Affine:
    """``second(first(x))`` as one map.

    Kernel ``k1 + (k2 - 1) d2 s1``, stride ``s1 s2``, groups gcd(g1, g2), padding ``p1 + s1 p2``. With ``exact`` a pair
    that is no single map at the border is refused; without it, the padding of both goes to the first, which is
    ``second`` without padding after ``first`` with all of it: the same but at the border.

    Raises:
        OgiveError: with the reason of :func:`why_not`.

    >>> one = Affine(torch.ones(1, 1, 3).double(), torch.zeros(1).double(), (1,), (1,), 1, ((1, 1),))
    >>> merged(one, one, exact=False).weight.flatten().tolist()
    [1.0, 2.0, 3.0, 2.0, 1.0]
    """
    reason = why_not(first, second, exact)
    if reason:
        raise OgiveError(reason)
    groups = gcd(first.groups, second.groups)
    a, b = _dense(first, groups), _dense(second, groups)  # (groups, out, in, *kernel)
    if not first.dims:
        return Affine(b[0] @ a[0], b[0] @ first.bias + second.bias)
    steps = tuple(s * d for s, d in zip(first.stride, second.dilation))
    parts = []
    for g in range(groups):
        # the taps of b move the kernel of a: a full correlation of a, with inputs as the batch, with b turned round
        turned = b[g].flip(tuple(range(2, b[g].dim())))
        reach = tuple((k - 1) * s for k, s in zip(b[g].shape[2:], steps))
        spread = _spread(a[g], first.dilation)
        parts.append(_CONV[first.dims](spread.transpose(0, 1), turned, None, 1, reach, steps).transpose(0, 1))
    total = b.flatten(3).sum(3)  # (groups, out, mid)
    bias = (total @ first.bias.view(groups, -1, 1)).flatten() + second.bias
    pad = tuple((p + s * q, r + s * t) for (p, r), (q, t), s in zip(first.pad, second.pad, first.stride))
    stride = tuple(s * t for s, t in zip(first.stride, second.stride))
    return Affine(torch.cat(parts), bias, stride, (1,) * first.dims, groups, pad)


def _dense(m: Affine, groups: int) -> Tensor:
    """The weight in ``groups`` blocks, zeros where finer groups do not meet."""
    per = m.groups // groups
    out, inside = m.weight.shape[0] // m.groups, m.weight.shape[1]
    w = m.weight.new_zeros(groups, per, out, per, inside, *m.weight.shape[2:])
    blocks = m.weight.reshape(groups, per, out, inside, *m.weight.shape[2:])
    for i in range(per):
        w[:, i, :, i] = blocks[:, i]
    return w.reshape(groups, per * out, per * inside, *m.weight.shape[2:])


def _spread(w: Tensor, dilation: tuple[int, ...]) -> Tensor:
    """A dilated kernel with its zeros written out."""
    if all(d == 1 for d in dilation):
        return w
    size = tuple((k - 1) * d + 1 for k, d in zip(w.shape[2:], dilation))
    wide = w.new_zeros(*w.shape[:2], *size)
    at = (slice(None), slice(None), *(slice(None, None, d) for d in dilation))
    wide[at] = w
    return wide


def removable(m: Affine) -> bool:
    """Whether the identity fits in its place: as many channels, and the same size out as in."""
    same = m.weight.shape[0] == m.weight.shape[1] * m.groups and all(s == 1 for s in m.stride)
    return same and all(p + q == e - 1 for (p, q), e in zip(m.pad, m.extent))

"""Activations that mix channels and keep every norm: sorting in groups, and reflections."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError, ParameterError


@dataclass(frozen=True)
class NormPreserving:
    """What is proved of a layer in the Euclidean norm: its Lipschitz constant, and that its Jacobian is orthogonal
    almost everywhere, so that a gradient keeps its length on the way back. ``why`` is the proof in a sentence."""

    layer: str
    lipschitz: float
    gradient_norm_preserving: bool
    why: str

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


class GroupSort(nn.Module):
    """Sorts each group of ``size`` neighbouring channels in ascending order; Anil, Lucas and Grosse 2019.

    On every cone where the order does not change it is a permutation, so it is 1-Lipschitz, keeps the norm of inputs
    and gradients, and commutes with permutations of a group. ``size=2`` is MaxMin up to order; all channels in one
    group is FullSort.

    Args:
        size: channels in a group, from 2.
        dim: the channel dimension, 1 for images, -1 for features.

    Raises:
        ParameterError: for a size that is no whole number from 2.
        InputError: when called with channels that ``size`` does not divide.

    >>> GroupSort(2)(torch.tensor([3.0, 1.0, 2.0, 5.0]))
    tensor([1., 3., 2., 5.])
    """

    descending = False

    def __init__(self, size: int = 2, dim: int = -1) -> None:
        super().__init__()
        if type(size) is not int or size < 2:
            raise ParameterError(f"{type(self).__name__}: size={size!r}; it takes a whole number from 2")
        if type(dim) is not int:
            raise ParameterError(f"{type(self).__name__}: dim={dim!r}; it takes a whole number")
        self.size, self.dim = size, dim

    def forward(self, x: Tensor) -> Tensor:
        """Groups sorted."""
        at = _channels(x, self.dim, self.size, type(self).__name__)
        groups = x.unflatten(at, (x.shape[at] // self.size, self.size))
        if self.size == 2:  # two comparisons: a sort of pairs took 9 times as long at 1e6 float32 elements
            a, b = groups.unbind(at + 1)
            pair = (torch.minimum(a, b), torch.maximum(a, b))
            result = torch.stack(pair[::-1] if self.descending else pair, at + 1)
        else:
            result = groups.sort(at + 1, descending=self.descending).values
        return result.flatten(at, at + 1)

    def certificate(self) -> NormPreserving:
        """The proof that it is 1-Lipschitz and keeps gradient norms."""
        why = (
            f"between ties it permutes the {self.size} channels of each group, and a permutation is orthogonal; "
            "being continuous, it is 1-Lipschitz on the whole space"
        )
        return NormPreserving(repr(self), 1.0, True, why)

    def extra_repr(self) -> str:
        return f"size={self.size}, dim={self.dim}"


class MaxMin(GroupSort):
    """``(max(a, b), min(a, b))`` for each pair of neighbouring channels: GroupSort in pairs, the greater first.

    >>> MaxMin()(torch.tensor([1.0, 3.0, 5.0, 2.0]))
    tensor([3., 1., 5., 2.])
    """

    descending = True

    def __init__(self, dim: int = -1) -> None:
        super().__init__(2, dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Householder(nn.Module):
    """Reflects a pair of channels where it lies behind a line: z where ``v.z > 0``, else ``z - 2 (v.z) v``.

    ``v = (sin(t/2), -cos(t/2))`` with an angle t per pair, learned or fixed; ``t = pi/2`` is MaxMin. Both maps are
    orthogonal and agree on the line, so it is 1-Lipschitz and keeps gradient norms for every t. Singla, Singla and
    Feizi 2022, "Improved deterministic l2 robustness on CIFAR-10 and CIFAR-100".

    Args:
        channels: size along ``dim``, even.
        dim: the channel dimension.
        angle: t at first, in radians.
        learned: False keeps the angles as a buffer.
        device, dtype: of the angles.

    Raises:
        ParameterError: for channels that are not even, an angle that is not finite.

    >>> torch.allclose(Householder(4)(torch.tensor([1.0, 3.0, 5.0, 2.0])), torch.tensor([3.0, 1.0, 5.0, 2.0]))
    True
    """

    angle: Tensor

    def __init__(
        self,
        channels: int,
        *,
        dim: int = -1,
        angle: float = math.pi / 2,
        learned: bool = True,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if type(channels) is not int or channels < 2 or channels % 2:
            raise ParameterError(f"Householder: channels={channels!r}; it takes an even whole number from 2")
        if isinstance(angle, bool) or not isinstance(angle, (int, float)) or not math.isfinite(angle):
            raise ParameterError(f"Householder: angle={angle!r}; it takes a finite number of radians")
        self.channels, self.dim, self.first = channels, dim, float(angle)
        values = torch.empty(channels // 2, device=device, dtype=dtype)
        if learned:
            self.angle = nn.Parameter(values)
        else:
            self.register_buffer("angle", values)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set every angle to its first value."""
        with torch.no_grad():
            self.angle.fill_(self.first)

    def forward(self, x: Tensor) -> Tensor:
        """Pairs reflected where they lie behind their line."""
        at = _channels(x, self.dim, 2, "Householder")
        if x.shape[at] != self.channels:
            raise InputError(f"Householder: channels={self.channels}, and dimension {self.dim} is {x.shape[at]}")
        a, b = x.unflatten(at, (self.channels // 2, 2)).unbind(at + 1)
        half = (0.5 * self.angle).reshape([-1 if d == at else 1 for d in range(a.dim())]).to(x.dtype)
        s, c = torch.sin(half), torch.cos(half)
        behind = torch.clamp_max(a * s - b * c, 0.0)  # v.z where it is negative
        return torch.stack((a - 2.0 * behind * s, b + 2.0 * behind * c), at + 1).flatten(at, at + 1)

    def certificate(self) -> NormPreserving:
        """The proof that it is 1-Lipschitz and keeps gradient norms, whatever the angles are."""
        why = (
            "on either side of its line it is the identity or a reflection, both orthogonal, which agree on the line; "
            "being continuous, it is 1-Lipschitz on the whole space"
        )
        return NormPreserving(repr(self), 1.0, True, why)

    def no_decay(self) -> tuple[str, ...]:
        """The angles: weight decay would turn the reflections into sign changes."""
        return ("angle",) if isinstance(self.angle, nn.Parameter) else ()

    def extra_repr(self) -> str:
        fixed = "" if isinstance(self.angle, nn.Parameter) else ", learned=False"
        return f"{self.channels}, dim={self.dim}{fixed}"


def _channels(x: Tensor, dim: int, size: int, name: str) -> int:
    if not isinstance(x, Tensor) or not -x.dim() <= dim < x.dim() or x.shape[dim] % size or not x.is_floating_point():
        got = f"{tuple(x.shape)} of {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
        raise InputError(
            f"{name} takes a floating tensor whose size along dim={dim} is a multiple of {size}; got {got}"
        )
    return dim % x.dim()

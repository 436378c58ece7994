"""The layers of a feed-forward block with idle channels, before and after folding."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ogive.errors import OgiveError
from ogive.surgery.depth.affine import affine_of
from ogive.surgery.edits import Edits


class Idle(nn.Module):
    """``f(x)`` on some channels of the last dimension, ``slope x + offset`` on the ``idle`` ones.

    ``first``, ``norm`` and ``second`` are the paths of the Linear before it, of a normalisation between, and of the
    Linear after it, for :func:`fold_idle`. Slope and offset train.

    >>> Idle(nn.ReLU(), torch.tensor([True, False]))(torch.tensor([[-2.0, -2.0]])).tolist()
    [[-2.0, 0.0]]
    """

    idle: Tensor

    def __init__(self, act: nn.Module, idle: Tensor, first: str = "", norm: str = "", second: str = "") -> None:
        super().__init__()
        self.act = act
        self.register_buffer("idle", idle)
        self.slope = nn.Parameter(torch.ones(int(idle.sum())))
        self.offset = nn.Parameter(torch.zeros(int(idle.sum())))
        self.first, self.norm, self.second = first, norm, second
        self.active: int | None = None  # folded: the first so many channels meet f, the others pass

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        if self.active is not None:
            return torch.cat([self.act(x[..., : self.active]), x[..., self.active :]], -1)
        y: Tensor = self.act(x)
        y = y.clone()
        y[..., self.idle] = (x[..., self.idle] * self.slope + self.offset).to(y.dtype)
        return y

    def extra_repr(self) -> str:
        return f"{int(self.idle.sum())} of {self.idle.numel()} idle" + (", folded" if self.active is not None else "")


class AfterIdle(nn.Module):
    """``W h + b + z`` for an input that is (h, z) along the last dimension: a folded block's second layer."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        """The block's result."""
        n = self.weight.shape[1]
        return functional.linear(x[..., :n], self.weight, self.bias) + x[..., n:]

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]} + {self.weight.shape[0]} -> {self.weight.shape[0]}"


def fold_all(model: nn.Module, edits: Edits) -> None:
    """Fold every :class:`Idle` that is not folded: ``M = W2_idle diag(slope) W1_idle`` goes beside the active channels.

    Raises:
        OgiveError: where the layers around one are not where they were.
    """
    for name, idle in model.named_modules():
        if not isinstance(idle, Idle) or idle.active is not None:
            continue
        try:
            first, second = model.get_submodule(idle.first), model.get_submodule(idle.second)
            norm = model.get_submodule(idle.norm) if idle.norm else None
        except AttributeError as error:
            raise OgiveError(f"{name}: {error}; fold in the model that channel_idle was called with") from None
        if not isinstance(first, nn.Linear) or not isinstance(second, nn.Linear):
            raise OgiveError(f"{name}: {idle.first} or {idle.second} is no Linear any more")
        a, b = affine_of(first, norm), affine_of(second)
        keep, gone = ~idle.idle, idle.idle
        scaled = b.weight[:, gone] * idle.slope.detach().double()
        matrix = scaled @ a.weight[gone]
        more = scaled @ a.bias[gone] + b.weight[:, gone] @ idle.offset.detach().double()
        active = int(keep.sum())
        new = nn.Linear(a.weight.shape[1], active + matrix.shape[0]).to(first.weight)
        with torch.no_grad():
            new.weight.copy_(torch.cat([a.weight[keep], matrix]))
            new.bias.copy_(torch.cat([a.bias[keep], more]))
        weight = b.weight[:, keep].to(second.weight.dtype)
        bias = None if second.bias is None else second.bias.detach().clone()
        edits.exchange(model, first, new.train(first.training))
        edits.exchange(model, second, AfterIdle(weight, bias).train(second.training))
        if norm is not None:
            edits.exchange(model, norm, nn.Identity().train(norm.training))
        edits.later(_Unfold(idle))
        idle.active = active


class _Unfold:
    def __init__(self, idle: Idle) -> None:
        self.idle = idle

    def __call__(self) -> None:
        self.idle.active = None

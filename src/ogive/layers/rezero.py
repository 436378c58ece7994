"""Residual blocks that start as the identity: a learned factor on the branch."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError, ParameterError


class ReZero(nn.Module):
    """``y = shortcut(x) + a f(x)`` with a learned factor a, 0 at first: any block then starts as the identity.

    One class for a family: a scalar at 0 is ReZero (Bachlechner et al. 2021) and SkipInit (De and Smith 2020); one
    factor per channel at a small number is LayerScale (Touvron et al. 2021); ``init=1/sqrt(L)`` is the depth scaling
    of L branches. At a = 0 the Jacobian from input to output is exactly the identity, whatever f is.

    Args:
        block: f, any module; what it returns must have the shape of the shortcut.
        init: the factor at first.
        channels: one factor per channel instead of a single one.
        dim: the dimension of the channels, 1 for images, -1 for transformers.
        shortcut: a module on the skip path (a projection); None is the identity.
        learned: False keeps the factor as it is, as a buffer.

    Raises:
        ParameterError: for an init that is not finite, or channels that are not a positive whole number.
        InputError: when the branch's shape is not the shortcut's.

    >>> block = ReZero(nn.Sequential(nn.Linear(4, 4), nn.Tanh()))
    >>> x = torch.randn(2, 4)
    >>> bool((block(x) == x).all()), list(block.state_dict())[0]
    (True, 'alpha')
    """

    alpha: Tensor

    def __init__(
        self,
        block: nn.Module,
        *,
        init: float = 0.0,
        channels: int | None = None,
        dim: int = 1,
        shortcut: nn.Module | None = None,
        learned: bool = True,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(block, nn.Module):
            raise InputError(f"ReZero takes a module as its branch; got {type(block).__name__}: {str(block)[:60]!r}")
        if isinstance(init, bool) or not isinstance(init, (int, float)) or not math.isfinite(init):
            raise ParameterError(f"ReZero: init={init!r}; it takes a finite number")
        if channels is not None and (type(channels) is not int or channels < 1):
            raise ParameterError(f"ReZero: channels={channels!r}; it takes a positive whole number")
        self.init, self.channels, self.dim = float(init), channels, dim
        alpha = torch.empty(() if channels is None else (channels,), device=device, dtype=dtype)
        if learned:
            self.alpha = nn.Parameter(alpha)
        else:
            self.register_buffer("alpha", alpha)
        self.block, self.shortcut = block, shortcut
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the factor to its first value."""
        with torch.no_grad():
            self.alpha.fill_(self.init)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """``shortcut(x) + a block(x, *args, **kwargs)``."""
        branch = self.block(x, *args, **kwargs)
        skip = x if self.shortcut is None else self.shortcut(x)
        if branch.shape != skip.shape:
            raise InputError(
                f"ReZero: the branch returns {tuple(branch.shape)} and the skip path {tuple(skip.shape)}; "
                "shortcut= takes a module that makes them equal"
            )
        result: Tensor = skip + self._placed(branch) * branch
        return result

    def _placed(self, branch: Tensor) -> Tensor:
        if self.channels is None:
            return self.alpha.to(branch.dtype)
        at = self.dim % branch.dim()
        if branch.shape[at] != self.channels:
            raise InputError(
                f"ReZero: channels={self.channels}, and dimension {self.dim} of the branch is {branch.shape[at]}"
            )
        return self.alpha.to(branch.dtype).reshape([-1 if d == at else 1 for d in range(branch.dim())])

    def no_decay(self) -> tuple[str, ...]:
        """The factor, which weight decay would pull back to the identity."""
        return ("alpha",) if isinstance(self.alpha, nn.Parameter) else ()

    def extra_repr(self) -> str:
        per = "" if self.channels is None else f", channels={self.channels}, dim={self.dim}"
        return f"init={self.init:g}{per}"

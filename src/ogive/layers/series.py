"""``Series``: a learned sum of shifted activations, of a unit and of its neighbours."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ogive.errors import InputError, ParameterError
from ogive.layers.act import Act

_CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


class Series(nn.Module):
    """``sum_{i,j=-n..n} a_{c,i,j} A(x_{c,h+i,w+j} + b_c)``: VanillaNet's series activation over a window of neighbours.

    With ``spatial=False`` it is ``sum_{i=1..n} a_{c,i} A(x_c + b_{c,i})``, the stack without neighbours. Neighbours
    beyond the border count as 0. It starts as ``A(x)``: the middle weight is 1, the others and b are 0 (without
    neighbours the weights are 1/n and the b_i are spread evenly over [-1, 1], so that they can part).

    Args:
        act: anything :func:`ogive.get` takes, or a module of one input.
        n: how many neighbours on each side (3 is VanillaNet's, a 7 x 7 window), at least 0; terms without neighbours,
            at least 1.
        channels: size of dimension 1 (of the last dimension without neighbours).
        spatial: over neighbours.
        dims: spatial dimensions of the input, 1 to 3.

    Raises:
        ParameterError: for sizes out of range. InputError: for an input of another shape.

    Source: Chen, Wang, Guo and Tao 2023, VanillaNet: the Power of Minimalism in Deep Learning, eq. 6.

    >>> x = torch.randn(2, 3, 5, 5)
    >>> layer = Series("relu", 2, channels=3)
    >>> torch.equal(layer(x), x.relu()), tuple(layer.weight.shape)
    (True, (3, 1, 5, 5))
    """

    def __init__(self, act: Any, n: int = 3, *, channels: int, spatial: bool = True, dims: int = 2) -> None:
        super().__init__()
        least = 0 if spatial else 1
        if type(n) is not int or n < least:
            raise ParameterError(f"Series: n={n!r}; it takes a whole number of at least {least}")
        if type(channels) is not int or channels < 1:
            raise ParameterError(f"Series: channels={channels!r}; it takes a whole number of at least 1")
        if dims not in _CONV:
            raise ParameterError(f"Series: dims={dims!r}; it is 1, 2 or 3")
        self.act = act if isinstance(act, nn.Module) else Act(act)
        self.n, self.channels, self.spatial, self.dims = n, channels, spatial, dims
        if spatial:
            self.weight = nn.Parameter(torch.zeros(channels, 1, *[2 * n + 1] * dims))
            self.bias = nn.Parameter(torch.zeros(channels))
        else:
            self.weight = nn.Parameter(torch.zeros(n, channels))
            self.bias = nn.Parameter(torch.zeros(n, channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The weights it starts with."""
        with torch.no_grad():
            if self.spatial:
                self.weight.zero_()
                self.weight.flatten(2)[:, 0, (2 * self.n + 1) ** self.dims // 2] = 1.0
                self.bias.zero_()
            else:
                self.weight.fill_(1.0 / self.n)
                self.bias.copy_(torch.linspace(-1.0, 1.0, self.n + 2)[1:-1, None])

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        at = 1 if self.spatial else -1
        if not x.is_floating_point() or (self.spatial and x.dim() != self.dims + 2) or x.shape[at] != self.channels:
            want = f"(N, {self.channels}{', size' * self.dims})" if self.spatial else f"(..., {self.channels})"
            raise InputError(f"Series takes floating numbers of shape {want}; got {tuple(x.shape)}, {x.dtype}")
        if self.spatial:
            y = self.act(x + self.bias.view(-1, *[1] * self.dims).to(x.dtype))
            return _CONV[self.dims](y, self.weight.to(y.dtype), None, 1, self.n, 1, self.channels)
        made: Tensor = (self.weight * self.act(x.unsqueeze(-2) + self.bias)).sum(-2)
        return made.to(x.dtype)

    def extra_repr(self) -> str:
        return f"n={self.n}, channels={self.channels}" + ("" if self.spatial else ", spatial=False")

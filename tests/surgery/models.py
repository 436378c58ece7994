"""Small models that write their nonlinearities in every way."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

import ogive


class Functional(nn.Module):
    """Functions, methods and operators instead of modules."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(width, width) for _ in range(7))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.maps[0](x))
        x = torch.tanh(self.maps[1](x))
        x = self.maps[2](x).sigmoid()
        h = self.maps[3](x)
        x = h * torch.sigmoid(h)
        h = self.maps[4](x)
        x = torch.where(h > 0, h, 0.1 * h)
        x = functional.relu_(self.maps[5](x))
        return self.maps[6](x).clamp(min=0).mul(2.0)


class SwiGLU(nn.Module):
    """The decoder block's hidden layer: silu of one branch times the other."""

    def __init__(self, width: int = 16, hidden: int = 32) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(width, hidden, bias=False), nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(functional.silu(self.gate(x)) * self.up(x))


class RMS(nn.Module):
    """Root mean square normalisation written by hand, as decoders do."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class Block(nn.Module):
    """A pre-activation residual block; ``norm`` in front of the branch or none."""

    def __init__(self, width: int, act: str = "relu", norm: bool = False) -> None:
        super().__init__()
        self.norm = RMS(width) if norm else nn.Identity()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.act = ogive.Act(act)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.act(self.first(self.act(self.norm(x)))))


class Double(torch.autograd.Function):
    """x -> 2 relu(x), computed where torch's functions do not look."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.from_numpy(2.0 * x.detach().numpy().clip(0.0))

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2.0 * g * (x > 0)


class Hidden(nn.Module):
    """A custom autograd function between two layers."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.b(Double.apply(self.a(x))))


def mlp(act, depth: int = 30, width: int = 256) -> nn.Sequential:
    """A plain deep network; ``act`` makes the module between two layers."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(width, width), act()]
    return nn.Sequential(*layers, nn.Linear(width, 10))

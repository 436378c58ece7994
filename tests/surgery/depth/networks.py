"""Small convolutional networks with used batch norms."""

from __future__ import annotations

import torch
from torch import nn


def plain(act=nn.ReLU, inner=1, seed=0):
    """Four convolutions with norms, two Linears; ``inner`` is the kernel of every second convolution."""
    torch.manual_seed(seed)
    pad = inner // 2

    def block(i, o, k, p):
        return [nn.Conv2d(i, o, k, padding=p, bias=False), nn.BatchNorm2d(o), act()]

    net = nn.Sequential(
        *block(1, 6, 3, 1), *block(6, 6, inner, pad), nn.MaxPool2d(2), *block(6, 8, 3, 1), *block(8, 8, inner, pad),
        nn.Flatten(), nn.Linear(128, 16), act(), nn.Linear(16, 5),
    )  # fmt: skip
    return used(net, 1), torch.randn(32, 1, 8, 8)


def used(net, channels):
    """Running statistics that are not 0 and 1."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.3)
            nn.init.normal_(module.bias, 0.0, 0.3)
    with torch.no_grad():
        for _ in range(10):
            net(2 * torch.randn(32, channels, 8, 8) + 0.5)
    return net.eval()


class Inverted(nn.Module):
    """Inverted residual blocks whose one activation module runs twice, as in EfficientNet."""

    class Block(nn.Module):
        def __init__(self, inside, outside, skip):
            super().__init__()
            mid = 4 * inside
            self.expand, self.n0 = nn.Conv2d(inside, mid, 1, bias=False), nn.BatchNorm2d(mid)
            self.depth, self.n1 = nn.Conv2d(mid, mid, 3, padding=1, groups=mid, bias=False), nn.BatchNorm2d(mid)
            self.project, self.n2 = nn.Conv2d(mid, outside, 1, bias=False), nn.BatchNorm2d(outside)
            self.act, self.skip = nn.ReLU6(), skip

        def forward(self, x):
            y = self.act(self.n0(self.expand(x)))
            y = self.act(self.n1(self.depth(y)))
            y = self.n2(self.project(y))
            return x + y if self.skip else y

    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(self.Block(3, 4, False), self.Block(4, 4, True), self.Block(4, 6, False))
        self.out = nn.Linear(6, 5)

    def forward(self, x):
        return self.out(self.blocks(x).mean((2, 3)))

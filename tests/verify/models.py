"""Small models of every kind that the verifier follows, and points of their input sets."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

import ogive


class Residual(nn.Module):
    """Sums of branches, a layer normalisation, a gate written by hand, a learned scale."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.norm = nn.LayerNorm(8)
        self.scale = nn.Parameter(torch.rand(8) + 0.5)

    def forward(self, x):
        h = torch.tanh(self.a(x))
        h = self.norm(h + functional.gelu(self.b(h))) * self.scale
        u, v = self.a(x).chunk(2, -1)
        return self.c(h.relu() + torch.cat([u * torch.sigmoid(v), v], -1))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix, self.head = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(12, 3)

    def forward(self, x):
        x = x.view(-1, 3, 4)
        return self.head((x + self.mix(x, x, x)[0]).flatten(1))


class Causal(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        x = x.view(-1, 1, 3, 4)
        return self.head(functional.scaled_dot_product_attention(x, x, x, is_causal=True).flatten(1))


class Odd(nn.Module):
    """Maxima of two signals, masks, running sums, quotients, extremes, variances."""

    def forward(self, x):
        a = torch.maximum(x[:, :3], x[:, 3:] * 2)
        b = torch.where(torch.tensor([True, False, True]), a, -a)
        c = torch.cumsum(b, 1) / (1 + x[:, :3] ** 2)
        d = x @ torch.arange(18.0).view(6, 3).sin().to(x)
        return torch.stack(
            [c.amax(1), (c * d).sum(1), functional.softplus(d).mean(1), torch.logsumexp(d, 1), d.var(1)], 1
        )


def convolution():
    model = nn.Sequential(
        nn.Unflatten(1, (1, 6, 6)), nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.SiLU(),
        nn.MaxPool2d(3, 2, padding=1), nn.Conv2d(4, 4, 2), ogive.Act("golu"), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 3),
    )  # fmt: skip
    model[2].running_mean.normal_()
    model[2].running_var.uniform_(0.5, 2.0)
    return model


def strided():
    return nn.Sequential(
        nn.Unflatten(1, (2, 18)), nn.Conv1d(2, 3, 3, stride=2, groups=1), nn.Hardswish(), nn.AvgPool1d(2),
        nn.MaxPool1d(2), nn.Flatten(), nn.Linear(6, 3),
    )  # fmt: skip


def mlp(*acts, inputs=6, width=12, outputs=3):
    layers = []
    for act in acts:
        layers += [nn.Linear(inputs, width), act if isinstance(act, nn.Module) else ogive.Act(act)]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


def gates():
    return nn.Sequential(
        nn.Linear(6, 12), ogive.GLU("silu"), nn.Linear(6, 12), nn.GLU(), nn.PReLU(), nn.Linear(6, 4),
        ogive.Act("swish", beta=ogive.learn("channel"), channels=4), nn.Softmax(-1),
    )  # fmt: skip


MODELS = {
    "relu": (lambda: mlp(nn.ReLU(), nn.ReLU()), 6),
    "smooth": (lambda: mlp(nn.Mish(), "x*sigmoid(1.5*x)", nn.ELU()), 6),
    "periodic": (lambda: mlp("sin(x)", "snake"), 6),
    "residual": (Residual, 6), "attention": (Attention, 12), "causal": (Causal, 12), "odd": (Odd, 6),
    "convolution": (convolution, 36), "strided": (strided, 36), "gates": (gates, 6),
}  # fmt: skip


def made(name, seed=0):
    """The model in evaluation mode and four examples."""
    torch.manual_seed(seed)
    make, inputs = MODELS[name]
    return make().eval(), torch.randn(4, inputs)


def around(x, eps, count=400, seed=1):
    """Points of the boxes around examples, corners among them: ``[count, examples, inputs]``."""
    generator = torch.Generator().manual_seed(seed)
    noise = 2.0 * torch.rand(count, *x.shape, generator=generator, dtype=torch.float64) - 1.0
    noise[: count // 2] = noise[: count // 2].sign()
    return x.double() + eps * noise

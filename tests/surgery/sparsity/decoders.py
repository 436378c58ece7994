"""A decoder small enough for tests, and text for it whose next token can be learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.surgery.models import RMS, SwiGLU

VOCABULARY = 24


class Decoder(nn.Module):
    """Token embedding, a running mean in the place of attention, gated layers, read-out."""

    def __init__(self, width: int = 24, hidden: int = 96, layers: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, width)
        self.mixes = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(layers))
        self.norms = nn.ModuleList(RMS(width) for _ in range(2 * layers))
        self.mlps = nn.ModuleList(SwiGLU(width, hidden) for _ in range(layers))
        self.last, self.head = RMS(width), nn.Linear(width, VOCABULARY)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        count = torch.arange(1, ids.shape[1] + 1)[:, None]
        for i, (mix, mlp) in enumerate(zip(self.mixes, self.mlps)):
            x = x + mix(self.norms[2 * i](x)).cumsum(1) / count
            x = x + mlp(self.norms[2 * i + 1](x))
        logits: Tensor = self.head(self.last(x))
        return logits


def text(windows: int, seed: int, length: int = 48) -> Tensor:
    """A chain in which each token has three likely followers."""
    rng = torch.Generator().manual_seed(seed)
    ids = torch.randint(VOCABULARY, (windows, 1), generator=rng)
    for _ in range(length - 1):
        step = torch.randint(3, (windows, 1), generator=rng)
        ids = torch.cat([ids, (ids[:, -1:] * (2 * step + 5) + 7 * step + 3) % VOCABULARY], 1)
    return ids


def trained(steps: int = 60) -> Decoder:
    """A decoder after a second of training."""
    torch.manual_seed(0)
    model = Decoder()
    adam = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(steps):
        ids = text(8, step)
        loss = functional.cross_entropy(model(ids)[:, :-1].transpose(1, 2), ids[:, 1:])
        adam.zero_grad()
        loss.backward()
        adam.step()
    adam.zero_grad()
    return model.eval()

"""A causal language model of half a million parameters over the bytes of the standard library's source, to train."""

from __future__ import annotations

import torch
from surgery_models import source
from torch import nn

from ogive.layers.act import Act

LENGTH = 96


class Hidden(nn.Module):
    """A gated or plain feed-forward layer."""

    def __init__(self, width, hidden, act, gated):
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=False) if gated else None
        self.up, self.down = nn.Linear(width, hidden, bias=False), nn.Linear(hidden, width, bias=False)
        self.act = Act(act)

    def forward(self, x):
        return self.down(self.act(self.up(x)) if self.gate is None else self.act(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """Causal attention and a feed-forward layer, each after a norm."""

    def __init__(self, width, heads, hidden, act, gated):
        super().__init__()
        self.heads, self.norms = heads, nn.ModuleList(nn.RMSNorm(width) for _ in range(2))
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.ffn = Hidden(width, hidden, act, gated)

    def forward(self, x):
        n, t, d = x.shape
        q, k, v = self.qkv(self.norms[0](x)).view(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(n, t, d))
        return x + self.ffn(self.norms[1](x))


class Characters(nn.Module):
    """A causal language model over bytes below 128."""

    def __init__(self, act, gated, width=112, layers=3, heads=4, length=LENGTH):
        super().__init__()
        hidden = 304 if gated else 456
        self.tokens, self.places = nn.Embedding(128, width), nn.Parameter(0.02 * torch.randn(length, width))
        self.blocks = nn.ModuleList(Block(width, heads, hidden, act, gated) for _ in range(layers))
        self.norm, self.head = nn.RMSNorm(width), nn.Linear(width, 128, bias=False)

    def forward(self, ids):
        x = self.tokens(ids) + self.places[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def draw(text, count, length, rng):
    at = torch.randint(len(text) - length - 1, (count,), generator=rng)
    return torch.stack([text[i : i + length] for i in at.tolist()])


def train(model, text, steps, rate, seed, extra=None, before=None):
    """AdamW with warm-up and a cosine; ``before(step)`` is called first, ``extra(step)`` is added to the loss."""
    rng = torch.Generator().manual_seed(seed)
    best = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    plan = torch.optim.lr_scheduler.LambdaLR(
        best, lambda i: min((i + 1) / 20, 0.5 + 0.5 * float(torch.cos(torch.tensor(3.14159 * i / steps))))
    )
    model.train()
    for step in range(steps):
        if before is not None:
            before(step)
        ids = draw(text, 16, LENGTH, rng)
        logits = model(ids)
        loss = nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:])
        if extra is not None:
            loss = loss + extra(step)
        best.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        best.step()
        plan.step()
    return model.eval()


def corpus():
    """The bytes to train on, 64 windows of the last tenth, which is not trained on, and 32 windows for thresholds."""
    text = torch.tensor([b for b in source().encode() if b < 128], dtype=torch.long)
    cut = len(text) * 9 // 10
    held = draw(text[cut:], 64, LENGTH, torch.Generator().manual_seed(99))
    return text[:cut], held, draw(text[:cut], 32, LENGTH, torch.Generator().manual_seed(98))

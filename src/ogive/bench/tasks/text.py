"""Predicting the next character of Python source by a small transformer."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ogive.bench.scores import bits, cross_entropy
from ogive.bench.spec import ActFactory, Data, Pair, TaskSpec

CONTEXT, WIDTH, HEADS, LAYERS = 32, 32, 2, 2
FILES = {  # modules that have been in the standard library for decades and are large enough
    "train": ("argparse", "ast", "calendar", "configparser", "difflib", "doctest", "inspect", "tarfile"),
    "validation": ("fractions", "heapq"),
    "test": ("statistics", "textwrap"),
}
WINDOWS = {"train": 12000, "validation": 240, "test": 320}
ALPHABET = "\n" + "".join(map(chr, range(32, 127)))  # other characters are read as a space


def windows(split: str) -> Pair:
    """Evenly spread windows of the split's files: characters 0..T-1 and the next ones, 1..T."""
    folder = Path(os.__file__).parent
    text = "\n".join(
        path.read_text(encoding="utf-8")
        for name in FILES[split]
        if (path := folder / f"{name}.py").exists()  # some became packages in later versions
    )
    code = {character: i for i, character in enumerate(ALPHABET)}
    ids = torch.tensor([code.get(character, code[" "]) for character in text])
    start = torch.linspace(0, len(ids) - CONTEXT - 1, WINDOWS[split]).long()
    window = ids[start[:, None] + torch.arange(CONTEXT + 1)]
    return window[:, :-1].contiguous(), window[:, 1:].contiguous()


def load() -> Data:
    """Windows of the three sets of files."""
    return Data(windows("train"), windows("validation"), windows("test"))


class Block(nn.Module):
    """Pre-norm attention and a feed-forward layer four times as wide, which holds the activation."""

    def __init__(self, act: ActFactory) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.act = act(channels=4 * WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, time, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, time, WIDTH))
        return x + self.down(self.act(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """Characters (batch, time) -> scores of the next one (batch, time, alphabet)."""

    def __init__(self, act: ActFactory) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(len(ALPHABET), WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block(act) for _ in range(LAYERS)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, len(ALPHABET))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.token(ids) + self.place.weight[: ids.shape[1]]
        return self.head(self.norm(self.blocks(x)))


TASK = TaskSpec(
    name="text",
    title="Python source, transformer",
    metric="bits per character",
    higher_is_better=False,
    description="Predict the next character of Python source code.",
    data="Modules of Python's standard library; validation and test are other files than training.",
    model="Decoder of two layers, width 32, context 32; the activation is in the feed-forward layers.",
    load=load,
    make_model=Transformer,
    loss=cross_entropy,
    score=bits,
    batch=16,
    steps=220,
    lrs=(1e-2, 3e-2, 6e-2),
)

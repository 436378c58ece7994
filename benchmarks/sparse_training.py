"""Sparsity that training makes: what the papers on it found, tried on models small enough to train here.

    python benchmarks/sparse_training.py lazy | law | stages | chance | spark | time  [--quick] [--seeds 3]

All but ``lazy`` and ``time`` train the character model of ``characters.py`` (half a million parameters, bytes of the
standard library's source), the same windows for every model of a seed; differences are paired, with 95 % t intervals.

``lazy``: the share of units that are not 0, by step, in a small vision transformer on scikit-learn's digits with its
true labels and with random ones; then the same network dense and with the largest eighth of its units, trained on
labels of which 40 % are wrong: accuracy and expected calibration error (15 bins) on clean test images.
``law``: zeros at PPL-1 % of SwiGLU and ReGLU models as they train.
``stages``: a trained ReGLU model under an L1 term that is constant, that jumps and that rises in sine stages, five
factors each: zeros against nats.
``chance``: SiLU, ReLU, SiLU finished on ReLU (Swi+FT) and a ReLU-or-SiLU draw a token finished on ReLU; then how
different 16 continuations of a prompt are when the draw alone makes them, and when a temperature does.
``spark``: a dense GEGLU against 8 % of its units by the statistical threshold, by the exact largest, and SparkFFN.
``time``: the statistical threshold against ``torch.topk`` and the exact largest, and how many units it keeps.

One thread.
"""

from __future__ import annotations

import argparse
import copy
import time

import numpy as np
import torch
from bit_flips import digits
from characters import Characters, corpus, train
from paired import compared, interval
from surgery_depth import Vit
from torch.nn import functional

from ogive.layers.act import Act
from ogive.surgery.effect import outputs
from ogive.surgery.sparsity import (
    SineStages,
    SparkFFN,
    Stochastic,
    TopK,
    UnitsNorm,
    feed_forwards,
    keep_topk,
    perplexity,
    ppl_sparsity,
    set_p,
    sparsity,
    statistical_topk,
    switch,
)

FACTORS = (1.0, 2.0, 4.0, 8.0, 16.0)


def calibration(logits, y, bins=15):
    """Expected calibration error: confidence minus accuracy, weighted over equal bins of confidence."""
    sure, best = logits.softmax(1).max(1)
    at = (sure * bins).long().clamp_max(bins - 1)
    error = 0.0
    for i in at.unique():
        inside = at == i
        right = (best[inside] == y[inside]).float().mean()
        error += float(inside.double().mean() * (sure[inside].mean() - right).abs())
    return error


def vit(seed, k=None):
    torch.manual_seed(seed)
    model = Vit()
    for block in model.blocks:
        block.act = Act("relu") if k is None else TopK(k, "relu")
    return model


def fitted(model, x, y, steps, seed, seen=None):
    rng = torch.Generator().manual_seed(seed)
    adam = torch.optim.Adam(model.parameters(), 1e-3)
    for step in range(steps):
        if seen is not None:
            seen(step)
        at = torch.randint(len(x), (64,), generator=rng)
        loss = functional.cross_entropy(model(x[at]), y[at])
        adam.zero_grad()
        loss.backward()
        adam.step()
    return model.eval()


def lazy(args):
    (x, y), (test_x, test_y) = digits()
    steps = 60 if args.quick else 1000
    marks = [0, 50] if args.quick else [0, 30, 100, 300, 999]
    print(f"share of units that are not 0 at step {marks}, ViT of 3 blocks on {len(x)} digits, {args.seeds} seeds")
    for labels in ("true", "random"):
        rows = []
        for seed in range(args.seeds):
            draw = torch.Generator().manual_seed(seed)
            wanted = y if labels == "true" else torch.randint(10, y.shape, generator=draw)
            model, row = vit(seed), []

            def seen(step, model=model, row=row):
                if step in marks:
                    row.append(1.0 - sparsity(model, x[:200]).down)

            fitted(model, x, wanted, steps, seed, seen)
            rows.append(row)
        means = "  ".join(f"{m:.3f}" for m in np.mean(rows, 0))
        print(f"  {labels:8s}{means}   last minus first {interval([r[-1] - r[0] for r in rows])}", flush=True)
    accuracy, error = {"dense": [], "top 1/8": []}, {"dense": [], "top 1/8": []}
    for seed in range(args.seeds):
        draw = torch.Generator().manual_seed(seed)
        wrong = torch.rand(y.shape, generator=draw) < 0.4
        noisy = torch.where(wrong, torch.randint(10, y.shape, generator=draw), y)
        for name, k in (("dense", None), ("top 1/8", 0.125)):
            logits = outputs(fitted(vit(seed, k), x, noisy, steps, seed), [test_x])
            accuracy[name].append(float((logits.argmax(1) == test_y).double().mean()))
            error[name].append(calibration(logits, test_y))
    for name, found in (("accuracy", accuracy), ("calibration error", error)):
        print(f"40 % of the labels random, {name} on clean images, {args.seeds} seeds")
        compared(found, "dense")


def law(args):
    text, held, data = corpus()
    steps, marks = (60, (30, 60)) if args.quick else (800, (50, 100, 200, 400, 800))
    print(f"zeros at PPL-1 % after steps of 16 x 96 bytes {marks}, and held-out nats, {args.seeds} seeds")
    for name, act in (("SwiGLU", "silu"), ("ReGLU", "relu")):
        rows, nats = [], []
        for seed in range(args.seeds):
            torch.manual_seed(seed)
            model, row = Characters(act, True), []

            def look(step, model=model, row=row):
                if step in marks:
                    report = ppl_sparsity(model, data, rise=0.01, time=False)
                    row.append(sparsity(model, held).down)
                    report.undo()

            train(model, text, steps, 3e-3, seed, before=look)
            look(steps)
            rows.append(row)
            nats.append(perplexity(model, held).nats)
        means = "  ".join(f"{m:.3f}" for m in np.mean(rows, 0))
        print(f"  {name:8s}{means}   last minus first {interval([r[-1] - r[0] for r in rows])}, "
              f"{np.mean(nats):.4f} nats", flush=True)  # fmt: skip


def stages(args):
    text, held, _ = corpus()
    first, steps = (60, 20) if args.quick else (300, 150)
    ends = (steps // 10, steps // 2, steps)
    plans = {
        "constant": lambda f: lambda step: f,
        "jumps": lambda f: lambda step: f * (0.1 if step < ends[0] else 0.5 if step < ends[1] else 1.0),
        "sine stages": lambda f: SineStages(ends, (0.1 * f, 0.5 * f, f)).at,
    }
    found = {}
    for seed in range(args.seeds):
        torch.manual_seed(seed)
        base = train(Characters("relu", True), text, first, 3e-3, seed)
        found.setdefault((0.0, "none"), []).append((perplexity(base, held).nats, sparsity(base, held).down))
        for factor in (0.0, *FACTORS):
            for name, plan in plans.items() if factor else [("trained on, no L1", plans["constant"])]:
                model, at = copy.deepcopy(base), plan(factor)
                with UnitsNorm(model, feed_forwards(model, held[:2])) as norm:
                    train(model, text, steps, 1e-3, seed + 100, lambda step, at=at, norm=norm: at(step) * norm())
                found.setdefault((factor, name), []).append((perplexity(model, held).nats, sparsity(model, held).down))
    print(f"ReGLU, {first} steps, then {steps} with the L1 term; {args.seeds} seeds")
    print(f"{'factor':>7} {'term':18s}{'nats':>8}{'zeros':>8}   minus constant: nats, zeros")
    for (factor, name), values in found.items():
        nats, zeros = np.array(values).T
        apart = ""
        if factor and name != "constant":
            other = np.array(found[factor, "constant"]).T
            apart = f"   {interval(nats - other[0])}, {interval(zeros - other[1])}"
        print(f"{factor:7g} {name:18s}{nats.mean():8.4f}{zeros.mean():8.1%}{apart}", flush=True)
    curves = {p: np.array([found[f, p] for f in FACTORS]) for p in plans}  # (factor, seed, nats and zeros)
    low, high = max(c[0, :, 1].max() for c in curves.values()), min(c[-1, :, 1].min() for c in curves.values())
    if low < high:
        middle = 0.5 * (low + high)
        print(f"nats at {middle:.1%} zeros, on the straight lines between factors")
        compared({p: [float(np.interp(middle, row[:, 1], row[:, 0])) for row in c.transpose(1, 0, 2)]
                  for p, c in curves.items()}, "constant")  # fmt: skip
    else:
        print("the shares of zeros of the three do not overlap, so nats are not compared at equal zeros")


def written(model, prompt, length, temperature=None, seed=0):
    """Continuations of the rows of ``prompt``: the most likely byte, or one drawn at a temperature."""
    rng, ids = torch.Generator().manual_seed(seed), prompt
    with torch.no_grad():
        for _ in range(length):
            logits = model(ids)[:, -1]
            if temperature is None:
                new = logits.argmax(1, keepdim=True)
            else:
                new = torch.multinomial((logits / temperature).softmax(1), 1, generator=rng)
            ids = torch.cat([ids, new], 1)
    return ids


def distinct(rows, n=4):
    """The share of different n-grams among all of some texts."""
    grams = [tuple(r[i : i + n]) for r in rows.tolist() for i in range(len(r) - n + 1)]
    return len(set(grams)) / len(grams)


def chance(args):
    text, held, _ = corpus()
    steps = 60 if args.quick else 600
    ways = {"ReLU": None, "SiLU": None, "SiLU, then ReLU (Swi+FT)": lambda i: switch(i, steps),
            "draw a token, then ReLU": lambda i: max(0.5, switch(i, steps))}  # fmt: skip
    nats, zeros, last = {w: [] for w in ways}, {w: [] for w in ways}, None
    for seed in range(args.seeds):
        for way, plan in ways.items():
            torch.manual_seed(seed)
            model = Characters("relu" if way == "ReLU" else "silu", True)
            if plan is not None:
                for block in model.blocks:
                    block.ffn.act = Stochastic("relu", "silu", 0.0)
            train(model, text, steps, 3e-3, seed,
                  before=None if plan is None else lambda i, model=model, plan=plan: set_p(model, plan(i)))  # fmt: skip
            nats[way].append(perplexity(model, held).nats)
            zeros[way].append(sparsity(model, held).down)
            last = model
    print(f"held-out nats after {steps} steps, the last tenth on ReLU, {args.seeds} seeds")
    compared(nats, "ReLU")
    print("zeros into down projections: " + ", ".join(f"{w} {np.mean(z):.1%}" for w, z in zeros.items()))
    print("16 continuations of each of 8 prompts by the last model, 48 bytes: distinct 4-grams, and nats a byte of\n"
          "what was written, by the same model finished on ReLU")  # fmt: skip
    acts = [m for m in last.modules() if isinstance(m, Stochastic)]
    torch.manual_seed(0)
    for name, p, temperature in (("greedy", 1.0, None), ("greedy, draws with p = 0.5", 0.5, None),
                                 ("temperature 0.3", 1.0, 0.3), ("temperature 0.6", 1.0, 0.6),
                                 ("temperature 1", 1.0, 1.0)):  # fmt: skip
        different, likely = [], []
        for i in range(8):
            for act in acts:
                act.p, act.inference = p, "sample"
            made = written(last, held[i, :48].repeat(16, 1), 48, temperature, seed=i)
            for act in acts:
                act.p = 1.0
            with torch.no_grad():
                logits = last(made)[:, 47:-1]
            likely.append(float(functional.cross_entropy(logits.transpose(1, 2), made[:, 48:])))
            different.append(distinct(made[:, 48:]))
        print(f"  {name:28s} {np.mean(different):.3f}  {np.mean(likely):.3f} nats", flush=True)


def spark(args):
    text, held, _ = corpus()
    steps = 60 if args.quick else 600

    def made(way):
        model = Characters("gelu", True)
        for block in model.blocks:
            if way == "SparkFFN, 8 %":
                block.ffn = SparkFFN(112, 456, 0.08)  # as many weights
            elif way != "dense":
                block.ffn.act = TopK(0.08, "gelu", statistical=way == "statistical, 8 %")
        return model

    found, zeros = {w: [] for w in ("dense", "largest 8 %", "statistical, 8 %", "SparkFFN, 8 %")}, {}
    for seed in range(args.seeds):
        for way in found:
            torch.manual_seed(seed)
            model = train(made(way), text, steps, 3e-3, seed)
            found[way].append(perplexity(model, held).nats)
            rows = [r.zeros for r in sparsity(model, held).rows if "down" in r.name]
            zeros.setdefault(way, []).append(np.mean(rows))
    print(f"held-out nats after {steps} steps, GEGLU, {args.seeds} seeds")
    compared(found, "dense")
    print("units not 0: " + ", ".join(f"{w} {1 - np.mean(z):.1%}" for w, z in zeros.items()))


def pace(args):
    print("milliseconds, 15th percentile, in turn; 64 rows of normal values, 8 % kept")
    print(f"{'units':>7}{'statistical':>13}{'torch.topk':>12}{'exact kept':>12}{'topk/statistical':>18}")
    for units in (1024, 8192) if args.quick else (1024, 4096, 14336, 65536):
        x, k = torch.randn(64, units), round(0.08 * units)
        ways = [lambda: statistical_topk(x, k), lambda: x.topk(k), lambda: keep_topk(x, k)]  # noqa: B023
        took = [[], [], []]
        for turn in range(6 if args.quick else 41):
            for times, way in zip(took, ways):
                began = time.thread_time()
                way()
                if turn:
                    times.append(1e3 * (time.thread_time() - began))
        low = [float(np.percentile(t, 15)) for t in took]
        print(f"{units:>7}" + "".join(f"{t:>12.3f}" for t in low) + f"{low[1] / low[0]:>17.1f}", flush=True)
    print("units kept of 8192, asked 655: share of 655, mean over 200 rows")
    normal = torch.randn(200, 8192, generator=torch.Generator().manual_seed(0))
    tails = torch.distributions.StudentT(3.0).sample((200, 8192))
    for name, x in (("normal", normal), ("t of 3 degrees", tails), ("uniform", torch.rand(200, 8192)),
                    ("exponential", -torch.rand(200, 8192).log())):  # fmt: skip
        print(f"  {name:16s}{float((statistical_topk(x, 655) > 0).sum(1).double().mean()) / 655:.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    runs = {"lazy": lazy, "law": law, "stages": stages, "chance": chance, "spark": spark, "time": pace}
    parser.add_argument("what", choices=runs)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    runs[args.what](args)


if __name__ == "__main__":
    main()

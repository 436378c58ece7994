"""Training the nonlinearity: transfer by rational activations, activations of pruned networks, silent units.

    python benchmarks/surgery_tuning.py nora | safs | ap  [--quick] [--seeds 5]

``nora``: an MLP 64-256-256-10 (GELU) trained on scikit-learn's digits, moved to the same digits turned by 60 degrees
with 300 labelled images: as it is, NoRA, LoRA of rank 1 on every Linear, both, the read-out alone, all weights. Each
way takes its best rate of three on a quarter of the 300.
``safs``: an MLP 64-128-64-10 (ReLU), pruned by magnitude; SAFS against ReLU trained on for as many steps as SAFS
trains in its last stage, and for as many as it trains in all (search and last stage).
``ap``: the same network pruned in rounds to 90 % and 97 %: dynamic dead rate by pruned share, accuracy with and
without the share that wakes units.

Test accuracy on images that took no part; paired seeds, 95 % t intervals of the differences. One thread.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import math
from collections import Counter

import numpy as np
import torch
from bit_flips import digits
from paired import compared
from torch import nn
from torch.nn import functional

from ogive.surgery.tuning import activate_while_prune, nora, safs
from ogive.surgery.tuning.sparse_training import cut, judged, magnitude_masks, train


def flat():
    (x, y), (test_x, test_y) = digits()
    return (x.flatten(1), y), (test_x.flatten(1), test_y)


def turned(x, degrees=60.0):
    angle = math.radians(degrees)
    way = torch.tensor([[math.cos(angle), -math.sin(angle), 0.0], [math.sin(angle), math.cos(angle), 0.0]])
    images = x.reshape(-1, 1, 8, 8)
    grid = functional.affine_grid(way.expand(len(x), 2, 3), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False).flatten(1)


def mlp(*sizes, act=nn.ReLU):
    layers = []
    for i, o in itertools.pairwise(sizes):
        layers += [nn.Linear(i, o), act()]
    return nn.Sequential(*layers[:-1])


class LowRank(nn.Module):
    """A frozen Linear and a low-rank change beside it."""

    def __init__(self, linear, rank):
        super().__init__()
        self.linear = linear
        self.down = nn.Parameter(torch.randn(rank, linear.in_features) / linear.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(linear.out_features, rank))

    def forward(self, x):
        return self.linear(x) + x @ self.down.T @ self.up.T


def lora(model, rank):
    for p in model.parameters():
        p.requires_grad_(False)
    for name, child in list(model.named_children()):
        if isinstance(child, nn.Linear):
            setattr(model, name, LowRank(child, rank))


def readout(model):
    for p in model.parameters():
        p.requires_grad_(False)
    for p in model[-1].parameters():
        p.requires_grad_(True)


def on_nora(args):
    (x, y), (test_x, test_y) = flat()
    new_x, new_y, new_test = turned(x)[:300], y[:300], turned(test_x)
    steps, seeds = (40, 2) if args.quick else (150, args.seeds)
    ways = {
        "frozen": (lambda m: None, ()),
        "nora": (lambda m: nora(m, new_x, groups=32, rank=4, time=False), (1e-2, 3e-2, 1e-1)),
        "lora": (lambda m: lora(m, 1), (1e-3, 3e-3, 1e-2)),
        "nora and lora": (lambda m: (lora(m, 1), both(m, new_x)), (1e-3, 3e-3, 1e-2)),
        "read-out": (readout, (1e-3, 3e-3, 1e-2)),
        "all weights": (lambda m: None, (3e-4, 1e-3, 3e-3)),
    }
    found, counts, starts = {k: [] for k in ways}, {}, []
    for seed in range(seeds):
        torch.manual_seed(seed)
        base = mlp(64, 256, 256, 10, act=nn.GELU)
        train(base, x, y, {}, steps=2 * steps, lr=2e-3, batch=64, seed=seed)
        for name, (change, rates) in ways.items():
            first = copy.deepcopy(base)
            change(first)
            if name == "nora":
                with torch.no_grad():
                    starts.append(float((first(new_x) - base(new_x)).norm() / base(new_x).norm()))
            counts[name] = 0 if name == "frozen" else sum(p.numel() for p in first.parameters() if p.requires_grad)
            trials = []
            for rate in rates:
                trial = copy.deepcopy(first)
                train(trial, new_x[75:], new_y[75:], {}, steps=steps, lr=rate, batch=64, seed=seed)
                trials.append((judged(trial, new_x[:75], new_y[:75])[0], rate))
            if trials:
                train(first, new_x, new_y, {}, steps=steps, lr=min(trials)[1], batch=64, seed=seed)
            found[name].append(judged(first, new_test, test_y)[1])
    total = sum(p.numel() for p in base.parameters())
    print(f"digits turned by 60 degrees, {seeds} seeds, {steps} steps, {total} weights; outputs moved by putting the "
          f"rationals in: at most {max(starts):.1e} relative")  # fmt: skip
    print("  parameters that train: " + ", ".join(f"{k} {v} ({v / total:.2%})" for k, v in counts.items()))
    compared(found, "lora")


def both(model, x):
    free = [p for p in model.parameters() if p.requires_grad]
    nora(model, x, groups=32, rank=4, time=False)
    for p in free:
        p.requires_grad_(True)


def on_safs(args):
    (x, y), (test_x, test_y) = flat()
    seeds, tries, probe, steps = (2, 4, 20, 40) if args.quick else (args.seeds, 12, 30, 150)
    for sparsity in (0.97,) if args.quick else (0.95, 0.99):
        found = {k: [] for k in ("dense", "relu, steps of last stage", "relu, steps of all", "safs")}
        picked = Counter()
        for seed in range(seeds):
            torch.manual_seed(seed)
            dense = mlp(64, 128, 64, 10)
            train(dense, x, y, {}, steps=2 * steps, lr=2e-3, batch=64, seed=seed)
            found["dense"].append(judged(dense, test_x, test_y)[1])
            masks = magnitude_masks(dense, sparsity)
            for name, length in (("relu, steps of last stage", steps), ("relu, steps of all", steps + tries * probe)):
                net = copy.deepcopy(dense)
                cut(net, masks)
                train(net, x, y, masks, steps=length, lr=3e-3, batch=64, seed=seed)
                found[name].append(judged(net, test_x, test_y)[1])
            net = copy.deepcopy(dense)
            report = safs(net, x, y, sparsity=sparsity, tries=tries, probe=probe, steps=steps, seed=seed, time=False)
            found["safs"].append(judged(net, test_x, test_y)[1])
            picked.update(f"{c.site}: {c.after}" for c in report.changes)
        print(f"digits MLP, {sparsity:.0%} of the weights away, {seeds} seeds; picked: "
              + ", ".join(f"{k} x{n}" for k, n in sorted(picked.items())))  # fmt: skip
        compared(found, "relu, steps of all")


def on_ap(args):
    (x, y), (test_x, test_y) = flat()
    seeds, steps = (2, 20) if args.quick else (args.seeds, 40)
    for sparsity in (0.9,) if args.quick else (0.9, 0.97):
        found = {f"wake {w:g}": [] for w in (0.0, 0.1, 0.3)}
        rates = {k: [] for k in found}
        for seed in range(seeds):
            torch.manual_seed(seed)
            dense = mlp(64, 128, 64, 10)
            train(dense, x, y, {}, steps=6 * steps, lr=2e-3, batch=64, seed=seed)
            for wake in (0.0, 0.1, 0.3):
                net = copy.deepcopy(dense)
                report = activate_while_prune(net, x, y, sparsity=sparsity, wake=wake, rounds=6, steps=steps, seed=seed,
                                              time=False)  # fmt: skip
                found[f"wake {wake:g}"].append(judged(net, test_x, test_y)[1])
                rates[f"wake {wake:g}"].append(report["dynamic dead rate"].after)
                if seed == 0:
                    print(f"  seed 0, wake {wake:g}: {report.notes[0]}")
        print(f"digits MLP pruned to {sparsity:.0%}, {seeds} seeds; dynamic dead rate at the end: "
              + ", ".join(f"{k} {np.mean(v):.3f}" for k, v in rates.items()))  # fmt: skip
        compared(found, "wake 0")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=("nora", "safs", "ap"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    {"nora": on_nora, "safs": on_safs, "ap": on_ap}[args.which](args)


if __name__ == "__main__":
    main()

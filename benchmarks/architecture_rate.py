"""The largest learning rate that a graph's paths predict, against the best one of a grid. MNIST-5k, relu.

    python benchmarks/architecture_rate.py [--seeds 2] [--width 64]

Plain perceptrons of 2 to 16 hidden layers and perceptrons with several paths. Each is drawn by `init_by_degree_` and
trained for four epochs of stochastic gradient descent without momentum (184 steps of batches of 64) at rates a factor
1.41 apart. The best rate is the one with the smallest mean training loss over the last ten steps, averaged over the
seeds. The rate of one hidden layer is searched in the same way and scaled by `Architecture.rate`. One thread, a few
minutes. Source of the comparison: Chen, Wu, Wang and Hanin 2024, figures 2 and 5.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
import torch
from torch import nn

from ogive.bench.tasks.mnist import load
from ogive.surgery.architecture import architecture, init_by_degree_

DEPTHS = (2, 3, 4, 6, 8, 11, 16)
# who feeds whom behind the input layer: every row is a layer, its entries the earlier ones it sums over
GRAPHS = {
    "two side by side": ((0,), (0,), (1, 2)),
    "all to all, 3": ((0,), (0, 1), (0, 1, 2)),
    "all to all, 4": ((0,), (0, 1), (0, 1, 2), (0, 1, 2, 3)),
    "long and short": ((0,), (1,), (2,), (0, 3)),
    "diamond of 5": ((0,), (0,), (0,), (1, 2, 3), (4,)),
}
GRID, EPOCHS = [2.0 ** (k / 2) for k in range(-18, 3)], 4


class Summed(nn.Module):
    """z_l = sum over l' of W_{l'l} relu(z_l'), and a linear map of relu of the last one."""

    def __init__(self, rows, width):
        super().__init__()
        self.rows = rows
        self.first = nn.Linear(784, width)
        self.maps = nn.ModuleList(nn.ModuleList(nn.Linear(width, width) for _ in row) for row in rows)
        self.last = nn.Linear(width, 10)

    def forward(self, x):
        z = [self.first(x.flatten(1))]
        for row, maps in zip(self.rows, self.maps):
            z.append(sum(m(torch.relu(z[k])) for k, m in zip(row, maps)))
        return self.last(torch.relu(z[-1]))


def plain(depth):
    return tuple((k,) for k in range(depth - 1))


def loss_at(rows, width, rate, seed, data):
    """Mean training loss of the last ten steps; infinite where it leaves the reals."""
    model = Summed(rows, width)
    init_by_degree_(model, data[0][:4], generator=torch.Generator().manual_seed(seed))
    order, size = torch.Generator().manual_seed(seed), len(data[0])
    losses = []
    for batch in (b for _ in range(EPOCHS) for b in torch.randperm(size, generator=order)[: size // 64 * 64].split(64)):
        loss = nn.functional.cross_entropy(model(data[0][batch]), data[1][batch])
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            return math.inf
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= rate * p.grad
    return sum(losses[-10:]) / 10


def best(rows, width, seeds, data):
    """The best rate of the grid and its loss, climbing down from a rate that diverges or is worse for all seeds."""
    losses = {}
    for rate in GRID[::-1]:
        losses[rate] = sum(loss_at(rows, width, rate, s, data) for s in range(seeds)) / seeds
        last = list(losses.values())[-5:]
        if len(last) == 5 and all(math.isfinite(v) for v in last) and last == sorted(last):
            break  # four steps down the grid, each worse than the one before
    rate = min(losses, key=losses.__getitem__)
    return rate, losses[rate]


def main():
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--seeds", type=int, default=2)
    asked.add_argument("--width", type=int, default=64)
    given = asked.parse_args()
    torch.set_num_threads(1)
    began, data = time.perf_counter(), load().train
    base = architecture(Summed((), given.width), data[0][:4])
    base_rate, _ = best((), given.width, given.seeds, data)
    print(f"one hidden layer of {given.width}: best rate {base_rate:.3g}; {given.seeds} seeds\n")
    print("| graph | paths | deepest | predicted rate | best of the grid | loss there |\n|---|---|---|---|---|---|")
    found = {}
    nets = {f"{d} hidden layers": plain(d) for d in DEPTHS} | GRAPHS
    for name, rows in nets.items():
        here = architecture(Summed(rows, given.width), data[0][:4])
        predicted = here.rate(base, base_rate)
        searched, loss = best(rows, given.width, given.seeds, data)
        found[name] = (predicted, searched)
        count = sum(n for _, n in here.paths)
        print(f"| {name} | {count} | {here.paths[-1][0]} | {predicted:.3g} | {searched:.3g} | {loss:.2f} |", flush=True)
    print()
    for what, chosen in (("plain", list(nets)[: len(DEPTHS)]), ("all", list(nets))):
        x, y = np.log([found[n] for n in chosen]).T
        slope = np.polyfit(x, y, 1)[0]
        print(f"{what}: correlation of the logarithms {np.corrcoef(x, y)[0, 1]:.3f}, slope {slope:.2f}, "
              f"typical factor between the two {math.exp(float(np.abs(x - y).mean())):.2f}")  # fmt: skip
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()

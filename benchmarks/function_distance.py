"""Function-space distance without data: predicted against true, and as a regulariser on a stream of tasks. Digits.

    python benchmarks/function_distance.py [--seeds 5]

First: perceptrons 64-64-64-10 are trained on digits, 40 copies are moved by noise of one scale in one parameter and
40 by up to 40 steps of training on digits with permuted pixels. Rank correlations with the true mean squared distance
of the outputs are those of the prediction, of the diagonal Fisher form that EWC uses and of the plain squared distance
of the weights; "ratio" is the geometric mean of predicted over true and the factor it varies by (one standard
deviation). Second: digits, and two permutations of their pixels, one after the other; at the end the test accuracy over
all three. Strengths are chosen on a seed that is not used again, seeds are paired, the intervals are t intervals of
the difference from EWC. One thread, a few minutes.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from statistics import mean

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

import ogive
from ogive.bench.tasks.digits import load
from ogive.probe.function_distance import function_distance, gate_statistics
from ogive.statistics.inference import t_interval

ACTS = ("relu", "gelu", "tanh", "sin")
COPIES, STEPS, WIDTH, TUNING = 40, 200, 64, 1000
STRENGTHS = {
    "nothing": (0.0,),
    "EWC": (0.1, 1.0, 10.0, 100.0, 1000.0),
    "function distance": (0.01, 0.03, 0.1, 0.3),
}


def network(act, seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, WIDTH), ogive.Act(act), nn.Linear(WIDTH, WIDTH), ogive.Act(act),
                          nn.Linear(WIDTH, 10))  # fmt: skip
    ogive.init_(model, torch.rand(4, 64), input_moment=None, check=False)
    return model


def train(model, x, y, steps, seed, penalty=None, rate=1e-3):
    order = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(steps):
        rows = torch.randint(len(x), (64,), generator=order)
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        if penalty is not None:
            loss = loss + penalty(model)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model


def fisher(model, x):
    """The mean square of the gradient of log p(y|x) by every weight, y drawn from the model."""
    weights = {k: v.detach().clone() for k, v in model.named_parameters()}
    with torch.no_grad():
        drawn = torch.distributions.Categorical(logits=model(x)).sample()

    def loss(values, one, label):
        return nn.functional.cross_entropy(functional_call(model, values, (one[None],)), label[None])

    found = vmap(grad(loss), in_dims=(None, 0, 0))(weights, x, drawn)
    return weights, {k: v.square().mean(0) for k, v in found.items()}


def quadratic(weights, scale, model):
    moved = ((v - weights[k], scale[k]) for k, v in model.named_parameters())
    return sum((s * d.square()).sum() for d, s in moved)


def ranks(values):
    return np.argsort(np.argsort(values))


def scatter(act, x, y):
    """A row for copies moved by noise and one for copies moved by training."""
    model = train(network(act, 0), x, y, STEPS, 0)
    kept, (weights, scale) = gate_statistics(model, x), fisher(model, x)
    ones = {k: torch.ones_like(v) for k, v in weights.items()}
    before, rng = model(x).detach(), np.random.default_rng(0)
    for how in ("noise", "training"):
        rows = []
        for k in range(COPIES):
            other = copy.deepcopy(model)
            with torch.no_grad():
                if how == "noise":
                    p = list(other.parameters())[rng.integers(6)]
                    p.add_(0.05 * torch.randn(p.shape))
            if how == "training":
                train(other, x[:, torch.randperm(64)], y, int(rng.integers(1, 41)), k)
            with torch.no_grad():
                true = (other(x) - before).square().sum(1).mean()
                rows.append([float(v) for v in (true, function_distance(kept, other),
                             quadratic(weights, scale, other), quadratic(weights, ones, other))])  # fmt: skip
        true, predicted, *_ = columns = np.array(rows).T
        found = [np.corrcoef(ranks(true), ranks(c))[0, 1] for c in columns[1:]]
        ratio = np.log(predicted / true)
        print(f"| {act} | {how} | {found[0]:.3f} | {found[1]:.3f} | {found[2]:.3f} | "
              f"{math.exp(ratio.mean()):.2f} x/÷ {math.exp(ratio.std()):.2f} |", flush=True)  # fmt: skip


def stream(act, method, strength, seed, data):
    """Mean test accuracy over the three tasks after the last, and on the validation rows."""
    (x, y), (xv, yv), (xt, yt) = data.train, data.validation, data.test
    rng = torch.Generator().manual_seed(seed)
    views = [torch.arange(64), *(torch.randperm(64, generator=rng) for _ in range(2))]
    model, past = network(act, seed), []

    def penalty(current):
        if method == "EWC":
            return 0.5 * strength * sum(quadratic(w, s, current) for w, s in past)
        return 0.5 * strength * sum(function_distance(s, current) for s in past)

    for k, view in enumerate(views):
        train(model, x[:, view], y, STEPS, seed + k, penalty if past and strength else None)
        if method == "EWC":
            past.append(fisher(model, x[:, view]))
        elif method == "function distance":
            past.append(gate_statistics(model, x[:, view]))

    def score(inputs, labels):
        with torch.no_grad():
            return mean(float((model(inputs[:, v]).argmax(1) == labels).float().mean()) for v in views)

    return score(xv, yv), score(xt, yt)


def main():
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--seeds", type=int, default=5)
    given = asked.parse_args()
    torch.set_num_threads(1)
    began, data = time.perf_counter(), load()
    print("rank correlation with the true distance\n\n| activation | moved by | predicted | Fisher | weights | ratio |")
    print("|---|---|---|---|---|---|")
    for act in ACTS:
        scatter(act, *data.train)
    print(f"\nthree tasks, {given.seeds} seeds, accuracy over all three after the last, per cent\n")
    print("| activation | method | strength | accuracy | - EWC | 95 % interval |\n|---|---|---|---|---|---|")
    for act in ("relu", "gelu"):
        scores = {}
        for method, strengths in STRENGTHS.items():
            strength = max((stream(act, method, s, TUNING, data)[0], s) for s in strengths)[1]
            scores[method] = (strength, [stream(act, method, strength, s, data)[1] for s in range(given.seeds)])
        for method, (strength, values) in scores.items():
            gaps = [100 * (a - b) for a, b in zip(values, scores["EWC"][1])]
            ends = t_interval(gaps) if method != "EWC" else None
            cell = "" if ends is None else f"[{ends[0]:+.1f}, {ends[1]:+.1f}]"
            print(f"| {act} | {method} | {strength:g} | {100 * mean(values):.1f} | {mean(gaps):+.1f} | {cell} |",
                  flush=True)  # fmt: skip
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()

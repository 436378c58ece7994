"""Does initialisation decide whether a deep plain network trains? MNIST-5k, twelve activations, paired seeds.

    python benchmarks/signal_training.py mlp   [--out FILE] [--seeds 5]
    python benchmarks/signal_training.py cnn   [--out FILE] [--seeds 5]
    python benchmarks/signal_training.py depth [--out FILE]

``mlp``: 50 hidden layers of 128; ``cnn``: 30 convolutions of 16 channels, 3 x 3, no normalisation and no shortcut
in either. The ways to start are torch's default, ``calculate_gain`` where torch has one, ``init_``, ``init_`` with
orthogonal weights and stable biases, ``lsuv_`` and tailored activations with orthogonal weights. Each pair of way and
activation chooses among the same learning rates by one run of half the length on a seed that is not used again; a seed
fixes the order of the data and the generator of the weights for all of them. A run trains when it ends above 50 % test
accuracy (10 % is chance). ``depth``: normal weights of stated variances, by depth, beside the depth scale of
``mean_field``. Finished runs are kept in FILE (JSON lines) and not run again.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from torch import nn

import ogive
from ogive.bench.tasks.mnist import load
from ogive.errors import OgiveError
from ogive.statistics.inference import t_interval

ACTS = ("relu", "leaky_relu", "selu", "tanh", "sigmoid", "elu", "softplus", "gelu", "silu", "mish", "golu", "sin")
CLASSICAL = ("relu", "leaky_relu", "selu", "tanh", "sigmoid")  # what calculate_gain knows
WAYS = ("torch", "calculate_gain", "init_", "init_ stable", "lsuv_", "tailored")
RATES = (3e-3, 1e-2, 3e-2, 1e-1)
TUNING, CHANCE, TRAINED = 1000, 0.1, 0.5
STEPS = {"mlp": 300, "cnn": 120}
BATCH = {"mlp": 100, "cnn": 50}
DEPTHS = (8, 16, 32, 64, 128)
LINES = (  # activation, sigma_w^2, sigma_b^2
    ("tanh", 0.8, 0.0), ("tanh", 1.0, 0.05), ("tanh", 1.3, 0.05), ("tanh", 1.76, 0.05), ("tanh", 2.5, 0.05),
    ("tanh", 4.0, 0.05), ("erf", 1.5, 0.05), ("softsign", 2.0, 0.05), ("sin", 1.5, 0.05), ("sin", 4.0, 0.05),
    ("relu", 1.5, 0.05), ("gelu", 1.98305826, 0.17292239), ("gelu", 1.2, 0.1), ("sigmoid", 1.0, 0.0),
)  # fmt: skip


def network(kind, act, depth=None):
    """The model and the number of its hidden layers."""
    if kind == "mlp":
        depth = depth or 50
        body = [nn.Flatten(), nn.Linear(784, 128), ogive.Act(act)]
        for _ in range(depth - 1):
            body += [nn.Linear(128, 128), ogive.Act(act)]
        return nn.Sequential(*body, nn.Linear(128, 10)), depth
    body = [nn.Conv2d(1, 16, 3, stride=2, padding=1), ogive.Act(act)]
    for i in range(29):
        body += [nn.Conv2d(16, 16, 3, stride=2 if i == 4 else 1, padding=1), ogive.Act(act)]
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(16 * 49, 10)), 30


def tailored(act, depth):
    """By deep kernel shaping; for relu, whose two slopes leave one number free, without the condition on the slope."""
    try:
        return ogive.tailor(act, "dks", depth=depth)
    except OgiveError:
        return ogive.tailor(act, "dks", depth=depth, slope=None)


def start(kind, act, way, seed, x):
    """A model of ``kind`` begun in one of the ways; None where the way does not exist for the activation."""
    if way == "calculate_gain" and act not in CLASSICAL:
        return None
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    model, depth = network(kind, act)
    if way == "tailored":
        model, _ = network(kind, tailored(act, depth))
        ogive.init_(model, x, distribution="orthogonal", check=False, generator=rng)
    elif way == "calculate_gain":
        gain = nn.init.calculate_gain(act)
        for name, p in model.named_parameters():
            if p.dim() > 1:
                nn.init.kaiming_normal_(p, nonlinearity="linear", generator=rng)
                p.data.mul_(1.0 if name.startswith(("0.", "1.")) else gain)
            else:
                nn.init.zeros_(p)
    elif way == "init_":
        ogive.init_(model, x, check=False, generator=rng)
    elif way == "init_ stable":
        ogive.init_(model, x, distribution="orthogonal", bias="stable", check=False, generator=rng)
    elif way == "lsuv_":
        ogive.lsuv_(model, x, generator=rng)
    return model


def train(model, data, rate, seed, steps, size):
    """Stochastic gradient descent with momentum 0.9, batches of ``size``. Accuracy on the validation and on the test
    part; chance for what left the reals."""
    x, y = data.train
    order = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    at = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(at) < size:
            at = torch.randperm(len(x), generator=order)
        batch, at = at[:size], at[size:]
        loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
        if not math.isfinite(loss.item()):
            return [CHANCE, CHANCE]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return [float((model(u).argmax(1) == v).double().mean()) for u, v in (data.validation, data.test)]


class Log:
    """Finished runs by key; a new one is written before it is used."""

    def __init__(self, path):
        self.path = Path(path)
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        self.done = {tuple(row["key"]): row["value"] for row in map(json.loads, lines)}

    def __call__(self, key, run):
        if key not in self.done:
            self.done[key] = run()
            with self.path.open("a") as f:
                f.write(json.dumps({"key": key, "value": self.done[key]}) + "\n")
        return self.done[key]


def cell(kind, act, way, seeds, data, log):
    """Accuracies of one activation begun in one way, at the learning rate it chose; None where there is no way."""
    example = data.train[0][:100]

    def run(rate, seed, steps):
        model = start(kind, act, way, seed, example)
        return None if model is None else train(model, data, rate, seed, steps, BATCH[kind])

    tuned = [log((kind, act, way, "tune", r), lambda r=r: run(r, TUNING, STEPS[kind] // 2)) for r in RATES]
    if None in tuned:
        return None
    rate = max(zip(tuned, RATES))[1]  # by the validation part
    return [log((kind, act, way, rate, s), lambda s=s: run(rate, s, STEPS[kind]))[1] for s in range(seeds)]


def ways(kind, seeds, data, log):
    """The table: share of seeds that train, mean test accuracy in per cent and its 95 % interval."""
    print("| | " + " | ".join(WAYS) + " |\n|---|" + "---|" * len(WAYS))
    for act in ACTS:
        row = []
        for way in WAYS:
            scores = cell(kind, act, way, seeds, data, log)
            row.append("-" if scores is None else written(scores))
        print(f"| {act} | " + " | ".join(row) + " |", flush=True)


def written(scores):
    low, high = t_interval(scores) or (math.nan, math.nan)
    trained = sum(s > TRAINED for s in scores)
    return f"{trained}/{len(scores)} {100 * mean(scores):.0f} [{100 * max(low, 0):.0f}, {100 * min(high, 1):.0f}]"


def gaussian(act, depth, weights, biases, seed):
    """Normal weights of variance ``weights``/fan in and biases of variance ``biases``."""
    model, _ = network("mlp", act, depth)
    rng = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        std = math.sqrt(weights / p.shape[1]) if p.dim() > 1 else math.sqrt(biases)
        p.data.copy_(std * torch.randn(p.shape, generator=rng))
    return model


def reach(line, data, log):
    """Mean test accuracy by depth, and the greatest depth at which two of three seeds train (0: none). Each run
    takes the learning rate that is best on the validation part; beyond a depth where none trains, none is tried."""
    act, weights, biases = line
    found, reached = [], 0
    for depth in DEPTHS:

        def run(rate, seed, depth=depth):
            return train(gaussian(act, depth, weights, biases, seed), data, rate, seed, STEPS["mlp"], BATCH["mlp"])

        best = [
            max(log(("depth", *line, depth, r, s), lambda r=r, s=s: run(r, s)) for r in RATES[:3]) for s in range(3)
        ]
        found.append(mean(test for _, test in best))
        if sum(test > TRAINED for _, test in best) < 2:
            break
        reached = depth
    return found, reached


def depths(data, log):
    """Depth scales predicted from the formula beside the greatest depth that trains."""
    print("| activation | sigma_w^2 | sigma_b^2 | phase | scale | " + " | ".join(map(str, DEPTHS)) + " | trains to |")
    print("|" + "---|" * (6 + len(DEPTHS)))
    scales, reached = [], []
    for line in LINES:
        field = ogive.mean_field(line[0], sigma_w=math.sqrt(line[1]), sigma_b=math.sqrt(line[2]))
        known = [s for s in (field.depth_correlation, field.depth_gradient) if s is not None]
        scales.append(min(known, default=math.inf))
        found, deepest = reach(line, data, log)
        reached.append(deepest)
        cells = [*(f"{100 * a:.0f}" for a in found), *[""] * (len(DEPTHS) - len(found))]
        row = (line[0], f"{line[1]:g}", f"{line[2]:g}", field.phase, f"{scales[-1]:.1f}", *cells, str(deepest))
        print(f"| {' | '.join(row)} |", flush=True)
    ranks = np.corrcoef(average_ranks(scales), average_ranks(reached))[0, 1]
    print(f"rank correlation of the scale and the depth reached: {ranks:.2f}")


def average_ranks(values):
    """Ranks from 0; equal values share their mean rank."""
    return [sum(b < a for b in values) + (sum(b == a for b in values) - 1) / 2 for a in values]


def main():
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("what", choices=("mlp", "cnn", "depth"))
    asked.add_argument("--seeds", type=int, default=5)
    asked.add_argument("--out", default="signal-training.jsonl")
    given = asked.parse_args()
    torch.set_num_threads(1)
    data, log, began = load(), Log(given.out), time.perf_counter()
    depths(data, log) if given.what == "depth" else ways(given.what, given.seeds, data, log)
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()

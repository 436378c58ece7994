"""Deep random features: predicted against measured ridge error, and how the error of a read-out falls with features.

    python benchmarks/random_features.py           both tables
    python benchmarks/random_features.py ridge     normal inputs: predicted and measured test error, depth 1 to 3
    python benchmarks/random_features.py digits    MNIST-5k: read-outs of 64 to 2048 features against the NNGP

A few minutes on one thread.
"""

from __future__ import annotations

import math
import sys

import torch

from ogive.bench.tasks.mnist import load
from ogive.derive.random_features import deep_features
from ogive.derive.wide.feature_readout import readout

ACTS = ("tanh", "relu", "erf", "gelu", "softplus", "sin(3*x)")
INPUTS, WIDTH, NOISE = 300, 400, 0.1
CASES = ((200, 1e-2), (800, 1e-3))  # examples, ridge
COUNTS = (64, 128, 256, 512, 1024, 2048)
SMOOTH = ("tanh", "relu", "erf", "gelu", "softplus", "sin(x)")


def measured(stack, target, samples, ridge, repeats, g):
    """The mean over ``repeats`` sets of examples of the test error, and its standard error."""
    errors = []
    for _ in range(repeats):
        fresh = torch.randn(1000, INPUTS, generator=g, dtype=torch.float64)
        seen, want = stack(fresh), fresh @ target
        x = torch.randn(samples, INPUTS, generator=g, dtype=torch.float64)
        y = x @ target + math.sqrt(NOISE) * torch.randn(samples, generator=g, dtype=torch.float64)
        f = stack(x)
        middle, level = f.mean(0), y.mean()
        f = f - middle
        lifted = f.T @ f / samples + ridge * torch.eye(WIDTH, dtype=torch.float64)
        w = torch.linalg.solve(lifted, f.T @ (y - level) / samples)
        errors.append(float(((seen - middle) @ w + level - want).square().mean()) + NOISE)
    e = torch.tensor(errors)
    return float(e.mean()), float(e.std()) / math.sqrt(repeats)


def ridge_table():
    print(f"ridge test error, {INPUTS} normal inputs, {WIDTH} features a layer, linear target, noise {NOISE}")
    print(f"{'':10} depth  " + "   ".join(f"n={n} ridge={r:g}: predicted measured   off/s.e." for n, r in CASES))
    g = torch.Generator().manual_seed(450)
    worst = 0.0
    for act in ACTS:
        for depth in (1, 2, 3):
            stack = deep_features(act, [WIDTH] * depth, inputs=INPUTS, sigma_w=1.4, generator=g)
            target = torch.randn(INPUTS, generator=g, dtype=torch.float64)
            target /= target.norm()
            cells = []
            for n, r in CASES:
                want = stack.ridge(n, r, target=target, noise=NOISE).test
                got, error = measured(stack, target, n, r, 12, g)
                worst = max(worst, abs(got - want) / want)
                cells.append(f"{want:19.4f} {got:10.4f}+-{error:.4f} {(got - want) / error:6.1f}  ")
            print(f"{act:10} {depth:5}  " + " ".join(cells), flush=True)
    print(f"largest relative difference {worst:.3f}")


def digits_table():
    data = load()
    images, digit = data.train
    x = images.reshape(len(images), -1).double()
    x = x * (math.sqrt(x.shape[1]) / x.norm(dim=1, keepdim=True))
    parity = torch.where(digit % 2 == 0, 1.0, -1.0).double()
    known, asked = slice(0, 200), slice(200, 500)
    print("read-outs on digits: error of the NNGP posterior mean (even or odd, 200 digits), relative, on 300 others")
    print(f"{'':10} depth  norm  {''.join(f'{c:>8}' for c in COUNTS)}   slope  constant")
    g = torch.Generator().manual_seed(464)
    for act in SMOOTH:
        for depth in (1, 2, 3):
            got = readout(act, x[known], parity[known], x[asked], COUNTS, depth=depth, repeats=6, generator=g)
            rows = (("averaged", got.averaged, got.slopes[0]), ("fitted", got.fitted, got.slopes[1]))
            for name, errors, s in rows:
                head = f"{act:10} {depth:5} {got.norm:6.2f}" if name == "averaged" else f"{name:>10} {'':12}"
                tail = f"{got.constant:9.2f}" if name == "averaged" else ""
                print(head, "".join(f"{e:8.4f}" for e in errors), f"{s:7.3f}", tail, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    wanted = sys.argv[1:] or ["ridge", "digits"]
    if "ridge" in wanted:
        ridge_table()
    if "digits" in wanted:
        digits_table()

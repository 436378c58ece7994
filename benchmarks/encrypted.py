"""A digits CNN evaluated under CKKS with TenSEAL: accuracy by degree and fit, agreement, seconds an image.

    python benchmarks/encrypted.py [--quick] [--images 24] [--out FILE]

Trains a small CNN with ReLUs on scikit-learn's digits (8 x 8, three quarters for training), puts polynomials in the
place of the ReLUs, trains them on for a short while with the range loss, and runs images that were in no training
encrypted. Times are of one thread on the machine at hand: their ratios hold, not their size.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from ogive.surgery.private.encrypted import encrypt
from ogive.surgery.private.polynomialise import polynomialise
from ogive.surgery.private.range import escapes, range_loss


def digits(seed=0):
    """Images (n, 1, 8, 8) in [0, 1] and labels, in a fixed random order: training, test."""
    found = load_digits()
    x = torch.tensor(found.images, dtype=torch.float32)[:, None] / 16
    y = torch.tensor(found.target)
    at = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    x, y, cut = x[at], y[at], 3 * len(x) // 4
    return (x[:cut], y[:cut]), (x[cut:], y[cut:])


def network():
    """Two hidden layers, all vectors below 130 entries: products of encrypted vectors cost by their length."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10),
    )  # fmt: skip


def trained(model, x, y, steps, lr, seed, outside=None):
    """Adam on cross entropy, plus the range loss where there is one."""
    rng = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr)
    model.train()
    for _ in range(steps):
        at = torch.randint(len(x), (64,), generator=rng)
        loss = functional.cross_entropy(model(x[at]), y[at])
        if outside is not None:
            loss = loss + 0.1 * outside()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    return model.eval()


def accuracy(model, x, y):
    with torch.no_grad():
        return float((model(x).argmax(1) == y).double().mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two images, one degree")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--degrees", type=int, nargs="+", default=[2, 3, 4, 7])
    parser.add_argument("--encrypt", type=int, default=3, help="the degree that is run encrypted")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    (x, y), (test_x, test_y) = digits()
    steps = 200 if args.quick else 1500
    relu = trained(network(), x, y, steps, 3e-3, 0)
    print(f"digits CNN, ReLU: test accuracy {accuracy(relu, test_x, test_y):.4f} on {len(test_x)} images")
    print(f"{'degree':>6} {'fit':>8} {'put in':>8} {'trained on':>10} {'outside':>8}  levels")
    kept, rows = None, []
    for degree in [args.encrypt] if args.quick else args.degrees:
        for fit in ("sample", "normal", "minimax"):
            model = copy.deepcopy(relu)
            polynomialise(model, x, degree=degree, fit=fit, time=False)
            put = accuracy(model, test_x, test_y)
            with range_loss(model) as outside:
                trained(model, x, y, steps // 4, 1e-3, 1, outside)
            after, share = accuracy(model, test_x, test_y), escapes(model, test_x).worst
            levels = 3 + 2 * (1 if degree == 2 else degree.bit_length())
            print(f"{degree:>6} {fit:>8} {put:>8.4f} {after:>10.4f} {share:>8.3%}  {levels}", flush=True)
            rows.append({"degree": degree, "fit": fit, "put in": put, "trained on": after, "outside": share})
            if degree == args.encrypt and fit == "sample":
                kept = model
    began = time.perf_counter()
    ready = encrypt(kept, test_x[:1])
    print(f"\n{ready}\nkeys and matrices: {time.perf_counter() - began:.1f} s")
    count = 2 if args.quick else args.images
    found = ready.agreement(test_x[:count])
    right = [float((torch.from_numpy(o).argmax(1) == test_y[:count]).double().mean())
             for o in (found.plain, found.encrypted)]  # fmt: skip
    print(f"{found}\nright: plain {right[0]:.3f}, encrypted {right[1]:.3f}\n{ready.levels()}")
    if args.out:
        made = {"rows": rows, "agreement": found.to_dict(), "right": right, "seconds": ready.seconds}
        args.out.write_text(json.dumps(made, indent=1))


if __name__ == "__main__":
    main()

"""Certified training on digits: what the start and the regularisers of a short warm-up are worth, on paired seeds.

``python benchmarks/certified_training.py`` prints (1) the mean width of intervals by depth behind He's and behind the
interval-keeping start, (2) error and certified error on held-out digits (8 x 8, pixels from 0 to 1) after a short
schedule with and without the parts: He's start, the start, the start with both regularisers; by intervals or by
CROWN-IBP (``--methods``), for several activations. Every row uses the same seeds (weights, order of examples).
``--quick`` takes a shallow part of it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, nn

import ogive
from ogive.verify import verify
from ogive.verify.network import Box
from ogive.verify.tracer import trace
from ogive.verify.training import certified_fit
from ogive.verify.warmup import ibp_

torch.set_num_threads(1)

PARTS = {"He": (False, 0.0), "start": (True, 0.0), "start+reg": (True, 0.5)}


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    from sklearn.datasets import load_digits

    found = load_digits()
    order = torch.randperm(len(found.data), generator=torch.Generator().manual_seed(0))
    x = torch.tensor(found.data / 16.0, dtype=torch.float32)[order]
    y = torch.tensor(found.target, dtype=torch.long)[order]
    cut = len(x) * 4 // 5
    return x[:cut], y[:cut], x[cut:], y[cut:]


def mlp(act: str, depth: int, width: int = 100) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Linear(64 if i == 0 else width, width), ogive.Act(act)]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def he_(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for m in model.modules():
        if isinstance(m, nn.Linear):
            nn.init.normal_(m.weight, 0.0, (2.0 / m.in_features) ** 0.5, generator=generator)
            nn.init.zeros_(m.bias)


def widths(model: nn.Module, x: Tensor, eps: float) -> list[float]:
    """Mean widths of intervals behind every linear layer, over that of the input."""
    network = trace(model, x[:1])
    with torch.no_grad():
        boxes = network.boxes(Box(x - eps, x + eps))
    return [float((b.hi - b.lo).mean()) / (2.0 * eps) for s, b in zip(network.steps, boxes) if s.linear]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--eps", type=float, default=0.05)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--acts", default="relu,gelu")
    parser.add_argument("--methods", default="ibp", help="ibp,crown-ibp; the second takes four times as long")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.epochs, options.seeds, options.acts = 15, 1, "relu"
    x, y, xt, yt = digits()
    print("mean width by depth over that of the input (10 hidden layers of 100, eps 0.01)")
    for act in ("relu", "gelu", "silu", "tanh", "x*sigmoid(1.3*x)"):
        deep = mlp(act, 10)
        for name, start in (("He", lambda m: he_(m, 0)), ("start", lambda m: ibp_(m, x[:64], 0.01))):
            torch.manual_seed(0)
            start(deep)
            found = widths(deep, x[:64], 0.01)
            print(f"  {act:18} {name:6} " + " ".join(f"{w:9.3g}" for w in found[::2]))
    print(f"digits, {options.depth} x 100, eps {options.eps:g}, {options.epochs} epochs: error and certified error "
          f"(CROWN), mean of {options.seeds} seeds (each seed)")  # fmt: skip
    for act in options.acts.split(","):
        for method in options.methods.split(","):
            for name, (init, weight) in PARTS.items():
                errors, open_, began = [], [], time.perf_counter()
                for seed in range(options.seeds):
                    model = mlp(act, options.depth)
                    he_(model, seed)
                    certified_fit(model, x, y, options.eps, options.epochs, method=method, within=(0.0, 1.0),
                                  init=init, regularise=weight, seed=seed, rate=2e-3)  # fmt: skip
                    with torch.no_grad():
                        errors.append(float((model(xt).argmax(1) != yt).float().mean()))
                    proved = verify(model, xt, options.eps, labels=yt, method="crown", within=(0.0, 1.0),
                                    attacks=False, dtype=torch.float32, batch=128)  # fmt: skip
                    open_.append(1.0 - proved.verified)
                each = " ".join(f"{v:.3f}" for v in open_)
                took = time.perf_counter() - began
                print(f"  {act:8} {method:10} {name:10} error {statistics.mean(errors):.3f}  certified error "
                      f"{statistics.mean(open_):.3f} ({each})  {took:.0f} s", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()

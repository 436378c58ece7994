"""Gated against plain feed-forward layers at equal parameters, in a small character-level transformer.

    python benchmarks/gates.py [--seeds 3] [--steps 220]

The transformer, the text, the optimiser and the tuning are those of `ogive compare --tasks text`: every variant
gets its learning rate from the same grid by the validation score of one seed, then the test seeds are others and
shared, so differences are paired. A plain layer has 128 hidden units, a gated one 85: the two thirds that leave
the number of parameters as it was. Source of the comparison: Shazeer 2020, "GLU variants improve transformer";
of dReLU: Song et al. 2024. Needs ogive[bench]. One thread, under six minutes.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

import ogive
from ogive.bench.candidate import Candidate
from ogive.bench.protocol import build
from ogive.bench.spec import Data, TaskSpec
from ogive.bench.tasks.text import TASK, WIDTH, Transformer
from ogive.bench.train import WEIGHT_DECAY, batches, evaluate, one_thread, schedule, seeded
from ogive.layers import GLU
from ogive.statistics.inference import t_interval

PLAIN = ("relu", "gelu", "silu")
GATED = {
    "GLU": ("sigmoid", "identity"), "ReGLU": ("relu", "identity"), "GEGLU": ("gelu", "identity"),
    "SwiGLU": ("silu", "identity"), "Bilinear": ("identity", "identity"), "dReLU": ("relu", "relu"),
}  # fmt: skip
HIDDEN = 4 * WIDTH
GATED_HIDDEN = round((2 * HIDDEN * WIDTH + HIDDEN) / (3 * WIDTH + 2))  # weights and biases of both kinds agree
TUNING_SEED = 1000


@dataclass(frozen=True)
class Result:
    """One trained network: bits per character, share of hidden units that are not zero, at the start and after,
    and the share of them that carries 99 % of the sum of squares."""

    bits: float
    start: float
    density: float
    active: float


def gain(name: str) -> float:
    return float(ogive.gain(name))


def candidate(label: str) -> Candidate:
    """The activation module and the gain of its output; of a product of independent halves, the product."""
    if label in PLAIN:
        return Candidate(label, lambda channels: ogive.Act(label), gain(label))
    act, up = GATED[label]
    return Candidate(label, lambda channels: GLU(act, up, gate="first"), gain(act) * gain(up))


def task(label: str) -> TaskSpec:
    """The text task, its feed-forward layers gated where ``label`` is a gate."""

    def make_model(act) -> nn.Module:
        model = Transformer(act)
        if label in GATED:
            for block in model.blocks:
                block.up, block.down = nn.Linear(WIDTH, 2 * GATED_HIDDEN), nn.Linear(GATED_HIDDEN, WIDTH)
        return model

    return replace(TASK, make_model=make_model)


def density(model: nn.Module, acts: list[nn.Module], x: Tensor) -> tuple[float, float]:
    """Over all hidden units and positions of ``x``: the share that is not zero, and the smallest share that holds
    99 % of the sum of squares of a position."""
    kept: list[Tensor] = []
    hooks = [act.register_forward_hook(lambda _, __, out: kept.append(out.detach())) for act in acts]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    units = torch.cat([out.flatten(0, -2) for out in kept])
    energy = units.square().sort(-1, descending=True).values.cumsum(-1)
    needed = (energy < 0.99 * energy[:, -1:]).sum(-1) + 1
    return float((units != 0).float().mean()), float(needed.float().mean() / units.shape[-1])


def train(label: str, data: Data, lr: float, seed: int, steps: int, phase: str) -> Result:
    spec = task(label)
    x, y = data.train
    with one_thread(), seeded(seed):
        model, acts = build(spec, candidate(label), seed, x[:8])
        start, _ = density(model, acts, data.test[0])
        decayed = [p for p in model.parameters() if p.dim() >= 2]
        rest = [p for p in model.parameters() if p.dim() < 2]
        groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": rest, "weight_decay": 0.0}]
        optimiser = torch.optim.AdamW(groups, lr=lr, fused=True)
        for step, rows in enumerate(batches(len(x), spec.batch, steps, seed), start=1):
            for group in optimiser.param_groups:
                group["lr"] = lr * schedule(step, steps)
            optimiser.zero_grad()
            loss = spec.loss(model(x[rows]), y[rows])
            if not math.isfinite(float(loss.detach())):
                return Result(math.inf, start, math.nan, math.nan)
            loss.backward()
            optimiser.step()
        score = evaluate(model, spec, data.validation if phase == "tune" else data.test)
        return Result(score, start, *density(model, acts, data.test[0]))


def parameters(label: str, data: Data) -> int:
    model, _ = build(task(label), candidate(label), 0, data.train[0][:8])
    return sum(p.numel() for p in model.blocks[0].up.parameters()) + sum(
        p.numel() for p in model.blocks[0].down.parameters()
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=TASK.steps)
    args = parser.parse_args()
    began = time.perf_counter()
    data = TASK.load()
    chosen: dict[str, float] = {}
    results: dict[str, list[Result]] = {}
    for label in (*PLAIN, *GATED):
        tuned = {lr: train(label, data, lr, TUNING_SEED, args.steps, "tune").bits for lr in TASK.lrs}
        chosen[label] = min(tuned, key=tuned.__getitem__)
        results[label] = [train(label, data, chosen[label], seed, args.steps, "test") for seed in range(args.seeds)]
    print(f"{args.steps} steps, {args.seeds} paired seeds; difference from gelu with its 95 % t interval")
    head = f"{'':<9} {'params':>7} {'lr':>6} {'bits/char':>10} {'- gelu':>8} {'95 % interval':>18}"
    print(f"{head} {'nonzero at start':>17} {'after':>6} {'99 % energy':>12}")
    base = [r.bits for r in results["gelu"]]
    for label, runs in results.items():
        scores = [r.bits for r in runs]
        differences = [a - b for a, b in zip(scores, base)]
        mean = sum(differences) / len(differences)
        ends = t_interval(differences) if label != "gelu" else None
        interval = "" if ends is None else f"[{ends[0]:+.4f}, {ends[1]:+.4f}]"
        start, after, active = (
            100 * sum(getattr(r, k) for r in runs) / len(runs) for k in ("start", "density", "active")
        )
        print(
            f"{label:<9} {parameters(label, data):>7} {chosen[label]:>6g} {sum(scores) / len(scores):>10.4f} "
            f"{mean:>+8.4f} {interval:>18} {start:>16.1f}% {after:>5.1f}% {active:>11.1f}%"
        )
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()

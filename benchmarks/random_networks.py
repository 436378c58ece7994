"""Random networks of random catalogue entries, whose values at sampled points must not leave their bounds.

``python benchmarks/random_networks.py --count 10000 --minutes 15``. Every network has its own structure (depth, width,
norm layers, residual branches, gates, products, maxima, a convolution), its own entries of the catalogue, its own box
and its own dtype of bounds. Each point is evaluated by the model in float64; it counts as a violation when it lies
outside by more than the model's float64 arithmetic can be wrong by, which interval arithmetic at the point encloses.
Entries without finite bounds on a box are counted apart.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections import Counter

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, nn

import ogive
from ogive import catalogue
from ogive.errors import OgiveError
from ogive.verify.bounding import Bounds, step_bounds
from ogive.verify.network import Box, Network, Unbounded
from ogive.verify.optimise import optimised
from ogive.verify.region import Cuboid
from ogive.verify.tracer import trace

torch.set_num_threads(1)

POINTS, EXAMPLES = 64, 4


class Branches(nn.Module):
    """A residual sum, a product, a maximum or a concatenation of two branches."""

    def __init__(self, kind: str, width: int, left: nn.Module, right: nn.Module) -> None:
        super().__init__()
        self.kind, self.left, self.right = kind, left, right
        self.back = nn.Linear(2 * width, width) if kind == "cat" else None

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "residual":
            return x + self.left(x)
        a, b = self.left(x), self.right(x)
        if self.back is not None:
            return self.back(torch.cat([a, b], -1))
        return a * b if self.kind == "product" else torch.maximum(a, b)


def layer(width: int, dice: random.Random, names: list[str], used: list[str], deep: bool = True) -> nn.Module:
    """One block that keeps the width."""
    kind = dice.choices(
        ["plain", "norm", "batch", "residual", "product", "max", "cat", "gate"], [8, 1, 1, 2, 1, 1, 1, 1]
    )[0]
    if kind in ("residual", "product", "max", "cat") and deep:
        return Branches(kind, width, *(layer(width, dice, names, used, False) for _ in range(2)))
    if kind == "gate":
        used.append(dice.choice(names))
        return nn.Sequential(nn.Linear(width, 2 * width), ogive.GLU(used[-1]))
    used.append(dice.choice(names))
    parts: list[nn.Module] = [nn.Linear(width, width)]
    if kind == "norm":
        parts.append(nn.LayerNorm(width))
    if kind == "batch":
        norm = nn.BatchNorm1d(width)
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.3, 3.0)
        parts.append(norm)
    return nn.Sequential(*parts, ogive.Act(used[-1]))


def network(seed: int, names: list[str]) -> tuple[nn.Module, int, list[str]]:
    """A model in float64, its number of inputs, and the entries in it."""
    dice = random.Random(seed)
    torch.manual_seed(seed)
    used: list[str] = []
    width, outputs = dice.randint(2, 8), dice.randint(1, 3)
    if dice.random() < 0.1:
        inputs = 16
        used.append(dice.choice(names))
        front: list[nn.Module] = [
            nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 2, 3, padding=1), ogive.Act(used[-1]),
            dice.choice([nn.AvgPool2d(2), nn.MaxPool2d(2)]), nn.Flatten(), nn.Linear(8, width),
        ]  # fmt: skip
    else:
        inputs = dice.randint(1, 6)
        front = [nn.Linear(inputs, width)]
    blocks = [layer(width, dice, names, used) for _ in range(dice.randint(1, 3))]
    model = nn.Sequential(*front, *blocks, nn.Linear(width, outputs)).double().eval()
    gain = 10.0 ** dice.uniform(-0.5, 0.5)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(gain if p.dim() > 1 else 1.0)
    return model, inputs, used


def points_of(box: Box, generator: torch.Generator) -> Tensor:
    """Points of the box, a half of them corners: ``[points, examples, inputs]``."""
    share = torch.rand(POINTS, *box.lo.shape, generator=generator, dtype=torch.float64)
    share[: POINTS // 2] = share[: POINTS // 2].round()
    return torch.minimum(torch.maximum(box.lo + share * (box.hi - box.lo), box.lo), box.hi)


def found_bounds(net: Network, box: Box, dtype: torch.dtype, alpha: bool) -> dict[str, Box]:
    """Bounds of the output by each method."""
    wide = 0.0 if dtype == torch.float64 else 1e-6
    lo, hi = (t.reshape(len(t), *net.steps[0].shape) for t in box)
    region = Cuboid(*(t.to(dtype) for t in (lo - wide * (1 + lo.abs()), hi + wide * (1 + hi.abs()))))
    step = net.steps[net.output]
    made = {}
    with torch.no_grad():
        made["ibp"] = Bounds(net, region, False).boxes[net.output]
        crown = Bounds(net, region)
        made["crown"] = step_bounds(crown, step, crown.boxes[net.output])
        if alpha:
            n = step.shape[-1]
            eye = torch.eye(n, dtype=dtype).reshape(n, 1, *step.shape)
            best = optimised(net, region, torch.cat([eye, -eye]).expand(-1, len(lo), *step.shape), 2, enough=1e30)[0]
            made["alpha"] = Box(best[:n].mT.reshape(crown.boxes[net.output].lo.shape),
                                -best[n:].mT.reshape(crown.boxes[net.output].lo.shape))  # fmt: skip
    return {k: Box(b.lo.double().flatten(1), b.hi.double().flatten(1)) for k, b in made.items()}


def tried(seed: int, names: list[str], tally: Counter[str]) -> list[str]:
    """One network; what is wrong with its bounds, one line each."""
    model, inputs, used = network(seed, names)
    dice = random.Random(seed + 1)
    generator = torch.Generator().manual_seed(seed)
    centre = torch.randn(EXAMPLES, inputs, generator=generator, dtype=torch.float64) * 10.0 ** dice.uniform(-1, 0.7)
    eps = 10.0 ** dice.uniform(-4, 0.3)
    box = Box(centre - eps, centre + eps)
    label = f"seed {seed}: {', '.join(used)}, eps {eps:.3g}"
    try:
        net = trace(model, centre[:1])
        dtype = dice.choice([torch.float64, torch.float32])
        found = found_bounds(net, box, dtype, dice.random() < 0.1)
    except Unbounded:
        tally["no finite bounds"] += 1
        return []
    except OgiveError as error:
        tally["refused: " + str(error)[:70]] += 1
        return []
    points = points_of(box, generator).flatten(0, 1)
    with torch.no_grad():
        y = model(points)
        at = points.reshape(len(points), *net.steps[0].shape)
        try:
            exact = net.boxes(Box(at, at))[net.output]
        except Unbounded:
            tally["no finite bounds"] += 1
            return []
    low, high = exact.lo.flatten(1), exact.hi.flatten(1)
    wrong = []
    near = 1e-7 * (1.0 + y.abs())
    if bool(((y < low - near) | (y > high + near)).any()):
        wrong.append(f"{label}: the traced steps give other values than the model")
    for method, b in found.items():
        tally[method] += 1
        tally["points"] += y.numel()
        shape = (POINTS, EXAMPLES, -1)
        under = (b.lo - torch.maximum(high, y).reshape(shape)).amax(0)
        over = (torch.minimum(low, y).reshape(shape) - b.hi).amax(0)
        if bool((under > 0.0).any() | (over > 0.0).any() | torch.isnan(b.lo).any() | torch.isnan(b.hi).any()):
            wrong.append(f"{label}: {method} in {dtype} is left by {float(torch.maximum(under, over).max()):.3g}")
    tally["networks"] += 1
    tally.update({f"entry {n}": 1 for n in set(used)})
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="200 networks")
    options = parser.parse_args()
    names = sorted(str(e.name) for e in catalogue.entries().values() if len(e.inputs) == 1)
    dice = random.Random(options.seed)
    began, tally, wrong = time.monotonic(), Counter[str](), 0
    # entries are proved when first met; a few hundred of them take minutes, so they are brought in one after another
    known = dice.sample(names, 20)
    rest = [n for n in names if n not in known]
    dice.shuffle(rest)
    count = 200 if options.quick else options.count
    for i in range(count):
        if time.monotonic() - began > 60.0 * options.minutes:
            break
        if rest and i % max(count // (2 * len(names)), 1) == 0:
            known.append(rest.pop())
        for line in tried(options.seed * 1_000_000 + i, known[-40:] if i % 2 else known, tally):
            wrong += 1
            print("VIOLATION", line, flush=True)
        if i % 500 == 499:
            print(f"{i + 1} tried, {tally['networks']} bounded, {wrong} violations, "
                  f"{time.monotonic() - began:.0f} s", flush=True)  # fmt: skip
    entries = sum(k.startswith("entry ") for k in tally)
    print(f"{tally['networks']} networks of {entries} entries, {tally['points']} values held against bounds; "
          f"ibp {tally['ibp']}, crown {tally['crown']}, alpha {tally['alpha']}; {wrong} violations; "
          f"{tally['no finite bounds']} without finite bounds; {time.monotonic() - began:.0f} s")  # fmt: skip
    for line, n in tally.most_common():
        if line.startswith("refused"):
            print(f"  {n} {line}")


if __name__ == "__main__":
    main()

"""Far from the data: what classifiers of two moons say there, by activation.

    python benchmarks/two_moons.py [--seeds 8] [--steps 400]

A network 2-32-32-2 is trained on two moons (500 points, noise 0.1, standardised). ``far_field`` gives the confidence
infinitely far out along 200 rays from the limits of the activations; sin has none. Confidence at distance 10, 100 and
1000 is sampled. AUROC is that of the largest softmax probability, held-out moons against points at those distances: 0.5
says nothing, below 0.5 the far points are the more certain ones. The same seeds (data, weights) for all; differences
from relu with 95 % t intervals over paired seeds. Needs scikit-learn. One thread, about a minute.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import time
from contextlib import suppress

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from sklearn.datasets import make_moons
from torch import Tensor, nn

from ogive import Act
from ogive.errors import InputError
from ogive.statistics.inference import t_interval
from ogive.verify import far_field

torch.set_num_threads(1)

ACTS = {"relu": "relu", "gelu": "gelu", "tanh": "tanh", "sin": "sin", "bump": "exp(-x*x)", "elephant": "elephant"}
RATES = (3e-3, 1e-2, 3e-2)
WIDTH = 32
DISTANCES = (10.0, 100.0, 1000.0)
TUNING = [1000, 1001, 1002]


def moons(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, y = make_moons(1000, noise=0.1, random_state=seed)
    x = torch.tensor((x - x[:500].mean(0)) / x[:500].std(0), dtype=torch.float32)
    return x[:500], torch.tensor(y[:500]), x[500:], torch.tensor(y[500:])


class Nets(nn.Module):
    """Networks 2-32-32-2 of several seeds side by side, which train as if each were alone."""

    def __init__(self, act: str, seeds: list[int]) -> None:
        super().__init__()
        self.act = Act(act)
        alone = []
        for seed in seeds:
            torch.manual_seed(seed)
            alone.append([nn.Linear(2, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 2)])
        layers = list(zip(*alone))
        self.weights = nn.ParameterList(torch.stack([m.weight.detach() for m in same]) for same in layers)
        self.biases = nn.ParameterList(torch.stack([m.bias.detach() for m in same]).unsqueeze(1) for same in layers)

    def forward(self, x: Tensor) -> Tensor:
        for i, (w, b) in enumerate(zip(self.weights, self.biases)):
            x = torch.baddbmm(b, self.act(x) if i else x, w.mT)
        return x

    def single(self, i: int) -> nn.Sequential:
        """One of them, in float64."""
        net = nn.Sequential(nn.Linear(2, WIDTH), self.act, nn.Linear(WIDTH, WIDTH), self.act, nn.Linear(WIDTH, 2))
        with torch.no_grad():
            for m, w, b in zip((net[0], net[2], net[4]), self.weights, self.biases):
                assert isinstance(m, nn.Linear)
                m.weight.copy_(w[i])
                m.bias.copy_(b[i, 0])
        return net.double()


def trained(act: str, seeds: list[int], rate: float, steps: int) -> tuple[Nets, Tensor, Tensor]:
    """The networks, their held-out errors and losses."""
    x, y, xt, yt = (torch.stack(part) for part in zip(*map(moons, seeds)))
    nets = Nets(act, seeds)
    optimiser = torch.optim.Adam(nets.parameters(), rate)
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(nets(x).flatten(0, 1), y.flatten(), reduction="sum").div(x.shape[1]).backward()
        optimiser.step()
    with torch.no_grad():
        out = nets(xt)
        loss = nn.functional.cross_entropy(out.flatten(0, 1), yt.flatten(), reduction="none").reshape(yt.shape).mean(1)
    return nets, (out.argmax(2) != yt).float().mean(1), loss


def auroc(inside: Tensor, outside: Tensor) -> float:
    """The chance that a point of the data is the more certain one, ties counted half."""
    below = (inside[:, None] > outside[None, :]).double() + 0.5 * (inside[:, None] == outside[None, :]).double()
    return float(below.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    began = time.perf_counter()
    angles = 2.0 * math.pi * torch.arange(200, dtype=torch.float64) / 200
    rays = torch.stack([angles.cos(), angles.sin()], 1)
    scores: dict[str, dict[float, list[float]]] = {}
    print("           rate  error   at infinity: rays with confidence 1, mean   sampled mean at 10, 100, 1000   "
          "AUROC at 10, 100, 1000")  # fmt: skip
    for name, act in ACTS.items():
        rate = min(RATES, key=lambda r: float(trained(act, TUNING, r, options.steps)[2].mean()))
        nets, errors, _ = trained(act, list(range(options.seeds)), rate, options.steps)
        certain: list[float] = []
        limit: list[float] = []
        far: dict[float, list[float]] = {d: [] for d in DISTANCES}
        scores[name] = {d: [] for d in DISTANCES}
        for seed in range(options.seeds):
            net = nets.single(seed)
            with suppress(InputError):  # sin has no asymptote: its row says "no limit"
                found = far_field(net, rays)
                certain.append(found.certain)
                limit.append(float(found.confidence.mean()))
            with torch.no_grad():
                inside = net(moons(seed)[2].double()).softmax(1).amax(1)
                for d in DISTANCES:
                    outside = net(d * rays).softmax(1).amax(1)
                    far[d].append(float(outside.mean()))
                    scores[name][d].append(auroc(inside, outside))
        ends = f"{statistics.mean(certain):7.1%} {statistics.mean(limit):7.4f}" if limit else "  no limit     "
        print(f"{name:9} {rate:6g}  {float(errors.mean()):.3f}   {ends}   "
              + " ".join(f"{statistics.mean(far[d]):.3f}" for d in DISTANCES) + "   "
              + " ".join(f"{statistics.mean(scores[name][d]):.3f}" for d in DISTANCES), flush=True)  # fmt: skip
    print("AUROC at 100 less that of relu, 95 % interval")
    for name in list(ACTS)[1:]:
        apart = [a - b for a, b in zip(scores[name][100.0], scores["relu"][100.0])]
        low, high = t_interval(apart) or (math.nan, math.nan)
        word = "" if low > 0 or high < 0 else "  no difference resolved"
        print(f"  {name:9} {statistics.mean(apart):+.3f}  [{low:+.3f}, {high:+.3f}]{word}")
    print(f"{options.seeds} seeds, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()

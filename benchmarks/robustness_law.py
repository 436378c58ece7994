"""How the Lipschitz constant of networks that fit noise falls with their number of parameters.

    python benchmarks/robustness_law.py [--seeds 5] [--points 100] [--dimension 10]

Two-layer networks of k units are trained on n normal inputs whose labels +-1 are all noise, each until its mean squared
error is 1e-3. Bubeck and Sellke 2021, "A universal law of robustness via isoperimetry", bound the Lipschitz constant
of whatever fits below the noise from below by about sqrt(n d / p); two-layer networks are conjectured to reach
sqrt(n / k), where k is p / d. Printed by activation and width: the largest gradient met (at the data, between pairs of
them, at normal points: a lower bound), the certified product of norms, LipSDP for narrow ones (needs CVXPY), means over
seeds; and the power of p with which they fall, least squares over the logs, with a 95 % t interval over paired seeds.
The law predicts -0.5 at best for what training reaches. One thread, about two minutes.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, nn

from ogive import Act
from ogive.errors import OgiveError
from ogive.statistics.inference import t_interval
from ogive.verify import lipschitz

torch.set_num_threads(1)

ACTS = ("relu", "tanh", "gelu", "sin")
WIDTHS = (32, 64, 128, 256, 512)
FIT = 1e-3
NARROW = 32  # LipSDP takes seconds from here on


def data(seed: int, n: int, d: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator) / math.sqrt(d)
    return x, 2.0 * torch.randint(0, 2, (n,), generator=generator).float() - 1.0


def fitted(act: str, width: int, x: Tensor, y: Tensor, steps: int, rate: float) -> tuple[list[Tensor], Tensor]:
    """The weights of one network for each seed, taken when its error first was below FIT, and which got there."""
    seeds, _, d = x.shape
    parts = []
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(1000 + seed)
        parts.append((torch.randn(width, d, generator=generator) * 2.0**0.5,  # inputs have length 1
                      0.1 * torch.randn(1, width, generator=generator),
                      torch.randn(width, 1, generator=generator) / math.sqrt(width)))  # fmt: skip
    weights = [torch.stack(p).requires_grad_() for p in zip(*parts)]
    unit, kept, done = Act(act), [w.detach().clone() for w in weights], torch.zeros(seeds, dtype=torch.bool)
    optimiser = torch.optim.Adam(weights, rate)
    for _ in range(steps):
        out = unit(torch.baddbmm(weights[1], x, weights[0].mT)) @ weights[2]
        loss = (out.squeeze(2) - y).square().mean(1)
        new = (loss.detach() <= FIT) & ~done
        for k, w in zip(kept, weights):
            k[new] = w.detach()[new]
        done |= new
        if bool(done.all()):
            break
        optimiser.zero_grad()
        loss.sum().backward()
        optimiser.step()
    return kept, done


def network(act: str, weights: list[Tensor], seed: int) -> nn.Sequential:
    w, b, a = (t[seed] for t in weights)
    net = nn.Sequential(nn.Linear(w.shape[1], len(w)), Act(act), nn.Linear(len(w), 1, bias=False))
    with torch.no_grad():
        for own, value in zip(net.parameters(), (w, b[0], a.mT)):
            own.copy_(value)
    return net


def steepest(net: nn.Module, x: Tensor) -> float:
    """The largest gradient at the data, at three places between pairs, and at normal points."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    between = [x + t * (x[order] - x) for t in (0.25, 0.5, 0.75)]
    normal = torch.randn(2000, x.shape[1], generator=torch.Generator().manual_seed(1)) / math.sqrt(x.shape[1])
    at = torch.cat([x, *between, normal]).requires_grad_()
    (g,) = torch.autograd.grad(net(at).sum(), at)
    return float(g.norm(dim=1).max())


def power(p: list[int], values: list[float]) -> float:
    """The slope of log value over log p."""
    x, y = [math.log(v) for v in p], [math.log(v) for v in values]
    mx, my = statistics.mean(x), statistics.mean(y)
    return sum((a - mx) * (b - my) for a, b in zip(x, y)) / sum((a - mx) ** 2 for a in x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--dimension", type=int, default=10)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--rate", type=float, default=3e-3)
    options = parser.parse_args()
    n, d = options.points, options.dimension
    x, y = (torch.stack(part) for part in zip(*(data(s, n, d) for s in range(options.seeds))))
    began = time.perf_counter()
    print(f"n = {n}, d = {d}, {options.seeds} seeds\n  act    width      p  fitted  gradient met  certified  LipSDP"
          "  sqrt(n d/p)")  # fmt: skip
    powers: dict[str, list[float]] = {}
    for act in ACTS:
        met: list[list[float]] = [[] for _ in range(options.seeds)]
        bound: list[list[float]] = [[] for _ in range(options.seeds)]
        sizes = []
        for width in WIDTHS:
            weights, done = fitted(act, width, x, y, options.steps, options.rate)
            nets = [network(act, weights, s) for s in range(options.seeds)]
            p = sum(w.numel() for w in nets[0].parameters())
            narrow = "-"
            if width <= NARROW:
                try:
                    narrow = f"{lipschitz(nets[0], x[0, :1], 'sdp').value:.3g}"
                except OgiveError:
                    narrow = "no CVXPY"
            low = [steepest(m, x[s]) for s, m in enumerate(nets)]
            high = [lipschitz(m, x[0, :1], samples=1).value for m in nets]
            print(f"  {act:6} {width:5} {p:6}  {int(done.sum())} of {len(done)}  {statistics.mean(low):12.3f}  "
                  f"{statistics.mean(high):9.3f}  {narrow:>6}  {math.sqrt(n * d / p):.3f}", flush=True)  # fmt: skip
            if bool(done.all()):  # the law is about networks that fit
                sizes.append(p)
                for s in range(options.seeds):
                    met[s].append(low[s])
                    bound[s].append(high[s])
        if len(sizes) < 3:
            print(f"  {act}: too few widths fit")
            continue
        powers[act] = [power(sizes, v) for v in met]
        for what, found in (("gradient met", powers[act]), ("certified", [power(sizes, v) for v in bound])):
            low_, high_ = t_interval(found) or (math.nan, math.nan)
            print(f"  {act}: {what} goes as p^{statistics.mean(found):+.3f}, 95 % interval "
                  f"[{low_:+.3f}, {high_:+.3f}]")  # fmt: skip
    for act in [a for a in powers if a != "relu" and "relu" in powers]:
        apart = [a - b for a, b in zip(powers[act], powers["relu"])]
        low_, high_ = t_interval(apart) or (math.nan, math.nan)
        word = "" if low_ > 0 or high_ < 0 else ", no difference resolved"
        print(f"power of {act} less that of relu: {statistics.mean(apart):+.3f} [{low_:+.3f}, {high_:+.3f}]{word}")
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()

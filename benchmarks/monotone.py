"""Monotone networks on real data: the diabetes set, against an unconstrained network of the same size.

    python benchmarks/monotone.py [--seeds 20] [--steps 400]

442 patients, ten measurements, progression a year later. It is taken to rise with the body-mass index, blood pressure
and the log of triglycerides (s5) and to fall with HDL cholesterol (s3); the other six are free. Each seed draws
a split (265 train, 88 validation, 89 test), the same for all kinds; the learning rate of each kind
is chosen by validation on three seeds that are not used again, the step by validation in each run. Printed are the test
errors, the mean difference with its 95 % interval over paired seeds, and for how many of the unconstrained networks the
signs are proved, or fail on the data. Needs scikit-learn. One thread, a few minutes.
"""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_diabetes
from torch import Tensor, nn

from ogive.layers.monotone import MonoDense
from ogive.layers.monotone_certificate import certify_monotone
from ogive.statistics.inference import t_interval

SIGNS = (0, 0, 1, 1, 0, 0, -1, 0, 1, 0)  # age sex bmi bp s1 s2 s3 s4 s5 s6
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
WIDTH = 16
TUNING = range(1000, 1003)


def data(seed: int) -> tuple[tuple[Tensor, Tensor], ...]:
    x, y = load_diabetes(return_X_y=True)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    x, y = torch.tensor(x, dtype=torch.float32)[order], torch.tensor(y, dtype=torch.float32)[order, None]
    train = slice(0, 265)
    x = (x - x[train].mean(0)) / x[train].std(0)
    y = (y - y[train].mean()) / y[train].std()
    return tuple((x[part], y[part]) for part in (train, slice(265, 353), slice(353, None)))


def model(kind: str) -> nn.Module:
    if kind == "plain":
        return nn.Sequential(nn.Linear(10, WIDTH), nn.ELU(), nn.Linear(WIDTH, WIDTH), nn.ELU(), nn.Linear(WIDTH, 1))
    split = (1, 0, 0) if kind == "convex" else (7, 7, 2)
    return nn.Sequential(
        MonoDense(10, WIDTH, "elu", signs=SIGNS, split=split),
        MonoDense(WIDTH, WIDTH, "elu", split=split),
        MonoDense(WIDTH, 1, None),
    )


def run(kind: str, seed: int, rate: float, steps: int) -> tuple[float, float, nn.Module]:
    """Test and validation error (root mean square, in standard deviations of y) at the best step by validation."""
    train, validation, test = data(seed)
    torch.manual_seed(seed)
    net = model(kind)
    optimiser = torch.optim.Adam(net.parameters(), rate)
    best, at_best = float("inf"), float("inf")
    state = {k: v.clone() for k, v in net.state_dict().items()}
    for step in range(steps):
        optimiser.zero_grad()
        (net(train[0]) - train[1]).square().mean().backward()
        optimiser.step()
        if step % 5 == 4:
            with torch.no_grad():
                now = float((net(validation[0]) - validation[1]).square().mean().sqrt())
                if now < best:
                    best, at_best = now, float((net(test[0]) - test[1]).square().mean().sqrt())
                    state = {k: v.clone() for k, v in net.state_dict().items()}
    net.load_state_dict(state)
    return at_best, best, net


def falls(net: nn.Module, x: Tensor) -> bool:
    """Whether some prediction moves against a sign when one measurement moves by up to two standard deviations."""
    with torch.no_grad():
        base = net(x)
        for i, sign in enumerate(SIGNS):
            for step in (0.5, 2.0) if sign else ():
                moved = x.clone()
                moved[:, i] += step
                if bool((sign * (net(moved) - base) < -1e-6).any()):
                    return True
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    torch.set_num_threads(1)
    scores: dict[str, list[float]] = {}
    for kind in ("monotone", "convex", "plain"):
        rate = min(RATES, key=lambda r: sum(run(kind, s, r, options.steps)[1] for s in TUNING))
        scores[kind], proved, against = [], 0, 0
        for seed in range(options.seeds):
            score, _, net = run(kind, seed, rate, options.steps)
            scores[kind].append(score)
            proved += certify_monotone(_by_name(net), SIGNS).holds
            against += falls(net, data(seed)[2][0])
        mean = sum(scores[kind]) / options.seeds
        print(f"{kind:9} rate {rate:g}: test error {mean:.4f}, signs proved in {proved} of {options.seeds}, "
              f"broken on test data in {against}")  # fmt: skip
    for kind in ("convex", "plain"):
        apart = [a - b for a, b in zip(scores["monotone"], scores[kind])]
        interval = t_interval(apart)
        print(f"monotone less {kind}: {sum(apart) / len(apart):+.4f}, 95 % interval {interval}")


def _by_name(net: nn.Module) -> nn.Module:
    """torch's ELU under its own name, for the certificate."""
    from ogive import Act

    return nn.Sequential(*(Act("elu") if isinstance(m, nn.ELU) else m for m in net.children()))


if __name__ == "__main__":
    main()

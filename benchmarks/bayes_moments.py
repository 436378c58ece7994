"""Bayesian perceptrons without sampling: moments of relu, of gelu and of the gate of MPGELU. Small real tables.

    python benchmarks/bayes_moments.py [--seeds 4]

A perceptron with normal weights and one hidden layer of 10 units carries means and variances (`ogive.layers.moments`).
It is trained on the variational bound: E log N(y; f, s^2) = log N(y; m, s^2) - v/(2 s^2) over the rows, less the
divergence of the weights from N(0, 1/inputs), with s^2 learned; 150 steps of Adam, batches of 16. The score is
-log N(y; m, v + s^2) on held-out rows, y standardised on the training rows. Splits and seeds are paired, the intervals
are t intervals of the difference from relu. The learning rate is chosen among two on the validation rows of a split
that is not used again. "line" is linear regression with normal noise. Data: diabetes (442 rows, 10 columns) from
scikit-learn, the mathematics scores of Californian districts (303 rows, 12 columns) and the food expenses of Engel's
households (235 rows, 1 column) from statsmodels. One thread, a few minutes.
"""

from __future__ import annotations

import argparse
import math
import time
from statistics import mean, median

import numpy as np
import torch
from torch import nn

from ogive.bench.shipped import shipped, split, table
from ogive.layers import MPGELU, MomentAct, MomentLinear
from ogive.statistics.inference import t_interval

UNITS, STEPS, BATCH, RATES, TUNING = 10, 150, 16, (1e-2, 3e-2), 1000
ACTS = {"relu": lambda: MomentAct("relu"), "gelu": lambda: MomentAct("gelu"), "mp_gelu": MPGELU}


def diabetes():
    where = ("datasets", "data")
    y = np.loadtxt(shipped("sklearn", *where, "diabetes_target.csv.gz"))
    return np.loadtxt(shipped("sklearn", *where, "diabetes_data_raw.csv.gz")), y


def schools():
    rows = table(shipped("statsmodels", "datasets", "star98", "star98.csv"), header=True)
    return rows[:, 2:14], rows[:, 1] / rows[:, 0]  # the share above the national median


def engel():
    rows = table(shipped("statsmodels", "datasets", "engel", "engel.csv"), header=True)
    return np.log(rows[:, :1]), np.log(rows[:, 1])


TABLES = {"diabetes": diabetes, "schools": schools, "engel": engel}


def parts(name, seed):
    """Training, validation and test rows of one split, standardised on the training rows."""
    x, y = (torch.tensor(v, dtype=torch.float64) for v in TABLES[name]())
    rows = split(len(x), seed=seed)
    x = (x - x[rows[0]].mean(0)) / x[rows[0]].std(0)
    y = (y - y[rows[0]].mean()) / y[rows[0]].std()
    return [(x[r], y[r]) for r in rows]


class Bayesian(nn.Module):
    """Two linear maps with normal weights around one activation, and noise of variance exp(log_noise)."""

    def __init__(self, inputs, act):
        super().__init__()
        self.maps = nn.ModuleList([MomentLinear(inputs, UNITS), MomentLinear(UNITS, 1)])
        self.act, self.log_noise = act, nn.Parameter(torch.tensor(-1.0))
        self.double()

    def forward(self, x):
        m, v = self.maps[1](*self.act(*self.maps[0](x, torch.zeros_like(x))))
        return m[:, 0], v[:, 0]

    def divergence(self):
        """From N(0, 1/inputs) for weights, N(0, 1) for biases."""
        total = 0.0
        for layer in self.maps:
            prior = 1.0 / layer.weight.shape[1]
            for mu, log, p in ((layer.weight, layer.log_weight, prior), (layer.bias, layer.log_bias, 1.0)):
                total = total + 0.5 * ((log.exp() + mu**2) / p - 1 - log + math.log(p)).sum()
        return total

    def loss(self, x, y, rows):
        m, v = self(x)
        noise = self.log_noise.exp()
        fit = 0.5 * (math.log(2 * math.pi) + self.log_noise + ((y - m) ** 2 + v) / noise).mean()
        return fit + self.divergence() / rows

    def score(self, x, y):
        with torch.no_grad():
            m, v = self(x)
            v = v + self.log_noise.exp()
            return float(0.5 * (torch.log(2 * math.pi * v) + (y - m) ** 2 / v).mean())


def run(name, act, rate, seed):
    """Score on the validation and on the test rows, and the median time of a step in ms."""
    train, validation, test = parts(name, seed)
    torch.manual_seed(seed)
    model = Bayesian(train[0].shape[1], ACTS[act]())
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    order, times = torch.Generator().manual_seed(seed), []
    for _ in range(STEPS):
        at = torch.randint(len(train[0]), (BATCH,), generator=order)
        began = time.perf_counter()
        loss = model.loss(train[0][at], train[1][at], len(train[0]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        times.append(1e3 * (time.perf_counter() - began))
    return model.score(*validation), model.score(*test), median(times)


def line(name, seed):
    """Linear regression by least squares, its noise that of the training rows."""
    (x, y), _, (xt, yt) = parts(name, seed)
    wide = [torch.cat([v, torch.ones_like(v[:, :1])], 1) for v in (x, xt)]
    beta = torch.linalg.lstsq(wide[0], y[:, None]).solution[:, 0]
    noise = (y - wide[0] @ beta).square().sum() / (len(y) - wide[0].shape[1])
    return float(0.5 * (torch.log(2 * math.pi * noise) + (yt - wide[1] @ beta) ** 2 / noise).mean())


def main():
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--seeds", type=int, default=4)
    given = asked.parse_args()
    torch.set_num_threads(1)
    began = time.perf_counter()
    print("| data | moments of | rate | -log density | - relu | 95 % interval | ms a step |\n|" + "---|" * 7)
    for name in TABLES:
        scores, rates, times = {}, {}, {}
        for act in ACTS:
            tuned = {rate: run(name, act, rate, TUNING)[0] for rate in RATES}
            rates[act] = min(tuned, key=tuned.__getitem__)
            runs = [run(name, act, rates[act], seed) for seed in range(given.seeds)]
            scores[act], times[act] = [r[1] for r in runs], median(r[2] for r in runs)
        scores["line"] = [line(name, seed) for seed in range(given.seeds)]
        for act, values in scores.items():
            gaps = [a - b for a, b in zip(values, scores["relu"])]
            ends = t_interval(gaps) if act != "relu" else None
            cells = [f"{rates[act]:g}" if act in rates else "", f"{mean(values):.3f}", f"{mean(gaps):+.3f}",
                     "" if ends is None else f"[{ends[0]:+.3f}, {ends[1]:+.3f}]",
                     f"{times[act]:.1f}" if act in times else ""]  # fmt: skip
            print(f"| {name} | {act} | " + " | ".join(cells) + " |", flush=True)
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()

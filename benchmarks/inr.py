"""An image as a function of its coordinates: VI3NR's weights against torch's default, for three activations.

    python benchmarks/inr.py [--seeds 4]

The photograph `camera` of scikit-image at 64 x 64 is fitted by perceptrons 2-64-64-64-1 with a Gaussian, a sinc and a
sine, 250 steps of Adam on 512 pixels each; the score is the peak signal-to-noise ratio in dB over all pixels. Ways to
begin: torch's default; `init_(rule="vi3nr")` with pre-activations of the standard deviation that it finds, or the best
of three, in every layer, the last one too; the same with another one in the first layer, where it is the frequency
that the network begins with; for the sine `init_(rule="siren")`. Biases are torch's in all of them. Every way chooses
its learning rate and its standard deviations on a seed that is not used again; seeds are paired and the intervals are
t intervals of the difference from the default. One thread, a few minutes. Source of the comparison: Koneputugodage et
al. 2025, VI3NR, where one standard deviation serves all layers.
"""

from __future__ import annotations

import argparse
import math
import time
from statistics import mean

import torch
from torch import nn

import ogive
from ogive.statistics.inference import t_interval
from ogive.surgery.propagate import power
from ogive.surgery.rules import best_std

ACTS = {"gaussian": "exp(-x**2/0.02)", "sinc": "where(x > 0, sin(10*x)/(10*x), where(x < 0, sin(10*x)/(10*x), 1))",
        "sine": "sin(30*x)"}  # fmt: skip
WIDTHS = {"gaussian": 0.1, "sinc": 0.1, "sine": 1 / 30}  # where the argument of the function itself is 1
RATES, STEPS, BATCH, TUNING, SIDE = (3e-3, 1e-2), 250, 512, 1000, 64
# the first layer's and the hidden layers' standard deviations in widths; None is what VI3NR finds
SIGMAS = {
    "default": ((None, None),),
    "siren": ((None, None),),
    "vi3nr": ((None, None),),
    "vi3nr, best of three": ((1.0, 1.0), (2.0, 2.0), (3.0, 3.0)),
    "vi3nr, first layer apart": ((7.0, None), (12.0, None), (7.0, 1.0), (12.0, 1.0)),
}


def photograph():
    """Coordinates in [-1, 1]^2 and grey values with mean 0."""
    from skimage import data

    camera = torch.from_numpy(data.camera()).float() / 255
    grey = nn.functional.avg_pool2d(camera[None, None], 512 // SIDE).reshape(-1, 1)
    line = torch.linspace(-1, 1, SIDE)
    return torch.cartesian_prod(line, line), grey - grey.mean()


def start(name, way, sigmas, seed, places):
    """A model begun in one of the ways."""
    act = ogive.get(ACTS[name])
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, 64), ogive.Act(act), nn.Linear(64, 64), ogive.Act(act), nn.Linear(64, 64),
                          ogive.Act(act), nn.Linear(64, 1))  # fmt: skip
    if way == "default":
        return model
    options = {"bias": None, "check": False, "input_moment": None, "generator": torch.Generator().manual_seed(seed)}
    if way == "siren":
        ogive.init_(model, places, rule="siren", **options)
        return model
    hidden = best_std(act) if sigmas[1] is None else WIDTHS[name] * sigmas[1]
    first = hidden if sigmas[0] is None else WIDTHS[name] * sigmas[0]
    ogive.init_(model, places, rule="vi3nr", sigma=hidden, **options)
    with torch.no_grad():
        model[0].weight *= first / hidden
        model[2].weight *= math.sqrt(power(act, hidden) / power(act, first))
        model[6].weight *= hidden  # init_ gives the output a mean square of 1
    return model


def fit(name, way, sigmas, rate, seed, places, grey):
    """Peak signal-to-noise ratio after training, in dB."""
    model = start(name, way, sigmas, seed, places)
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    order = torch.Generator().manual_seed(seed)
    for step in range(STEPS):
        at = torch.randint(len(places), (BATCH,), generator=order)
        for group in optimiser.param_groups:
            group["lr"] = rate * (1 - step / STEPS)
        loss = (model(places[at]) - grey[at]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return float(-10 * torch.log10((model(places) - grey).square().mean()))


def main():
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--seeds", type=int, default=4)
    given = asked.parse_args()
    torch.set_num_threads(1)
    began, (places, grey) = time.perf_counter(), photograph()
    print("| activation | weights | widths | rate | dB | - default | 95 % interval |\n|---|---|---|---|---|---|---|")
    for name in ACTS:
        base = []
        for way in (w for w in SIGMAS if w != "siren" or name == "sine"):
            tuned = [(fit(name, way, s, r, TUNING, places, grey), s, r) for s in SIGMAS[way] for r in RATES]
            _, sigmas, rate = max(tuned, key=lambda t: t[0])
            values = [fit(name, way, sigmas, rate, seed, places, grey) for seed in range(given.seeds)]
            base = base or values
            gaps = [a - b for a, b in zip(values, base)]
            ends = t_interval(gaps) if way != "default" else None
            widths = "" if sigmas == (None, None) else ", ".join("found" if s is None else f"{s:g}" for s in sigmas)
            cells = [widths, f"{rate:g}", f"{mean(values):.1f}", f"{mean(gaps):+.1f}",
                     "" if ends is None else f"[{ends[0]:+.1f}, {ends[1]:+.1f}]"]  # fmt: skip
            print(f"| {name} | {way} | " + " | ".join(cells) + " |", flush=True)
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()

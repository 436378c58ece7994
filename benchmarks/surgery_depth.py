"""Fewer layers: what activations can go from a trained network, and what it buys on this CPU.

    python benchmarks/surgery_depth.py efficientnet | digits | vanilla | idle  [--quick] [--seeds 5]

``efficientnet``: EfficientNet-Lite0 (ReLU6) on foolbox's 20 ImageNet photographs at 128 x 128: the plan of
``compress_depth`` by budget, its time against the whole model with norms folded (both in turn, low quartile),
agreement of top-1 on crops that took no part in the importances; then the same after 150 steps of distillation from
the whole model on other crops of the same photographs (``taught``).
``digits``: a CNN of eight 3 x 3 and 1 x 1 convolutions on scikit-learn's digits: accuracy and time by budget, as
merged and after a short training; with and without the removal of layers.
``vanilla``: a network of 2x layers whose second activations lean to the identity while it trains, merged to x layers,
against the same x layers trained directly and against the 2x layers; equal steps, paired seeds, 95 % t intervals.
``idle``: a small vision transformer on digits, by share of idle channels: accuracy as put in and trained on against the
dense one trained on for as many steps, time of the folded model against the dense one; paired seeds.

One thread. Times are of the machine at hand: their ratios hold, not their size.
"""

from __future__ import annotations

import argparse
import copy

import numpy as np
import torch
from bit_flips import crops, digits, efficientnet, photographs
from paired import interval
from torch import nn
from torch.nn import functional

from ogive.layers.series import Series
from ogive.surgery.depth import Schedule, channel_idle, compress_depth, fold_idle, linearise, merge
from ogive.surgery.effect import outputs
from ogive.surgery.integer.compared import timed_copies
from ogive.surgery.report import Figure


def fit(model, x, y, steps, lr, seed, plan=None):
    draw = torch.Generator().manual_seed(seed)
    adam = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    model.train()
    for step in range(steps):
        at = torch.randint(len(x), (64,), generator=draw)
        loss = functional.cross_entropy(model(x[at]), y[at])
        adam.zero_grad()
        loss.backward()
        adam.step()
        falling.step()
        if plan is not None and step < plan.steps:
            plan.step()
    return model.eval()


def right(model, x, y):
    return float((outputs(model, [x]).argmax(1) == y).double().mean())


def taught(model, teacher, full, steps):
    """A copy trained to give the logits of ``teacher`` on random crops, no label seen, norms frozen."""
    pupil = copy.deepcopy(model).eval()
    adam = torch.optim.Adam(pupil.parameters(), 3e-4)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for step in range(steps):
        x = crops(full, 20, 128, 1000 + step)
        with torch.no_grad():
            wanted = teacher(x)
        loss = functional.kl_div(pupil(x).log_softmax(1), wanted.log_softmax(1), log_target=True, reduction="batchmean")
        adam.zero_grad()
        loss.backward()
        adam.step()
        falling.step()
    return pupil


def on_efficientnet(args):
    model = efficientnet()
    teacher = copy.deepcopy(model)
    # at 128 x 128 the tables take a third of the time they take at 224
    full, y = photographs()
    x = functional.interpolate(full, (128, 128), mode="bilinear", antialias=True)
    seen, held = crops(full, 4, 128, 1), crops(full, 20 if args.quick else 60, 128, 2)
    clean = outputs(model, list(held.split(20))).argmax(1)
    print(f"EfficientNet-Lite0: top-1 {right(model, x, y):.2f} on {len(x)} photographs; {len(held)} crops")
    print(f"{'padding':<8}{'remove':<7}{'budget':>7}{'acts':>8}{'layers':>8}{'by tables':>10}{'time':>7}{'agree':>7}"
          f"{'top-1':>7}{'taught: agree':>15}{'top-1':>7}")  # fmt: skip
    ways = [("exact", False)] if args.quick else [("exact", False), ("moved", False), ("moved", True)]
    for padding, remove in ways:
        for budget in (0.9,) if args.quick or padding == "exact" else (0.97, 0.9):
            report = compress_depth(model, seen, budget=budget, padding=padding, remove=remove, rounds=3)
            agree = (outputs(model, list(held.split(20))).argmax(1) == clean).double().mean()
            time: Figure = report["time, norms folded before"]
            acts, layers, tables = report["activations"], report["layers"], report["time by the tables"]
            then = f"{'-':>15}"
            if acts.after < acts.before and not remove:
                pupil = taught(model, teacher, full, 2 if args.quick else 150)
                same = (outputs(pupil, list(held.split(20))).argmax(1) == clean).double().mean()
                then = f"{same:>15.2f}{right(pupil, x, y):>7.2f}"
            print(f"{padding:<8}{remove!s:<7}{budget:>7g}{acts.after:>5.0f}/{acts.before:.0f}{layers.after:>5.0f}"
                  f"/{layers.before:.0f}{tables.after / tables.before:>10.2f}{time.after / time.before:>7.2f}"
                  f"{agree:>7.2f}{right(model, x, y):>7.2f}{then}", flush=True)  # fmt: skip
            if budget == 0.9:
                gone = [c.site for c in report.changes if c.after == "identity"]
                print("   gone:", ", ".join(gone) or "-", "| left, for example:", *report.left[:1])
            report.undo()


def cnn(width=16):
    def block(i, o, k, stride=1):
        return [nn.Conv2d(i, o, k, stride, k // 2, bias=False), nn.BatchNorm2d(o), nn.ReLU()]

    w = width
    return nn.Sequential(
        *block(1, w, 3), *block(w, w, 1), *block(w, w, 3), *block(w, w, 1), *block(w, 2 * w, 3, 2),
        *block(2 * w, 2 * w, 1), *block(2 * w, 2 * w, 3), *block(2 * w, 2 * w, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * w, 10),
    )  # fmt: skip


def on_digits(args):
    (x, y), (test_x, test_y) = digits()
    torch.manual_seed(0)
    model = fit(cnn(), x, y, 60 if args.quick else 400, 3e-3, 0)
    print(f"digits CNN: accuracy {right(model, test_x, test_y):.4f} on {len(test_x)} images")
    print(f"{'padding':<8}{'remove':<7}{'budget':>7}{'acts':>7}{'layers':>8}{'time':>7}{'merged':>9}{'trained':>9}")
    ways = [("exact", False)] if args.quick else [("exact", False), ("moved", False), ("moved", True)]
    for padding, remove in ways:
        for budget in (0.7,) if args.quick else (0.9, 0.8, 0.7, 0.6, 0.5):
            net = copy.deepcopy(model)
            report = compress_depth(net, x[:200], budget=budget, padding=padding, remove=remove, rounds=9)
            merged, time = right(net, test_x, test_y), report["time, norms folded before"]
            trained = right(fit(copy.deepcopy(net), x, y, 20 if args.quick else 150, 1e-3, 1), test_x, test_y)
            acts, layers = report["activations"], report["layers"]
            print(f"{padding:<8}{remove!s:<7}{budget:>7g}{acts.after:>4.0f}/{acts.before:.0f}{layers.after:>6.0f}"
                  f"/{layers.before:.0f}{time.after / time.before:>7.2f}{merged:>9.4f}{trained:>9.4f}",
                  flush=True)  # fmt: skip


def vanilla_net(width, deep, act=nn.ReLU):
    """Blocks of a 3 x 3 convolution; ``deep`` puts an activation and a 1 x 1 convolution after each."""
    layers, inside = [], 1
    for outside, stride in ((width, 1), (width, 2), (2 * width, 2)):
        layers += [nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside)]
        if deep:
            layers += [nn.ReLU(), nn.Conv2d(outside, outside, 1, bias=False), nn.BatchNorm2d(outside)]
        layers += [act() if act is nn.ReLU else act(outside)]
        inside = outside
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, 10))


def vanilla(args):
    (x, y), (test_x, test_y) = digits()
    x, y = x[:400], y[:400]
    width, steps = 6, 60 if args.quick else 200
    found = {k: [] for k in ("shallow", "shallow, series", "lean, merged", "deep")}
    apart, times = [], None
    for seed in range(2 if args.quick else args.seeds):
        torch.manual_seed(seed)
        shallow = fit(vanilla_net(width, False), x, y, steps, 1e-2, seed)
        torch.manual_seed(seed)
        series = fit(vanilla_net(width, False, lambda c: Series("relu", 1, channels=c)), x, y, steps, 1e-2, seed)
        torch.manual_seed(seed)
        start = vanilla_net(width, True)
        deep = fit(copy.deepcopy(start), x, y, steps, 1e-2, seed)
        lean = copy.deepcopy(start)
        linearise(lean, where="2,8,14", time=False)
        fit(lean, x, y, steps, 1e-2, seed, Schedule(lean, 3 * steps // 4))
        before = outputs(lean, [test_x])
        merge(lean, test_x, time=False)
        apart.append(float((outputs(lean, [test_x]) - before).abs().max()))
        for name, model in zip(found, (shallow, series, lean, deep)):
            found[name].append(right(model, test_x, test_y))
        times = timed_copies(deep, lean, test_x)
    print(f"digits, 400 training images, width {width}, {steps} steps, {len(apart)} seeds; test accuracy")
    for name, values in found.items():
        paired = interval(np.array(values) - np.array(found["shallow"])) if name != "shallow" else ""
        print(f"{name:<16} {np.mean(values):.4f}  minus shallow {paired}")
    print(f"merged against unmerged outputs: at most {max(apart):.1e}; time deep {times.before:.2f} ms, "
          f"merged {times.after:.2f} ms")  # fmt: skip


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix = nn.MultiheadAttention(width, 4, batch_first=True)
        self.up, self.down, self.act = nn.Linear(width, 4 * width), nn.Linear(4 * width, width), nn.GELU()

    def forward(self, x):
        h = self.n1(x)
        x = x + self.mix(h, h, h, need_weights=False)[0]
        return x + self.down(self.act(self.up(self.n2(x))))


class Vit(nn.Module):
    """Patches of 2 x 2, four blocks."""

    def __init__(self, width=64, depth=3):
        super().__init__()
        self.patch, self.place = nn.Linear(4, width), nn.Parameter(0.02 * torch.randn(16, width))
        self.blocks = nn.Sequential(*(Block(width) for _ in range(depth)))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x):
        x = x.reshape(-1, 4, 2, 4, 2).transpose(2, 3).reshape(-1, 16, 4)
        return self.out(self.norm(self.blocks(self.patch(x) + self.place)).mean(1))


def idle(args):
    (x, y), (test_x, test_y) = digits()
    first, then, seeds = (30, 10, 2) if args.quick else (600, 100, args.seeds)
    ways = [(0.5, "line")] if args.quick else [(t, f) for t in (0.25, 0.5, 0.75, 1.0) for f in ("line", "identity")]
    put, trained, apart, times = {}, {}, {}, {}
    for seed in range(seeds):
        torch.manual_seed(seed)
        model = fit(Vit(), x, y, first, 1e-3, seed)
        put.setdefault("dense", []).append(right(model, test_x, test_y))
        dense = fit(copy.deepcopy(model), x, y, then, 5e-4, seed + 100)
        trained.setdefault("dense", []).append(right(dense, test_x, test_y))
        for theta, how in ways:
            net, key = copy.deepcopy(model), (theta, how)
            assert len(channel_idle(net, x[:200], theta=theta, fit=how, time=False).changes) == 3
            put.setdefault(key, []).append(right(net, test_x, test_y))
            fit(net, x, y, then, 5e-4, seed + 100)
            before = outputs(net, [test_x])
            fold_idle(net, x[:8], time=False)
            apart[key] = max(apart.get(key, 0.0), float((outputs(net, [test_x]) - before).abs().max()))
            trained.setdefault(key, []).append(right(net, test_x, test_y))
            time = timed_copies(dense, net, test_x)
            times.setdefault(key, []).append(time.after / time.before)
    print(f"digits ViT, width 64, 3 blocks, {first} steps, then {then} with idle channels, {seeds} seeds; dense: "
          f"accuracy {np.mean(put['dense']):.4f}, trained on {np.mean(trained['dense']):.4f}")  # fmt: skip
    print(f"{'theta':>6}{'fit':>10}{'put in':>9}{'trained':>9}  {'minus dense trained on':<28}{'folded apart':>13}"
          f"{'products':>10}{'time':>7}")  # fmt: skip
    for theta, how in ways:
        key = theta, how
        paired = interval(np.array(trained[key]) - trained["dense"])
        size = (64 * (256 * (1 - theta) + 64) + 256 * (1 - theta) * 64) / (2 * 64 * 256)
        print(f"{theta:>6g}{how:>10}{np.mean(put[key]):>9.4f}{np.mean(trained[key]):>9.4f}  {paired:<28}"
              f"{apart[key]:>13.1e}{size:>10.2f}{np.median(times[key]):>7.2f}", flush=True)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=("efficientnet", "digits", "vanilla", "idle"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    {"efficientnet": on_efficientnet, "digits": on_digits, "vanilla": vanilla, "idle": idle}[args.which](args)


if __name__ == "__main__":
    main()

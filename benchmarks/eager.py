"""Eager execution against torch's own, forward and forward + backward, as ratios in one run.

    python benchmarks/eager.py [--threads 1] [--n 1000000]

Alternatives are interleaved and the lower quartile of the repeats is taken. Fresh outputs on both sides.
"""

from __future__ import annotations

import argparse
import time
from functools import partial

import torch
import torch.nn.functional as F

import ogive

NATIVE = {
    "relu": F.relu, "silu": F.silu, "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "mish": F.mish, "tanh": torch.tanh, "softplus": F.softplus, "elu": F.elu, "hardswish": F.hardswish,
}  # fmt: skip


def seconds(f, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        f()
    return (time.perf_counter() - start) / repeats


def both(f, x, g):
    y = f(x)
    y.backward(g)
    x.grad = None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--dtype", default="float32")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    dtype = getattr(torch, args.dtype)
    torch.manual_seed(0)
    x, g = torch.randn(args.n).to(dtype), torch.randn(args.n).to(dtype)
    out = torch.empty_like(x)
    leaf = x.clone().requires_grad_()
    print(f"{args.dtype}, n = {args.n}, {args.threads} thread(s); multiples of copy_ and of torch's function")
    print(f"{'':<10} {'f/copy':>7} {'f/torch':>8} {'f+b/torch':>10}")
    for name, native in NATIVE.items():
        ours = ogive.get(name)
        runs = {
            "copy": partial(out.copy_, x), "native": partial(native, x), "ours": partial(ours, x),
            "native fb": partial(both, native, leaf, g), "ours fb": partial(both, ours, leaf, g),
        }  # fmt: skip
        times: dict[str, list[float]] = {k: [] for k in runs}
        for f in runs.values():
            f()
        for _ in range(15):
            for k, f in runs.items():
                times[k].append(seconds(f, 2))
        t = {k: sorted(v)[len(v) // 4] for k, v in times.items()}
        ratios = t["ours"] / t["copy"], t["ours"] / t["native"], t["ours fb"] / t["native fb"]
        print("{:<10} {:>7.1f} {:>8.2f} {:>10.2f}".format(name, *ratios))


if __name__ == "__main__":
    main()

"""What backward keeps, by policy: bytes an element, a training step, and whether training notices.

    python benchmarks/saving.py bytes
    python benchmarks/saving.py step [--dtype float32] [--act gelu]
    python benchmarks/saving.py text [--steps 220] [--seeds 5] [--act gelu]

``bytes``: distinct storages that autograd keeps of an activation and the linear layer after it, less the
weight. ``step``: four blocks 512-2048-512 on a batch of 1,024; peak memory is the peak resident set of a process of
its own above what it had before the step (Linux). ``text``: the character-level transformer of ``ogive.bench``,
from the same weights on the same batches under every policy.
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import time
import warnings
from contextlib import nullcontext
from pathlib import Path
from statistics import mean, median

import torch
from torch import nn

import ogive
from ogive.kernels.recompute import Same

POLICIES = ("torch", "x", "y+bit", "nothing", 8, 4, 2, 1, "approx-bp", "s2a")
NATIVE = {
    "relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU, "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "mish": nn.Mish,
}  # fmt: skip


def policy(name):
    """The context of a row of a table."""
    return nullcontext() if name == "torch" else ogive.saving(name)


def title(name):
    return f"{name} bits" if isinstance(name, int) else str(name)


class Kept:
    """Counts what autograd keeps, each storage once."""

    def __init__(self, known=()):
        self.known = {t.untyped_storage()._cdata for t in known}
        self.storages = {}

    def pack(self, t):
        storage = t.untyped_storage()
        if storage._cdata not in self.known:
            self.storages[storage._cdata] = (storage.nbytes(), t)  # t holds the storage, so that no two share a place
        return t

    @property
    def bytes(self):
        return sum(size for size, _ in self.storages.values())


def counted(policy_name, known, run):
    """``run()`` and the bytes kept by it under a policy. Hooks do not stack: those of "nothing" come first."""
    kept = Kept(known)
    with policy(policy_name):
        hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)
        if hooks is None:
            with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda t: t):
                return run(), kept.bytes
        inner, outer = hooks

        def pack(t):
            packed = inner(t)
            if isinstance(packed, Same):
                kept.pack(packed.tensor)
            return packed

        with torch.autograd.graph.saved_tensors_hooks(pack, outer):
            return run(), kept.bytes


def bytes_table(dtype):
    from ogive.speed.formulas import TWELVE, rational

    n = 4096
    print(f"bytes an element kept for backward by the activation and the linear layer after it, {dtype}")
    print(f"{'':<10}" + "".join(f"{title(p):>10}" for p in POLICIES))
    for name in TWELVE:
        act = rational() if name == "rational" else ogive.get(name)
        row = []
        for p in POLICIES:
            inputs = [torch.randn(64, n // 64).to(dtype).requires_grad_() for _ in act.inputs]
            weight = torch.randn(8, n // 64, dtype=dtype, requires_grad=True)
            run = NATIVE.get(name, lambda: None)() if p == "torch" else act
            if run is None:
                row.append("-")
                continue
            _, size = counted(p, [weight], lambda run=run, i=inputs, w=weight: nn.functional.linear(run(*i), w))
            row.append(f"{size / n:.3f}".rstrip("0").rstrip("."))
        print(f"{name:<10}" + "".join(f"{v:>10}" for v in row), flush=True)


def blocks(act, dtype, native):
    torch.manual_seed(0)
    return nn.Sequential(*(
        layer for _ in range(4)
        for layer in (nn.Linear(512, 2048), NATIVE[act]() if native else ogive.Act(act), nn.Linear(2048, 512))
    )).to(dtype)  # fmt: skip


def _resident(field):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return float("nan")


def one_step(name, act, dtype):
    """Of one policy: MiB kept, MiB of peak memory, and milliseconds, a line for the table."""
    model = blocks(act, dtype, name == "torch")
    x = torch.randn(1024, 512).to(dtype)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)

    def step():
        optimiser.zero_grad(set_to_none=True)
        with policy(name):
            loss = model(x).float().square().mean()
        loss.backward()
        optimiser.step()

    _, kept = counted(name, [*model.parameters(), x], lambda: model(x).float().square().mean())
    step()
    gc.collect()
    peak = float("nan")
    if Path("/proc/self/clear_refs").exists():
        optimiser.zero_grad(set_to_none=True)
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
        before = _resident("VmRSS")
        step()
        peak = _resident("VmHWM") - before
    times = []
    for _ in range(7):
        start = time.process_time()
        step()
        times.append(time.process_time() - start)
    print(f"{title(name):<10} {kept / 2**20:>9.1f} {peak:>9.1f} {1e3 * median(times):>9.0f}", flush=True)


def step_table(act, dtype, only):
    if only is not None:
        one_step(int(only) if only.isdigit() else only, act, dtype)
        return
    print(f"four blocks 512-2048-512, batch 1,024, {act}, {dtype}: MiB kept for backward, MiB at the peak of a step"
          ", ms of CPU a step")  # fmt: skip
    print(f"{'':<10} {'kept':>9} {'peak':>9} {'ms':>9}", flush=True)
    for p in POLICIES:
        # large blocks straight from the system, so that what is freed is seen to be
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
        kind = str(dtype).removeprefix("torch.")
        subprocess.run([sys.executable, __file__, "step", "--act", act, "--dtype", kind, "--only", str(p)],
                       env=environment, check=True)  # fmt: skip


def trained(name, act, seed, steps, task, data):
    """Test score (bits per character) of one run."""
    from ogive.bench.candidate import candidate
    from ogive.bench.protocol import build
    from ogive.bench.train import batches, evaluate, schedule

    x, y = data.train
    model, _ = build(task, candidate(act), seed, x[:8])
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-2, weight_decay=0.01, fused=True)
    model.train()
    for step, rows in enumerate(batches(len(x), task.batch, steps, seed), start=1):
        for group in optimiser.param_groups:
            group["lr"] = 3e-2 * schedule(step, steps)
        optimiser.zero_grad()
        with policy(name):
            loss = task.loss(model(x[rows]), y[rows])
        loss.backward()
        optimiser.step()
    return evaluate(model, task, data.test)


def text_table(act, steps, seeds):
    from ogive.bench.tasks import get_task
    from ogive.statistics.inference import t_interval

    task = get_task("text")
    data = task.load()
    print(f"character-level transformer, {act}, {steps} steps, {seeds} seeds: bits per character on the test files, and"
          " the difference from x with its 95 % interval (paired t)")  # fmt: skip
    reference = None
    for name in ("x", "y+bit", 4, 2, 1, "approx-bp"):
        scores = [trained(name, act, seed, steps, task, data) for seed in range(seeds)]
        reference = reference or scores
        differences = [a - b for a, b in zip(scores, reference)]
        interval = t_interval(differences) if name != "x" else None
        span = "" if interval is None else f"{mean(differences):+.5f} [{interval[0]:+.5f}, {interval[1]:+.5f}]"
        print(f"{title(name):<10} {mean(scores):.4f}   {span:<32} {' '.join(f'{s:.3f}' for s in scores)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("bytes", "step", "text"))
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--act", default="gelu")
    parser.add_argument("--steps", type=int, default=220)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", help="one policy of the part step, in this process")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)  # where a policy does not apply, the table shows it
    dtype = getattr(torch, args.dtype)
    if args.part == "bytes":
        bytes_table(dtype)
    elif args.part == "step":
        step_table(args.act, dtype, args.only)
    else:
        text_table(args.act, args.steps, args.seeds)


if __name__ == "__main__":
    main()

"""Time of one feed-forward block at batch 1 to 8 against the share of zeros: sparse kernels, the same dense, torch.

``python benchmarks/decode.py`` prints, for float32 and bfloat16 weights of 2048 inputs and 8192 neurons, one thread and
then all, the milliseconds of

* ``torch``: the block by torch's own matrix products;
* ``dense``: the best of two dense ways with the kernels here: all three projections by dot products, or the down
  projection as a sum of the rows of its transpose;
* ``known``: gate, up and down projection in the rows of a list that is given (a predictor's);
* ``gate``: the gate dense, up and down projection where it is not 0 (CATS, ReLU gates);
* ``linear``: a single Linear with a sparse input (TEAL), beside its own dense kernel and torch's.

Three blocks take turns (600 MB in float32), and which neurons are zero is drawn anew for every call, so that weights
come from memory. All ways take turns; a figure is the 15th percentile of the repeats. With one thread time is that
of the thread, which leaves out when others had the core; with several it is the clock's. ``--quick`` takes fewer
shares, ``--one`` one thread alone.
"""

from __future__ import annotations

import os
import sys
import time
from itertools import cycle

import numpy as np
import torch
from torch.nn import functional

from ogive.kernels import build
from ogive.surgery.sparsity import decode_rows

WIDTH, NEURONS, LAYERS = 2048, 8192, 3
SHARES = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95)


def layers(dtype: torch.dtype) -> list[tuple[torch.Tensor, ...]]:
    """Gate and up (neurons, width), down by rows of its transpose and as torch has it."""
    made = []
    for _ in range(LAYERS):
        gate, up, down = ((torch.randn(NEURONS, WIDTH) * 0.02).to(dtype) for _ in range(3))
        made.append((gate, up, down, down.t().contiguous()))
    return made


def ways(layer: tuple[torch.Tensor, ...], x: torch.Tensor, h: torch.Tensor, rows: torch.Tensor | None) -> dict:
    """One call of each way; ``h`` holds what the activation gave, its zeros the share that is measured."""
    gate, up, down, back = layer
    full = torch.randn_like(h)  # dense ways have nothing to skip
    xt, ht = x.to(gate.dtype), h.to(gate.dtype)

    def by_torch():
        functional.linear(xt, gate)
        return functional.linear(ht * functional.linear(xt, up), back)

    def by_dots():
        decode_rows.scores(gate, None, x)
        return decode_rows.scores(back, None, full * decode_rows.scores(up, None, x))

    def by_sums():
        decode_rows.scores(gate, None, x)
        return decode_rows.summed(full, down, 0.0, up, None, x)

    def gated():
        decode_rows.scores(gate, None, x)
        return decode_rows.summed(h, down, 0.0, up, None, x)

    def known():
        decode_rows.scores(gate, None, x, rows)
        return decode_rows.summed(h[:, rows.long()].contiguous(), down, 0.0, up, None, x, rows)

    found = {
        "torch": by_torch, "dots": by_dots, "sums": by_sums, "gate": gated,
        "linear torch": lambda: functional.linear(ht, back),
        "linear dense": lambda: decode_rows.scores(back, None, h),
        "linear": lambda: decode_rows.summed(h, down, 0.0),
    }  # fmt: skip
    return found if rows is None else {**found, "known": known}


def measured(dtype: torch.dtype, share: float, batch: int, repeats: int, made: list) -> dict[str, float]:
    """Milliseconds by way."""
    took: dict[str, list[float]] = {}
    turn = cycle(made)
    x = torch.randn(batch, WIDTH)
    names = list(ways(made[0], x, torch.randn(batch, NEURONS), torch.arange(3).int() if batch == 1 else None))
    for repeat in range(repeats + 1):
        for name in names:
            h = torch.randn(batch, NEURONS)
            for one in h:
                one[torch.randperm(NEURONS)[: round(share * NEURONS)]] = 0.0
            rows = h[0].nonzero()[:, 0].int() if batch == 1 else None
            call = ways(next(turn), x, h, rows)[name]
            clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
            began = clock()
            call()
            if repeat:
                took.setdefault(name, []).append(1e3 * (clock() - began))
    return {k: float(np.percentile(v, 15)) for k, v in took.items()}


def main(quick: bool, one: bool) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        for dtype in (torch.float32, torch.bfloat16):
            made = layers(dtype)
            for threads in (1,) if one else dict.fromkeys((1, os.cpu_count() or 1)):
                torch.set_num_threads(threads)
                print(f"\n{str(dtype)[6:]}, {threads} thread(s) of {os.cpu_count()} cores, {build.isa()[0]}")
                print("ms (times faster than dense, than torch)")
                print(f"{'batch':>5} {'zeros':>6} {'torch':>7} {'dense':>7} {'known':>20} {'gate':>20} {'linear':>20}")
                for batch in (1, 2, 4, 8):
                    some = SHARES if batch == 1 else (0.5, 0.9)
                    for share in (0.9,) if quick else some:
                        found = measured(dtype, share, batch, 8 if quick else 20 if batch == 1 else 8, made)
                        dense = min(found["dots"], found["sums"])
                        cells = [(found.get("known"), dense, found["torch"]), (found["gate"], dense, found["torch"]),
                                 (found["linear"], found["linear dense"], found["linear torch"])]  # fmt: skip
                        text = [f"{t:6.2f} ({d / t:4.1f}, {p / t:5.1f})" if t else "-" for t, d, p in cells]
                        print(f"{batch:>5} {share:>6.0%} {found['torch']:>7.2f} {dense:>7.2f} "
                              + " ".join(f"{c:>20}" for c in text), flush=True)  # fmt: skip


if __name__ == "__main__":
    main("--quick" in sys.argv, "--one" in sys.argv)

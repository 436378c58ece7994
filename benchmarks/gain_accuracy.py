"""How accurate the gains of all entries are, and what one costs.

The reference is the same integral of ball-arithmetic values on Gauss-Legendre panels of its own, summed with
40 digits (python-flint). Run: ``python benchmarks/gain_accuracy.py [name ...]``; two minutes for all entries.
"""

from __future__ import annotations

import sys
import time
from itertools import pairwise

import flint
import torch

from ogive.catalogue import entries
from ogive.derive.calculus import derivative
from ogive.derive.exact import Oracle
from ogive.derive.gain import gain
from ogive.errors import OgiveError

NODES = 24
REACH = 12.0  # beyond it the normal density weighs less than 1e-31


flint.ctx.prec = 160
RULE = [flint.arb.legendre_p_root(NODES, k, weight=True) for k in range(NODES)]


def exact_moment(act, order: int) -> float:
    """``E f(z)^2`` (order 0) or ``E f'(z)^2`` (order 1) to 30 digits where f is smooth between break points."""
    oracle = Oracle(act, order=order, bits=110)
    width = 0.125 if act.name in ("siren", "gabor", "hosc", "spike_fast_sigmoid", "smu", "elephant") else 0.5
    count = round(REACH / width)
    cuts = {k * width for k in range(-count, count + 1)}
    cuts |= {b for b in [*act.breakpoints(), *derivative(act).breakpoints()] if abs(b) < REACH}
    cuts |= {s * 0.25**k for s in (1, -1) for k in range(1, 20)}
    ends = sorted(cuts)
    flint.ctx.prec = 160
    total = flint.arb(0)
    for a, b in pairwise(ends):
        half, middle = (flint.arb(b) - a) / 2, (flint.arb(a) + b) / 2
        for node, weight in RULE:
            x = (middle + half * node).mid()
            total += oracle(x)[order] ** 2 * (-x * x / 2).exp() * weight * half
    return float((total / (2 * flint.arb.pi()).sqrt()).mid())


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    worst: list[tuple[float, str, str]] = []
    times: list[float] = []
    for name in names:
        act = entries()[name]
        try:
            gain(act)
        except OgiveError as error:
            print(f"{name:22} {error}")
            continue
        runs = []
        for _ in range(5):
            start = time.process_time()
            got = gain(act)
            runs.append(time.process_time() - start)
        times.append(sorted(runs)[2])
        forward = abs(got.second_moment / exact_moment(act, 0) - 1.0)
        worst.append((forward / 2, name, "forward"))
        line = f"{name:22} forward {got.forward:18.15g} off {forward / 2:7.1e}"
        if act.backward is None and got.slope_moment:
            backward = abs(got.slope_moment / exact_moment(act, 1) - 1.0)
            worst.append((backward / 2, name, "backward"))
            line += f"  backward {got.backward:18.15g} off {backward / 2:7.1e}"
        print(f"{line}  claims {got.error:7.1e}  {1e3 * times[-1]:5.2f} ms", flush=True)
    worst.sort(reverse=True)
    times.sort()
    median, slowest = 1e3 * times[len(times) // 2], 1e3 * times[-1]
    print(f"{len(times)} entries, median {median:.2f} ms, slowest {slowest:.2f} ms (CPU time)")
    print("largest relative errors:", ", ".join(f"{n} {which} {e:.1e}" for e, n, which in worst[:6]))


if __name__ == "__main__":
    main(sys.argv[1:] or sorted(n for n, a in entries().items() if len(a.inputs) == 1))

"""Inverses: how exact, and how long beside the function itself and beside a bisection.

    python benchmarks/inverse.py [--elements 100000] [--exact 300]

For every activation a branch is inverted at y = f(x) for random x. The error is measured against exact values of f at
the two neighbours of the result (needs ogive[certify]): a result is right when f there encloses y. Times are minima of
interleaved runs on one thread, per element. The bisection halves [-8, 8] until float32 (24 times) or float64 (53) has
no more bits to give; flow libraries do that with a fixed count of their own (zuko: 16). Where the function turns inside
[-8, 8] it finds another branch, and its error says so.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from ogive.derive.exact import Oracle
from ogive.derive.inverse import Inverse, inverse

CASES = (
    ("tanh", 0.0), ("sigmoid", 0.0), ("softplus", 0.0), ("elu", 0.0), ("leaky_relu", 0.0), ("squareplus", 0.0),
    ("silu", 1.0), ("gelu", 1.0), ("mish", 1.0), ("Phi(x)", 0.0), ("x + sin(x)", 0.0), ("x**3 + x", 0.0),
)  # fmt: skip
HALVINGS = {torch.float32: 24, torch.float64: 53}


def bisected(f: Callable[[Tensor], Tensor], y: Tensor, halvings: int) -> Tensor:
    lo, hi = torch.full_like(y, -8.0), torch.full_like(y, 8.0)
    for _ in range(halvings):
        mid = 0.5 * (lo + hi)
        low = f(mid) < y
        lo, hi = torch.where(low, mid, lo), torch.where(low, hi, mid)
    return 0.5 * (lo + hi)


def seconds(*runs: Callable[[], object], repeats: int = 5) -> list[float]:
    """The least time of each, the runs taking turns."""
    best = [math.inf] * len(runs)
    for _ in range(repeats):
        for i, run in enumerate(runs):
            start = time.perf_counter()
            run()
            best[i] = min(best[i], time.perf_counter() - start)
    return best


def wrong(found: Inverse, oracle: Oracle, x: Tensor, y: Tensor) -> int:
    """How many x are more than one unit in the last place off: f at the neighbours does not enclose y."""
    oracle.flint.ctx.prec = 200
    inf = torch.full_like(x, math.inf)
    sign = 1 if found.branch.rising else -1
    count = 0
    for a, b, v in zip(torch.nextafter(x, -inf).tolist(), torch.nextafter(x, inf).tolist(), y.tolist()):
        low, high = (sign * oracle(t)[0] for t in (max(a, found.branch.lo), min(b, found.branch.hi)))
        count += not (low <= sign * v and high >= sign * v)
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elements", type=int, default=100_000)
    parser.add_argument("--exact", type=int, default=300, help="results held against exact values")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'':12} {'dtype':8} {'closed':6} {'> 1 ulp':>8} {'ns':>8} {'f':>6} {'bisection':>9} {'its error':>9}")
    for name, at in CASES:
        for dtype in (torch.float32, torch.float64):
            print(line(inverse(name, at=at), dtype, options.elements, options.exact))


def line(found: Inverse, dtype: torch.dtype, elements: int, exact: int) -> str:
    """The figures of one inverse in one dtype."""
    f, b = found.activation, found.branch
    lo, hi = max(b.lo, -6.0), min(b.hi, 6.0)
    y = f((lo + (hi - lo) * torch.rand(elements, dtype=torch.float64)).to(dtype))
    y = y[(y.double() > b.low) & (y.double() < b.high)]
    x = found(y)
    inner = torch.isfinite(x[:exact])
    bad = wrong(found, Oracle(f, 0, 150), x[:exact][inner], y[:exact][inner])
    halvings = HALVINGS[dtype]
    own, plain, half = seconds(lambda: found(y), lambda: f(x), lambda: bisected(f, y, halvings))
    off = (bisected(f, y, halvings) - x).abs() / torch.finfo(dtype).eps / x.abs().clamp_min(1e-30)
    per = 1e9 / y.numel()
    return (
        f"{f.label:12} {str(dtype)[6:]:8} {'yes' if found.formula else 'no':6} {bad:4d}/{int(inner.sum())} "
        f"{own * per:8.1f} {plain * per:6.1f} {half * per:9.1f} {float(off.quantile(0.99)):9.3g}"
    )


if __name__ == "__main__":
    main()

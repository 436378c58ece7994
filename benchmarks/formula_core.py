"""Cost of the formula core: tracing, f', f'', shared subexpressions, for twelve common activations; and of
importing the package. Prints the two tables the documentation quotes.

    python benchmarks/formula_core.py
"""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import time

from ogive import rewrite
from ogive.activation import define
from ogive.diff import differentiate
from ogive.ops import Phi, clip, expm1, maximum, pi, sigmoid, sin, softplus, softsign, sqrt, tanh, where

FORMULAS = {
    "relu": lambda x: maximum(x, 0),
    "hardswish": lambda x: x * clip(x + 3, 0, 6) / 6,
    "elu": lambda x: where(x > 0, x, expm1(x)),
    "softplus": lambda x: softplus(x),
    "sigmoid": lambda x: sigmoid(x),
    "tanh": lambda x: tanh(x),
    "gelu": lambda x: x * Phi(x),
    "gelu_tanh": lambda x: 0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x * sigmoid(x),
    "mish": lambda x: x * tanh(softplus(x)),
    "softsign": lambda x: softsign(x),
    "snake": lambda x: x + sin(x) ** 2,
}
HEAVY = ("sympy", "triton", "scipy", "matplotlib", "sklearn", "typer", "rich")


def once(formula) -> tuple[float, int]:
    """Seconds for trace + stable form + f' + f'' from cold caches, and the number of distinct nodes."""
    differentiate.cache_clear()
    rewrite._normal.clear()
    start = time.perf_counter()
    act = define(formula)
    first = differentiate(act.expr, "x")
    second = differentiate(first, "x")
    seconds = time.perf_counter() - start
    nodes = set(act.expr.walk()) | set(first.walk()) | set(second.walk())  # shared by identity
    return seconds, sum(1 for n in nodes if n.args)


def import_cost(before: str, statement: str) -> float:
    """Seconds of ``statement`` in a fresh process after ``before``, best of nine."""
    code = f"{before}\nimport time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(9)]
    return min(float(r.stdout) for r in runs)


def main() -> None:
    print(f"{'formula':<10} {'ms (p10)':>9} {'median':>9} {'operations in f, f-prime, f-second':>34}")
    total = []
    gc.collect()
    gc.disable()
    for name, formula in FORMULAS.items():
        times = [once(formula) for _ in range(21)]
        ms = sorted(1e3 * t for t, _ in times)  # the machine is shared: a low percentile is the cost
        total.append(ms[2])
        print(f"{name:<10} {ms[2]:>9.3f} {statistics.median(ms):>9.3f} {times[0][1]:>34}")
    print(f"{'mean':<10} {statistics.mean(total):>9.3f}   (budget: below 1 ms each)")

    package = import_cost("import torch", "import ogive")
    used = import_cost("import torch, ogive", "ogive.Act('gelu')")
    code = f"import ogive, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    heavy = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    print(f"\nafter import torch, import ogive takes {1e3 * package:.1f} ms (budget: 60);")
    print(f"first use of the catalogue through ogive.Act('gelu') takes {1e3 * used:.0f} ms")
    print(f"heavy modules loaded by import ogive: {heavy}")


if __name__ == "__main__":
    main()

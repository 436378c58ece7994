"""How long ``ogive.find`` takes: the first call, then disguised and novel functions. One thread.

python benchmarks/find.py
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.disguises import disguises, novel, recognised

import ogive
from ogive.catalogue import entries
from ogive.derive.recognition.looks import blocks


def main() -> None:
    torch.set_num_threads(1)
    hidden, new = disguises(200, seed=3), novel(100, seed=4)
    start = time.process_time()
    ogive.find("x*sigmoid(x)*cos(x)")
    ogive.find(lambda x: torch.sign(x - 0.3) * x)
    size = sum(b.unit.nbytes + b.slopes.nbytes + b.theta.nbytes for b in blocks()) / 1e6
    print(f"{len(entries())} entries; warm-up {time.process_time() - start:.1f} s, index {size:.0f} MB")
    kinds: dict[str, list[float]] = {"all disguises": [], "novel": []}
    right = 0
    for made in hidden:
        began = time.process_time()
        found = ogive.find(made.target)
        spent = 1e3 * (time.process_time() - began)
        right += recognised(made, found)
        for kind in ("all disguises", ", ".join(made.done[:-1]) or "as published"):
            kinds.setdefault(kind, []).append(spent)
    claimed = 0
    for formula in new:
        began = time.process_time()
        claimed += bool(ogive.find(formula))
        kinds["novel"].append(1e3 * (time.process_time() - began))
    print(f"recognised {right} of {len(hidden)}; claimed {claimed} of {len(new)} novel ones")
    for kind, spent_on in kinds.items():
        median, most = np.median(spent_on), np.quantile(spent_on, 0.9)
        print(f"{kind:45s} {len(spent_on):4d}  median {median:6.1f} ms  90 % under {most:6.1f} ms  (CPU time)")


if __name__ == "__main__":
    main()

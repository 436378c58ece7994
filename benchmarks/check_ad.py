"""Is what autograd returns a derivative? Every scalar entry of the catalogue at every 16-bit number.

    python benchmarks/check_ad.py [--part I/N] [--bfloat16] [--points N] [--seconds S] [--quick]

At every finite float16 (with ``--bfloat16`` also bfloat16) number the slope from the compiled kernels and from the
eager program, in that dtype and in float32, has to lie between the one-sided slopes of the formula there. Printed are
counts, every entry that does not hold with its worst number, entries with a declared exception, entries that declare
another backward, jumps, and which convention is taken at kinks; then the same for functions of torch. About 1 s an
entry on one thread. ``--part 0/4`` takes every fourth
entry, ``--points 1`` the halves up to 8 and little else, which is where most formulas break.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import nn
from torch.nn import functional

from ogive.catalogue import entries
from ogive.certify.subderivative import Subderivatives, check_ad
from ogive.errors import OgiveError

torch.set_num_threads(1)

THEIRS = {
    "torch.abs": torch.abs, "relu": functional.relu, "relu6": functional.relu6, "hardtanh": functional.hardtanh,
    "hardswish": functional.hardswish, "hardsigmoid": functional.hardsigmoid, "leaky_relu": functional.leaky_relu,
    "elu": functional.elu, "selu": functional.selu, "softshrink": functional.softshrink,
    "hardshrink": functional.hardshrink, "threshold": nn.Threshold(0.5, 0.5), "clamp": lambda x: x.clamp(-1.0, 1.0),
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)), "sign": torch.sign,
    "where": lambda x: torch.where(x > 0, x, 0.0 * x), "relu(x) - relu(-x)": lambda x: x.relu() - (-x).relu(),
    "x.clamp(min=0) + x.clamp(max=0)": lambda x: x.clamp(min=0.0) + x.clamp(max=0.0),
}  # fmt: skip


def told(name: str, found: Subderivatives) -> str:
    first = "; ".join(
        f"x={k.x:g}: [{k.left:.4g}, {k.right:.4g}] -> {k.got:.4g} {k.convention}" for k in found.kinks[:3]
    )
    return f"  {name:34} {'holds' if found.passed else 'FAILS'}  {first or 'no kinks at floats'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--quick", action="store_true", help="every sixteenth entry")
    parser.add_argument("--points", type=int, help="a random part of the numbers, and the halves up to 8")
    parser.add_argument("--after", default="", help="entries behind this name in the alphabet")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no entry after that")
    options = parser.parse_args()
    dtypes = (torch.float16, torch.bfloat16) if options.bfloat16 else (torch.float16,)
    part, parts = map(int, ["0", "16"] if options.quick else options.part.split("/"))
    scalar = [(n, a) for n, a in sorted(entries().items()) if len(a.inputs) == 1 and n > options.after]
    scalar = scalar[part::parts]
    began = time.perf_counter()
    found: dict[str, Subderivatives] = {}
    for name, act in scalar:
        if time.perf_counter() - began > options.seconds:
            print(f"stopped before {name}: {len(scalar) - len(found)} of {len(scalar)} entries are left")
            break
        try:
            found[name] = check_ad(act, dtypes=dtypes, points=options.points)
        except OgiveError as error:
            print(f"{name}: not checked: {error}", flush=True)
            continue
        if not found[name].passed:
            s = next(s for s in found[name].sweeps if not s.holds)
            print(f"{name}: {s.outside} of {s.points} in {s.dtype} ({s.way}) are no subderivative; at x = {s.x:g} "
                  f"got {s.got:.6g}, slopes from {s.low:.6g} to {s.high:.6g}", flush=True)  # fmt: skip
    took = time.perf_counter() - began
    sweeps = [s for f in found.values() for s in f.sweeps]
    print(f"{len(found)} entries, {len(sweeps)} sweeps, {sum(s.points for s in sweeps)} slopes, {took:.0f} s: "
          f"{sum(f.passed for f in found.values())} hold")  # fmt: skip
    print(f"  undecided by enclosures, decided by balls: {sum(s.balls for s in sweeps)}; no slope exists at "
          f"{sum(s.undefined for s in sweeps)}")  # fmt: skip
    rough = {n: sum(s.rough for s in f.sweeps) for n, f in found.items()}
    print("  right but rougher than certificates allow, at float16 numbers in float32: "
          + (", ".join(f"{n} ({v})" for n, v in rough.items() if v) or "none"))  # fmt: skip
    excepted = {n: {s.excepted for s in f.sweeps if s.outside and s.excepted} for n, f in found.items()}
    for n, reasons in excepted.items():
        for reason in reasons if found[n].passed else ():
            print(f"  declared exception: {n}: {reason}")
    print(f"  declare another backward: {', '.join(n for n, f in found.items() if f.surrogate) or 'none'}")
    jumps = {n: max(s.jumps for s in f.sweeps) for n, f in found.items()}
    strays = {n: max(s.strays for s in f.sweeps) for n, f in found.items()}
    print(f"  jump at floats: {sum(v > 0 for v in jumps.values())} entries; slope there outside those of the sides: "
          f"{', '.join(n for n, v in strays.items() if v) or 'none'}")  # fmt: skip
    total: Counter[str] = Counter()
    several = [n for n, f in found.items() if len(f.conventions) > 1]
    for f in found.values():
        total.update(set(f.conventions))
    print(f"  kinks at floats: {sum(bool(f.conventions) for f in found.values())} entries; conventions by entries: "
          f"{dict(total.most_common())}; {len(several)} take more than one")  # fmt: skip
    print("functions of torch")
    for name, code in THEIRS.items():
        print(told(name, check_ad(code, dtypes=dtypes)), flush=True)


if __name__ == "__main__":
    main()

"""How wide bounds of one activation are, over the range that is true: ours, and auto_LiRPA's where it can be imported.

    python benchmarks/bound_widths.py                  (the table; auto_LiRPA in the same environment is measured too)
    python benchmarks/bound_widths.py --time           (a million intervals, one thread)
    python benchmarks/bound_widths.py --pairs 1e7      (random pairs of activation and interval; counts violations)

image     width of the interval image            IBP        auto_LiRPA's interval bound
lines     of the lines of least area             CROWN      of its lines, or of its IBP where that is less
free      of the best over the free point and slope optimised  its CROWN-Optimized
"!" marks bounds that values of the function are outside of, "-" what it does not support. Widths of lines are those of
the box that they leave over the interval.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import math
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

import ogive
from ogive.derive.bounds import Lines, bounds, support_lines
from ogive.derive.image import image
from ogive.derive.lines.soundness import audit, intervals

BOXES = [(-1.0, 1.0), (-3.0, 3.0), (-4.0, -0.5), (0.5, 4.0), (-6.0, 1.0)]
ROOT = math.sqrt(2 / math.pi)
SUBJECTS: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "relu": ("relu", F.relu),
    "sigmoid": ("sigmoid", torch.sigmoid),
    "tanh": ("tanh", torch.tanh),
    "atan": ("atan(x)", torch.atan),
    "sin": ("sin(x)", torch.sin),
    "silu": ("silu", lambda x: x * torch.sigmoid(x)),
    "gelu tanh": ("gelu_tanh", lambda x: 0.5 * x * (1 + torch.tanh(ROOT * (x + 0.044715 * x * x * x)))),
    "gelu": ("gelu", F.gelu),
    "mish": ("mish", lambda x: x * torch.tanh(torch.log(1 + torch.exp(x)))),
    "softsign": ("softsign", lambda x: x / (1 + torch.abs(x))),
    "exp(-x^2)": ("exp(-x*x)", lambda x: torch.exp(-(x * x))),
    "x^2": ("x*x", lambda x: x**2),
    "x*x": ("x*x", lambda x: x * x),
    "snake": ("x + sin(x)**2", lambda x: x + torch.sin(x) ** 2),
    "elu": ("elu", F.elu),
    "selu": ("selu", F.selu),
    "hardswish": ("hardswish", F.hardswish),
    "softplus": ("softplus", F.softplus),
}  # fmt: skip


def ends() -> tuple[Tensor, Tensor]:
    lo, hi = zip(*BOXES)
    return torch.tensor(lo), torch.tensor(hi)


def truth(f: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Least and greatest of 200001 samples of each interval, in float64."""
    lo, hi = (t.double()[:, None] for t in ends())
    y = f(lo + (hi - lo) * torch.linspace(0, 1, 200_001, dtype=torch.float64))
    return y.amin(1), y.amax(1)


def cell(low: Tensor, high: Tensor, least: Tensor, most: Tensor, i: int) -> str:
    wide = (
        float((high[i] - low[i]) / (most[i] - least[i]))
        if most[i] > least[i]
        else float(high[i] - low[i] == 0) or math.inf
    )
    rounding = 1e-5 * (1 + float(most[i].abs().maximum(least[i].abs())))
    mark = "!" if low[i] > least[i] + rounding or high[i] < most[i] - rounding else ""
    return (f"{wide:.2f}" if wide < 1000 else f"{wide:.0e}") + mark


def boxed(lines: Lines, lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
    return torch.minimum(lines.lower(lo), lines.lower(hi)), torch.maximum(lines.upper(lo), lines.upper(hi))


def ours(spec: str) -> dict[str, tuple[Tensor, Tensor]]:
    lo, hi = ends()
    low, high = boxed(bounds(spec, lo, hi), lo, hi)
    none = torch.zeros_like(lo)
    free_low, free_high = boxed(support_lines(spec, lo, hi, none, none), lo, hi)
    for share in torch.linspace(0, 1, 129):
        new = boxed(bounds(spec, lo, hi, at=lo + (hi - lo) * share), lo, hi)
        free_low, free_high = torch.maximum(free_low, new[0]), torch.minimum(free_high, new[1])
    return {"image": image(spec, lo, hi), "lines": (low, high), "free": (free_low, free_high)}


def theirs(f: Callable[[Tensor], Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    try:
        from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm
    except ImportError:
        return {}

    class Alone(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return f(x)

    logging.disable(logging.CRITICAL)
    lo, hi = (t[:, None] for t in ends())
    found = {}
    for method in ("IBP", "CROWN", "CROWN-Optimized"):
        try:
            options = {"optimize_bound_args": {"iteration": 50}, "verbosity": 0}
            net = BoundedModule(Alone(), (lo + hi) / 2, bound_opts=options, device="cpu")
            x = BoundedTensor((lo + hi) / 2, PerturbationLpNorm(norm=math.inf, x_L=lo, x_U=hi))
            with contextlib.redirect_stdout(io.StringIO()):
                low, high = net.compute_bounds(x=(x,), method=method)
            found[method.replace("CROWN-O", "o")] = (low.detach()[:, 0].double(), high.detach()[:, 0].double())
        except Exception:  # whatever it raises for what it does not support
            continue
    return found


def table() -> None:
    columns = ["image", "lines", "free", "IBP", "CROWN", "optimized"]
    print(f"{'width over true range on ' + ' '.join(f'[{a:g},{b:g}]' for a, b in BOXES)}\n")
    print(f"{'':10}" + "".join(f"{c:>35}" for c in columns))
    wider = []
    for name, (spec, f) in SUBJECTS.items():
        least, most = truth(f)
        found = {**ours(spec), **theirs(f)}
        cells = [[cell(*found[c], least, most, i) for i in range(len(BOXES))] if c in found else ["-"] for c in columns]
        print(f"{name:10}" + "".join(f"{' '.join(f'{v:>6}' for v in c):>35}" for c in cells))
        for us, them in (("image", "IBP"), ("free", "optimized")):
            if them in found:
                (a, b), (c, d) = found[us], found[them]
                sound = (c <= least + 1e-5 * (1 + least.abs())) & (d >= most - 1e-5 * (1 + most.abs()))
                worse = sound & (b.double() - a.double() > (d - c) * (1 + 1e-5) + 1e-6)
                wider += [f"{name} {us} on {BOXES[i]}" for i in worse.nonzero().flatten().tolist()]
    print("\nwider than auto_LiRPA: " + ("; ".join(wider) or "nowhere"))


def speed(count: int = 1_000_000) -> None:
    torch.set_num_threads(1)
    gen = torch.Generator().manual_seed(0)
    centre, half = torch.randn(count, generator=gen) * 3, torch.rand(count, generator=gen) * 4
    for dtype in (torch.float32, torch.float64):
        lo, hi = (centre - half).to(dtype), (centre + half).to(dtype)
        for name in ("relu", "silu", "gelu", "mish", "tanh", "sine"):
            took = []
            for run in (image, bounds):
                run(name, lo[:5000], hi[:5000])
                start = time.process_time()
                run(name, lo, hi)
                took.append(time.process_time() - start)
            print(
                f"{str(dtype)[6:]:8} {name:8} image {took[0]:6.3f} s   bounds {took[1]:6.3f} s   of {count} intervals"
            )


def pairs(count: int) -> None:
    torch.set_num_threads(1)
    names = [n for n in ogive.names() if len(ogive.get(n).inputs) == 1]
    each = math.ceil(count / len(names) / 2)
    seen = bad = points = 0
    start = time.time()
    for name in names:
        for seed, dtype in enumerate((torch.float32, torch.float64)):
            lo, hi = intervals(name, each, dtype, seed=seed)
            low, high = image(name, lo, hi)
            none = torch.zeros_like(lo)
            for lines in (Lines(none, low, none, high), bounds(name, lo, hi)):
                for part in range(0, each, 4096):
                    some = slice(part, part + 4096)
                    cut = Lines(*(getattr(lines, k)[some] for k in lines.__dataclass_fields__))
                    found = audit(name, lo[some], hi[some], cut, samples=13, balls=4 if part == 0 else 0)
                    points, bad = points + found.points, bad + found.violations
                    if not found.sound:
                        print(found, flush=True)
            seen += each
    print(f"{seen} pairs of {len(names)} activations, image and lines: {bad} violations at {points} points, "
          f"{time.time() - start:.0f} s")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=float)
    parser.add_argument("--time", action="store_true")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    if given.pairs:
        pairs(int(given.pairs))
    elif given.time:
        speed()
    else:
        table()


if __name__ == "__main__":
    main()

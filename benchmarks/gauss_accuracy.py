"""How accurate Gaussian moments and dual activations of all entries are, and what one costs.

Moments are held against the same integrals of ball-arithmetic values on Gauss-Legendre panels of their own, summed
with 40 digits (python-flint). Duals are held against a sum in rotated coordinates p = (u + v)/(2a), q = (u - v)/(2b),
where both the panels and the points are others. Run: ``python benchmarks/gauss_accuracy.py [--dual] [name ...]``;
minutes for all entries.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import flint
import numpy as np
import torch
from torch import Tensor

from ogive.catalogue import entries
from ogive.derive.calculus import derivative
from ogive.derive.dual import dual
from ogive.derive.exact import Oracle
from ogive.derive.integrals.bundle import Bundle
from ogive.derive.moments import moment
from ogive.errors import OgiveError

KINDS = {"E f": (1, 0), "E f^2": (2, 0), "E f f'": (1, 1), "E f'^2": (0, 2)}
CORRELATIONS = (-0.7, 0.5, 0.98)
NODES = 24
REACH = 24.0  # beyond it lies less than 1e-16 of an integrand that grows like exp(15 x)

flint.ctx.prec = 160
RULE = [flint.arb.legendre_p_root(NODES, k, weight=True) for k in range(NODES)]


def exact_moments(act: Any) -> dict[str, tuple[float, float]]:
    """Each moment and that of the magnitude, to 30 digits where f is smooth between break points."""
    oracle = Oracle(act, order=1, bits=110)
    fast = act.name in ("siren", "gabor", "hosc", "smu", "elephant", "sine_learn", "soft_clipping")
    width = 0.125 if fast else 0.5
    if act.name.startswith("finer"):  # sin(30 (|x| + 1) x)
        width = 1 / 64
    count = round(REACH / width)
    cuts = {k * width for k in range(-count, count + 1)}
    breaks = {b for b in [*act.breakpoints(), *derivative(act).breakpoints(), 0.0] if abs(b) < REACH}
    # Graded towards singular ends: a square root is then good to 4^-45.
    cuts |= breaks | {b + s * 0.25**k for b in breaks if len(breaks) < 5 for s in (1, -1) for k in range(1, 25)}
    flint.ctx.prec = 160
    sums = {k: [flint.arb(0), flint.arb(0)] for k in KINDS}
    parts = flint.arb(0)
    for a, b in pairwise(sorted(cuts)):
        half, middle = (flint.arb(b) - a) / 2, (flint.arb(a) + b) / 2
        for node, weight in RULE:
            x = (middle + half * node).mid()
            f, df = oracle(x)[:2]
            density = (-x * x / 2).exp() * weight * half
            parts += x * f * f * density / 2
            for kind, (p, q) in KINDS.items():
                term = f**p * df**q * density
                sums[kind][0] += term
                sums[kind][1] += abs(term)
    # By parts E f f' is E z f^2/2 where f has no jumps: f' may have a singularity that no panels can reach, as
    # 1/(x log(x)^3) of lif_rate has, and f^2 has not.
    if not Bundle(act, act.settle({})).jumps:
        sums["E f f'"][0] = parts
    root = (2 * flint.arb.pi()).sqrt()
    return {k: (float((v / root).mid()), float((s / root).mid())) for k, (v, s) in sums.items()}


def rotated(g: Callable[[Tensor], Tensor], breaks: list[float], c: float, nodes: int, reach: float) -> float:
    """``E g(u) g(v)`` over p and q; panels of q are cut where u or v meets a break point."""
    a, b = math.sqrt((1 + c) / 2), math.sqrt((1 - c) / 2)
    x, w = (torch.from_numpy(t) for t in np.polynomial.legendre.leggauss(nodes))
    step = 0.4 * min(1.0, b)
    near = {k + s * 4.0**-j for k in breaks for s in (1, -1) for j in range(1, 8)} | set(breaks)
    places = {k / a for k in near} | {(k + m) / (2 * a) for k in breaks for m in breaks}
    ends = sorted({-reach, reach, *(e for e in places if abs(e) < reach), *np.arange(-reach, reach, step).tolist()})
    lo, hi = torch.tensor(ends[:-1]).double()[:, None], torch.tensor(ends[1:]).double()[:, None]
    p, wp = ((lo + hi) / 2 + (hi - lo) / 2 * x).reshape(-1), ((hi - lo) / 2 * w).reshape(-1)
    grid = torch.linspace(-reach, reach, 24, dtype=torch.float64).expand(len(p), -1)
    cut = (torch.tensor(breaks, dtype=torch.float64) - a * p[:, None]) / b
    q_ends = torch.cat([grid, cut, -cut], 1).clamp(-reach, reach).sort(1).values
    lo, hi = q_ends[:, :-1, None], q_ends[:, 1:, None]
    total = 0.0
    for i in range(0, len(p), 128):
        part = slice(i, i + 128)
        q = (lo[part] + hi[part]) / 2 + (hi[part] - lo[part]) / 2 * x
        middle = a * p[part, None, None]
        y = g(middle + b * q) * g(middle - b * q) * torch.exp(-q * q / 2) * ((hi[part] - lo[part]) / 2 * w)
        total += float((y.sum((1, 2)) * torch.exp(-(p[part] ** 2) / 2) * wp[part]).sum())
    return total / (2 * math.pi)


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """The result and the median CPU time of five calls in ms, the first call left out."""
    run()
    times = []
    for _ in range(5):
        start = time.process_time()
        got = run()
        times.append(1e3 * (time.process_time() - start))
    return got, sorted(times)[2]


def summary(kind: str, rows: list[tuple[float, str]], times: list[tuple[float, str]]) -> None:
    if not rows:
        return
    rows.sort(reverse=True)
    times.sort(reverse=True)
    print(f"{kind:12} {len(rows)} entries, largest errors", ", ".join(f"{n} {e:.1e}" for e, n in rows[:4]))
    print(
        f"{'':12} median {times[len(times) // 2][0]:.2f} ms, slowest", ", ".join(f"{n} {t:.1f}" for t, n in times[:3])
    )


def univariate(names: list[str]) -> None:
    errors: dict[str, list[tuple[float, str]]] = {k: [] for k in KINDS}
    times: dict[str, list[tuple[float, str]]] = {k: [] for k in KINDS}
    for name in names:
        act = entries()[name]
        if act.backward is not None:
            continue
        want = exact_moments(act)
        for kind, powers in KINDS.items():
            try:
                got, ms = timed(lambda act=act, powers=powers: moment(act, *powers))
            except OgiveError as error:
                print(f"{name:22} {kind:8} {error}")
                continue
            value, size = want[kind]
            off = abs(got.value - value) / size if size else abs(got.value)
            errors[kind].append((off, name))
            times[kind].append((ms, name))
            if off > 1e-13 or got.error > 1e-12 * size:
                print(f"{name:22} {kind:8} off {off:7.1e}  claims {got.error / size:7.1e}  {ms:5.2f} ms", flush=True)
    for kind in KINDS:
        summary(kind, errors[kind], times[kind])


def bivariate(names: list[str]) -> None:
    for c in CORRELATIONS:
        errors: list[tuple[float, str]] = []
        times: list[tuple[float, str]] = []
        unsettled: list[str] = []
        for name in names:
            act = entries()[name]
            got, ms = timed(lambda act=act, c=c: dual(act, c))
            times.append((ms, name))
            breaks = sorted({b for b in [*act.breakpoints(), 0.0] if abs(b) < 9.5})
            if len(breaks) > 12:
                continue
            size, want = moment(act, 2).value, rotated(act, breaks, c, 16, 9.5)
            if abs(want - rotated(act, breaks, c, 12, 8.5)) > 1e-11 * size:
                unsettled.append(name)
                continue
            off = abs(got.value - want) / size
            errors.append((off, name))
            if off > 1e-11:
                print(f"{name:22} c={c} off {off:7.1e}  claims {got.error / size:7.1e}", flush=True)
        summary(f"c = {c}", errors, times)
        print(f"{'':12} the reference itself has not settled for {len(unsettled)}: {', '.join(unsettled)}")


def main(given: list[str]) -> None:
    torch.set_num_threads(1)
    names = [g for g in given if g != "--dual"] or sorted(n for n, a in entries().items() if len(a.inputs) == 1)
    (bivariate if "--dual" in given else univariate)(names)


if __name__ == "__main__":
    main(sys.argv[1:])

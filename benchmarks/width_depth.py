"""Do the limits of width and depth commute? Residual networks with branches of 1/sqrt(depth) beside plain stacks.

    python benchmarks/width_depth.py [activation ...]

For each depth and width: how far the mean variance and the mean correlation of two inputs are from the kernel flow (of
the plain stack: from the maps of infinite width at that depth), the spread of the variance between networks, and the
Kolmogorov-Smirnov distance of a unit from the limit's normal distribution. A few minutes on one thread.
"""

from __future__ import annotations

import math
import sys

import torch

from ogive.derive.critical import edge_of_chaos
from ogive.derive.kernel_flow import kernel_flow, residual_networks
from ogive.derive.moments import moment
from ogive.derive.wide.maps import Maps

DEPTHS, WIDTHS = (4, 16, 64, 256), (8, 32, 128, 512)
START = 0.2  # the correlation of the inputs


def table(act, plain):
    sigma = 1.0 / math.sqrt(moment(act, 2).value)
    flow = kernel_flow(act, c=START, sigma_w=sigma, tol=1e-7)
    maps, rows = Maps(act, sigma), {}
    g = torch.Generator().manual_seed(484)
    for depth in DEPTHS:
        q, c = flow.q[-1], flow.c[-1]
        if plain:
            q, c = 1.0, START
            for _ in range(depth):
                q, c = maps.length(q), maps.correlation(c, q)
        for width in WIDTHS:
            networks = 200_000 // max(width, 32)
            options = {"skip": 0.0, "branch": 1.0} if plain else {}
            got = residual_networks(
                act, depth, width, c=START, sigma_w=sigma, limit=q, networks=networks, generator=g, **options
            )
            rows[depth, width] = (
                got.means[0] / q - 1.0, got.errors[0] / q, got.means[2] - c, got.errors[2], got.spread, got.distance
            )  # fmt: skip
    what = "plain stack" if plain else f"residual, branches 1/sqrt(depth), limit q {flow.q[-1]:.4f} c {flow.c[-1]:.4f}"
    print(f"{act}: {what}")
    print(f"  {'depth':>5} |" + "".join(f"{f'width {w}':^42}|" for w in WIDTHS))
    print(f"  {'':5} |" + "".join(f"{'q off %':>13}{'c off':>15}{'spread':>7}{'KS':>6} |" for _ in WIDTHS))
    for depth in DEPTHS:
        cells = []
        for width in WIDTHS:
            q, dq, c, dc, spread, distance = rows[depth, width]
            cells.append(f"{100 * q:7.1f}+-{100 * dq:4.1f}{c:9.4f}+-{dc:.4f}{spread:7.2f}{distance:6.3f} |")
        print(f"  {depth:5} |" + "".join(cells))
    shades = " .:-=+*#%@"
    print("  heat map of the spread of the variance, depth down, width across; @ from 1, each shade a factor of 1.6")
    for depth in DEPTHS:
        marks = [rows[depth, w][4] for w in WIDTHS]
        level = [max(0, min(9, round(9 + math.log(max(m, 1e-6)) / math.log(1.6)))) for m in marks]
        print(f"  {depth:5} |" + "".join(shades[k] * 6 for k in level) + "|", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or ("relu", "tanh", "gelu"):
        table(name, plain=False)
        if edge_of_chaos(name, lengths=(1.0,)).universality != "half-stable":  # lengths of those run away
            table(name, plain=True)

"""How random networks of finite width fluctuate: recursions against simulation, and exponents of the width.

    python benchmarks/fluctuations.py           both tables
    python benchmarks/fluctuations.py depth     four-point vertex and NTK variance by depth, two kinds of weights
    python benchmarks/fluctuations.py width     slopes of log correlation by log width

Some minutes on one thread.
"""

from __future__ import annotations

import math
import sys

import torch

from ogive.derive.fluctuations import WEIGHTS, fluctuations
from ogive.derive.moments import moment
from ogive.derive.wide.finite_networks import correlations
from ogive.derive.width_scaling import width_scaling

LAYERS = (1, 2, 5, 10, 20, 30, 40)


def by_depth():
    print("one input; vertex = V/K^2, NTK = n Var T/T^2, +- one standard error; recursion of order 1/width in brackets")
    g = torch.Generator().manual_seed(462)
    for act, width, networks in (("tanh", 32, 800), ("tanh", 64, 200), ("sin(x)", 32, 400), ("relu", 64, 100)):
        sigma = 1.0 / math.sqrt(moment(act, 2).value) if act == "relu" else 1.0
        for weights in WEIGHTS:
            depth = LAYERS[-1]
            got = correlations(act, depth, width, sigma, weights=weights, networks=networks, generator=g)
            want = fluctuations(act, depth, width, sigma, weights=weights)
            print(f"{act}, width {width}, {weights}, {networks} networks")
            for layer in LAYERS:
                i = layer - 1
                v, a, b = got.vertex[i], got.tangent_vertex[i], got.tangent_mixing[i]
                tangent, error = a.value + 2.0 * b.value, math.hypot(a.error, 2.0 * b.error)
                vertex = f"vertex {v.value:8.2f} +-{v.error:5.2f} ({want.vertex[i]:6.2f})"
                predicted = width * want.tangent_variance[i]
                print(f"  layer {layer:3}  {vertex}   NTK {tangent:7.2f} +-{error:5.2f} ({predicted:6.2f})", flush=True)


def by_width():
    print("exponents of the width, +- standard error over ten parts: 2 layers of weights to width 16384, 3 to 256")
    g = torch.Generator().manual_seed(94)
    for act in ("x**2", "x**3", "tanh", "sin(x)", "gelu", "relu", "abs(x)", "hardtanh"):
        for depth, widths, networks in ((2, (256, 1024, 4096, 16384), 3000), (3, (32, 64, 128, 256), 300)):
            got = width_scaling(act, widths, depth=depth, networks=networks, generator=g)
            names = ("cumulant", "NTK variance", "NTK change")
            cells = [f"{n} {e.value:6.3f} +-{e.error:.3f}" for n, e in zip(names, got.exponents)]
            print(f"{act:9} depth {depth}  " + "   ".join(cells), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    wanted = sys.argv[1:] or ["depth", "width"]
    if "depth" in wanted:
        by_depth()
    if "width" in wanted:
        by_width()

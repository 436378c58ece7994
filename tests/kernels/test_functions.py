"""The elementary functions of ``kernels/c/functions.h`` against balls, at both precisions, and that gcc vectorises them."""

from __future__ import annotations

import ctypes
import math
import re
import subprocess

import numpy as np
import pytest
import torch

from ogive.kernels import build
from ogive.ops import OPS

flint = pytest.importorskip("flint")

EPS = 2.0**-52
TINY = 2.0**-1022
# Worst error measured on a grid twenty times denser than the one below, rounded up, in units of the last place
# of the exact value; None: held to eps (|f| + |x f'|), the function has zeros that are not in reach of a double.
FULL = {
    "exp": 1.1, "expm1": 2.1, "log": 0.9, "log1p": 1.2, "sin": 1.5, "cos": 1.6, "tan": 3.2, "atan": 1.5, "sinh": 2.6,
    "cosh": 1.7, "tanh": 2.8, "asinh": 1.7, "sech2": 2.2, "logcosh": 1.8, "tanhshrink": 8.0, "sigmoid": 2.1,
    "softplus": 1.7, "erf": 2.0, "erfc": 5.0, "Phi": 5.0, "phi": 2.5, "softsign": 1.6, "hypot1": 1.0, "hypotm1": 3.0,
    "isru": 2.0, "sqp": 2.8, "sqp1": 4.5, "sqrt": 0.5, "abs": 0.0, "sign": 0.0, "floor": 0.0, "round": 0.0,
    "sinc0": 2.8, "sinc1": None, "sinc2": None, "sinc3": None, "sinc4": None,
}  # fmt: skip
CONDITION = 3.5
MEDIUM = 2e-11
NEAR = ("sin", "cos", "tan", "sinc0", "sinc1", "sinc2", "sinc3", "sinc4")
BINARY = ("max", "min", "pow", "xlogy", "mulsat")
TOP = 1.7976931348623157e308
CIRCULAR = ("sin", "cos", "tan", "sinc0", "sinc1", "sinc2", "sinc3", "sinc4")


def text(medium: bool) -> str:
    """A loop for every function."""
    lines = ["#define OG_MEDIUM" if medium else "", '#include "functions.h"']
    export = '__attribute__((visibility("default"))) void'
    for name in (*FULL, *(f"{n}_near" for n in NEAR)):
        lines.append(f"{export} f_{name}(long n, const double *restrict x, double *restrict y) {{")
        lines.append(f"  for (long i = 0; i < n; i++) y[i] = og_{name}(x[i]); }}")
    for name in BINARY:
        lines.append(
            f"{export} f_{name}(long n, const double *restrict a, const double *restrict b, double *restrict y) {{"
        )
        lines.append(f"  for (long i = 0; i < n; i++) y[i] = og_{name}(a[i], b[i]); }}")
    return "\n".join(lines)


@pytest.fixture(scope="module", params=[False, True], ids=["full", "medium"])
def library(request):
    try:
        lib = build.library(text(request.param), "math-test")
    except build.NoCompiler as error:
        pytest.skip(str(error))
    return lib, request.param


def run(lib, name, *args):
    args = [np.ascontiguousarray(a, dtype=np.float64) for a in args]
    y = np.empty_like(args[0])
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (*args, y)]
    getattr(lib, f"f_{name}")(ctypes.c_long(y.size), *pointers)
    return y


EDGES = [1e-300, 1e-160, 1e-40, 1e-20, 1e-16, 1e-8, 1e-5, 1e-3, 0.01, 0.1, 0.25, 0.3465735902799726, 0.41421356, 0.5,
         0.70710678, 0.75, 1.0, 1.5, 1.5707963267948966, 2.0, 2.5, 3.0, 3.141592653589793, 3.5, 4.5, 6.0, 10.0, 17.0,
         20.0, 26.5, 30.0, 36.0, 37.5, 80.0, 88.0, 300.0, 354.0, 500.0, 700.0, 708.3, 709.7, 709.78, 710.4, 710.47,
         745.0, 1e3, 1e5, 268435456.0, 1e10, 140737488355328.0, 1e19, 1e22, 1e30, 3e38, 1e100, 1e154, 1e200, 1e300,
         8e307, TOP]  # fmt: skip


def grid(name, points=60):
    """Edges with their neighbours, dense ranges and decades; where circular, also near multiples of pi/2."""
    rng = np.random.default_rng(3)
    sign = rng.choice([-1.0, 1.0], points)
    edges = np.array(EDGES)
    x = np.concatenate([edges, np.nextafter(edges, 0), -edges, -np.nextafter(edges, 0)])
    for bound in (1.2, 12.0, 45.0, 750.0):
        x = np.concatenate([x, rng.uniform(-bound, bound, points)])
    x = np.concatenate([x, 10 ** rng.uniform(-12, 6, points) * sign, 10 ** rng.uniform(-300, 300, points) * sign])
    if name in CIRCULAR:
        x = np.concatenate(
            [x, rng.integers(1, 1 << 46, points) * (math.pi / 2), rng.integers(1, 99, points) * math.pi / 2]
        )
    if name == "log":
        x = np.concatenate([x, 1 + rng.uniform(-1, 1, points) * 10 ** rng.uniform(-15, -1, points)])
    if name == "log1p":
        x = np.concatenate([x[x > -1], -1 + 10 ** rng.uniform(-15, -0.1, points)])
    return np.abs(x) if name in ("log", "sqrt") else x


def exact(name, x):
    """(f, f') to 400 bits or more; None where the value is not a finite double."""
    far = abs(math.frexp(x)[1])
    if (name in ("exp", "expm1", "sinh", "cosh") and x > 711) or (name in ("sinh", "cosh") and x < -711):
        return None
    flint.ctx.prec = 1500 + 4 * far  # exp(-745) beside 1, and cubes of small numbers
    row = OPS["sinc" if name.startswith("sinc") else name]
    series = flint.arb_series([flint.arb(x), 1], prec=2)
    value = row.exact(series, *([int(name[4:])] if name.startswith("sinc") else []))
    return (value[0], value[1]) if abs(value[0]) < TOP else None


def errors(name, x, y):
    """Per point: (relative error, error in units of the last place, in eps (|f| + |x f'|))."""
    out = []
    for at, got in zip(x.tolist(), y.tolist()):
        pair = exact(name, at)
        if pair is None:
            assert math.isinf(got) or abs(got) == TOP, f"{name}({at!r}) = {got!r} should overflow"
            continue
        want = float(pair[0])
        assert math.isfinite(got), f"{name}({at!r}) = {got!r}, exact {want!r}"
        error = abs(float((pair[0] - got).mid()))
        if abs(want) < TINY:  # may be flushed
            assert error <= TINY, f"{name}({at!r}) = {got!r}, exact {want!r}"
            continue
        unit = math.ldexp(1.0, math.frexp(want)[1] - 53)
        out.append((error / abs(want), error / unit, error / (EPS * (abs(want) + abs(at * float(pair[1].mid())))), at))
    return out


@pytest.mark.parametrize("name", FULL)
def test_accuracy(library, name):
    lib, medium = library
    x = grid(name)
    found = errors(name, x, run(lib, name, x))
    assert len(found) > 100
    relative, units, conditioned = (max(found, key=lambda e: e[k]) for k in range(3))
    if FULL[name] is None:
        assert conditioned[2] <= (MEDIUM / EPS if medium else CONDITION), f"{name}: {conditioned}"
    elif medium:
        assert relative[0] <= MEDIUM, f"{name}: {relative}"
    else:
        assert units[1] <= FULL[name], f"{name}: {units}"


LIMITS = {"softsign": (-1, 1), "hypotm1": (math.inf, math.inf), "isru": (-1, 1), "sqp1": (0, 2)}  # torch: NaN


@pytest.mark.parametrize("name", FULL)
def test_special_values_follow_torch(library, name):
    lib, _ = library
    x = torch.tensor(
        [0.0, -0.0, math.inf, -math.inf, math.nan, -1.0, -2.0, 0.5, 1.5, 2.5, 1e308, -1e308], dtype=torch.float64
    )
    order = [int(name[4:])] if name.startswith("sinc") else []
    want = OPS["sinc" if order else name].torch(x, *order).clone()
    if name in LIMITS:
        want[3], want[2] = LIMITS[name]
    if name == "sqp1":
        want[10] = 2.0  # torch: inf
    got = torch.from_numpy(run(lib, name, x.numpy()))
    assert torch.equal(got.isnan(), want.isnan()), f"{name}: {got} {want}"
    same = (got == want) | ((got - want).abs() <= MEDIUM * want.abs().clamp_max(1e300)) | want.isnan()
    same |= want.isfinite() & (x.abs() > 1e300) & torch.tensor(name in CIRCULAR)  # torch's own differ out there
    assert bool(same.all()), f"{name}: {got} {want}"
    zero = want == 0
    assert torch.equal(got[zero].signbit(), want[zero].signbit()), f"{name}: {got} {want}"


NUMBERS = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -3.0, 1e300, -1e300, math.inf, -math.inf, math.nan, 1e-300,
           -2.5, 2.0**53 + 2, 4.0, -7.0, 1e-5, 0.1]  # fmt: skip


@pytest.mark.parametrize("name", BINARY)
def test_two_arguments_follow_torch(library, name):
    lib, medium = library
    a, b = (g.ravel() for g in np.meshgrid(NUMBERS, NUMBERS))
    p, q = torch.from_numpy(a.copy()), torch.from_numpy(b.copy())
    product = torch.where((p == 0) | (q == 0), torch.zeros_like(p), p * q)
    scalar = [float(torch.pow(u, v)) for u, v in zip(p, q)] if name == "pow" else []  # not torch's vector code
    want = {"max": lambda: torch.maximum(p, q), "min": lambda: torch.minimum(p, q), "xlogy": lambda: torch.xlogy(p, q),
            "mulsat": lambda: product, "pow": lambda: torch.tensor(scalar, dtype=torch.float64)}[name]()  # fmt: skip
    got = torch.from_numpy(run(lib, name, a, b))
    close = torch.isclose(got, want, rtol=4e-11 if medium else 4 * EPS, atol=TINY, equal_nan=True)
    bad = [(float(p[i]), float(q[i]), float(got[i]), float(want[i])) for i in (~close).nonzero().ravel()]
    assert not bad, bad
    if name == "pow":
        assert torch.equal(got.signbit()[want == 0], want.signbit()[want == 0])


def test_pow_is_accurate_for_large_exponents(library):
    lib, medium = library
    rng = np.random.default_rng(5)
    a = np.concatenate(
        [10 ** rng.uniform(-6, 6, 300), 1 + rng.uniform(-0.1, 0.1, 300), 10 ** rng.uniform(-300, 300, 300)]
    )
    b = np.concatenate([rng.uniform(-50, 50, 300), rng.uniform(-6000, 6000, 300), rng.uniform(-1, 1, 300)])
    flint.ctx.prec = 200
    worst = 0.0
    for p, q, got in zip(a.tolist(), b.tolist(), run(lib, "pow", a, b).tolist()):
        want = (q * flint.arb(p).log()).exp()
        if TINY < float(want) < TOP:
            worst = max(worst, abs(float(((want - got) / want).mid())))
    assert worst <= (MEDIUM if medium else 1.2 * EPS)


@pytest.mark.parametrize("name", NEAR)
def test_near_forms_agree_and_mark_what_lies_beyond(library, name):
    lib, _ = library
    x = grid(name)
    near, full = run(lib, f"{name}_near", x), run(lib, name, x)
    inside = np.abs(x) <= 2.0**47
    assert np.array_equal(near[inside], full[inside]) and inside.any()
    assert np.isnan(near[~inside]).all() and not np.isnan(full[~inside]).any() and not inside.all()


@pytest.mark.parametrize("isa", [("-march=x86-64-v3",), ("-march=x86-64-v4", "-mprefer-vector-width=512")])
@pytest.mark.parametrize("medium", [False, True])
def test_every_loop_is_vectorised(isa, medium, tmp_path):
    try:
        command = build.compiler()
    except build.NoCompiler as error:
        pytest.skip(str(error))
    about = subprocess.run([*command, "-v"], capture_output=True, text=True).stderr
    if "gcc version" not in about or "Target: x86_64" not in about:
        pytest.skip("reads the notes of gcc for x86-64")
    source = tmp_path / "loops.c"
    source.write_text(text(medium))
    flags = [*build._FLAGS, *isa, f"-I{build.SOURCES}", "-fopt-info-vec-optimized"]
    done = subprocess.run(
        [*command, *flags, str(source), "-o", str(tmp_path / "loops.so")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    vectorised = {int(n) for n in re.findall(r"loops\.c:(\d+):\d+: optimized: loop vectorized", done.stderr)}
    lines = source.read_text().splitlines()
    plain = [line for k, line in enumerate(lines, 1) if "for (long" in line and k not in vectorised]
    assert not plain, plain

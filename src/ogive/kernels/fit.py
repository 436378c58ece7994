"""The whole of a function as a piecewise polynomial: one multiply-add per degree, whatever the formula.

The line is cut into 32 equal segments of width h, the outer two without end; segment k holds the polynomial of
x - c_k that is closest to the function in the measure the laws use, eps (|f| + |x f'|), at Chebyshev points.
The segments that touch 0 are expanded at 0 with the function's own order there, so that relative accuracy
survives down to the smallest number. Coefficients are float32; a segment is kept only if the compiled kernel
is within ``BOUND`` units of the float64 formula on a dense sample of it, ends included. Everywhere else (far
tails, segments with a kink inside, NaN, infinities) the formula itself is evaluated.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

SEGMENTS, DEGREES = 32, 11
BOUND = 1.5  # of the units below; the law for float32 allows 2
# What an element outside the fit costs, in vector operations on sixteen: about 12 ns each against 0.27.
_OUTSIDE = 700.0

Function = Callable[[np.ndarray], np.ndarray]  # float64 to float64


@dataclass(frozen=True)
class Precision:
    """What is close enough. The unit of error is ``share * (|f| + condition * |x f'|)``, plus the last bit."""

    share: float
    condition: float
    last: float

    def units(self, f: Function, x: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            here = f(x)
            left, right = here - f(x * (1.0 - 2e-7)), f(x * (1.0 + 2e-7)) - here
            slope = np.minimum(np.abs(left), np.abs(right)) / 2e-7  # |x f'|, on the calmer side of a kink
            return np.asarray(self.share * (np.abs(here) + self.condition * slope) + self.last)


# Sixteen bits round afterwards, so an eighth of their unit is kept; next to a zero the nearest input is half a
# unit away, which is what the condition term says.
PRECISION = {
    torch.float32: Precision(2.0**-23, 1.0, 2.0**-149),
    torch.bfloat16: Precision(2.0**-11, 2.0**-8, 2.0**-133),
    torch.float16: Precision(2.0**-14, 2.0**-11, 2.0**-26),
}


class Fit(ctypes.Structure):
    """``struct fit`` of runtime.c."""

    _fields_ = (
        ("degree", ctypes.c_int32),
        ("low", ctypes.c_float),
        ("high", ctypes.c_float),
        ("scale", ctypes.c_float),
        ("shift", ctypes.c_float),
        ("centre", ctypes.c_float * SEGMENTS),
        ("coef", (ctypes.c_float * SEGMENTS) * DEGREES),
        ("rare", ctypes.c_void_p),
        ("table", ctypes.c_void_p),
    )


@dataclass(frozen=True)
class Grid:
    """Where the segments lie: borders at whole multiples of ``width``, from ``first * width`` on. A segment that
    touches 0 or one of the ``kinks`` is expanded there; ``up`` gives a border to the segment on its left."""

    width: float
    first: int
    kinks: tuple[float, ...] = ()
    up: bool = False

    @property
    def left(self) -> np.ndarray:
        return np.asarray((self.first + np.arange(SEGMENTS)) * self.width)

    @property
    def centre(self) -> np.ndarray:
        c = self.left + 0.5 * self.width
        for at in (*self.kinks, 0.0):
            k = round(at / self.width) - self.first
            if abs(at - (k + self.first) * self.width) < 1e-9 * self.width:
                c[max(k - 1, 0) : k + 1] = at
        return c

    @property
    def pinned(self) -> np.ndarray:
        """The side (1 or -1) on which a segment leaves its centre, 0 where the centre lies inside."""
        offset = np.round((self.left - self.centre) / self.width, 3)
        return np.where(offset == 0.0, 1, np.where(offset == -1.0, -1, 0))

    def struct(self, degree: int, coef: np.ndarray, good: np.ndarray) -> Fit:
        """The fit as the kernels read it. ``coef``: (segments, degree + 1)."""
        # inputs beyond the middles of the outer segments count as those middles
        low, high = (self.first + 0.5) * self.width, (self.first + SEGMENTS - 0.5) * self.width
        if self.up:  # the kernel rounds down: counted from the right, that gives a border to its left
            fit = Fit(low=low, high=high, scale=-1.0 / self.width, shift=self.first + SEGMENTS)
        else:
            fit = Fit(low=low, high=high, scale=1.0 / self.width, shift=-self.first)
        order = slice(None, None, -1) if self.up else slice(None)
        fit.degree = 10 if degree == 9 else degree
        fit.centre[:] = np.where(good, self.centre, np.nan).astype(np.float32)[order].tolist()
        for j in range(degree + 1):
            fit.coef[j][:] = np.where(good, coef[:, j], 0.0).astype(np.float32)[order].tolist()
        return fit


def _leading(f: Function, at: float, side: float) -> int:
    """The order of the first term of f at a point, from one side: 0 when f is not 0 there."""
    step = np.array([2.0**-40, 2.0**-44]) if at == 0.0 else np.array([2.0**-20, 2.0**-24])
    a, b = np.abs(f(at + side * step))
    if not (np.isfinite(a) and np.isfinite(b)) or b == 0.0 or a == 0.0:
        return 0
    return max(0, round(float(np.log2(a / b)) / 4.0))


def _polynomials(f: Function, grid: Grid, degree: int, precision: Precision) -> tuple[np.ndarray, np.ndarray]:
    """Weighted least squares at Chebyshev points; (coefficients about the centre, largest error in units)."""
    points = 3 * (degree + 1) + 6
    nodes = np.cos(np.pi * (np.arange(points) + 0.5) / points)
    width = grid.width
    x = grid.left[:, None] + 0.5 * width * (1.0 + nodes[None, :])
    with np.errstate(all="ignore"):
        value = f(x)
        weight = 1.0 / precision.units(f, x)
    finite = np.asarray(np.isfinite(value).all(1) & np.isfinite(weight).all(1))
    value = np.asarray(np.where(finite[:, None], value, 0.0))
    weight = np.asarray(np.where(finite[:, None], weight, 1.0))
    basis = ((x - grid.centre[:, None]) / width)[:, :, None] ** np.arange(degree + 1)
    free = np.ones((SEGMENTS, degree + 1), dtype=bool)
    for k in np.flatnonzero(grid.pinned).tolist():  # lower terms than the function has would spoil it next to its zero
        free[k, : min(_leading(f, float(grid.centre[k]), float(grid.pinned[k])), degree)] = False
    scaled = basis * weight[:, :, None] * free[:, None, :]
    size = np.sqrt((scaled**2).sum(1, keepdims=True))
    size = np.where(size == 0.0, 1.0, size)
    coef = np.zeros((SEGMENTS, degree + 1))
    for k, column in enumerate(free):
        coef[k, column] = np.linalg.lstsq((scaled[k] / size[k])[:, column], value[k] * weight[k], rcond=1e-15)[0]
    coef = coef / size[:, 0]
    error = np.abs((basis * coef[:, None, :]).sum(2) - value) * weight
    return coef / width ** np.arange(degree + 1), np.where(finite, error.max(1), np.inf)


def _sample(grid: Grid, per: int) -> np.ndarray:
    """float32 points of every segment, ends and their neighbours included; far ones in the outer two."""
    rng = np.random.default_rng(7)
    left, width = grid.left[:, None], grid.width
    inside = (left + width * rng.random((SEGMENTS, per))).astype(np.float32)
    lo, hi = left.astype(np.float32), (left + width).astype(np.float32)
    inf = np.float32(np.inf)
    ends = np.concatenate([lo, np.nextafter(lo, inf), np.nextafter(lo, -inf), hi, np.nextafter(hi, -inf),
                           np.nextafter(hi, inf)], axis=1)  # fmt: skip
    small = np.tile(np.float32(2.0) ** -np.arange(1, 127, 3, dtype=np.float32), (SEGMENTS, 1)) * np.float32(width)
    near = np.where(left >= 0, small, -small).astype(np.float32)
    near = np.where((left == 0) | (left == -width), near, lo).astype(np.float32)
    far = np.float32(grid.width) * np.float32(SEGMENTS) * np.float32(2.0) ** np.arange(0, 121, 2, dtype=np.float32)
    far = np.tile(far, (SEGMENTS, 1))
    far[0] = -far[0]
    far[1:-1] = lo[1:-1]
    return np.concatenate([inside, ends, near, far], axis=1)


def _beyond(grid: Grid) -> np.ndarray:
    """Where a sample by segments is thin: densely over the outer two, and around every break point, between which
    a formula may do anything (blends of width 0.01 at x = -10 are published)."""
    rng = np.random.default_rng(11)
    reach = grid.width * SEGMENTS / 2
    out = reach * np.concatenate([1.0 + 7.0 * rng.random(1000), 8.0 * 2.0 ** (16.0 * rng.random(400))])
    steps = grid.width * 2.0 ** -np.arange(0.5, 14.0, 0.5)
    around = [k + np.concatenate([steps, -steps]) for k in grid.kinks]
    return np.concatenate([out, -out, *around]).astype(np.float32)


def _segment_of(grid: Grid, x: np.ndarray) -> np.ndarray:
    s = x.astype(np.float64) / grid.width
    k = (np.ceil(s) - 1 if grid.up else np.floor(s)) - grid.first
    return np.asarray(np.clip(k, 0, SEGMENTS - 1).astype(int))


def _normal_mass(grid: Grid, good: np.ndarray, sigma: float) -> float:
    """The share of N(0, sigma^2) that falls into segments without a fit."""
    edges = np.concatenate([[-np.inf], grid.left[1:], [np.inf]]) / sigma
    cdf = torch.special.ndtr(torch.from_numpy(edges)).numpy()
    return float(np.diff(cdf)[~good].sum())


def _widths(kinks: list[float]) -> list[float]:
    """Widths that put every kink on a border: powers of two, or fractions of the one kink they share."""
    widths = [1.0, 0.5, 0.25]
    away = sorted({abs(k) for k in kinks if k})
    fitting = [w for w in widths if all(float(k / w).is_integer() for k in away)]
    if fitting or not away:
        return fitting or widths
    unit = away[0]
    return [
        unit / m
        for m in range(1, 9)
        if 0.2 <= unit / m <= 1.1 and all(abs(k * m / unit - round(k * m / unit)) < 1e-12 for k in away)
    ] or widths


def fit(
    f: Function,
    run: Callable[[Fit, np.ndarray], np.ndarray],
    kinks: list[float],
    dtype: torch.dtype,
    alternative: float = np.inf,
) -> Fit | None:
    """The cheapest fit of ``f`` whose results round to ``dtype``, or None when none is cheaper than ``alternative``.

    ``run(fit, x)`` evaluates a fit by the compiled kernel on float32 ``x`` (values of ``dtype``). Cost, in vector
    operations, is the degree plus what the elements outside cost, at inputs of deviation 2.
    """
    precision = PRECISION[dtype]
    offers: list[tuple[float, Grid, int]] = []
    for width in _widths(kinks):
        grid = Grid(width, -SEGMENTS // 2, tuple(kinks))
        for degree in range(1, DEGREES):
            _, error = _polynomials(f, grid, degree, precision)
            good = error < 0.6
            good[[0, -1]] = True  # judged by the sample: they have no end
            lost = _normal_mass(grid, good, 2.0)
            # the outer segments are straight lines, which few functions have reached there
            offers.append((degree + 4.0 + 100.0 * (lost + 0.3 * _normal_mass(grid, ~_outer(), 2.0)), grid, degree))
            if lost < 1e-3:
                offers.append((offers[-1][0] + 1.0, grid, min(degree + 1, DEGREES - 1)))
                break
    best: tuple[float, Fit] | None = None
    for _, grid, degree in sorted(offers, key=lambda o: o[0])[:4]:
        for up in (False, True):
            made = _verified(f, run, replace(grid, up=up), degree, dtype)
            if made is None:
                continue
            cost = degree + 4.0 + _OUTSIDE * made[1]
            if best is None or cost < best[0]:
                best = (cost, made[0])
            if made[1] < 0.001:
                break
        if best is not None and made is not None and made[1] < 0.001:
            break
    return best[1] if best is not None and best[0] < alternative else None


def _outer() -> np.ndarray:
    mask = np.zeros(SEGMENTS, dtype=bool)
    mask[[0, -1]] = True
    return mask


def _verified(
    f: Function, run: Callable[[Fit, np.ndarray], np.ndarray], grid: Grid, degree: int, dtype: torch.dtype
) -> tuple[Fit, float] | None:
    precision = PRECISION[dtype]
    coef, error = _polynomials(f, grid, degree, precision)
    coef = _ends(f, grid, coef)
    good = np.isfinite(error) | _outer()
    x = np.concatenate([_sample(grid, 160).ravel(), _beyond(grid)]) if dtype == torch.float32 else _codes(dtype)
    got = run(grid.struct(degree, coef, good), x).astype(np.float64)
    wide = x.astype(np.float64)
    with np.errstate(all="ignore"):
        value = f(wide)
        wrong = ~(np.abs(got - value) <= _allowed(f, wide, value, dtype))
    good &= np.bincount(_segment_of(grid, x), weights=wrong, minlength=SEGMENTS) == 0
    if not good.any():
        return None
    return grid.struct(degree, coef, good), _normal_mass(grid, good, 2.0)


def _allowed(f: Function, x: np.ndarray, value: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    """The error a result may have: BOUND units in float32, 0.6 of the spacing after rounding to sixteen bits."""
    if dtype == torch.float32:
        return BOUND * PRECISION[dtype].units(f, x)
    info = torch.finfo(dtype)
    return np.asarray(0.6 * info.eps * 2.0 ** np.floor(np.log2(np.maximum(np.abs(value), info.smallest_normal))))


def _codes(dtype: torch.dtype) -> np.ndarray:
    """Every finite value of a sixteen-bit dtype."""
    x = torch.arange(-32768, 32768, dtype=torch.int32).to(torch.int16).view(dtype).float()
    return np.asarray(x[torch.isfinite(x)].numpy())


def _ends(f: Function, grid: Grid, coef: np.ndarray) -> np.ndarray:
    """The outer segments as straight lines, where the function has become one."""
    coef = coef.copy()
    for k, side in ((0, -1.0), (SEGMENTS - 1, 1.0)):
        x = side * np.array([1e3, 2e3])
        a, b = f(x)
        slope = (b - a) / (x[1] - x[0])
        coef[k] = 0.0
        if np.isfinite([a, b]).all():
            coef[k, 0] = a + slope * (grid.centre[k] - x[0])
            coef[k, 1] = slope
    return coef

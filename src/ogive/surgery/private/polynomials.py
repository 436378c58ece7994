"""Polynomials that stand for an activation: least squares on a sample or under a normal, minimax on an interval.

All of them are in ``t = (x - centre) / half``, so that powers stay near 1 on the fitted interval whatever its size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.polynomial import chebyshev, hermite_e, polynomial
from numpy.typing import NDArray
from torch import Tensor

from ogive.activation import Activation
from ogive.derive.moments import hermite
from ogive.errors import OgiveError, ParameterError, closest
from ogive.lookup import get

Array = NDArray[np.float64]
FITS = ("sample", "normal", "minimax")
_GRID = 4001
_TAIL = 0.02  # weight of an even grid on the interval beside the sample: holds the polynomial where data is rare


@dataclass(frozen=True)
class Polynomial:
    """``sum_k c_k t^k`` with ``t = (x - centre) / half``, good for x in [low, high].

    ``error`` is the root mean square on what it was fitted to over that of the activation there, ``worst`` the
    largest absolute error on [low, high].
    """

    coefficients: tuple[float, ...]
    centre: float
    half: float
    low: float
    high: float
    error: float = math.nan
    worst: float = math.nan

    @property
    def degree(self) -> int:
        """The highest power."""
        return len(self.coefficients) - 1

    @property
    def depth(self) -> int:
        """Multiplications in a row that an evaluation takes, see :func:`depth_of`."""
        return depth_of(self.degree)

    def __call__(self, x: Tensor) -> Tensor:
        """Its values at ``x``, in the dtype of ``x``."""
        return paterson_stockmeyer((x - self.centre) / self.half, self.coefficients)

    def in_x(self) -> tuple[float, ...]:
        """Coefficients of the powers of x itself.

        >>> Polynomial((0.0, 0.0, 1.0), 1.0, 2.0, -1.0, 3.0).in_x()  # ((x - 1) / 2)^2
        (0.25, -0.5, 0.25)
        """
        inner: Any = np.array([-self.centre / self.half, 1.0 / self.half])
        total: Any = np.zeros(1)
        for c in reversed(self.coefficients):
            total = polynomial.polyadd(polynomial.polymul(total, inner), [c])
        return tuple(map(float, np.pad(total, (0, len(self.coefficients) - len(total)))))

    def __repr__(self) -> str:
        return (f"Polynomial(degree {self.degree} on [{self.low:.4g}, {self.high:.4g}], error {self.error:.2g}, "
                f"worst {self.worst:.2g})")  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in self.__dict__.items()} | {"depth": self.depth}


def depth_of(degree: int) -> int:
    """Levels of ciphertext multiplication that a polynomial takes: ``floor(log2 degree) + 1``, 1 for a square alone.

    All powers up to the degree are there after ``ceil(log2 degree)`` products; the one with the coefficient, which
    is a number, costs a level of scale too, and TenSEAL's polyval folds it into the last but for powers of two.

    >>> [depth_of(d) for d in (1, 2, 3, 4, 7, 8, 15)]
    [1, 2, 2, 3, 3, 4, 4]
    """
    return degree.bit_length()


def paterson_stockmeyer(t: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """``sum_k c_k t^k`` with about ``2 sqrt(degree)`` products of tensors (Paterson and Stockmeyer 1973).

    The powers up to s = ceil(sqrt(degree + 1)) are made once; the rest is Horner's rule in t^s over blocks of s
    coefficients.

    >>> paterson_stockmeyer(torch.tensor(2.0), (1.0, 0.0, 3.0, 1.0))
    tensor(21.)
    """
    size = math.isqrt(len(coefficients) - 1) + 1
    powers = [torch.ones_like(t), t]
    while len(powers) <= size:
        k = len(powers)
        powers.append(powers[k // 2] * powers[k - k // 2])
    blocks = [coefficients[i : i + size] for i in range(0, len(coefficients), size)]
    total: Tensor | None = None
    for block in reversed(blocks):
        part = sum((c * p for c, p in zip(block, powers)), start=torch.zeros_like(t))
        total = part if total is None else total * powers[size] + part
    assert total is not None
    return total


def fit(
    spec: Any,
    x: Tensor | None = None,
    degree: int = 4,
    *,
    how: str = "sample",
    low: float | None = None,
    high: float | None = None,
    margin: float = 0.25,
    quantile: float = 1e-3,
) -> Polynomial:
    """The polynomial of ``degree`` that stands for an activation on given inputs or on an interval.

    Args:
        spec: anything :func:`ogive.get` takes, of one input.
        x: inputs, one dimension; they give the interval (their quantiles ``quantile`` and ``1 - quantile``, widened
            on each side by ``margin`` of the length) where ``low`` and ``high`` do not.
        degree: 1 to 15.
        how: ``sample`` is least squares on x, with 2 % of the weight on an even grid over the interval; ``normal``
            is least squares under the normal distribution with the mean and variance of x, which is the sum of the
            first Hermite coefficients; ``minimax`` has the least maximum on the interval (Remez' exchange).

    Raises:
        ParameterError: for a degree, a word or an interval that cannot be.
        OgiveError: for inputs that do not vary, or a function that is not finite on the interval.

    >>> fit("relu", how="minimax", low=-1.0, high=1.0, degree=2)  # 1/16 + x/2 + x^2/2
    Polynomial(degree 2 on [-1, 1], error 0.1, worst 0.063)
    """
    act = get(spec)
    if type(degree) is not int or not 1 <= degree <= 15:
        raise ParameterError(f"{act.label}: degree={degree!r}; it takes a whole number from 1 to 15")
    if how not in FITS:
        near = closest(str(how), FITS, 1)[0]
        raise ParameterError(f"{act.label}: fit={how!r}; it is one of {', '.join(FITS)} (did you mean {near!r}?)")
    if len(act.inputs) != 1:
        raise ParameterError(f"{act.label} takes {len(act.inputs)} inputs; a polynomial here has one")
    if low is None or high is None:
        if x is None:
            raise ParameterError(f"{act.label}: give inputs x, or the interval low and high")
        low, high = interval_of(x, margin, quantile, act.label)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ParameterError(f"{act.label}: the interval [{low:g}, {high:g}]; it takes finite numbers, low < high")
    grid = np.linspace(low, high, _GRID)
    on_grid = _values(act, grid)
    if not np.isfinite(on_grid).all():
        bad = grid[~np.isfinite(on_grid)][0]
        raise OgiveError(f"{act.label} is not finite at {bad:.4g}, inside [{low:.4g}, {high:.4g}]; no polynomial fits")
    centre, half = (low + high) / 2.0, (high - low) / 2.0
    given = grid if x is None else x.detach().double().cpu().flatten().numpy()
    if how == "normal":
        if x is None:
            raise ParameterError(f"{act.label}: fit='normal' takes its mean and variance from inputs x; give them")
        centre, half = float(given.mean()), float(given.std())
        if not half > 0.0:
            raise OgiveError(f"the inputs of {act.label} do not vary, so there is nothing to fit on")
        coefficients = normal_coefficients(act, degree, centre, half)
    elif how == "minimax":
        coefficients = _remez(grid, on_grid, degree, centre, half)
    else:
        coefficients = _least_squares(act, given, grid, on_grid, degree, centre, half)
    made = Polynomial(tuple(map(float, coefficients)), centre, half, low, high)
    target = _values(act, given)
    rest = made(torch.from_numpy(given)).numpy() - target
    scale = math.sqrt(float((target**2).mean()))
    error = math.sqrt(float((rest**2).mean())) / scale if scale > 0.0 else math.nan
    worst = float(np.abs(made(torch.from_numpy(grid)).numpy() - on_grid).max())
    return Polynomial(made.coefficients, centre, half, low, high, error, worst)


def interval_of(x: Tensor, margin: float, quantile: float, label: str) -> tuple[float, float]:
    """The quantiles of ``x``, widened on each side by ``margin`` of their distance."""
    if not (math.isfinite(margin) and margin >= 0.0):
        raise ParameterError(f"{label}: margin={margin!r}; it takes a number from 0 (0.25 is a quarter on each side)")
    if not 0.0 <= quantile < 0.5:
        raise ParameterError(f"{label}: quantile={quantile!r}; it takes a number from 0 to below 0.5")
    values = x.detach().double().cpu().flatten().numpy()
    low, high = (float(v) for v in np.quantile(values, [quantile, 1.0 - quantile]))
    if not low < high:
        raise OgiveError(f"the inputs of {label} do not vary (all near {low:.4g}), so no interval can be fitted")
    return low - margin * (high - low), high + margin * (high - low)


def normal_coefficients(act: Activation, degree: int, mean: float, std: float) -> Array:
    """Powers of ``z = (x - mean) / std`` of the best polynomial in the mean square under N(mean, std^2).

    It is the sum of the first terms of ``f = sum_k a_k He_k(z) / sqrt(k!)``.

    >>> normal_coefficients(get("relu"), 2, 0.0, 1.0).round(5).tolist()  # 1/(2 sqrt(2 pi)), 1/2, 1/(2 sqrt(2 pi))
    [0.19947, 0.5, 0.19947]
    """
    a = hermite(act, degree, mean, std)[0].numpy()
    scaled = a / np.sqrt([math.factorial(k) for k in range(degree + 1)])
    return _padded(hermite_e.herme2poly(scaled), degree)


def _values(act: Activation, x: Array) -> Array:
    made: Array = act(torch.from_numpy(np.ascontiguousarray(x))).numpy()
    return made


def _padded(c: NDArray[np.floating[Any]], degree: int) -> Array:
    return np.pad(np.asarray(c, dtype=np.float64), (0, degree + 1 - len(c)))


def _least_squares(
    act: Activation, given: Array, grid: Array, on_grid: Array, degree: int, centre: float, half: float
) -> Array:
    """Chebyshev columns, so that the equations stay well conditioned at degree 15."""
    inside = given[np.abs(given - centre) <= half]
    weight = np.concatenate([np.full(len(inside), (1.0 - _TAIL) / max(len(inside), 1)), np.full(_GRID, _TAIL / _GRID)])
    x, y = np.concatenate([inside, grid]), np.concatenate([_values(act, inside), on_grid])
    root = np.sqrt(weight)
    columns = chebyshev.chebvander((x - centre) / half, degree)
    found = np.linalg.lstsq(root[:, None] * columns, root * y, rcond=None)[0]
    return _padded(chebyshev.cheb2poly(found), degree)


def _remez(grid: Array, y: Array, degree: int, centre: float, half: float) -> Array:
    """Exchange on the grid: solve for an error that alternates at degree + 2 points, move each point to the largest
    error of its sign, until the largest is the level one. The best met is kept: de la Vallee Poussin's bound says
    that no polynomial can do better than the level, so the gap to it is what is left to win.

    A function that is even but for a line has a level of 0 on points that lie evenly about the centre, and no way on
    from there: Chebyshev points one more in number, without the first or the last, are tried too.
    """
    columns = chebyshev.chebvander((grid - centre) / half, degree)
    signs = (-1.0) ** np.arange(degree + 2)
    best, least = np.zeros(degree + 1), math.inf
    for count, cut in ((degree + 2, 0), (degree + 3, 0), (degree + 3, 1)):
        nodes = -np.cos(np.pi * np.arange(count) / (count - 1))[cut : cut + degree + 2]
        at = np.round((nodes + 1.0) / 2.0 * (len(grid) - 1)).astype(int)
        for _ in range(60):
            solved = np.linalg.lstsq(np.column_stack([columns[at], signs]), y[at], rcond=None)[0]
            rest = y - columns @ solved[:-1]
            top = float(np.abs(rest).max())
            if top < least:
                best, least = solved[:-1], top
            if top - abs(float(solved[-1])) <= 1e-12 * max(top, 1e-300):
                return _padded(chebyshev.cheb2poly(best), degree)
            turns = _alternation(rest, degree + 2)
            if turns is None or np.array_equal(turns, at):
                break
            at = turns
    return _padded(chebyshev.cheb2poly(best), degree)


def _alternation(rest: Array, count: int) -> NDArray[np.int_] | None:
    """``count`` places in a row where ``rest`` has its extremes with signs in turn, the largest among them."""
    sign = np.where(rest >= 0.0, 1, -1)
    starts = np.flatnonzero(np.diff(sign)) + 1
    stretches = np.split(np.arange(len(rest)), starts)
    peaks = np.array([s[np.abs(rest[s]).argmax()] for s in stretches])
    if len(peaks) < count:
        return None
    while len(peaks) > count:
        size = np.abs(rest[peaks])
        if len(peaks) == count + 1:
            peaks = peaks[1:] if size[0] < size[-1] else peaks[:-1]
            continue
        # taking a neighbouring pair out keeps the signs in turn; the ends may go alone
        pairs = np.maximum(size[:-1], size[1:])
        drop = int(pairs.argmin())
        if min(size[0], size[-1]) <= pairs[drop]:
            peaks = peaks[1:] if size[0] < size[-1] else peaks[:-1]
        else:
            peaks = np.delete(peaks, [drop, drop + 1])
    return peaks

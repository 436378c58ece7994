"""Codes of k bits for the derivative: the best piecewise-constant stand-in for f' under a density of inputs.

Backward multiplies the gradient by q(x), a step function with at most 2^k steps, so that k bits an element are
all it needs of x. The borders of q are the ones that minimise E[(f'(x) - q(x))^2] (Novikov et al. 2022, "Few-bit
backward"); its levels are then the means of f' between them.

The cost of an interval is the variance of f' inside it, weighted. Where f' is monotone these costs have the
quadrangle inequality and divide and conquer would do; f' of gelu rises and falls, the inequality fails, and the
dynamic programme looks at every pair of borders. On 1,024 candidate borders that takes 1 ms a step of q. The
candidates are spaced so that every one of a thousand steps of equal merit would be one of them; the borders
found are then moved along the 32,768 cells of the integration grid while the error falls.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ogive.breaks import breakpoints
from ogive.diff import differentiate
from ogive.errors import InputError, ParameterError
from ogive.expr import Expr
from ogive.kernels.eager import Form, evaluate

FINE, CANDIDATES, REACH = 32768, 1024, 8.0
Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Density:
    """What the pre-activations are distributed as: N(0, sigma^2), or like ``sample`` (sorted numbers)."""

    sigma: float = 1.0
    sample: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sigma) and self.sigma > 0):
            raise ParameterError(f"sigma={self.sigma!r}: the standard deviation of the inputs is a positive number")

    @staticmethod
    def like(sample: Tensor | Sequence[float], most: int = 4096) -> Density:
        """The density of a sample: at most ``most`` of its order statistics, evenly spread.

        Raises:
            InputError: when it is empty or not all finite.
        """
        x = torch.as_tensor(sample).detach().flatten().double().cpu()
        if x.numel() < 2 or not bool(torch.isfinite(x).all()):
            raise InputError(f"sample has {x.numel()} numbers, not all finite or fewer than two; it takes what "
                             "the activation gets as input, for example its inputs on one batch")  # fmt: skip
        x = x.sort().values
        at = torch.linspace(0, len(x) - 1, min(most, len(x))).round().long()
        return Density(float(x.std()) or 1.0, tuple(x[at].tolist()))

    def edges(self) -> tuple[float, float]:
        """Between which numbers the integration grid lies."""
        if not self.sample:
            return -REACH * self.sigma, REACH * self.sigma
        low, high = self.sample[0], self.sample[-1]
        pad = 0.05 * (high - low) + 1e-6 * (1 + abs(low))
        return low - pad, high + pad

    def below(self, x: Array) -> Array:
        """The distribution function; of a sample, linear between its numbers."""
        if self.sample:
            ranks = np.linspace(0.0, 1.0, len(self.sample))
            return np.interp(x, np.asarray(self.sample), ranks)
        scaled = torch.from_numpy(x) / (self.sigma * math.sqrt(2))
        return (0.5 * torch.erfc(-scaled)).numpy()


@dataclass(frozen=True)
class Code:
    """A step function: ``levels[i]`` for an x above exactly i of the sorted ``borders``. ``error`` is
    sqrt(E[(f' - q)^2] / E[f'^2]) under the density it was made for."""

    borders: tuple[float, ...]
    levels: tuple[float, ...]
    error: float

    @property
    def bits(self) -> int:
        """Bits an element: enough for the steps there are, at least one."""
        return max(1, (len(self.levels) - 1).bit_length())

    def slope(self, x: Tensor) -> Tensor:
        """q(x), in float64."""
        at = torch.searchsorted(torch.tensor(self.borders, dtype=torch.float64, device=x.device), x.double())
        return torch.tensor(self.levels, dtype=torch.float64, device=x.device)[at]

    def table(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        """The levels, as many as there are codes."""
        full = torch.zeros(1 << self.bits, dtype=dtype)
        full[: len(self.levels)] = torch.tensor(self.levels, dtype=torch.float64).to(dtype)
        return full.to(device)

    def to_dict(self) -> dict[str, Any]:
        """The fields and the number of bits, as plain values."""
        return {**asdict(self), "bits": self.bits}


def slope_of(form: Form) -> Form:
    """What backward multiplies by: the declared surrogate, else the derivative by the first input."""
    partial = form.surrogate if form.surrogate is not None else differentiate(form.expr, form.names[0])
    return Form(partial, form.names, form.defaults, derived=True)


def apart(function: Any, *args: Any) -> Any:
    """``function(*args)`` in a fresh thread, which has none of the caller's modes: autocast, inference mode,
    default device, fake tensors, function transforms."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(function, *args).result()


def at(form: Form, numbers: tuple[float, ...], x: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """``form`` at x with its parameters ``numbers``; constants come out as full tensors. In float64 by plain
    operations: a table is built once, and a kernel for it would take longer to compile."""
    if dtype == torch.float64:
        y = form.program.run([x, *(torch.tensor(v, dtype=dtype) for v in numbers)], dtype)
    else:
        y = evaluate(form, dtype, False, (x, *numbers))
    return y.expand_as(x)


def kinks(form: Form, numbers: tuple[float, ...]) -> list[float]:
    """Break points of the formula and of its slope."""
    params = dict(zip(form.names[1:], numbers))
    found = set(breakpoints(form.expr, form.names[0], params))
    return sorted(found | set(breakpoints(slope_of(form).expr, form.names[0], params)))


@dataclass(frozen=True)
class Cells:
    """f' on the cells between consecutive ``edges``: running sums of the weight w, of w f' and of w f'^2."""

    edges: Array
    weight: Array
    first: Array
    second: Array

    def cost(self, i: Any, j: Any) -> Any:
        """The weighted variance of f' over the cells i .. j-1: 0 for none."""
        w, s, q = self.weight[j] - self.weight[i], self.first[j] - self.first[i], self.second[j] - self.second[i]
        with np.errstate(divide="ignore", invalid="ignore"):
            # rounding of the running sums leaves a little of either sign where f' is constant
            return np.where(w > 0, np.maximum(q - s * s / w, 0.0), 0.0)

    def mean(self, i: int, j: int) -> float:
        """The mean of f' over the cells i .. j-1."""
        w = self.weight[j] - self.weight[i]
        return float((self.first[j] - self.first[i]) / w) if w > 0 else 0.0


def cells_of(weights: Array, values: Array, edges: Array | None = None) -> Cells:
    """Cells with these weights and values of f'."""

    def running(v: Array) -> Array:
        return np.concatenate([[0.0], np.cumsum(v.astype(np.longdouble))]).astype(np.float64)

    edges = np.arange(len(weights) + 1.0) if edges is None else edges
    return Cells(edges, running(weights), running(weights * values), running(weights * values**2))


def best_borders(cells: Cells, candidates: Sequence[int], steps: int) -> tuple[list[int], float]:
    """The inner borders, as cell numbers, of the step function of at most ``steps`` steps with the least cost,
    and that cost; borders lie at ``candidates`` (sorted cell numbers, the two ends included).

    >>> values = np.array([0.0, 0.0, 1.0, 1.0, 5.0])
    >>> best_borders(cells_of(np.ones(5), values), range(6), 3)
    ([2, 4], 0.0)
    """
    at = np.asarray(candidates)
    n = len(at)
    # cost[j, i] of one step from candidate i to candidate j; no step goes backwards
    cost = torch.from_numpy(np.where(at[None, :] < at[:, None], cells.cost(at[None, :], at[:, None]), np.inf))
    best = cost[:, 0].clone()
    choice: list[Tensor] = []
    enough = 1e-13 * float(cells.second[-1] - cells.second[0])
    for _ in range(1, min(steps, n - 1)):
        if float(best[-1]) <= enough:
            break
        best, source = (cost + best).min(dim=1)
        choice.append(source)
    borders, j = [], n - 1
    for source in reversed(choice):
        j = int(source[j])
        borders.append(int(at[j]))
    return borders[::-1], float(best[-1])


def _settle(cells: Cells, borders: list[int]) -> list[int]:
    """The borders moved, one at a time, to the best cell between their neighbours until none moves."""
    full = [0, *borders, len(cells.edges) - 1]
    for _ in range(20):
        moved = False
        for k in range(1, len(full) - 1):
            between = np.arange(full[k - 1] + 1, full[k + 1])
            total = cells.cost(full[k - 1], between) + cells.cost(between, full[k + 1])
            to = int(between[int(np.argmin(total))])
            here = float(cells.cost(full[k - 1], full[k]) + cells.cost(full[k], full[k + 1]))
            if float(total.min()) < here * (1 - 1e-9):
                full[k], moved = to, True
        if not moved:
            break
    return full[1:-1]


def grid(form: Form, numbers: tuple[float, ...], density: Density) -> Cells:
    """f' on fine cells over the density, none of which holds a break point inside. The outermost cells have the
    weight of the tails."""
    low, high = density.edges()
    inside = [k for k in kinks(form, numbers) if low < k < high]
    edges = np.unique(np.concatenate([np.linspace(low, high, FINE + 1), inside]))
    below = density.below(edges)
    below[0], below[-1] = 0.0, 1.0
    middle = torch.from_numpy(0.5 * (edges[1:] + edges[:-1]))
    values = at(slope_of(form), numbers, middle).numpy()
    if not np.isfinite(values).all():
        where = float(middle[int(np.argmin(np.isfinite(values)))])
        raise InputError(f"{form.expr}: its derivative is not finite at {where:g}, so it has no code of few bits")
    return cells_of(np.diff(below), values, edges)


def spaced(cells: Cells, inside: Sequence[float], n: int = CANDIDATES) -> list[int]:
    """About ``n`` candidate borders. With many steps the best ones lie with density (p f''^2)^(1/3) (Panter and
    Dite 1951); half the candidates are spread so, half evenly in probability, and the break points are among
    them."""
    weight, width = np.diff(cells.weight), np.diff(cells.edges)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(weight > 0, np.diff(cells.first) / weight, 0.0)
    change = np.abs(np.diff(value, prepend=value[0])) / width
    merit = (weight / width * change**2) ** (1 / 3) * width
    share = merit / (merit.sum() or 1.0) + weight / weight.sum()
    running = np.concatenate([[0.0], np.cumsum(share)])
    chosen = np.searchsorted(running, np.linspace(0.0, running[-1], n))
    marks = np.searchsorted(cells.edges, np.asarray(inside, dtype=np.float64))
    last = len(width)
    return sorted({0, last, *(int(c) for c in chosen if c < last), *(int(m) for m in marks if m < last)})


def steps_between(cells: Cells, borders: Sequence[int]) -> Code:
    """The step function with these inner borders (cell numbers) and the levels that suit them best."""
    full = [0, *borders, len(cells.edges) - 1]
    levels = tuple(cells.mean(i, j) for i, j in pairwise(full))
    cost = sum(float(cells.cost(i, j)) for i, j in pairwise(full))
    total = float(cells.second[-1])
    return Code(tuple(float(cells.edges[b]) for b in borders), levels, math.sqrt(cost / total) if total else 0.0)


@lru_cache(maxsize=1024)
def _optimal(expr: Expr, form: Form, numbers: tuple[float, ...], bits: int, density: Density) -> Code:
    def make() -> Code:
        cells = grid(form, numbers, density)
        low, high = density.edges()
        inside = [k for k in kinks(form, numbers) if low < k < high]
        borders, _ = best_borders(cells, spaced(cells, inside), 1 << bits)
        return steps_between(cells, _settle(cells, borders))

    return apart(make)


def optimal(form: Form, numbers: tuple[float, ...], bits: int, density: Density | None = None) -> Code:
    """The best step function with at most ``2**bits`` steps for the derivative of ``form``; kept once made.

    Where fewer steps reach the same error (relu needs two) the code has fewer bits.

    Args:
        form: of one data input; ``numbers`` are the values of its parameters.
        bits: 1 to 8.
        density: of the inputs; N(0, 1) when not given.

    Raises:
        ParameterError: for another number of bits.
        InputError: when the derivative is not finite on the density's range.

    >>> from ogive import get
    >>> optimal(get("relu").form, (), 4)
    Code(borders=(0.0,), levels=(0.0, 1.0), error=0.0)
    """
    if type(bits) is not int or not 1 <= bits <= 8:
        raise ParameterError(f"bits={bits!r}: a code has 1 to 8 bits")
    return _optimal(slope_of(form).expr, form, numbers, bits, density or Density())


def measured(form: Form, numbers: tuple[float, ...], code: Code, density: Density | None = None) -> float:
    """The error of any step function as a stand-in for the derivative of ``form``: sqrt(E[(f' - q)^2] / E[f'^2])."""

    def measure() -> float:
        cells = grid(form, numbers, density or Density())
        middle = 0.5 * (cells.edges[1:] + cells.edges[:-1])
        w = np.diff(cells.weight)
        exact = at(slope_of(form), numbers, torch.from_numpy(middle)).numpy()
        off = exact - code.slope(torch.from_numpy(middle)).numpy()
        return float(np.sqrt((w * off**2).sum() / (w * exact**2).sum()))

    return apart(measure)

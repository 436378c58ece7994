"""What a user wants recognised, as a function on a grid of numbers."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ogive.activation import Activation
from ogive.errors import InputError
from ogive.lookup import get

Array = NDArray[np.float64]


def _uneven(n: int, reach: float, dense: float) -> Array:
    """``n`` points over [-reach, reach], none at 0, closer near 0, at no regular distance."""
    k = np.arange(n) - (n - 1) / 2.0 + 0.21 * np.sin(1.7 * np.arange(n) ** 2)
    return np.asarray(reach * np.sinh(dense * k / (n / 2.0)) / math.sinh(dense))


_TINY = np.array([1e-4, 3e-4, 1e-3, 3e-3, 8e-3])  # thresholds of 0.001 are published
_FAR = np.array([12.0, 15.7, 20.3, 31.0, 50.0, 101.0])

FIT = np.sort(_uneven(80, 10.0, 1.7))
NEAR = np.sort(np.concatenate([_uneven(402, 8.0, 1.0), _TINY, -_TINY]))
CHECK = np.concatenate([NEAR, _FAR, -_FAR])


class Target:
    """A function of one number: ``label`` as the user wrote it, ``act`` when it came as a formula."""

    def __init__(self, spec: Any) -> None:
        self.act: Activation | None = None
        self._call: Callable[[torch.Tensor], Any]
        if isinstance(spec, (Activation, str)):
            self.act = act = get(spec)
            self.label = act.label
            self._call = act
        elif isinstance(spec, torch.nn.Module):
            self.label = str(spec)
            self._call = copy.deepcopy(spec).double().eval()
        elif callable(spec):
            self.label = getattr(spec, "__name__", repr(spec))
            self._call = spec
        else:
            raise InputError(f"find takes a formula, a name, an activation, a function or a module; "
                             f"got {type(spec).__name__}: {str(spec)[:80]!r}")  # fmt: skip
        if self.act is None or len(self.act.inputs) == 1:
            self.fit, self.check = self(FIT), self(CHECK)
            self._is_elementwise()

    def __call__(self, x: Array) -> Array:
        given = torch.from_numpy(np.array(x))
        try:
            with torch.no_grad():
                y = self._call(given)
        except Exception as error:
            if self.act is not None:
                raise
            raise InputError(f"find: calling {self.label} on a float64 tensor failed: {error}") from error
        if not isinstance(y, torch.Tensor) or y.shape != given.shape:
            got = f"shape {tuple(y.shape)}" if isinstance(y, torch.Tensor) else type(y).__name__
            raise InputError(f"find: {self.label} maps a tensor of shape {tuple(given.shape)} to {got}; "
                             "it takes a function that acts on every number by itself")  # fmt: skip
        return np.asarray(y.double().numpy())

    @property
    def fittable(self) -> bool:
        """Whether it can be an entry at all: finite near 0, where every entry is, and not constant, which is
        every entry times zero."""
        if not np.isfinite(self.fit).all():
            return False
        return not bool(np.ptp(self.check) <= 1e-12 * (1.0 + np.abs(self.check).max()))

    def jumps(self) -> Array:
        """Where the function jumps, for |x| <= 8, by halving every interval with a step of its own."""
        y = self.check[: len(NEAR)]
        with np.errstate(invalid="ignore"):
            step = np.abs(np.diff(y))
        lo, hi = NEAR[:-1], NEAR[1:]
        start = step
        for _ in range(60):
            mid = 0.5 * (lo + hi)
            left, middle, right = self(lo), self(mid), self(hi)
            with np.errstate(invalid="ignore"):
                first, second = np.abs(middle - left), np.abs(right - middle)
            lo, hi = np.where(first > second, lo, mid), np.where(first > second, mid, hi)
            step = np.maximum(first, second)
            keep = (step > 1e-6) & (step > 0.02 * start)
            lo, hi, start = lo[keep], hi[keep], start[keep]
            if not len(lo):
                break
        return np.asarray(hi)

    def _is_elementwise(self) -> None:
        if self.act is not None:
            return
        again = self(NEAR[1::3])  # other company, other places
        if not np.allclose(again, self.check[1 : len(NEAR) : 3], rtol=1e-6, atol=1e-9, equal_nan=True):
            raise InputError(f"find: {self.label} gives a number different values in different company (random, or "
                             "a map over an axis like softmax); it takes a function of one number")  # fmt: skip


def gap(y: Array, z: Array) -> float:
    """The largest difference over the near grid, |x| <= 8."""
    return float(np.nan_to_num(np.abs(y - z)[: len(NEAR)], nan=math.inf).max())


def mismatch(y: Array, z: Array) -> float:
    """The largest difference over the whole grid, relative to 1 + |y|; equal infinities agree."""
    with np.errstate(invalid="ignore"):
        d = np.abs(y - z) / (1.0 + np.abs(y))
    same = (y == z) | (np.isnan(y) & np.isnan(z))
    return float(np.where(same, 0.0, np.nan_to_num(d, nan=math.inf)).max())

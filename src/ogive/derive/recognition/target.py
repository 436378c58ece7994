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
from ogive.derive.nodes import from_node
from ogive.derive.trace import trace
from ogive.errors import InputError, OgiveError
from ogive.lookup import get

Array = NDArray[np.float64]


def _uneven(n: int, reach: float, dense: float) -> Array:
    """``n`` points over [-reach, reach], none at 0, closer near 0, at no regular distance."""
    k = np.arange(n) - (n - 1) / 2.0 + 0.21 * np.sin(1.7 * np.arange(n) ** 2)
    return np.asarray(reach * np.sinh(dense * k / (n / 2.0)) / math.sinh(dense))


_TINY = np.array([1e-4, 3e-4, 1e-3, 3e-3, 8e-3])  # thresholds of 0.001 are published
_FAR = np.array([12.0, 15.7, 20.3, 31.0, 50.0, 101.0])

FIT = np.sort(_uneven(64, 10.0, 1.7))
NEAR = np.sort(np.concatenate([_uneven(402, 8.0, 1.0), _TINY, -_TINY]))
CHECK = np.concatenate([NEAR, _FAR, -_FAR])
_ALL = np.concatenate([CHECK, FIT])


class Target:
    """A function of one number: ``label`` as the user wrote it, ``act`` when it came as a formula."""

    def __init__(self, spec: Any) -> None:
        self.act: Activation | None = None
        self._module: torch.nn.Module | None = None
        self._call: Callable[[torch.Tensor], Any]
        node = None if isinstance(spec, (Activation, str)) else from_node(spec)
        if node is not None:
            self.label, spec = node
            self._take(spec)
        elif isinstance(spec, (Activation, str)):
            self.act = act = get(spec)
            self.label, self._call = act.label, act
        elif isinstance(spec, torch.nn.Module) or callable(spec):
            self.label = str(spec) if isinstance(spec, torch.nn.Module) else getattr(spec, "__name__", repr(spec))
            self._take(spec)
        else:
            raise InputError(f"find takes a formula, a name, an activation, a function, a module, an ONNX node or a "
                             f"torch.fx node; got {type(spec).__name__}: {str(spec)[:80]!r}")  # fmt: skip
        if self.act is None or len(self.act.inputs) == 1:
            both = self(_ALL)
            self.check, self.fit = both[: len(CHECK)].copy(), both[len(CHECK) :].copy()
            if self.act is None:
                self._is_a_function(both)
                self.act = self._formula(spec)

    def _formula(self, spec: Any) -> Activation | None:
        """The formula of code, where it can be read and computes the same values."""
        try:
            act = trace(spec)
            same = len(act.inputs) == 1 and mismatch(self.check, act(torch.from_numpy(CHECK)).numpy()) <= 1e-9
        except OgiveError:
            return None
        return act if same else None

    def _take(self, spec: Any) -> None:
        if isinstance(spec, torch.nn.Module):
            spec = self._module = copy.deepcopy(spec).double().eval()
        self._call = spec

    def __call__(self, x: Array) -> Array:
        given = torch.from_numpy(np.array(x))
        try:
            with torch.no_grad():
                y = self._call(given)
        except Exception as error:
            if self.act is not None:
                raise
            raise InputError(
                f"find: calling {self.label} on a float64 tensor of {len(x)} numbers failed: "
                f"{type(error).__name__}: {error}"
            ) from error
        if not isinstance(y, torch.Tensor) or y.shape != given.shape:
            got = f"shape {tuple(y.shape)}" if isinstance(y, torch.Tensor) else type(y).__name__
            raise InputError(f"find: {self.label} maps a tensor of shape {tuple(given.shape)} to {got}, which is "
                             "another shape; it takes a function that acts on every number by itself")  # fmt: skip
        if y.is_complex():
            raise InputError(f"find: {self.label} returns complex numbers; it takes a function to real numbers")
        return np.asarray(y.detach().cpu().double().numpy())

    @property
    def fittable(self) -> bool:
        """Whether it can be an entry at all: finite near 0, where every entry is, and not constant, which is
        every entry times zero."""
        if not np.isfinite(self.fit).all():
            return False
        return not bool(np.ptp(self.check) <= 1e-12 * (1.0 + np.abs(self.check).max()))

    def jumps(self) -> Array:
        """Where the function jumps, for |x| <= 8, by cutting every interval into sixteen and keeping the part
        with most of its step. A slope loses 15/16 of its step each time, a jump keeps all of it."""
        y = self.check[: len(NEAR)]
        with np.errstate(invalid="ignore"):
            step = np.abs(np.diff(y))
        keep = step > 1e-6
        lo, hi, step = NEAR[:-1][keep], NEAR[1:][keep], step[keep]
        cut = np.arange(17) / 16.0
        for _ in range(13):
            if not len(lo):
                break
            x = lo[:, None] * (1.0 - cut) + hi[:, None] * cut
            with np.errstate(invalid="ignore"):
                parts = np.abs(np.diff(self(x.ravel()).reshape(x.shape), axis=1))
            best, each = np.nan_to_num(parts).argmax(1), np.arange(len(lo))
            lo, hi, smaller = x[each, best], x[each, best + 1], parts[each, best]
            keep = (smaller > 1e-6) & (smaller > 0.3 * step)
            lo, hi, step = lo[keep], hi[keep], smaller[keep]
        return np.asarray(hi)

    def _is_a_function(self, first: Array) -> None:
        """Raises where the same number gives different values: called again, or among other numbers."""
        before = None if self._module is None else {k: v.clone() for k, v in self._module.state_dict().items()}
        again = self(_ALL)
        if not np.array_equal(again, first, equal_nan=True):
            raise InputError(f"find: {self.label} gives different values when it is called again with the same "
                             "tensor: it is random or stateful; it takes a function of one number")  # fmt: skip
        if before is not None and self._module is not None:
            after = self._module.state_dict()
            changed = [k for k, v in before.items() if not torch.equal(v, after[k])]
            if changed:
                raise InputError(f"find: {self.label} is stateful: calling it in evaluation mode changed "
                                 f"{', '.join(changed)}; it takes a function of one number")  # fmt: skip
        other = self(NEAR[1::3])  # other company, other places
        if not np.allclose(other, first[1 : len(NEAR) : 3], rtol=1e-6, atol=1e-9, equal_nan=True):
            raise InputError(f"find: {self.label} is not elementwise: a number has different values in "
                             "other company (a map over an axis, like softmax); find takes one number")  # fmt: skip


def gap(y: Array, z: Array) -> float:
    """The largest difference over the near grid, |x| <= 8."""
    return float(np.nan_to_num(np.abs(y - z)[: len(NEAR)], nan=math.inf).max())


def mismatch(y: Array, z: Array) -> float:
    """The largest difference over the whole grid, relative to 1 + |y|; equal infinities agree."""
    return float(mismatches(y, z[None, :])[0])


def mismatches(y: Array, rows: Array) -> Array:
    """:func:`mismatch` for every row of ``rows``."""
    with np.errstate(invalid="ignore", over="ignore"):
        d = np.abs(y - rows) / (1.0 + np.abs(y))
        d = np.where(np.isnan(d), np.where((y == rows) | (np.isnan(y) & np.isnan(rows)), 0.0, math.inf), d)
    return np.asarray(d.max(1))

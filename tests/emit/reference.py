"""What an emitted text is held to: points, values, and the unit in which an error is counted.

The unit is eps of float32 (or float64) times |f| + |x f'| + the same for every other input, parameter and long
constant: data is known to half a unit, and no text can determine the value better. Where rounding each operation of
the formula once explains more than that (three quarters of :class:`tests.rounding.Rounding`), the unit is that. Values are those
of the library's float64 program, which the laws hold to ball arithmetic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from ogive.activation import Activation
from ogive.certify.accuracy import data_of
from ogive.derive.calculus import derivative
from ogive.diff import differentiate
from ogive.kernels import Form
from tests.rounding import Rounding, rounding

LIMIT = 4.0
COUNT = 64
_SPECIAL = [
    0.0,
    1e-30,
    1e-12,
    1e-6,
    1e-3,
    0.11,
    0.52,
    1.0,
    2.0,
    3.0,
    6.0,
    10.0,
    20.0,
    40.0,
    88.0,
    100.0,
    745.0,
    1e4,
    1e10,
    1e20,
]


@lru_cache(maxsize=1)
def points() -> np.ndarray:
    """COUNT numbers of float32, as float64: special ones of both signs, the rest between -12 and 12."""
    rng = np.random.default_rng(4)
    special = np.array(_SPECIAL)
    spread = rng.uniform(-12.0, 12.0, COUNT - 2 * len(special))
    return np.concatenate([special, -special, spread]).astype(np.float32).astype(np.float64)


def data(entry: Activation) -> tuple[np.ndarray, ...]:
    """The points for every input of ``entry``; the second one sees them reversed."""
    return (points(), points()[::-1].copy())[: len(entry.inputs)]


@dataclass(frozen=True)
class Reference:
    """Values at the points, how far each is determined, relative to eps, and what the operations may lose."""

    want: np.ndarray
    known: np.ndarray
    known_single: np.ndarray  # in float32, where the neighbours of x that may have another slope are farther off
    roundings: tuple[Rounding, ...]  # of the stable formula and of the canonical one: a text is made from either

    def errors(self, got: np.ndarray, dtype: type, single: bool = False) -> np.ndarray:
        """The error at every point in units; infinite where one is finite and the other is not. ``single``: the
        arithmetic was float32, in which an intermediate result may leave the range."""
        info = np.finfo(dtype)
        eps, top = float(info.eps), float(info.max)
        want, known = self.want, self.known_single if single else self.known
        own = np.float32 if single else np.float64
        explained = np.max([r.bound(own).numpy() for r in self.roundings], axis=0)
        with np.errstate(all="ignore"):
            units = np.abs(got - want) / (np.maximum(eps * known, 0.75 * explained) + float(info.smallest_subnormal))
        near_top = np.abs(want) > top * (1 - 4 * eps)
        wrong = np.where(np.isfinite(got), np.abs(got) < top * (1 - 64 * eps), np.sign(got) != np.sign(want))
        units = np.where(near_top, np.where(wrong | np.isnan(got), np.inf, 0.0), units)
        units = np.where(np.isfinite(got) | near_top, units, np.inf)
        beyond = np.any([r.over.numpy() for r in self.roundings], axis=0) if single else False
        return np.where(np.isnan(want) | ~np.isfinite(known) | beyond, 0.0, units)


def _total(entry: Activation, order: int) -> Reference:
    act = derivative(entry, order) if order else entry
    knobs, expr = data_of(act)
    names = (*act.inputs, *knobs)
    form = Form(expr, names, (*(0.7 for _ in act.inputs[1:]), *knobs.values()), derived=order > 0)
    wide = [torch.from_numpy(x) for x in data(act)] + [torch.tensor(v, dtype=torch.float64) for v in knobs.values()]
    want = form.program.run(wide, torch.float64)
    known = want.abs()
    for name, value in zip(names, wide):
        slope = Form(differentiate(expr, name), names, form.defaults, derived=True)
        here = slope.program.run(wide, torch.float64)
        known = known + torch.nan_to_num((here * value).abs(), nan=0.0, posinf=math.inf)
    nearby = [known, known]
    for k, step in enumerate((1e-15, 2e-7) if order else ()):
        # at a jump the neighbours of x have other slopes: which one is meant is decided by rounding
        inputs, rest = wide[: len(act.inputs)], wide[len(act.inputs) :]
        low, high = (form.program.run([w * s for w in inputs] + rest, torch.float64) for s in (1 - step, 1 + step))
        jumps = (high - low).abs() > 1e-2 * (low.abs() + high.abs())
        nearby[k] = torch.where(jumps, math.inf, known)
    roundings = tuple(rounding(f.expr, names, wide) for f in (form, form.canonical))
    return Reference(want.expand(COUNT).numpy(), *(k.expand(COUNT).numpy() for k in nearby), roundings)


@lru_cache(maxsize=4096)
def reference(entry: Activation, order: int = 0) -> Reference:
    """The values of ``entry`` or of its derivative at the points."""
    return _total(entry, order)


def misses(results: dict[str, tuple[Reference, np.ndarray]], dtype: type, single: bool = False) -> dict[str, str]:
    """The entries beyond LIMIT: name, and the worst error with its point."""
    found = {}
    for name, (ref, got) in results.items():
        units = ref.errors(np.asarray(got, dtype=np.float64), dtype, single)
        worst = int(np.argmax(units))
        if not units[worst] <= LIMIT:
            found[name] = (
                f"{units[worst]:.3g} units at x = {points()[worst]:.9g}: {got[worst]:.9g}, not {ref.want[worst]:.9g}"
            )
    return found

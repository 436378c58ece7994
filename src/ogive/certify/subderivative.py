"""``check_ad``: whether what autograd returns is a derivative, at every 16-bit number.

Where a formula is smooth its slope at a float is one number. Where two branches meet, the Clarke subdifferential of a
function of one variable is the interval between its one-sided slopes, and whatever a convention makes of a tie has to
lie in it. Automatic differentiation does not promise that: ``relu(x) - relu(-x)`` is x, and with relu'(0) = 0 its
slope at 0 comes out as 0. Lee et al. 2023, "On the correctness of automatic differentiation for neural networks with
machine-representable parameters".

Slopes are enclosed for all points at once (:mod:`ogive.derive.signs.enclosure`); where that leaves open whether a
result is right, ball arithmetic decides.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ogive.activation import Activation
from ogive.certify.accuracy import SIXTEEN, sensitivity
from ogive.certify.certificate import ORDERS
from ogive.certify.run import CODE, EXCEPTED, OURS, inputs, ways
from ogive.certify.sides import Sides, by_differences, enclosed
from ogive.certify.subject import Subject, subject
from ogive.certify.sweeps import Kink, Subderivatives, Sweep
from ogive.derive.exact import Oracle
from ogive.errors import InputError, OgiveError, ParameterError

Array = NDArray[np.float64]
ROUGH = 16.0  # results this many times as far off as the certificates allow are no matter of rounding
_LISTED = 16  # kinks named in a result, the nearest to 0


def check_ad(
    spec: Any, *, dtypes: tuple[torch.dtype, ...] = (torch.float16, torch.bfloat16), points: int | None = None
) -> Subderivatives:
    """Hold autograd's slope at every 16-bit number, in that dtype and in float32, to the one-sided slopes
    ``min(f'(x-), f'(x+)) <= g <= max(f'(x-), f'(x+))``, which are equal where f is smooth.

    Args:
        spec: a name, a formula in x, an activation, ``"pkg.module:callable"``, a function or an ``nn.Module``. Code
            is read as a formula where that is possible; else differences of its float64 result stand for the slopes.
        dtypes: whose numbers are taken, float16 and bfloat16.
        points: a random part of them; None for all.

    The accuracy granted where f is smooth is that of :func:`ogive.check`: 1 unit in the last place of 16 bits and 2
    condition-aware ones of float32, for code that rounds at every step 16 and 64 of 1 + \\|f'\\|.

    Raises:
        InputError: for what is not one function of one number. ParameterError: for dtypes or points.

    >>> check_ad("relu", points=2000, dtypes=(torch.float16,))
    Subderivatives(relu: 1 kink (left), passes)
    """
    if not dtypes or any(d not in SIXTEEN for d in dtypes):
        raise ParameterError(f"check_ad: dtypes={dtypes!r}; sweeps are over torch.float16 and torch.bfloat16")
    if points is not None and (isinstance(points, bool) or not isinstance(points, int) or points < 1):
        raise ParameterError(f"check_ad: points={points!r}; it takes a whole number from 1")
    what = subject(spec)
    found: list[Sweep] = []
    left: list[str] = []
    for own in dtypes:
        x = inputs(own, points)
        if points is not None:  # a part of the numbers still holds the small halves, where formulas break
            x = torch.cat([x, (torch.arange(-16, 17, dtype=torch.float64) / 2).to(own)])
        at = x.double().numpy()
        sides = by_differences(what, at) if what.act is None else enclosed(what.act, at)
        balls = None if what.act is None else _Balls(what.act)
        for dtype in (own, torch.float32):
            found += _swept(what, x.to(dtype), own, sides, balls, left)
    if not found:
        raise InputError(f"check_ad of {what.label}: it computes in none of {', '.join(map(str, dtypes))}, float32")
    surrogate = what.run is None and what.act is not None and what.act.backward is not None
    return Subderivatives(what.label, "the backward that it declares" if surrogate else what.reference, surrogate,
                          tuple(found), tuple(dict.fromkeys(left)))  # fmt: skip


def slope(run: Callable[[Tensor], Any], x: Tensor) -> Tensor:
    """dy/dx of each element, by one backward."""
    x = x.detach().clone().requires_grad_()
    y = run(x)
    if not y.requires_grad:
        return torch.zeros_like(x.detach())
    (g,) = torch.autograd.grad(y, x, torch.ones_like(y), allow_unused=True)
    return torch.zeros_like(x.detach()) if g is None else g.detach()


class _Balls:
    """f' and f'' at single points by ball arithmetic, each found once."""

    def __init__(self, act: Activation) -> None:
        self.act, self.seen = act, dict[float, tuple[float, float]]()
        self.oracle: Oracle | None = None

    def __call__(self, x: float) -> tuple[float, float]:
        if x not in self.seen:
            if self.oracle is None:
                surrogate = self.act.fixed().backward
                act = self.act if surrogate is None else Activation(surrogate, self.act.inputs)
                self.order = 1 if surrogate is None else 0
                self.oracle = Oracle(act, self.order + 1, bits=64)
            try:
                got = self.oracle(x)
                self.seen[x] = float(got[self.order]), float(got[self.order + 1])
            except (OgiveError, ZeroDivisionError):
                self.seen[x] = math.nan, math.nan
        return self.seen[x]


def _room(want: Array, bend: Array, x: Array, dtype: torch.dtype, code: bool) -> Array:
    """What a result may be off by."""
    info, units = torch.finfo(dtype), (CODE if code else OURS)[dtype]
    with np.errstate(all="ignore"):
        if code:
            return np.nan_to_num(units * info.eps * (1.0 + np.abs(want) + np.abs(x * bend)), nan=0.0)
        if dtype in SIXTEEN:
            size = np.maximum(np.abs(want), info.smallest_normal)
            return np.where(np.isfinite(size), 2.0 ** (np.frexp(size)[1] - 1.0) * info.eps * units, 0.0)
        tiny = info.smallest_normal * info.eps
        return np.nan_to_num(units * (info.eps * (np.abs(want) + np.abs(x * bend)) + tiny), nan=0.0, posinf=0.0)


def _swept(
    what: Subject, x: Tensor, own: torch.dtype, sides: Sides, balls: _Balls | None, left: list[str]
) -> Iterator[Sweep]:
    dtype, at, code = x.dtype, x.double().numpy(), what.run is not None
    for way, run in ways(what):
        try:
            got = slope(run, x).double().numpy()
        except (RuntimeError, NotImplementedError, TypeError) as error:  # a dtype this code does not have
            left.append(f"{str(dtype)[6:]} ({way}): {(str(error).splitlines() or [''])[0][:60]}")
            continue
        yield _judged(what, got, at, own, dtype, way, code, sides, balls)


def _judged(
    what: Subject, got: Array, at: Array, own: torch.dtype, dtype: torch.dtype, way: str, code: bool,
    sides: Sides, balls: _Balls | None,
) -> Sweep:  # fmt: skip
    least, most = np.minimum(sides.low_left, sides.low_right), np.maximum(sides.high_left, sides.high_right)
    # The least of two slopes is at most the lesser of their upper ends, wherever they lie in their enclosures.
    least_up, most_down = np.minimum(sides.high_left, sides.high_right), np.maximum(sides.low_left, sides.low_right)
    # Beside a break the slopes are those of near neighbours, and anything between the outer ends of them will do.
    floor, ceiling = np.where(sides.broken, least, least_up), np.where(sides.broken, most, most_down)
    biggest = float(torch.finfo(dtype).max)
    with np.errstate(all="ignore"):
        rooms = [_room(v, sides.bend, at, dtype, code) for v in (floor, ceiling)]
        room = np.where(sides.broken, np.maximum(*rooms), np.minimum(*rooms)) + sides.slack
        right = (got >= floor - room) & (got <= ceiling + room)
        right |= (got >= biggest) & (ceiling > biggest) | (got <= -biggest) & (floor < -biggest)
        right |= sides.vertical & ~np.isnan(got)
    undefined = np.zeros(len(at), dtype=bool)
    decided = 0
    low, high = least.copy(), most.copy()
    doubtful = np.flatnonzero(~right & ~sides.broken)
    if balls is not None and len(doubtful):
        exact = np.array([balls(v) for v in at[doubtful].tolist()])
        want, bend = exact[:, 0], exact[:, 1]
        undefined[doubtful] = np.isnan(want)
        decided = len(doubtful)
        room[doubtful] = _room(want, bend, at[doubtful], dtype, code)
        with np.errstate(all="ignore"):
            fine = np.abs(got[doubtful] - want) <= room[doubtful]
            fine |= (np.abs(want) > biggest) & (np.abs(got[doubtful]) >= biggest) & (got[doubtful] * want > 0)
        left = np.flatnonzero(~fine & ~np.isnan(want))
        if len(left) and not code and what.act is not None and what.act.backward is None:
            # Parameters and long constants are data, known to half a unit of a double.
            where = doubtful[left]
            data = sensitivity(what.act, torch.from_numpy(at[where]), 1)[1]
            data = data * (2.0**-52 if dtype in SIXTEEN else OURS[dtype] * torch.finfo(dtype).eps)
            room[where] += data
            fine[left] = np.abs(got[where] - want[left]) <= room[where]
        right[doubtful] = fine | np.isnan(want)
        low[doubtful] = high[doubtful] = want
    strays = ~right & sides.jump
    with np.errstate(all="ignore"):
        off = np.fmax(low - got, got - high)
    off = np.where(np.isnan(got), math.inf, np.nan_to_num(off, nan=0.0, posinf=math.inf, neginf=-math.inf))
    missed = ~right & ~sides.jump
    # Code has its room for rounding already, and 16 bits would make 16 units a tenth of the slope.
    wrong = missed & ~(off <= (1.0 if code or dtype in SIXTEEN else ROUGH) * room)
    kinks = sides.broken & ~sides.jump & sides.apart
    names = _conventions(got, sides, kinks, wrong)
    found = {Kink(float(at[i]) + 0.0, sides.left(i), sides.right(i), float(got[i]) + 0.0, name)
             for i, name in names.items()}  # fmt: skip
    listed = tuple(sorted(found, key=lambda k: (abs(k.x), k.x))[:_LISTED])
    counts = tuple(Counter(k.convention for k in found).most_common())
    worst = (math.nan,) * 4
    excepted = ""
    if wrong.any():
        i = int(np.where(wrong, off, -math.inf).argmax())
        worst = (float(at[i]) + 0.0, float(got[i]) + 0.0, float(low[i]), float(high[i]))
        declared = "" if what.act is None or code else what.act.exceptions.get(ORDERS[1], "")
        if declared and bool((off[wrong] <= EXCEPTED[dtype] * np.maximum(1.0, np.abs(high[wrong]))).all()):
            excepted = declared
    jumps, rough = len(set(at[sides.jump].tolist())), int((missed & ~wrong).sum())
    return Sweep(str(own)[6:], str(dtype)[6:], way, len(at), len({k.x for k in found}), jumps, int(undefined.sum()),
                 decided, int(wrong.sum()), rough, int(strays.sum()), counts, listed, *worst, excepted)  # fmt: skip


def _conventions(got: Array, sides: Sides, kinks: NDArray[np.bool_], wrong: NDArray[np.bool_]) -> dict[int, str]:
    names = {}
    for i in np.flatnonzero(kinks).tolist():
        left, right, g = sides.left(i), sides.right(i), float(got[i])
        near = 0.01 * abs(right - left) if math.isfinite(right - left) else 0.0
        targets = (("left", left), ("right", right), ("mean", 0.5 * (left + right)))
        name = next((n for n, v in targets if abs(g - v) <= near), "between")
        names[i] = "outside" if wrong[i] else name
    return names

"""What sampling shows of an activation: parity, monotonicity, range, kinks, jumps. Nothing is certified."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from ogive.activation import Activation
from ogive.derive.calculus import derivative
from ogive.derive.drawing.axes import Array, plainest
from ogive.expr import Expr, value_of
from ogive.kernels import apply
from ogive.ops import OPS

REACH = 50.0


@dataclass(frozen=True)
class Observed:
    """What holds on samples of [-50, 50].

    ``parity`` is "odd", "even" or None; ``parity_proved`` says that it also follows from the formula.
    ``monotone`` is "nondecreasing", "nonincreasing", "constant" or None. ``low`` and ``high`` are the least
    and the greatest value seen, ``low_at`` and ``high_at`` where. ``defined`` is False where some sample has
    no value.
    """

    parity: str | None
    parity_proved: bool
    monotone: str | None
    low: float
    low_at: float
    high: float
    high_at: float
    defined: bool = True

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return {"sampled_on": [-REACH, REACH], **asdict(self)}


def values(act: Activation, x: Array) -> Array:
    """``act`` in float64 at its default parameters."""
    y = apply(act.form, torch.float64, (torch.from_numpy(np.ascontiguousarray(x)), *act.defaults.values()))
    return np.asarray(y.detach().expand(len(x)).numpy())


def observe(act: Activation) -> Observed:
    """Sample ``act`` at 24000 points and at both sides of its break points."""
    near = np.geomspace(1e-6, 1.0, 2000)
    half = np.unique(np.concatenate([np.linspace(0.0, REACH, 10_001), near]))
    cuts = np.array([b for b in act.breakpoints() if abs(b) < REACH])
    sides = np.concatenate([cuts, np.nextafter(cuts, -np.inf), np.nextafter(cuts, np.inf)])
    x = np.unique(np.concatenate([half, -half, sides, -sides]))
    y = values(act, x)
    fine = np.isfinite(y)
    if not fine.any():
        return Observed(None, False, None, math.nan, math.nan, math.nan, math.nan, False)
    parity = _sampled_parity(y)
    low, low_at = _extreme(act, x[fine], y[fine], -1.0)
    high, high_at = _extreme(act, x[fine], y[fine], 1.0)
    proved = parity is not None and parity_of(act.fixed().expr, act.inputs[0]) == parity
    return Observed(parity, proved, _monotone(y[fine]), low, low_at, high, high_at, not np.isnan(y).any())


def _sampled_parity(y: Array) -> str | None:
    # The samples lie symmetrically about 0. Each pair must agree by itself: a tail of 1e-30 counts.
    mirror = y[::-1]
    with np.errstate(invalid="ignore"):
        slack = 1e-12 * np.maximum(np.abs(y), np.abs(mirror))
        even = (np.abs(y - mirror) <= slack) | (y == mirror) | (np.isnan(y) & np.isnan(mirror))
        odd = (np.abs(y + mirror) <= slack) | (y == -mirror) | (np.isnan(y) & np.isnan(mirror))
    return "even" if even.all() else "odd" if odd.all() else None


def _monotone(y: Array) -> str | None:
    step = np.diff(y)
    noise = 8 * np.finfo(float).eps * np.maximum(np.abs(y[1:]), np.abs(y[:-1]))
    up, down = bool((step >= -noise).all()), bool((step <= noise).all())
    return "constant" if up and down else "nondecreasing" if up else "nonincreasing" if down else None


def _extreme(act: Activation, x: Array, y: Array, sign: float) -> tuple[float, float]:
    """The greatest value of ``sign * f`` and where: the best sample, then four closer looks around it."""
    best = int(np.argmax(sign * y))
    at, value = float(x[best]), float(y[best])
    width = float(np.diff(x[max(0, best - 1) : best + 2]).max())
    for _ in range(4):
        around = np.clip(np.linspace(at - width, at + width, 201), -REACH, REACH)
        seen = values(act, around)
        i = int(np.argmax(np.where(np.isfinite(seen), sign * seen, -np.inf)))
        if sign * seen[i] > sign * value:
            at, value = float(around[i]), float(seen[i])
        width /= 50
    return value, at


def parity_of(expr: Expr, name: str) -> str | None:
    """Odd or even by the rules of composition alone, None where they do not decide."""
    known: dict[Expr, str | None] = {}
    for n in expr.walk():
        got = [known[a] for a in n.args]
        if not n.args:
            known[n] = "odd" if n.op == "var" and n.data == name else "even"
        elif all(p == "even" for p in got):
            known[n] = "even"
        elif n.op in ("add", "sub", "neg"):
            known[n] = got[0] if all(p == got[0] for p in got) else None
        elif n.op in ("mul", "div"):
            known[n] = None if None in got else "even" if got[0] == got[1] else "odd"
        elif n.op == "pow" and got[0] == "odd":
            exponent = value_of(n.args[1])
            whole = exponent is not None and exponent.is_integer()
            known[n] = ("odd" if exponent % 2 else "even") if whole and exponent is not None else None
        elif n.op == "where" and got[0] == "even":
            known[n] = got[1] if got[1] == got[2] else None
        elif n.op == "sinc":
            known[n] = None if got[0] is None else "odd" if int(n.data or 0) % 2 else "even"
        elif len(n.args) == 1 and got[0] == "odd":
            known[n] = OPS[n.op].facts.parity
        else:
            known[n] = None
    return known[expr]


def breaks(act: Activation) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Kinks (the slope jumps) and jumps (the value does) among the break points in [-64, 64]."""
    cuts = np.array(act.breakpoints())
    if not cuts.size:
        return (), ()
    step = 1e-7 * np.maximum(1.0, np.abs(cuts))
    slope = derivative(replace(act, backward=None))
    ends = [(values(f, cuts - step), values(f, cuts + step)) for f in (act, slope)]
    with np.errstate(invalid="ignore"):
        jump, bend = (np.abs(b - a) > 1e-5 * (1.0 + np.abs(a)) for a, b in ends)
    return tuple(map(plainest, cuts[bend & ~jump].tolist())), tuple(map(plainest, cuts[jump].tolist()))

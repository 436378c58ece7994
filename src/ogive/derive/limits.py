"""What an activation does at zero and at both infinities: values, slopes, asymptotes.

A limit is read off samples, not proved. The function is evaluated in float64 on windows whose distance grows
geometrically to 1e60; a sequence that stands still, dies out, grows or keeps oscillating is told apart by its
last windows, and slow convergence is extrapolated. At zero the same machine runs on f(1/t) and f(-1/t). The
one thing it cannot see is a formula that cancels far out (sqrt(x*x + x) - x is 0 in float64 beyond 1e16).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.diff import differentiate
from ogive.errors import OgiveError
from ogive.expr import Expr, const, var
from ogive.kernels.program import compile_program
from ogive.lookup import scalar

SNAP = 1e-12  # a limit this near to a closed form (relative to 1 + its size) is taken to be it


@dataclass(frozen=True)
class Side:
    """The limit from one side: of the value and of the slope; +-inf, or None where there is no limit (the
    function oscillates). ``asymptote`` is (a, b) with f(x) - (a x + b) -> 0, only at infinity, or None."""

    value: float | None
    slope: float | None
    asymptote: tuple[float, float] | None = None


@dataclass(frozen=True)
class Limits:
    """Limits of one activation. ``value`` and ``slope`` are the function's own at zero (a kink has a declared
    slope); ``left`` and ``right`` are the limits towards zero from below and above; ``minus`` and ``plus``
    are those at -inf and +inf. ``value`` or ``slope`` is None where the formula has none at zero.

    ``closed`` names the numbers, other than integers, that lay within 1e-12 of a closed form and were moved
    onto it: {"plus.value": "pi/2"}. ``extrapolated`` names the limits approached as slowly as 1/log x, which
    are good to about 1e-6 only.
    ``surrogate`` says that the function declares a backward; the slopes here are the true derivative's.
    """

    activation: str
    value: float | None
    slope: float | None
    left: Side
    right: Side
    minus: Side
    plus: Side
    closed: Mapping[str, str] = field(default_factory=dict)
    extrapolated: tuple[str, ...] = ()
    surrogate: bool = False

    @property
    def continuous(self) -> bool:
        """Whether both one-sided limits at zero are the value there."""
        sides = (self.left.value, self.right.value)
        return self.value is not None and all(v is not None and _near(v, self.value) for v in sides)

    @property
    def kink(self) -> bool:
        """Whether the slope differs between the two sides of zero."""
        a, b = self.left.slope, self.right.slope
        return a is None or b is None or not _near(a, b)

    def __repr__(self) -> str:
        def side(name: str, s: Side) -> str:
            line = ""
            if s.asymptote is not None and s.asymptote[0]:
                a, b = (const(float(f"{v:.12g}")) for v in s.asymptote)
                line = f", asymptote {a * var('x') + b}"
            return f"{name}: {_text(s.value)} (slope {_text(s.slope)}{line})"

        slopes = f"{_text(self.left.slope)} | {_text(self.right.slope)}" if self.kink else _text(self.slope)
        values = _text(self.value)
        if not self.continuous:
            values = f"{_text(self.left.value)} | {values} | {_text(self.right.value)}"
        parts = [side("-inf", self.minus), f"0: {values} (slope {slopes})", side("+inf", self.plus)]
        return f"Limits({self.activation}: {'; '.join(parts)})"

    def to_dict(self) -> dict[str, Any]:
        """All fields and the two properties, ready for JSON (infinities stay floats)."""
        return {**asdict(self), "closed": dict(self.closed), "continuous": self.continuous, "kink": self.kink}


def _near(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)


def _text(value: float | None) -> str:
    return "none" if value is None else f"{value:.12g}"


def limits(spec: Any, **params: float) -> Limits:
    """``f`` and ``f'`` at 0 and from both sides of it, ``lim f`` and ``lim f'`` at -inf and +inf, asymptotes.

    ``spec`` is a name, a formula, an Activation or an ``ogive.Act``; ``params`` are numbers that replace
    defaults. Raises :class:`~ogive.errors.InputError` for a gate of two inputs and
    :class:`~ogive.errors.OgiveError` where the formula gives NaN on the way.

    >>> limits("gelu")
    Limits(gelu: -inf: 0 (slope 0); 0: 0 (slope 0.5); +inf: inf (slope 1, asymptote x))
    >>> limits("arctan").closed["plus.value"], limits("relu").kink, limits("sine").plus.value
    ('pi/2', True, None)
    """
    act, values = scalar(spec, "the limits", params)
    f = _Sampler(act.expr, act, values)
    slope = _Sampler(differentiate(act.expr, act.inputs[0]), act, values)
    zero = torch.zeros(1, dtype=torch.float64)
    closed: dict[str, str] = {}
    slow: list[str] = []

    def read(of: _Sampler, path: Tensor, name: str) -> float | None:
        got, settled = _limit(of(path), f"{act.label} towards {_TOWARDS[name.split('.')[0]]}")
        if settled:
            return _snap(got, name, closed)
        slow.append(name)
        return got if got is None or abs(got) > 1e-6 else 0.0

    sides = {}
    for name, sign in (("left", -1.0), ("right", 1.0), ("minus", -1.0), ("plus", 1.0)):
        far = name in ("minus", "plus")
        path = sign * (_GRID if far else 1.0 / _GRID)
        value, rise = read(f, path, f"{name}.value"), read(slope, path, f"{name}.slope")
        line = _asymptote(f, sign, value, rise) if far else None
        if line is not None and line[0]:
            line = (line[0], _snap(line[1], f"{name}.intercept", closed) or 0.0)
        sides[name] = Side(value, rise, line)
    return Limits(
        act.label,
        _snap(float(f(zero)[0]), "value", closed),
        _snap(float(slope(zero)[0]), "slope", closed),
        **sides,
        closed=closed,
        extrapolated=tuple(slow),
        surrogate=act.backward is not None,
    )


_TOWARDS = {"left": "0 from below", "right": "0 from above", "minus": "-inf", "plus": "+inf"}


class _Sampler:
    def __init__(self, expr: Expr, act: Activation, values: Mapping[str, float]) -> None:
        self.program = compile_program(expr, (act.inputs[0], *values), tuple(values.values()))
        self.fixed = [torch.tensor(v, dtype=torch.float64) for v in values.values()]

    def __call__(self, x: Tensor) -> Tensor:
        return self.program.run([x, *self.fixed], torch.float64).expand_as(x)


# Window j holds 24 points from X_j = 10^(j/2) to 2 X_j, spaced unevenly so that no period fits them.
_STARTS = 10.0 ** (torch.arange(0, 121, dtype=torch.float64) / 2.0)
_INSIDE = torch.tensor([(k + 0.3 * math.sin(k * k)) / 24.5 for k in range(24)], dtype=torch.float64).sort().values
_GRID = _STARTS[:, None] * (1.0 + _INSIDE[None, :])


def _limit(y: Tensor, where: str) -> tuple[float | None, bool]:
    """The limit of samples ``y`` (windows, points) as the window goes on, and whether it is a sharp one."""
    usable = int((~torch.isnan(y).any(1)).long().cumprod(0).sum())  # windows before the first NaN
    if usable < 6:
        raise OgiveError(f"the limits of {where}: the formula gives NaN on the way; rewrite it so that it does not "
                         "divide inf by inf or subtract inf from inf")  # fmt: skip
    y = y[:usable]
    tail = y[-max(4, usable // 3) :]
    last = float(tail[-1, -1])
    if math.isinf(last):
        return (last if bool((tail[-1] == last).all()) else None), True
    size = tail.abs().amax(1)
    if bool((tail - last).abs().max() <= 1e-13 * abs(last)):
        return last, True
    if float(size[-1]) <= 1e-6 * float(size[0]) or float(size[-1]) < 1e-290:
        return 0.0, True
    finite = tail[torch.isfinite(tail).all(1)]
    # Going up and down inside a window, by more than rounding, in the last windows: an oscillation.
    steps = finite.diff(dim=1)
    wobble = (steps.abs().sum(1) - steps.sum(1).abs()) / finite.abs().amax(1).clamp_min(1e-300)
    if float(wobble[-3:].max()) > 1e-9:
        return None, True
    return _slow(y[torch.isfinite(y).all(1)][:, 0])


def _slow(m: Tensor) -> tuple[float, bool]:
    """The limit of a smooth sequence sampled at equal steps of log x that has not yet settled."""
    half = len(m) // 2
    d = m.diff()
    late, early = float(d[-1].abs()), float(d[half].abs())
    if late == 0.0:
        return float(m[-1]), True
    sign = math.copysign(math.inf, float(d[-1]))
    if early == 0.0 or late >= early:
        return sign, True
    # d_j ~ j^-q: a power of log x converges for q > 1 only; a power of x has q without bound.
    q = math.log(early / late) / math.log(len(d) / (half + 1.0))
    if q <= 1.05:
        return sign, True
    if q > 8.0:
        return _accelerate([float(v) for v in m[-24:]])[0], True
    return _richardson(m), False


def _richardson(m: Tensor) -> float:
    """The constant of L + c1/j + c2/j^2 + c3/j^3, by least squares over the last half."""
    j = torch.arange(1, len(m) + 1, dtype=torch.float64)[len(m) // 2 :]
    basis = torch.stack([(len(m) / j) ** k for k in range(4)], 1)
    return float(torch.linalg.lstsq(basis, m[len(m) // 2 :, None]).solution[0, 0])


def _accelerate(s: list[float]) -> tuple[float, float]:
    """The limit of a sum of geometric sequences by Wynn's epsilon algorithm, and the last change."""
    best, change = s[-1], abs(s[-1] - s[-2])
    before, row = [0.0] * (len(s) + 1), list(s)
    for order in range(1, len(s)):
        gaps = [b - a for a, b in pairwise(row)]
        if any(g == 0.0 for g in gaps):
            break
        before, row = row, [before[i + 1] + 1.0 / g for i, g in enumerate(gaps)]
        if order % 2 == 0 and len(row) > 1 and abs(row[-1] - row[-2]) < change:
            best, change = row[-1], abs(row[-1] - row[-2])
    return best, change


def _asymptote(f: _Sampler, sign: float, value: float | None, slope: float | None) -> tuple[float, float] | None:
    """(a, b) of the oblique asymptote; of a finite limit (0, limit)."""
    if value is not None and math.isfinite(value):
        return (0.0, value)
    if slope is None or slope == 0.0 or math.isinf(slope):
        return None
    # f - a x at x = 32, 64, ...: the product is exact in powers of two, the difference loses eps * x. A sum of
    # powers of 1/x is a sum of geometric sequences there; anything faster has settled at once.
    x = sign * 2.0 ** torch.arange(5, 21, dtype=torch.float64)
    r = f(x) - slope * x
    noise = 4.0 * 2.0**-52 * abs(slope) * x.abs()
    moved = (r.diff().abs() > noise[1:]).nonzero().flatten()
    if len(moved) == 0:
        return (slope, float(r[0]))
    d = r.diff().abs()
    # Later differences must shrink until they reach the noise, or there is no asymptote (x + log x, x + sin x).
    over = d[d > 64.0 * noise[1:]]
    if len(over) >= 3 and float(over[-1]) > 0.75 * float(over[-3]):
        return None
    first_noise = int((d <= 64.0 * noise[1:]).nonzero()[0]) if bool((d <= 64.0 * noise[1:]).any()) else len(d)
    if first_noise <= 2:
        return (slope, float(r[first_noise]))
    got, change = _accelerate([float(v) for v in r[: max(4, first_noise + 1)]])
    return (slope, got) if change < 1e-5 * (1.0 + abs(got)) else None


def _snap(value: float | None, name: str, closed: dict[str, str]) -> float | None:
    """``value``, or the closed form next to it, which is then noted under ``name``."""
    if value is None or math.isnan(value):
        return None
    if math.isinf(value):
        return value
    tolerance = (1e-9 if name.endswith("intercept") else SNAP) * (1.0 + abs(value))
    for unit, text in ((1.0, ""), (math.pi, "pi"), (1.0 / math.pi, "1/pi"), (math.log(2.0), "log(2)")):
        ratio = Fraction(value / unit).limit_denominator(100 if unit == 1.0 else 16)
        p, q = ratio.numerator, ratio.denominator
        if abs(float(ratio) * unit - value) > tolerance or abs(p) > 1000 or (unit != 1.0 and not p):
            continue
        if unit == 1.0:
            if q > 1:
                closed[name] = f"{p}/{q}"
        elif text == "1/pi":
            closed[name] = f"{p}/pi" if q == 1 else f"{p}/({q}*pi)"
        else:
            head = {1: "", -1: "-"}.get(p, f"{p}*")
            closed[name] = f"{head}{text}" + (f"/{q}" if q > 1 else "")
        return float(ratio) * unit
    return value

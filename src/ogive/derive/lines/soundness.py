"""An audit of bounds: does every point of the graph lie between the lines? Balls decide where floats cannot."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ogive.derive.bounds import Lines
from ogive.derive.exact import Oracle
from ogive.derive.lines.outline import outline
from ogive.derive.lines.rounding import EPS, Rounded, rounded
from ogive.errors import OgiveError
from ogive.lookup import scalar

ZOOMS = 3  # times that the neighbourhood of the tightest point is looked at sixteen times closer


@dataclass(frozen=True)
class Audit:
    """``violations`` of ``intervals`` were seen to be crossed by the graph; ``points`` were looked at in float64, the
    tightest ``balls`` of them in ball arithmetic. ``lo``, ``hi``, ``x`` and ``by`` show the worst one found, ``by``
    being how far the graph is out of the line."""

    activation: str
    intervals: int
    points: int
    balls: int
    violations: int
    lo: float = 0.0
    hi: float = 0.0
    x: float = 0.0
    by: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether nothing was seen to be crossed."""
        return self.violations == 0

    def __repr__(self) -> str:
        seen = f"{self.intervals} intervals, {self.points} points, {self.balls} by balls"
        if self.sound:
            return f"Audit({self.activation}: sound on {seen})"
        return (f"Audit({self.activation}: {self.violations} violations on {seen}; worst on [{self.lo!r}, {self.hi!r}] "
                f"at {self.x!r} by {self.by:.3g})")  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


def audit(
    spec: Any, lo: Tensor, hi: Tensor, lines: Lines, samples: int = 33, balls: int = 0, seed: int = 0, **params: float
) -> Audit:
    """Look for points of the graph of f outside ``lines`` on finite intervals ``[lo, hi]``, 1-d tensors.

    ``samples`` points an interval, both ends and the doubles beside them among them, are compared in float64; around
    the tightest of each line it is looked three times closer. What lies outside by more than float64 can be off counts.
    Of what float64 does not decide, the ``balls`` tightest points are decided by ball arithmetic (extra ``certify``).
    The bounds may come from anywhere: an interval image is a pair of lines of slope 0.

    >>> from ogive.derive.bounds import bounds
    >>> lo, hi = torch.tensor([0.5]), torch.tensor([4.0])
    >>> audit("x*x", lo, hi, bounds("x*x", lo, hi)).sound
    True
    >>> tangent = Lines(*(torch.tensor([v]) for v in (4.5, -5.0625, 4.5, -5.0625)))
    >>> audit("x*x", lo, hi, tangent).violations
    1
    """
    act, values = scalar(spec, "the audit", params)
    code = rounded(act, values)
    l, u = lo.detach().double().reshape(-1, 1), hi.detach().double().reshape(-1, 1)
    generator = torch.Generator().manual_seed(seed)
    grid = torch.linspace(0.0, 1.0, samples - 2, dtype=torch.float64)
    jitter = torch.rand(len(l), samples - 2, generator=generator, dtype=torch.float64) - 0.5
    spread = (grid + jitter / max(samples - 3, 1)).clamp(0.0, 1.0)
    spread[:, 0], spread[:, -1] = 0.0, 1.0
    x = torch.cat([_between(l, u, spread), torch.nextafter(l, u), torch.nextafter(u, l)], 1)
    worst, undecided, points = torch.zeros(len(l), dtype=torch.float64), [], 0
    place = l.clone().squeeze(1)
    for sign, a, b in (
        (1.0, lines.upper_slope, lines.upper_intercept),
        (-1.0, lines.lower_slope, lines.lower_intercept),
    ):
        a, b = (t.detach().double().reshape(-1, 1) for t in (a, b))
        at, width = x, (u - l) / max(samples - 3, 1)
        for _ in range(ZOOMS + 1):
            out, doubt = _outside(code, at, a, b, sign)
            points += at.numel()
            tight = torch.where(torch.isnan(out), -torch.inf, out - doubt).argmax(1, keepdim=True)
            best, off, err = (t.gather(1, tight) for t in (at, out, doubt))
            certain = (off - err).squeeze(1)
            crossed = certain > worst
            worst, place = torch.where(crossed, certain, worst), torch.where(crossed, best.squeeze(1), place)
            zoom = torch.linspace(-1.0, 1.0, 33, dtype=torch.float64)
            at = torch.minimum(torch.maximum(best + width * zoom, l), u)
            width = width / 16.0
        undecided.append((sign, a, b, best.squeeze(1), (off / err).squeeze(1)))
    decided = _by_balls(act, values, undecided, worst, place, balls) if balls else 0
    bad = worst > 0.0
    i = int(worst.argmax()) if len(worst) else 0
    shown = {} if not bool(bad.any()) else {
        "lo": float(l[i]), "hi": float(u[i]), "x": float(place[i]), "by": float(worst[i])
    }  # fmt: skip
    return Audit(act.label, len(l), points, decided, int(bad.sum()), **shown)


def intervals(spec: Any, count: int, dtype: torch.dtype, seed: int = 0, **params: float) -> tuple[Tensor, Tensor]:
    """``count`` random intervals to audit bounds of ``spec`` on: centres in [-8, 8], on its breaks and inflections,
    or anywhere to 1e6; widths from 1e-6 to 1e6; three in a hundred without width, three an ulp wide.

    >>> lo, hi = intervals("silu", 1000, torch.float32)
    >>> bool((lo <= hi).all()), bool((lo == hi).any())
    (True, True)
    """
    shape = outline(spec, "the audit", params, torch.device("cpu"))
    generator = torch.Generator().manual_seed(seed)

    def u() -> Tensor:
        return torch.rand(count, generator=generator, dtype=torch.float64)

    knots = torch.tensor([0.0, *(v for b in (*shape.boxes, *shape.turns) for v in (b.lo, b.hi))], dtype=torch.float64)
    knots = knots[knots.abs() < 1e6]
    centre = torch.where(u() < 0.3, knots[(u() * len(knots)).long()], u() * 16.0 - 8.0)
    centre = centre * torch.where(u() < 0.2, 10.0 ** (u() * 12.0 - 6.0), 1.0)
    width = 10.0 ** (u() * 12.0 - 6.0)
    lo, hi = (centre - width * u()).to(dtype), (centre + width * u()).to(dtype)
    kind, beside = u(), torch.nextafter(lo, torch.full_like(lo, torch.inf))
    hi = torch.where(kind < 0.03, lo, hi)
    return lo, torch.where((kind > 0.03) & (kind < 0.06), beside, hi)


def _between(l: Tensor, u: Tensor, share: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(l * (1.0 - share) + u * share, l), u)


def _outside(code: Rounded, x: Tensor, a: Tensor, b: Tensor, sign: float) -> tuple[Tensor, Tensor]:
    """How far f(x) is out of the line a x + b on the side ``sign``, and how wrong that number may be."""
    flat = x.reshape(-1)
    f = code.value(flat)
    e = code.value_error(flat, f).reshape(x.shape)
    f = f.reshape(x.shape)
    line = a * x + b
    out = sign * (f - line)
    out = torch.where(torch.isinf(b), torch.where(b * sign > 0.0, -torch.inf, torch.inf), out)
    return out, e + 4.0 * EPS * (f.abs() + (a * x).abs() + torch.nan_to_num(b, posinf=0.0, neginf=0.0).abs())


def _by_balls(
    act: Any, values: dict[str, float], undecided: list[Any], worst: Tensor, place: Tensor, balls: int
) -> int:
    """Decide the tightest points that float64 left open; returns how many were decided."""
    oracle = Oracle(act.with_params(**values), order=0, bits=80)  # a parameter may be called bits
    arb, decided = oracle.flint.arb, 0
    for sign, a, b, x, tightness in undecided:
        order = torch.where(torch.isfinite(tightness) & (worst <= 0.0), tightness, -torch.inf).argsort(descending=True)
        for i in order[: balls // 2].tolist():
            if not float(tightness[i]) > -1e3:  # a thousand times what float64 can be off: nothing to decide
                break
            try:
                (f,) = oracle(float(x[i]))
            except (OgiveError, ZeroDivisionError):
                continue
            before, oracle.flint.ctx.prec = oracle.flint.ctx.prec, 2200  # a x and b exactly, whatever their exponents
            out = (f - arb(float(a[i])) * arb(float(x[i])) - arb(float(b[i]))) * int(sign)
            oracle.flint.ctx.prec = before
            decided += 1
            if out > 0:
                worst[i], place[i] = max(float(out), 5e-324), x[i]
    return decided

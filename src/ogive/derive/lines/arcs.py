"""Where a formula is convex and where concave, with the point of every slope looked up instead of solved for.

On an arc, a stretch of one curvature, f' is monotone, so a line of slope a touches it in one point t with
f'(t) = a. A table per arc holds t over the logit of the slope's place in the arc's range of slopes (over its
logarithm where that range is infinite): exponential tails become straight there, roots and powers exponentials, and
reading the table costs one logarithm. Newton steps on f'' sharpen what is read. Nothing here has to be right for a
bound to hold: any t in the arc gives one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ogive.derive.lines.rounding import BIG, Rounded, bisect
from ogive.derive.pieces import Piece, Pieces

MERGE = 1e-9  # rows join into one arc where their slopes agree this well, relative to 1 + |slope|
LINKED = 2048  # entries of a table over the logit of the slope, from -40 to 40
LOGGED = 2048  # entries of one over the logarithm, from -700 to 709


@dataclass(frozen=True)
class Arc:
    """``[lo, hi]`` with f convex (``sign`` = 1) or concave (-1), up to ``slack`` in the slope where rows were joined;
    ``value`` encloses f there, and ``slopes`` are about f' at its two ends."""

    lo: float
    hi: float
    sign: int
    slack: float
    value: tuple[float, float]
    slopes: tuple[float, float]
    table: Tensor
    steps: Tensor  # from each entry of the table to the next
    kind: str  # "logit", "above" (log of slope - least), "below" (log of greatest - slope), "flat"

    def look_up(self, a: Tensor) -> Tensor:
        """About where f' is ``a``, an end of the arc where it is nowhere."""
        least, most = min(self.slopes), max(self.slopes)
        if self.kind == "flat":
            return torch.full_like(a, float(self.table[0]))
        if self.kind == "logit":
            w = (a - least).clamp_(min=0.0).div_((most - a).clamp_(min=0.0)).log_()
            low, high = -40.0, 40.0
        else:
            w = torch.log(((a - least) if self.kind == "above" else (most - a)).clamp_(min=0.0))
            low, high = -700.0, 709.0
        n = self.table.numel() - 1
        w = torch.nan_to_num_(w, nan=0.0, posinf=high, neginf=low).clamp_(low, high).sub_(low).mul_(n / (high - low))
        i = w.int().clamp_(max=n - 1)
        left, step = self.table.index_select(0, i), self.steps.index_select(0, i)
        return step.mul_(w.sub_(i)).add_(left)


def touch(rounded: Rounded, arc: Arc, a: Tensor, p: Tensor, q: Tensor, steps: int, shift: Tensor | None) -> Tensor:
    """Where on ``[p, q]``, inside the arc (moved by ``shift``), f' is nearest to ``a``."""
    t = arc.look_up(a)
    if shift is not None:
        t = t + shift
    t = torch.minimum(torch.maximum(t, p), q)
    if steps == 0:
        return t
    d = rounded.slope(t) - a
    for _ in range(steps):
        new = torch.minimum(torch.maximum(t - d / rounded.bend(t), p), q)
        e = rounded.slope(new) - a
        better = e.abs() < d.abs()  # never where a step is no number
        t, d = torch.where(better, new, t), torch.where(better, e, d)
    return t


def arcs(pieces: Pieces, rounded: Rounded, sign: int, device: torch.device) -> tuple[Arc, ...]:
    """The stretches where f is convex (``sign`` = 1) or concave (-1): neighbouring rows that are, as one where their
    slopes join. A straight row belongs to both kinds; a stretch of nothing else needs its ends only and is no arc."""
    made: list[Arc] = []
    stretch: list[Piece] = []
    slack = 0.0
    for row in (*pieces.rows, None):
        gap = _gap(stretch[-1], row, sign) if row is not None and stretch else None
        if row is not None and stretch and gap is not None:
            stretch.append(row)
            slack += gap
            continue
        if any(r.curvature for r in stretch):
            value = (min(r.value[0] for r in stretch), max(r.value[1] for r in stretch))
            made.append(
                Arc(stretch[0].lo, stretch[-1].hi, sign, slack, value, (0.0, 0.0), torch.empty(0), torch.empty(0), "")
            )
        stretch, slack = ([row] if row is not None and row.curvature in (sign, 0) else []), 0.0
    return tuple(_tabled(_split(made, rounded), rounded, device))


def _gap(before: Piece, row: Piece, sign: int) -> float | None:
    """By how much a slope of ``row`` may lie on the wrong side of one of the row before it; None where that is much.

    Convex rows need slopes on the right that are no smaller. With ``gap``, f(x) >= f(t) + f'(t) (x - t) - gap |x - t|
    for any x and t of the two."""
    if row.curvature not in (sign, 0):
        return None
    left, right = before.derivative, row.derivative
    gap = left[1] - right[0] if sign == 1 else right[1] - left[0]
    size = 1.0 + min(abs(v) for v in (*left, *right))
    return max(gap, 0.0) if gap <= MERGE * size else None


def _ends(made: list[Arc], rounded: Rounded) -> list[Arc]:
    lo = torch.tensor([max(a.lo, -BIG) for a in made], dtype=torch.float64)
    hi = torch.tensor([min(a.hi, BIG) for a in made], dtype=torch.float64)
    below, above = rounded.slope(lo).tolist(), rounded.slope(hi).tolist()
    out = []
    for arc, d, e in zip(made, below, above):
        # a cusp has an infinite slope at its end, of the sign that the curvature makes it
        d = -arc.sign * math.inf if math.isnan(d) else d
        e = arc.sign * math.inf if math.isnan(e) else e
        out.append(replace(arc, slopes=(d, e)))
    return out


def _split(made: list[Arc], rounded: Rounded) -> Iterable[Arc]:
    """Arcs whose slopes reach from about -inf to inf are cut where f' is about 0, to have an end to measure from."""
    for arc in _ends(made, rounded) if made else ():
        if min(abs(s) for s in arc.slopes) < 1e30 or arc.slopes[0] * arc.slopes[1] > 0.0:
            yield arc
            continue
        ends = (
            torch.tensor([max(arc.lo, -BIG)], dtype=torch.float64),
            torch.tensor([min(arc.hi, BIG)], dtype=torch.float64),
        )
        cut = float(bisect(lambda x: rounded.slope(x) * arc.sign >= 0.0, *ends))  # noqa: B023
        yield replace(arc, hi=cut, slopes=(arc.slopes[0], 0.0))
        yield replace(arc, lo=cut, slopes=(0.0, arc.slopes[1]))


def _tabled(made: Iterable[Arc], rounded: Rounded, device: torch.device) -> Iterable[Arc]:
    for arc in made:
        least, most = min(arc.slopes), max(arc.slopes)
        if not least < most:
            middle = torch.tensor([min(max(0.0, arc.lo), arc.hi)], dtype=torch.float64, device=device)
            yield replace(arc, kind="flat", table=middle)
            continue
        if most - least < 1e30:
            kind, w = "logit", torch.linspace(-40.0, 40.0, LINKED, dtype=torch.float64)
            target = least + (most - least) * torch.sigmoid(w)
            target = torch.where(w > 0.0, most - (most - least) * torch.sigmoid(-w), target)
        else:
            w = torch.linspace(-700.0, 709.0, LOGGED, dtype=torch.float64)
            kind = "above" if abs(least) < abs(most) else "below"
            target = least + torch.exp(w) if kind == "above" else most - torch.exp(w)
        lo, hi = (torch.full_like(w, min(max(v, -BIG), BIG)) for v in (arc.lo, arc.hi))
        sign = float(arc.sign)
        table = bisect(lambda x: rounded.slope(x) * sign >= target * sign, lo, hi)  # noqa: B023
        table = table.clamp_(-1e300, 1e300).to(device)
        yield replace(arc, kind=kind, table=table, steps=table.diff())

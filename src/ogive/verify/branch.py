"""Branch and bound on general nonlinearities: intervals of neurons or of inputs are cut until every part is decided.

A neuron is cut where the formula's table says; in each half its interval, hence its lines, are tighter, and
so is everything behind it. The cut also holds for the inputs: as a constraint, whose multiplier is optimised (see
:class:`~ogive.verify.freedom.Multipliers`). Which neuron: the one whose two lines are farthest apart at the centre,
weighted by its coefficient in the bound. Source: Shi et al. 2025, "Neural network verification with branch-and-bound
for general nonlinearities"; Bunel et al. 2020 for the scheme.
"""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import Tensor

from ogive.derive.branching import branch_points
from ogive.verify.bounding import Bounds
from ogive.verify.formula import Formula
from ogive.verify.network import Box, Network, Step
from ogive.verify.optimise import optimised, tightened
from ogive.verify.relaxation import Elementwise

_TOGETHER = 16  # parts that are cut at once
_FEW = 8  # inputs that are cut themselves, instead of neurons


def branched(
    network: Network, region: Any, rows: Tensor, budget: float, steps: int, rounds: int = 8
) -> tuple[float, Tensor | None]:
    """The least value of every row over the region of one example, and a point that looks like a counterexample.

    ``rows`` are ``[rows, 1, *shape of the output]``. ``steps`` optimise the lines of the whole region, ``rounds`` the
    lines and the multipliers of every part (0: none). Ends when all parts have a positive bound, when a point with a
    row that is not positive turns up, or after ``budget`` seconds; the bound holds in each case.
    """
    until = time.monotonic() + budget
    by_input = math.prod(network.steps[0].shape) <= _FEW
    parts = [_Part(region.box(), {})]
    least = math.inf  # of the parts that are settled
    while parts:
        parts.sort(key=lambda p: p.bound)
        now, parts = parts[:_TOGETHER], parts[_TOGETHER:]
        found, point = _bounded(network, region, rows, now, steps if not now[0].clip else 0, rounds)
        if point is not None:
            return min([least, *(p.bound for p in (*found, *parts))]), point
        open_ = []
        for part in found:
            if part.bound > 0.0:
                least = min(least, part.bound)
            else:
                open_.append(part)
        if time.monotonic() > until or any(p.cut is None for p in open_):
            return min([least, *(p.bound for p in (*open_, *parts))]), None
        parts += [half for p in open_ for half in p.halves(by_input)]
    return least, None


class _Part:
    """A part of the region: its input box, the boxes of the neurons' inputs, its bound, and where to cut it."""

    def __init__(self, box: Box, clip: dict[int, Box], bound: float = -math.inf) -> None:
        self.box, self.clip, self.bound = box, clip, bound
        self.cut: tuple[int, int, float] | None = None  # step, element, place
        self.cuts: dict[int, tuple[Tensor, Tensor]] = {}  # by step which lower and which upper ends were cut

    def halves(self, by_input: bool) -> list[_Part]:
        assert self.cut is not None
        step, element, place = self.cut
        made = []
        for upper in (False, True):
            before = self.box if step == 0 else self.clip[step]
            lo, hi = before.lo.clone(), before.hi.clone()
            (lo if upper else hi).reshape(-1)[element] = place
            box = Box(lo, hi)
            half = _Part(self.box if step else box, {**self.clip, step: box} if step else self.clip, self.bound)
            half.cuts = dict(self.cuts)
            if step:
                none = torch.zeros_like(lo, dtype=torch.bool)
                marks = [t.clone() for t in self.cuts.get(step, (none, none))]
                marks[0 if upper else 1].reshape(-1)[element] = True
                half.cuts[step] = (marks[0], marks[1])
            made.append(half)
        return made


def _bounded(
    network: Network, region: Any, rows: Tensor, parts: list[_Part], steps: int, rounds: int
) -> tuple[list[_Part], Tensor | None]:
    """The parts with bounds of their own and the next cut of each; a point where a row is not positive, if any."""
    count = len(parts)
    many = region.select(torch.zeros(count, dtype=torch.long))
    many = many.cut(torch.cat([p.box.lo for p in parts]), torch.cat([p.box.hi for p in parts]))
    clip = {i: Box(torch.cat([p.clip[i].lo for p in parts]), torch.cat([p.clip[i].hi for p in parts]))
            for i in (parts[0].clip if all(p.clip.keys() == parts[0].clip.keys() for p in parts) else ())}  # fmt: skip
    wide = rows.expand(-1, count, *rows.shape[2:])
    seen: dict[int, Tensor] = {}
    best = rows.new_full((len(rows), count), -math.inf)
    if steps:
        best, bounds = optimised(network, many, wide, steps, clip=clip)
        clip = {i: bounds.boxes[i] for i in _inner(network)}
    with torch.no_grad():
        # plain planes, to see the coefficients of every step
        plain = Bounds(network, many, True, clip)
        value = plain.lower(wide, watch=lambda step, a: seen.__setitem__(step.index, a))
        best = torch.maximum(best, value)
    if rounds and parts[0].clip:
        best = torch.maximum(best, tightened(plain, wide, _cuts(network, parts), rounds))
    with torch.no_grad():
        best[:, plain.empty] = math.inf
        worst = best.argmin(0)
        each = torch.arange(count)
        corner = torch.where(
            seen[0].expand(-1, count, *seen[0].shape[2:])[worst, each] > 0.0, many.box().lo, many.box().hi
        )
        tried = network.evaluate(corner)
        values = (wide * tried.unsqueeze(0)).flatten(2).sum(-1).amin(0)
    wrong = ((values <= 0.0) & torch.isfinite(best.amin(0))).nonzero().flatten()
    for i, part in enumerate(parts):
        part.bound = max(part.bound, float(best[:, i].amin()))
        part.clip = {k: Box(plain.boxes[k].lo[i : i + 1].clone(), plain.boxes[k].hi[i : i + 1].clone())
                     for k in _inner(network)}  # fmt: skip
        part.cut = _cut(network, plain, seen, i, int(worst[i]))
    return parts, corner[wrong[0]] if len(wrong) else None


def _cuts(network: Network, parts: list[_Part]) -> dict[int, tuple[Tensor, Tensor]]:
    """Which ends of which neurons were cut, one part an example."""
    made = {}
    for i in {k for p in parts for k in p.cuts}:
        none = torch.zeros(1, *network.steps[i].shape, dtype=torch.bool)
        below, above = zip(*(p.cuts.get(i, (none, none)) for p in parts))
        made[i] = (torch.cat(below), torch.cat(above))
    return made


def _inner(network: Network) -> list[int]:
    return sorted({i for s in network.nonlinear for i in s.inputs if i})


def _cut(network: Network, bounds: Bounds, seen: dict[int, Tensor], i: int, row: int) -> tuple[int, int, float] | None:
    """Where to cut part ``i``: step, element and place."""
    box = bounds.boxes[0]
    if math.prod(network.steps[0].shape) <= _FEW:
        a = seen[0].expand(-1, len(box.lo), *seen[0].shape[2:])[row, i]
        width = (box.hi[i] - box.lo[i]).flatten()
        element = int(((a.abs().flatten() + 1e-12) * width).argmax())
        lo, hi = box.lo[i].reshape(-1)[element], box.hi[i].reshape(-1)[element]
        middle = float(0.5 * lo + 0.5 * hi)
        return (0, element, middle) if lo < middle < hi else None
    best: tuple[float, Step, int] | None = None
    for step in network.nonlinear:
        planes = bounds.planes.get(step.index)
        if not isinstance(planes, Elementwise) or step.index not in seen:
            continue
        a = seen[step.index].expand(-1, len(box.lo), *step.shape)[row, i].flatten()
        gap = _gap(bounds, step, planes, i)
        score = a.abs() * gap
        element = int(score.argmax())
        if best is None or float(score[element]) > best[0]:
            best = (float(score[element]), step, element)
    if best is None or not best[0] > 0.0:
        return None
    _, step, element = best
    source = max(step.inputs, key=lambda k: float((bounds.boxes[k].hi - bounds.boxes[k].lo)[i].reshape(-1)[element]))
    low, high = (float(t[i].reshape(-1)[element]) for t in bounds.boxes[source])
    place = _place(step, element, low, high)
    return None if place is None or source == 0 else (source, element, place)


def _gap(bounds: Bounds, step: Step, planes: Elementwise, i: int) -> Tensor:
    """How far apart the two planes are at the centre."""
    height = (planes.above - planes.below)[i].flatten()
    if planes.folded and len(step.inputs) == 1:
        bias = bounds.network.steps[step.inputs[0]].operation.bias(height.dtype)
        if bias is not None:
            low, high = planes.slopes[0]
            height = height - ((high - low)[i] * bias).flatten()
    for source, (low, high) in zip(step.inputs, planes.slopes):
        centre = 0.5 * (bounds.boxes[source].lo[i] + bounds.boxes[source].hi[i])
        height = height + ((high[i] - low[i]) * centre).flatten()
    return height.clamp(min=0.0)


def _place(step: Step, element: int, lo: float, hi: float) -> float | None:
    """Where the two halves leave the least area between their lines, by the table of the formula; else the middle."""
    place = 0.5 * lo + 0.5 * hi
    if isinstance(step.operation, Formula):
        table = branch_points(step.operation.function(element))
        found = float(table(*(torch.tensor(v, dtype=torch.float64) for v in (lo, hi))))
        place = found if lo < found < hi else place
    return place if lo < place < hi else None

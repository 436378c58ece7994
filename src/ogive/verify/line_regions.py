"""How many pieces a piecewise-linear network has along a line or a curve, counted exactly.

Along a segment every value before a kink is an affine function of the position; its crossings of the cuts are
computed in closed form, layer by layer, and the segment is divided there. Sources: Hanin and Rolnick 2019,
"Complexity of linear regions in deep networks"; Tiwari and Konidaris 2022, "Effects of data geometry in early deep
learning", for curves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError
from ogive.verify.linear_pieces import LinearPieces, of_step
from ogive.verify.network import Network
from ogive.verify.tracer import trace


@dataclass(frozen=True, eq=False)
class LineRegions:
    """``cuts`` are the positions, 0 at the start and 1 at the end, where a unit changes its piece.

    ``regions`` counts the stretches between them, ``pieces`` those with different slopes of the output: a unit that
    changes behind a dead one makes a region and no piece. ``resolved`` is how near to each other two changes may be
    and still be told apart (0 for polylines: all are found).
    """

    cuts: Tensor = field(repr=False)
    regions: int
    pieces: int
    length: float
    resolved: float = 0.0

    @property
    def density(self) -> float:
        """Regions for each unit of length."""
        return self.regions / self.length if self.length > 0.0 else float("inf")

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return {"cuts": self.cuts.tolist(), "regions": self.regions, "pieces": self.pieces, "length": self.length,
                "resolved": self.resolved}  # fmt: skip


def linear_regions(
    model: nn.Module, curve: Tensor | Callable[[Tensor], Tensor], *, samples: int = 1024
) -> LineRegions:  # fmt: skip
    """The pieces of ``model`` along ``curve``.

    Args:
        model: linear layers and piecewise-linear activations, sums and reshapes, traced in evaluation mode.
        curve: points ``[points, ...]`` of a polyline, two or more, counted exactly; or a function of positions
            ``[n]`` in [0, 1] that returns points ``[n, ...]`` in float64. Such a curve is divided into ``samples``
            parts, each halved until its ends agree in every unit or are 1e-12 apart; a unit that changes there and
            back inside one part is not seen.
        samples: parts of a curve given as a function.

    Raises:
        InputError: for an activation that is not piecewise linear, or points that do not fit.

    >>> net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))
    >>> net[0].weight.data, net[0].bias.data = torch.ones(2, 1), torch.tensor([0.0, -1.0])
    >>> linear_regions(net, torch.tensor([[-2.0], [2.0]])).regions
    3
    """
    if isinstance(curve, Tensor):
        if curve.dim() < 2 or len(curve) < 2 or not bool(torch.isfinite(curve).all()):
            raise InputError("linear_regions: a polyline is a tensor of two finite points or more, [points, ...]")
        points = curve.detach().double()
    else:
        points = curve(torch.tensor([0.0, 1.0], dtype=torch.float64)).detach().double()
    weights = [p.dtype for p in model.parameters() if p.is_floating_point()] if isinstance(model, nn.Module) else []
    network = trace(model, points[:1].to(weights[0]) if weights else points[:1])
    kinks = {s.index: of_step(network, s) for s in network.nonlinear}
    with torch.no_grad():
        if isinstance(curve, Tensor):
            return _polyline(network, kinks, points)
        return _curve(network, kinks, curve, samples)


def _polyline(network: Network, kinks: dict[int, list[LinearPieces]], points: Tensor) -> LineRegions:
    """All segments at once: each stretch knows its two ends, and values there are affine between them."""
    points = points.reshape(len(points), *network.steps[0].shape)
    count = len(points) - 1
    start = torch.arange(count, dtype=torch.float64)
    end = start + 1.0
    values: dict[int, tuple[Tensor, Tensor]] = {0: (points[:-1], points[1:])}  # at both ends of every stretch
    for step in network.steps[1:]:
        inputs = [values[i] for i in step.inputs]
        if step.linear:
            operation = step.operation
            values[step.index] = (
                operation.evaluate([v[0] for v in inputs]),
                operation.evaluate([v[1] for v in inputs]),
            )
            continue
        low, high = (t.flatten(1) for t in inputs[0])
        share = [torch.zeros(len(low), 1), torch.ones(len(low), 1)]
        for unit, p in enumerate(kinks[step.index]):
            for cut in p.cuts:
                a, b = low[:, unit] - cut, high[:, unit] - cut
                crossed = (a < 0.0) != (b < 0.0)
                share.append(torch.where(crossed, a / torch.where(crossed, a - b, 1.0), 0.0).unsqueeze(1))
        cuts = torch.cat([s.double() for s in share], 1).clamp(0.0, 1.0).sort(1).values
        row, place = (cuts[:, 1:] - cuts[:, :-1] > 1e-13).nonzero(as_tuple=True)
        s, t = cuts[row, place], cuts[row, place + 1]
        width = (end - start)[row]
        start, end = start[row] + s * width, start[row] + t * width
        for i, (p0, p1) in values.items():
            shape = (-1, *(1,) * (p0.dim() - 1))
            s_, t_ = s.reshape(shape), t.reshape(shape)
            values[i] = (p0[row] + s_ * (p1 - p0)[row], p0[row] + t_ * (p1 - p0)[row])
        low, high = (t.flatten(1) for t in values[step.inputs[0]])
        made_low, made_high = torch.empty_like(low), torch.empty_like(high)
        for unit, p in enumerate(kinks[step.index]):
            piece = p.piece(0.5 * low[:, unit] + 0.5 * high[:, unit])
            slope = torch.tensor(p.slopes, dtype=torch.float64)[piece]
            shift = torch.tensor(p.intercepts, dtype=torch.float64)[piece]
            made_low[:, unit], made_high[:, unit] = slope * low[:, unit] + shift, slope * high[:, unit] + shift
        values[step.index] = (made_low.reshape(-1, *step.shape), made_high.reshape(-1, *step.shape))
    first, last = (t.flatten(1) for t in values[network.output])
    rates = (last - first) / (end - start).unsqueeze(1)
    gap = (rates[1:] - rates[:-1]).abs().amax(1) > 1e-9 * (1.0 + rates.abs().amax())
    corner = (start[1:] == start[1:].round()) & (end[:-1] == start[1:])  # a corner of the polyline is no kink
    gap |= corner & ((first[1:] - last[:-1]).abs().amax(1) > 1e-9)
    kink = ~corner
    length = float((points[1:] - points[:-1]).flatten(1).norm(dim=1).sum())
    return LineRegions(start[1:][kink] / count, int(kink.sum()) + 1, int((gap & kink).sum()) + 1, length)


def _curve(
    network: Network, kinks: dict[int, list[LinearPieces]], curve: Callable[[Tensor], Tensor], samples: int
) -> LineRegions:  # fmt: skip
    shape = network.steps[0].shape

    def codes(t: Tensor) -> tuple[Tensor, Tensor]:
        x = curve(t).detach().double().reshape(len(t), *shape)
        values, found = {0: x}, []
        for step in network.steps[1:]:
            values[step.index] = step.operation.evaluate([values[i] for i in step.inputs])
            if not step.linear:
                flat = values[step.inputs[0]].flatten(1)
                found += [p.piece(flat[:, u].contiguous()) for u, p in enumerate(kinks[step.index])]
        return torch.stack(found, 1) if found else torch.zeros(len(t), 0, dtype=torch.long), x

    at = torch.linspace(0.0, 1.0, samples + 1, dtype=torch.float64)
    code, x = codes(at)
    length = float((x[1:] - x[:-1]).flatten(1).norm(dim=1).sum())
    low, high, left, right = at[:-1], at[1:], code[:-1], code[1:]
    cuts: list[Tensor] = []
    while True:
        differ = (left != right).any(1)
        low, high, left, right = (v[differ] for v in (low, high, left, right))
        done = high - low < 1e-12
        cuts.append(0.5 * (low[done] + high[done]))
        low, high, left, right = (v[~done] for v in (low, high, left, right))
        if not len(low):
            break
        middle = 0.5 * (low + high)
        code, _ = codes(middle)
        low, high = torch.cat([low, middle]), torch.cat([middle, high])
        left, right = torch.cat([left, code]), torch.cat([code, right])
    found = torch.cat(cuts).sort().values
    # on a curve slopes change everywhere; what counts is where a unit does
    return LineRegions(found, len(found) + 1, len(found) + 1, length, 1.0 / samples)

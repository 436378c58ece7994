"""Bounds optimised over the planes by gradient ascent; every iterate is sound, and the best of all is kept."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ogive.verify.backward import Region
from ogive.verify.bounding import Bounds
from ogive.verify.freedom import Freedom, Multipliers
from ogive.verify.network import Box, Network


def optimised(
    network: Network, region: Region, rows: Tensor, steps: int = 20, rate: float = 0.1,
    clip: Mapping[int, Box] | None = None, enough: float = 0.0,
) -> tuple[Tensor, Bounds]:  # fmt: skip
    """Lower bounds of ``rows`` of the output by alpha-CROWN, and the bounds of the last iterate.

    Adam moves all choices together, those of the bounds of inner steps too; boxes of inner steps keep the best of
    every iterate. It ends when the least row of every example is above ``enough``.
    """
    free = Freedom(len(rows), network.output)
    inner = {i for s in network.nonlinear for i in s.inputs}
    best: Tensor | None = None
    kept = dict(clip or {})
    optimiser: torch.optim.Adam | None = None
    for count in range(steps + 1):
        with torch.enable_grad():
            bounds = Bounds(network, region, True, kept, free)
            found = bounds.lower(rows)
        best = found.detach() if best is None else torch.maximum(best, found.detach())
        best[:, bounds.empty] = float("inf")
        least = best.amin(0)
        if count == steps or bool((least > enough).all()):
            break
        for i in inner:
            kept[i] = Box(bounds.boxes[i].lo.detach(), bounds.boxes[i].hi.detach())
        parameters = free.parameters()
        if not parameters:
            break
        if optimiser is None:
            optimiser = torch.optim.Adam(parameters, lr=rate)
            schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.98)
        # rows that hold already pull no more
        open_ = (best <= enough).to(found.dtype)
        optimiser.zero_grad()
        with torch.enable_grad():
            (-(found * open_).sum()).backward()
        for t in parameters:
            if t.grad is not None:
                torch.nan_to_num_(t.grad, 0.0, 0.0, 0.0)
        optimiser.step()
        schedule.step()
        free.clamp()
    assert best is not None
    return best, bounds


def tightened(
    bounds: Bounds, rows: Tensor, cuts: Mapping[int, tuple[Tensor, Tensor]], steps: int, rate: float = 0.1
) -> Tensor:
    """Lower bounds of ``rows`` of the output with boxes held: its lines and the multipliers of cuts are optimised.

    An iterate costs one pass from the output to the input. ``cuts`` as for :class:`~ogive.verify.freedom.Multipliers`.
    """
    network = bounds.network
    free = Freedom(len(rows), network.output)
    beta = Multipliers(len(rows), cuts, bounds.boxes)
    held, bounds.free = bounds.free, free
    best: Tensor | None = None
    optimiser: torch.optim.Adam | None = None
    try:
        for count in range(steps + 1):
            with torch.enable_grad():
                found = bounds.lower(rows, penalty=beta.terms)
            best = found.detach() if best is None else torch.maximum(best, found.detach())
            best[:, bounds.empty] = float("inf")
            if count == steps or bool((best > 0.0).all()):
                break
            parameters = [*free.parameters(), *beta.parameters()]
            if not parameters:
                break
            optimiser = optimiser or torch.optim.Adam(parameters, lr=rate)
            optimiser.zero_grad()
            with torch.enable_grad():
                (-(found * (best <= 0.0)).sum()).backward()
            for t in parameters:
                if t.grad is not None:
                    torch.nan_to_num_(t.grad, 0.0, 0.0, 0.0)
            optimiser.step()
            free.clamp()
            beta.clamp()
    finally:
        bounds.free = held
    assert best is not None
    return best

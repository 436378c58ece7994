"""FT-ClipAct's thresholds: layer by layer, the one with the largest area under accuracy against fault rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ogive.surgery.hardening.bounds import Bounded
from ogive.surgery.hardening.campaign import answers, resilience


def tuned(
    model: nn.Module, placed: Mapping[str, Bounded], batches: Sequence[Any], labels: Tensor,
    rates: Sequence[float], repeats: int, rounds: int, what: str, dtype: str, drop: float, seed: int,
) -> int:  # fmt: skip
    """Shrink the bounds that stand in ``model``, in place; the number of campaigns it took.

    Of each layer, four thresholds T = S1, ..., S4 evenly over [0, T0], T0 the largest value on data; the best area
    under accuracy against log(rate) wins and the next round goes on between its neighbours. A threshold that costs
    more than ``drop`` of the clean accuracy does not stand. Of equal areas the largest T wins. The same seeds serve
    all thresholds, so that they meet the same faults.
    """
    floor = float((answers(model, batches) == labels).double().mean()) - drop
    campaigns = 0
    for bounded in placed.values():
        high, low = bounded.high.clone(), None if bounded.low is None else bounded.low.clone()
        known: dict[float, float] = {}

        def area(share: float, module: Bounded = bounded, h: Tensor = high, lo: Tensor | None = low) -> float:
            module.high = h * share
            module.low = None if lo is None else lo * share
            if float((answers(model, batches) == labels).double().mean()) < floor:
                return -1.0
            return resilience(model, batches, labels, rates=rates, repeats=repeats, what=what, dtype=dtype,
                              seed=seed).auc  # fmt: skip

        left, right, best = 0.0, 1.0, 1.0
        for _ in range(rounds):
            at = [left + (right - left) * i / 3 for i in range(4)]
            for share in at:
                if share not in known:
                    known[share] = area(share) if share > 0.0 else -1.0
                    campaigns += share > 0.0
            best = max(at, key=lambda s: (known[s], s))
            i = at.index(best)
            left, right = at[max(i - 1, 0)], at[min(i + 1, 3)]
        best = max(known, key=lambda s: (known[s], s)) if known else 1.0
        with torch.no_grad():
            bounded.high = high * best
            bounded.low = None if low is None else low * best
    return campaigns

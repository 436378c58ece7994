"""What each site of a model is given on data: the numbers that fits and thresholds are made from."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import OgiveError
from ogive.surgery.effect import run
from ogive.surgery.rewire import rewire
from ogive.surgery.sites import Site

_SAMPLE = 20_000


def samples(model: nn.Module, found: list[Site], batches: list[Any], seed: int) -> dict[str, Tensor]:
    """Inputs of each site over the batches: up to 20,000 values each, float64, drawn evenly."""
    rng = random.Random(seed)
    kept: dict[str, list[Tensor]] = {}
    share = max(_SAMPLE // len(batches), 1)

    def see(name: str, x: Tensor) -> None:
        flat = x.detach().flatten()
        if flat.numel() > share:
            flat = flat[torch.tensor([rng.randrange(flat.numel()) for _ in range(share)], device=flat.device)]
        kept.setdefault(name, []).append(flat.double().cpu())

    with rewire(model, found, {}, see):
        run(model, batches)
    joined = {name: torch.cat(parts) for name, parts in kept.items()}
    for name, x in joined.items():
        if not bool(torch.isfinite(x).all()):
            bad = int((~torch.isfinite(x)).sum())
            raise OgiveError(
                f"{name} is given {bad} values that are not finite on this data; clean the data or the model"
            )
    missing = [s.name for s in found if s.name not in joined]
    if missing:
        raise OgiveError(f"this data never reaches {missing[0]}; leave it out by a rule or give data that does")
    return joined

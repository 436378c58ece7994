"""``dead_rate``: the share of units that are silent, on an example and on all of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from ogive.errors import OgiveError
from ogive.surgery.effect import batches_of, run
from ogive.surgery.rewire import rewire
from ogive.surgery.sites import Site, sites, table


@dataclass(frozen=True)
class DeadSite:
    """One site: units, the mean share that give 0 on an example, and the share that give 0 on all of them."""

    site: str
    units: int
    dynamic: float
    static: float


@dataclass(frozen=True)
class DeadRate:
    """Silent units by site; ``dynamic`` and ``static`` are over the units of all sites."""

    rows: tuple[DeadSite, ...]
    examples: int

    @property
    def dynamic(self) -> float:
        """The dynamic dead neuron rate: the mean share of units that give 0 on an example."""
        return sum(r.units * r.dynamic for r in self.rows) / sum(r.units for r in self.rows)

    @property
    def static(self) -> float:
        """The share of units that give 0 on every example."""
        return sum(r.units * r.static for r in self.rows) / sum(r.units for r in self.rows)

    def __repr__(self) -> str:
        rows: list[tuple[str, ...]] = [("site", "units", "0 on an example", "0 on all")]
        rows += [(r.site, str(r.units), f"{r.dynamic:.2%}", f"{r.static:.2%}") for r in self.rows]
        rows.append(("all", str(sum(r.units for r in self.rows)), f"{self.dynamic:.2%}", f"{self.static:.2%}"))
        return table(rows, (36, 9, 15, 9))

    def to_dict(self) -> dict[str, Any]:
        """All rows, ready for JSON."""
        return {"rows": [asdict(r) for r in self.rows], "dynamic": self.dynamic, "static": self.static,
                "examples": self.examples}  # fmt: skip


def dead_rate(model: nn.Module, data: Any) -> DeadRate:
    """The share of units whose activation gives exactly 0, on an example and on all of them (dynamic and static).

    Args:
        model: run in evaluation mode, not changed.
        data: a batch or a list or loader of batches, examples along the first dimension; a unit is one number of what
            a site gives for an example. Shapes stay the same from batch to batch.

    Raises:
        OgiveError: when there is no activation of one input, or a site's shape changes.

    Source: Liu, Ghosh, Tan and Motani 2023, AP: Selective Activation for De-sparsifying Pruned Networks.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Linear(4, 100), nn.ReLU(), nn.Linear(100, 2))
    >>> 0.4 < dead_rate(net, torch.randn(64, 4)).dynamic < 0.6
    True
    """
    batches = batches_of(data)
    chosen = unit_sites(model, batches[0], "dead_rate")
    silent, examples = silent_units(model, chosen, batches)
    rows = [DeadSite(s.name, silent[s.name].numel(), float(silent[s.name].mean()),
                     float((silent[s.name] == 1.0).double().mean())) for s in chosen if s.name in silent]  # fmt: skip
    return DeadRate(tuple(rows), examples)


def unit_sites(model: nn.Module, example: Any, what: str) -> list[Site]:
    """Activations of one input. Raises OgiveError where there is none."""
    found = [s for s in sites(model, example)
             if s.kind == "module" or (s.kind == "call" and s.calls and s.calls[0].slot is not None)]  # fmt: skip
    if not found:
        raise OgiveError(f"{what}: this model has no activation of one input on this data")
    return found


def silent_units(model: nn.Module, chosen: list[Site], batches: list[Any]) -> tuple[dict[str, Tensor], int]:
    """By site, the share of examples on which each unit gives 0, in the shape of one example."""
    acts = {s.name: s.activation for s in chosen}
    counts: dict[str, Tensor] = {}
    seen: dict[str, int] = {}

    def see(name: str, x: Tensor) -> None:
        zero = (acts[name](x.detach()) == 0.0).double().sum(0)
        if name in counts and counts[name].shape != zero.shape:
            raise OgiveError(f"{name} is given other shapes from batch to batch; use batches of one shape")
        counts[name] = counts[name] + zero if name in counts else zero
        seen[name] = seen.get(name, 0) + x.shape[0]

    with rewire(model, chosen, {}, see):
        run(model, batches)
    return {n: c / seen[n] for n, c in counts.items()}, max(seen.values(), default=0)

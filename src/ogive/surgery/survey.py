"""What every site of a model is given on the user's data, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ogive.derive.calculus import derivative
from ogive.errors import OgiveError
from ogive.surgery.effect import batches_of, called
from ogive.surgery.modes import evaluating
from ogive.surgery.rewire import rewire
from ogive.surgery.sites import Site, Sites, folded, sites, table

_FLAT = 1e-3


@dataclass(frozen=True)
class Measured:
    """One site on the data: mean, standard deviation and extremes of its input, the share of inputs where its slope
    is below 1e-3 in size (``flat``), the share of results that are 0 (``zero``), and the share of the model's time."""

    site: str
    label: str
    shape: tuple[int, ...]
    mean: float
    std: float
    low: float
    high: float
    flat: float
    zero: float
    cost: float


@dataclass(frozen=True)
class Survey:
    """The sites of a model in order of execution, on data."""

    rows: tuple[Measured, ...]
    left: tuple[tuple[str, str], ...]
    stops: tuple[str, ...]
    milliseconds: float

    def __iter__(self) -> Iterator[Measured]:
        return iter(self.rows)

    def __repr__(self) -> str:
        rows: list[tuple[str, ...]] = [("site", "function", "shape", "mean", "std", "flat", "zero", "time")]
        for r in self.rows:
            shape = "x".join(map(str, r.shape))
            rows.append((r.site, r.label, shape, f"{r.mean:.3g}", f"{r.std:.3g}", f"{100 * r.flat:.0f}%",
                         f"{100 * r.zero:.0f}%", f"{100 * r.cost:.1f}%"))  # fmt: skip
        lines = [table(rows, (19, 9, 11, 9, 6, 4, 4, 5)) if self.rows else "no nonlinearity found"]
        lines += [folded(f"not measured: {name}, {why}") for name, why in self.left]
        lines += [folded(f"not followed: {s}") for s in self.stops]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """All figures, ready for JSON."""
        return {"sites": [asdict(r) for r in self.rows], "left": list(self.left), "stops": list(self.stops),
                "milliseconds": self.milliseconds}  # fmt: skip


class _Tally:
    """Sums of one site's inputs over the batches."""

    def __init__(self, site: Site) -> None:
        self.site, self.slope = site, _slope(site)
        self.sums = torch.zeros(5, dtype=torch.float64)  # count, x, x^2, flat, zero
        self.low, self.high = float("inf"), float("-inf")
        self.last: Tensor | None = None

    def add(self, x: Tensor) -> None:
        self.last = x.detach()
        wide = self.last.double().flatten()
        flat = 0 if self.slope is None else int((self.slope(wide).abs() < _FLAT).sum())
        zero = int((self.site.activation(wide) == 0.0).sum())
        self.sums += torch.tensor([wide.numel(), wide.sum(), wide.square().sum(), flat, zero], dtype=torch.float64)
        self.low, self.high = min(self.low, float(wide.min())), max(self.high, float(wide.max()))


def _slope(site: Site) -> Callable[[Tensor], Tensor] | None:
    try:
        return derivative(site.activation)
    except OgiveError:
        return None


def survey(model: nn.Module, data: Any) -> Survey:
    """Run ``model`` on ``data`` and tell what each of its nonlinearities is given and what share of the time it takes.

    Args:
        model: any module; it is left as it was.
        data: what the model is called with, a batch or a list or loader of batches.

    Raises:
        InputError: for something that is not a module or not data.
        OgiveError: for data that never reaches a site.

    >>> _ = torch.manual_seed(0)
    >>> found = survey(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.randn(100, 4))
    >>> [(row.site, row.label, row.shape, row.flat == row.zero) for row in found]
    [('1', 'relu', (100, 8), True)]
    """
    batches = batches_of(data)
    there: Sites = sites(model, batches[0])
    found = [s for s in there if s.kind != "gate" and (s.kind == "module" or (s.calls and s.calls[0].slot is not None))]
    tallies = {s.name: _Tally(s) for s in found}
    with evaluating(model):
        with rewire(model, found, {}, lambda name, x: tallies[name].add(x)):
            for batch in batches:
                called(model, batch)
        whole = _least(lambda: called(model, batches[0]))
        modules = dict(model.named_modules())
        costs = {name: _least(_alone(t, modules)) for name, t in tallies.items()}
    rows = tuple(_row(t, costs[name] / whole) for name, t in tallies.items())
    left = tuple((s.name, "a gate of two inputs" if s.kind == "gate" else "its input is not an argument of its call")
                 for s in there if s not in found)  # fmt: skip
    return Survey(rows, left, there.stops, 1e3 * whole)


def _alone(tally: _Tally, modules: dict[str, nn.Module]) -> Callable[[], Any]:
    """The site's own function on its last input."""
    x, site = tally.last, tally.site
    if x is None:
        raise OgiveError(f"this data never reaches {site.name}")
    module = modules.get(site.module.partition("#")[0]) if site.kind == "module" else None

    def run() -> Any:
        with torch.no_grad():
            return site.activation(x) if module is None else module(x.clone() if getattr(module, "inplace", 0) else x)

    return run


def _least(run: Callable[[], Any], rounds: int = 5) -> float:
    run()
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        took.append(time.perf_counter() - began)
    return min(took)


def _row(tally: _Tally, cost: float) -> Measured:
    count, total, square, flat, zero = tally.sums.tolist()
    mean = total / count
    shape = tuple(tally.last.shape) if tally.last is not None else ()
    return Measured(tally.site.name, tally.site.label, shape, mean, max(square / count - mean * mean, 0.0) ** 0.5,
                    tally.low, tally.high, flat / count, zero / count, cost)  # fmt: skip

"""Measured sparsity: how many inputs of each Linear are exactly zero, and how much of the weights that saves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import OgiveError
from ogive.surgery.effect import batches_of, run
from ogive.surgery.sites import table
from ogive.surgery.sparsity.blocks import FeedForward, feed_forwards
from ogive.surgery.sparsity.linear import ThresholdedLinear


@dataclass(frozen=True)
class Zeros:
    """The inputs of one Linear on the data.

    ``zeros`` is the share that is exactly 0 in what the layer multiplies; ``role`` is gate, up, down or "" outside
    feed-forward blocks; ``unused`` the share of inputs that stay 0 over a whole window (aggregated sparsity, nan where
    an example is one row); ``saved`` the share of its weights that need not be read for one row.
    """

    name: str
    role: str
    zeros: float
    unused: float
    saved: float
    weights: int


@dataclass(frozen=True)
class Sparsity:
    """Zeros at the inputs of the linears of a model, in order of execution, and their means.

    ``down`` is the mean over down projections, ``inputs`` over all linears, ``saved`` the share of all weights of
    linears that need not be read for one row: columns that meet a zero, and the rows of an up projection whose
    units are multiplied with 0.
    """

    rows: tuple[Zeros, ...]
    down: float
    inputs: float
    unused: float
    saved: float
    tokens: int

    def __getitem__(self, name: str) -> Zeros:
        found = [r for r in self.rows if r.name == name]
        if not found:
            raise KeyError(f"no linear {name!r}; there are {', '.join(r.name for r in self.rows[:8])}")
        return found[0]

    def __repr__(self) -> str:
        rows: list[tuple[str, ...]] = [("linear", "role", "zeros", "window", "saved")]
        rows += [(r.name, r.role or "-", _share(r.zeros), _share(r.unused), _share(r.saved)) for r in self.rows]
        rows.append(("mean of down projections", "", _share(self.down), _share(self.unused), ""))
        rows.append(("mean of all, all weights", "", _share(self.inputs), "", _share(self.saved)))
        return table(rows, (36, 5, 8, 8, 8))

    def to_dict(self) -> dict[str, Any]:
        """All figures, ready for JSON; numbers that are not finite are None."""
        own = {k: getattr(self, k) for k in self.__dataclass_fields__ if k != "rows"}
        parts = [asdict(r) for r in self.rows]
        return {**_finite(own), "rows": [_finite(p) for p in parts]}


class ZeroCount:
    """Counts at the inputs of linears while the model runs; ``with`` it, then ``result()``."""

    def __init__(self, model: nn.Module, blocks: Iterable[FeedForward]) -> None:
        self.model = model
        self.linears = {path: m for path, m in model.named_modules() if isinstance(m, nn.Linear)}
        self.blocks = list(blocks)
        self.sums: dict[str, Tensor] = {}  # inputs, zeros, zeros before a threshold of its own, windows, unused
        self._stack = ExitStack()

    def __enter__(self) -> ZeroCount:
        for path, module in self.linears.items():
            self._stack.callback(module.register_forward_pre_hook(_Counter(path, self)).remove)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def add(self, path: str, module: nn.Module, x: Tensor) -> None:
        with torch.no_grad():
            used = module.kept(x) if isinstance(module, ThresholdedLinear) else x
            zero = used == 0
            units = x.shape[-1]
            unused = windows = 0.0
            if x.dim() > 2 and x.shape[-2] > 1:
                still = zero.all(-2)
                windows, unused = float(still.numel()), float(still.sum())
            own = [float(zero.numel()), float(zero.sum()), float((x == 0).sum()), windows, unused, zero.numel() / units]
        self.sums[path] = self.sums.get(path, torch.zeros(6, dtype=torch.float64)) + torch.tensor(own)

    def result(self) -> Sparsity:
        """The shares so far. Raises OgiveError when no linear ran."""
        if not self.sums:
            raise OgiveError("no nn.Linear ran on this data, so there is no sparsity to measure")
        roles = {p: r for b in self.blocks for p, r in ((b.gate, "gate"), (b.up, "up")) if p}
        roles.update({b.down: "down" for b in self.blocks})  # in a chain of layers it is the next one's up as well
        feeds = {b.up: b.down for b in self.blocks if b.gate is not None and not b.fused}
        rows, saved, weights = [], 0.0, 0
        for path, sums in self.sums.items():
            module = self.linears[path]
            zeros = float(sums[1] / sums[0])
            skipped = 0.0
            if path in feeds and feeds[path] in self.sums:
                below = self.sums[feeds[path]]
                skipped = float(below[2] / below[0])
            size = module.weight.numel()
            extra = module.extra if isinstance(module, ThresholdedLinear) else 0
            share = 1.0 - (1.0 - zeros) * (1.0 - skipped) - extra / size
            unused = float(sums[4] / sums[3]) if sums[3] else math.nan
            rows.append(Zeros(path, roles.get(path, ""), zeros, unused, share, size))
            saved, weights = saved + share * size, weights + size
        down = [r for r in rows if r.role == "down"]
        return Sparsity(tuple(rows), _mean([r.zeros for r in down]), _mean([r.zeros for r in rows]),
                        _mean([r.unused for r in down if not math.isnan(r.unused)]), saved / weights,
                        int(max(float(s[5]) for s in self.sums.values())))  # fmt: skip


class _Counter:
    """The hook of one linear."""

    def __init__(self, path: str, count: ZeroCount) -> None:
        self.path, self.count = path, count

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if args and isinstance(args[0], Tensor):
            self.count.add(self.path, module, args[0])


def sparsity(model: nn.Module, data: Any) -> Sparsity:
    """The share of exact zeros at the input of every Linear of ``model`` on ``data``.

    Args:
        model: run in evaluation mode, left as it was.
        data: what the model is called with, a batch or a list or loader of batches.

    Raises:
        InputError: for something that is not a module or not data.
        OgiveError: when no linear runs on the data.

    >>> _ = torch.manual_seed(0)
    >>> found = sparsity(nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2)), torch.randn(1000, 4))
    >>> [(row.name, row.role, round(row.zeros, 1)) for row in found.rows]
    [('0', 'up', 0.0), ('2', 'down', 0.5)]
    """
    batches = batches_of(data)
    blocks = feed_forwards(model, batches[0])
    with ZeroCount(model, blocks) as count:
        run(model, batches)
    return count.result()


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}%"


def _finite(own: Mapping[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in own.items()}

"""Where to split an interval in branch and bound: a table per formula, made before any network is seen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ogive.activation import Activation, Param
from ogive.derive.bounds import bounds
from ogive.derive.image import pair
from ogive.errors import ParameterError
from ogive.lookup import scalar

SHARES = 39  # candidates per interval, evenly spaced inside it
STEPS = 48  # intervals per axis of the table


@dataclass(frozen=True, eq=False)
class BranchPoints:
    """Best points to split at, as shares of the width: ``shares[i, j]`` is for ``[ends[i], ends[j]]``, i < j.

    ``gain[i, j]`` is the part of the area between the lines that the split leaves out, 0 to 1."""

    activation: str
    ends: Tensor
    shares: Tensor
    gain: Tensor

    def __call__(self, lo: Tensor, hi: Tensor) -> Tensor:
        """Where to split every ``[lo, hi]``, inside it; between entries of the table linearly, beyond it at its edge.

        Tensors as for :func:`ogive.derive.bounds.bounds`; the result has their dtype and shape."""
        lo, hi = pair(self.activation, lo, hi)
        ends, shares = self.ends.to(lo.device), self.shares.to(lo.device)
        step, last = float(ends[1] - ends[0]), len(ends) - 1
        row = ((lo.detach().double() - ends[0]) / step).clamp(0.0, last - 1e-6)
        col = ((hi.detach().double() - ends[0]) / step).clamp(0.0, last - 1e-6)
        i, j = row.long(), col.long()
        p, q = row - i, col - j
        share = (
            (shares[i, j] * (1 - q) + shares[i, j + 1] * q) * (1 - p)
            + (shares[i + 1, j] * (1 - q) + shares[i + 1, j + 1] * q) * p
        )  # fmt: skip
        share = share.to(lo.dtype)
        return torch.minimum(torch.maximum(lo + share * (hi - lo), lo), hi)

    def __repr__(self) -> str:
        return (f"BranchPoints({self.activation}: {len(self.ends)} ends from {float(self.ends[0]):g} to "
                f"{float(self.ends[-1]):g}, best gain {float(self.gain.max()):.2f})")  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """All fields as lists, ready for JSON."""
        return {"activation": self.activation, **{k: getattr(self, k).tolist() for k in ("ends", "shares", "gain")}}


def branch_points(spec: Any, reach: float = 6.0, **params: float) -> BranchPoints:
    """The points that leave the least area between the lines of both halves, for ends in [-reach, reach].

    Area is (upper - lower line at the midpoint) times width, as the lines of :func:`ogive.derive.bounds.bounds` are
    those of least area. Following Shi et al. 2024 (GenBaB), who enumerate points per operation; here it follows from
    any formula. ``params`` are numbers. Raises as :func:`ogive.derive.bounds.bounds` does, and
    :class:`~ogive.errors.ParameterError` unless ``reach`` is positive.

    >>> import torch
    >>> float(branch_points("relu")(torch.tensor(-1.0), torch.tensor(3.0)))
    0.0
    """
    act, values = scalar(spec, "branch points", params)
    if not 0.0 < reach < 1e6:
        raise ParameterError(f"branch points of {act.label}: reach={reach!r}; it takes a number from 0 to 1e6")
    fixed = Activation(act.written, act.inputs, {k: Param(v) for k, v in values.items()}, act.name)
    return _table(fixed.written, fixed.inputs, tuple(values.items()), act.label, float(reach))


@lru_cache(maxsize=256)
def _table(
    written: Any, inputs: tuple[str, ...], values: tuple[tuple[str, float], ...], label: str, reach: float
) -> BranchPoints:
    act = Activation(written, inputs, {k: Param(v) for k, v in values})
    ends = torch.linspace(-reach, reach, STEPS + 1, dtype=torch.float64)
    i, j = torch.triu_indices(STEPS + 1, STEPS + 1, 1)
    lo, hi = ends[i], ends[j]
    whole = area(act, lo, hi)
    inner = torch.linspace(0.0, 1.0, SHARES + 2, dtype=torch.float64)[1:-1]
    # what a tie is settled by: of equal candidates the one nearest the middle
    order = (inner - 0.5).abs().argsort(stable=True)
    candidates = [inner[k].expand_as(lo) for k in order]
    candidates += [((k - lo) / (hi - lo)).clamp(0.02, 0.98) for k in act.breakpoints() if abs(k) < reach]
    best, left = torch.full_like(lo, 0.5), torch.full_like(lo, torch.inf)
    for share in candidates:
        point = lo + share * (hi - lo)
        rest = area(act, lo, point) + area(act, point, hi)
        better = rest < left - 1e-9 * whole
        best, left = torch.where(better, share, best), torch.where(better, rest, left)
    shares = torch.full((STEPS + 1, STEPS + 1), 0.5, dtype=torch.float64)
    gain = torch.zeros_like(shares)
    shares[i, j], shares[j, i] = best, best
    gain[i, j] = torch.where(whole > 1e-12, (1.0 - left / whole).clamp(0.0, 1.0), torch.zeros_like(whole))
    return BranchPoints(label, ends, shares, gain)


def area(spec: Any, lo: Tensor, hi: Tensor, **params: float) -> Tensor:
    """The area between the two lines of least area over each interval.

    >>> import torch
    >>> round(float(area("relu", torch.tensor(-1.0), torch.tensor(1.0))), 6)
    1.0
    """
    lines = bounds(spec, lo, hi, None, **params)
    middle = 0.5 * lo + 0.5 * hi
    return (lines.upper(middle) - lines.lower(middle)).clamp(min=0.0) * (hi - lo)

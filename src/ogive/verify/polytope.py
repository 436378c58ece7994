"""Boxes cut by half-spaces: whether any point is left, and how small a linear functional gets."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ogive.errors import OgiveError

_SLACK = 1e-9  # by which a constraint may fail in the solver: a set thinner than this counts as empty


@dataclass(frozen=True, eq=False)
class Polytope:
    """All x with ``lo <= x <= hi`` and ``normals @ x <= offsets``, float64 vectors; ends may be infinite."""

    lo: Tensor
    hi: Tensor
    normals: Tensor
    offsets: Tensor

    @staticmethod
    def box(lo: Tensor, hi: Tensor) -> Polytope:
        """The box alone."""
        lo, hi = lo.detach().double().flatten(), hi.detach().double().flatten()
        return Polytope(lo, hi, lo.new_zeros(0, len(lo)), lo.new_zeros(0))

    def cut(self, normal: Tensor, offset: float) -> Polytope:
        """The part with ``normal @ x <= offset``."""
        return Polytope(self.lo, self.hi, torch.cat([self.normals, normal.reshape(1, -1)]),
                        torch.cat([self.offsets, self.offsets.new_full((1,), offset)]))  # fmt: skip

    def least(self, row: Tensor) -> tuple[float, Tensor] | None:
        """The least value of ``row @ x`` and a point where it is taken; None for an empty set.

        Without cuts it is a corner; else a linear programme, which needs SciPy (it comes with the extra ``verify``).
        Raises :class:`~ogive.errors.OgiveError` without it. The value is -inf where it is not bounded.
        """
        corner = torch.where(row > 0.0, self.lo, torch.where(row < 0.0, self.hi, _inside(self.lo, self.hi)))
        if not len(self.offsets):
            return float(torch.where(row == 0.0, 0.0, row * corner).sum()), corner
        try:
            from scipy.optimize import linprog
        except ImportError as error:
            raise OgiveError("a region cut by half-spaces is searched by linear programmes, which need SciPy; "
                             "pip install 'ogive[verify]' brings it") from error  # fmt: skip
        found = linprog(row.numpy(), A_ub=self.normals.numpy(), b_ub=self.offsets.numpy(),
                        bounds=torch.stack([self.lo, self.hi], 1).numpy(), method="highs")  # fmt: skip
        if found.status == 2:
            return None
        if found.status == 3:
            return -float("inf"), corner
        if found.status != 0:
            raise OgiveError(f"a linear programme over {len(row)} variables did not end: {found.message}")
        return float(found.fun), torch.as_tensor(found.x, dtype=torch.float64)

    def inner(self) -> tuple[float, Tensor] | None:
        """The radius of the largest ball inside the cuts and its centre (at most 1 for an unbounded set); None where
        the set is empty.

        A set without an inside, a face of its neighbours, has radius 0.
        """
        if not len(self.offsets):
            return float(torch.minimum((0.5 * (self.hi - self.lo)).min(), torch.tensor(1.0))), _inside(self.lo, self.hi)
        n = len(self.lo)
        eye = torch.eye(n, dtype=torch.float64)
        low, high = torch.isfinite(self.lo), torch.isfinite(self.hi)
        rows = torch.cat([self.normals, -eye[low], eye[high]])
        sides = torch.cat([self.offsets, -self.lo[low], self.hi[high]])
        rows = torch.cat([rows, rows.norm(dim=1, keepdim=True)], 1)
        inf = torch.full((n,), float("inf"), dtype=torch.float64)
        one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        whole = Polytope(torch.cat([-inf, zero]), torch.cat([inf, one]), rows, sides)
        found = whole.least(torch.cat([torch.zeros(n, dtype=torch.float64), -one]))
        return None if found is None else (-found[0], found[1][:n])

    def polygon(self) -> Tensor:
        """In two dimensions and a finite box: the corners in order, ``[corners, 2]``, none for an empty set."""
        (a, c), (b, d) = self.lo.tolist(), self.hi.tolist()
        corners = [(a, c), (b, c), (b, d), (a, d)]
        for (p, q), offset in zip(self.normals.tolist(), self.offsets.tolist()):
            sides = [p * x + q * y - offset for x, y in corners]
            kept: list[tuple[float, float]] = []
            for k, (x, y) in enumerate(corners):
                s, before = sides[k], sides[k - 1]
                if (s <= 0.0) != (before <= 0.0):
                    t, (u, v) = before / (before - s), corners[k - 1]
                    kept.append((u + t * (x - u), v + t * (y - v)))
                if s <= 0.0:
                    kept.append((x, y))
            corners = kept
        return torch.tensor(corners, dtype=torch.float64).reshape(-1, 2)

    def solid(self) -> bool:
        """Whether more than a face is left."""
        found = self.inner()
        return found is not None and found[0] > _SLACK


def _inside(lo: Tensor, hi: Tensor) -> Tensor:
    """The middle of a box, or a point of it where an end is infinite."""
    middle = 0.5 * lo + 0.5 * hi
    near = torch.zeros_like(lo).clamp(min=lo, max=hi)
    return torch.where(torch.isfinite(middle), middle, near)

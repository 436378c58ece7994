"""Quadratic constraints on activations, what semidefinite programs for Lipschitz constants are made of.

With u = x - x' and v = phi(x) - phi(x'), a constraint is a matrix M with ``(u, v)^T M (u, v) >= 0`` for all x and x'.
Every nonnegative (or, where the form is zero, every real) multiple of one is one, so a family is a list of matrices by
the multiplier that stands before each; LipSDP minimises over the multipliers.

* Slopes in [alpha, beta], element by element (Fazlyab et al. 2019): (v_i - alpha u_i)(beta u_i - v_i) >= 0.
* GroupSort, MaxMin (Pauli et al. 2024): sorting a group is 1-Lipschitz, |u|^2 - |v|^2 >= 0 on every group, and keeps
  its sum, so every product of 1^T u or 1^T v with 1^T (u - v) is zero.
* Householder (same source): a reflection of one side of a hyperplane with normal w is 1-Lipschitz and keeps all that
  is orthogonal to w, so with P = I - w w^T every product of P u or P v with P (u - v) is zero.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ogive.derive.pieces import pieces
from ogive.errors import OgiveError, ParameterError


@dataclass(frozen=True)
class SlopeInterval:
    """``alpha <= (f(x) - f(y)) / (x - y) <= beta`` for all x, y in [lo, hi], rounded outward."""

    activation: str
    alpha: float
    beta: float
    lo: float = -math.inf
    hi: float = math.inf

    @property
    def lipschitz(self) -> float:
        """The Lipschitz constant, the larger of |alpha| and |beta|."""
        return max(abs(self.alpha), abs(self.beta))

    def form(self) -> Tensor:
        """The 2 x 2 matrix M of ``(v - alpha u)(beta u - v) >= 0``: [[-2 alpha beta, alpha + beta], [.., -2]] / 2."""
        mixed = 0.5 * (self.alpha + self.beta)
        return torch.tensor([[-self.alpha * self.beta, mixed], [mixed, -1.0]], dtype=torch.float64)

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Constraints:
    """A family of quadratic constraints on a map of ``size`` numbers: ``signed[k]`` takes a multiplier >= 0,
    ``free[k]`` any real one. Each is 2 size x 2 size, for u stacked on v."""

    name: str
    size: int
    signed: tuple[Tensor, ...]
    free: tuple[Tensor, ...] = ()

    def __repr__(self) -> str:
        return f"Constraints({self.name}: {self.size} numbers, {len(self.signed)} signed, {len(self.free)} free)"

    def to_dict(self) -> dict[str, Any]:
        """All fields as lists, ready for JSON."""
        return {"name": self.name, "size": self.size, "signed": [m.tolist() for m in self.signed],
                "free": [m.tolist() for m in self.free]}  # fmt: skip


def slope_interval(spec: Any, lo: float = -math.inf, hi: float = math.inf, **params: float) -> SlopeInterval:
    """The least and greatest difference quotient of f on [lo, hi], certified.

    ``spec`` is a name, a formula, an Activation or an ``ogive.Act`` of one input; ``params`` are numbers. A kink counts
    with both its slopes, a jump makes the interval infinite. A piece that reaches beyond ``lo`` or ``hi`` counts whole.
    Raises :class:`~ogive.errors.ParameterError` unless ``lo < hi``.

    >>> s = slope_interval("relu")
    >>> s.alpha, s.beta, slope_interval("silu").lipschitz < 1.0998394
    (0.0, 1.0, True)
    """
    if not lo < hi:
        raise ParameterError(f"the slope interval of {spec}: from {lo!r} to {hi!r} there is nothing")
    cut = pieces(spec, **params)
    whole = cut.period is not None and not (cut.rows[0].lo <= lo and hi <= cut.rows[-1].hi)
    rows = [r for r in cut.rows if whole or (r.lo < hi and r.hi > lo)]
    return SlopeInterval(cut.activation, min(r.derivative[0] for r in rows), max(r.derivative[1] for r in rows), lo, hi)


def slope_restricted(spec: Any, size: int, lo: float = -math.inf, hi: float = math.inf, **params: float) -> Constraints:
    """LipSDP's constraint for ``size`` copies of an activation: one matrix per number.

    Raises :class:`~ogive.errors.OgiveError` for an activation whose slope is not bounded on [lo, hi].

    >>> slope_restricted("tanh", 3)
    Constraints(tanh: 3 numbers, 3 signed, 0 free)
    """
    _sized(size, 1)
    s = slope_interval(spec, lo, hi, **params)
    if not math.isfinite(s.lipschitz):
        raise OgiveError(f"{s.activation} has no bounded slope from {lo:g} to {hi:g}: no quadratic constraint follows; "
                         "give the interval that its input stays in")  # fmt: skip
    form, signed = s.form(), []
    for i in range(size):
        m = torch.zeros(2 * size, 2 * size, dtype=torch.float64)
        m[i, i], m[i, size + i], m[size + i, i], m[size + i, size + i] = form.flatten()
        signed.append(m)
    return Constraints(s.activation, size, tuple(signed))


def group_sort(size: int, group: int = 2) -> Constraints:
    """The constraints of GroupSort on groups of ``group`` neighbours; MaxMin is GroupSort by twos.

    >>> group_sort(4, 2)
    Constraints(GroupSort(2): 4 numbers, 2 signed, 6 free)
    """
    _sized(size, group)
    ones = torch.ones(group, group, dtype=torch.float64)
    return _kept_parts(f"GroupSort({group})", size, group, [ones] * (size // group))


def max_min(size: int) -> Constraints:
    """The constraints of MaxMin, which sorts pairs.

    >>> max_min(2)
    Constraints(MaxMin: 2 numbers, 1 signed, 3 free)
    """
    found = group_sort(size, 2)
    return Constraints("MaxMin", size, found.signed, found.free)


def householder(normals: Tensor) -> Constraints:
    """The constraints of Householder activations with ``normals``, one row per group (made unit length here).

    The map is x where w^T x > 0 and ``x - 2 (w^T x) w`` elsewhere.

    >>> import torch
    >>> householder(torch.tensor([[1.0, -1.0]]))
    Constraints(Householder(2): 2 numbers, 1 signed, 3 free)
    """
    if normals.dim() != 2 or not bool((normals.norm(dim=1) > 0).all()):
        raise ParameterError(f"householder: normals of shape {tuple(normals.shape)}; it takes rows that are not zero")
    w = torch.nn.functional.normalize(normals.detach().double(), dim=1)
    group = w.shape[1]
    kept = [torch.eye(group, dtype=torch.float64) - torch.outer(r, r) for r in w]
    return _kept_parts(f"Householder({group})", w.numel(), group, kept)


def _kept_parts(name: str, size: int, group: int, kept: list[Tensor]) -> Constraints:
    """Groups on each of which the map is 1-Lipschitz and leaves the part that ``kept`` selects as it is.

    K is a symmetric multiple of a projection and K u = K v, so u^T K u, u^T K v and v^T K v are one number and their
    differences are zero, whatever multiplies them. Three are listed, two are independent."""
    signed, free = [], []
    for i, k in enumerate(kept):
        at = slice(i * group, (i + 1) * group)
        own = torch.zeros(size, size, dtype=torch.float64)
        own[at, at] = torch.eye(group, dtype=torch.float64)
        part = torch.zeros_like(own)
        part[at, at] = k
        none = torch.zeros_like(own)
        signed.append(_blocks(own, none, -own))
        free += [_blocks(part, none, -part), _blocks(-2.0 * part, part, none), _blocks(none, part, -2.0 * part)]
    return Constraints(name, size, tuple(signed), tuple(free))


def _blocks(uu: Tensor, uv: Tensor, vv: Tensor) -> Tensor:
    return torch.cat([torch.cat([uu, uv], 1), torch.cat([uv.T, vv], 1)], 0)


def _sized(size: int, group: int) -> None:
    if not isinstance(size, int) or isinstance(size, bool) or size < 1 or group < 1 or size % group:
        raise ParameterError(f"constraints on {size!r} numbers in groups of {group}: a positive multiple is needed")

"""The layers of an infinitely wide network, one after the other, on a matrix of pairs of inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.derive.dual import dual
from ogive.derive.integrals.dual_table import DualTable
from ogive.derive.moments import moments
from ogive.derive.wide.maps import Maps
from ogive.errors import OgiveError

_BLOCK = 1 << 19  # elements at a time: what the caches hold
_CHECKED = 16  # pairs drawn at random, beside those at the ends of the data


@dataclass
class State:
    """Kernels ``k`` and ``t`` of rows and columns, their diagonals (n, 1) and (1, m), and where both are one input.

    ``error_k`` and ``error_t`` are estimates for each element relative to the roots of the diagonals; of a matrix that
    is read off tables they are not kept.
    """

    k: Tensor
    t: Tensor
    same: Tensor
    k_rows: Tensor
    k_columns: Tensor
    t_rows: Tensor
    t_columns: Tensor
    error_k: Tensor | None = None
    error_t: Tensor | None = None

    def correlation(self, part: slice = slice(None)) -> Tensor:
        """K over the roots of the diagonals, 1 where row and column are one input."""
        c = self.k[part] / (self.k_rows[part].sqrt() * self.k_columns.sqrt())
        return c.clamp_(-1.0, 1.0).masked_fill_(self.same[part], 1.0)

    def pairs(self, i: Tensor, j: Tensor) -> State:
        """Elements (i, j) as a column."""
        zero = torch.zeros(len(i), 1, dtype=torch.float64)
        kernels = (self.k[i, j, None].clone(), self.t[i, j, None].clone(), self.same[i, j, None])
        rows, columns = (self.k_rows[i], self.t_rows[i]), (self.k_columns[0, j, None], self.t_columns[0, j, None])
        return State(*kernels, rows[0], columns[0], rows[1], columns[1], zero, zero.clone())


class Source(Protocol):
    """The correlation of g(u) and g(v), g the ``slope``-th derivative, and an estimate of its error (or 0)."""

    def __call__(self, c: Tensor, u: Tensor, v: Tensor, slope: int) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class Network:
    """``depth`` nonlinear layers of ``maps``, the last of them the read-out; ``act`` has its parameters bound."""

    maps: Maps
    act: Activation
    depth: int
    normalised: bool
    tangent: bool

    def norms(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """The roots of E f^2 and of E f'^2 (0 where the tangent is left out) at standard deviations ``s``."""
        distinct, back = s.reshape(-1).unique(return_inverse=True)
        value, _ = moments(self.act, [(2,), (0, 2)] if self.tangent else [(2,)], std=distinct)
        roots = [v.clamp_min(0.0).sqrt()[back].reshape(s.shape) for v in value]
        return roots[0], roots[1] if self.tangent else torch.zeros_like(roots[0])

    def layer(self, state: State, number: int, source: Source) -> State:
        """Layer ``number`` (from 1), in blocks of rows; ``state`` is used up."""
        m = self.maps
        skip, branch = (0.0, 1.0) if number == self.depth else (m.skip**2, m.branch**2)
        own, bias = branch * m.sigma_w**2, branch * m.sigma_b**2
        sides = ((state.k_rows, state.t_rows), (state.k_columns, state.t_columns))
        stds = [torch.ones_like(k) if self.normalised else k.sqrt() for k, _ in sides]
        # By what T is multiplied beside the slopes: a normalisation divides by the lengths.
        shrink = [k.rsqrt() if self.normalised else torch.ones_like(k) for k, _ in sides]
        f, g = zip(*(self.norms(s) for s in stds))
        fresh = [bias + own * a * a for a in f]
        diagonal_k = [skip * k + new for (k, _), new in zip(sides, fresh)]
        diagonal_t = [(skip + own * (b * h) ** 2) * t + new for (_, t), new, b, h in zip(sides, fresh, g, shrink)]
        for q in diagonal_k:
            if not bool((torch.isfinite(q) & (q > 1e-290)).all()):
                raise OgiveError(f"the variance of a pre-activation after layer {number} is {float(q.min()):.3g} to "
                                 f"{float(q.max()):.3g}; choose sigma_w and sigma_b that keep it")  # fmt: skip
        size = len(state.k) if state.error_k is not None else max(1, _BLOCK // state.k.shape[1])
        for i in range(0, len(state.k), size):
            part = slice(i, i + size)
            c, same = state.correlation(part), state.same[part]
            r, error = source(c, stds[0][part], stds[1], 0)
            new = r.masked_fill(same, 1.0) * (own * f[0][part]) * f[1] + bias
            state.k[part] = skip * state.k[part] + new
            if not self.tangent:
                continue
            weight = (own * g[0] * shrink[0])[part] * (g[1] * shrink[1])
            slope, slope_error = torch.ones_like(c), torch.zeros_like(c)
            if bool((weight > 0.0).any()):
                slope, slope_error = source(c, stds[0][part], stds[1], 1)
            t = state.t[part].clone()
            state.t[part] = (slope.masked_fill(same, 1.0) * weight + skip) * t + new
            if state.error_k is not None and state.error_t is not None:
                # An error of c moves the angle by it over the sine, and the slope's correlation by as much at a kink.
                turned = torch.minimum(state.error_k / (1.0 - c * c).clamp_min(1e-300).sqrt(), state.error_k.sqrt())
                turned = turned.masked_fill(same, 0.0)
                rise = weight * (slope.abs() * state.error_t + (slope_error + turned))
                scale = (state.t_rows * state.t_columns).sqrt()
                carried = (rise + skip * state.error_t) * scale + own * f[0] * f[1] * error
                state.error_t = carried / (diagonal_t[0] * diagonal_t[1]).sqrt()
        if state.error_k is not None:
            gain = own * g[0] * g[1] * stds[0] * stds[1] if self.tangent else own * f[0] * f[1]
            carried = gain * state.error_k + own * f[0] * f[1] * error
            carried = carried + skip * state.error_k * (state.k_rows * state.k_columns).sqrt()
            state.error_k = carried / (diagonal_k[0] * diagonal_k[1]).sqrt()
        after = (diagonal_k[0], diagonal_k[1], diagonal_t[0], diagonal_t[1])
        return State(state.k, state.t, state.same, *after, state.error_k, state.error_t)

    def exact(self, state: State) -> State:
        """All layers for pairs in a column, every value its own quadrature."""

        def source(c: Tensor, u: Tensor, v: Tensor, slope: int) -> tuple[Tensor, Tensor]:
            value, error = dual(self.act, c, slope=slope, std=(u, v))
            norms = [self.norms(s)[slope] for s in (u, v)]
            scale = (norms[0] * norms[1]).clamp_min(1e-300)
            return value / scale, error / scale

        for number in range(1, self.depth + 1):
            state = self.layer(state, number, source)
        return state

    def tabled(self, state: State) -> tuple[State, float, float, int, int]:
        """All layers for a matrix, read off one table per layer and slope; the largest errors found on pairs that are
        also worked out exactly, how many those were, and how many values the tables took."""
        i, j = _telling(state)
        held = self.exact(state.pairs(i, j))
        asked = 0
        for number in range(1, self.depth + 1):
            tables = self._tables(state)

            def source(
                c: Tensor, u: Tensor, v: Tensor, slope: int, tables: list[DualTable] = tables
            ) -> tuple[Tensor, Tensor]:
                return tables[slope](torch.arccos(c), u[:, 0], v[0]), torch.zeros(())

            state = self.layer(state, number, source)
            asked += sum(t.pairs for t in tables)
        assert held.error_k is not None and held.error_t is not None
        off_k = (state.k[i, j, None] - held.k).abs() / (held.k_rows * held.k_columns).sqrt() + held.error_k
        off_t = (state.t[i, j, None] - held.t).abs() / (held.t_rows * held.t_columns).sqrt() + held.error_t
        return state, float(off_k.max()), float(off_t.max()), len(i), asked

    def _tables(self, state: State) -> list[DualTable]:
        low, high = 1.0, -1.0
        size = max(1, _BLOCK // state.k.shape[1])
        for i in range(0, len(state.k), size):
            part = slice(i, i + size)
            other = state.correlation(part)[~state.same[part]]
            if len(other):
                low, high = min(low, float(other.min())), max(high, float(other.max()))
        if low > high:
            low = high = 1.0
        ends = [1.0, 1.0]
        if not self.normalised:
            every = torch.cat([state.k_rows[:, 0], state.k_columns[0]])
            ends = [math.sqrt(float(every.min())), math.sqrt(float(every.max()))]
        box = (math.acos(high), math.acos(low)), (ends[0], ends[1])
        flat = not bool((self.norms(torch.tensor(ends, dtype=torch.float64))[1] > 0.0).any())
        slopes = (0,) if flat else (0, 1)
        return [DualTable(self.act, s, *box) for s in slopes]


def _telling(state: State) -> tuple[Tensor, Tensor]:
    """Pairs on which a table is held: nearest, most opposite, most unequal, and some at random."""
    n, m = state.k.shape
    places = []
    c = state.correlation()
    far = torch.argmin(c)
    c[state.same] = -2.0
    places += [int(far), int(torch.argmax(c))]
    of_rows = torch.argmin(state.k_rows), torch.argmax(state.k_rows)
    of_columns = torch.argmin(state.k_columns), torch.argmax(state.k_columns)
    places += [int(a) * m + int(b) for a in of_rows for b in of_columns]
    draw = torch.Generator().manual_seed(0)
    places += torch.randint(0, n * m, (_CHECKED,), generator=draw).tolist()
    at = torch.tensor(places)
    return at // m, at % m

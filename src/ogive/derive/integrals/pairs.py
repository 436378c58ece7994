"""Integrals of g(u) g(v) over two correlated normal variables, by panels that resolve g.

v is written c u + s w with w independent of u and s = sqrt((1-c)(1+c)). Where s is not small the density in the
plane is smooth on the panels of u times those of v, split to a few s, and one Gauss rule on each product is enough.
Where the density is a narrow ridge the integral over w is done for each u by itself, cut where v meets a break point
of g, whatever the angle between the lines; what it leaves is a function of u as smooth as g blurred over s, so the
outer integral is cut at the break points of g(u) and on both sides of the images of the break points of g(v). Nothing
is expanded in c, so no correlation is near a singularity.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.derive.integrals.integrand import CONVERGED, cuts, program_of, slope_of
from ogive.derive.integrals.mesh import OUTSIDE, Mesh, mesh, shortfall
from ogive.derive.integrals.panels import BUDGET, adapt, rule
from ogive.errors import OgiveError

TOLERANCE = 2e-13
# What one inner panel may err by, relative to sqrt(E g(u)^2 E g(v)^2) and before the outer integral.
_FAIR = 2e-15
_ATTEMPTS = 8
_CHUNK = 24_000  # inner panels at a time: what the caches hold
# Where |w| exceeds this the density is below 1e-16 of its top, and beyond it as far as g grows.
_WINDOW = 8.6
_ENDS = (-1.0, -3.0 / _WINDOW, 3.0 / _WINDOW, 1.0)
# exp(-t^2/2) over 4 has a coefficient of degree 20 of 1e-10, so 20 nodes per 4 s see the ridge.
_RIDGE = 4.0
# Measured: below this the ridge costs less by itself.
_NARROW = 0.25


class Resolved:
    """A derivative of an activation with the panels that resolve it under every normal distribution asked for."""

    def __init__(self, act: Activation, slope: int, values: dict[str, float]) -> None:
        self.program = program_of(slope_of(act, slope), act)
        self.fixed = [torch.tensor(v, dtype=torch.float64) for v in values.values()]
        self.cuts = [c for k in range(slope + 1) for c in cuts(slope_of(act, k), act, values)]
        self._meshes: dict[tuple[float, float], Mesh] = {}
        self._points: dict[tuple[float, float, int], tuple[Tensor, Tensor, Tensor]] = {}

    def __call__(self, x: Tensor) -> Tensor:
        return self.program.run([x, *self.fixed], torch.float64).expand_as(x)

    def mesh(self, mean: float, std: float) -> Mesh:
        """The panels, kept."""
        if (mean, std) not in self._meshes:
            _bound(self._meshes)
            self._meshes[mean, std] = mesh(self, self.cuts, mean, std)
        return self._meshes[mean, std]

    def points(self, mean: float, std: float, level: int) -> tuple[Tensor, Tensor, Tensor]:
        """Nodes (panels, nodes), widths and values of g, on panels no wider than 2^-level, kept."""
        key = (mean, std, level)
        if key not in self._points:
            _bound(self._points)
            edges = self.mesh(mean, std).edges
            pieces = (edges.diff() * 2.0**level).ceil().long().clamp_min(1)
            lo = edges[:-1].repeat_interleave(pieces)
            width = (edges.diff() / pieces).repeat_interleave(pieces)
            lo = lo + width * (torch.arange(len(lo)) - (pieces.cumsum(0) - pieces).repeat_interleave(pieces))
            z = torch.addcmul(lo[:, None], width[:, None], rule()[0])
            self._points[key] = z, width, self(mean + std * z)
        return self._points[key]


def _bound(kept: dict[Any, Any]) -> None:
    if len(kept) >= 256:
        kept.clear()


@lru_cache(maxsize=64)
def resolved(act: Activation, slope: int, items: tuple[tuple[str, float], ...]) -> Resolved:
    """The ``slope``-th derivative of ``act`` with the parameters ``items``."""
    return Resolved(act, slope, dict(items))


def solve(g: Resolved, rows: Tensor) -> tuple[Tensor, Tensor]:
    """``E g(u) g(v)`` and error estimates; ``rows`` are correlation, means of u and v, standard deviations of u and v.

    Raises :class:`OgiveError` where it does not exist.
    """
    value, error = torch.full_like(rows[0], math.nan), torch.full_like(rows[0], math.inf)
    norm = torch.zeros_like(value)
    for i, (c, mu, mv, su, sv) in enumerate(rows.T.tolist()):
        norm[i] = g.mesh(mu, su).norm * g.mesh(mv, sv).norm
        s = math.sqrt((1.0 - c) * (1.0 + c))
        if s >= _NARROW:
            level = math.ceil(-math.log2(_RIDGE * s))
            value[i], error[i] = _product(g, c, s, (mu, su, level), (mv, sv, level))
    rest = (~(error <= 5e-13 * norm)).nonzero().flatten()
    if len(rest):
        value[rest], error[rest] = _Ridge(g, *rows[:, rest]).solve()
    error = error + 2.0 * math.sqrt(OUTSIDE) * norm
    if bool((~(error <= CONVERGED * norm) & (norm > 0.0)).any()):
        raise OgiveError("the expectation is infinite: the quadrature does not converge at a pole")
    return value, error


def _product(
    g: Resolved, c: float, s: float, of_u: tuple[float, float, int], of_v: tuple[float, float, int]
) -> tuple[float, float]:
    (u, width_u, g_u), (v, width_v, g_v) = g.points(*of_u), g.points(*of_v)
    w = rule()[1]
    density = torch.exp(-0.5 * u * u) * (g_u / (2.0 * math.pi * s))
    away = v.reshape(1, -1) - c * u.reshape(-1, 1)
    kernel = away.square_().mul_(-0.5 / (s * s)).exp_()
    # The integrand of one variable, the other integrated out, both ways round: what the nodes of each leave open.
    along_u = density * (kernel @ (g_v * w * width_v[:, None]).reshape(-1)).reshape(u.shape)
    along_v = g_v * ((density * w * width_u[:, None]).reshape(-1) @ kernel).reshape(v.shape)
    value = float(((along_u @ w) * width_u).sum())
    size = float(((along_u.abs() @ w) * width_u).sum())
    error = float(shortfall(along_u, width_u).sum() + shortfall(along_v, width_v).sum())
    return value, error + 2e-15 * size


class _Ridge:
    """Pairs of variables: row i has correlation c[i], the means and the standard deviations of u and v."""

    def __init__(self, g: Resolved, c: Tensor, mean_u: Tensor, mean_v: Tensor, std_u: Tensor, std_v: Tensor) -> None:
        self.g, self.c, self.mean, self.std = g, c, (mean_u, mean_v), (std_u, std_v)
        self.s = ((1.0 - c) * (1.0 + c)).sqrt()
        pairs = [list(zip(m.tolist(), s.tolist())) for m, s in zip(self.mean, self.std)]
        self.mesh = [[g.mesh(*p) for p in side] for side in pairs]
        self.norm = torch.tensor([a.norm * b.norm for a, b in zip(*self.mesh)], dtype=torch.float64)
        # The meshes of v as rows of one tensor, the last edge repeated.
        distinct = {p: g.mesh(*p) for p in pairs[1]}
        order = {p: i for i, p in enumerate(distinct)}
        longest = max(len(m.edges) for m in distinct.values())
        self.edges = torch.stack(
            [torch.cat([m.edges, m.edges[-1:].expand(longest - len(m.edges))]) for m in distinct.values()]
        )
        self.row = torch.tensor([order[p] for p in pairs[1]])
        self.worst = torch.zeros(len(c), dtype=torch.float64)

    def solve(self) -> tuple[Tensor, Tensor]:
        zero = torch.zeros_like(self.c)
        places = [self._places(i) for i in range(len(self.c))]
        every = torch.arange(len(zero))
        got = adapt(self._outer, places, zero, zero + 1.0, TOLERANCE, BUDGET, every, (), self.norm)
        span = torch.tensor([float(m.edges[-1] - m.edges[0]) for m in self.mesh[0]], dtype=torch.float64)
        return got.value[0], got.error[0] + span * self.worst

    def _places(self, i: int) -> list[float]:
        """Where the outer integral is cut: the mesh of u; and where w cannot blur it, the image of the mesh of v."""
        mesh_u, mesh_v, c, s = self.mesh[0][i], self.mesh[1][i], float(self.c[i]), float(self.s[i])
        own = mesh_u.edges.tolist()
        if s > 0.75 * abs(c):
            return own
        images = mesh_v.edges.tolist()
        for b in mesh_v.edges[mesh_v.breaks].tolist():
            images += [b - _WINDOW * s, b + _WINDOW * s]
        near, last, first, end = s / abs(c), -math.inf, own[0], own[-1]
        for place in sorted(p / c for p in images):
            # Closer than the blur there is nothing to resolve.
            if place - last > near and first < place < end:
                own.append(place)
                last = place
        return own

    def _outer(self, _: Tensor, z: Tensor, owner: Tensor) -> Tensor:
        mean, std = self.mean[0][owner][:, None], self.std[0][owner][:, None]
        g = self.g(mean + std * z) * (torch.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi))
        who = owner[:, None].expand_as(z)
        item, place, weight = who.reshape(-1), z.reshape(-1), g.reshape(-1)
        use = (weight != 0.0).nonzero().flatten()
        h = torch.zeros_like(weight)
        straight = self.s[item[use]] == 0.0
        if bool(straight.any()):
            k = use[straight]
            j = item[k]
            h[k] = self.g(self.mean[1][j] + self.std[1][j] * self.c[j] * place[k])
            use = use[~straight]
        step = max(1, _CHUNK // (self.edges.shape[1] + 3))
        for k in use.split(step):
            h[k] = self._inner(place[k], item[k], weight[k].abs())
        return (weight * h).reshape(z.shape)[None]

    def _inner(self, z: Tensor, item: Tensor, weight: Tensor) -> Tensor:
        """``E f(mean + std (c z + s w))`` over w, one value per z; ``weight`` is what it will be multiplied with."""
        c, s = self.c[item], self.s[item]
        edges = self.edges[self.row[item]]
        reach = _WINDOW + s * (edges.abs().amax(1) - 11.0).clamp_min(0.0)
        w = (edges - (c * z)[:, None]) / s[:, None]
        low, high = torch.maximum(-reach, w[:, 0]), torch.minimum(reach, w[:, -1])
        ends = reach[:, None] * torch.tensor(_ENDS, dtype=torch.float64)
        w = torch.cat([w, ends], 1).clamp(low[:, None], high[:, None]).sort(1).values
        real = w[:, 1:] > w[:, :-1]
        lo, hi = w[:, :-1][real], w[:, 1:][real]
        node = torch.arange(len(z))[:, None].expand_as(real)[real]
        h = torch.zeros_like(z)
        limit = _FAIR * self.norm[item] / weight
        centre, spread = self.mean[1][item] + self.std[1][item] * c * z, self.std[1][item] * s
        x, rule_w = rule()
        for attempt in range(_ATTEMPTS):
            width = hi - lo
            at = torch.addcmul(lo[:, None], width[:, None], x)
            y = self.g(torch.addcmul(centre[node][:, None], spread[node][:, None], at))
            y = y * (torch.exp(-0.5 * at * at) / math.sqrt(2.0 * math.pi))
            error = shortfall(y, width)
            split = error > limit[node]
            done = ~split if attempt + 1 < _ATTEMPTS else torch.ones_like(split)
            h = h.index_add(0, node[done], ((y @ rule_w) * width)[done])
            left = torch.zeros_like(z).index_add(0, node[done], error[done])
            self.worst = self.worst.scatter_reduce(0, item, left * weight, "amax")
            if bool(done.all()):
                break
            mid = 0.5 * (lo + hi)
            lo, hi = torch.cat([lo[split], mid[split]]), torch.cat([mid[split], hi[split]])
            node = torch.cat([node[split], node[split]])
        return h

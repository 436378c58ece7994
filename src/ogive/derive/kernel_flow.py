"""Residual networks of great depth and width: the flow of lengths and correlations, and real networks beside it.

In ``y -> y + (W f(y) + b)/sqrt(L)``, L layers, weights of variance sigma_w^2/width and biases of variance sigma_b^2,
each layer adds 1/L of the covariance it makes. So in the limit the covariance of two inputs follows, over a time t from
0 to 1 (the share of the layers passed),

    dK(x, y)/dt = sigma_b^2 + sigma_w^2 E f(u) f(v),     (u, v) ~ N(0, K),

whichever of depth and width goes to infinity first, because the fluctuations of one layer, of order 1/width, come with
a weight of 1/L. A plain stack gains fluctuations of order 1/width from every layer, and the limits do not commute.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ogive.derive.dual import dual
from ogive.derive.wide.maps import Maps
from ogive.errors import OgiveError, ParameterError

_MOST = 256  # steps
State = tuple[float, float, float]


@dataclass(frozen=True)
class KernelFlow:
    """Variances ``q`` and ``q2`` of two inputs and their correlation ``c`` at ``times``; ``error`` estimates the
    largest relative error of a variance and absolute one of a correlation."""

    activation: str
    times: tuple[float, ...]
    q: tuple[float, ...]
    q2: tuple[float, ...]
    c: tuple[float, ...]
    error: float

    def __repr__(self) -> str:
        ends = f"q {self.q[0]:.6g} to {self.q[-1]:.6g}, c {self.c[0]:.6g} to {self.c[-1]:.6g}"
        return f"KernelFlow({self.activation}, time {self.times[-1]:.6g}: {ends}, error {self.error:.0e})"

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


def kernel_flow(
    spec: Any,
    q: float = 1.0,
    c: float = 0.0,
    *,
    q2: float | None = None,
    time: float = 1.0,
    sigma_w: float = 1.0,
    sigma_b: float = 0.0,
    tol: float = 1e-9,
    **params: float,
) -> KernelFlow:
    """``dq/dt = sigma_b^2 + sigma_w^2 E f(sqrt(q) z)^2`` and, with k = c sqrt(q q2), ``dk/dt`` as of the module's head.

    Args:
        spec: an activation of one input.
        q, q2: variances at time 0, above 0; q2 is q when left out.
        c: the correlation at time 0, in [-1, 1].
        time: the end, above 0; 1 for branches of 1/sqrt(layers), a^2 for a/sqrt(layers).
        sigma_w, sigma_b: as in :func:`ogive.mean_field`.
        tol: the error aimed at, by halving of the steps (Runge and Kutta's of order 4).

    Raises :class:`~ogive.errors.ParameterError` for numbers out of range and :class:`~ogive.errors.OgiveError` where a
    variance leaves float64, a moment is infinite, or 256 steps do not reach ``tol``.
    Source: Hayou and Yang 2023 ("Width and depth limits commute in residual networks").

    >>> flow = kernel_flow("relu", sigma_w=2**0.5)
    >>> round(flow.q[-1] / math.e, 9), round(flow.c[-1], 6)
    (1.0, 0.253859)
    """
    maps = Maps(spec, sigma_w, sigma_b, **params)
    what = f"the kernel flow of {maps.act.label}"
    other = q if q2 is None else q2
    for name, value in (("q", q), ("q2", other), ("time", time), ("tol", tol)):
        if not 0.0 < value < math.inf:
            raise ParameterError(f"{what}: {name}={value!r}; it takes a finite number above 0")
    if not -1.0 <= c <= 1.0:
        raise ParameterError(f"{what}: c={c!r}; a correlation lies in [-1, 1]")
    one = c == 1.0 and other == q
    start = (math.log(q), math.log(other), q if one else c * math.sqrt(q * other))

    def rate(s: State) -> State:
        # In log q a length that grows exponentially is a line.
        if not all(abs(v) < 600.0 for v in s[:2]):
            raise OgiveError(f"{what}: the variance leaves float64; take a shorter time or a smaller sigma_w")
        a, b = math.exp(s[0]), math.exp(s[1])
        grown = [maps.sigma_b**2 + maps.sigma_w**2 * maps.moments(v)[0][0] for v in (a, b)]
        if not all(map(math.isfinite, grown)):
            raise OgiveError(f"{what}: E f^2 is infinite at a variance of {max(a, b):.6g}")
        if one:
            return grown[0] / a, grown[1] / b, grown[0]
        r = min(1.0, max(-1.0, s[2] / math.sqrt(a * b)))
        cross = dual(maps.bound, r, std=(math.sqrt(a), math.sqrt(b))).value
        return grown[0] / a, grown[1] / b, maps.sigma_b**2 + maps.sigma_w**2 * cross

    steps, path, error = 4, _runge_kutta(rate, start, time, 4), math.inf
    while error > tol:
        if steps >= _MOST:
            raise OgiveError(f"{what}: {steps} steps leave an error of {error:.1e}; take a larger tol")
        steps *= 2
        finer = _runge_kutta(rate, start, time, steps)
        # Of order 4: the finer path is 16 times as good as the coarser, so off by a fifteenth of their difference.
        error = max(_apart(u, v) for u, v in zip(path, finer[::2])) / 15.0
        path = finer
    places = [time * i / steps for i in range(steps + 1)]
    rows = [(math.exp(u), math.exp(v), k) for u, v, k in path]
    c_path = tuple(min(1.0, max(-1.0, k / math.sqrt(u * v))) for u, v, k in rows)
    columns = (tuple(r[0] for r in rows), tuple(r[1] for r in rows))
    return KernelFlow(maps.act.label, tuple(places), *columns, c_path, error)


def _runge_kutta(rate: Any, start: State, time: float, steps: int) -> list[State]:
    h, path = time / steps, [start]
    for _ in range(steps):
        s = path[-1]
        k1 = rate(s)
        k2 = rate(_moved(s, k1, 0.5 * h))
        k3 = rate(_moved(s, k2, 0.5 * h))
        k4 = rate(_moved(s, k3, h))
        mean = tuple((a + 2.0 * b + 2.0 * c + d) / 6.0 for a, b, c, d in zip(k1, k2, k3, k4))
        path.append(_moved(s, (mean[0], mean[1], mean[2]), h))
    return path


def _moved(s: State, k: State, h: float) -> State:
    return s[0] + h * k[0], s[1] + h * k[1], s[2] + h * k[2]


def _apart(u: State, v: State) -> float:
    scale = math.exp(0.5 * (v[0] + v[1]))
    return max(abs(u[0] - v[0]), abs(u[1] - v[1]), abs(u[2] - v[2]) / scale)


@dataclass(frozen=True)
class Ensemble:
    """Random networks at one depth and width: means over networks of the two variances and the correlation of the
    last layer, their standard errors, the root mean square relative spread of the first variance between networks, and
    the Kolmogorov-Smirnov distance of a unit's distribution from the normal one of variance ``q``."""

    depth: int
    width: int
    means: tuple[float, float, float]
    errors: tuple[float, float, float]
    spread: float
    distance: float

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


def residual_networks(
    spec: Any,
    depth: int,
    width: int,
    *,
    q: float = 1.0,
    c: float = 0.0,
    limit: float | None = None,
    skip: float = 1.0,
    branch: float | None = None,
    sigma_w: float = 1.0,
    sigma_b: float = 0.0,
    networks: int = 1000,
    generator: torch.Generator | None = None,
    **params: float,
) -> Ensemble:
    """Draw networks ``y -> skip y + branch (W f(y) + b)`` and measure two inputs of variance ``q``, correlation ``c``.

    Args:
        spec: an activation of one input.
        depth, width: layers and units, from 1 and 2.
        limit: the variance of the normal distribution that the last layer's units are held against; by default the
            mean over the networks.
        skip, branch: by default a residual network with branches of 1/sqrt(depth); skip 0 and branch 1 make a plain
            stack.
        networks: from 2.
        generator: of the networks.

    The weights of a layer act on two vectors only, and every unit's pair of pre-activations is normal with the
    vectors' Gram matrix; those pairs are drawn instead of the weights, which leaves the distribution what it is.

    >>> got = residual_networks("relu", 30, 30, sigma_w=2**0.5, generator=torch.Generator().manual_seed(0))
    >>> abs(got.means[0] - math.e) < 5 * got.errors[0] + 0.1
    True
    """
    maps = Maps(spec, sigma_w, sigma_b, **params)
    what = f"networks of {maps.act.label}"
    for name, value, least in (("depth", depth, 1), ("width", width, 2), ("networks", networks, 2)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ParameterError(f"{what}: {name}={value!r}; it takes an integer from {least}")
    if not (0.0 < q < math.inf and -1.0 <= c <= 1.0):
        raise ParameterError(f"{what}: q={q!r}, c={c!r}; it takes q above 0 and a correlation in [-1, 1]")
    scale = 1.0 / math.sqrt(depth) if branch is None else branch

    def draw() -> Tensor:
        return torch.randn(2, networks, width, generator=generator, dtype=torch.float64)

    u, v = draw() * math.sqrt(q)
    v = c * u + math.sqrt(1.0 - c * c) * v
    bias, w = maps.sigma_b**2, maps.sigma_w**2 / width
    for _ in range(depth):
        f, g = maps.bound(u), maps.bound(v)
        a, b, k = (bias + w * (x * y).sum(1, keepdim=True) for x, y in ((f, f), (g, g), (f, g)))
        first, second = draw()
        slope = k / a.clamp_min(1e-300)
        u = skip * u + scale * a.sqrt() * first
        v = skip * v + scale * (slope * a.sqrt() * first + (b - slope * k).clamp_min(0.0).sqrt() * second)
    lengths = [(x * y).mean(1) for x, y in ((u, u), (v, v), (u, v))]
    alive = (lengths[0] > 0.0) & (lengths[1] > 0.0)  # a correlation is asked of networks with two outputs
    cosines = (lengths[2] / (lengths[0] * lengths[1]).sqrt())[alive]
    values = (lengths[0], lengths[1], cosines)
    means = [float(v.mean()) for v in values]
    errors = [float(v.std()) / math.sqrt(max(len(v), 1)) for v in values]
    variance = means[0] if limit is None else limit
    spread = float((lengths[0] / means[0] - 1.0).square().mean().sqrt())
    return Ensemble(depth, width, (means[0], means[1], means[2]), (errors[0], errors[1], errors[2]), spread,
                    distance_from_normal(u, variance))  # fmt: skip


def distance_from_normal(sample: Tensor, variance: float) -> float:
    """The Kolmogorov-Smirnov distance of a sample from N(0, variance)."""
    x = sample.flatten().double().sort().values
    n = len(x)
    below = 0.5 * torch.erfc(-x / math.sqrt(2.0 * variance))
    place = torch.arange(n, dtype=torch.float64) / n
    return float(torch.maximum(below - place, place + 1.0 / n - below).max())

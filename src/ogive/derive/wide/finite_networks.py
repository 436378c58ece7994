"""Random networks of finite width, drawn and measured: lengths, tangent kernels and how both fluctuate."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.derive.fluctuations import WEIGHTS
from ogive.errors import ParameterError
from ogive.lookup import scalar

_BLOCK = 1 << 22  # elements of one layer's matrices at a time: memory


class Estimate(NamedTuple):
    """A mean over networks and its standard error."""

    value: float
    error: float


@dataclass(frozen=True)
class Correlations:
    """What :func:`~ogive.derive.fluctuations.fluctuations` predicts, measured: a list of layers for each quantity."""

    activation: str
    weights: str
    width: int
    networks: int
    lengths: tuple[Estimate, ...]
    tangents: tuple[Estimate, ...]
    vertex: tuple[Estimate, ...]
    tangent_vertex: tuple[Estimate, ...]
    tangent_mixing: tuple[Estimate, ...]
    cross: tuple[Estimate, ...]
    cross_mixing: tuple[Estimate, ...]

    def __repr__(self) -> str:
        what = f"{self.activation}, {self.weights}, width {self.width}, {len(self.lengths)} layers"
        vertex = f"vertex {self.vertex[-1].value:.4g} +- {self.vertex[-1].error:.2g}"
        return f"Correlations({what}, {self.networks} networks: {vertex})"

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


def correlations(
    spec: Any,
    depth: int,
    width: int,
    sigma_w: float = 1.0,
    sigma_b: float = 0.0,
    *,
    weights: str = "gaussian",
    q: float = 1.0,
    networks: int = 1000,
    generator: torch.Generator | None = None,
    **params: float,
) -> Correlations:
    """Lengths, tangent kernel and their four-point correlations in ``networks`` random networks, with standard errors.

    Arguments and quantities are those of :func:`~ogive.derive.fluctuations.fluctuations`, each an average over all
    units or pairs of units; correlations are taken about the mean of the sample, which lowers them by 1/networks of
    themselves. The matrices of the tangent kernel are carried up exactly, 2 width^3 operations a layer and network.

    >>> got = correlations("tanh", 3, 16, networks=200, generator=torch.Generator().manual_seed(0))
    >>> abs(got.lengths[0].value - 1.0) < 5 * got.lengths[0].error, len(got.vertex)
    (True, 3)
    """
    act, values = scalar(spec, "correlations", params)
    what = f"correlations of {act.label}"
    for name, value, least in (("depth", depth, 1), ("width", width, 2), ("networks", networks, 2)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ParameterError(f"{what}: {name}={value!r}; it takes an integer from {least}")
    if weights not in WEIGHTS:
        raise ParameterError(f"{what}: weights={weights!r}; it takes {' or '.join(WEIGHTS)}")
    if not (sigma_w > 0.0 and sigma_b >= 0.0 and q > sigma_b**2 and math.isfinite(q + sigma_w)):
        raise ParameterError(f"{what}: sigma_w={sigma_w!r}, sigma_b={sigma_b!r}, q={q!r}; it takes sigma_w above 0 and "
                             "q above sigma_b^2")  # fmt: skip
    bound = act.with_params(**values) if values else act
    size = max(1, min(networks, _BLOCK // width**2))
    counts = [size] * (networks // size) + ([networks % size] if networks % size else [])
    parts = [_stack(bound, depth, width, sigma_w, sigma_b, weights == "orthogonal", q, c, generator) for c in counts]
    raw = torch.cat(parts, 2)  # (layers, quantities, networks)
    k, t = raw[:, 0].mean(1, keepdim=True), raw[:, 1].mean(1, keepdim=True)
    pairs = ((raw[:, 2] - k * k) / k**2, (raw[:, 3] - t * t) / t**2, raw[:, 4] / t**2)
    mixed = ((raw[:, 5] - k * t) / (k * t), raw[:, 6] / (k * t))
    # About the sample's mean m the average of x y - m^2 has the spread of x y - 2 m x: that of the fluctuations alone.
    shift = (2.0 * (raw[:, 0] - k) / k, 2.0 * (raw[:, 1] - t) / t, 0.0 * t)
    both = (raw[:, 0] - k) / k + (raw[:, 1] - t) / t
    rows = [_estimates(raw[:, 0], raw[:, 0]), _estimates(raw[:, 1], raw[:, 1])]
    rows += [_estimates(width * v, width * (v - s)) for v, s in zip((*pairs, *mixed), (*shift, both, 0.0 * t))]
    return Correlations(act.label, weights, width, networks, *rows)


def _estimates(value: Tensor, spread: Tensor) -> tuple[Estimate, ...]:
    error = spread.std(1) / math.sqrt(value.shape[1])
    return tuple(Estimate(*pair) for pair in zip(value.mean(1).tolist(), error.tolist()))


def _stack(
    act: Activation,
    depth: int,
    n: int,
    sigma_w: float,
    sigma_b: float,
    turned: bool,
    q: float,
    count: int,
    g: torch.Generator | None,
) -> Tensor:
    """K, T, z1^2 z2^2, T11 T22, T12^2, z1^2 T22, z1 z2 T12 of every layer and network."""

    def linear() -> Tensor:
        w = torch.randn(count, n, n, generator=g, dtype=torch.float64)
        if not turned:
            return w * (sigma_w / math.sqrt(n))
        basis, triangle = torch.linalg.qr(w)
        # Columns with the signs of the triangle's diagonal: the Haar measure (Mezzadri 2007).
        return basis * triangle.diagonal(dim1=1, dim2=2).sign()[:, None] * sigma_w

    def biases() -> Tensor:
        return sigma_b * torch.randn(count, n, generator=g, dtype=torch.float64)

    one = torch.eye(n, dtype=torch.float64)
    z = linear()[:, :, 0] * (math.sqrt((q - sigma_b**2) * n) / sigma_w) + biases()
    t = (one * q).expand(count, n, n)
    rows = []
    for layer in range(depth):
        if layer:
            leaf = z.detach().requires_grad_()
            with torch.enable_grad():
                y = act(leaf)
                (rise,) = torch.autograd.grad(y.sum(), leaf)
            f, w = y.detach(), linear()
            j = w * rise[:, None]
            own = sigma_b**2 + sigma_w**2 * (f * f).mean(1)
            t = j @ t @ j.transpose(1, 2) + own[:, None, None] * one
            z = (w @ f[:, :, None])[:, :, 0] + biases()
        s, d = z * z, t.diagonal(dim1=1, dim2=2)
        inside = (torch.einsum("bi,bij,bj->b", z, t, z) - (s * d).sum(1), t.square().sum((1, 2)) - d.square().sum(1))
        pairs = [a.sum(1) * b.sum(1) - (a * b).sum(1) for a, b in ((s, s), (d, d), (s, d))]
        across = [v / (n * (n - 1)) for v in (pairs[0], pairs[1], inside[1], pairs[2], inside[0])]
        rows.append(torch.stack([s.mean(1), d.mean(1), *across]))
    return torch.stack(rows)

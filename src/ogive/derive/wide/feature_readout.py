"""How many random features a function needs: a read-out of a finite random network against the function that the
network of infinite width holds.

Functions ``g = sum a_i K(x_i, .)`` with the kernel K of the infinite network (NNGP) have the norm ``a K a`` of its
reproducing kernel Hilbert space. With n units in each hidden layer, ``K_n(x, y) = sigma_b^2 + sigma_w^2 f(x).f(y)/n``
stands for K; ``sum a_i K_n(x_i, .)`` is a read-out of n features whose mean square error is at most of the order of
``norm^2 K(x, x)/n``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.derive.kernel_limit import kernel_limit
from ogive.errors import InputError, OgiveError, ParameterError
from ogive.lookup import scalar


@dataclass(frozen=True)
class Readout:
    """Errors of read-outs by the number of features, relative to the root mean square of the function at the test
    inputs: ``averaged`` of the read-out that the function's own coefficients give, ``fitted`` of ridge regression on
    the targets, as the function is that of the infinite network. ``norm`` is the norm in the RKHS, ``size`` the root
    mean square, ``constant`` the averaged error times sqrt(features)/(norm sqrt(K)), largest over the counts;
    ``slopes`` are those of log error by log features, averaged and fitted.
    """

    activation: str
    depth: int
    norm: float
    size: float
    counts: tuple[int, ...]
    averaged: tuple[float, ...]
    fitted: tuple[float, ...]
    slopes: tuple[float, float]
    constant: float

    def __repr__(self) -> str:
        ends = (
            f"{self.counts[0]} to {self.counts[-1]} features: error {self.averaged[0]:.3g} to {self.averaged[-1]:.3g}"
        )
        slopes = f"slopes {self.slopes[0]:.3f} averaged, {self.slopes[1]:.3f} fitted"
        return f"Readout({self.activation}, depth {self.depth}, norm {self.norm:.4g}; {ends}, {slopes})"

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


def readout(
    spec: Any,
    x: Tensor,
    targets: Tensor,
    test: Tensor,
    counts: Sequence[int],
    *,
    depth: int = 1,
    sigma_w: float = 1.0,
    sigma_b: float = 0.0,
    noise: float = 0.1,
    repeats: int = 8,
    generator: torch.Generator | None = None,
    **params: float,
) -> Readout:
    """Errors of read-outs of ``counts`` random features a layer for the posterior mean of the infinite network.

    Args:
        spec: an activation of one input.
        x, targets: inputs (n, d) and values (n,); the function is ``K(., x) (K + noise K(x, x))^-1 targets``.
        test: inputs (m, d) at which errors are measured.
        counts: units of every hidden layer, ascending, two or more.
        depth, sigma_w, sigma_b: as in :func:`~ogive.derive.kernel_limit.kernel_limit`.
        noise: relative to the mean of the kernel's diagonal, above 0: the smaller, the larger the norm.
        repeats: networks for each count.
        generator: of the networks.

    Raises:
        ParameterError, InputError: for numbers out of range and tensors that do not fit.
        OgiveError: where a moment is infinite.

    Source: Rahimi and Recht 2008 (the rate), Cho and Saul 2009 and Lee et al. 2018 (the kernels of deep networks).

    >>> g = torch.Generator().manual_seed(0)
    >>> x, y = torch.randn(20, 5, generator=g), torch.randn(20, generator=g)
    >>> got = readout("relu", x[:15], y[:15], x[15:], [64, 256, 1024], generator=g)
    >>> -0.8 < got.slopes[0] < -0.2
    True
    """
    act, values = scalar(spec, "a read-out", params)
    what = f"a read-out of features of {act.label}"
    if len(counts) < 2 or any(isinstance(c, bool) or not isinstance(c, int) or c < 1 for c in counts):
        raise ParameterError(f"{what}: counts={counts!r}; it takes two or more integers from 1")
    if list(counts) != sorted(set(counts)):
        raise ParameterError(f"{what}: counts={counts!r}; they ascend")
    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
        raise ParameterError(f"{what}: repeats={repeats!r}; it takes an integer from 1")
    if not 0.0 < noise < math.inf:
        raise ParameterError(f"{what}: noise={noise!r}; it takes a finite number above 0")
    if not isinstance(targets, Tensor) or targets.shape != x.shape[:1]:
        shape = tuple(targets.shape) if isinstance(targets, Tensor) else type(targets).__name__
        raise InputError(f"{what}: targets is {shape}; it takes ({len(x)},) numbers, one for each row of x")
    options: dict[str, Any] = {"depth": depth, "sigma_w": sigma_w, "sigma_b": sigma_b, "tangent": False, **params}
    kernel = kernel_limit(spec, x, **options)
    across = kernel_limit(spec, test, x, **options)
    level = float(kernel.x_variance.mean())
    y, lift = targets.detach().to("cpu", torch.float64), noise * level * torch.eye(len(x), dtype=torch.float64)
    factor, failed = torch.linalg.cholesky_ex(kernel.nngp + lift)
    if int(failed):
        raise OgiveError(f"{what}: the kernel is not positive definite to its errors; take a larger noise")
    a = torch.cholesky_solve(y[:, None], factor)[:, 0]
    norm, there = math.sqrt(float(a @ kernel.nngp @ a)), across.nngp @ a
    size = float(there.square().mean().sqrt())
    bound = act.with_params(**values) if values else act
    inputs = torch.cat([x, test]).detach().to("cpu", torch.float64)
    averaged, fitted = [], []
    for count in counts:
        squares = torch.zeros(2, dtype=torch.float64)
        for _ in range(repeats):
            features = _features(bound, inputs, count, depth, sigma_w, sigma_b, generator)
            known, asked = features[: len(x)], features[len(x) :]
            first = asked @ (known.T @ a)
            again = known @ known.T + lift
            second = asked @ (known.T @ torch.linalg.solve(again, y))
            squares += torch.stack([(v - there).square().mean() for v in (first, second)]) / repeats
        averaged.append(math.sqrt(float(squares[0])) / size)
        fitted.append(math.sqrt(float(squares[1])) / size)
    constant = max(e * size * math.sqrt(c) for e, c in zip(averaged, counts)) / (norm * math.sqrt(level))
    slopes = (slope(counts, averaged), slope(counts, fitted))
    return Readout(act.label, depth, norm, size, tuple(counts), tuple(averaged), tuple(fitted), slopes, constant)


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """The slope of the least-squares line through (log x, log y)."""
    u, v = (torch.tensor([float(t) for t in s], dtype=torch.float64).log() for s in (x, y))
    u = u - u.mean()
    return float((u * v).sum() / (u * u).sum())


def _features(
    act: Activation, x: Tensor, count: int, depth: int, sigma_w: float, sigma_b: float, g: torch.Generator | None
) -> Tensor:
    """What the last linear layer multiplies, (inputs, count + 1), scaled so that products stand for the kernel."""
    for _ in range(depth):
        w = torch.randn(x.shape[1], count, generator=g, dtype=torch.float64) * (sigma_w / math.sqrt(x.shape[1]))
        x = act(x @ w + sigma_b * torch.randn(count, generator=g, dtype=torch.float64))
    last = x * (sigma_w / math.sqrt(count))
    return torch.cat([last, torch.full((len(x), 1), float(sigma_b), dtype=torch.float64)], 1)

"""Deep random features: fixed random layers and a linear read-out by ridge regression, predicted without any data.

Of inputs x ~ N(0, S) a hidden unit is f(h), h normal with mean m and standard deviation s; by its first two Hermite
coefficients it is k0 + k1 (h - m) plus what is orthogonal to both, of variance k*^2 = E f^2 - k0^2 - s^2 k1^2 and,
between two units of a wide layer, nearly uncorrelated. So the features of a layer have the covariance

    O' = k1 W O W^T k1 + k*^2,      k0 = E f(m + s z),   k1 = E[z f(m + s z)]/s,

O the covariance of the layer below, and the test error of ridge regression is that of normal features of this
covariance. Each unit has its own m, s and so its own k0, k1, k*: that of a function with a mean, as relu, a layer's
mean moves the units of the next one apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.derive.moments import hermite, moments
from ogive.errors import InputError, OgiveError, ParameterError
from ogive.lookup import scalar


@dataclass(frozen=True)
class Layer:
    """One layer's coefficients, the roots of their mean squares over the units."""

    width: int
    k0: float
    k1: float
    k_star: float


@dataclass(frozen=True)
class RidgeError:
    """The predicted error of ridge regression with an intercept on ``samples`` examples.

    ``test`` and ``train`` are mean squared errors, the noise of the targets among them; ``floor`` is the error of the
    best read-out of these features, ``variance`` that of the target; ``effective`` the ridge that acts on the
    covariance itself, ``freedom`` the share of the samples that the fit uses up.
    """

    samples: int
    ridge: float
    test: float
    train: float
    floor: float
    variance: float
    effective: float
    freedom: float

    def __repr__(self) -> str:
        return (
            f"RidgeError({self.samples} samples, ridge {self.ridge:.4g}: test {self.test:.6g}, train {self.train:.6g}, "
            f"floor {self.floor:.6g} of {self.variance:.6g})"
        )

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class DeepFeatures:
    """A stack of random layers and the linearised statistics of its last one.

    ``weights`` are the matrices drawn, (units, units below); ``mean`` (p,) and ``covariance`` (p, p) are those of the
    features of normal inputs with the covariance ``inputs``, ``signal`` (p, d) their covariance with the inputs.
    """

    act: Activation
    weights: tuple[Tensor, ...]
    inputs: Tensor
    mean: Tensor
    covariance: Tensor
    signal: Tensor
    layers: tuple[Layer, ...]

    def __repr__(self) -> str:
        rows = "; ".join(f"{r.width}: k0 {r.k0:.4g}, k1 {r.k1:.4g}, k* {r.k_star:.4g}" for r in self.layers)
        return f"DeepFeatures({self.act.label}, {self.inputs.shape[0]} inputs; {rows})"

    def __call__(self, x: Tensor) -> Tensor:
        """The features (n, p) of inputs (n, d)."""
        for w in self.weights:
            x = self.act(x @ w.T)
        return x

    def ridge(
        self, samples: int, ridge: float, *, target: Tensor, noise: float = 0.0, of: str = "inputs"
    ) -> RidgeError:
        """The error of ``argmin mean (y - a - w.features)^2 + ridge |w|^2``, averaged over the examples.

        With O the covariance, n the examples less one for the intercept, w the best read-out and k the root of
        ``ridge = k (1 - tr O (O + k)^-1/n)``, the error is ``(k^2 w O (O + k)^-2 w + floor)/(1 - tr O^2 (O + k)^-2/n)``
        and on the examples ``(ridge/k)^2`` times that.

        Args:
            samples: examples, from 2.
            ridge: above 0.
            target: coefficients of the target, linear in the "inputs" (d,) or in the "features" (p,) themselves.
            noise: variance of the noise of the targets, from 0.

        Source: Loureiro et al. 2021 (ridge of any features with the moments of normal ones), Schröder et al. 2023
        (that deep random features are such).

        >>> stack = deep_features("tanh", [400], inputs=200, generator=torch.Generator().manual_seed(0))
        >>> line = torch.ones(200, dtype=torch.float64) / 200**0.5
        >>> stack.ridge(300, 1e-2, target=line).test < stack.ridge(150, 1e-2, target=line).test < 1.0
        True
        """
        what = f"ridge regression on features of {self.act.label}"
        if isinstance(samples, bool) or not isinstance(samples, int) or samples < 2:
            raise ParameterError(f"{what}: samples={samples!r}; it takes an integer from 2")
        if not 0.0 < ridge < math.inf:
            raise ParameterError(f"{what}: ridge={ridge!r}; it takes a finite number above 0")
        if not 0.0 <= noise < math.inf:
            raise ParameterError(f"{what}: noise={noise!r}; it takes a finite number from 0")
        sides = {"inputs": (self.signal, self.inputs), "features": (self.covariance, self.covariance)}
        if of not in sides:
            raise ParameterError(f"{what}: of={of!r}; it takes inputs or features")
        cross, own = sides[of]
        if not isinstance(target, Tensor) or target.shape != own.shape[:1]:
            shape = tuple(target.shape) if isinstance(target, Tensor) else type(target).__name__
            raise InputError(f"{what}: target is {shape}; it takes ({own.shape[0]},) numbers, one for each of the {of}")
        t = target.detach().to("cpu", torch.float64)
        values, vectors = torch.linalg.eigh(self.covariance)
        values = values.clamp_min(0.0)
        along = vectors.T @ (cross @ t)
        # Directions without variance carry nothing, and what rounding put there is not a target.
        seen = values > 1e-13 * values[-1]
        explained = float((along[seen] ** 2 / values[seen]).sum())
        variance = float(t @ own @ t) + noise
        floor = max(variance - explained, noise)
        n = samples - 1
        k = _effective(values, ridge, n)
        shrunk = values / (values + k)
        bias = float((along[seen] ** 2 * values[seen].reciprocal() * (1.0 - shrunk[seen]) ** 2).sum())
        freedom = float((shrunk**2).sum()) / n
        test = (bias + floor) / (1.0 - freedom)
        return RidgeError(samples, ridge, test, test * (ridge / k) ** 2, floor, variance, k, freedom)


def deep_features(
    spec: Any,
    widths: Sequence[int],
    *,
    inputs: int | Tensor,
    sigma_w: float = 1.0,
    generator: torch.Generator | None = None,
    **params: float,
) -> DeepFeatures:
    """Draw layers with weights of variance sigma_w^2/fan_in and work out the linearised covariance of each.

    Args:
        spec: an activation of one input.
        widths: units of each hidden layer, from the first.
        inputs: how many inputs, of variance 1 and independent, or their covariance (d, d).
        sigma_w: above 0.
        generator: of the weights.
        params: numbers that replace defaults of the activation's parameters.

    Raises:
        ParameterError, InputError: for sizes and numbers out of range.
        OgiveError: where E f^2 is infinite.

    What is left out is of order 1/width. Source: Schröder, Cui, Dmitriev and Loureiro 2023 ("Deterministic equivalent
    and error universality of deep random features learning"), there with one k1 and k* a layer and without a mean.

    >>> deep_features("x", [50, 40], inputs=60).layers[1].k1
    1.0
    """
    act, values = scalar(spec, "random features", params)
    what = f"random features of {act.label}"
    if not widths or any(isinstance(w, bool) or not isinstance(w, int) or w < 1 for w in widths):
        raise ParameterError(f"{what}: widths={widths!r}; it takes one integer from 1 for each layer")
    if not 0.0 < sigma_w < math.inf:
        raise ParameterError(f"{what}: sigma_w={sigma_w!r}; it takes a finite number above 0")
    bound = act.with_params(**values) if values else act
    start = _covariance(what, inputs)
    mean, covariance, signal = torch.zeros(len(start), dtype=torch.float64), start, start
    weights, layers = [], []
    for width in widths:
        draw = torch.randn(width, len(mean), generator=generator, dtype=torch.float64)
        w = draw * (sigma_w / math.sqrt(len(mean)))
        below = w @ covariance
        mean, (k0, k1, rest) = w @ mean, _coefficients(bound, w @ mean, (below * w).sum(1).sqrt())
        covariance = k1[:, None] * (below @ w.T) * k1 + torch.diag(rest)
        signal = k1[:, None] * (w @ signal)
        mean = k0
        weights.append(w)
        layers.append(Layer(width, *(math.sqrt(float(v.mean())) for v in (k0**2, k1**2, rest))))
    return DeepFeatures(bound, tuple(weights), start, mean, 0.5 * (covariance + covariance.T), signal, tuple(layers))


def _coefficients(act: Activation, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """k0, k1 and k*^2 of every unit."""
    a, _ = hermite(act, 1, mean, std)
    second, _ = moments(act, [(2,)], mean, std)
    return a[0], a[1] / std, (second[0] - a[0] ** 2 - a[1] ** 2).clamp_min(0.0)


def _covariance(what: str, inputs: int | Tensor) -> Tensor:
    if isinstance(inputs, int) and not isinstance(inputs, bool) and inputs >= 1:
        return torch.eye(inputs, dtype=torch.float64)
    if not isinstance(inputs, Tensor) or inputs.dim() != 2 or inputs.shape[0] != inputs.shape[1] or 0 in inputs.shape:
        shape = tuple(inputs.shape) if isinstance(inputs, Tensor) else repr(inputs)
        raise InputError(f"{what}: inputs is {shape}; it takes a number of inputs from 1 or their covariance, (d, d)")
    given = inputs.detach().to("cpu", torch.float64)
    if not bool(torch.isfinite(given).all()) or float((given - given.T).abs().max()) > 1e-10 * float(given.abs().max()):
        raise InputError(f"{what}: the covariance of the inputs is not a finite symmetric matrix")
    if float(torch.linalg.eigvalsh(given)[0]) < -1e-10 * float(given.diagonal().max()):
        raise InputError(f"{what}: the covariance of the inputs has an eigenvalue below 0")
    return given


def _effective(values: Tensor, ridge: float, samples: int) -> float:
    """The k above 0 with k (1 - tr O (O + k)^-1/n) = ridge: the left side increases with k from where it is 0."""

    def left(k: float) -> float:
        return k - k * float((values / (values + k)).sum()) / samples

    low, high = ridge, ridge + float(values.sum()) / samples
    for _ in range(200):
        middle = math.sqrt(low * high) if high > 4.0 * low else 0.5 * (low + high)
        if not low < middle < high:
            break
        if left(middle) < ridge:
            low = middle
        else:
            high = middle
    if not math.isfinite(high):
        raise OgiveError(f"the features' covariance is not finite; ridge {ridge:.3g} has no effective value")
    return 0.5 * (low + high)

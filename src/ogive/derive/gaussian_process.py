"""Gaussian-process inference with the kernels of an infinitely wide network: mean, variance, classes, leave-one-out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ogive.derive.kernel_limit import kernel_limit
from ogive.errors import InputError, OgiveError, ParameterError

KINDS = ("nngp", "ntk")


@dataclass(frozen=True)
class Posterior:
    """Mean (m, outputs) and variance (m,) of the function, the same for every output, at m inputs.

    ``classes`` holds the label of the largest mean where targets were labels. ``error`` is the largest relative error
    among the kernels behind it.
    """

    mean: Tensor
    variance: Tensor
    classes: Tensor | None
    error: float

    def __repr__(self) -> str:
        kind = "regression" if self.classes is None else "classification"
        low, high = float(self.variance.min()), float(self.variance.max())
        return f"Posterior({kind}, {len(self.mean)} inputs: variance {low:.4g} to {high:.4g})"

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return {k: v.tolist() if isinstance(v, Tensor) else v for k, v in self.__dict__.items()}


class GaussianProcess:
    """Mean and variance of an infinitely wide network given ``targets`` at ``x``.

    With kind "nngp" the posterior of the random network, ``k S^-1 y`` and ``k** - k S^-1 k'``, S = K + noise. With kind
    "ntk" the distribution over initialisations of networks trained to the end by gradient descent on the squared error
    (with ``noise`` as a ridge on the tangent kernel): mean ``t S^-1 y``, S = T + noise, and variance
    ``k** + a K a' - 2 a k'``, a = t S^-1.

    Args:
        spec: an activation of one input.
        x: inputs, (n, d).
        targets: (n,) or (n, outputs) of a floating type for regression; (n,) of integers for classification, which is
            regression on one-hot targets less 1/classes.
        kind: "nngp" or "ntk".
        noise: the variance of the noise of the targets, from 0; without any, inputs that are nearly alike make S
            singular.
        options: depth, sigma_w, sigma_b and so on of :func:`~ogive.derive.kernel_limit.kernel_limit`, and parameters
            of the activation.

    Raises:
        InputError, ParameterError: for targets that do not fit and numbers out of range.
        OgiveError: where S is not positive definite, with what to do.

    Source: Lee et al. 2018 (NNGP), Lee et al. 2019, equations 15 and 16 (NTK).

    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> process = GaussianProcess("relu", x, torch.tensor([1.0, -1.0]), noise=0.0, sigma_w=2**0.5)
    >>> got = process.predict(torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
    >>> [round(v, 6) + 0.0 for v in got.mean[:, 0].tolist()], round(float(got.variance[0]), 6) + 0.0
    ([1.0, 0.0], 0.0)
    """

    def __init__(
        self, spec: Any, x: Tensor, targets: Tensor, *, kind: str = "nngp", noise: float = 1e-6, **options: Any
    ) -> None:
        if kind not in KINDS:
            raise ParameterError(f"a Gaussian process: kind={kind!r}; it takes {' or '.join(KINDS)}")
        if not 0.0 <= noise < float("inf"):
            raise ParameterError(f"a Gaussian process: noise={noise!r}; it takes a finite number from 0")
        self.spec, self.x, self.kind, self.noise, self.options = spec, x, kind, float(noise), options
        self.labels, self.targets = _targets(x, targets)
        self.kernels = kernel_limit(spec, x, tangent=kind == "ntk", **options)
        matrix = (self.kernels.nngp if kind == "nngp" or self.kernels.ntk is None else self.kernels.ntk).clone()
        matrix.diagonal().add_(self.noise)
        self.root, failed = torch.linalg.cholesky_ex(matrix)
        if int(failed):
            scale = float(matrix.diagonal().mean())
            raise OgiveError(
                f"the Gaussian process of {self.kernels.activation}: its {len(x)} x {len(x)} kernel is not positive "
                f"definite in float64 (row {int(failed) - 1}); with a diagonal of {scale:.3g} a noise of "
                f"{1e-8 * scale:.1g} or more mends it"
            )
        self.weights = torch.cholesky_solve(self.targets, self.root)

    def __repr__(self) -> str:
        what = "regression" if self.labels is None else f"{len(self.labels)} classes"
        return f"GaussianProcess({self.kind}, {what}, noise {self.noise:g}, {self.kernels!r})"

    def predict(self, x: Tensor) -> Posterior:
        """The posterior at the rows of ``x``, (m, d)."""
        cross = kernel_limit(self.spec, x, self.x, tangent=self.kind == "ntk", **self.options)
        if self.kind == "nngp" or cross.ntk is None or cross.error_ntk is None:
            half = torch.linalg.solve_triangular(self.root, cross.nngp.T, upper=False)
            variance = cross.x_variance - (half * half).sum(0)
            return self._posterior(cross.nngp, variance, cross.error_nngp)
        a = torch.cholesky_solve(cross.ntk.T, self.root).T
        variance = cross.x_variance + ((a @ self.kernels.nngp) * a).sum(1) - 2.0 * (a * cross.nngp).sum(1)
        return self._posterior(cross.ntk, variance, max(cross.error_nngp, cross.error_ntk))

    def _posterior(self, cross: Tensor, variance: Tensor, error: float) -> Posterior:
        mean = cross @ self.weights
        classes = None if self.labels is None else self.labels[mean.argmax(1)]
        return Posterior(mean, variance.clamp_min(0.0), classes, error)

    @cached_property
    def inverse(self) -> Tensor:
        """S^-1."""
        return torch.cholesky_inverse(self.root)

    def leave_one_out(self) -> Posterior:
        """The posterior at every training input by all others: ``y - w/s``, w = S^-1 y and s the diagonal of S^-1; the
        variance is that of the function, 1/s - noise. Source: Rasmussen and Williams 2006, equations 5.12."""
        self._only_nngp("leave_one_out")
        s = self.inverse.diagonal()
        mean = self.targets - self.weights / s[:, None]
        classes = None if self.labels is None else self.labels[mean.argmax(1)]
        return Posterior(mean, (1.0 / s - self.noise).clamp_min(0.0), classes, self.kernels.error_nngp)

    def distinguishability(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """How much one training point shows at the rows of ``x``: by leaving point i out the mean at input q moves by
        ``shift[q, i]`` (over all outputs, Euclidean), and the normal distribution of the function with the point is
        ``divergence[q, i]`` (Kullback-Leibler, nats) from that without it. Large values at the point itself mean that
        it is memorised. Source: Ye et al. 2023 (leave-one-out distinguishability), by the rank-one update of S^-1.
        """
        self._only_nngp("distinguishability")
        cross = kernel_limit(self.spec, x, self.x, tangent=False, **self.options).nngp
        share = (cross @ self.inverse) / self.inverse.diagonal().sqrt()
        with_point = self.predict(x).variance[:, None]
        without = with_point + share * share
        shift = share.abs() * (self.weights.norm(dim=1) / self.inverse.diagonal().sqrt())
        outputs = self.targets.shape[1]
        ratio = (with_point / without).nan_to_num(1.0)
        spread = 0.5 * outputs * (ratio - 1.0 - ratio.log())
        return shift, spread + 0.5 * (shift * shift / without).nan_to_num(0.0)

    def _only_nngp(self, what: str) -> None:
        if self.kind != "nngp":
            raise OgiveError(f"{what} of the Gaussian process of {self.kernels.activation}: it needs kind='nngp'")


def _targets(x: Tensor, targets: Tensor) -> tuple[Tensor | None, Tensor]:
    if not isinstance(targets, Tensor) or targets.dim() not in (1, 2) or len(targets) != len(x):
        shape = tuple(targets.shape) if isinstance(targets, Tensor) else type(targets).__name__
        raise InputError(f"a Gaussian process: targets are {shape}; for {len(x)} inputs it takes ({len(x)},) or "
                         f"({len(x)}, outputs)")  # fmt: skip
    if targets.is_floating_point():
        y = targets.detach().to("cpu", torch.float64).reshape(len(x), -1)
        if not bool(torch.isfinite(y).all()):
            raise InputError("a Gaussian process: targets are not finite everywhere")
        return None, y
    if targets.dim() != 1 or targets.is_complex():
        raise InputError(f"a Gaussian process: labels have shape {tuple(targets.shape)}; it takes ({len(x)},)")
    labels, index = targets.detach().cpu().unique(return_inverse=True)
    if len(labels) < 2:
        raise InputError(f"a Gaussian process: all labels are {labels.tolist()[0]}; it takes two classes or more")
    return labels, torch.nn.functional.one_hot(index, len(labels)).double() - 1.0 / len(labels)

"""The maps of one layer of a random network of infinite width: of lengths, of correlations, of squared gradients.

A pre-activation of layer l is normal with variance q_l (weights of variance sigma_w^2/fan_in, biases of variance
sigma_b^2). The length map takes q_l to q_{l+1}, the correlation map does the same to the correlation of two inputs,
chi multiplies the squared gradient. Of a convolution the maps are the same, with fan_in = channels times kernel size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ogive.derive.dual import dual
from ogive.derive.integrals.bundle import Bundle
from ogive.errors import ParameterError
from ogive.lookup import scalar


def _with_slope(z: Tensor, w: Tensor, f: Tensor, g: Tensor) -> tuple[Tensor, ...]:
    return f * f, f * g * z, f * g * z * (z * z - 3.0), g * g


def _without_slope(z: Tensor, w: Tensor, f: Tensor, g: Tensor) -> tuple[Tensor, ...]:
    s = z * z
    return f * f, f * f * (s - 1.0), f * f * (s * (s - 6.0) + 3.0), g * g


class Maps:
    """The maps of one layer ``x -> skip x + branch (W f(x) + b)``; a plain layer has skip 0 and branch 1.

    Args:
        spec: a name, a formula, an Activation or an ``ogive.Act`` of one input.
        sigma_w: weights have variance sigma_w^2/fan_in; above 0.
        sigma_b: standard deviation of the biases, from 0.
        skip, branch: factors of the two branches; for a stack of L residual layers branch = 1/sqrt(L) keeps
            lengths bounded.
        params: numbers that replace defaults of the activation's parameters.

    Raises :class:`~ogive.errors.ParameterError` for a factor out of range, and whatever ``ogive.gain`` raises for an
    activation without moments.

    >>> relu = Maps("relu", sigma_w=2**0.5)
    >>> round(relu.length(3.0), 12), round(relu.chi(3.0), 12)
    (3.0, 1.0)
    """

    def __init__(
        self,
        spec: Any,
        sigma_w: float = 1.0,
        sigma_b: float = 0.0,
        *,
        skip: float = 0.0,
        branch: float = 1.0,
        **params: float,
    ) -> None:
        act, values = scalar(spec, "the mean field", params)
        for name, value, least in (("sigma_w", sigma_w, 0.0), ("sigma_b", sigma_b, 0.0), ("branch", branch, 0.0)):
            open_end = name != "sigma_b"
            if not math.isfinite(value) or value < least or (open_end and value == least):
                raise ParameterError(
                    f"mean field of {act.label}: {name}={value!r}; it takes a finite number "
                    f"{'above' if open_end else 'from'} 0"
                )
        if not math.isfinite(skip):
            raise ParameterError(f"mean field of {act.label}: skip={skip!r}; it takes a finite number")
        self.bundle, self.act, self.values = Bundle(act, values), act, values
        self.bound = act.with_params(**values) if values else act  # a parameter may be called slope, mean or std
        self.sigma_w, self.sigma_b, self.skip, self.branch = map(float, (sigma_w, sigma_b, skip, branch))
        # E f f' z needs the true derivative and no jumps; where that fails f^2 alone gives the same slope.
        self.smooth = act.backward is None and not self.bundle.jumps

    def moments(self, q: float) -> tuple[list[float], list[float]]:
        """E f^2, two integrals that make the slope and the curvature of the length map, E f'^2; and error estimates."""
        if not 0.0 < q < math.inf:
            raise ParameterError(f"mean field of {self.act.label}: q={q!r}; a length is a finite number above 0")
        return self.bundle.expect(_with_slope if self.smooth else _without_slope, 1, 0.0, math.sqrt(q))

    def prepare(self, lengths: Iterable[float]) -> None:
        """Work out the moments at many lengths in one go; later questions about them cost nothing."""
        self.bundle.prepare(_with_slope if self.smooth else _without_slope, 1, [math.sqrt(q) for q in lengths])

    def length(self, q: float) -> float:
        """``skip^2 q + branch^2 (sigma_b^2 + sigma_w^2 E f(sqrt(q) z)^2)``."""
        return self.skip**2 * q + self.branch**2 * (self.sigma_b**2 + self.sigma_w**2 * self.moments(q)[0][0])

    def length_slope(self, q: float) -> float:
        """``d length / d q``, called chi_parallel: by it a perturbation of the length decays."""
        second = self.moments(q)[0][1]
        # d/dq E f(sqrt(q) z)^2 is E[f f' z]/sqrt(q), or E[f^2 He_2(z)]/(2 q) by parts.
        rate = second / math.sqrt(q) if self.smooth else second / (2.0 * q)
        return self.skip**2 + (self.branch * self.sigma_w) ** 2 * rate

    def length_curvature(self, q: float) -> float:
        """``d^2 length / d q^2``: E[f f' (z^3 - 3 z)]/(2 q^1.5) sigma_w^2 of a plain layer."""
        third = self.moments(q)[0][2]
        rate = third / (2.0 * q**1.5) if self.smooth else third / (4.0 * q * q)
        return (self.branch * self.sigma_w) ** 2 * rate

    def chi(self, q: float) -> float:
        """``skip^2 + branch^2 sigma_w^2 E f'(sqrt(q) z)^2``, called chi_perp: the factor of the squared gradient and of
        the distance of two near inputs. Of a surrogate it is the factor of the gradient only, which the declared
        backward carries."""
        return self.skip**2 + (self.branch * self.sigma_w) ** 2 * self.moments(q)[0][3]

    def correlation(self, c: float, q: float, q2: float | None = None) -> float:
        """The correlation after the layer of two inputs of lengths ``q`` and ``q2`` (the same by default) with
        correlation ``c`` before it."""
        other = q if q2 is None else q2
        cross = self._dual(c, q, other, 0)
        inner = self.sigma_b**2 + self.sigma_w**2 * cross
        after = self.skip**2 * c * math.sqrt(q * other) + self.branch**2 * inner
        return after / math.sqrt(self.length(q) * (self.length(other) if other != q else self.length(q)))

    def correlation_slope(self, c: float, q: float) -> float:
        """The slope of the correlation map at ``c`` for two inputs of the same length ``q``, which is chi at c = 1."""
        cross = self._dual(c, q, q, 1)
        return (self.skip**2 + (self.branch * self.sigma_w) ** 2 * cross) * q / self.length(q)

    def _dual(self, c: float, q: float, other: float, slope: int) -> float:
        return float(dual(self.bound, c, slope=slope, std=(math.sqrt(q), math.sqrt(other))).value)

    def errors(self, q: float) -> float:
        """The largest relative error estimate among the moments at ``q``."""
        values, errors = self.moments(q)
        return max((e / v for v, e in ((values[0], errors[0]), (values[3], errors[3])) if v > 0.0), default=0.0)


def at_zero(maps: Maps) -> tuple[float, float] | None:
    """The slopes of f on both sides of 0, where f(0) = 0 and f does not jump there; else None."""
    f = maps.bundle
    if float(f.at(torch.zeros(1, dtype=torch.float64))[0]) != 0.0 or 0.0 in f.jumps:
        return None
    # The slope next to 0 on either side, believed where f(h)/h bears it out.
    h = torch.tensor([-1e-30, 1e-30, -1e-7, 1e-7], dtype=torch.float64)
    slopes = f.slopes(h[:2]).tolist()
    rises = (f.at(h[2:]) / h[2:]).tolist()
    if not all(abs(s) < 1e6 and abs(s - r) < 1e-3 * (1.0 + abs(s)) for s, r in zip(slopes, rises)):
        return None
    return slopes[0], slopes[1]

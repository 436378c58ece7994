"""How far random networks of finite width are from their limit, layer by layer, for normal and orthogonal weights.

At order 1/width the pre-activations z and the tangent kernel T of one input fluctuate together. With K = E z^2, T its
mean, s = f, s' = f', <g> = E g(sqrt(K) z), w = sigma_w^2 and n the width,

    E[z_1^2 z_2^2] - K^2   = V/n        E[z_1^2 (T_22 - T)]       = D/n        E[z_1 z_2 T_12] = F/n
    E[(T_11 - T)(T_22 - T)] = A/n       E[T_12^2]                 = B/n

and so Var T_11 = (A + 2 B)/n. With h = s^2 + T s'^2 and a dash on what the next layer has,

    V' = w^2 (Var s^2 + V <s^2>_K^2)
    D' = w^2 (Cov(s^2, h) + V <s^2>_K <h>_K + D <s^2>_K <s'^2>)
    A' = w^2 (Var h + V <h>_K^2 + 2 D <h>_K <s'^2> + A <s'^2>^2)
    B' = w^2 (T^2 <s'^4> + B <s'^2>^2)
    F' = w^2 (T <s^2 s'^2> + F <s^2>_K^2)

where an index K is the derivative by K. The sum over the units below makes them: of one unit with itself come the
single-site terms, of two units the terms with V, D, A, B, F. For orthogonal weights the second moments of the Haar
measure replace those of normal weights: they take 2 w^2 <s^2>^2 from V', w^2 T^2 <s'^2>^2 from B' and
w^2 T <s^2> <s'^2> from F'; D' and A' stay. What is left cancels where f is linear, and nearly so where K is small: with
f like tanh nothing is added in the depth.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from ogive.derive.wide.maps import Maps
from ogive.errors import OgiveError, ParameterError

WEIGHTS = ("gaussian", "orthogonal")


def _sites(z: Tensor, w: Tensor, f: Tensor, g: Tensor) -> tuple[Tensor, ...]:
    # f and g come with the root of the density. Of fourth powers each square brings the whole of it, and the root of
    # that is taken off again.
    a, b, rise = f * f, g * g, z * z - 1.0
    p, q = a / w.clamp_min(1e-300), b / w.clamp_min(1e-300)
    return a, b, a * rise, b * rise, p * p, q * q, p * q


@dataclass(frozen=True)
class Fluctuations:
    """A random network of ``width`` units a layer, for one input, layer by layer from the first.

    ``lengths`` and ``tangents`` are K and T of the limit; ``vertex`` is V/K^2, ``tangent_variance`` Var T_11/T^2 at
    this width, ``tangent_vertex`` A/T^2 and ``tangent_mixing`` B/T^2, ``cross`` D/(K T) and ``cross_mixing`` F/(K T).
    """

    activation: str
    weights: str
    width: int
    lengths: tuple[float, ...]
    tangents: tuple[float, ...]
    vertex: tuple[float, ...]
    tangent_vertex: tuple[float, ...]
    tangent_mixing: tuple[float, ...]
    cross: tuple[float, ...]
    cross_mixing: tuple[float, ...]

    @property
    def tangent_variance(self) -> tuple[float, ...]:
        """Var T_11 over the square of its mean."""
        return tuple((a + 2.0 * b) / self.width for a, b in zip(self.tangent_vertex, self.tangent_mixing))

    def __repr__(self) -> str:
        last = f"vertex {self.vertex[-1]:.6g}, tangent kernel +-{math.sqrt(max(self.tangent_variance[-1], 0.0)):.3g}"
        what = f"{self.activation}, {self.weights}, width {self.width}, {len(self.lengths)} layers"
        return f"Fluctuations({what}: {last} of its mean)"

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return {**asdict(self), "tangent_variance": self.tangent_variance}


def fluctuations(
    spec: Any,
    depth: int,
    width: int,
    sigma_w: float = 1.0,
    sigma_b: float = 0.0,
    *,
    weights: str = "gaussian",
    q: float = 1.0,
    **params: float,
) -> Fluctuations:
    """The four-point vertex and the variance of the tangent kernel, to order 1/width.

    Args:
        spec: an activation of one input; a declared surrogate counts as f' in the tangent kernel.
        depth: layers of weights, from 1; the first has a matrix of the same kind and size as the others.
        width: units in a layer; the result is good to order 1/width.
        sigma_w, sigma_b: as in :func:`ogive.mean_field`; the tangent kernel is that of weights sigma_w/sqrt(width)
            times a parameter and biases sigma_b times one.
        weights: "gaussian" or "orthogonal" (square matrices, of the Haar measure, times sigma_w).
        q: the variance of the first layer's pre-activations, above sigma_b^2.

    Raises:
        ParameterError: for numbers out of range.
        OgiveError: where f jumps (the tangent kernel is infinite then) or a fourth moment is.

    Source: Roberts, Yaida and Hanin 2022 (chapters 4 and 8) for normal weights; that orthogonal ones saturate Day, Kahn
    and Roberts 2023 and Gerken and Guillen 2026. The recursions are derived anew, for one input.

    >>> deep = {w: fluctuations("tanh", 60, 64, weights=w).vertex for w in ("gaussian", "orthogonal")}
    >>> [round(abs(v[-1] - v[-11]), 1) for v in deep.values()]  # over the last ten layers
    [6.6, 0.0]
    """
    for name, value in (("depth", depth), ("width", width)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ParameterError(f"fluctuations: {name}={value!r}; it takes an integer from 1")
    if weights not in WEIGHTS:
        raise ParameterError(f"fluctuations: weights={weights!r}; it takes {' or '.join(WEIGHTS)}")
    maps = Maps(spec, sigma_w, sigma_b, **params)
    what = f"fluctuations of {maps.act.label}"
    if not (math.isfinite(q) and q > maps.sigma_b**2):
        raise ParameterError(f"{what}: q={q!r}; it takes a finite number above sigma_b^2 = {maps.sigma_b**2:.6g}")
    if maps.bundle.jumps:
        raise OgiveError(f"{what}: f jumps at {maps.bundle.jumps[0]:.6g}, so its tangent kernel is infinite")
    turned = weights == "orthogonal"
    bias, w = maps.sigma_b**2, maps.sigma_w**2
    k, t = float(q), float(q)
    v = -2.0 * (k - bias) ** 2 if turned else 0.0
    a = b = d = f = 0.0
    rows = [(k, t, v, a, b, d, f)]
    for _ in range(depth - 1):
        got = maps.bundle.expect(_sites, 1, 0.0, math.sqrt(k))[0]
        if not all(map(math.isfinite, got)):
            raise OgiveError(f"{what}: a fourth moment of f or f' is infinite at length {k:.6g}")
        s2, g2, s2_k, g2_k, s4, g4, s2g2 = got[0], got[1], got[2] / (2 * k), got[3] / (2 * k), *got[4:]
        h, h_k = s2 + t * g2, s2_k + t * g2_k
        var_s, cov, mixed = s4 - s2 * s2, s4 + t * s2g2 - s2 * h, s2g2 * t
        var_h = s4 + 2.0 * t * s2g2 + t * t * g4 - h * h
        less = (2.0 * s2 * s2, g2 * g2 * t * t, s2 * g2 * t) if turned else (0.0, 0.0, 0.0)
        v, d, a, b, f = (
            w * w * (var_s + v * s2_k * s2_k - less[0]),
            w * w * (cov + v * s2_k * h_k + d * s2_k * g2),
            w * w * (var_h + v * h_k * h_k + 2.0 * d * h_k * g2 + a * g2 * g2),
            w * w * (t * t * g4 + b * g2 * g2 - less[1]),
            w * w * (mixed + f * s2_k * s2_k - less[2]),
        )
        k, t = bias + w * s2, bias + w * h
        if not (1e-150 < k < 1e150 and 1e-150 < t < 1e150):
            raise OgiveError(f"{what}: after {len(rows)} layers the length is {k:.3g} and the tangent kernel {t:.3g}")
        rows.append((k, t, v, a, b, d, f))
    per = [(v / k**2, a / t**2, b / t**2, d / (k * t), f / (k * t)) for k, t, v, a, b, d, f in rows]
    lengths, tangents = tuple(r[0] for r in rows), tuple(r[1] for r in rows)
    return Fluctuations(maps.act.label, weights, width, lengths, tangents, *zip(*per))

"""Corrections of first order in 1/width: how far a real network is from its normal limit, and how deep it may be."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from ogive.derive.critical import edge_of_chaos
from ogive.derive.wide.maps import Maps, at_zero
from ogive.errors import OgiveError, ParameterError


def _fourth(z: Tensor, w: Tensor, f: Tensor) -> tuple[Tensor, ...]:
    # f^4 times the density, as the square of f^2 times its root.
    return f * f, (f * f / w.clamp_min(1e-300)) ** 2


@dataclass(frozen=True)
class FiniteWidth:
    """A random network of ``width`` units a layer, layer by layer from the first.

    ``lengths`` are the variances of a pre-activation in the limit; ``vertex`` is the normalised four-point vertex
    V/length^2, by which the squares of two units of a layer correlate at order 1/width; ``excess_kurtosis`` that
    of one unit, 3 V/(width length^2).
    """

    activation: str
    width: int
    lengths: tuple[float, ...]
    vertex: tuple[float, ...]
    excess_kurtosis: tuple[float, ...]

    def __repr__(self) -> str:
        last = f"length {self.lengths[-1]:.6g}, vertex {self.vertex[-1]:.6g}"
        kurtosis = f"excess kurtosis {self.excess_kurtosis[-1]:.6g}"
        return f"FiniteWidth({self.activation}, width {self.width}, {len(self.lengths)} layers: {last}, {kurtosis})"

    def density(self, x: float) -> float:
        """The density of a pre-activation of the last layer at ``x`` by Edgeworth's expansion: normal times
        (1 + excess_kurtosis/24 He_4)."""
        q = self.lengths[-1]
        s = x * x / q
        normal = math.exp(-0.5 * s) / math.sqrt(2.0 * math.pi * q)
        return normal * (1.0 + self.excess_kurtosis[-1] / 24.0 * (s * (s - 6.0) + 3.0))

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


def finite_width(
    spec: Any, depth: int, width: int, sigma_w: float = 1.0, sigma_b: float = 0.0, *, q: float = 1.0, **params: float
) -> FiniteWidth:
    """``V_{l+1} = sigma_w^4 (E f^4 - (E f^2)^2) + slope(q_l)^2 V_l``, the first correction to a wide random network.

    Args:
        spec: an activation of one input.
        depth: layers of weights; the first one is exactly normal, the second has excess kurtosis
            3 (E f^4/(E f^2)^2 - 1)/width without biases.
        width: units in a layer; the result is good to order 1/width.
        sigma_w, sigma_b: as in :func:`ogive.mean_field`.
        q: the variance of the first layer's pre-activations.

    Source: Antognini 2019 for one hidden layer, Roberts, Yaida and Hanin 2022 (chapter 4) for the recursion.

    >>> finite_width("relu", 2, 20, 2**0.5).excess_kurtosis
    (0.0, 0.75)
    """
    for name, value in (("depth", depth), ("width", width)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ParameterError(f"finite width: {name}={value!r}; it takes an integer from 1")
    maps = Maps(spec, sigma_w, sigma_b, **params)
    lengths, vertex = [float(q)], [0.0]
    for _ in range(depth - 1):
        at = lengths[-1]
        second, fourth = maps.bundle.expect(_fourth, 0, 0.0, math.sqrt(at))[0]
        if not math.isfinite(fourth):
            raise OgiveError(f"finite width of {maps.act.label}: E f^4 is infinite at length {at:.6g}")
        lengths.append(maps.length(at))
        fresh = maps.sigma_w**4 * (fourth - second * second)
        # V of the last layer, carried on by the slope of the length map; kept relative to the length squared.
        vertex.append((fresh + maps.length_slope(at) ** 2 * vertex[-1] * at * at) / lengths[-1] ** 2)
    excess = tuple(round(3.0 * v / width, 15) for v in vertex)
    return FiniteWidth(maps.act.label, width, tuple(lengths), tuple(vertex), excess)


def _spread(slopes: tuple[float, float] | None) -> float:
    assert slopes is not None
    second, fourth = (0.5 * (slopes[0] ** k + slopes[1] ** k) for k in (2, 4))
    return round(3.0 * fourth / second**2 - 1.0, 12)


@dataclass(frozen=True)
class Aspect:
    """The recommended ratio of depth to width: ``ratio`` = 4/((20 + 3 outputs) nu), with nu the vertex's growth per
    layer; ``longest`` is 1/nu, where fluctuations from one initialisation to the next are as large as the signal."""

    activation: str
    universality: str
    nu: float
    ratio: float
    longest: float

    def width(self, depth: int) -> int:
        """Units a layer for a network of ``depth`` layers."""
        return math.ceil(depth / self.ratio)

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


def aspect_ratio(spec: Any, outputs: int = 1, **params: float) -> Aspect:
    """Depth over width that leaves a critical network deep enough to learn and wide enough to be like its limit.

    nu is 3 A4/A2^2 - 1 for a scale-invariant f (A2, A4 the mean second and fourth powers of its two slopes at 0: 5
    for relu), and a third of that in the class K*=0 (2/3 for tanh). ``outputs`` is the number of the network's outputs.

    Raises :class:`~ogive.errors.OgiveError` for an activation without a critical point of these two classes.
    Source: Roberts, Yaida and Hanin 2022, appendix A (the ratio) and chapter 5 (nu).

    >>> aspect_ratio("relu").nu, round(aspect_ratio("tanh").nu, 12)
    (5.0, 0.666666666667)
    """
    if not isinstance(outputs, int) or isinstance(outputs, bool) or outputs < 1:
        raise ParameterError(f"aspect ratio: outputs={outputs!r}; it takes an integer from 1")
    edge = edge_of_chaos(spec, lengths=(1.0,), **params)
    if edge.universality == "scale-invariant" and edge.point is not None:
        nu = _spread(at_zero(Maps(spec, **params)))
    elif edge.universality == "K*=0":
        # V/q^2 gains nu0 a layer and loses 2/l of itself, whatever the power at which lengths fall: nu0 l/3.
        nu = _spread(at_zero(Maps(spec, **params))) / 3.0
    else:
        raise OgiveError(
            f"aspect ratio of {edge.activation}: its class is {edge.universality!r} ({edge.reason}); the ratio is "
            "known for scale-invariant activations and the class K*=0"
        )
    return Aspect(edge.activation, edge.universality, nu, 4.0 / ((20.0 + 3.0 * outputs) * nu), 1.0 / nu)

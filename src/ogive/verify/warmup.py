"""The start of certified training: weights that keep intervals as wide as they were, and two regularisers.

An interval of radius r around c leaves an activation with the radius (max f - min f)/2 over [c - r, c + r], on
average kappa r with c normal. A layer multiplies the mean radius by n E|w|, n its fan-in, and E|w| = s sqrt(2/pi) for
normal weights of standard deviation s. Widths stay as they are when n s sqrt(2/pi) kappa = 1, so
s = sqrt(pi/2)/(n kappa). For relu kappa is 1/2 at every radius, since relu(t) - relu(-t) = t pairs c with -c: the
sqrt(2 pi)/n of Shi et al. 2021, "Fast certified robust training with short warmup"; here it follows for any formula.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from ogive.activation import Activation
from ogive.derive.image import image
from ogive.derive.limits import limits
from ogive.errors import InputError, OgiveError, ParameterError
from ogive.verify.formula import Formula
from ogive.verify.network import Box, Network, Step
from ogive.verify.tracer import trace

_NODES = 4001  # of a trapezoid over [-8, 8]: what is beyond weighs 1e-15
_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def interval_growth(spec: Any, sigma: float = 1.0, radius: float = 1e-4, **params: float) -> float:
    """How much wider intervals are behind f: ``E[max f - min f]/(2 r)`` over [c - r, c + r] with c ~ N(0, sigma^2).

    For small r this is E|f'(c)|. ``sigma >= 0`` and ``radius > 0`` are in the units of the input. Raises
    :class:`~ogive.errors.ParameterError` for other numbers and :class:`~ogive.errors.OgiveError` where f has a pole.

    >>> round(interval_growth("relu"), 6), round(interval_growth("relu", radius=3.0), 6)
    (0.5, 0.5)
    """
    if not (0.0 <= sigma < math.inf and 0.0 < radius < math.inf):
        raise ParameterError(f"interval_growth: sigma={sigma!r} and radius={radius!r}; they take finite numbers, "
                             "the radius above 0")  # fmt: skip
    z = torch.linspace(-8.0, 8.0, _NODES, dtype=torch.float64)
    weight = torch.exp(-0.5 * z * z)
    low, high = image(spec, sigma * z - radius, sigma * z + radius, **params)
    found = float((weight * (high - low)).sum() / weight.sum()) / (2.0 * radius)
    if not math.isfinite(found):
        raise OgiveError(f"interval_growth: {spec} has no finite range on some interval of radius {radius:g}")
    return found


def ibp_std(spec: Any, fan_in: int, sigma: float = 1.0, radius: float = 1e-4, **params: float) -> float:
    """The standard deviation of normal weights behind f that keeps intervals as wide: ``sqrt(pi/2)/(n kappa)``.

    ``fan_in`` is n, at least 1; the rest as for :func:`interval_growth`. Raises as it does.

    >>> round(ibp_std("relu", 100) * 100 / math.sqrt(2 * math.pi), 9)
    1.0
    """
    if fan_in < 1:
        raise ParameterError(f"ibp_std: fan_in={fan_in!r}; a layer has at least one input")
    return math.sqrt(math.pi / 2.0) / (fan_in * interval_growth(spec, sigma, radius, **params))


@dataclass(frozen=True)
class Kept:
    """One weight: the growth of the activations before it, its standard deviation, the mean width behind it."""

    weight: str
    growth: float
    std: float
    width: float


@dataclass(frozen=True)
class Started:
    """What :func:`ibp_` did; ``width`` is the mean width of the input, which every layer keeps."""

    layers: tuple[Kept, ...]
    width: float

    def __repr__(self) -> str:
        rows = [f"  {r.weight:28.28} growth {r.growth:.4g}, std {r.std:.4g}, width {r.width:.4g}" for r in self.layers]
        return "\n".join([f"ibp_ drew {len(rows)} weights for intervals of width {self.width:.4g}", *rows])

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


def ibp_(model: nn.Module, x: Tensor, eps: float, *, generator: torch.Generator | None = None) -> Started:
    """Draw all linear and convolution weights so that intervals of radius ``eps`` around ``x`` keep their width.

    Layers are drawn in the order they run, N(0, s^2) with ``s = sqrt(pi/2)/(n kappa)``; kappa is the mean growth of
    everything since the input (activations, norms, sums, pooling), measured by interval arithmetic on ``x``, so that
    any formula and any traced architecture has its own. Biases become 0.

    Args:
        x: examples ``[examples, ...]`` as the model takes them.
        eps: radius, above 0, in the units of x.

    Raises:
        InputError: for a radius that is not positive, a model that cannot be traced or has no such weight; the
            weights are then as they were.

    >>> model = nn.Sequential(nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, 10))
    >>> done = ibp_(model, torch.rand(8, 50), 0.01, generator=torch.Generator().manual_seed(0))
    >>> [round(layer.width, 2) for layer in done.layers]
    [0.02, 0.02, 0.02]
    """
    if not 0.0 < eps < math.inf:
        raise InputError(f"ibp_: eps={eps!r}; a radius is a finite number above 0")
    network = trace(model, x[:1])
    modules = dict(model.named_modules())
    saved = {k: v.detach().clone() for k, v in model.state_dict().items()}
    steps = [s for s in network.steps[1:] if s.linear and isinstance(modules.get(s.where), _WEIGHTED)]
    if not steps:
        raise InputError(f"ibp_: {network.model} has no linear or convolution layer that its input reaches")
    made: list[Kept] = []
    try:
        with torch.no_grad():
            flat = x.detach().reshape(len(x), *network.steps[0].shape)
            start = Box(flat - eps, flat + eps)
            wide = float((start.hi - start.lo).mean())
            boxes: list[Box] = [start]
            drawn: set[str] = set()
            for step in network.steps[1:]:
                if step in steps and step.where not in drawn:
                    drawn.add(step.where)
                    layer: Any = modules[step.where]
                    box = boxes[step.inputs[0]]
                    growth = float((box.hi - box.lo).mean()) / wide
                    fan_in = layer.weight[0].numel()
                    std = math.sqrt(math.pi / 2.0) / (fan_in * growth) if growth > 0.0 else math.nan
                    if not math.isfinite(std):
                        raise InputError(f"ibp_: no finite interval that is wider than 0 reaches {step.where}, so no "
                                         "weights keep its width; a larger eps or other data helps")  # fmt: skip
                    layer.weight.normal_(0.0, std, generator=generator)
                    if layer.bias is not None:
                        layer.bias.zero_()
                    found = step.operation.interval([box])
                    made.append(Kept(step.where, growth, std, float((found.hi - found.lo).mean())))
                boxes.append(step.operation.interval([boxes[i] for i in step.inputs]))
    except BaseException:
        model.load_state_dict(saved)
        raise
    return Started(tuple(made), wide)


def tightness(network: Network, boxes: Sequence[Box], tol: float = 0.5) -> Tensor:
    """``mean_i relu(tol - D0/Di)/tol``: Di is the mean width before activation i, D0 that of the input.

    Zero while no layer has intervals more than 1/tol times as wide as the input. ``boxes`` are those of every step.
    """
    first = (boxes[0].hi - boxes[0].lo).mean()
    parts = [(tol - first / (boxes[i].hi - boxes[i].lo).mean().clamp(min=1e-12)).clamp(min=0.0) / tol
             for i in {s.inputs[0] for s in _activations(network)}]  # fmt: skip
    return torch.stack(parts).mean() if parts else boxes[0].lo.new_zeros(())


def balance(network: Network, boxes: Sequence[Box], tol: float = 0.5) -> Tensor:
    """How far active and inactive neurons are from weighing the same, in mean and in variance of their centres.

    The mean over activations of ``relu(tol - min(a, 1/a))/tol + relu(tol - min(b, 1/b))/tol``; a is the sum of the
    centres of intervals right of the hinge over that of those left of it, b the same for their squared distances from
    the mean. The hinge is where the two asymptotes of f cross: 0 for relu, gelu and softplus, -1 for elu. Activations
    whose asymptotes are parallel (tanh) or missing (sin) have no active side and add nothing.
    """
    parts: list[Tensor] = []
    for step in _activations(network):
        place = hinge(step.operation.groups[0][0])
        if place is None:
            continue
        lo, hi = (t - place for t in boxes[step.inputs[0]])
        centre, on, off = 0.5 * (lo + hi), lo > 0.0, hi < 0.0
        if not bool(on.any() & off.any()):
            continue
        far = (centre - centre.mean()).square()
        for a, b in ((centre * on, -centre * off), (far * on, far * off)):
            ratio = a.sum() / b.sum().clamp(min=1e-12)
            parts.append((tol - torch.minimum(ratio, 1.0 / ratio.clamp(min=1e-12))).clamp(min=0.0) / tol)
    return torch.stack(parts).sum() / len(_activations(network)) if parts else boxes[0].lo.new_zeros(())


def hinge(spec: Any) -> float | None:
    """Where the asymptotes of f at -inf and +inf cross; None where they do not.

    >>> hinge("relu"), hinge("elu"), hinge("tanh")
    (0.0, -1.0, None)
    """
    if isinstance(spec, Activation):
        return _hinge(spec)
    return _crossing(limits(spec))


@lru_cache(maxsize=256)
def _hinge(act: Activation) -> float | None:
    return _crossing(limits(act))


def _crossing(found: Any) -> float | None:
    left, right = (s.asymptote or ((0.0, s.value) if s.value is not None and math.isfinite(s.value) else None)
                   for s in (found.minus, found.plus))  # fmt: skip
    if left is None or right is None:
        return None
    (a, b), (c, d) = left, right
    if not abs(c - a) > 1e-9:
        return None
    return (b - d) / (c - a) + 0.0


def _activations(network: Network) -> list[Step]:
    return [s for s in network.nonlinear if isinstance(s.operation, Formula)]

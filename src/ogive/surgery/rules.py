"""From the nonlinearities around a layer to the variance of its weights: one function per published rule."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.breaks import breakpoints
from ogive.derive.gauss import expectation
from ogive.derive.integrals.integrand import program_of, slope_of
from ogive.derive.moments import moment
from ogive.derive.solving.roots import root
from ogive.errors import OgiveError, ParameterError, closest
from ogive.surgery.propagate import power, slope_power


@dataclass(frozen=True)
class Place:
    """A layer between two nonlinearities: ``before`` made its input from a signal of standard deviation ``std``,
    ``after`` takes its output. ``moment`` is the second moment of the input, ``share`` the part of the wanted
    output (1, or one in the depth for the end of a residual branch), ``reference`` that output's second moment."""

    fan_in: float
    fan_out: float
    moment: float
    before: Activation | None = None
    std: float = 1.0
    after: Activation | None = None
    first: bool = False
    share: float = 1.0
    reference: float = 1.0


MODES = ("forward", "backward", "compromise")


def by_gain(place: Place, mode: str) -> float:
    """forward: ``1/(fan_in E f^2)`` keeps the second moment of the signal; backward: ``1/(fan_out E f'^2)`` that
    of the gradient; compromise: their geometric mean. He et al. 2015, for any f and any scale of its input."""
    forward = place.reference / (place.fan_in * place.moment)
    if mode == "forward":
        return forward
    slope = 1.0 if place.before is None else slope_power(place.before, place.std)
    if not (0.0 < slope < math.inf):
        raise OgiveError(f"E f'^2 of {_name(place.before)} is {slope:g}, so no scale of the weights keeps the "
                         "gradient; mode='forward' needs E f^2 only")  # fmt: skip
    backward = 1.0 / (place.fan_out * slope)
    return backward if mode == "backward" else math.sqrt(forward * backward)


def kumar(place: Place) -> float:
    """``1/(n f'(0)^2 (1 + f(0)^2))``, from a first-order expansion at 0; where f has a kink there, the exact second
    moment (2/n for relu). Kumar 2017, "On weight initialization in deep neural networks"."""
    if place.before is None or len(place.before.inputs) > 1:
        return by_gain(place, "forward")
    if any(abs(b) < 1e-12 for b in place.before.breakpoints()):
        return by_gain(place, "forward")
    value, slope = _at_zero(place.before)
    if slope == 0.0:
        raise OgiveError(f"the Kumar rule divides by f'(0)^2, and {_name(place.before)} is flat at 0; "
                         "rule='gain' takes the exact moments")  # fmt: skip
    return 1.0 / (place.fan_in * slope * slope * (1.0 + value * value))


def siren(place: Place) -> float:
    """Uniform on ±1/n in the first layer and ±sqrt(6/n)/w behind it, for sin(w x). Sitzmann et al. 2020."""
    wave = place.after or place.before
    if place.first:
        return 1.0 / (3.0 * place.fan_in**2)
    value, slope = (0.0, 0.0) if wave is None or len(wave.inputs) > 1 else _at_zero(wave)
    if value != 0.0 or slope == 0.0:
        raise OgiveError(f"the rule of SIREN is for sin(w x), where w is the slope at 0; {_name(wave)} has the value "
                         f"{value:g} and the slope {slope:g} there; rule='vi3nr' takes any activation")  # fmt: skip
    return 2.0 / (place.fan_in * slope * slope)


def ibp(place: Place) -> float:
    """``(pi/2)/(n E|f'|)^2``: interval bounds keep their width, n E|w| E|f'(z)| = 1 (2 pi/n^2 for relu).
    Shi et al. 2021, "Fast certified robust training with short warmup"."""
    f = place.after or place.before
    growth = 1.0 if f is None else interval_growth(f)
    if growth == 0.0:
        raise OgiveError(f"{_name(f)} is flat almost everywhere: every interval shrinks to a point, at any scale")
    return 0.5 * math.pi / (place.fan_in * growth) ** 2


def nf(place: Place) -> float:
    """``1/(n Var f(z))``, the gain 1/std f(z) of normaliser-free networks, whose weights have mean zero
    over the fan-in (see :func:`ogive.surgery.standardise_`). Brock et al. 2021."""
    if place.before is None or len(place.before.inputs) > 1:
        return by_gain(place, "forward")
    mean = float(moment(place.before, 1, 0, std=place.std).value)
    spread = power(place.before, place.std) - mean * mean
    if not spread > 0.0:
        raise OgiveError(f"{_name(place.before)} is constant: its standard deviation is zero")
    return place.reference / (place.fan_in * spread)


def vi3nr(place: Place) -> float:
    """``s^2/(n E f(s_before z)^2)``: pre-activations of the standard deviation s that keeps the gradient as well,
    see :func:`best_std`. Koneputugodage et al. 2025, VI3NR."""
    return by_gain(place, "forward")


RULES: dict[str, Callable[[Place], float]] = {
    "kumar": kumar, "siren": siren, "ibp": ibp, "nf": nf, "vi3nr": vi3nr,
}  # fmt: skip


def check_rule(rule: str, mode: str) -> None:
    """Refuse a rule or a mode that does not exist, and a mode that a rule does not have."""
    for what, given, known in (("rule", rule, ("gain", *RULES)), ("mode", mode, MODES)):
        if given not in known:
            near = closest(str(given), known, 1)[0]
            raise ParameterError(f"init_: {what}={given!r}; it is one of {', '.join(known)} (did you mean {near!r}?)")
    if rule != "gain" and mode != "forward":
        raise ParameterError(f"init_: mode={mode!r} belongs to rule='gain'; rule={rule!r} says itself what it keeps")


@lru_cache(maxsize=256)
def interval_growth(act: Activation) -> float:
    """``E|f'(z)|`` for z ~ N(0, 1): by how much a narrow interval grows through f on average (1/2 for relu).

    >>> from ogive import get
    >>> interval_growth(get("relu"))
    0.5
    """
    if len(act.inputs) > 1:
        raise OgiveError(f"{act.label} takes two inputs; interval growth is known for one")
    slope = slope_of(act)
    program = program_of(slope, act)
    values = [torch.tensor(v, dtype=torch.float64) for v in act.defaults.values()]

    def size(x: Tensor) -> Tensor:
        return program.run([x, *values], torch.float64).expand_as(x).abs()

    where = [b for e in (act.expr, slope) for b in breakpoints(e, act.inputs[0], act.defaults)]
    return round(expectation(size, where, tol=1e-12).value, 14)


@lru_cache(maxsize=256)
def best_std(act: Activation) -> float:
    """The standard deviation s of pre-activations for which weights that keep the signal, var = s^2/(n E f(s z)^2),
    also keep the gradient, n var E f'(s z)^2 = 1: the root of s^2 E f'^2 = E f^2 nearest to 1, or where the two
    come closest when there is none. Scale-invariant functions (relu) fulfil it everywhere: 1.

    >>> from ogive import get
    >>> best_std(get("relu"))
    1.0
    """
    if len(act.inputs) > 1:
        return 1.0

    def off(log_std: float) -> float:
        s = math.exp(log_std)
        f, g = power(act, s), slope_power(act, s)
        return math.log(s * s * g / f) if 0.0 < f < math.inf and 0.0 < g < math.inf else math.nan

    grid = [k * math.log(100.0) / 24 for k in range(-24, 25)]  # from 0.01 to 100
    values = {x: off(x) for x in grid}
    if abs(values[0.0]) < 1e-9:
        return 1.0
    roots = [(a, b) for a, b in pairwise(grid) if values[a] * values[b] < 0.0]
    if not roots:
        known = [x for x in grid if math.isfinite(values[x])]
        return math.exp(min(known, key=lambda x: (round(abs(values[x]), 6), abs(x)), default=0.0))
    a, b = min(roots, key=lambda pair: abs(pair[0] + pair[1]))
    return math.exp(root(off, a, b, log=False))


def _at_zero(act: Activation) -> tuple[float, float]:
    x = torch.zeros((), dtype=torch.float64, requires_grad=True)
    value = act(x)
    (slope,) = torch.autograd.grad(value, x)
    return float(value.detach()), float(slope)


def _name(act: Activation | None) -> str:
    return "the layer's input" if act is None else act.label

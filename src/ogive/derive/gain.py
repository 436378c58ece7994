"""Initialisation gains: what keeps the scale of signals and gradients through one nonlinearity."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from ogive.derive.gauss import Moment
from ogive.derive.integrals.integrand import cuts, second_moment, slope_of
from ogive.derive.trace import trace
from ogive.errors import OgiveError, ParameterError
from ogive.lookup import get, scalar

# Words of torch.nn.init.calculate_gain for "no nonlinearity".
_LINEAR = {"linear", *(f"conv{kind}{d}d" for kind in ("", "_transpose") for d in (1, 2, 3))}


@dataclass(frozen=True)
class Gain:
    """Gains of one activation for a standard normal pre-activation z; ``float()`` gives the forward one.

    ``forward`` is 1/sqrt(E f(z)^2), ``backward`` is 1/sqrt(E f'(z)^2): inf where f' is zero almost
    everywhere, 0 where E f'^2 is infinite. ``error`` is the larger relative error estimate of the two gains.
    ``surrogate`` says that f' is the declared backward and not the derivative.
    """

    forward: float
    backward: float
    second_moment: float
    slope_moment: float
    error: float
    activation: str
    surrogate: bool = False

    def __float__(self) -> float:
        return self.forward

    def __repr__(self) -> str:
        of = " (of the declared backward)" if self.surrogate else ""
        return (f"Gain({self.activation}: forward {self.forward:.15g}, backward {self.backward:.15g}{of}, "
                f"relative error {self.error:.0e})")  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


def gain(spec: Any, **params: float) -> Gain:
    """``1/sqrt(E f(z)^2)`` and ``1/sqrt(E f'(z)^2)`` for z ~ N(0, 1), with an error estimate.

    ``spec`` is a name, a formula, an Activation, an ``ogive.Act``, or an ``nn.Module`` or Python function of one
    tensor that :func:`ogive.trace` can read; ``params`` are numbers that replace defaults. Weights drawn with
    variance gain^2/fan_in keep the second moment of the signal (forward), with gain^2/fan_out that of the gradient
    (backward; He et al. 2015). Raises :class:`~ogive.errors.InputError` for a gate of two inputs and
    :class:`~ogive.errors.OgiveError` where E f(z)^2 is zero or infinite.

    >>> f"{float(gain('tanh')):.12f}"
    '1.592537419723'
    >>> round(gain("leaky_relu", negative_slope=0.2).forward ** 2, 12) == round(2 / 1.04, 12)
    True
    """
    act, values = scalar(trace(spec) if callable(spec) else spec, "the gain", params)
    slope = slope_of(act)
    where = cuts(act.expr, act, values) + cuts(slope, act, values)
    try:
        second = second_moment(act.expr, act, values, where)
    except OgiveError as error:
        raise OgiveError(f"the gain of {act.label}: for E f(z)^2 with a normal z {error}") from None
    if second.value == 0.0:
        raise OgiveError(f"the gain of {act.label}: E f(z)^2 is zero, so no scale of the weights restores the signal")
    try:
        slopes = second_moment(slope, act, values, where)
    except OgiveError:
        slopes = Moment(math.inf, math.inf)
    relative = [m.error / m.value for m in (second, slopes) if 0.0 < m.value < math.inf]
    return Gain(
        forward=1.0 / math.sqrt(second.value),
        backward=1.0 / math.sqrt(slopes.value) if slopes.value else math.inf,
        second_moment=second.value,
        slope_moment=slopes.value,
        error=0.5 * max(relative),  # d(m^-1/2) = -1/2 m^-1/2 dm/m
        activation=act.label,
        surrogate=act.backward is not None,
    )


def calculate_gain(nonlinearity: Any, param: float | None = None, *, mode: str = "forward", **params: float) -> float:
    """``torch.nn.init.calculate_gain`` for everything: ``1/sqrt(E f(z)^2)`` as a float.

    torch knows linear, sigmoid, tanh, relu, leaky_relu and selu, and of these tanh (5/3), sigmoid (1) and selu (3/4)
    are rules of thumb; here they are 1.5925, 1.8462 and 1. "linear" and "conv2d" and their like give 1 as there.

    Args:
        nonlinearity: what :func:`gain` takes, or one of torch's words for no nonlinearity.
        param: the first parameter of the function, as torch's slope of leaky_relu.
        mode: ``forward`` or ``backward`` (``1/sqrt(E f'(z)^2)``).
        **params: parameters by name.

    Raises:
        ParameterError: for a mode that is not one, or a ``param`` of a function without parameters.

    >>> import torch
    >>> calculate_gain("leaky_relu", 0.2) == torch.nn.init.calculate_gain("leaky_relu", 0.2)
    True
    >>> round(calculate_gain("gelu"), 6), calculate_gain("conv2d")
    (1.53353, 1.0)
    """
    if mode not in ("forward", "backward"):
        raise ParameterError(f"calculate_gain: mode={mode!r}; it is 'forward' or 'backward'")
    if isinstance(nonlinearity, str) and nonlinearity.lower() in _LINEAR:
        return 1.0
    spec = trace(nonlinearity) if callable(nonlinearity) else get(nonlinearity)
    if param is not None:
        if not spec.params:
            raise ParameterError(f"calculate_gain: {spec.label} has no parameter; got param={param!r}")
        params = {next(iter(spec.params)): param, **params}
    return float(getattr(gain(spec, **params), mode))

"""Initialisation gains: what keeps the scale of signals and gradients through one nonlinearity."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ogive.activation import Activation
from ogive.breaks import affine, breakpoints
from ogive.derive.gauss import REACH, Moment, expectation
from ogive.diff import differentiate
from ogive.errors import OgiveError
from ogive.expr import Expr
from ogive.kernels.program import compile_program
from ogive.lookup import scalar

# A relative error estimate above this means that the integral did not converge: it is infinite.
_CONVERGED = 1e-4
# A primitive whose argument is steeper than this gets panels of its own around the argument's zero.
_STEEP = 8.0


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

    ``spec`` is a name, a formula, an Activation or an ``ogive.Act``; ``params`` are numbers that replace
    defaults. Weights drawn with variance gain^2/fan_in keep the second moment of the signal (forward), with
    gain^2/fan_out that of the gradient (backward; He et al. 2015). Raises
    :class:`~ogive.errors.InputError` for a gate of two inputs and :class:`~ogive.errors.OgiveError` where
    E f(z)^2 is zero or infinite.

    >>> f"{float(gain('tanh')):.12f}"
    '1.592537419723'
    >>> round(gain("leaky_relu", negative_slope=0.2).forward ** 2, 12) == round(2 / 1.04, 12)
    True
    """
    act, values = scalar(spec, "the gain", params)
    declared = act.form.surrogate
    slope = differentiate(act.expr, act.inputs[0]) if declared is None else declared
    cuts = _cuts(act.expr, act, values) + _cuts(slope, act, values)
    try:
        second = _second_moment(act.expr, act, values, cuts)
    except OgiveError as error:
        raise OgiveError(f"the gain of {act.label}: for E f(z)^2 with a normal z {error}") from None
    if second.value == 0.0:
        raise OgiveError(f"the gain of {act.label}: E f(z)^2 is zero, so no scale of the weights restores the signal")
    try:
        slopes = _second_moment(slope, act, values, cuts)
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


def _second_moment(expr: Expr, act: Activation, values: dict[str, float], cuts: list[float]) -> Moment:
    """``E expr(z)^2``. Raises :class:`OgiveError` where it does not exist."""
    program = compile_program(expr, (act.inputs[0], *values), tuple(values.values()))
    fixed = [torch.tensor(v, dtype=torch.float64) for v in values.values()]
    got = expectation(lambda x: program.run([x, *fixed], torch.float64).expand_as(x), cuts, power=2)
    if got.error > _CONVERGED * got.value:
        raise OgiveError("the expectation is infinite: the quadrature does not converge at a pole")
    return got


def _cuts(expr: Expr, act: Activation, values: dict[str, float]) -> list[float]:
    """Break points, and a grading around the centre of every steep primitive: a transition of width 1e-6
    between two nodes would be missed by both integrals of a panel, which then agree."""
    found = breakpoints(expr, act.inputs[0], values)
    for node in expr.walk():
        for arg in node.args if len(node.args) == 1 else ():
            line = affine(arg, act.inputs[0])
            if line is None or (line[0].op == "const" and abs(_number(line[0], values)) <= _STEEP):
                continue
            slope, shift = (_number(part, values) for part in line)
            if abs(slope) > _STEEP and abs(shift / slope) <= REACH:
                centre, width = -shift / slope, 1.0 / abs(slope)
                steps = [width * 4.0**k for k in range(32) if width * 4.0**k < 1.0]
                found += [centre, *(centre - s for s in steps), *(centre + s for s in steps)]
    return found


def _number(expr: Expr, values: dict[str, float]) -> float:
    if expr.op == "const":
        return float(expr.data or 0.0)
    program = compile_program(expr, ("_", *values), tuple(values.values()))
    inputs = [torch.zeros(1, dtype=torch.float64), *(torch.tensor(v, dtype=torch.float64) for v in values.values())]
    return float(program.run(inputs, torch.float64)[0])

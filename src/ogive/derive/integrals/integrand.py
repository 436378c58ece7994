"""What a Gaussian moment integrates: an activation or a derivative of it in float64, and where to cut the line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.breaks import affine, breakpoints
from ogive.derive.gauss import Moment, expectation
from ogive.derive.integrals.panels import REACH
from ogive.diff import differentiate
from ogive.errors import OgiveError
from ogive.expr import Expr, sub
from ogive.kernels.program import Program, compile_program
from ogive.ops import OPS

# A relative error estimate above this means that the integral did not converge: it is infinite.
CONVERGED = 1e-4
# A primitive whose argument is steeper than this gets panels of its own around the argument's zero.
_STEEP = 8.0


def slope_of(act: Activation, order: int = 1) -> Expr:
    """The ``order``-th derivative by the input; the first one of a surrogate is its declared backward."""
    expr = act.expr
    for k in range(order):
        declared = act.form.surrogate if k == 0 else None
        expr = differentiate(expr, act.inputs[0]) if declared is None else declared
    return expr


def program_of(expr: Expr, act: Activation) -> Program:
    """``expr`` over the input and all parameters of ``act``, made once per expression."""
    return compile_program(expr, (act.inputs[0], *act.defaults), tuple(act.defaults.values()))


def second_moment(expr: Expr, act: Activation, values: dict[str, float], where: list[float]) -> Moment:
    """``E expr(z)^2`` for a standard normal z. Raises :class:`OgiveError` where it does not exist."""
    program = compile_program(expr, (act.inputs[0], *values), tuple(values.values()))
    fixed = [torch.tensor(v, dtype=torch.float64) for v in values.values()]

    def run(x: Tensor) -> Tensor:
        return program.run([x, *fixed], torch.float64).expand_as(x)

    got = expectation(run, where, power=2)
    if got.error > CONVERGED * got.value:
        raise OgiveError("the expectation is infinite: the quadrature does not converge at a pole")
    return got


def cuts(expr: Expr, act: Activation, values: dict[str, float], std: float = 1.0) -> list[float]:
    """Break points, and a grading around the centre of every steep primitive, in units of the input.

    A transition much narrower than ``std`` that fell between two nodes would be missed by both integrals of a
    panel, which then agree.
    """
    level = max(0, math.ceil(math.log2(std)))  # the grading changes with the octave of std only
    return list(_cuts(expr, act.inputs[0], tuple(values.items()), 2.0**level))


@lru_cache(maxsize=4096)
def _cuts(expr: Expr, name: str, items: tuple[tuple[str, float], ...], std: float) -> tuple[float, ...]:
    values = dict(items)
    found = list(_breakpoints(expr, name, items))
    for node in expr.walk():
        for arg in node.args if len(node.args) == 1 else ():
            line = affine(arg, name)
            if line is None or (line[0].op == "const" and abs(number(line[0], values)) * std <= _STEEP):
                continue
            slope, shift = (number(part, values) for part in line)
            if abs(slope) * std > _STEEP and abs(shift / slope) <= REACH * std:
                centre, width = -shift / slope, 1.0 / abs(slope)
                steps = [width * 4.0**k for k in range(32) if width * 4.0**k < std]
                found += [centre, *(centre - s for s in steps), *(centre + s for s in steps)]
    # Under a wide distribution whatever an activation does near 0 and near its break points is narrow.
    steps = [0.5 * 4.0**k for k in range(32) if 0.5 * 4.0**k < 0.75 * std] if std > 2.0 else []
    found += [c + sign * s for c in {0.0, *found[:8]} for s in steps for sign in (1.0, -1.0)]
    return tuple(found)


def number(expr: Expr, values: dict[str, float]) -> float:
    """The value of an expression of parameters alone."""
    if expr.op == "const":
        return float(expr.data or 0.0)
    program = compile_program(expr, ("_", *values), tuple(values.values()))
    inputs = [torch.zeros(1, dtype=torch.float64), *(torch.tensor(v, dtype=torch.float64) for v in values.values())]
    return float(program.run(inputs, torch.float64)[0])


def motion(trees: Sequence[Expr], act: Activation, values: dict[str, float], param: str) -> tuple[Tensor, Tensor]:
    """Break points of ``trees`` and how fast each moves with ``param``: dx/dp = -s_p / s_x where the switch s is zero.

    Of break points that do not move, nothing is said.
    """
    name = act.inputs[0]
    at = torch.tensor(
        sorted({b for t in trees for b in _breakpoints(t, name, tuple(values.items()))}), dtype=torch.float64
    )
    speed = torch.zeros_like(at)
    fixed = [torch.tensor(v, dtype=torch.float64) for v in values.values()]
    for node in dict.fromkeys(n for t in trees for n in t.walk()):
        if not (node.args and OPS[node.op].facts.breaks and param in node.variables() and len(at)):
            continue
        switch = sub(*node.args) if len(node.args) == 2 else node.args[0]
        s, by_x, by_p = (
            program_of(e, act).run([at, *fixed], torch.float64).expand_as(at)
            for e in (switch, differentiate(switch, name), differentiate(switch, param))
        )
        if node.op in ("floor", "round"):
            s = s + (0.5 if node.op == "round" else 0.0)
            s = s - s.round()
        here = s.abs() <= 1e-9 * (by_x.abs() * at.abs().clamp_min(1.0))
        speed = torch.where(here & (by_x != 0.0), -by_p / by_x, speed)
    moving = speed != 0.0
    return at[moving], speed[moving]


@lru_cache(maxsize=4096)
def _breakpoints(expr: Expr, name: str, items: tuple[tuple[str, float], ...]) -> tuple[float, ...]:
    return tuple(breakpoints(expr, name, dict(items)))

"""From a formula to the tree that is printed: the hazards of floating point become operations of the tree."""

from __future__ import annotations

import math

from ogive.derive.emit.definitions import number
from ogive.expr import Expr, const, var, where
from ogive.kernels.eager import Form
from ogive.kernels.program import FAR, Program
from ogive.ops import OPS
from ogive.stable import mul_saturated

# decimal exponents of kernels/program's stand-in for infinity, in float64 and float32
_FAR = {False: round(math.log10(FAR)), True: 12}
_CONSTANT = {"gt": lambda a, b: a > b, "ge": lambda a, b: a >= b}


def body(form: Form, single: bool) -> Expr:
    """What ``form`` computes, ready to be printed.

    Args:
        form: a formula over named inputs, data first.
        single: the arithmetic is float32, which asks for the canonical form within range; float64 takes the stable
            form as it is.

    Products that met 0*inf when the formula was probed are ``times``; ends at which the formula has an indeterminate
    form take the limit; a NaN that a comparison would swallow is handed on.
    """
    program = (form.canonical if single else form).program
    return _ends(program, _FAR[single])


def _ends(program: Program, far: int) -> Expr:
    x = var(program.names[0])
    near = x
    if any(program.far):
        near = Expr(("near_high", "near_low", "near")[2 if all(program.far) else program.far[1]], (x,), far)
    value = _tree(program, near)
    if any(program.far):  # a power law has reached infinity or zero there
        value = Expr("limit", (x, value), far)
    return where(Expr("isnan", (x,)), x, value) if program.propagate_nan else value


def _tree(program: Program, near: Expr) -> Expr:
    slots = [number(c) for c in program.constants]
    slots += [near, *(var(n) for n in program.names[1:])]
    for step in program.steps:
        args = tuple(slots[i] for i in step.reads)
        data = int(step.extra[0]) if step.extra else None
        slots.append(_node("times" if step.run is mul_saturated else step.name, args, data))
    return slots[program.result]


def _node(op: str, args: tuple[Expr, ...], data: int | None) -> Expr:
    values = [float(a.data) if a.op == "const" else None for a in args]  # type: ignore[arg-type]
    if op in _CONSTANT and None not in values:
        return number(float(_CONSTANT[op](*values)))
    if op == "where" and values[0] is not None:
        return args[1] if values[0] else args[2]
    if op == "times" and any(v is not None and v != 0.0 and math.isfinite(v) for v in values):
        op = "mul"
    if op == "pow" and values[1] is not None:
        short = short_power(args[0], values[1], 4)
        return Expr(op, args) if short is None else short
    if op == "neg" and values[0] is not None:
        return number(-values[0])
    if op in OPS and op not in ("where",) and args and None not in values:
        return number(float(OPS[op](*[v for v in values if v is not None], data=data)))
    return Expr(op, args, data)


def short_power(base: Expr, exponent: float, longest: int) -> Expr | None:
    """A power with a small whole exponent as products, else None.

    >>> from ogive.expr import var
    >>> str(short_power(var("u"), -3.0, 4))
    '1/(u*u*u)'
    """
    if not exponent.is_integer() or not 2 <= abs(exponent) <= longest:
        return Expr("div", (const(1.0), base)) if exponent == -1.0 else None
    value = base
    for bit in bin(int(abs(exponent)))[3:]:
        value = Expr("mul", (value, value))
        if bit == "1":
            value = Expr("mul", (value, base))
    return Expr("div", (const(1.0), value)) if exponent < 0 else value

"""Julia: a function of one number, to be broadcast with a dot; Base alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ogive.derive.emit.printer import Language
from ogive.derive.emit.request import Request, draft

_WORDS = """baremodule begin break catch const continue do else elseif end export false finally for function global if
import let local macro module quote return struct true try using while abstract mutable primitive type where in isa
outer public abs floor sqrt exp expm1 log log1p sin cos tan atan sinh cosh tanh asinh round max min sign hypot isnan
isinf ifelse Float64 Float32 oftype float pi im NaN Inf one zero"""
RESERVED = frozenset(_WORDS.split())


def _number(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "Inf" if value > 0 else "-Inf"


def _function(name: str, args: Sequence[str], lines: Sequence[str], value: str) -> list[str]:
    head = f"function {name}({', '.join(f'{a}::Float64' for a in args)})"
    return [head, *(f"    {line}" for line in lines), f"    return {value}", "end"]


def _guarded(call: str, bad: str) -> list[str]:
    # Base throws a DomainError where IEEE arithmetic has NaN
    return ["function {0}(x::Float64)", f"    return {bad} ? NaN : {call}", "end"]


_ONE = ("abs", "floor", "exp", "expm1", "atan", "sinh", "cosh", "tanh", "asinh", "isnan", "isinf", "round")
_CALLS = {**{n: f"{n}({{0}})" for n in _ONE}, "maximum": "max({0}, {1})", "minimum": "min({0}, {1})",
          "hypot1": "hypot({0}, 1.0)"}  # fmt: skip
_WRITTEN = {
    **{n: _guarded(f"{n}(x)", "x < 0.0") for n in ("sqrt", "log")}, "log1p": _guarded("log1p(x)", "x < -1.0"),
    **{n: _guarded(f"{n}(x)", "isinf(x)") for n in ("sin", "cos", "tan")},
    "power_of_positive": ["function {0}(a::Float64, b::Float64)", "    return a < 0.0 ? NaN : a ^ b", "end"],
}  # fmt: skip
JULIA = Language("Julia", "# ", RESERVED, _number, _CALLS, _function, as_number="Float64({0})",
                 written=_WRITTEN, choice=True)  # fmt: skip


def write(request: Request) -> str:
    """A method for Float64 and one that converts, computes in Float64 and rounds to the type of its argument."""
    d = draft(request, JULIA)
    note = f"Arithmetic in Float64, rounded once to the type of the input. On arrays: {d.name}.(x)"
    lines = [f"# {line}" for line in request.heading(note)]
    for helper in d.helpers:
        lines += [*helper, ""]
    inner = d.names.of(f"{d.name}_value")
    args = [*d.inputs, *d.params]
    lines += [*_function(inner, args, d.lines, d.value), ""]
    typed = [f"{a}::Real" for a in d.inputs] + [f"{k}::Real = {_number(v)}" for k, v in d.params.items()]
    call = f"{inner}({', '.join(f'Float64({a})' for a in args)})"
    kind = f"float({' + '.join(d.inputs)})" if len(d.inputs) > 1 else f"float({d.inputs[0]})"
    lines += [f"function {d.name}({', '.join(typed)})", f"    return oftype({kind}, {call})", "end", ""]
    return "\n".join(lines)

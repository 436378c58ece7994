"""MATLAB and Octave: a function of arrays with its helper functions below it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ogive.derive.emit.printer import COMPARE, PRODUCT, SUM, Language
from ogive.derive.emit.request import Request, draft

_WORDS = """
break case catch classdef continue else elseif end for function global if otherwise parfor persistent return
spmd switch try while end_try_catch end_unwind_protect endfor endfunction endif endswitch endwhile
unwind_protect unwind_protect_cleanup until do abs floor sqrt exp expm1 log log1p sin cos tan atan sinh cosh
tanh asinh erf erfc max min hypot isnan isinf sign zeros ones size double single cast class pi i j Inf NaN inf
nan eps true false nargin nargout varargin varargout ans gamma beta isempty exist power rem mod real
"""
RESERVED = frozenset(_WORDS.split())


def _number(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "Inf" if value > 0 else "-Inf"


def _function(name: str, args: Sequence[str], lines: Sequence[str], value: str) -> list[str]:
    head = f"function result = {name}({', '.join(args)})"
    return [head, *(f"    {line};" for line in lines), f"    result = {value};", "end"]


def _real(call: str) -> list[str]:
    # MATLAB turns complex outside the domain, where IEEE arithmetic has NaN
    arguments = "a, b" if "b" in call else "a"
    return [f"function y = {{0}}({arguments})", f"    y = {call};", "    if ~isreal(y)",
            "        outside = imag(y) ~= 0;", "        y = real(y);", "        y(outside) = NaN;", "    end",
            "end"]  # fmt: skip


_ONE = ("abs", "floor", "exp", "expm1", "sin", "cos", "tan", "atan", "sinh", "cosh", "tanh", "asinh", "sign", "erf",
        "erfc", "isnan", "isinf")  # fmt: skip
_CALLS = {**{n: f"{n}({{0}})" for n in _ONE}, "hypot1": "hypot({0}, 1)"}
_WRITTEN = {
    **{n: _real(f"{n}(a)") for n in ("sqrt", "log", "log1p")}, "power_of_positive": _real("power(a, b)"),
    "where": ["function y = {0}(c, a, b)", "    n = size(c + a + b);", "    a = a + zeros(n);",
              "    y = b + zeros(n);", "    c = c & true(n);", "    y(c) = a(c);", "end"],
}  # fmt: skip
_INFIX = {"add": ("{0} + {1}", SUM), "sub": ("{0} - {1}", SUM), "mul": ("{0} .* {1}", PRODUCT),
          "div": ("{0} ./ {1}", PRODUCT), "gt": ("{0} > {1}", COMPARE), "ge": ("{0} >= {1}", COMPARE),
          "eq": ("{0} == {1}", COMPARE)}  # fmt: skip
MATLAB = Language("MATLAB", "% ", RESERVED | {"result"}, _number, _CALLS, _function, as_number="double({0})",
                  infix=_INFIX, written=_WRITTEN)  # fmt: skip


def write(request: Request) -> str:
    """A function file. Arguments left out take the parameters' defaults."""
    d = draft(request, MATLAB)
    args = [*d.inputs, *d.params]
    lines = [f"function result = {d.name}({', '.join(args)})"]
    lines += [f"% {line}" for line in request.heading("Arithmetic in double, rounded once to the class of the input.")]
    for i, (key, value) in enumerate(d.params.items(), len(d.inputs) + 1):
        lines += [f"    if nargin < {i}", f"        {key} = {_number(value)};", "    end"]
    kind = d.names.of("kind")
    total = " + ".join(d.inputs)
    lines += [f"    {kind} = class({total});", *(f"    {x} = double({x});" for x in args)]
    lines += [f"    {line};" for line in d.lines]
    spread = "" if not set(d.inputs) & set(d.unused) else f" + zeros(size({total}))"
    lines += [f"    result = cast({d.value}{spread}, {kind});", "end", ""]
    for helper in d.helpers:
        lines += [*helper, ""]
    return "\n".join(lines)

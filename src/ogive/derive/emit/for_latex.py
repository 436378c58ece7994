"""LaTeX: the formula as people read it."""

from __future__ import annotations

from ogive.derive.emit.names import comment_text
from ogive.derive.emit.request import Request
from ogive.derive.latex import expression
from ogive.errors import InputError


def write(request: Request) -> str:
    """``f(x) = ...`` without a surrounding mathematics environment. A function's name is printed upright."""
    if request.name is not None:
        raise InputError(f"name={request.name!r}: a formula in LaTeX is not called; leave the name out")
    act = request.act
    left = ", ".join(act.inputs)
    primes = "'" * request.derivative if request.derivative < 4 else f"^{{({request.derivative})}}"
    text = f"f{primes}({left}) = {expression(act.written, act.inputs)}"
    if request.derivative and request.source.backward is not None:
        text = f"% {comment_text('The first derivative is declared with the activation: a surrogate.')}\n{text}"
    return text + "\n"

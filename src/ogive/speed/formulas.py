"""What is timed when nothing is named, and each formula as a textbook writes it, in plain torch operations."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ogive.activation import Activation, define
from ogive.errors import UnknownName
from ogive.expr import Expr
from ogive.lookup import get
from ogive.ops import OPS

# The 5/4 rational is the Padé activation unit (Molina, Schramowski and Kersting 2020, arXiv 1907.06732) at the
# coefficients of its Table 6 that approximate relu; the catalogue holds it under no name.
_NUMERATOR = (0.02996348, 0.61690165, 2.37539147, 3.06608078, 1.52474449, 0.25281987)
_DENOMINATOR = (1.19160814, 4.40811795, 0.91111034, 0.34885983)

TWELVE = ("relu", "silu", "gelu", "gelu_tanh", "mish", "golu", "serf", "tanhexp", "snake", "rational", "prelu",
          "swiglu")  # fmt: skip


def _horner(coefficients: tuple[float, ...], x: Any) -> Any:
    total: Any = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        total = total * x + c
    return total


def _pade(x: Any, absolute: Callable[[Any], Any]) -> Any:
    return _horner(_NUMERATOR, x) / (1.0 + absolute(_horner(_DENOMINATOR, x) * x))


@lru_cache(maxsize=1)
def rational() -> Activation:
    """The Padé unit of degrees 5 and 4 as an activation."""
    made: Activation = define(lambda x: _pade(x, OPS["abs"]), name="rational")
    return made


def subject(spec: str) -> Activation:
    """The activation to time: "rational", a name of the catalogue or a formula. Raises as :func:`ogive.get`."""
    if spec.strip() == "rational":
        return rational()
    try:
        return get(spec)
    except UnknownName as problem:
        raise UnknownName(f"{problem}; beside the catalogue, 'rational' is a 5/4 Padé unit") from None


# As people type them: no stable forms, no shared exponentials. Parameters follow the inputs.
TEXTBOOK: dict[str, Callable[..., Tensor]] = {
    "relu": lambda x: torch.where(x > 0, x, 0.0),
    "silu": lambda x: x * torch.sigmoid(x),
    "gelu": lambda x: 0.5 * x * (1.0 + torch.erf(x / math.sqrt(2.0))),
    "gelu_tanh": lambda x: 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))),
    "mish": lambda x: x * torch.tanh(softplus(x)),
    "golu": lambda x, alpha, beta, gamma: alpha * x * torch.exp(-beta * torch.exp(-gamma * x)),
    "serf": lambda x: x * torch.erf(softplus(x)),
    "tanhexp": lambda x: x * torch.tanh(torch.exp(x)),
    "snake": lambda x, a: x + torch.sin(a * x) ** 2 / a,
    "rational": lambda x: _pade(x, torch.abs),
    "prelu": lambda x, a: torch.where(x > 0, x, a * x),
    "swiglu": lambda x, y: x * torch.sigmoid(x) * y,
}


def textbook(act: Activation) -> Callable[..., Tensor]:
    """``act`` in plain torch operations, differentiable, inputs then parameters: as in textbooks where it is one
    of the twelve, else its formula as written, operation by operation."""
    if act.name in TEXTBOOK and (act.name == "rational") == (act is rational()):
        return TEXTBOOK[act.name]
    names = (*act.inputs, *act.params)
    return lambda *args: compute(act.written, dict(zip(names, args)))


def compute(expr: Expr, values: dict[str, Any]) -> Tensor:
    """``expr`` with every primitive one or more torch operations; ``values`` are tensors or numbers by variable.

    >>> from ogive.expr import var
    >>> compute(var("x") * 3.0 + 1.0, {"x": torch.tensor([1.0, 2.0])})
    tensor([4., 7.])
    """
    like = next(v for v in values.values() if isinstance(v, Tensor))
    done: dict[Expr, Any] = {}
    for node in expr.walk():
        if node.op == "const":
            done[node] = node.data
        elif node.op == "var":
            done[node] = values[str(node.data)]
        else:
            args = [done[a] for a in node.args]
            if not any(isinstance(a, Tensor) for a in args):  # of numbers alone: in double precision, once
                wide = [torch.tensor(a, dtype=torch.float64) for a in args]
                found = OPS[node.op].torch(*wide, *(() if node.data is None else (node.data,)))
                done[node] = found.item()
                continue
            if node.op == "where":  # not the op table's, which chooses among bits and has no gradient
                done[node] = torch.where(*args)
                continue
            done[node] = OPS[node.op].torch(*args, *(() if node.data is None else (node.data,)))
    value = done[expr]
    return value if isinstance(value, Tensor) else torch.full_like(like, value)

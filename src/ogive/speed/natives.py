"""What torch itself has of the catalogue, with the parameter values that make it the same function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_aten = torch.ops.aten


@dataclass(frozen=True)
class Native:
    """torch's own form of a scalar activation.

    ``call(x, *params)`` is what users call. ``into(x, out)`` writes into a given tensor, and
    ``backward(g, x, y, **into)`` is the operator that autograd runs, from the input or from the output y;
    ``grad`` names its argument for a given result, None where it has none. None: torch has no such operator.
    ``text`` says what the backward is.
    """

    call: Callable[..., Tensor]
    into: Callable[[Tensor, Tensor], Tensor] | None = None
    backward: Callable[..., Any] | None = None
    grad: str | None = None
    text: str = "torch.autograd.grad of a kept graph"


def _native(
    name: str,
    call: Callable[..., Tensor],
    *constants: Any,
    back: tuple[str, Callable[..., tuple[Any, ...]]] | None = None,
    **words: Any,
) -> Native:
    """From the operator's name; ``back`` is the backward operator and its arguments from (g, x, y)."""
    forward = getattr(_aten, name)
    into = None
    if "out" in forward.overloads():
        into = lambda x, out: forward.out(x, *constants, **words, out=out)  # noqa: E731
    if back is None:
        return Native(call, into)
    operator, order = getattr(_aten, back[0]), back[1]
    grad = "grad_input" if "grad_input" in operator.overloads() else None

    def backward(g: Tensor, x: Tensor, y: Tensor, **given: Tensor) -> Any:
        run = operator.grad_input if given else operator.default
        return run(*order(g, x, y), **words, **given)

    return Native(call, into, backward, grad, f"torch.ops.aten.{back[0]}")


def _prelu(x: Tensor, a: float | Tensor) -> Tensor:
    return F.prelu(x, a if isinstance(a, Tensor) else x.new_full((1,), a))


_SELU = (1.6732632423543772, 1.0507009873554805, 1.0)

NATIVES: dict[str, Native] = {
    # relu.out and celu.out allocate a result and copy it over (2.2 and 8 times as long, at 1e5 and 2e7 float32):
    # the operators that relu and celu call inside write directly.
    "relu": replace(
        _native("relu", F.relu, back=("threshold_backward", lambda g, x, y: (g, y, 0.0))),
        into=lambda x, out: torch.clamp_min(x, 0.0, out=out),
    ),
    "relu6": _native("hardtanh", F.relu6, 0.0, 6.0, back=("hardtanh_backward", lambda g, x, y: (g, x, 0.0, 6.0))),
    "hardtanh": _native("hardtanh", F.hardtanh, -1.0, 1.0,
                        back=("hardtanh_backward", lambda g, x, y: (g, x, -1.0, 1.0))),
    "hardswish": _native("hardswish", F.hardswish, back=("hardswish_backward", lambda g, x, y: (g, x))),
    "hard_sigmoid": _native("hardsigmoid", F.hardsigmoid, back=("hardsigmoid_backward", lambda g, x, y: (g, x))),
    "leaky_relu": _native("leaky_relu", F.leaky_relu, 0.01,
                          back=("leaky_relu_backward", lambda g, x, y: (g, x, 0.01, False))),
    "prelu": Native(_prelu, None, lambda g, x, y: _aten._prelu_kernel_backward(g, x, x.new_full((1,), 0.25)), None,
                    "torch.ops.aten._prelu_kernel_backward, which also makes the slope's gradient of every element"),
    "elu": _native("elu", F.elu, 1.0, back=("elu_backward", lambda g, x, y: (g, 1.0, 1.0, 1.0, False, x))),
    "celu": _native("elu", F.celu, 1.0, back=("elu_backward", lambda g, x, y: (g, 1.0, 1.0, 1.0, False, x))),
    "selu": _native("selu", F.selu, back=("elu_backward", lambda g, x, y: (g, *_SELU, False, x))),
    "silu": _native("silu", F.silu, back=("silu_backward", lambda g, x, y: (g, x))),
    "gelu": _native("gelu", F.gelu, approximate="none", back=("gelu_backward", lambda g, x, y: (g, x))),
    "gelu_tanh": _native("gelu", lambda x: F.gelu(x, approximate="tanh"), approximate="tanh",
                         back=("gelu_backward", lambda g, x, y: (g, x))),
    "mish": _native("mish", F.mish, back=("mish_backward", lambda g, x, y: (g, x))),
    "sigmoid": _native("sigmoid", torch.sigmoid, back=("sigmoid_backward", lambda g, x, y: (g, y))),
    "tanh": _native("tanh", torch.tanh, back=("tanh_backward", lambda g, x, y: (g, y))),
    "softplus": _native("softplus", F.softplus, 1.0, 20.0,
                        back=("softplus_backward", lambda g, x, y: (g, x, 1.0, 20.0))),
    "log_sigmoid": _native("log_sigmoid", F.logsigmoid),
    "softshrink": _native("softshrink", F.softshrink, 0.5, back=("softshrink_backward", lambda g, x, y: (g, x, 0.5))),
    "hardshrink": _native("hardshrink", F.hardshrink, 0.5, back=("hardshrink_backward", lambda g, x, y: (g, x, 0.5))),
    "threshold": _native("threshold", lambda x, threshold, value: F.threshold(x, threshold, value), 0.0, 0.0,
                         back=("threshold_backward", lambda g, x, y: (g, x, 0.0))),
    "softsign": Native(F.softsign),
    "tanhshrink": Native(F.tanhshrink),
    "erf": _native("erf", torch.erf),
    "sine": _native("sin", torch.sin),
    "cosine": _native("cos", torch.cos),
    "arctan": _native("atan", torch.atan),
    "asinh": _native("asinh", torch.asinh),
    "absolute": _native("abs", torch.abs),
    "exponential": _native("exp", torch.exp),
    "square": _native("square", torch.square),
}  # fmt: skip

"""A node of a computation graph as a function of its one data input: ONNX by operator, torch.fx by target.

Neither library is imported: an ONNX node is what has ``op_type`` and ``attribute``, and who holds a torch.fx
node has imported torch.fx.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ogive.errors import InputError, closest

Function = Callable[[Tensor], Any]
Attributes = Mapping[str, Any]


def _shrink(x: Tensor, bias: float, lambd: float) -> Tensor:
    zero = torch.zeros_like(x)
    return torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, zero))


# Operator -> (defaults of the attributes, function of the input and the attributes); onnx.ai/onnx/operators.
_ONNX: dict[str, tuple[dict[str, Any], Callable[..., Tensor]]] = {
    "Abs": ({}, torch.abs),
    "Asinh": ({}, torch.asinh),
    "Atan": ({}, torch.atan),
    "Celu": ({"alpha": 1.0}, lambda x, alpha: F.celu(x, alpha)),
    "Clip": ({"min": None, "max": None}, lambda x, min, max: torch.clamp(x, min, max)),
    "Cos": ({}, torch.cos),
    "Elu": ({"alpha": 1.0}, lambda x, alpha: F.elu(x, alpha)),
    "Erf": ({}, torch.erf),
    "Exp": ({}, torch.exp),
    "Floor": ({}, torch.floor),
    "Gelu": ({"approximate": "none"}, lambda x, approximate: F.gelu(x, approximate=approximate)),
    "HardSigmoid": ({"alpha": 0.2, "beta": 0.5}, lambda x, alpha, beta: torch.clamp(alpha * x + beta, 0.0, 1.0)),
    "HardSwish": ({}, F.hardswish),
    "Identity": ({}, lambda x: x),
    "LeakyRelu": ({"alpha": 0.01}, lambda x, alpha: F.leaky_relu(x, alpha)),
    "Mish": ({}, F.mish),
    "Neg": ({}, torch.neg),
    "Relu": ({}, torch.relu),
    "Round": ({}, torch.round),
    "Selu": ({"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875},
             lambda x, alpha, gamma: gamma * torch.where(x > 0, x, alpha * torch.expm1(x))),
    "Shrink": ({"bias": 0.0, "lambd": 0.5}, _shrink),
    "Sigmoid": ({}, torch.sigmoid),
    "Sign": ({}, torch.sign),
    "Sin": ({}, torch.sin),
    "Sinh": ({}, torch.sinh),
    "Softplus": ({}, F.softplus),
    "Softsign": ({}, F.softsign),
    "Swish": ({"alpha": 1.0}, lambda x, alpha: x * torch.sigmoid(alpha * x)),
    "Tan": ({}, torch.tan),
    "Tanh": ({}, torch.tanh),
    "ThresholdedRelu": ({"alpha": 1.0}, lambda x, alpha: torch.where(x > alpha, x, torch.zeros_like(x))),
}  # fmt: skip


def from_node(spec: Any) -> tuple[str, Any] | None:
    """A label and a function for an ONNX ``NodeProto`` or a ``torch.fx.Node``, None for anything else.

    Raises :class:`~ogive.errors.InputError` for a node that is not a function of one tensor.
    """
    if hasattr(spec, "op_type") and hasattr(spec, "attribute"):
        return _onnx(spec)
    if type(spec).__name__ == "Node" and type(spec).__module__ == "torch.fx.node":
        return _fx(spec)
    return None


def _onnx(node: Any) -> tuple[str, Function]:
    kind = str(node.op_type)
    row = _ONNX.get(kind)
    if row is None:
        near = ", ".join(closest(kind, _ONNX))
        raise InputError(f"find: the ONNX operator {kind!r} is not an activation of one tensor that it knows; "
                         f"the closest are {near}")  # fmt: skip
    if len(getattr(node, "input", ())) > 1:
        raise InputError(f"find: the ONNX node {kind} takes {', '.join(map(repr, node.input))}; what the further "
                         "inputs hold is not in the node: write it as a formula, find('clip(x, -1, 1)')")  # fmt: skip
    defaults, run = row
    given = {a.name: _attribute(a) for a in node.attribute}
    unknown = set(given) - set(defaults)
    if unknown:
        raise InputError(f"find: the ONNX node {kind} has the attribute {min(unknown)!r}; "
                         f"it takes {', '.join(defaults) or 'none'}")  # fmt: skip
    settled = {**defaults, **given}
    said = ", ".join(f"{k}={v}" for k, v in given.items())
    return f"{kind}({said})", lambda x: run(x, **settled)


def _attribute(attribute: Any) -> Any:
    # AttributeProto: type 1 is a float, 2 an integer, 3 bytes
    kind = int(attribute.type)
    if kind == 1:
        return float(attribute.f)
    if kind == 2:
        return int(attribute.i)
    if kind == 3:
        return bytes(attribute.s).decode()
    raise InputError(f"find: the ONNX attribute {attribute.name!r} is neither a number nor a text")


def _fx(node: Any) -> tuple[str, Any]:
    label = f"torch.fx node {node.name} ({node.op} {getattr(node.target, '__name__', node.target)})"
    if node.op not in ("call_function", "call_module", "call_method"):
        raise InputError(f"find: the {label} computes nothing")
    owner = node.graph.owning_module
    data = [n for n in node.all_input_nodes if n.op != "get_attr"]
    if len(data) != 1:
        raise InputError(f"find: the {label} takes {len(data)} tensors; it takes a function of one")
    if node.op == "call_module":
        return label, owner.get_submodule(node.target)

    def run(x: Tensor) -> Any:
        def value(n: Any) -> Any:
            return x if n is data[0] else attrgetter(n.target)(owner).to(x.dtype)

        from torch.fx.node import map_arg

        args, kwargs = map_arg(node.args, value), map_arg(node.kwargs, value)
        if node.op == "call_method":
            return getattr(args[0], node.target)(*args[1:], **kwargs)
        return node.target(*args, **kwargs)

    return label, run

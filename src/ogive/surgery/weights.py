"""Which calls of torch are linear maps with a learned weight, and how many terms they sum."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor
from torch.nn import functional


class Map(NamedTuple):
    """A linear map as it was called: dimensions are those of ``weight`` as given."""

    data: Tensor
    weight: Tensor
    bias: Tensor | None
    inward: tuple[int, ...]
    outward: tuple[int, ...]
    fan_in: float
    fan_out: float


def _sizes(weight: Tensor, dims: tuple[int, ...]) -> int:
    return math.prod(weight.shape[d] for d in dims)


def _plain(data: Tensor, weight: Tensor, bias: Tensor | None, inward: int, outward: int) -> Map:
    fans = weight.shape[inward], weight.shape[outward]
    return Map(data, weight, bias, (inward % weight.dim(),), (outward % weight.dim(),), *map(float, fans))


def _convolution(args: tuple[Any, ...], options: Mapping[str, Any], transposed: bool) -> Map:
    """Every output of a convolution sums in/groups * k products. A strided one passes an input on to
    out/groups * k / stride outputs on average; a transposed one has the two the other way round."""
    if transposed:
        given = dict(zip(("input", "weight", "bias", "stride", "padding", "output_padding", "groups"), args))
    else:
        given = dict(zip(("input", "weight", "bias", "stride", "padding", "dilation", "groups"), args))
    given.update(options)
    weight, groups = given["weight"], given.get("groups", 1)
    kernel = tuple(range(2, weight.dim()))
    stride = given.get("stride", 1)
    steps = math.prod(stride) if isinstance(stride, (tuple, list)) and len(stride) > 1 else None
    if steps is None:
        steps = int(stride[0] if isinstance(stride, (tuple, list)) else stride) ** len(kernel)
    taps = _sizes(weight, kernel)
    if transposed:
        inward, outward = (0, *kernel), (1,)
        fan_in, fan_out = weight.shape[0] / groups * taps / steps, float(weight.shape[1] * taps)
    else:
        inward, outward = (1, *kernel), (0,)
        fan_in, fan_out = float(weight.shape[1] * taps), weight.shape[0] / groups * taps / steps
    return Map(given["input"], weight, given.get("bias"), inward, outward, fan_in, fan_out)


def _einsum(equation: str, operands: list[Tensor], learned: list[bool]) -> Map | None:
    if len(operands) != 2 or sum(learned) != 1 or "." in equation:
        return None
    left, _, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    w = learned.index(True)
    mine, other, weight = terms[w], terms[1 - w], operands[w]
    if len(mine) != weight.dim():
        return None
    inward = tuple(i for i, c in enumerate(mine) if c in other and c not in right)
    outward = tuple(i for i, c in enumerate(mine) if c not in other and c in right)
    fans = float(_sizes(weight, inward)), float(_sizes(weight, outward))
    return Map(operands[1 - w], weight, None, inward, outward, *fans) if inward else None


_MATMUL = {"matmul", "mm", "bmm", "mv", "__matmul__", "__rmatmul__", "_grouped_mm", "grouped_mm"}
_ADDMM = {"addmm", "baddbmm", "addmv"}
CONVOLUTIONS = {f"conv{t}{d}d" for t in ("", "_transpose") for d in (1, 2, 3)}
LINEAR = _MATMUL | _ADDMM | CONVOLUTIONS | {"linear", "einsum"}


def linear_map(name: str, args: tuple[Any, ...], options: Mapping[str, Any], learned: Any) -> Map | None:
    """The linear map that this call computes, or None. ``learned`` tells of a tensor whether it is a parameter
    (or was computed from parameters alone)."""
    if name == "linear":
        data, weight, bias = _bind(functional.linear, ("input", "weight", "bias"), args, options)
        return _plain(data, weight, bias, 1, 0) if learned(weight) and weight.dim() == 2 else None
    if name in CONVOLUTIONS:
        found = _convolution(args, options, "transpose" in name)
        return found if learned(found.weight) else None
    if name in _ADDMM:
        bias, a, b = _bind(None, ("input", "mat1", "mat2"), args, options)
        bias = bias if learned(bias) else None
    elif name in _MATMUL:
        a, b = _bind(None, ("input", "other"), args, options)
        a, b, bias = (b, a, None) if name == "__rmatmul__" else (a, b, None)
    elif name == "einsum" and args and isinstance(args[0], str):
        rest = args[1] if len(args) == 2 and isinstance(args[1], (list, tuple)) else args[1:]
        operands = list(rest)
        return _einsum(args[0], operands, [bool(learned(t)) for t in operands])
    else:
        return None
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)) or learned(a) == learned(b):
        return None
    if learned(b):
        return _plain(a, b, bias, -2, -1) if b.dim() > 1 else None
    return _plain(b, a, bias, -1, -2) if a.dim() > 1 else None


def _bind(function: Any, names: tuple[str, ...], args: tuple[Any, ...], options: Mapping[str, Any]) -> list[Any]:
    aliases = {"input": ("input", "self"), "other": ("other", "mat2", "vec", "tensor2"),
               "mat1": ("mat1", "batch1", "mat"), "mat2": ("mat2", "batch2", "vec")}  # fmt: skip
    got: list[Any] = list(args[: len(names)])
    for name in names[len(got) :]:
        got.append(next((options[k] for k in aliases.get(name, (name,)) if k in options), None))
    return got

"""Arguments of calls: where the dimensions of a view come from, and one tensor in the place of another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ogive.surgery.operations import PASS

_CASTS = {"contiguous", "clone", "to", "float", "type", "type_as", "detach", "data", "half", "double", "bfloat16"}


def axes_of_view(
    name: str, args: Any, axes: tuple[str, tuple[int, ...] | None] | None
) -> tuple[str, tuple[int, ...] | None] | None:
    """The parameter that a view is of and where its dimensions come from, None when they cannot be told."""
    if axes is None or name not in PASS | _CASTS:
        return None
    label, dims = axes
    if dims is None:
        return axes
    rest = [a for a in args[1:] if not isinstance(a, Tensor)]
    if name in ("t", "T", "mT") and len(dims) >= 2:
        return label, ((*dims[:-2], dims[-1], dims[-2]) if name == "mT" else dims[::-1])
    if name in ("transpose", "swapaxes", "swapdims") and len(rest) == 2:
        order = list(dims)
        order[rest[0]], order[rest[1]] = order[rest[1]], order[rest[0]]
        return label, tuple(order)
    if name == "permute" and rest:
        places = rest[0] if isinstance(rest[0], (tuple, list)) else rest
        return label, tuple(dims[i] for i in places)
    return axes if name in _CASTS | {"chunk", "split", "split_with_sizes"} else (label, None)


def with_symbols(value: Any, symbols: Mapping[int, Any]) -> Any:
    """What a formula is built with in the place of ``value``."""
    return symbols.get(id(value), value) if isinstance(value, Tensor) else value


def swapped_in(values: Any, old: Tensor, new: Tensor) -> Any:
    """``values`` with one tensor in the place of another."""
    if isinstance(values, dict):
        return {k: swapped_in(v, old, new) for k, v in values.items()}
    if isinstance(values, (tuple, list)):
        return type(values)(swapped_in(v, old, new) for v in values)
    return new if values is old else values

"""What a graph compiler sees of an activation: one composite operator, which it need not look into.

The operator holds its formula by number and decomposes into plain tensor operations when the graph is lowered.
(torch.compiler.allow_in_graph would do the same, but it imports the compiler, 1.5 s, for everybody.)
"""

from __future__ import annotations

import itertools
from typing import Any, Protocol
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from ogive.kernels.eager import Form, apply


class Holder(Protocol):
    """Anything that has a Form."""

    @property
    def form(self) -> Form: ...


_keys = itertools.count(1)
_by_key: WeakValueDictionary[int, Holder] = WeakValueDictionary()
_library = torch.library.Library("ogive", "DEF")
_library.define("elementwise(int key, ScalarType dtype, Tensor[] tensors, float[] numbers, bool[] is_tensor) -> Tensor")


def register(holder: Holder) -> int:
    """The number by which a graph knows ``holder``, for as long as that lives."""
    key = next(_keys)
    _by_key[key] = holder
    return key


def _elementwise(
    key: int, dtype: torch.dtype, tensors: list[Tensor], numbers: list[float], is_tensor: list[bool]
) -> Tensor:
    some, others = iter(tensors), iter(numbers)
    return apply(_by_key[key].form, dtype, [next(some) if t else next(others) for t in is_tensor], True)


_library.impl("elementwise", _elementwise, "CompositeImplicitAutograd")


def call(key: int, dtype: torch.dtype, args: tuple[Any, ...]) -> Tensor:
    """The operator on ``args`` (tensors or numbers), for a graph that is being traced."""
    is_tensor = [isinstance(a, Tensor) for a in args]
    tensors = [a for a in args if isinstance(a, Tensor)]
    numbers = [a for a in args if not isinstance(a, Tensor)]
    result: Tensor = torch.ops.ogive.elementwise(key, dtype, tensors, numbers, is_tensor)
    return result

"""What autograd keeps for backward, in bytes, seen through its saved-tensor hooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.speed.cases import Case, Operands
from ogive.speed.formulas import textbook
from ogive.speed.results import Saved


def first_line(problem: BaseException) -> str:
    """A failure in one line of at most 160 characters."""
    return f"{type(problem).__name__}: {(str(problem).strip() or 'no message').splitlines()[0]}"[:160]


def kept(
    act: Activation, name: str, dtype: torch.dtype, device: torch.device, skipped: list[str], size: int = 4096
) -> list[Saved]:
    """Bytes an element that autograd keeps beyond inputs and output, by its saved-tensor hooks."""
    case = Case(act, Operands.make(size, dtype, device))
    xs, params, leaves = case.leaves
    args = (*xs, *params.values())
    calls: dict[str, Callable[[], Tensor]] = {"ogive": lambda: act(*xs, **params)}
    if case.native is not None:
        native = case.native
        calls["native"] = lambda: native.call(*args)
    calls["eager"] = lambda: textbook(act)(*args)
    found = []
    for contender, call in calls.items():
        try:
            extra, output = saved_bytes(call, leaves)
        except (RuntimeError, TypeError) as problem:
            skipped.append(f"{act.label}, {name}, {contender}: {first_line(problem)}")
            continue
        found.append(Saved(act.label, name, contender, extra / size, output))
    return found


def saved_bytes(call: Callable[[], Tensor], inputs: Sequence[Tensor]) -> tuple[int, bool]:
    """Bytes of the distinct storages that ``call`` saves for backward beyond ``inputs`` and its result, and
    whether it saves its result.

    >>> x = torch.ones(8, requires_grad=True)
    >>> saved_bytes(lambda: torch.sigmoid(x), (x,)), saved_bytes(lambda: x * torch.sigmoid(x), (x,))
    ((0, True), (32, False))
    """
    storages: dict[int, Any] = {}

    def pack(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        storages[storage.data_ptr()] = storage
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = call()
    mine = {t.untyped_storage().data_ptr() for t in inputs}
    result = y.untyped_storage().data_ptr()
    return sum(s.nbytes() for at, s in storages.items() if at not in mine and at != result), result in storages

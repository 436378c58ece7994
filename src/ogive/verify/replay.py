"""A call run again on other tensors, and calls as the tracer hands them on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ogive.surgery.provenance import tensors_in

if TYPE_CHECKING:
    from ogive.verify.tracer import Seen, Tracer

Sources = dict[int, tuple[Tensor, "Seen"]]
Special = Callable[["Tracer", tuple[Any, ...], Mapping[str, Any], Sources, list[Tensor]], bool]


class Replay:
    """A call with other tensors in the place of those it was traced with; ``which`` of several results."""

    def __init__(
        self, func: Any, args: Any, kwargs: Any, slots: Mapping[int, int], which: int, several: bool
    ) -> None:  # fmt: skip
        self.func, self.slots, self.which, self.several = func, slots, which, several
        self.args, self.kwargs = _detached(args, slots), _detached(kwargs, slots)

    def __call__(self, *values: Tensor) -> Tensor:
        found = self.func(*_filled(self.args, values), **_filled(self.kwargs, values))
        return tensors_in((found,))[self.which] if self.several else found


class _Slot:
    def __init__(self, place: int) -> None:
        self.place = place


def _detached(value: Any, slots: Mapping[int, int]) -> Any:
    if isinstance(value, Tensor):
        return _Slot(slots[id(value)]) if id(value) in slots else value.detach()
    if isinstance(value, Mapping):
        return {k: _detached(v, slots) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(_detached(v, slots) for v in value)
    return value


def _filled(value: Any, values: tuple[Tensor, ...]) -> Any:
    if isinstance(value, _Slot):
        return values[value.place]
    if isinstance(value, dict):
        return {k: _filled(v, values) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(_filled(v, values) for v in value)
    return value


def replaced(value: Any, symbols: Mapping[int, Any]) -> Any:
    """Arguments with symbols in the place of tensors."""
    if isinstance(value, Tensor):
        return symbols.get(id(value), value)
    if isinstance(value, Mapping):
        return {k: replaced(v, symbols) for k, v in value.items()}
    return tuple(replaced(v, symbols) for v in value) if isinstance(value, (tuple, list)) else value


def bound(names: tuple[str, ...], args: Any, kwargs: Mapping[str, Any], **defaults: Any) -> dict[str, Any]:
    """Arguments by name."""
    return {**defaults, **dict(zip(names, args)), **kwargs}

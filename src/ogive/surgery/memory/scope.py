"""``saving("nothing")`` around every call of a model, and a meter of what autograd keeps that sees through it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from ogive.kernels.recompute import Same
from ogive.kernels.saving import saving

_meter: ContextVar[Meter | None] = ContextVar("ogive_saved_bytes", default=None)


class Meter:
    """Bytes that autograd keeps while it is open: every storage once, those of ``known`` tensors not at all.

    >>> x = torch.randn(100, requires_grad=True)
    >>> with Meter([x]) as meter:
    ...     y = x.exp().square()  # exp keeps its output, square the same tensor
    >>> meter.bytes
    400
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        self._known = {t.untyped_storage()._cdata for t in known}
        self._storages: dict[int, tuple[int, Tensor]] = {}
        self._open = ExitStack()

    @property
    def bytes(self) -> int:
        """So far."""
        return sum(size for size, _ in self._storages.values())

    def pack(self, t: Tensor) -> Tensor:
        """Counts ``t``, which stays alive so that no two storages share a place."""
        storage = t.untyped_storage()
        if storage._cdata not in self._known:
            self._storages[storage._cdata] = (storage.nbytes(), t.detach())
        return t

    def __enter__(self) -> Meter:
        token = _meter.set(self)
        self._open.callback(_meter.reset, token)
        self._open.enter_context(torch.autograd.graph.saved_tensors_hooks(self.pack, _same))
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()


def _same(t: Any) -> Any:
    return t


class NothingKept:
    """Opens ``saving("nothing")`` before the model's forward and closes it after, also after an error."""

    def __init__(self) -> None:
        self._stacks: list[ExitStack] = []

    def enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """A forward pre-hook. A graph compiler decides itself what to keep."""
        if torch.compiler.is_dynamo_compiling():
            return
        stack = ExitStack()
        stack.enter_context(saving("nothing"))
        self._stacks.append(stack)
        meter = _meter.get()
        hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)
        if meter is None or hooks is None:
            return
        inner, outer = hooks  # hooks do not stack: the innermost decide alone, so the meter goes inside them

        def pack(t: Tensor) -> Any:
            kept = inner(t)
            if isinstance(kept, Same):
                meter.pack(kept.tensor)
            return kept

        stack.enter_context(torch.autograd.graph.saved_tensors_hooks(pack, outer))

    def leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """A forward hook."""
        if not torch.compiler.is_dynamo_compiling() and self._stacks:
            self._stacks.pop().close()


def keep_nothing(model: nn.Module) -> Callable[[], None]:
    """Every call of ``model`` runs under ``saving("nothing")``; the result takes that away."""
    scope = NothingKept()
    handles = [model.register_forward_pre_hook(scope.enter),
               model.register_forward_hook(scope.leave, always_call=True)]  # fmt: skip

    def undo() -> None:
        while handles:
            handles.pop().remove()

    return undo

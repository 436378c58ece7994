"""Changes of a model's parameters and modules, each with what takes it back."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn

from ogive.surgery.wiring import Layer


class Edits:
    """Changes of parameters and modules that ``undo`` takes back, bit for bit, in reverse."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []
        self._kept: dict[int, Tensor] = {}  # tensors whose first values are kept; held, so that no id is used twice

    def undo(self) -> None:
        """Take everything back; once is enough, twice does no harm."""
        while self._undo:
            self._undo.pop()()
        self._kept.clear()

    def later(self, back: Callable[[], None]) -> None:
        """Something else to take back."""
        self._undo.append(back)

    def write(self, tensor: Tensor, value: Tensor) -> None:
        """New values in a parameter."""
        if id(tensor) not in self._kept:
            old = tensor.detach().clone()

            def back() -> None:
                with torch.no_grad():
                    tensor.copy_(old)

            self._kept[id(tensor)] = tensor
            self._undo.append(back)
        with torch.no_grad():
            tensor.copy_(value.reshape(tensor.shape))

    def add_bias(self, layer: Layer, more: Tensor) -> None:
        """``more`` added to the bias, which is made where there is none."""
        more = more.to(layer.weight.device)
        if layer.bias is not None:
            self.write(layer.bias, layer.bias.detach().double() + more)
            return
        layer.bias = nn.Parameter(more.to(layer.weight.dtype))
        self._undo.append(lambda: layer.register_parameter("bias", None))

    def exchange(self, model: nn.Module, old: nn.Module, new: nn.Module) -> None:
        """``new`` wherever ``old`` hangs."""
        for parent in list(model.modules()):
            for name, child in list(parent._modules.items()):
                if child is old:
                    parent._modules[name] = new
                    self._undo.append(PutBack(parent, name, old))


class PutBack:
    """Puts a child back where it hung.

    Of several exchanges at one place each may be taken back before the others: the one after it then puts back what
    this one would have. Where nothing hangs any more, the place itself has been taken away meanwhile.
    """

    _places: ClassVar[WeakKeyDictionary[nn.Module, dict[str, list[ref[PutBack]]]]] = WeakKeyDictionary()  # in order

    def __init__(self, parent: nn.Module, name: str, child: nn.Module) -> None:
        self.parent, self.name, self.child = parent, name, child
        self._places.setdefault(parent, {}).setdefault(name, []).append(ref(self))

    def __call__(self) -> None:
        there = self._places.get(self.parent, {}).get(self.name, [])
        there[:] = [r for r in there if r() is not None]
        place = next((i for i, r in enumerate(there) if r() is self), None)
        after = there[place + 1]() if place is not None and place + 1 < len(there) else None
        if after is not None:
            after.child = self.child
        elif self.name in self.parent._modules:
            self.parent._modules[self.name] = self.child
        if place is not None:
            del there[place]

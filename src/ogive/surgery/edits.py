"""Changes of a model's parameters and modules, each with what takes it back."""

from __future__ import annotations

from collections.abc import Callable

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
    """Puts a child back where it hung."""

    def __init__(self, parent: nn.Module, name: str, child: nn.Module) -> None:
        self.parent, self.name, self.child = parent, name, child

    def __call__(self) -> None:
        self.parent._modules[self.name] = self.child

"""A second device that is not there: tensors of the processor that count as a GPU's, and the errors that mixing raises.

Tensors are marked by their storage. Inside the mode every function sees its arguments first: what mixes a marked tensor
with an unmarked one raises as CUDA would, results of marked tensors are marked, ``.device`` says ``cuda:0``, ``.cpu()``
and ``.to`` copy across, and ``numpy`` refuses. Like CUDA it lets numbers (tensors without dimensions), indices of
``x[...]`` and ``copy_`` come from the processor.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

CUDA = torch.device("cuda", 0)
_FREE = {"copy_", "__getitem__", "__set__", "_has_compatible_shallow_copy_type"}


class Elsewhere(TorchFunctionMode):
    """The mode. ``marked(tensor)`` tells, ``move(module)`` takes a module over."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: dict[int, Any] = {}  # kept alive, so that no two have one place

    def marked(self, t: Tensor) -> bool:
        return t.untyped_storage()._cdata in self.storages

    def mark(self, t: Any) -> Any:
        if isinstance(t, Tensor) and t.layout == torch.strided:
            storage = t.untyped_storage()
            self.storages[storage._cdata] = storage
        return t

    def move(self, module: nn.Module) -> nn.Module:
        for t in [*module.parameters(), *module.buffers()]:
            t.data = t.data.clone()
            self.mark(t)
        return module

    def moved(self, x: Tensor) -> Tensor:
        return self.mark(x.clone())

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        with torch._C.DisableTorchFunction():
            return self._run(func, args, kwargs)

    def _run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        name = getattr(func, "__name__", "")
        if name == "__get__" and getattr(func, "__self__", None) is Tensor.device:
            return CUDA if self.marked(args[0]) else func(*args, **kwargs)
        tensors = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, Tensor)]
        marks = [t for t in tensors if self.marked(t)]
        if name in ("cpu", "cuda"):
            return args[0].clone() if name == "cpu" else self.moved(args[0])
        if name in ("to", "type_as"):
            return self._to(func, args, kwargs)
        if name in ("numpy", "__array__") and marks:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")
        wanted = kwargs.get("device")
        if name != "_parse_to" and wanted is not None and torch.device(wanted).type == "cuda":
            if kwargs.get("generator") is not None:
                raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
            kwargs["device"] = "cpu"
            return tree_map(self.mark, func(*args, **kwargs))
        if func is torch.autograd.grad:
            made = func(*args, **kwargs)
            given = kwargs.get("inputs", args[1] if len(args) > 1 else None)
            given = [given] if isinstance(given, Tensor) else given
            return tuple(self.mark(g) if g is not None and self.marked(p) else g for p, g in zip(given, made))
        if name.startswith("_foreach"):  # optimisers group by device before these
            made = func(*args, **kwargs)
            return made and [self.mark(m) if self.marked(a) else m for a, m in zip(args[0], made)]
        if name == "_parse_to":  # of Module.to(tensor)
            found = func(*args, **kwargs)
            return (CUDA, *found[1:]) if marks else found
        sized = [t for t in tensors if t.dim()] if name != "tensor" else []
        if marks and name not in _FREE:
            if name in ("__setitem__", "index_put_", "index_put"):
                sized = [t for t in sized if t.is_floating_point()]
            others = [t for t in sized if not self.marked(t)]
            if others and (any(t.dim() for t in marks) or any(t.dim() for t in others)):
                raise RuntimeError(f"Expected all tensors to be on the same device, but got cuda:0 and cpu in {name}: "
                                   f"{[(tuple(t.shape), self.marked(t)) for t in tensors]}")  # fmt: skip
        result = func(*args, **kwargs)
        if not marks or name in ("item", "tolist", "__repr__", "copy_", "tensor"):
            return result
        if name == "__getitem__" and not self.marked(args[0]):
            raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
        return tree_map(self.mark, result)

    def _to(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        x, target = args[0], kwargs.pop("device", None)
        rest = []
        for a in args[1:]:
            if isinstance(a, Tensor):
                target = CUDA if self.marked(a) else "cpu"
                rest.append(a.dtype)
            elif isinstance(a, (torch.device, str)) and not isinstance(a, torch.dtype):
                target = a
            elif isinstance(a, torch.dtype):  # what is left says whether to copy or to wait
                rest.append(a)
        kwargs = {k: v for k, v in kwargs.items() if k in ("dtype", "other") and v is not None}
        if "other" in kwargs:
            other = kwargs.pop("other")
            target, rest = (CUDA if self.marked(other) else "cpu"), [*rest, other.dtype]
        to = self.marked(x) if target is None else torch.device(target).type == "cuda"
        made = func(x, *rest, **kwargs) if rest or kwargs else x
        if to == self.marked(x):
            return self.mark(made) if to else made
        made = made.clone()
        return self.mark(made) if to else made

"""Keeping nothing new: the layers after an activation let go of its output and get it again from its input."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ogive.errors import InputError
from ogive.kernels.eager import Elementwise, Form, evaluate


@dataclass(frozen=True)
class _Made:
    """How an output was computed, and where it lay."""

    form: Form
    dtype: torch.dtype
    args: tuple[Tensor | float, ...]
    versions: tuple[int, ...]
    version: int
    offset: int

    def again(self) -> Tensor:
        """The output once more."""
        now = tuple(a._version for a in self.args if isinstance(a, Tensor))
        if now != self.versions:
            raise InputError(
                f"saving('nothing'): the input of {self.form.expr} was changed in place after the activation, so "
                "its output cannot be computed again; do not change it, or choose another policy"
            )
        with torch.no_grad():
            return evaluate(self.form, self.dtype, False, self.args)


@dataclass(frozen=True)
class _View:
    """A view of an output that some layer wanted to keep."""

    made: _Made
    size: torch.Size
    stride: tuple[int, ...]
    offset: int


@dataclass(frozen=True)
class Same:
    """Any other tensor, and its version: under hooks autograd itself does not notice changes in place."""

    tensor: Tensor
    version: int

    def checked(self) -> Tensor:
        """The tensor, as it was when it was kept."""
        if self.tensor._version != self.version:
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an inplace operation: a "
                f"tensor of shape {tuple(self.tensor.shape)} kept under saving('nothing') is at version "
                f"{self.tensor._version}; expected version {self.version}"
            )
        return self.tensor


class Recompute:
    """The outputs made under one ``saving("nothing")``, found again by their storage when a layer saves them.

    An output that was changed in place since, or whose storage is gone, is not found, and the layer keeps what
    it wanted to keep.
    """

    def __init__(self) -> None:
        self._made: dict[int, tuple[_Made, weakref.ref[Tensor]]] = {}

    def run(self, form: Form, dtype: torch.dtype, args: Sequence[Tensor | float]) -> Tensor:
        """The activation, its output noted; it keeps its input itself."""
        y: Tensor = Elementwise.apply(form, dtype, False, *args)
        held = tuple(a.detach() if isinstance(a, Tensor) else a for a in args)
        versions = tuple(a._version for a in held if isinstance(a, Tensor))
        made = _Made(form, dtype, held, versions, y._version, int(y.storage_offset()))
        where = y.untyped_storage()._cdata
        self._made[where] = (made, weakref.ref(y, lambda gone: self._forget(where, gone)))
        return y

    def _forget(self, where: int, gone: weakref.ref[Tensor]) -> None:
        if where in self._made and self._made[where][1] is gone:
            del self._made[where]

    def pack(self, t: Tensor) -> _View | Same:
        """What a layer keeps in place of ``t``."""
        same = Same(t.detach(), t._version)  # t itself would hold the graph that holds it
        if t.layout != torch.strided:
            return same
        found = self._made.get(t.untyped_storage()._cdata)
        if found is None or found[1]() is None or found[0].version != t._version or found[0].dtype != t.dtype:
            return same
        return _View(found[0], t.shape, t.stride(), int(t.storage_offset()) - found[0].offset)

    def unpack(self, kept: _View | Same) -> Tensor:
        """The tensor that the layer kept."""
        if isinstance(kept, Same):
            return kept.checked()
        y = kept.made.again()
        return y.as_strided(kept.size, kept.stride, y.storage_offset() + kept.offset)

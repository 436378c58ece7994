"""Writing a result into a tensor that exists: what is refused, and what needs a copy in between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ogive.errors import InputError
from ogive.kernels.eager import Form, evaluate


def check(label: str, out: Any, shape: torch.Size, dtype: torch.dtype, inputs: Sequence[Any]) -> None:
    """Refuse an ``out`` that cannot hold the result or whose gradient would be lost.

    Raises:
        InputError: quoting what ``out`` is and what it has to be.
    """
    if not isinstance(out, Tensor):
        raise InputError(f"{label}: out={out!r}"[:160] + "; it takes a tensor to write into")
    if out.dtype != dtype or out.shape != shape:
        raise InputError(
            f"{label}: out is {tuple(out.shape)} {out.dtype}, the result {tuple(shape)} {dtype}; give "
            "torch.empty_like(x)"
        )
    like = next(t for t in inputs if isinstance(t, Tensor))
    if out.device != like.device:
        raise InputError(f"{label}: out is on {out.device}, the input on {like.device}")
    if torch.is_grad_enabled() and any(isinstance(t, Tensor) and t.requires_grad for t in (*inputs, out)):
        raise InputError(f"{label}: out= records no gradient; call it under torch.no_grad(), or without out=")
    if any(stride == 0 and size > 1 for stride, size in zip(out.stride(), out.shape)):
        raise InputError(f"{label}: out is an expanded tensor, whose elements share memory; give it a clone()")


def write(label: str, form: Form, dtype: torch.dtype, args: Sequence[Any], out: Tensor) -> Tensor:
    """The value of ``form`` into ``out``, which may be one of the inputs; a new version of ``out`` for autograd."""
    check(label, out, torch.broadcast_shapes(*(a.shape for a in args if isinstance(a, Tensor))), dtype, args)
    if any(_collides(out, a) for a in args if isinstance(a, Tensor)):
        out.copy_(evaluate(form, dtype, False, args))
    elif evaluate(form, dtype, False, args, out) is out:
        torch.autograd.graph.increment_version(out)  # kernels write past autograd's eyes
    return out


def _collides(out: Tensor, a: Tensor) -> bool:
    """Whether writing ``out`` element by element could overwrite an element of ``a`` that is still to be read."""
    if out.data_ptr() == a.data_ptr() and out.stride() == a.stride() and out.shape == a.shape:
        return False
    if out.device != a.device or torch._debug_has_internal_overlap(out) != 0:
        return out.device == a.device
    return out.untyped_storage().data_ptr() == a.untyped_storage().data_ptr()

"""Which compiled kernel runs a Form on the CPU.

One tensor and numbers: the plan of the function, with the upstream gradient as a factor where there is one. Gates
whose squashed side is fitted have kernels of their own. Everything else (learned parameters, other gates, higher
derivatives) is generated, all wanted results in one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ogive.kernels import gate, native, several, unary

if TYPE_CHECKING:
    from ogive.kernels.eager import Form


def evaluate(form: Form, dtype: torch.dtype, args: Sequence[Any], out: Tensor | None = None) -> Tensor | None:
    """``form`` on CPU tensors by a compiled kernel, or None where only the eager program will do."""
    if not native.enabled or torch._C._len_torch_dispatch_stack():
        return None
    x = args[0]
    if not isinstance(x, Tensor) or not native.plain(x) or x.dtype != dtype:
        return _several(form, dtype, args, out)
    rest = args[1:]
    if not any(isinstance(a, Tensor) for a in rest):
        made = unary.plan(form, tuple(rest), dtype)
        return None if made is None else unary.run(made, x, None, None, out)
    g = rest[-1]
    if (
        form.slope is not None
        and isinstance(g, Tensor)
        and g.dtype == dtype
        and g.shape == x.shape
        and native.plain(g)
        and not any(isinstance(a, Tensor) for a in rest[:-1])
    ):
        made = unary.plan(form.slope, tuple(rest[:-1]), dtype)
        return None if made is None else unary.run(made, x, g, form, out)
    return _several(form, dtype, args, out)


def _several(form: Form, dtype: torch.dtype, args: Sequence[Any], out: Tensor | None) -> Tensor | None:
    if len(args) > 1 and isinstance(args[1], Tensor) and not any(isinstance(a, Tensor) for a in args[2:]):
        x, y = args[0], args[1]
        if isinstance(x, Tensor) and x.shape == y.shape and x.dtype == y.dtype == dtype:
            made = gate.run(form, tuple(args[2:]), x, y, None)
            if made is not None:
                return made[0] if out is None else out.copy_(made[0])
    found = several.results((form,), (dtype,), args, ("store",))
    if found is None:
        return None
    return found[0] if out is None else out.copy_(found[0])

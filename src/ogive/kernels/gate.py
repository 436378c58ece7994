"""Gates f(x) y whose f is fitted: the value in one pass, both gradients in one pass; rows may lie apart."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ogive.kernels import native, unary

if TYPE_CHECKING:
    from ogive.kernels.eager import Form

_CODE = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}


@lru_cache(maxsize=1024)
def factor(form: Form) -> Form | None:
    """The Form of f when ``form`` is f(x) y, the second input a plain factor; else None."""
    if len(form.names) < 2 or form.surrogate is not None or form.expr.op != "mul":
        return None
    second = form.names[1]
    for part, other in (form.expr.args, form.expr.args[::-1]):
        if part.op == "var" and part.data == second and second not in other.variables():
            names = (form.names[0], *form.names[2:])
            return replace(form, expr=other, names=names, defaults=form.defaults[1:])
    return None


def _rows(t: Tensor, shape: torch.Size) -> int | None:
    """The distance between rows of ``t``, whose last dimension must be dense and the others regular."""
    if t.shape != shape or t.stride(-1) != 1:
        return None
    if t.is_contiguous():
        return int(shape[-1])
    apart = t.stride(-2) if t.dim() > 1 else int(shape[-1])
    for i in range(t.dim() - 2):
        if shape[i] != 1 and t.stride(i) != t.stride(i + 1) * shape[i + 1]:
            return None
    return int(apart)


def run(form: Form, numbers: tuple[float, ...], x: Tensor, y: Tensor, g: Tensor | None,
        into: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, ...] | None:  # fmt: skip
    """The value of gate ``form`` (``g`` None) or both its gradients, into ``into`` when given; None when there is
    no kernel for it."""
    f = factor(form)
    runtime = native.runtime()
    dtype = x.dtype
    if f is None or runtime is None or dtype not in _CODE or not x.dim() or not x.numel():
        return None
    if any(t is not None and (t.dtype != dtype or not native.plain(t)) for t in (y, g)) or not native.plain(x):
        return None
    value, slope = unary.plan(f, numbers, dtype), None
    if value is None or value.kind != "fit":
        return None
    if g is not None:
        product = f.vjp(0).slope
        slope = unary.plan(product, numbers, dtype) if product is not None else None
        if slope is None or slope.kind != "fit":
            return None
    given = [x, y] if g is None else [x, y, g]
    if into is None:
        alike = native.dense(x) and all(t.stride() == x.stride() for t in given)
        if not alike:
            given = [t if _rows(t, x.shape) is not None else t.contiguous() for t in given]
        x = given[0]
        like = x if alike else torch.empty(x.shape, dtype=dtype)
        into = (torch.empty_like(like), torch.empty_like(like) if g is not None else like)
        columns, rows = (x.numel(), 1) if alike else (x.shape[-1], x.numel() // x.shape[-1])
    else:
        alike = False
        given[2:] = [t.contiguous() for t in given[2:]]
        columns, rows = x.shape[-1], x.numel() // x.shape[-1]
    tensors = [*given, *[None] * (3 - len(given)), into[0], into[1] if g is not None else None]
    apart = [0 if alike or t is None else _rows(t, x.shape) for t in tensors]
    known = [a for a in apart if a is not None]
    if len(known) < len(apart):
        return None
    if not alike and all(a in (0, columns) for a in known):
        rows, columns = 1, x.numel()
    x, y, g = given[0], given[1], given[2] if len(given) > 2 else None
    threads = 1 if x.numel() < native.PARALLEL else torch.get_num_threads()
    distances = (ctypes.c_long * 5)(*known)
    args = (
        value.data, slope.data if slope is not None else None, _CODE[dtype], x.data_ptr(), y.data_ptr(),
        g.data_ptr() if g is not None else None, into[0].data_ptr(), into[1].data_ptr(), distances, rows, columns,
        threads,
    )  # fmt: skip
    if runtime.gate(*args):
        if not value.serve_rare() or (slope is not None and not slope.serve_rare()):
            return None
        runtime.gate(*args)
    return into if g is not None else into[:1]

"""Kernels of several tensors and several results: learned parameters, gates, their gradients in one pass."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ogive.kernels import gate, native
from ogive.kernels.emit import NAMES, Layout

if TYPE_CHECKING:
    from ogive.kernels.eager import Form

_P, _I, _D = ctypes.c_void_p, ctypes.c_int, ctypes.c_double


def _channel(t: Tensor, like: Tensor) -> int | None:
    """The dimension of ``like`` along which ``t`` varies when it is the only one, else None."""
    lead = like.dim() - t.dim()
    if lead < 0:
        return None
    wide = [i for i, size in enumerate(t.shape) if size != 1]
    if len(wide) != 1 or t.shape[wide[0]] != like.shape[lead + wide[0]]:
        return None
    return lead + wide[0]


def results(
    forms: Sequence[Form], dtypes: Sequence[torch.dtype], args: Sequence[Any], modes: Sequence[str]
) -> list[Tensor] | None:
    """The values of ``forms``, which share their inputs ``args``, in one pass over the elements. ``modes``:
    ``"store"`` for a tensor of the common shape, ``"sum:i"`` for the sum over everything that input ``i`` is
    broadcast along, in its shape. None where no kernel can be used."""
    run = native.runtime()
    tensors = [a for a in args if isinstance(a, Tensor)]
    if run is None or not tensors or not all(native.plain(t) for t in tensors):
        return None
    like = max(tensors, key=lambda t: (t.numel(), t.dim()))
    if like.numel() == 0:
        return None
    full = [t for t in tensors if t.shape == like.shape and t.numel() > 1]
    base = next((t for t in full if native.dense(t)), None)
    if base is None or any(d not in NAMES for d in dtypes):
        return None
    # Which dimension the parameters of a channel lie along: one for all, or they become full arrays.
    axes = {_channel(t, like) for t in tensors if t.shape != like.shape and t.numel() > 1}
    axis = axes.pop() if len(axes) == 1 and base.is_contiguous() else None
    inner = 1
    if axis is not None:
        for size in like.shape[axis + 1 :]:
            inner *= size
    per_channel = axis is not None and inner >= 16
    kinds: list[str] = []
    arrays: list[Tensor] = []
    scalars: list[Any] = []
    varies: list[Tensor | None] = []
    for a in args:
        if not isinstance(a, Tensor) or (a.numel() == 1 and a.shape != like.shape):
            kinds.append("")
            scalars.append(float(a))
            varies.append(None)
        elif a.shape != like.shape and per_channel:
            kinds.append("")
            scalars.append(a)
            varies.append(a)
        else:
            if a.shape != like.shape:
                try:
                    a = a.expand(like.shape)
                except RuntimeError:
                    return None
            if a.stride() != base.stride():
                a = torch.empty_like(base, dtype=a.dtype).copy_(a)
            kinds.append(NAMES[a.dtype])
            arrays.append(a)
    whole = [m != "store" and not per_channel and _size(args, m) != 1 for m in modes]
    wide = torch.float64
    stored = [NAMES[wide] if w else NAMES[d] if m == "store" else "sum" for m, d, w in zip(modes, dtypes, whole)]
    narrow = all(f.narrow and not any(f.program.far) for f in forms) and set(kinds) <= {"", "f32", "bf16", "f16"}
    narrow = narrow and "f64" not in stored and "sum" not in stored and len({k for k in kinds if k}) == 1
    kernel = native.generated(tuple(f.program for f in forms), Layout(tuple(kinds), tuple(stored), narrow))
    if kernel is None:
        return None
    outs = [torch.empty_like(base, dtype=wide if w else d) for m, d, w in zip(modes, dtypes, whole)
            if m == "store" or w]  # fmt: skip
    sums = stored.count("sum")
    threads = 1 if like.numel() < native.PARALLEL else torch.get_num_threads()
    ins = (_P * max(1, len(arrays)))(*(t.data_ptr() for t in arrays))
    in_size = (_I * max(1, len(arrays)))(*(t.element_size() for t in arrays))
    to = (_P * max(1, len(outs)))(*(t.data_ptr() for t in outs))
    to_size = (_I * max(1, len(outs)))(*(t.element_size() for t in outs))
    if per_channel and any(v is not None for v in varies):
        assert axis is not None
        channels = like.shape[axis]
        table = torch.stack(
            [s.detach().reshape(-1).double() if isinstance(s, Tensor) else torch.full((channels,), s, dtype=wide)
             for s in scalars], dim=1).contiguous()  # fmt: skip
        totals = torch.zeros(channels, max(1, sums), dtype=wide)
        run.channels(kernel, len(arrays), ins, in_size, table.data_ptr(), len(scalars), len(outs), to, to_size, sums,
                     totals.data_ptr(), like.numel() // (channels * inner), channels, inner, threads)  # fmt: skip
    else:
        fixed = (_D * max(1, len(scalars)))(*scalars)
        totals = torch.zeros(1, max(1, sums), dtype=wide)
        run.launch(kernel, None, len(arrays), ins, in_size, fixed, len(outs), to, to_size, sums, totals.data_ptr(),
                   like.numel(), threads)  # fmt: skip
    return _collect(args, modes, dtypes, whole, outs, totals)


def _collect(
    args: Sequence[Any], modes: Sequence[str], dtypes: Sequence[torch.dtype], whole: Sequence[bool],
    outs: list[Tensor], totals: Tensor,
) -> list[Tensor]:  # fmt: skip
    made: list[Tensor] = []
    arrays, column = iter(outs), 0
    for mode, dtype, w in zip(modes, dtypes, whole):
        if mode == "store":
            made.append(next(arrays))
            continue
        shape = args[int(mode.partition(":")[2])].shape
        if w:
            made.append(next(arrays).sum_to_size(shape).to(dtype))
            continue
        total = totals[:, column]
        made.append((total if total.numel() == shape.numel() else total.sum()).reshape(shape).to(dtype))
        column += 1
    return made


def _size(args: Sequence[Any], mode: str) -> int:
    return int(args[int(mode.partition(":")[2])].numel())


def gradients(form: Form, args: Sequence[Any], g: Tensor, wanted: Sequence[int]) -> list[Tensor] | None:
    """The gradients of inputs ``wanted``, each in the shape and dtype of its input, in one pass; None where the
    general path has to."""
    fixed = not any(isinstance(a, Tensor) for a in args[2:])
    if list(wanted) == [0, 1] and fixed and args[0].shape == args[1].shape == g.shape:
        pair = gate.run(form, tuple(args[2:]), args[0], args[1], g)
        if pair is not None:
            return list(pair)
    modes = ["store" if args[i].shape == g.shape else f"sum:{i}" for i in wanted]
    return results([form.vjp(i) for i in wanted], [args[i].dtype for i in wanted], (*args, g), modes)

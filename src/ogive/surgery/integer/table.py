"""``TableAct``: an activation as a table of integers, between a grid for its input and one for its output."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ogive.activation import Activation
from ogive.derive.calculus import derivative
from ogive.errors import InputError, OgiveError, ParameterError
from ogive.lookup import get
from ogive.surgery.integer import kernel
from ogive.surgery.integer.grid import Grid, grid

_PART = 8  # bits of a 16-bit input between two entries of its table


def _positions(into: Grid) -> Tensor:
    """The integers that have an entry: all of up to 8 bits; every 256th of more, and one past the last."""
    if into.high - into.low < 256:
        return torch.arange(into.low, into.high + 1)
    return torch.arange(into.low, into.high + 2, 1 << _PART)


def span(act: Activation, into: Grid) -> tuple[float, float]:
    """The least and greatest value of ``act`` on the integers of a grid. Raises OgiveError where it is not finite."""
    x = into.values(_positions(into))
    y = act(x)
    if not bool(torch.isfinite(y).all()):
        bad = float(x[~torch.isfinite(y)][0])
        raise OgiveError(f"{act.label} is {float(act(torch.tensor(bad).double())):g} at {bad:g}, so it has no table "
                         f"over [{into.ends[0]:g}, {into.ends[1]:g}]")  # fmt: skip
    return float(y.min()), float(y.max())


class TableAct(nn.Module):
    """``y = s_y (T[q] - z_y)`` with ``q = round(x / s_x) + z_x``: f as a table T of integers.

    Called with a floating tensor it rounds to the input's grid, looks up, and returns values of the output's grid in
    the input's dtype; called with an integer tensor (int8; int16 for 16 bits) it takes and gives integers of the two
    grids and does no floating arithmetic. Up to 8 bits every integer has an entry; with 16 bits the upper byte chooses
    two of 257 entries and the lower byte goes between them, rounded half up. NaN, which no integer stands for, is
    taken as the zero point. Backward multiplies by the slope of f at the rounded input, 0 where it was cut off. The
    table and the grids are buffers, so they are in the ``state_dict``.

    Args:
        spec: any activation of one input: a name, a formula, an Activation, an ``ogive.Act``.
        into: the input's grid.
        out: the output's grid; by default the one over the values that f takes on ``into``, as many bits.

    Raises:
        InputError: for a gate of two inputs.
        OgiveError: where f is not finite on the input's grid.

    >>> act = TableAct("sigmoid", grid(-8.0, 8.0))
    >>> act(torch.tensor([0.0, 1.0])), act(torch.tensor([-128, 127], dtype=torch.int8))
    (tensor([0.5018, 0.7331]), tensor([-128,  127], dtype=torch.int8))
    """

    entry: Activation
    levels: Tensor
    input_grid: Tensor
    output_grid: Tensor

    def __init__(self, spec: Any, into: Grid, out: Grid | None = None) -> None:
        super().__init__()
        act = get(spec)
        if len(act.inputs) != 1:
            raise InputError(f"{act.label} is a gate of {len(act.inputs)} inputs; a table holds a function of one")
        least, most = span(act, into)
        bits = max((into.high - into.low).bit_length(), 2)
        out = grid(least, most, bits) if out is None else out
        if (into.high - into.low < 256) != (out.high - out.low < 256):
            raise ParameterError(f"{act.label}: a grid of {into.high - into.low + 1} integers into one of "
                                 f"{out.high - out.low + 1}; both have 8 bits or fewer, or both more")  # fmt: skip
        self.entry, self.into, self.out = act, into, out
        wide = out.high - out.low >= 256
        entries = out.integers(act(into.values(_positions(into))))
        self.register_buffer("levels", entries.to(torch.int16 if wide else torch.int8))
        self.register_buffer("input_grid", _stored(into))
        self.register_buffer("output_grid", _stored(out))
        self.register_load_state_dict_post_hook(_restored)
        self._kept: tuple[Any, Tensor, Tensor, Tensor] | None = None

    @property
    def activation(self) -> Activation:
        """The function that the table stands for."""
        return self.entry

    @property
    def dtype(self) -> torch.dtype:
        """The integers that it takes and gives."""
        return self.levels.dtype

    def forward(self, x: Tensor) -> Tensor:
        """Values for a floating tensor, integers for an integer one of the table's type."""
        if x.dtype == self.dtype:
            if self.levels.numel() == 256 and kernel.usable(x):
                return kernel.bytes_through(x, self._ready()[0])
            return self.looked_up(x.to(torch.int32).clamp_(self.into.low, self.into.high)).to(self.dtype)
        if not x.is_floating_point():
            raise InputError(f"{self.entry.label} as a table takes floating tensors or {self.dtype}; got {x.dtype}")
        if torch.onnx.is_in_onnx_export():
            from ogive.surgery.integer.onnx_nodes import symbolic

            return symbolic(self, x)
        if x.requires_grad and torch.is_grad_enabled():
            result: Tensor = _Looked.apply(x, self)
            return result
        return self._values(x)

    def _values(self, x: Tensor) -> Tensor:
        into = self.into
        if x.dtype == torch.float32 and self.dtype == torch.int8 and kernel.usable(x):
            return kernel.floats_through(x, *self._ready()[1:], into, self.out)
        return self.out.values(self.looked_up(into.integers(x)), x.dtype)

    def _ready(self) -> tuple[Tensor, Tensor, Tensor]:
        """The table as the kernels read it: by unsigned byte, as float32 values, and as 256 bytes in their order."""
        key = self.levels.data_ptr(), self.levels._version, self.out
        if self._kept is None or self._kept[0] != key:
            levels = self.levels.contiguous()
            whole = torch.cat([levels, levels.new_zeros(256 - levels.numel())])
            self._kept = key, torch.cat([levels[128:], levels[:128]]), self.out.values(levels, torch.float32), whole
        return self._kept[1:]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": None}

    def looked_up(self, q: Tensor) -> Tensor:
        """Integers of the output for integers of the input, int32; integer arithmetic only."""
        at = q - self.into.low
        if self.dtype == torch.int8:
            return torch.index_select(self.levels, 0, at.flatten()).view(at.shape).to(torch.int32)
        entry, part = (at >> _PART).flatten(), at & ((1 << _PART) - 1)
        left, right = (torch.index_select(self.levels, 0, entry + i).view(at.shape).to(torch.int32) for i in (0, 1))
        return left + (((right - left) * part + (1 << (_PART - 1))) >> _PART)

    def slopes(self, x: Tensor) -> Tensor:
        """f' at the rounded input, 0 where the grid cut it off."""
        low, high = self.into.ends
        rounded = self.into.rounded(x)
        return derivative(self.entry)(rounded) * ((x >= low) & (x <= high))

    def extra_repr(self) -> str:
        (a, b), (c, d) = self.into.ends, self.out.ends
        return f"{self.entry.label}, {self.levels.numel()} entries, [{a:.4g}, {b:.4g}] to [{c:.4g}, {d:.4g}]"


class _Looked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, table: TableAct) -> Tensor:
        ctx.save_for_backward(x)
        ctx.table = table
        return table._values(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return grads[0] * ctx.table.slopes(x), None


def _stored(of: Grid) -> Tensor:
    """Scale (the bits of its float32), zero, low and high as whole numbers, which no ``model.half()`` rounds."""
    bits = int(torch.tensor(of.scale, dtype=torch.float32).view(torch.int32))
    return torch.tensor([bits, of.zero, of.low, of.high], dtype=torch.int32)


def _restored(module: nn.Module, keys: Any) -> None:
    """After loading: the grids are those of the buffers."""
    assert isinstance(module, TableAct)
    for name, buffer in (("into", module.input_grid), ("out", module.output_grid)):
        scale = float(buffer[0].view(torch.float32))
        setattr(module, name, Grid(scale, *buffer[1:].tolist()))

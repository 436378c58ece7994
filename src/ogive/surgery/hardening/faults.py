"""Bit flips in the weights or the activations of a model, by seed, and their undoing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ogive.errors import InputError, ParameterError
from ogive.surgery.hardening.words import DTYPES, drawn, flipped, masks_of, width_of
from ogive.surgery.wiring import packed

WHAT = ("weights", "activations")


class Faults:
    """Flips that are in force until ``undo()``; also a context manager. ``flips`` of ``bits`` bits were turned over
    (of activations: in the runs so far)."""

    def __init__(self, rate: float, what: str, dtype: str, seed: int) -> None:
        self.rate, self.what, self.dtype, self.seed = rate, what, dtype, seed
        self.flips = self.bits = 0
        self._undo: list[Callable[[], None]] = []

    def undo(self) -> None:
        """Every value as it was, bit for bit."""
        while self._undo:
            self._undo.pop()()

    def __enter__(self) -> Faults:
        return self

    def __exit__(self, *error: object) -> None:
        self.undo()

    def __repr__(self) -> str:
        return f"Faults({self.what} in {self.dtype}, rate {self.rate:g}: {self.flips} of {self.bits} bits flipped)"


def flip_bits(
    target: nn.Module | Tensor, rate: float, *, what: str = "weights", dtype: str = "float32", seed: int = 0
) -> Faults:
    """Flip each bit of a model's weights or activations with probability ``rate``, independently, in place.

    Weights are all floating parameters, each once; buffers are not hit (bounds of :func:`harden` among them, and
    statistics of norms). Activations are the results of layers with a weight of two or more dimensions, other bits in
    every run. With another ``dtype`` than the model's own, values are rounded to it first, all of them.

    Args:
        target: a model, or one floating tensor.
        rate: probability of a flip by bit, 0 to 1.
        what: ``"weights"`` or ``"activations"``.
        dtype: how the memory holds the numbers: ``float32``, ``bfloat16``, ``float16`` or ``int8`` (symmetric, a
            scale for each tensor, which is not hit).
        seed: same seed, same flips.

    Raises:
        ParameterError: for a rate, dtype or ``what`` that is none.
        InputError: for something else than a model or floating tensor, or one without values to hit.

    >>> x = torch.ones(1000)
    >>> with flip_bits(x, 1e-3, seed=1) as faults:
    ...     changed = int((x != 1).sum())
    >>> faults, changed, int((x != 1).sum())
    (Faults(weights in float32, rate 0.001: 28 of 32000 bits flipped), 28, 0)
    """
    width = width_of(dtype)
    if what not in WHAT:
        raise ParameterError(f"flip_bits: what={what!r}; it is 'weights' or 'activations'")
    rng = np.random.default_rng(seed)
    faults = Faults(rate, what, dtype, seed)
    if what == "activations":
        if not isinstance(target, nn.Module):
            raise InputError(f"flip_bits: activations are a model's; got {type(target).__name__}")
        drawn(0, rate, rng)  # refuses a rate that is none
        layers = [m for m in target.modules() if _maps(m)]
        if not layers:
            raise InputError("flip_bits: the model has no layer with a weight of two or more dimensions")
        hit = _HitOutput(faults, rng)
        faults._undo += [m.register_forward_hook(hit).remove for m in layers]
        return faults
    tensors = _tensors(target, dtype)
    ends = np.cumsum([0] + [t.numel() * width for t in tensors])
    faults.bits = int(ends[-1])
    bits = drawn(faults.bits, rate, rng)
    faults.flips = bits.size
    cuts = np.searchsorted(bits, ends)
    try:
        for i, tensor in enumerate(tensors):
            _hit(tensor, dtype, bits[cuts[i] : cuts[i + 1]] - ends[i], faults)
    except BaseException:
        faults.undo()
        raise
    return faults


def _maps(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return not any(module.children()) and isinstance(weight, Tensor) and weight.dim() >= 2


def _tensors(target: Any, dtype: str) -> list[Tensor]:
    if isinstance(target, Tensor):
        found = [target] if target.is_floating_point() else []
    elif isinstance(target, nn.Module):
        found = [p for p in target.parameters() if p.is_floating_point()]
    else:
        raise InputError(f"flip_bits: it takes a model or a tensor; got {type(target).__name__}")
    away = [t for t in found if packed(t)]
    if away:
        raise InputError(f"flip_bits: {packed(away[0])}, whose bits are out of reach; use the model from before it was "
                         "quantised and dtype='int8'")  # fmt: skip
    if not sum(t.numel() for t in found):
        raise InputError("flip_bits: there is no floating value to hit")
    small = [t for t in found if t.itemsize < 4 and t.dtype != DTYPES[dtype] and dtype != "int8"]
    if small:
        raise ParameterError(f"flip_bits: dtype={dtype!r}, but the model holds {small[0].dtype}, which cannot hold the "
                             f"flipped values; use dtype={str(small[0].dtype).removeprefix('torch.')!r}")  # fmt: skip
    return found


def _hit(tensor: Tensor, dtype: str, bits: Any, faults: Faults) -> None:
    """Flip bits of one tensor, and note how it was."""
    own = tensor.detach()
    if own.dtype == DTYPES[dtype] and own.is_contiguous():  # only the words that are hit need to be noted
        if not bits.size:
            return
        at, masks = masks_of(bits, width_of(dtype))
        words = own.view({4: torch.int32, 2: torch.int16}[own.itemsize]).view(-1)
        where = torch.from_numpy(at).to(own.device)
        before = words[where]
        words[where] = before ^ torch.from_numpy(masks).to(own.device)
        faults._undo.append(partial(_write, words, where, before))
        return
    faults._undo.append(partial(_write, own, ..., own.clone()))
    own.copy_(flipped(own, dtype, bits))


def _write(into: Tensor, where: Any, values: Tensor) -> None:
    into[where] = values


class _HitOutput:
    """A forward hook: other bits of each result."""

    def __init__(self, faults: Faults, rng: np.random.Generator) -> None:
        self.faults, self.rng = faults, rng

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if not isinstance(output, Tensor) or not output.is_floating_point():
            return output
        total = output.numel() * width_of(self.faults.dtype)
        bits = drawn(total, self.faults.rate, self.rng)
        self.faults.bits += total
        self.faults.flips += bits.size
        return flipped(output, self.faults.dtype, bits)

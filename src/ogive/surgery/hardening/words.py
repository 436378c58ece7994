"""Numbers as the words of bits that a memory holds, and flips of chosen bits."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ogive.errors import ParameterError, closest

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "int8": torch.int8}
_WORDS = {
    32: (torch.int32, np.int32, np.uint32), 16: (torch.int16, np.int16, np.uint16), 8: (torch.int8, np.int8, np.uint8),
}  # fmt: skip


def width_of(dtype: str) -> int:
    """Bits of a word. Raises ParameterError for another dtype.

    >>> width_of("bfloat16"), width_of("int8")
    (16, 8)
    """
    if dtype not in DTYPES:
        near = closest(str(dtype), list(DTYPES), 1)[0]
        raise ParameterError(f"dtype={dtype!r}; it is one of {', '.join(DTYPES)} (did you mean {near!r}?)")
    return DTYPES[dtype].itemsize * 8


def drawn(total: int, rate: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """The bits that flip when each of ``total`` does with probability ``rate``, independently; sorted.

    Their number is binomial, and given the number every set of bits is as likely as another.
    """
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0.0 <= rate <= 1.0:
        raise ParameterError(f"rate={rate!r}; it is the probability that a bit flips, 0 to 1")
    count = int(rng.binomial(total, rate)) if total else 0
    return np.sort(rng.choice(total, size=count, replace=False, shuffle=False)) if count else np.empty(0, np.int64)


def flipped(values: Tensor, dtype: str, bits: NDArray[np.int64]) -> Tensor:
    """``values`` rounded to ``dtype`` with these bits of its words (counted through all of them) turned over.

    int8 is symmetric with one scale, ``max|x|/127``; the scale itself is not hit. The result has the dtype of
    ``values``.

    >>> flipped(torch.tensor([1.0, -2.0]), "float32", np.array([31, 32 + 23]))  # a sign, the last bit of an exponent
    tensor([-1., -4.])
    """
    width = width_of(dtype)
    scale: Tensor | None = None
    if dtype == "int8":
        scale = values.detach().abs().max().clamp_min(torch.finfo(torch.float32).tiny).float() / 127.0
        coded = (values.detach().float() / scale).round().clamp_(-127, 127).to(torch.int8)
    else:
        coded = values.detach().to(DTYPES[dtype])
    coded = coded.contiguous().clone() if coded.data_ptr() == values.data_ptr() else coded.contiguous()
    at, masks = masks_of(bits, width)
    if at.size:
        flat = coded.view(_WORDS[width][0]).view(-1)
        where = torch.from_numpy(at).to(values.device)
        flat[where] = flat[where] ^ torch.from_numpy(masks).to(values.device)
    wide = coded.float() * scale if scale is not None else coded
    return wide.to(values.dtype)


def masks_of(bits: NDArray[np.int64], width: int) -> tuple[NDArray[np.int64], NDArray[np.signedinteger]]:
    """The words that are hit, and what each is combined with by exclusive or."""
    _, signed, unsigned = _WORDS[width]
    at, which = np.unique(bits // width, return_inverse=True)
    masks = np.zeros(at.size, unsigned)
    np.bitwise_or.at(masks, which, np.left_shift(unsigned(1), (bits % width).astype(unsigned)))
    return at.astype(np.int64), masks.view(signed)

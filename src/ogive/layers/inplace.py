"""When a result may be written over its input."""

from __future__ import annotations

import torch
from torch import Tensor

from ogive.errors import InputError


def may_overwrite(x: Tensor, trained: bool, label: str) -> None:
    """Refuse to overwrite ``x`` where that would be wrong.

    Every gradient, of x and of the parameters alike, is computed from x as it was. So the result may replace
    x exactly when it needs no gradient: none is recorded, or neither x nor a parameter requires one
    (``trained``). Expanded tensors are refused too: one write would change several elements.

    Raises:
        InputError: quoting the reason and the way out.
    """
    if torch.is_grad_enabled() and (x.requires_grad or trained):
        whose = "the input" if x.requires_grad else "a learned parameter"
        raise InputError(
            f"{label}: inplace=True would overwrite the input, and the gradient of {whose} is computed from "
            "it; call the module under torch.no_grad(), or build it with inplace=False"
        )
    if any(stride == 0 and size > 1 for stride, size in zip(x.stride(), x.shape)):
        raise InputError(
            f"{label}: inplace=True cannot write into an expanded tensor, whose elements share memory; clone it first"
        )

"""What a model is called with, from the words of a command line: a shape, or a function of the user's."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError, ParameterError
from ogive.user_code import made


def from_shape(text: str, examples: int, seed: int = 0) -> Tensor:
    """A batch of standard normal inputs; ``text`` is the shape of one, such as ``3,32,32``.

    >>> from_shape("3,8", 4).shape
    torch.Size([4, 3, 8])
    """
    words = text.replace("x", ",").split(",")
    if not words or not all(w.strip().isdigit() and int(w) > 0 for w in words):
        raise ParameterError(f"--input-shape {text!r}: it takes the shape of one example, such as 784 or 3,32,32")
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(examples, *map(int, words), generator=generator)


def from_data(given: Any, model: nn.Module, examples: int, said: str) -> Any:
    """The arguments for ``model`` in what ``given`` (a tensor, a tuple, a dict, a loader) holds, cut to ``examples``.

    Of a loader it is the first batch. Of a pair whose second part is one whole number per example, labels, it is the
    first part when the model takes one argument.
    """
    if not isinstance(given, (Tensor, Mapping, tuple)) and isinstance(given, Iterable):
        given = next(iter(given), None)
        if given is None:
            raise InputError(f"--data {said!r}: it gives no batch; it returns a tensor, a tuple, a dict or a loader")
    if isinstance(given, list):
        given = tuple(given)
    if isinstance(given, tuple) and len(given) == 2 and _labels(given[1]) and _needed(model) == 1:
        given = given[0]
    tensors = [t for t in tensors_of(given) if t.dim()]
    if not tensors:
        kind = type(given).__name__
        raise InputError(f"--data {said!r}: it returned {kind}: {str(given)[:60]!r}; a model is called with tensors")
    batch = tensors[0].shape[0]

    def cut(part: Any) -> Any:
        return part[:examples] if isinstance(part, Tensor) and part.dim() and part.shape[0] == batch else part

    if isinstance(given, Mapping):
        return {k: cut(v) for k, v in given.items()}
    return tuple(map(cut, given)) if isinstance(given, tuple) else cut(given)


def _labels(part: Any) -> bool:
    return isinstance(part, Tensor) and part.dim() <= 1 and not part.is_floating_point()


def _needed(model: nn.Module) -> int:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(model.forward).parameters.values()
    return sum(p.kind in kinds and p.default is p.empty for p in parameters)


def batches_at(path: str, model: nn.Module, examples: int) -> tuple[list[Any], Any]:
    """The batches that the callable at ``path`` returns, cut to ``examples`` in all, and their labels (None without).

    A batch is what the model is called with; of a pair whose second part is one number for each example, that part is
    the labels when the model takes one argument.
    """
    given = made(path, "--data")
    several = not isinstance(given, (Tensor, Mapping, tuple)) and isinstance(given, Iterable)
    batches: list[Any] = []
    labels: list[Any] = []
    left = examples
    for batch in given if several else [given]:
        if left <= 0:
            break
        kept = from_data(tuple(batch) if isinstance(batch, list) else batch, model, left, path)
        pair = isinstance(batch, (tuple, list)) and not isinstance(kept, tuple)
        labels.append(batch[1][:left] if pair else None)
        batches.append(kept)
        left -= next(len(t) for t in tensors_of(kept) if t.dim())
    if not batches:
        raise InputError(f"--data {path!r}: it gives no batch; it returns a tensor, a tuple, a dict or a loader")
    return batches, None if any(y is None for y in labels) else torch.cat(labels)


def tensors_of(batch: Any) -> list[Tensor]:
    """The tensors of what a model is called with."""
    parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, tuple) else (batch,)
    return [p for p in parts if isinstance(p, Tensor)]

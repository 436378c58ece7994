"""What a change of a model does on the user's data: how far the outputs move, what the user's score says, time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError, OgiveError
from ogive.statistics.inference import t_interval
from ogive.surgery.follow import arguments
from ogive.surgery.modes import evaluating
from ogive.surgery.provenance import tensors_in
from ogive.surgery.report import Figure

Score = Callable[[nn.Module], Any]


def batches_of(data: Any) -> list[Any]:
    """What the model is called with, batch by batch: one (a tensor, a tuple, a dict) or a list or loader of them."""
    if isinstance(data, (Tensor, Mapping, tuple)):
        return [data]
    if isinstance(data, Iterable):
        found = list(data)
        if found:
            return found
    raise InputError(f"data={type(data).__name__}: it takes a tensor, a tuple of arguments, a dict of named ones, "
                     "or a list or loader of these")  # fmt: skip


def called(model: nn.Module, batch: Any) -> Any:
    """The model on one batch, without gradients."""
    args, kwargs = arguments(batch)
    with torch.no_grad():
        return model(*args, **kwargs)


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that train, by name. Raises OgiveError when there are none."""
    found = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not found:
        raise OgiveError("no parameter of the model requires a gradient, so there is nothing to train; set "
                         "requires_grad on what is trained")  # fmt: skip
    return found


def trains(loss: Tensor) -> Tensor:
    """The loss. Raises OgiveError where it depends on nothing that requires a gradient: all of it was exchanged."""
    if not loss.requires_grad:
        raise OgiveError("the loss depends on no parameter that requires a gradient; set requires_grad on what is "
                         "trained, or undo the change that froze it")  # fmt: skip
    return loss


def run(model: nn.Module, batches: Iterable[Any]) -> None:
    """Every batch in evaluation mode, for what watches the model meanwhile."""
    with evaluating(model):
        for batch in batches:
            called(model, batch)


def rows_of(output: Any) -> Tensor:
    """The first floating tensor of an output as one row an example, float32 or wider."""
    found = [t for t in tensors_in(output if isinstance(output, (tuple, list, Mapping)) else (output,))
             if t.is_floating_point()]  # fmt: skip
    if not found:
        raise InputError("the model returns no floating tensor, so its outputs cannot be compared; give score=")
    first = found[0].detach()
    first = first.float() if first.dtype in (torch.float16, torch.bfloat16) else first
    return first.reshape(first.shape[0] if first.dim() else 1, -1).clone()


def outputs(model: nn.Module, batches: Sequence[Any]) -> Tensor:
    """Outputs in evaluation mode, one row an example. Raises OgiveError for NaN."""
    with evaluating(model):
        made = torch.cat([rows_of(called(model, b)) for b in batches])
    return made


def moved(before: Tensor, after: Tensor) -> list[Figure]:
    """How far the outputs moved: mean cosine and mean relative distance by example."""
    if bool(torch.isnan(after).any()) and not bool(torch.isnan(before).any()):
        raise OgiveError("the changed model gives NaN on this data; it was put back")
    cosine = torch.nn.functional.cosine_similarity(before.double(), after.double(), dim=1)
    distance = (after.double() - before.double()).norm(dim=1) / before.double().norm(dim=1).clamp_min(1e-300)
    return [_with_interval("cosine to before", 1.0, cosine), _with_interval("relative change", 0.0, distance)]


def scored(name: str, before: Any, after: Any) -> Figure:
    """The user's score: a number, or one for each example."""
    if isinstance(before, Tensor) and before.numel() > 1:
        return _with_interval(name, float(before.detach().double().mean()), torch.as_tensor(after))
    return Figure(name, float(before), float(after))


def _with_interval(name: str, before: float, after: Tensor) -> Figure:
    values = after.detach().double().flatten().cpu().numpy()
    low, high = t_interval(values) or (float("nan"), float("nan"))
    return Figure(name, before, float(values.mean()), low=low, high=high)


def timed(model: nn.Module, batch: Any, put: Callable[[], Callable[[], None]], rounds: int = 5) -> Figure:
    """Milliseconds of one batch before and after, in turn, the low quartile of ``rounds`` each.

    ``put`` makes the change and returns what takes it away; the model is left as it was.
    """
    took: tuple[list[float], list[float]] = ([], [])
    with evaluating(model):
        for turn in range(rounds + 1):
            for changed in (False, True):
                away = put() if changed else None
                try:
                    if not turn:
                        called(model, batch)
                    began = time.perf_counter()
                    called(model, batch)
                    if turn:
                        took[changed].append(1e3 * (time.perf_counter() - began))
                finally:
                    if away is not None:
                        away()
    low = [sorted(t)[len(t) // 4] for t in took]
    return Figure("time of a batch", low[0], low[1], unit="ms")


def conduct(
    model: nn.Module,
    batches: Sequence[Any],
    put: Callable[[], Callable[[], None]],
    *,
    score: Score | Mapping[str, Score] | None = None,
    time: bool = True,
    more: Callable[[], list[Figure]] | None = None,
) -> tuple[list[Figure], Callable[[], None]]:
    """Measure the model, make the change, measure again: the figures, and what takes the change back.

    ``put`` makes the change and returns its undoing; ``more`` adds figures while it is made. Whatever fails on the way
    leaves the model as it was. Without batches only the user's scores are taken.
    """
    scores = dict(score) if isinstance(score, Mapping) else {} if score is None else {"score": score}
    before = outputs(model, batches) if batches else None
    scored_before = {k: f(model) for k, f in scores.items()}
    undo = put()
    try:
        figures = [] if before is None else moved(before, outputs(model, batches))
        figures += [scored(k, scored_before[k], f(model)) for k, f in scores.items()]
        figures += [] if more is None else more()
        if batches and time:
            undo()
            figures.append(timed(model, batches[0], put))
            undo = put()
    except BaseException:
        undo()
        raise
    return figures, undo


def examples_in(batches: Sequence[Any]) -> int:
    """How many examples there are: the first sizes of the batches' first tensors."""
    return sum(t[0].shape[0] if t and t[0].dim() else 1 for t in map(tensors_in, batches))


def size_of(model: nn.Module) -> float:
    """MiB of parameters and buffers."""
    tensors = {id(t): t for t in [*model.parameters(), *model.buffers()]}.values()
    return sum(t.numel() * t.element_size() for t in tensors) / 2**20

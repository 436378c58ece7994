"""``accelerate``: the time that zeros in a model's activations are worth when it makes one token after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from ogive.errors import OgiveError, ParameterError
from ogive.surgery.effect import batches_of, moved, outputs, scored, timed
from ogive.surgery.report import Change, Figure, Report
from ogive.surgery.sparsity.blocks import feed_forwards
from ogive.surgery.sparsity.conduct import Scores
from ogive.surgery.sparsity.decode_places import Layouts, Seen, places_of
from ogive.surgery.sparsity.decode_rows import MOST
from ogive.surgery.sparsity.linear import exchange


def accelerate(
    model: nn.Module,
    data: Any,
    *,
    minimum: float = 0.5,
    linears: bool = True,
    score: Scores = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Have feed-forward blocks and linears with sparse inputs read only the weights they need at batch 1 to 8.

    A gated block whose module computes nothing else becomes a :class:`SparseGLU` (up and down projection in the rows
    where the gate is not 0), a plain one a :class:`SparseFFN`, any other Linear a :class:`SparseLinear`. The function
    stays what it is, thresholds included: make zeros first, with ``relufy``, ``cats``, ``teal`` or by training. More
    than eight rows at a time, or rows that need a gradient, take the dense way.

    Args:
        model: changed in place; keys of the ``state_dict`` stay. Weights that are read by column are laid out so.
        data: what the model is called with, or a list or loader of it; the zeros are counted on it.
        minimum: share of zeros, 0 to 1, from which a place is changed.
        linears: change linears outside feed-forward blocks too.
        score: as of :func:`ogive.swap`.
        time: measure one token before and after, in turn.
        seed: nothing here is random; taken so that all transforms are called alike.

    Raises:
        ParameterError: for a ``minimum`` outside [0, 1].
        OgiveError: when no place has that many zeros (the shares are listed); the model is then as it was.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> mlp = nn.Sequential(nn.Linear(128, 2048), nn.ReLU(), nn.Linear(2048, 128))
    >>> with torch.no_grad():
    ...     _ = mlp[0].bias.sub_(1.0)
    >>> report = accelerate(mlp, torch.randn(8, 128), time=False)
    >>> mlp[2], report.undo(), mlp[2]
    (SparseLinear(in_features=2048, out_features=128, bias=True, threshold=0), None, Linear(in_features=2048, \
out_features=128, bias=True))
    """
    if not 0.0 <= minimum <= 1.0:
        raise ParameterError(f"accelerate: minimum={minimum!r}; it is a share of zeros, 0 to 1")
    batches = batches_of(data)
    scores = dict(score) if isinstance(score, Mapping) else {} if score is None else {"score": score}
    blocks = feed_forwards(model, batches[0]).blocks
    seen = Seen(model, {b.name for b in blocks if b.name})
    before = seen.run(batches)
    token = _token(model, batches[0])
    alone = outputs(model, [token])
    scored_before = {k: f(model) for k, f in scores.items()}
    weights = Layouts()
    try:
        places, left = places_of(model, blocks, seen, minimum, linears, weights)
        weights.away()
        put = partial(_put, model, {p.path: p.new for p in places}, weights)
        undo = put()
    except BaseException:
        weights.away()
        raise
    try:
        figures = moved(before, outputs(model, batches))
        figures.append(_named(moved(alone, outputs(model, [token]))[1], "relative change, one token"))
        figures += [scored(k, scored_before[k], f(model)) for k, f in scores.items()]
        total = sum(p.weights for p in places)
        figures.append(Figure("weights read in these places", 1.0, sum(p.weights * p.read for p in places) / total))
        if time:
            undo()
            figures.append(_named(timed(model, token, put), "time of one token"))
            undo = put()
    except BaseException:
        undo()
        raise
    weights.forget()
    notes = (f"The kernels run for 1 to {MOST} rows at a time under torch.no_grad(); anything else is dense.",)
    changes = tuple(Change(p.path, p.label, f"{type(p.new).__name__}, {p.zeros:.1%} zeros", p.error, p.note)
                    for p in places)  # fmt: skip
    return Report("accelerate", changes, tuple(left), tuple(figures), notes, len(before), undo)


def _put(model: nn.Module, instead: Mapping[str, nn.Module], weights: Layouts) -> Callable[[], None]:
    for new in instead.values():
        new.train(model.training)
    weights.put()
    try:
        back = exchange(model, instead)
    except BaseException:
        weights.away()
        raise
    done: list[bool] = []

    def undo() -> None:
        if not done:
            done.append(True)
            back()
            weights.away()

    return undo


def _named(figure: Figure, name: str) -> Figure:
    return Figure(name, figure.before, figure.after, figure.unit, figure.low, figure.high)


def _token(model: nn.Module, batch: Any) -> Any:
    """The first example of a batch, of sequences its first position, as far as the model takes that."""
    for deep in (True, False):
        small = _cut(batch, deep)
        try:
            outputs(model, [small])
        except (RuntimeError, ValueError, IndexError, TypeError, OgiveError):
            continue
        return small
    return batch


def _cut(value: Any, deep: bool) -> Any:
    if isinstance(value, Tensor):
        sequence = deep and value.dim() >= (3 if value.is_floating_point() else 2)
        return value[:1, :1] if sequence else value[:1] if value.dim() else value
    if isinstance(value, Mapping):
        return {k: _cut(v, deep) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(_cut(v, deep) for v in value)
    return value

"""The run before, the change, the run after: what every transform to sparsity measures and how it is taken back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import OgiveError
from ogive.surgery.effect import Score, called, rows_of, scored, timed
from ogive.surgery.modes import evaluating
from ogive.surgery.report import Change, Figure, Report
from ogive.surgery.sparsity.blocks import Blocks
from ogive.surgery.sparsity.perplexity import Perplexity, summary, token_losses
from ogive.surgery.sparsity.zeros import Sparsity, ZeroCount

Scores = Score | Mapping[str, Score] | None


@dataclass
class Seen:
    """Outputs of one run by batch, losses where the data is windows of tokens, zeros at linears."""

    rows: list[Tensor] = field(default_factory=list)
    losses: list[tuple[Tensor, Tensor]] | None = field(default_factory=list)
    sparsity: Sparsity | None = None

    @property
    def perplexity(self) -> Perplexity | None:
        """Of the run, where it has one."""
        return summary(self.losses) if self.losses else None


def look(model: nn.Module, batches: list[Any], blocks: Blocks) -> Seen:
    """Run all batches once in evaluation mode."""
    seen = Seen()
    with evaluating(model), ZeroCount(model, blocks) as count:
        for batch in batches:
            output = called(model, batch)
            lost = token_losses(output, batch)
            if isinstance(lost, str):
                seen.losses = None
            elif seen.losses is not None:
                seen.losses.append(lost)
            seen.rows.append(rows_of(output))
            del output
    if count.sums:
        seen.sparsity = count.result()
    return seen


def moved(before: Seen, after: Seen) -> list[Figure]:
    """Mean cosine and mean relative distance of outputs by example. Raises OgiveError for new NaN."""
    cosines, distances = [], []
    for old, new in zip(before.rows, after.rows):
        if bool(torch.isnan(new).any()) and not bool(torch.isnan(old).any()):
            raise OgiveError("the changed model gives NaN on this data; it was put back")
        for a, b in zip(old, new):  # one example at a time: rows of logits are long
            a, b = a.double(), b.double()
            cosines.append(torch.nn.functional.cosine_similarity(a, b, dim=0))
            distances.append((b - a).norm() / a.norm().clamp_min(1e-300))
    return [scored("cosine to before", torch.ones(len(cosines) + 1), torch.stack(cosines)),
            scored("relative change", torch.zeros(len(distances) + 1), torch.stack(distances))]  # fmt: skip


def conduct(
    verb: str,
    model: nn.Module,
    batches: list[Any],
    blocks: Blocks,
    put: Callable[[], Callable[[], None]],
    changes: list[Change],
    left: list[tuple[str, str]],
    *,
    score: Scores,
    time: bool,
    notes: tuple[str, ...] = (),
    figures: tuple[Figure, ...] = (),
) -> Report:
    """Make the change with ``put``, measure both sides of it and report; what fails on the way takes it back."""
    scores = dict(score) if isinstance(score, Mapping) else {} if score is None else {"score": score}
    before = look(model, batches, blocks)
    scored_before = {k: f(model) for k, f in scores.items()}
    undo = put()
    try:
        after = look(model, batches, blocks)
        measured = moved(before, after)
        p, q = before.perplexity, after.perplexity
        if p is not None and q is not None:
            measured.append(Figure("perplexity", p.value, q.value, low=q.low, high=q.high))
        measured += _zeros(before.sparsity, after.sparsity)
        measured += [scored(k, scored_before[k], f(model)) for k, f in scores.items()]
        examples = sum(len(r) for r in before.rows)
        if time:
            undo()
            measured.append(timed(model, batches[0], put))
            undo = put()
    except BaseException:
        undo()
        raise
    return Report(verb, tuple(changes), tuple(left), (*measured, *figures), notes, examples, undo)


def _zeros(before: Sparsity | None, after: Sparsity | None) -> list[Figure]:
    if before is None or after is None:
        return []
    rows = (("zeros into down projections", "down"), ("unused over a window", "unused"),
            ("zeros into linears", "inputs"), ("weights that need no reading", "saved"))  # fmt: skip
    found = [Figure(name, getattr(before, key), getattr(after, key)) for name, key in rows]
    return [f for f in found if f.after == f.after]

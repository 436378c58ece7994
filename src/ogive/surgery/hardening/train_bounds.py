"""Bounds that train while the weights stand still: FitAct's all at once, ProAct's layer by layer from the last."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ogive.surgery.follow import arguments
from ogive.surgery.hardening.bounds import Bounded
from ogive.surgery.hardening.campaign import answers
from ogive.surgery.memory.step import as_it_was
from ogive.surgery.modes import Modes
from ogive.surgery.provenance import tensors_in

_EVERY = 10  # steps between looks at the accuracy


class Scaled:
    """Bounds as their first values times learned factors."""

    def __init__(self, bounded: Bounded) -> None:
        self.bounded = bounded
        bounds = {"high": bounded.high, "low": bounded.low}
        self.first = {name: b.detach().clone() for name, b in bounds.items() if b is not None}
        self.factors = [torch.ones_like(b).requires_grad_() for b in self.first.values()]

    def connect(self) -> None:
        """The bounds follow the factors, with gradients."""
        factors = iter(self.factors)
        for name, first in self.first.items():
            setattr(self.bounded, name, first * next(factors))

    def settle(self, factors: Sequence[Tensor]) -> None:
        """Fix the bounds at these factors."""
        with torch.no_grad():
            for mine, new in zip(self.factors, factors):
                mine.copy_(new)
            self.connect()
        for name in self.first:
            setattr(self.bounded, name, getattr(self.bounded, name).detach())


def at_once(
    model: nn.Module, teacher: Callable[[int], Tensor], placed: Mapping[str, Bounded], batches: Sequence[Any],
    labels: Tensor, hard: bool, steps: int, lr: float, weight: float, drop: float, seed: int,
) -> bool:  # fmt: skip
    """Train all bounds together; whether any step kept the accuracy within ``drop`` of the one before."""
    return _train(model, teacher, list(placed.values()), batches, labels, hard, steps, lr, weight, drop, seed)


def layer_by_layer(
    model: nn.Module, teacher: Callable[[int], Tensor], placed: Mapping[str, Bounded], batches: Sequence[Any],
    labels: Tensor, hard: bool, steps: int, lr: float, weight: float, drop: float, seed: int,
) -> int:  # fmt: skip
    """Train the bounds of one layer at a time, from the last to the first, the others fixed; how many moved."""
    return sum(_train(model, teacher, [b], batches, labels, hard, steps, lr, weight, drop, seed)
               for b in reversed(list(placed.values())))  # fmt: skip


def _train(
    model: nn.Module, teacher: Callable[[int], Tensor], bounds: list[Bounded], batches: Sequence[Any], labels: Tensor,
    hard: bool, steps: int, lr: float, weight: float, drop: float, seed: int,
) -> bool:  # fmt: skip
    """Adam on factors of the bounds, from 1, with the loss -sum_c p_c log q_c + CE(labels) + weight mean(factor^2).

    p are the model's own probabilities before it had bounds, q the ones now. The last factors whose accuracy is within
    ``drop`` of the accuracy at the start stand.
    """
    scaled = [Scaled(b) for b in bounds]
    factors = [f for s in scaled for f in s.factors]
    optimiser = torch.optim.Adam(factors, lr=lr)
    sizes = [len(teacher(i)) for i in range(len(batches))]
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    floor = float((answers(model, batches) == labels).double().mean()) - drop
    good = [[f.detach().clone() for f in s.factors] for s in scaled]
    moved, modes = False, Modes(model)
    model.eval()
    try:
        with as_it_was(model, seed):
            for step in range(1, steps + 1):
                i = (step - 1) % len(batches)
                with torch.enable_grad():
                    for s in scaled:
                        s.connect()
                    args, kwargs = arguments(batches[i])
                    logits = _logits(model(*args, **kwargs))
                    log_q = torch.log_softmax(logits, 1)
                    loss = -(torch.softmax(teacher(i), 1) * log_q).sum(1).mean()
                    if hard:
                        loss = loss + nn.functional.nll_loss(log_q, labels[starts[i] : starts[i] + sizes[i]])
                    loss = loss + weight * sum(f.square().mean() for f in factors) / len(factors)
                    grads = torch.autograd.grad(loss, factors)
                for factor, g in zip(factors, grads):
                    factor.grad = torch.where(g.isfinite(), g, 0.0)
                optimiser.step()
                with torch.no_grad():
                    for factor in factors:
                        factor.clamp_(min=0.0)
                if step % _EVERY == 0 or step == steps:
                    for s in scaled:
                        s.settle([f.detach().clone() for f in s.factors])
                    if float((answers(model, batches) == labels).double().mean()) < floor:
                        break
                    good, moved = [[f.detach().clone() for f in s.factors] for s in scaled], True
    finally:
        for s, kept in zip(scaled, good):
            s.settle(kept)
        modes.restore()
    return moved


def _logits(output: Any) -> Tensor:
    found = [t for t in tensors_in(output if isinstance(output, (tuple, list, Mapping)) else (output,))
             if t.is_floating_point()]  # fmt: skip
    return found[0].flatten(1)

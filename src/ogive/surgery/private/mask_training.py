"""The training of masks under a budget: a price on activations, then the weights alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ogive.errors import InputError, OgiveError
from ogive.surgery.effect import trainable, trains
from ogive.surgery.modes import training
from ogive.surgery.private.disparity import GroupWeights
from ogive.surgery.private.masks import Masked

Loss = Callable[[Tensor, Tensor], Tensor]
_RISE = 1.1  # of the price of an activation, a step, while there are too many
_REFIT = 10  # steps between fits of the polynomials


@dataclass(frozen=True)
class Plan:
    """The options of the training."""

    budget: float
    steps: int
    lr: float
    score_lr: float
    batch: int
    distil: float
    group_rate: float
    masks: str


def kept_of(modules: list[Masked]) -> float:
    """The share of activations that the masks keep."""
    total = sum(m.mask.numel() * m.weight for m in modules)
    return sum(float(m.mask.sum()) * m.weight for m in modules) / total


def train(
    model: nn.Module, modules: list[Masked], x: Tensor, labels: Tensor | None, before: Tensor,
    groups: Tensor | None, loss: Loss | None, plan: Plan, seed: int,
) -> None:  # fmt: skip
    """Train ``model``, whose activations are ``modules``, to keep the budget of the plan.

    Raises OgiveError where the loss is not finite.
    """
    rng = torch.Generator().manual_seed(seed)
    weights = list(trainable(model).values())
    total = sum(m.mask.numel() * m.weight for m in modules)
    learned = plan.masks == "learned"
    slots: list[dict[str, Any]] = [{"params": weights, "lr": plan.lr}]
    if learned:
        slots.append({"params": [m.search(rng) for m in modules], "lr": plan.score_lr})
    else:
        cut_to(modules, [torch.rand(m.mask.shape, generator=rng) for m in modules], plan.budget)
    optimiser = torch.optim.Adam(slots)
    by_group_weights = None
    if plan.group_rate and groups is not None:
        by_group_weights = GroupWeights(int(groups.max()) + 1, plan.group_rate)
    half, price = plan.steps // 2, 0.1
    order = torch.empty(0, dtype=torch.long)
    with training(model):
        for step in range(plan.steps):
            if learned and step == half:
                _settle(modules, plan.budget)
            if len(order) < min(plan.batch, len(x)):
                order = torch.randperm(len(x), generator=rng)
            at, order = order[: plan.batch], order[plan.batch :]
            made = model(x[at])
            losses = _losses(made, None if labels is None else labels[at], before[at], loss, plan.distil)
            here = losses.mean() if by_group_weights is None or groups is None else by_group_weights(losses, groups[at])
            if learned and step < half:
                allowed = 1.0 - (1.0 - plan.budget) * min((step + 1) / (0.8 * half), 1.0)
                share = torch.stack([m.share() * (m.mask.numel() * m.weight / total) for m in modules]).sum()
                over = float(share.detach()) > allowed
                price = min(price * _RISE, 1e4) if over else max(price / _RISE, 1e-3)
                here = here + price * share * over
            if not bool(torch.isfinite(here.detach())):
                raise OgiveError(f"autorep: the loss is {float(here.detach()):g} at step {step}; the model was put "
                                 "back. Give a smaller lr or a lower degree")  # fmt: skip
            optimiser.zero_grad()
            trains(here).backward()
            nn.utils.clip_grad_norm_(weights, 5.0)
            optimiser.step()
            if step % _REFIT == _REFIT - 1:
                for m in modules:
                    m.refresh()
    for m in modules:
        m.refresh()


def _settle(modules: list[Masked], budget: float) -> None:
    ranks = []
    for m in modules:
        assert m.score is not None
        # what the masks keep now comes before what they let go, each by its score
        ranks.append(m.score.detach().clone() + 1e6 * m.mask)
    cut_to(modules, ranks, budget)
    for m in modules:
        m.settle()


@torch.no_grad()
def cut_to(modules: list[Masked], ranks: list[Tensor], budget: float) -> None:
    """Keep the entries of the highest rank, as many as the budget holds (a share of all activations)."""
    total = sum(m.mask.numel() * m.weight for m in modules)
    entries = sorted(
        ((float(r), i, j) for i, rank in enumerate(ranks) for j, r in enumerate(rank.flatten().tolist())), reverse=True
    )
    room = budget * total * (1.0 + 1e-12)
    flat = [torch.zeros(m.mask.numel()) for m in modules]
    for _, i, j in entries:
        if modules[i].weight <= room:
            flat[i][j] = 1.0
            room -= modules[i].weight
    for m, kept in zip(modules, flat):
        m.mask.copy_(kept.reshape(m.mask.shape))


def _losses(made: Tensor, labels: Tensor | None, before: Tensor, loss: Loss | None, distil: float) -> Tensor:
    """One number an example."""
    far = (made.flatten(1) - before.to(made.dtype)).square().mean(1)
    if labels is None:
        return far
    if loss is not None:
        own = loss(made, labels)
        if own.shape != (len(made),):
            raise InputError(f"autorep: loss= returns shape {tuple(own.shape)}; one number for each of {len(made)} "
                             "examples is needed (reduction='none')")  # fmt: skip
    elif labels.is_floating_point():
        own = (made - labels.to(made.dtype).reshape(made.shape)).flatten(1).square().mean(1)
    else:
        own = functional.cross_entropy(made, labels, reduction="none")
    return (1.0 - distil) * own + distil * far

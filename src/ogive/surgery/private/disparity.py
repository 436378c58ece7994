"""Whom fewer activations hurt: accuracy by group, distance to the boundary, and weights that close the gap."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError, OgiveError, ParameterError
from ogive.surgery.modes import evaluating
from ogive.surgery.sites import table


@dataclass(frozen=True)
class Group:
    """One group: its size, accuracy, mean distance to the boundary in the input to first order (margin over the norm of
    its gradient) and mean norm of the gradient of the loss."""

    name: str
    size: int
    accuracy: float
    distance: float
    gradient: float


@dataclass(frozen=True)
class Groups:
    """The groups of a data set under a model, and the gap between the best and the worst accuracy."""

    rows: tuple[Group, ...]

    @property
    def gap(self) -> float:
        """The largest accuracy of a group less the smallest."""
        return max(r.accuracy for r in self.rows) - min(r.accuracy for r in self.rows)

    @property
    def mean(self) -> float:
        """Accuracy over all examples."""
        return sum(r.size * r.accuracy for r in self.rows) / sum(r.size for r in self.rows)

    def __repr__(self) -> str:
        rows: list[tuple[str, ...]] = [("group", "size", "accuracy", "distance", "gradient")]
        for r in self.rows:
            rows.append((r.name, str(r.size), f"{r.accuracy:.3f}", f"{r.distance:.3g}", f"{r.gradient:.3g}"))
        return f"{table(rows, (24, 8, 9, 9, 9))}\ngap {self.gap:.3f}, mean {self.mean:.3f}"

    def to_dict(self) -> dict[str, Any]:
        """All rows, ready for JSON."""
        return {"groups": [asdict(r) for r in self.rows], "gap": self.gap, "mean": self.mean}


def by_group(model: nn.Module, x: Tensor, labels: Tensor, groups: Tensor) -> Groups:
    """Accuracy, distance to the decision boundary and gradient norm of each group under a classifier.

    Groups nearer to the boundary lose first when activations are taken away (Das et al. 2024, *Disparate impact on
    group accuracy of linearization for private inference*).

    Args:
        model: x to logits of shape (examples, classes); run in evaluation mode.
        x, labels, groups: one entry an example; labels and groups are whole numbers.

    Raises:
        InputError: for lengths that differ.
    """
    if not len(x) == len(labels) == len(groups):
        raise InputError(f"{len(x)} examples, {len(labels)} labels and {len(groups)} groups; one of each an example")
    with evaluating(model):
        given = x.detach().clone().requires_grad_(True)
        with torch.enable_grad():
            logits = model(given)
            top = logits.topk(2, dim=1).values
            margin = top[:, 0] - top[:, 1]
            (slope,) = torch.autograd.grad(margin.sum(), given, retain_graph=True)
            loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
            (steep,) = torch.autograd.grad(loss, given)
    right = logits.argmax(1) == labels
    distance = margin.detach() / slope.flatten(1).norm(dim=1).clamp_min(1e-12)
    gradient = steep.flatten(1).norm(dim=1)
    rows = []
    for g in groups.unique().tolist():
        at = groups == g
        rows.append(Group(str(g), int(at.sum()), float(right[at].double().mean()), float(distance[at].mean()),
                          float(gradient[at].mean())))  # fmt: skip
    return Groups(tuple(rows))


class GroupWeights:
    """``mean_i l_i + sum_g w_g (L_g - mean L)`` with multipliers ``w_g <- max(0, w_g + rate (L_g - mean L))``.

    The Lagrangian of "no group's loss above the mean": a group that falls behind weighs more until it does not. The
    loss of each example is the user's, for example the distance to the outputs of the model before.

    Args:
        groups: how many there are, numbered from 0.
        rate: of the multipliers, above 0.

    >>> weights = GroupWeights(2, rate=0.5)
    >>> loss = weights(torch.tensor([1.0, 1.0, 3.0]), torch.tensor([0, 0, 1]))
    >>> [round(w, 3) for w in weights.multipliers.tolist()]  # means 1 and 3, over all 5/3
    [0.0, 0.667]
    """

    def __init__(self, groups: int, rate: float = 0.1) -> None:
        if type(groups) is not int or groups < 2:
            raise ParameterError(f"groups={groups!r}; it takes a whole number from 2")
        if not rate > 0.0:
            raise ParameterError(f"rate={rate!r}; it takes a number above 0")
        self.multipliers, self.rate = torch.zeros(groups), rate

    def __call__(self, losses: Tensor, groups: Tensor) -> Tensor:
        """The weighted loss of a batch; the multipliers move by what the batch says."""
        if losses.dim() != 1 or losses.shape != groups.shape:
            raise OgiveError(f"group weights take one loss and one group an example; got {tuple(losses.shape)} and "
                             f"{tuple(groups.shape)}")  # fmt: skip
        whole = losses.mean()
        total = whole
        for g in groups.unique().tolist():
            gap = losses[groups == g].mean() - whole
            self.multipliers[g] = max(0.0, float(self.multipliers[g]) + self.rate * float(gap.detach()))
            total = total + float(self.multipliers[g]) * gap
        return total

"""Weight decay where it suits."""

from __future__ import annotations

from typing import Any

from torch import nn

from ogive.layers.act import Act
from ogive.layers.rezero import ReZero


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two optimiser groups: ``weight_decay`` for all parameters of ``model`` but those that :meth:`Act.no_decay` and
    :meth:`ReZero.no_decay` name, which get 0. A parameter used in several places is listed once.

    >>> from ogive.layers import learn
    >>> model = nn.Sequential(nn.Linear(3, 4), Act("prelu", a=learn("channel"), channels=4))
    >>> [(len(g["params"]), g["weight_decay"]) for g in parameter_groups(model, 0.01)]
    [(2, 0.01), (1, 0.0)]
    """
    choosy = [m for m in model.modules() if isinstance(m, Act | ReZero)]
    spared = {id(p): p for m in choosy for p in map(m.get_parameter, m.no_decay())}
    rest = [p for p in model.parameters() if id(p) not in spared]
    groups = [(rest, weight_decay), (list(spared.values()), 0.0)]
    return [{"params": params, "weight_decay": decay} for params, decay in groups if params]

"""``activate_while_prune``: pruning that leaves fewer silent units."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import ParameterError
from ogive.surgery.effect import Score, conduct, run
from ogive.surgery.report import Change, Figure, Report
from ogive.surgery.sites import Site
from ogive.surgery.tuning.dead import dead_rate, silent_units, unit_sites
from ogive.surgery.tuning.sparse_training import (
    Masks,
    carried,
    counts,
    cut,
    joined,
    judged,
    magnitude_masks,
    share,
    train,
)
from ogive.surgery.wiring import Layer, layers_of


def activate_while_prune(
    model: nn.Module,
    data: Any,
    labels: Tensor | None = None,
    *,
    sparsity: float = 0.9,
    rounds: int = 5,
    wake: float = 0.1,
    steps: int = 60,
    lr: float = 3e-3,
    batch: int = 64,
    held: float = 0.25,
    score: Score | Mapping[str, Score] | None = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Prune step by step, a share of each step spent on the weights that hold units silent (Activating-while-Pruning).

    Each round prunes the same part of what is left and trains on. ``1 - wake`` of the weights that go are the
    smallest; the others those with the largest ``d_i max(0, -w_ij m_j)``: d_i the share of examples on which unit i is
    silent, m_j the mean of its input j, so that without the weight the unit is given more. (The source names the aim,
    fewer silent units beside any pruner; this score is our reading of it.)

    Args:
        model: changed in place; its keys stay.
        data, labels: inputs (tensors) and whole numbers (classes) or floating targets.
        sparsity: share of each layer's weights that are gone at the end, in [0, 1).
        rounds: at least 1.
        wake: the share of a round's weights that go to wake units, in [0, 1); 0 is plain magnitude pruning.
        steps, lr, batch: of the training after each round (Adam).
        held: share of the examples that judge alone.
        score, time: as of :func:`ogive.swap`.
        seed: of everything drawn.

    Raises:
        ParameterError: for options out of range. InputError: without labels. OgiveError: when there is no activation,
            or training is not finite. The model is then as it was.

    Source: Liu, Ghosh, Tan and Motani 2023, AP: Selective Activation for De-sparsifying Pruned Networks.

    >>> _ = torch.manual_seed(0)
    >>> x = torch.randn(200, 8)
    >>> net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
    >>> report = activate_while_prune(net, x, (x[:, 0] > 0).long(), sparsity=0.5, rounds=2, steps=5, time=False)
    >>> report["weights that stay"].after
    160.0
    """
    for name, value in (("sparsity", sparsity), ("wake", wake), ("held", held)):
        share("activate_while_prune", name, value)
    if type(rounds) is not int or rounds < 1 or type(steps) is not int or steps < 0 or not lr > 0.0 or held == 0.0:
        raise ParameterError(f"activate_while_prune: rounds={rounds!r}, steps={steps!r}, lr={lr!r}, held={held!r}; "
                             "rounds from 1, steps from 0, the others above 0")  # fmt: skip
    x, y = joined(data, labels, "activate_while_prune")
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    count = min(max(round(held * len(x)), 1), len(x) - 1)
    out, inside = order[:count], order[count:]
    chosen = unit_sites(model, x[: min(batch, len(x))], "activate_while_prune")
    first, dense = dead_rate(model, x[out]), judged(model, x[out], y[out])
    net = copy.deepcopy(model)
    masks: Masks = {p: torch.ones_like(m.weight, dtype=torch.bool) for p, m in layers_of(net).items()}
    curve = [(0.0, first.dynamic)]
    for turn in range(1, rounds + 1):
        gone = 1.0 - (1.0 - sparsity) ** (turn / rounds)
        masks = _pruned(net, masks, gone, wake, chosen, x[inside])
        cut(net, masks)
        train(net, x[inside], y[inside], masks, steps=steps, lr=lr, batch=batch, seed=seed + turn)
        curve.append((gone, dead_rate(net, x[out]).dynamic))
    put = carried(model, net, [], {})

    def more() -> list[Figure]:
        last, found = dead_rate(model, x[out]), judged(model, x[out], y[out])
        pick = 0 if y.is_floating_point() else 1
        return [Figure("loss, held out" if pick == 0 else "accuracy, held out", dense[pick], found[pick]),
                Figure("dynamic dead rate", first.dynamic, last.dynamic),
                Figure("static dead rate", first.static, last.static),
                Figure("weights that stay", *counts(masks))]  # fmt: skip

    figures, undo = conduct(model, [x], put, score=score, time=time, more=more)
    changes = [Change(p, f"{m.numel()} weights", f"{int(m.sum())} weights") for p, m in masks.items()]
    note = "Dynamic dead rate by pruned share: " + ", ".join(f"{g:.0%} {d:.3f}" for g, d in curve) + "."
    return Report("activate_while_prune", tuple(changes), (), tuple(figures), (note,), len(x), undo)


def _pruned(net: nn.Module, masks: Masks, gone: float, wake: float, chosen: list[Site], x: Tensor) -> Masks:
    """The masks with ``gone`` of every layer's weights away."""
    plain = magnitude_masks(net, gone, masks)
    if wake == 0.0:
        return plain
    silent, _ = silent_units(net, chosen, [x[:512]])
    means = _means(net, x[:512])
    made: Masks = {}
    layers = layers_of(net)
    held_by = {w.rpartition(".")[0]: s.name for s in chosen for w in s.fed_by}
    for path, layer in layers.items():
        quota = int(masks[path].sum()) - int(plain[path].sum())
        some = round(wake * quota) if path in held_by and held_by[path] in silent else 0
        now = masks[path].clone()
        if some:
            holds = holding(layer, silent[held_by[path]], means[path]).masked_fill(~now, -1.0).flatten()
            some = min(some, int((holds > 0.0).sum()))
            now.view(-1)[holds.topk(some).indices] = False
        made[path] = magnitude_masks(net, gone, {path: now}, [p for p in layers if p != path])[path] & now
    return made


def holding(layer: Layer, silent: Tensor, mean: Tensor) -> Tensor:
    """``d_i max(0, -w_ij m_j)`` in the shape of the weight: how much each weight keeps its unit silent."""
    w = layer.weight.detach().double()
    if isinstance(layer, nn.Linear):
        dead = silent.reshape(-1, w.shape[0]).mean(0)
        return dead[:, None] * (-w * mean[None, :]).clamp_min(0.0)
    dead = silent.reshape(w.shape[0], -1).mean(1)
    per = w.shape[1]
    of_group = torch.arange(w.shape[0], device=w.device) // (w.shape[0] // layer.groups)
    inputs = mean.view(layer.groups, per)[of_group]
    tail = [1] * (w.dim() - 2)
    return dead.view(-1, 1, *tail) * (-w * inputs.view(w.shape[0], per, *tail)).clamp_min(0.0)


def _means(net: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """The mean of each input channel of each layer."""
    found: dict[str, Tensor] = {}
    hooks = []
    for path, layer in layers_of(net).items():
        dim = -1 if isinstance(layer, nn.Linear) else 1

        def look(module: nn.Module, args: Any, path: str = path, dim: int = dim) -> None:
            moved = args[0].detach().double().movedim(dim, -1)
            found[path] = moved.reshape(-1, moved.shape[-1]).mean(0)

        hooks.append(layer.register_forward_pre_hook(look))
    try:
        run(net, [x])
    finally:
        for hook in hooks:
            hook.remove()
    return found

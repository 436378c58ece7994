"""Activations with small results dropped: CATS for any activation, FATReLU for rectifiers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ogive import ops
from ogive.activation import Activation, Param
from ogive.derive.pieces import pieces
from ogive.errors import OgiveError, ParameterError
from ogive.expr import const, var
from ogive.layers.act import Act
from ogive.surgery.effect import batches_of
from ogive.surgery.report import Change, Report
from ogive.surgery.rewire import rewire
from ogive.surgery.sites import Site
from ogive.surgery.sparsity.blocks import Blocks, feed_forwards
from ogive.surgery.sparsity.calibrate import quantile, share_in, site_inputs
from ogive.surgery.sparsity.conduct import Scores, conduct


def dropped(act: Activation) -> Activation:
    """``f(x)`` where ``|f(x)| > t``, else 0, with t a parameter; for a rectifier f that is FATReLU. NaN passes.

    >>> import torch
    >>> from ogive.lookup import get
    >>> f = dropped(get("relu"))
    >>> f(torch.tensor([-1.0, 0.5, 2.0]), t=1.0)
    tensor([0., 0., 2.])
    """
    f = act.expr.substitute({k: const(v) for k, v in act.defaults.items()})
    kept = ops.where(var("t") >= ops.abs(f), const(0.0), f)
    return Activation(kept, act.inputs, {"t": Param(0.0, low=0.0, closed=True)})


def cats(
    model: nn.Module, data: Any, *, target: float = 0.5, score: Scores = None, time: bool = True, seed: int = 0
) -> Report:
    """Zero each feed-forward block's activation where ``|f(x W_gate)|`` is below the site's own percentile (CATS).

    With ``t`` the ``target`` quantile of ``|f|`` on the data, a unit with ``|f| <= t`` gives 0: its row of the up
    projection and its column of the down projection need not be read. A block without a gate is treated the same.

    Args:
        model: changed in place; the keys of its ``state_dict`` stay.
        data: what the model is called with, a batch or a list or loader of batches; the thresholds come from it.
        target: share of units to zero, in [0, 1).
        score, time, seed: as of :func:`ogive.swap`.

    Raises:
        OgiveError: when there is no feed-forward block, or the data holds values that are not finite.

    Source: Lee, Lee, Zhang, Tiwari and Mirhoseini 2024, "CATS: Contextually-Aware Thresholding for Sparsity in Large
    Language Models".

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> mlp = nn.Sequential(nn.Linear(4, 64), nn.SiLU(), nn.Linear(64, 2))
    >>> report = cats(mlp, torch.randn(500, 4), target=0.7, time=False)
    >>> round(report["zeros into down projections"].after, 3)
    0.7
    """
    share_in("target", target)
    batches = batches_of(data)
    blocks = feed_forwards(model, batches[0])
    _some(blocks, "cats")
    return _drop("cats", model, batches, blocks, [b.site for b in blocks], list(blocks.left),
                 lambda size: quantile(size, target), score=score, time=time, seed=seed)  # fmt: skip


def fat_relu(
    model: nn.Module,
    data: Any,
    *,
    target: float | None = None,
    threshold: float | None = None,
    score: Scores = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Raise the threshold of every rectifier of a feed-forward block: ``f(x)`` where ``f(x) > t``, else 0 (FATReLU).

    A rectifier is a nonlinearity that is proved to be 0 on a half-line and nowhere negative (relu, relu^2, a shifted
    relu); others are left, :func:`relufy` makes rectifiers of them and :func:`cats` drops without.

    Args:
        target: share of units that shall be zero, in [0, 1), by a threshold for each site from the data.
        threshold: one threshold for all, at least 0; 0.01 in ProSparse. Exactly one of the two is given.
        model, data, score, time, seed: as of :func:`cats`.

    Raises:
        OgiveError: when there is no rectifier in a feed-forward block.
        ParameterError: for both or neither of target and threshold.

    Source: Kurtz et al. 2020, "Inducing and Exploiting Activation Sparsity for Fast Neural Network Inference"; Song et
    al. 2024, "ProSparse".
    """
    if (target is None) == (threshold is None):
        raise ParameterError(f"fat_relu: target={target!r}, threshold={threshold!r}; give one of the two")
    if target is not None:
        share_in("target", target)
    else:
        share_in("threshold", threshold or 0.0, most=math.inf)
    batches = batches_of(data)
    blocks = feed_forwards(model, batches[0])
    _some(blocks, "fat_relu")
    left = list(blocks.left)
    chosen = []
    for block in blocks:
        if is_rectifier(block.site.activation):
            chosen.append(block.site)
        else:
            left.append((block.site.name, f"{block.site.label} is no rectifier; relufy first, or use cats"))
    if not chosen:
        raise OgiveError(f"fat_relu: no rectifier in a feed-forward block ({left[0][0]}: {left[0][1]})")
    made: Callable[[Tensor], float] = (
        (lambda size: quantile(size, target)) if target is not None else lambda size: float(threshold or 0.0)
    )
    return _drop("fat_relu", model, batches, blocks, chosen, left, made, score=score, time=time, seed=seed)


def is_rectifier(act: Activation) -> bool:
    """Whether f is proved to be 0 from -inf on to some point and nowhere negative.

    >>> from ogive.lookup import get
    >>> [is_rectifier(get(name)) for name in ("relu", "relu2", "silu", "leaky_relu", "softplus")]
    [True, True, False, False, False]
    """
    try:
        rows = pieces(act).rows
    except OgiveError:
        return False
    return rows[0].value == (0.0, 0.0) and all(row.value[0] >= 0.0 for row in rows)


def exchangeable(site: Site) -> bool:
    """Whether another module can stand in the place of the site."""
    return site.kind == "module" or bool(site.calls and site.calls[0].slot is not None)


def _some(blocks: Blocks, verb: str) -> None:
    if not len(blocks):
        why = "; ".join(f"{name}: {reason}" for name, reason in blocks.left[:4]) or "the model has no nonlinearity"
        raise OgiveError(f"{verb}: no feed-forward block found ({why})")


def _drop(
    verb: str,
    model: nn.Module,
    batches: list[Any],
    blocks: Blocks,
    chosen: list[Site],
    left: list[tuple[str, str]],
    threshold: Callable[[Tensor], float],
    *,
    score: Scores,
    time: bool,
    seed: int,
) -> Report:
    left += [(s.name, "its input is not an argument of its call") for s in chosen if not exchangeable(s)]
    chosen = [s for s in chosen if exchangeable(s)]
    values = site_inputs(model, chosen, batches, seed)
    instead: dict[str, nn.Module] = {}
    changes = []
    made: dict[str, Activation] = {}  # one formula, one kernel
    for site in chosen:
        size = site.activation(values[site.name]).abs()
        t = max(threshold(size), 0.0)
        instead[site.name] = Act(made.setdefault(str(site.activation), dropped(site.activation)), t=t)
        gone = size <= t
        error = float((size[gone].double().square().sum() / size.double().square().sum().clamp_min(1e-300)).sqrt())
        changes.append(Change(site.name, site.label, f"{site.label}, |f| > {t:.4g}", error))

    def put() -> Callable[[], None]:
        return rewire(model, [s for s in blocks.sites if s.name in instead], instead).undo

    return conduct(verb, model, batches, blocks, put, changes, left, score=score, time=time)

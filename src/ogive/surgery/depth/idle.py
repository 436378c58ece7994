"""``channel_idle``: hidden channels of a feed-forward block that bypass the activation, folded into one matrix."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import OgiveError, ParameterError, closest
from ogive.layers.act import Act
from ogive.surgery.depth.chains import Position, chains_of
from ogive.surgery.depth.idle_layers import Idle, fold_all
from ogive.surgery.edits import Edits
from ogive.surgery.effect import Score, batches_of, conduct, examples_in, run
from ogive.surgery.report import Change, Figure, Report
from ogive.surgery.rewire import rewire

FITS = ("line", "identity")


def channel_idle(
    model: nn.Module,
    data: Any,
    *,
    theta: float = 0.75,
    fit: str = "line",
    fold: bool = False,
    score: Score | Mapping[str, Score] | None = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Let a share ``theta`` of the channels between two Linears bypass the activation there (RePaViT).

    The idle channels are those whose activation is nearest to a line on the data, weighed by the weights after them;
    the line (slope and offset, which train) takes their place. Then ``W2_idle diag(slope) W1_idle`` is one matrix: see
    :func:`fold_idle`. RePaViT trains with the identity from the start; here the line spares a trained model.

    Args:
        model: changed in place; slopes and offsets are new keys of the ``state_dict``.
        data: what the model is called with, a batch or a list or loader of batches.
        theta: share of the hidden channels, in (0, 1].
        fit: ``line``, by least squares for each channel, or ``identity``.
        fold: fold as well; then no idle channel is left to train by itself.
        score, time: as of :func:`ogive.swap`.
        seed: unused; every transform takes one.

    Raises:
        ParameterError: for the options. OgiveError: when there is no such block.

    Source: Xu, Li, Chen, Liu and Wang 2025, RePaViT: Scalable Vision Transformer Acceleration via Structural
    Reparameterization on Feedforward Network Layers.

    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8))
    >>> report = channel_idle(net, torch.randn(99, 8), theta=0.5, fold=True, time=False)
    >>> net[0].out_features, report["multiplications of an example"].after
    (24, 320.0)
    """
    if fit not in FITS:
        near = closest(str(fit), FITS, 1)[0]
        raise ParameterError(f"channel_idle: fit={fit!r}; it is line or identity (did you mean {near!r}?)")
    if isinstance(theta, bool) or not isinstance(theta, (int, float)) or not 0.0 < theta <= 1.0:
        raise ParameterError(f"channel_idle: theta={theta!r}; it is a share of the channels, above 0 up to 1")
    batches = batches_of(data)
    chains, every, ends = chains_of(model, batches[0])
    blocks, left = _blocks(chains)
    if not blocks:
        why = "; ".join(f"{p}: {w}" for p, w in [*left, *ends][:4]) or "it has no Linear module"
        raise OgiveError(f"channel_idle: no Linear, activation, Linear in a row ({why})")
    sums = _channel_sums(model, blocks, every, batches)
    instead: dict[str, nn.Module] = {}
    changes = []
    for first, second in blocks:
        site = first.site
        assert site is not None and second.affine is not None
        if sums[site.name].shape[1] != second.affine.weight.shape[1]:
            left.append((site.name, f"the inputs of {second.path} are not its last dimension where it is computed"))
            continue
        own = model.get_submodule(site.module.partition("#")[0]) if site.kind == "module" else Act(site.activation)
        slope, offset, error, power = _lines(sums[site.name], fit)
        after = second.affine.weight.square().sum(0).cpu()
        count = max(round(theta * error.numel()), 1)
        chosen = (error * after).argsort()[:count]
        idle = torch.zeros(error.numel(), dtype=torch.bool)
        idle[chosen] = True
        new = Idle(own, idle, first.path, first.norm, second.path)
        with torch.no_grad():
            new.slope.copy_(slope[idle])
            new.offset.copy_(offset[idle])
        instead[site.name] = new
        off = float((error[idle].sum() / power.sum().clamp_min(1e-300)).sqrt())
        changes.append(Change(site.name, site.label, f"{count} of {error.numel()} idle", off))

    blocks = [(a, b) for a, b in blocks if a.site is not None and a.site.name in instead]
    if not blocks:
        raise OgiveError("channel_idle: no block to change (" + "; ".join(f"{n}: {w}" for n, w in left[:4]) + ")")

    def put() -> Callable[[], None]:
        edits = Edits()
        try:
            edits.later(rewire(model, [s for s in every if s.name in instead], instead).undo)
            if fold:
                fold_all(model, edits)
        except BaseException:
            edits.undo()
            raise
        return edits.undo

    def more() -> list[Figure]:
        before = sum(float(a.affine.weight.numel() + b.affine.weight.numel())
                     for a, b in blocks if a.affine is not None and b.affine is not None)  # fmt: skip
        after = sum(_folded_size(a, b, instead[a.site.name]) for a, b in blocks if a.site is not None)
        return [Figure("multiplications of an example", before, after if fold else before)]

    figures, undo = conduct(model, batches, put, score=score, time=time, more=more)
    notes = () if fold else ("The time is of the block as it trains; fold_idle(model, data) makes it smaller.",)
    return Report("channel_idle", tuple(changes), tuple(left), tuple(figures), notes, examples_in(batches), undo)


def fold_idle(
    model: nn.Module,
    data: Any,
    *,
    score: Score | Mapping[str, Score] | None = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Fold the idle channels that ``channel_idle`` made: ``M = W2_idle diag(slope) W1_idle``.

    The first Linear then gives the active channels and ``M x + m``, the second adds the latter to what it makes of the
    former. A batch normalisation between Linear and activation goes into them.

    Args:
        model: changed in place; its weights change shape.
        data: what the model is called with, or a list or loader of it.
        score, time, seed: as of :func:`ogive.swap`.

    Raises:
        OgiveError: when there is nothing to fold.
    """
    batches = batches_of(data)
    found = {n: m for n, m in model.named_modules() if isinstance(m, Idle) and m.active is None}
    if not found:
        raise OgiveError(
            f"fold_idle: {type(model).__name__} has no idle channels; call channel_idle(model, data) first"
        )

    def put() -> Callable[[], None]:
        edits = Edits()
        try:
            fold_all(model, edits)
        except BaseException:
            edits.undo()
            raise
        return edits.undo

    changes = [Change(n, f"{int(m.idle.sum())} of {m.idle.numel()} idle", "folded") for n, m in found.items()]
    figures, undo = conduct(model, batches, put, score=score, time=time)
    return Report("fold_idle", tuple(changes), (), tuple(figures), (), examples_in(batches), undo)


def _blocks(chains: list[tuple[Position, ...]]) -> tuple[list[tuple[Position, Position]], list[tuple[str, str]]]:
    """Pairs of Linears with an activation between; no Linear in two pairs."""
    blocks: list[tuple[Position, Position]] = []
    left = []
    for chain in chains:
        taken = ""
        for first, second in itertools.pairwise(chain):
            if first.site is None or first.affine is None or second.affine is None:
                continue
            if first.affine.dims or second.affine.dims:
                left.append((first.site.name, "it stands between convolutions"))
            elif first.path == taken:
                left.append((first.site.name, f"{taken} is part of the block before it"))
            elif second.norm:
                left.append((first.site.name, f"{second.norm} follows {second.path}"))
            else:
                blocks.append((first, second))
                taken = second.path
    return blocks, left


def _channel_sums(
    model: nn.Module, blocks: list[tuple[Position, Position]], every: list[Any], batches: list[Any]
) -> dict[str, Tensor]:
    """By site and channel: the count, and the sums of x, f, x^2, f^2, x f."""
    acts = {a.site.name: a.site.activation for a, _ in blocks if a.site is not None}
    sums: dict[str, Tensor] = {}

    def see(name: str, x: Tensor) -> None:
        wide = x.detach().double().reshape(-1, x.shape[-1]).cpu()
        if not bool(torch.isfinite(wide).all()):
            raise OgiveError(f"{name} is given values that are not finite on this data; clean the data or the model")
        f = acts[name](wide)
        parts = torch.stack([torch.ones_like(f), wide, f, wide * wide, f * f, wide * f]).sum(1)
        sums[name] = sums[name] + parts if name in sums else parts

    with rewire(model, [s for s in every if s.name in acts], {}, see):
        run(model, batches)
    return sums


def _lines(sums: Tensor, fit: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Slope and offset of every channel, the mean square error of the line, and the mean square of f."""
    n, x, f, xx, ff, xf = sums
    x, f, xx, ff, xf = x / n, f / n, xx / n, ff / n, xf / n
    if fit == "identity":
        return torch.ones_like(x), torch.zeros_like(x), (ff - 2 * xf + xx).clamp_min(0.0), ff
    spread = xx - x * x
    slope = torch.where(spread > 1e-12 * xx.clamp_min(1e-300), (xf - x * f) / spread.clamp_min(1e-300), 0.0)
    offset = f - slope * x
    error = ff - f * f - slope * (xf - x * f)
    return slope, offset, error.clamp_min(0.0), ff


def _folded_size(first: Position, second: Position, idle: nn.Module) -> float:
    assert isinstance(idle, Idle) and first.affine is not None and second.affine is not None
    inputs, outputs = first.affine.weight.shape[1], second.affine.weight.shape[0]
    active = idle.idle.numel() - int(idle.idle.sum())
    return float(inputs * (active + outputs) + active * outputs)

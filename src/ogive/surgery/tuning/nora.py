"""``nora``: train the nonlinearity only, by low-rank changes of grouped rationals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import gcd
from typing import Any

import torch
from torch import nn

from ogive.errors import OgiveError, ParameterError
from ogive.layers.act import Act
from ogive.surgery.effect import Score, batches_of, conduct, examples_in
from ogive.surgery.report import Change, Figure, Report
from ogive.surgery.rewire import rewire, with_runs
from ogive.surgery.sites import Site, sites
from ogive.surgery.swap import samples
from ogive.surgery.tuning.rational import GroupRational, fitted_rational
from ogive.surgery.wiring import LAYERS


def nora(
    model: nn.Module,
    data: Any,
    *,
    groups: int = 8,
    rank: int = 2,
    tolerance: float = 5e-4,
    score: Score | Mapping[str, Score] | None = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Freeze a model and train low-rank changes ``dA = U V^T`` of rationals in the place of its activations (NoRA).

    Each activation is fitted by a safe rational of degree 5 over 4 under its own inputs, one for all groups of its
    channels; the changes start at 0. Where the fit is further off than ``tolerance`` (a bend, as ReLU has) the
    activation stays and the change of the rational is added to it, so that the start is exact. Train
    ``[p for p in model.parameters() if p.requires_grad]`` in your own loop; parameters that you free or add (LoRA)
    train along. ``undo()`` takes the rationals away and lets train what trained before.

    Args:
        model: changed in place; its parameters stop asking for gradients; new keys in the ``state_dict``.
        data: what the model is called with, a batch or a list or loader of batches: what sites are given.
        groups: of channels with a rational each; where they do not divide the channels, their common divisor.
        rank: of the changes.
        tolerance: root mean square error of a fit over that of the function, above which it stays; 0 keeps all.
        score, time: as of :func:`ogive.swap`.
        seed: of the sample of inputs and of V.

    Raises:
        ParameterError: for groups or rank below 1. OgiveError: when there is no activation of one input.

    Source: Yin et al. 2025, Don't Forget the Nonlinearity: Unlocking Activation Functions in Efficient Fine-Tuning.

    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Linear(16, 512), nn.GELU(), nn.Linear(512, 2))
    >>> report = nora(net, torch.randn(256, 16), time=False)
    >>> report["relative change"].after < 1e-3, report["share that trains"].after < 0.01
    (True, True)
    """
    for name, value in (("groups", groups), ("rank", rank)):
        if type(value) is not int or value < 1:
            raise ParameterError(f"nora: {name}={value!r}; it takes a whole number of at least 1")
    if not tolerance >= 0.0:
        raise ParameterError(f"nora: tolerance={tolerance!r}; it takes a number of at least 0")
    batches = batches_of(data)
    found = list(sites(model, batches[0]))
    chosen, left = [], []
    for site in found:
        why = _why_not(site)
        if why:
            left.append((site.name, why))
        else:
            chosen.append(site)
    if not chosen:
        why = "; ".join(f"{n}: {w}" for n, w in left[:4]) or "the model has no nonlinearity"
        raise OgiveError(f"nora: no activation to change ({why})")
    inputs = samples(model, chosen, batches, seed)
    draw = torch.Generator().manual_seed(seed)
    instead: dict[str, nn.Module] = {}
    changes = []
    for site in chosen:
        x = inputs[site.name]
        fit = fitted_rational(site.activation, x)
        dim = _channel_dim(model, site)
        channels = site.shape[dim]
        parts = gcd(groups, channels)
        own = None if fit.error <= tolerance else Act(site.activation)
        new = GroupRational(fit, channels, parts, rank, dim, float(x.square().mean().sqrt()), own, draw)
        instead[site.name] = new
        label = f"{'' if own is None else 'own + '}rational, {parts} groups"
        changes.append(Change(site.name, site.label, label, fit.error))
    told = with_runs(found, chosen)
    asked = [(p, p.requires_grad) for p in model.parameters()]

    def put() -> Callable[[], None]:
        done = rewire(model, told, instead)
        for p, _ in asked:
            p.requires_grad_(False)

        def undo() -> None:
            done.undo()
            for p, want in asked:
                p.requires_grad_(want)

        return undo

    def more() -> list[Figure]:
        own = {id(p): p.numel() for m in instead.values() for p in m.parameters()}
        before = sum(p.numel() for p, want in asked if want)
        trains, all_before = sum(own.values()), sum(p.numel() for p, _ in asked)
        return [Figure("parameters that train", before, trains),
                Figure("share that trains", before / all_before, trains / (all_before + trains))]  # fmt: skip

    figures, undo = conduct(model, batches, put, score=score, time=time, more=more)
    return Report("nora", tuple(changes), tuple(left), tuple(figures), (), examples_in(batches), undo)


def _why_not(site: Site) -> str:
    if site.kind == "gate":
        return "a gate of two inputs"
    if site.kind == "call" and (not site.calls or site.calls[0].slot is None):
        return "its input is not an argument of its call; make it a module"
    return "" if len(site.shape) >= 2 else "its input has no channels"


def _channel_dim(model: nn.Module, site: Site) -> int:
    """1 after a convolution, else the last."""
    for weight in site.fed_by:
        path = weight.rpartition(".")[0]
        layer = dict(model.named_modules()).get(path)
        if isinstance(layer, LAYERS):
            return -1 if isinstance(layer, nn.Linear) else 1
    return -1

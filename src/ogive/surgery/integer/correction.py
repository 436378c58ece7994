"""``bias_correction``: rounded weights whose mean error is taken out of the biases."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ogive.derive.moments import moments
from ogive.errors import InputError, OgiveError, ParameterError, closest
from ogive.surgery.edits import Edits
from ogive.surgery.effect import Score, batches_of, moved, outputs, run, scored
from ogive.surgery.fold_norms import Normal, known_normal, normal_of
from ogive.surgery.integer.compared import timed_copies
from ogive.surgery.integer.rounding import rounded
from ogive.surgery.report import Change, Figure, Report
from ogive.surgery.wiring import (
    Layer,
    Link,
    by_input,
    example_of,
    fits,
    layers_of,
    links,
)

METHODS = ("analytic", "empirical", "none")


def bias_correction(
    model: nn.Module,
    data: Any = None,
    *,
    method: str = "analytic",
    bits: int = 8,
    per_channel: bool = False,
    score: Score | Mapping[str, Score] | None = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Round the weights and take the mean error, ``(W' - W) E[x]``, out of the biases, in place.

    Args:
        model: any module with Linear or convolution layers.
        data: what the model is called with, or a list or loader of it.
        method: ``analytic``: E[x] = E f(N(m, s^2)) of every channel, for any function f, by
            :func:`ogive.moments`; m and s are those of the batch normalisation before f (also one that
            :func:`~ogive.surgery.integer.equalise.equalise` has folded), or measured on the data; the data also give
            the mean input of the first layer. ``empirical``: the mean result of every layer is brought back to what it
            was on the data, layer by layer. ``none``: round only.
        bits: of the weights.
        per_channel: one grid for each output channel instead of one a tensor.
        score: a function of the model, or several by name.
        time: measure a batch before and after, in turn.
        seed: not used; nothing is drawn.

    Borders of padded convolutions are taken for the inside. Weights stay floating tensors on the grid's points.

    Raises:
        ParameterError: for a method that does not exist.
        InputError: for ``empirical`` without data.
        OgiveError: when no layer can be corrected, with the reasons. The model is then as it was.

    Source: Nagel et al. 2019, Data-Free Quantization Through Weight Equalization and Bias Correction, section 4.2,
    where f is ReLU and its moments are written out.

    >>> _ = torch.manual_seed(0)
    >>> net, x = nn.Sequential(nn.Linear(4, 64), nn.GELU(), nn.Linear(64, 4)), torch.randn(1000, 4)
    >>> changes = []
    >>> for method in ("none", "analytic"):
    ...     report = bias_correction(net, x, method=method, bits=5, time=False)
    ...     changes.append(report["mean output error"].after)
    ...     report.undo()
    >>> changes[1] < 0.5 * changes[0]
    True
    """
    if method not in METHODS:
        raise ParameterError(f"bias_correction: method={method!r}; it is one of {', '.join(METHODS)} (did you mean "
                             f"{closest(str(method), METHODS, 1)[0]!r}?)")  # fmt: skip
    if method == "empirical" and data is None:
        raise InputError("bias_correction: method='empirical' needs data to measure means on")
    batches = [] if data is None else batches_of(data)
    example = batches[0] if batches else example_of(model)
    measured = batches or [example]
    scores = dict(score) if isinstance(score, Mapping) else {} if score is None else {"score": score}
    before = outputs(model, measured)
    scored_before = {k: f(model) for k, f in scores.items()}
    original = copy.deepcopy(model) if time and batches else model
    edits = Edits()
    try:
        layers = layers_of(model)
        there = [link.first for link in links(model, example)]
        old = {name: layers[name].weight.detach().double().clone() for name in there}
        means, left = _inputs(model, links(model, example), batches) if method == "analytic" else ({}, [])
        wanted = _means(model, batches, outward=True) if method == "empirical" else {}
        for name in dict.fromkeys(there):
            edits.write(layers[name].weight, rounded(layers[name].weight, bits, per_channel))
        shifts: dict[str, Tensor] = {}
        for name in dict.fromkeys(there):
            if name in means:
                shifts[name] = _shift(layers[name], old[name], means[name])
                edits.add_bias(layers[name], -shifts[name])
            elif method == "empirical":
                shifts[name] = _means(model, batches, outward=True, only=name)[name] - wanted[name]
                edits.add_bias(layers[name], -shifts[name])
        if method != "none" and not shifts:
            raise OgiveError("bias_correction: no layer to correct: " + "; ".join(f"{n}: {w}" for n, w in left[:6]))
        after = outputs(model, measured)
        figures: list[Figure] = moved(before, after)
        off = (after.double().mean(0) - before.double().mean(0)).norm() / before.double().mean(0).norm()
        figures.append(Figure("mean output error", 0.0, float(off)))
        figures += [scored(k, scored_before[k], f(model)) for k, f in scores.items()]
        if time and batches:
            figures.append(timed_copies(original, model, batches[0]))
    except BaseException:
        edits.undo()
        raise
    changes = [_change(name, old[name], layers[name], shifts.get(name), bits) for name in dict.fromkeys(there)]
    return Report("bias_correction", tuple(changes), tuple(left), tuple(figures), (), len(before), edits.undo)


def _change(name: str, old: Tensor, layer: Layer, shift: Tensor | None, bits: int) -> Change:
    error = float((layer.weight.detach().double() - old).norm() / old.norm().clamp_min(1e-300))
    note = "" if shift is None else f"bias moved by {float(shift.abs().mean()):.3g} on average"
    return Change(name, "weights", f"{bits}-bit weights", error, note)


def _shift(layer: Layer, old: Tensor, mean: Tensor) -> Tensor:
    """``(W' - W) E[x]``: by output channel. ``mean`` is by input channel."""
    mean = mean.to(layer.weight.device)
    now = by_input(layer, mean.numel())
    keep = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight.copy_(old.reshape(layer.weight.shape))
        before = by_input(layer, mean.numel())
        layer.weight.copy_(keep)
    error = (now - before).sum(2)
    if isinstance(layer, nn.Linear) or layer.groups == 1:
        return error @ mean
    groups = layer.groups
    by_group = error.reshape(error.shape[0], groups, -1) * mean.reshape(1, groups, -1)
    return by_group.sum(2).T.reshape(-1)  # outputs are stored group after group


def _inputs(model: nn.Module, found: list[Link], batches: list[Any]) -> tuple[dict[str, Tensor], list[tuple[str, str]]]:
    """E[x] of every input channel of every layer that it can be told of, and why of the others it cannot."""
    layers = layers_of(model)
    told: dict[str, Tensor] = {}
    left: dict[str, str] = {}
    measured: dict[str, Normal] = _spreads(model, batches) if batches else {}
    for link in found:
        if not link.second:
            continue
        layer = layers[link.first]
        norm = model.get_submodule(link.norm) if link.norm else None
        known = normal_of(norm) if isinstance(norm, nn.modules.batchnorm._BatchNorm) else known_normal(layer)
        known = known or (None if norm is not None else measured.get(link.first))
        if known is None:
            left[link.second] = f"what {link.first} gives is not known: no batch normalisation, no data"
        elif link.pooled:
            left[link.second] = "there is pooling before it"
        elif not fits(layer, layers[link.second]):
            left[link.second] = f"its inputs are not the channels of {link.first}"
        else:
            told[link.second] = _mean_of(link, known)
    first = [link.first for link in found if link.first not in told]
    if batches:
        inputs = _means(model, batches, outward=False)
        for name in first:
            told[name] = inputs[name]
            left.pop(name, None)
    for name in first:
        if name not in told:
            left.setdefault(name, "the mean of its input is not known without data")
    return told, list(left.items())


def _mean_of(link: Link, known: Normal) -> Tensor:
    if link.act is None:
        return known.mean
    std = known.std.clamp_min(1e-12 * float(known.mean.abs().max().clamp_min(1.0)))
    value, _ = moments(link.act, [(1,)], known.mean, std)
    return value[0].detach()


def _watched(model: nn.Module, batches: list[Any], see: Any, names: dict[str, Layer]) -> None:
    handles = [layer.register_forward_hook(lambda _, args, out, name=name: see(name, args[0], out))
               for name, layer in names.items()]  # fmt: skip
    try:
        run(model, batches)
    finally:
        for handle in handles:
            handle.remove()


def _rows(x: Tensor, layer: Layer) -> Tensor:
    """Channels last, one row a place; float64."""
    x = x.detach().double()
    if isinstance(layer, nn.Linear):
        return x.reshape(-1, x.shape[-1])
    dims = len(layer.kernel_size)
    return x.movedim(-dims - 1, -1).reshape(-1, x.shape[-dims - 1])


def _means(model: nn.Module, batches: list[Any], outward: bool, only: str = "") -> dict[str, Tensor]:
    """The mean of each channel of what layers are given or give."""
    layers = layers_of(model)
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def see(name: str, x: Tensor, y: Tensor) -> None:
        rows = _rows(y if outward else x, layers[name])
        sums[name] = sums.get(name, torch.zeros(rows.shape[1]).double()) + rows.sum(0).cpu()
        counts[name] = counts.get(name, 0) + len(rows)

    _watched(model, batches, see, {k: v for k, v in layers.items() if only in ("", k)})
    return {name: sums[name] / counts[name] for name in sums}


def _spreads(model: nn.Module, batches: list[Any]) -> dict[str, Normal]:
    """Mean and standard deviation of each output channel of every layer."""
    layers = layers_of(model)
    sums: dict[str, list[Tensor]] = {}

    def see(name: str, x: Tensor, y: Tensor) -> None:
        rows = _rows(y, layers[name])
        new = [torch.tensor(len(rows)).double(), rows.sum(0), rows.square().sum(0)]
        sums[name] = [a + b for a, b in zip(sums[name], new)] if name in sums else new

    _watched(model, batches, see, layers)
    found = {}
    for name, (count, total, square) in sums.items():
        mean = total / count
        found[name] = Normal(mean, (square / count - mean.square()).clamp_min(0.0).sqrt())
    return found

"""``equalise``: even weight ranges between layers that a positively homogeneous function joins."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ogive.activation import Activation
from ogive.derive.shape import shape
from ogive.errors import OgiveError, ParameterError
from ogive.expr import Expr, value_of
from ogive.layers.act import Act
from ogive.surgery.edits import Edits
from ogive.surgery.effect import Score, batches_of, moved, outputs, scored
from ogive.surgery.fold_norms import Normal, fold_norms, known_normal, remember
from ogive.surgery.integer.compared import timed_copies
from ogive.surgery.integer.rounding import rounded_weights
from ogive.surgery.report import Change, Figure, Report
from ogive.surgery.rewire import rewire
from ogive.surgery.sites import sites
from ogive.surgery.wiring import (
    Layer,
    Link,
    channels_of,
    example_of,
    fits,
    inward,
    layers_of,
    links,
    outward,
    scaled_input,
)

_ROUNDS = 40
_SETTLED = 1e-4  # of log s


def why_not_homogeneous(act: Activation) -> str:
    """Why f(sx) = s f(x) for s > 0 cannot be used, or "" where the formula proves it.

    >>> from ogive import get
    >>> why_not_homogeneous(get("leaky_relu")), why_not_homogeneous(get("gelu"))
    ('', 'gelu is not positively homogeneous: f(2) = 1.954, 2 f(1) = 1.683')
    """
    if shape(act).homogeneity == 1.0:
        return ""
    one, two = (float(act(torch.tensor(v, dtype=torch.float64))) for v in (1.0, 2.0))
    at = 1.0
    if abs(two - 2.0 * one) < 1e-3 * max(abs(two), 1e-300):  # the first place where the two differ to be seen
        for at in (-1.0, 4.0, -4.0, 0.25, -0.25, 16.0, -16.0):
            one, two = (float(act(torch.tensor(v * at, dtype=torch.float64))) for v in (1.0, 2.0))
            if abs(two - 2.0 * one) >= 1e-3 * max(abs(two), 1e-300):
                break
    return f"{act.label} is not positively homogeneous: f({2 * at:g}) = {two:.4g}, 2 f({at:g}) = {2 * one:.4g}"


def unclipped(act: Activation) -> Activation | None:
    """The nonlinear homogeneous function that ``act`` is but for constant bounds, ReLU of ReLU6; None where it is none.

    >>> from ogive import get
    >>> unclipped(get("relu6")), unclipped(get("gelu")), unclipped(get("hardtanh"))
    (<Activation unnamed: maximum(x, 0)>, None, None)
    """
    expr: Expr = act.fixed().expr
    while expr.op in ("minimum", "maximum"):
        bounds = [a for a in expr.args if value_of(a) not in (None, 0.0)]
        if len(bounds) != 1:
            break
        expr = next(a for a in expr.args if a is not bounds[0])
    inner = Activation(expr)
    if expr is act.fixed().expr or expr.op == "var" or shape(inner).homogeneity != 1.0:
        return None
    return inner


def equalise(
    model: nn.Module,
    data: Any = None,
    *,
    fold: bool = True,
    relax: bool = False,
    bits: int = 8,
    score: Score | Mapping[str, Score] | None = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Even out weight ranges over pairs of layers, ``W1/s`` and ``s W2`` with s = sqrt(r1 r2)/r2, in place.

    r1 and r2 are the largest weights, in size, that make a channel and that it meets. The function stays: the
    nonlinearity between the two has f(sx) = s f(x), which its formula proves or the pair is left. Pairs are gone over
    until no s is away from 1.

    Args:
        model: any module with Linear or convolution layers, in evaluation mode what it computes stays the same.
        data: what the model is called with; without it the wiring is seen with random numbers, and only that.
        fold: fold batch normalisations into the layers before them first.
        relax: put the function without its bounds in the place of a clipped one (ReLU for ReLU6), which changes the
            function where the data reach the bound.
        bits: of the weights, one grid a tensor, with which the effect is measured.
        score: a function of the model, or several by name.
        time: measure a batch before and after, in turn.
        seed: not used; nothing is drawn.

    Raises:
        OgiveError: when no pair can be equalised, with the reasons. The model is then as it was.

    Source: Nagel et al. 2019, Data-Free Quantization Through Weight Equalization and Bias Correction.

    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 4), nn.GELU(), nn.Linear(4, 2))
    >>> report = equalise(net)
    >>> [c.site for c in report.changes], report.left[0]
    (['0 to 2'], ('2', 'gelu is not positively homogeneous: f(2) = 1.954, 2 f(1) = 1.683'))
    """
    if not 2 <= bits <= 16:
        raise ParameterError(f"equalise: bits={bits!r}; it takes 2 to 16")
    batches = [] if data is None else batches_of(data)
    example = batches[0] if batches else example_of(model)
    scores = dict(score) if isinstance(score, Mapping) else {} if score is None else {"score": score}
    measured = batches or [example]
    edits = Edits()
    original = copy.deepcopy(model) if time and batches else model
    before = outputs(model, measured)
    first = _measured(model, batches, scores, bits, before)
    try:
        folded = fold_norms(model, links(model, example), edits) if fold else []
        relaxed = _relax(model, example, edits) if relax else {}
        pairs, left = _pairs(model, links(model, example), relax)
        pairs = _confirmed(model, pairs, measured[:1], left)
        if not pairs:
            raise OgiveError("equalise: no two layers to equalise: " + "; ".join(f"{n}: {w}" for n, w in left[:6]))
        changes = _even_out(model, pairs, edits)
        changes += [Change(name, *was_is, note="its bounds are gone") for name, was_is in relaxed.items()]
        second = _measured(model, batches, scores, bits, before)
        figures: list[Figure] = moved(before, outputs(model, measured))
    except BaseException:
        edits.undo()
        raise
    figures += _compared(first, second)
    if time and batches:
        figures.append(timed_copies(original, model, batches[0]))
    notes = [f"{len(folded)} batch normalisations folded: {', '.join(folded)}"] if folded else []
    if not batches:
        notes.append("Without data the two figures are on random numbers of the shape of the first layer.")
    return Report("equalise", tuple(changes), tuple(left), tuple(figures), tuple(notes), len(before), edits.undo)


def _pairs(model: nn.Module, found: list[Link], relax: bool) -> tuple[list[Link], list[tuple[str, str]]]:
    layers, pairs, left = layers_of(model), [], []
    for link in found:
        why = link.why_not
        if link.act is not None and (not why or not link.second):
            why = why_not_homogeneous(link.act) or why
            if why and not relax and unclipped(link.act) is not None:
                why += " (relax=True takes its bounds away)"
        if not why and link.norm:
            why = f"the batch normalisation {link.norm} is between them; fold=True folds it"
        if not why and not fits(layers[link.first], layers[link.second]):
            why = f"its channels are not the inputs of {link.second}"
        if why:
            left.append((link.first, why))
        else:
            pairs.append(link)
    return pairs, left


def _confirmed(model: nn.Module, pairs: list[Link], batch: list[Any], left: list[tuple[str, str]]) -> list[Link]:
    """The pairs that keep the outputs when their channels are scaled between a half and two: what stands between two
    layers may have moved the channels (a transpose, a mean over them). All are tried at once, and one by one only
    where that fails."""
    before = outputs(model, batch).double()
    layers = layers_of(model)

    def keeps(some: list[Link]) -> bool:
        trial = Edits()
        try:
            for k, link in enumerate(some):
                one = layers[link.first]
                g = torch.Generator().manual_seed(k)
                s = torch.exp2(2.0 * torch.rand(channels_of(one), generator=g).double() - 1.0).to(one.weight.device)
                _scale(one, layers[link.second], s, trial)
            after = outputs(model, batch).double()
        finally:
            trial.undo()
        return float((after - before).norm()) <= 1e-3 * float(before.norm())

    if not pairs or keeps(pairs):
        return pairs
    kept = [link for link in pairs if keeps([link])]
    left += [(link.first, f"what stands between it and {link.second} does not keep its channels")
             for link in pairs if link not in kept]  # fmt: skip
    return kept


def _relax(model: nn.Module, example: Any, edits: Edits) -> dict[str, tuple[str, str]]:
    found = list(sites(model, example))
    instead: dict[str, nn.Module] = {}
    done: dict[str, tuple[str, str]] = {}
    for site in found:
        inner = unclipped(site.activation) if site.kind != "gate" and not site.note else None
        if inner is not None:
            instead[site.name] = Act(inner)
            done[site.name] = site.label, str(inner)
    edits.later(rewire(model, [s for s in found if s.name in instead], instead).undo)
    return done


def _even_out(model: nn.Module, pairs: list[Link], edits: Edits) -> list[Change]:
    layers = layers_of(model)
    spread = {link: _spread(layers[link.first]) for link in pairs}
    for _ in range(_ROUNDS):
        furthest = 0.0
        for link in pairs:
            one, two = layers[link.first], layers[link.second]
            r1, r2 = outward(one), inward(two, channels_of(one)).to(one.weight.device)
            s = torch.where((r1 > 0) & (r2 > 0), (r1 / r2).sqrt(), torch.ones_like(r1))  # = sqrt(r1 r2)/r2
            furthest = max(furthest, float(s.log().abs().max()))
            _scale(one, two, s, edits)
        if furthest < _SETTLED:
            break
    changes = []
    for link in pairs:
        was, now = (f"ranges 1:{v:.3g}" for v in (spread[link], _spread(layers[link.first])))
        through = "" if link.act is None else f"through {link.label or link.act}"
        changes.append(Change(f"{link.first} to {link.second}", was, now, note=through))
    return changes


def _scale(one: Layer, two: Layer, s: Tensor, edits: Edits) -> None:
    edits.write(one.weight, one.weight.detach().double() / s.view(-1, *[1] * (one.weight.dim() - 1)))
    if one.bias is not None:
        edits.write(one.bias, one.bias.detach().double() / s)
    edits.write(two.weight, scaled_input(two, s))
    told = known_normal(one)
    if told is not None:
        remember(one, Normal(told.mean / s, told.std / s), edits)


def _spread(layer: Layer) -> float:
    """The largest range of a channel over the smallest that is not 0."""
    ranges = outward(layer)
    ranges = ranges[ranges > 0]
    return float(ranges.max() / ranges.min()) if ranges.numel() else 1.0


def _measured(
    model: nn.Module, batches: list[Any], scores: dict[str, Score], bits: int, before: Tensor
) -> dict[str, Any]:
    """The user's scores, and everything again with the weights of every layer rounded, one grid a tensor."""
    found: dict[str, Any] = {k: f(model) for k, f in scores.items()}
    with rounded_weights(model, bits):
        if batches:
            found[f"change, {bits}-bit weights"] = moved(before, outputs(model, batches))[1].after
        found |= {f"{k}, {bits}-bit weights": f(model) for k, f in scores.items()}
    return found


def _compared(first: dict[str, Any], second: dict[str, Any]) -> list[Figure]:
    return [scored(name, first[name], second[name]) for name in first]

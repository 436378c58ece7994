"""``merge``: layers that follow one another with nothing between become one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from ogive.errors import OgiveError, ParameterError, closest
from ogive.surgery.depth.affine import Affine, affine_of, merged, why_not
from ogive.surgery.depth.chains import Chain, Position, Segment, chains_of, place, products
from ogive.surgery.effect import Score, batches_of, conduct, examples_in
from ogive.surgery.report import Change, Figure, Report
from ogive.surgery.wiring import LAYERS

PADDINGS = ("exact", "moved")


def merge(
    model: nn.Module,
    data: Any,
    *,
    padding: str = "exact",
    dearer: bool = False,
    score: Score | Mapping[str, Score] | None = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Make one layer of layers in a row that nothing separates: ``W2 (W1 x + b1) + b2``, kernels convolved.

    Batch normalisation straight after a layer is folded first (its running statistics). Activations that
    :func:`linearise` brought to the identity separate nothing.

    Args:
        model: changed in place and in evaluation mode from here on as far as the merged layers go; merged keys of the
            ``state_dict`` change.
        data: what the model is called with; the first batch shows what follows what.
        padding: ``exact`` merges what gives the same everywhere; ``moved`` also merges a convolution that pads what a
            wider one gives, putting the padding of both around the input: the border changes.
        dearer: merge also where the one layer takes more multiplications than the two.
        score, time: as of :func:`ogive.swap`.
        seed: unused; every transform takes one.

    Raises:
        ParameterError: for another padding.
        OgiveError: when nothing can be merged, with the reasons; the model is then as it was.

    Source: Chen et al. 2023, VanillaNet, section 3.1; kernels in a row: Ding et al. 2021, Diverse Branch Block.

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> merge(net, torch.randn(5, 4), time=False).changes[0].after, net[0]
    ('Linear 4 -> 3', Linear(in_features=4, out_features=3, bias=True))
    """
    if padding not in PADDINGS:
        near = closest(str(padding), PADDINGS, 1)[0]
        raise ParameterError(f"merge: padding={padding!r}; it is exact or moved (did you mean {near!r}?)")
    batches = batches_of(data)
    chains, every, ends = chains_of(model, batches[0])
    left = [(p.path, p.why_not) for chain in chains for p in chain if p.why_not]
    segments: list[Segment] = []
    before = after = 0.0
    for chain in chains:
        at: list[Position] = []
        whole: Affine | None = None
        for position in chain:
            reason = _reason(at, whole, position, padding == "exact", dearer)
            if at and not reason and whole is not None and position.affine is not None:
                whole = merged(whole, position.affine, exact=padding == "exact")
                at.append(position)
                continue
            if at and reason:
                left.append((at[-1].path, f"with {position.path}: {reason}"))
            segments += _closed(at, whole, model)
            at, whole = [position], position.affine
        segments += _closed(at, whole, model)
    if not segments:
        why = "; ".join(f"{p}: {w}" for p, w in [*left, *ends][:4]) or "there are no layers in a row"
        raise OgiveError(f"merge: nothing to merge ({why})")
    for segment in segments:
        before += sum(p.products for p in segment.layers)
        after += products(affine_in(segment), segment.layers[-1].gave)
    changes = [Change(g.layers[0].path, f"{len(g.layers)} layers", describe(affine_in(g)),
                      note=f"with {', '.join(p.path for p in g.layers[1:])}") for g in segments]  # fmt: skip

    def put() -> Callable[[], None]:
        return place(model, segments, every)

    def more() -> list[Figure]:
        count = float(sum(len(c) for c in chains))
        return [Figure("multiplications, merged layers", before, after),
                Figure("layers", count, count - sum(len(g.layers) - 1 for g in segments))]  # fmt: skip

    figures, undo = conduct(model, batches, put, score=score, time=time, more=more)
    return Report("merge", tuple(changes), tuple(left), tuple(figures), (), examples_in(batches), undo)


def _reason(at: list[Position], whole: Affine | None, position: Position, exact: bool, dearer: bool) -> str:
    """Why ``position`` is not merged with what is before it; "" where it is, or where nothing is before it."""
    if not at:
        return ""
    if at[-1].site is not None:
        return f"{at[-1].site.label} stands between"
    if whole is None or position.affine is None:
        return at[-1].why_not or position.why_not
    reason = why_not(whole, position.affine, exact)
    if reason or dearer:
        return reason
    now = products(whole, at[-1].gave) + position.products
    then = products(merged(whole, position.affine, exact=exact), position.gave)
    return f"{then:.3g} multiplications where two layers take {now:.3g}; dearer=True merges it" if then > now else ""


def _closed(at: Chain | list[Position], whole: Affine | None, model: nn.Module) -> list[Segment]:
    if len(at) < 2 or whole is None:
        return []
    weight = next(model.get_submodule(at[0].path).parameters())
    return [Segment(tuple(at), whole.module(weight))]


def affine_in(segment: Segment) -> Affine:
    """The map of a segment's new layer."""
    layer = next(m for m in segment.module.modules() if isinstance(m, LAYERS))
    return affine_of(layer)


def describe(affine: Affine) -> str:
    """A layer in words.

    >>> import torch
    >>> describe(Affine(torch.zeros(3, 4), torch.zeros(3)))
    'Linear 4 -> 3'
    """
    inputs, outputs = affine.weight.shape[1] * affine.groups, affine.weight.shape[0]
    if not affine.dims:
        return f"Linear {inputs} -> {outputs}"
    return f"conv {'x'.join(map(str, affine.weight.shape[2:]))}, {inputs} -> {outputs}"

"""Tables of time and importance: what each way to shorten a chain costs and takes on this machine and this data."""

from __future__ import annotations

import itertools
import time as clock
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import OgiveError
from ogive.layers.act import Act
from ogive.surgery.depth.affine import Affine, merged, removable, why_not
from ogive.surgery.depth.chains import Chain, Segment, place, products
from ogive.surgery.depth.plan import Option, Span, fastest, kept_layers
from ogive.surgery.sites import Site

_DEARER = 2.5  # merges of more than this many times the multiplications of their layers are not tried


@dataclass(frozen=True)
class Shortened:
    """One way to run some neighbours of a chain: the new layers, the nonlinearities that go, the layers that go."""

    segments: tuple[Segment, ...]
    removed: tuple[Site, ...]
    dropped: tuple[str, ...] = ()


def joined(chain: Chain, span: Span, kept: Sequence[int], exact: bool) -> Affine | str | None:
    """The layers ``kept`` (of span's) as one map; None for no layer at all; a text says why it cannot be."""
    whole: Affine | None = None
    for i in kept:
        position = chain[span[0] + i]
        if position.affine is None:
            return position.why_not
        if whole is None:
            whole = position.affine
            continue
        reason = why_not(whole, position.affine, exact)
        if reason:
            return f"{chain[span[0] + i - 1].path} with {position.path}: {reason}"
        whole = merged(whole, position.affine, exact=exact)
    return whole


def timed(modules: Mapping[Any, tuple[nn.Module, tuple[int, ...]]], like: Tensor, rounds: int) -> dict[Any, float]:
    """Milliseconds of each module on random input of its shape, taken in turn: the low quartile of ``rounds``."""
    took: dict[Any, list[float]] = {k: [] for k in modules}
    draw = torch.Generator().manual_seed(0)
    inputs = {shape: torch.randn(shape, generator=draw).to(like) for _, shape in modules.values()}
    with torch.no_grad():
        for turn in range(rounds + 1):
            for key, (module, shape) in modules.items():
                began = clock.perf_counter()
                module(inputs[shape])
                if turn:
                    took[key].append(1e3 * (clock.perf_counter() - began))
    return {k: sorted(t)[len(t) // 4] for k, t in took.items()}


def options_of(
    model: nn.Module, chain: Chain, every: list[Site], worth: Callable[[], float], *, longest: int, exact: bool,
    remove: bool, rounds: int,
) -> tuple[list[Option], list[tuple[str, str]]]:  # fmt: skip
    """Every option of one chain with its measured time and importance, and what could not be merged and why.

    ``worth`` measures the model as it stands; importance is its change when the option alone is put in.
    """
    weight = next(model.get_submodule(chain[0].path).parameters())
    affines: dict[tuple[Span, tuple[int, ...]], Affine | None] = {}
    left: dict[str, str] = {}
    for span in _spans(len(chain), longest):
        layers = chain[span[0] : span[1]]
        for kept in _kept(layers, remove):
            if len(layers) == 1 and kept:  # as it is; a layer without a map (padding by reflection) too
                affines[span, kept] = layers[0].affine
                continue
            one = joined(chain, span, kept, exact)
            if isinstance(one, str):
                left.setdefault(f"{layers[0].path} to {layers[-1].path}", one)
            elif one is None or products(one, layers[-1].gave) <= _DEARER * max(sum(p.products for p in layers), 1.0):
                affines[span, kept] = one
    modules: dict[Any, tuple[nn.Module, tuple[int, ...]]] = {}
    for (span, kept), one in affines.items():
        first = chain[span[0]]
        single = one is None and bool(kept)
        new = _own(model, first.path, first.norm) if single else nn.Identity() if one is None else one.module(weight)
        modules[span, kept] = new.eval(), first.given
    for i, position in enumerate(chain):
        if position.site is not None:
            modules["act", i] = _act(model, position.site), position.gave
    times = timed(modules, weight.detach(), rounds)
    whole = {span: times[span, kept] for span, kept in affines if len(kept) == span[1] - span[0]}
    best = fastest(whole, len(chain))
    found: list[Option] = []
    for span in _spans(len(chain), longest):
        end = times.get(("act", span[1] - 1), 0.0)
        time, cuts = best.get(span, (0.0, ()))
        if span in whole and any(chain[m - 1].site is not None for m in cuts):
            time, cuts = whole[span], ()
        # a cut at an activation would take it away for its own time alone: the two parts are options already
        if span in best and not any(chain[m - 1].site is not None for m in cuts):
            parts = list(itertools.pairwise([span[0], *cuts, span[1]]))
            segments = [Segment(chain[a:b], modules[(a, b), tuple(range(b - a))][0]) for a, b in parts
                        if affines[(a, b), tuple(range(b - a))] is not None and (b - a > 1 or chain[a].norm)
                        ]  # fmt: skip
            inside = [p.site for p in chain[span[0] : span[1] - 1] if p.site is not None]
            way = Shortened(tuple(segments), tuple(inside))
            found.append(_option(model, every, span, time + end, way, worth))
        for kept in _kept(chain[span[0] : span[1]], remove):
            if len(kept) < span[1] - span[0] and (span, kept) in affines:
                inside = [p.site for p in chain[span[0] : span[1] - 1] if p.site is not None]
                gone = tuple(chain[span[0] + i].path for i in range(span[1] - span[0]) if i not in kept)
                segment = Segment(chain[span[0] : span[1]], modules[span, kept][0])
                way = Shortened((segment,), tuple(inside), gone)
                found.append(_option(model, every, span, times[span, kept] + end, way, worth))
    return found, list(left.items())


def _spans(n: int, longest: int) -> Iterable[Span]:
    return [(i, j) for i in range(n) for j in range(i + 1, min(i + longest, n) + 1)]


def _kept(layers: Chain, remove: bool) -> list[tuple[int, ...]]:
    """Sets of layers to keep: all of them, and with ``remove`` one for each other kernel size."""
    every = tuple(range(len(layers)))
    if not remove:
        return [every]
    maps = [p.affine for p in layers]
    if any(m is None or len(set(m.extent)) > 1 for m in maps):
        return [every]
    known = [m for m in maps if m is not None]
    sizes = [m.extent[0] - 1 if m.dims else 0 for m in known]
    norms = [float(m.weight.abs().sum()) for m in known]
    # nothing at all has size 0 too: a set of its own beside the best one of 1 x 1 layers
    may_go = [removable(m) for m in known]
    sets = [every, *kept_layers(sizes, norms, may_go).values(), *([()] if all(may_go) else [])]
    return list(dict.fromkeys(sets))


def _own(model: nn.Module, path: str, norm: str) -> nn.Module:
    layer = model.get_submodule(path)
    return nn.Sequential(layer, model.get_submodule(norm)) if norm else layer


def _act(model: nn.Module, site: Site) -> nn.Module:
    return model.get_submodule(site.module.partition("#")[0]) if site.kind == "module" else Act(site.activation)


def _option(
    model: nn.Module, every: list[Site], span: Span, time: float, way: Shortened, worth: Callable[[], float]
) -> Option:
    """Its importance: 0 where it changes nothing but the folding of a normalisation."""
    if not way.removed and not way.dropped and all(len(s.layers) == 1 for s in way.segments):
        return Option(*span, time, 0.0, way)
    undo = place(model, way.segments, every, way.removed)
    try:
        value = worth()
    except OgiveError:
        value = -1e30  # NaN: the last thing to choose
    finally:
        undo()
    return Option(*span, time, value, way)

"""Chains of layers with only a normalisation and a nonlinearity between them, and new layers in their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ogive.errors import OgiveError
from ogive.surgery.depth.affine import Affine, affine_of
from ogive.surgery.edits import Edits
from ogive.surgery.effect import called
from ogive.surgery.modes import evaluating
from ogive.surgery.rewire import rewire, with_runs
from ogive.surgery.sites import Site, sites
from ogive.surgery.wiring import Layer, Link, layers_of, links


@dataclass(frozen=True)
class Position:
    """One layer of a chain: its map (normalisation folded in), or why it has none; the nonlinearity after it on the
    way to the next layer (None: none); the shapes it was given and gave."""

    path: str
    norm: str
    site: Site | None
    affine: Affine | None
    why_not: str
    given: tuple[int, ...]
    gave: tuple[int, ...]

    @property
    def products(self) -> float:
        """Multiplications of one batch."""
        return 0.0 if self.affine is None else products(self.affine, self.gave)


Chain = tuple[Position, ...]


@dataclass(frozen=True)
class Segment:
    """Neighbours of a chain that become one layer (``module``; Identity where all are removed)."""

    layers: Chain
    module: nn.Module

    @property
    def inside(self) -> list[Site]:
        """The nonlinearities that go away."""
        return [p.site for p in self.layers[:-1] if p.site is not None]


def products(affine: Affine, gave: tuple[int, ...]) -> float:
    """Multiplications that make a result of this shape."""
    places = 1
    for n in (gave[:1] + gave[2:]) if affine.dims else gave[:-1]:
        places *= n
    return float(affine.weight.numel() * places)


def chains_of(model: nn.Module, example: Any) -> tuple[list[Chain], list[Site], list[tuple[str, str]]]:
    """The chains of a model in order of execution, all its sites, and where chains end and why.

    A layer follows another in a chain when its input is what the nonlinearity makes of the other's result, on the
    example: reshapes and pooling between two layers end a chain.
    """
    with evaluating(model):
        found, every = links(model, example), list(sites(model, example))
        seen = _seen(model, example)
    by_first = {link.first: link for link in found}
    ends: list[tuple[str, str]] = []
    starts = {link.first for link in found}
    follows: dict[str, str] = {}
    positions: dict[str, Position] = {}
    for link in found:
        site, reason = _between(model, link, every, seen)
        if link.first in seen:
            positions[link.first] = _position(model, link, site, seen[link.first])
        if reason:
            ends.append((link.first, reason))
        elif link.second in by_first and link.second in seen:
            follows[link.first] = link.second
            starts.discard(link.second)
    made = []
    for link in found:
        if link.first not in starts or link.first not in positions:
            continue
        path, chain = link.first, []
        while path:
            chain.append(positions[path])
            path = follows.get(path, "")
        made.append(tuple(chain))
    return made, every, ends


def _seen(model: nn.Module, example: Any) -> dict[str, tuple[Tensor, Tensor, tuple[int, ...], tuple[int, ...]]]:
    """What each layer was given and gave: the first example of the batch, and the shapes of all."""
    seen: dict[str, tuple[Tensor, Tensor, tuple[int, ...], tuple[int, ...]]] = {}

    def look(path: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if args and isinstance(args[0], Tensor) and args[0].dim() and isinstance(output, Tensor):
                x, y = args[0].detach(), output.detach()
                seen[path] = x[:1].clone(), y[:1].clone(), tuple(x.shape), tuple(y.shape)

        return hook

    hooks: list[RemovableHandle] = [m.register_forward_hook(look(p)) for p, m in layers_of(model).items()]
    try:
        called(model, example)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _position(model: nn.Module, link: Link, site: Site | None, seen: tuple[Tensor, Tensor, Any, Any]) -> Position:
    norm = model.get_submodule(link.norm) if link.norm else None
    layer: Layer = layers_of(model)[link.first]
    try:
        affine, why = affine_of(layer, norm, seen[:2]), ""
    except OgiveError as error:
        affine, why = None, str(error)
    return Position(link.first, link.norm, site, affine, why, seen[2], seen[3])


def _between(
    model: nn.Module, link: Link, every: list[Site], seen: dict[str, tuple[Tensor, Tensor, Any, Any]]
) -> tuple[Site | None, str]:
    """The site between two layers, and why they do not follow one another ("": they do)."""
    if not link.second:
        return None, link.why_not
    if link.pooled:
        return None, f"pooling stands between it and {link.second}"
    if link.first not in seen or link.second not in seen:
        return None, "its weight is used without the module"
    site = None
    if link.act is not None:
        near = [s for s in every if f"{link.first}.weight" in s.fed_by and f"{link.second}.weight" in s.feeds]
        if len(near) != 1:
            return None, f"{link.label or 'the nonlinearity'} after it is no site of its own"
        site = near[0]
        if site.kind != "module" and (not site.calls or site.calls[0].slot is None):
            return None, f"{site.name} cannot be exchanged where it is written; make it a module"
    y, x = seen[link.first][1], seen[link.second][0]
    if y.device != x.device:
        return None, f"{link.second} lies on another device"
    with torch.no_grad():
        if link.norm:
            norm = model.get_submodule(link.norm)
            with evaluating(norm):
                y = norm(y)
        y = y if link.act is None else link.act(y)
    if y.shape != x.shape or float((y - x).abs().max()) > 1e-4 * float(x.abs().max()) + 1e-9:
        return None, f"its result reaches {link.second} in another shape or order"
    return site, ""


def place(
    model: nn.Module, segments: Sequence[Segment], every: list[Site], removed: Sequence[Site] = ()
) -> Callable[[], None]:
    """Put the new layers in, with nothing at the sites inside them and at the ``removed`` ones; returns what takes it
    all back, bit for bit."""
    edits = Edits()
    gone = [*(s for g in segments for s in g.inside), *removed]
    away = {s.name: nn.Identity() for s in gone}
    training = model.training
    try:
        edits.later(rewire(model, with_runs(every, gone), away).undo)
        for segment in segments:
            for i, position in enumerate(segment.layers):
                new = segment.module if i == 0 else nn.Identity()
                edits.exchange(model, model.get_submodule(position.path), new.train(training))
                if position.norm:
                    edits.exchange(model, model.get_submodule(position.norm), nn.Identity().train(training))
    except BaseException:
        edits.undo()
        raise
    return edits.undo

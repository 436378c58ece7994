"""``linearise``: activations that lean towards the identity on a schedule, so that layers can be merged after it."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import OgiveError, ParameterError, closest
from ogive.layers.act import Act
from ogive.surgery.effect import Score, batches_of, conduct, examples_in
from ogive.surgery.report import Change, Report
from ogive.surgery.rewire import rewire, with_runs
from ogive.surgery.sites import Site, sites
from ogive.surgery.swap import modules_of

SHAPES = ("linear", "cosine")


class Leaning(nn.Module):
    """``A'(x) = (1 - lean) A(x) + lean x``: the activation at ``lean`` 0, the identity at 1.

    Args:
        act: a module of one input.
        lean: in [0, 1]; an attribute, not part of the ``state_dict``.

    Raises:
        ParameterError: for a ``lean`` outside.

    Source: Chen et al. 2023, VanillaNet: the Power of Minimalism in Deep Learning, eq. 1.

    >>> Leaning(nn.ReLU(), 0.25)(torch.tensor([-1.0, 2.0]))
    tensor([-0.2500,  2.0000])
    """

    def __init__(self, act: nn.Module, lean: float = 0.0) -> None:
        super().__init__()
        self.act = act
        self.lean = _share(lean)

    def forward(self, x: Tensor) -> Tensor:
        """The blend; at the ends only what counts is computed."""
        if self.lean == 1.0:
            return x
        y: Tensor = self.act(x)
        return y if self.lean == 0.0 else (1.0 - self.lean) * y + self.lean * x

    def extra_repr(self) -> str:
        return f"lean={self.lean:g}"


def _share(lean: float) -> float:
    if isinstance(lean, bool) or not isinstance(lean, (int, float)) or not 0.0 <= lean <= 1.0:
        raise ParameterError(f"lean={lean!r}; it is 0 (the activation) to 1 (the identity)")
    return float(lean)


class Schedule:
    """Moves the ``lean`` of every :class:`Leaning` in a model from where it is to 1 in ``steps`` calls of ``step()``.

    ``linear``: in equal parts, VanillaNet's e/E. ``cosine``: ``(1 - cos(pi t))/2``, slow at both ends.

    Raises:
        OgiveError: for a model without such activations. ParameterError: for other shapes, steps below 1.

    >>> net = nn.Sequential(nn.Linear(2, 2), Leaning(nn.ReLU()), nn.Linear(2, 2))
    >>> plan = Schedule(net, 4)
    >>> [plan.step() for _ in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    def __init__(self, model: nn.Module, steps: int, shape: str = "linear") -> None:
        if shape not in SHAPES:
            near = closest(str(shape), SHAPES, 1)[0]
            raise ParameterError(f"Schedule: shape={shape!r}; it is linear or cosine (did you mean {near!r}?)")
        if type(steps) is not int or steps < 1:
            raise ParameterError(f"Schedule: steps={steps!r}; it takes a whole number of at least 1")
        self.found = [m for m in model.modules() if isinstance(m, Leaning)]
        if not self.found:
            raise OgiveError(f"{type(model).__name__} has no activation that leans; call ogive.linearise(model) first")
        self.steps, self.shape, self.done = steps, shape, 0
        self._from = [m.lean for m in self.found]

    def step(self) -> float:
        """One step on; the share of the way."""
        self.done = min(self.done + 1, self.steps)
        way = self.done / self.steps
        way = way if self.shape == "linear" or way == 1.0 else 0.5 * (1.0 - math.cos(math.pi * way))
        for module, start in zip(self.found, self._from):
            module.lean = 1.0 if way == 1.0 else start + (1.0 - start) * way
        return way


def linearise(
    model: nn.Module,
    data: Any = None,
    *,
    where: str = "*",
    lean: float = 0.0,
    score: Score | Mapping[str, Score] | None = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Put ``(1 - lean) A(x) + lean x`` in the place of activations, on their way to the identity (VanillaNet).

    With ``lean=0`` nothing changes yet: train on while a :class:`Schedule` steps, then :func:`merge` makes one layer of
    the two around each. ``undo()`` puts the activations back; weights that were trained meanwhile stay as they are.

    Args:
        model: changed in place; keys of its ``state_dict`` stay, unless an activation has parameters of its own.
        data: shows functions in the code as well as modules; what the effect is measured on.
        where: patterns of site names, with commas between.
        lean: to begin with, 0 to 1.
        score, time: as of :func:`ogive.swap`.
        seed: unused; every transform takes one.

    Raises:
        ParameterError: for a ``lean`` outside. OgiveError: when no site fits; the sites there are are listed.

    Source: as of :class:`Leaning`.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> linearise(net, where="1").changes[0].after, net[1].lean, net[3]
    ('leaning, 0', 0.0, ReLU())
    """
    _share(lean)
    batches = [] if data is None else batches_of(data)
    found = list(sites(model, batches[0])) if batches else modules_of(model)
    patterns = [p.strip() for p in where.split(",")]
    modules = dict(model.named_modules())
    chosen: list[Site] = []
    left: list[tuple[str, str]] = []
    for site in found:
        if site.kind == "gate":
            left.append((site.name, "a gate of two inputs"))
        elif not any(fnmatch.fnmatchcase(site.name, p) for p in patterns):
            left.append((site.name, f"where={where!r} leaves it"))
        else:
            chosen.append(site)
    if not chosen:
        there = ", ".join(s.name for s in found[:8]) or "none"
        raise OgiveError(f"linearise: no site fits where={where!r}; the model's sites: {there}")
    instead: dict[str, nn.Module] = {}
    for site in chosen:
        own = modules.get(site.module.partition("#")[0]) if site.kind == "module" else None
        instead[site.name] = Leaning(own if own is not None else Act(site.activation), lean)
    told = with_runs(found, chosen)

    def put() -> Callable[[], None]:
        return rewire(model, told, instead).undo

    changes = []
    for site in chosen:
        x = torch.randn(1000, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        y = site.activation(x)
        error = float(lean * (x - y).norm() / y.norm().clamp_min(1e-300))
        changes.append(Change(site.name, site.label, f"leaning, {lean:g}", error))
    figures, undo = conduct(model, batches, put, score=score, time=time)
    note = "The error of a site is that on standard normal inputs."
    return Report("linearise", tuple(changes), tuple(left), tuple(figures), (note,), examples_in(batches), undo)

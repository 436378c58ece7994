"""``compress_depth``: which activations become the identity, by dynamic programming on measured tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ogive.errors import OgiveError, ParameterError, closest
from ogive.surgery.depth.chains import Chain, Segment, chains_of, place
from ogive.surgery.depth.merge import PADDINGS, affine_in, describe
from ogive.surgery.depth.plan import Option, Plan, choose
from ogive.surgery.depth.tables import Shortened, options_of
from ogive.surgery.effect import Score, batches_of, conduct, examples_in, outputs, timed
from ogive.surgery.modes import evaluating
from ogive.surgery.report import Change, Figure, Report
from ogive.surgery.sites import Site

IMPORTANCES = ("outputs", "score")


def compress_depth(
    model: nn.Module,
    data: Any,
    *,
    budget: float = 0.7,
    longest: int = 3,
    padding: str = "exact",
    remove: bool = False,
    importance: str = "outputs",
    rounds: int = 5,
    score: Score | Mapping[str, Score] | None = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Make activations the identity and merge the layers around them, the best choice within a budget of time.

    Time and importance of every run of up to ``longest`` layers are measured: its layers merged, alone, on their own
    inputs; the change of the model when the run alone loses its activations. Two-stage dynamic programming then gives
    the choice with the largest sum of importances whose times sum to the budget. Batch normalisations in the chains
    are folded. The choice is exact for these tables; that changes add up is the assumption behind them. The result
    wants training: ``undo()`` first if you would train the activations away by :func:`linearise`.

    Args:
        model: changed in place, in evaluation mode; keys of merged layers change in the ``state_dict``.
        data: what the model is called with, a batch or a list or loader of batches.
        budget: of the time by the tables, as a share of that with norms folded and nothing merged; in (0, 1].
        longest: layers in one run, at least 2.
        padding: as of :func:`merge`.
        remove: layers may go as well, where the identity fits in their place (LayerMerge): for every kernel size a run
            can be merged to, the set of layers with the largest sum of |weights| is tried.
        importance: ``outputs``: less the mean relative square distance of the outputs; ``score``: the change of
            ``score``, one function of the model, larger is better.
        rounds: of the timing; the low quartile counts.
        score, time: as of :func:`ogive.swap`.
        seed: unused; every transform takes one.

    Raises:
        ParameterError: for the options. OgiveError: when no two layers follow one another; the model is as it was.

    Sources: Kim, Jeong, Lee and Song 2023, Efficient Latency-Aware CNN Depth Compression via Two-Stage Dynamic
    Programming; Kim, El Halabi, Ji and Song 2024, LayerMerge: Neural Network Depth Compression through Layer Pruning
    and Merging.

    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 2))
    >>> report = compress_depth(net, torch.randn(64, 64), budget=0.5, time=False)
    >>> report["activations"].after < report["activations"].before == 2.0
    True
    """
    _check(budget, longest, padding, importance, rounds, score)
    batches = batches_of(data)
    with evaluating(model):
        chains, every, ends = chains_of(model, batches[0])
        if all(len(c) < 2 for c in chains):
            why = "; ".join(f"{p}: {w}" for p, w in ends[:4]) or "it has no Linear and no convolution module"
            raise OgiveError(f"compress_depth: no two layers follow one another ({why})")
        worth = _worth(model, batches, importance, score)
        options, left = _tables(model, chains, every, worth, longest, padding == "exact", remove, rounds)
        n = sum(map(len, chains))
        folded = [o for o in options if o.last - o.first == 1 and not o.what.dropped]
        base = sum(o.time for o in folded)
        plan = choose(options, n, budget * base)
        segments, removed = _of(plan)
        only_folded = [s for o in folded for s in o.what.segments if s.layers[0].norm]
        figures, undo = conduct(
            model, batches, lambda: place(model, segments, every, removed), score=score, time=time,
            more=lambda: _figures(plan, chains, base, removed),
        )  # fmt: skip
        if time and only_folded:
            undo()
            undo_folded = place(model, only_folded, every)
            try:  # the plan's layers go to the same paths as the folded ones
                apart = timed(model, batches[0], lambda: place(model, segments, every, removed))
            finally:
                undo_folded()
            figures.append(replace(apart, name="time, norms folded before"))
            undo = place(model, segments, every, removed)
    notes = [f"Budget {budget:g} of {base:.4g} ms by the tables; the plan takes {plan.time:.4g} ms."]
    if not plan.met:
        notes.append("The budget cannot be met: this is the fastest plan of the tables, "
                     f"{plan.time / base:.3g} of the time. " + (left[0][1] if left else ""))  # fmt: skip
    changes = [c for o in plan.options for c in _changes(o)]
    left += [(path, why) for path, why in ends if why != "the model ends here"]
    return Report("compress_depth", tuple(changes), tuple(left), tuple(figures), tuple(notes),
                  examples_in(batches), undo)  # fmt: skip


def _check(budget: float, longest: int, padding: str, importance: str, rounds: int, score: Any) -> None:
    for name, value, known in (("padding", padding, PADDINGS), ("importance", importance, IMPORTANCES)):
        if value not in known:
            near = closest(str(value), known, 1)[0]
            raise ParameterError(
                f"compress_depth: {name}={value!r}; it is {' or '.join(known)} (did you mean {near!r}?)"
            )
    if not 0.0 < budget <= 1.0:
        raise ParameterError(f"compress_depth: budget={budget!r}; it is a share of the time, above 0 up to 1")
    if type(longest) is not int or longest < 2 or type(rounds) is not int or rounds < 1:
        raise ParameterError(f"compress_depth: longest={longest!r}, rounds={rounds!r}; at least 2 layers and 1 round")
    if importance == "score" and not callable(score):
        raise ParameterError("compress_depth: importance='score' needs score=, one function of the model")


def _worth(model: nn.Module, batches: list[Any], importance: str, score: Any) -> Callable[[], float]:
    if importance == "score":
        at_first = float(torch.as_tensor(score(model)).double().mean())
        return lambda: float(torch.as_tensor(score(model)).double().mean()) - at_first
    before = outputs(model, batches).double()
    scale = before.square().sum(1).clamp_min(1e-300)

    def less() -> float:
        after = outputs(model, batches).double()
        found = -float(((after - before).square().sum(1) / scale).mean())
        if found != found:
            raise OgiveError("NaN")
        return found

    return less


def _tables(
    model: nn.Module, chains: list[Chain], every: list[Site], worth: Callable[[], float], longest: int, exact: bool,
    remove: bool, rounds: int,
) -> tuple[list[Option], list[tuple[str, str]]]:  # fmt: skip
    """The options of all chains in one row: those of the next chain come after."""
    row: list[Option] = []
    left: list[tuple[str, str]] = []
    start = 0
    for chain in chains:
        found, why = options_of(model, chain, every, worth, longest=longest, exact=exact, remove=remove, rounds=rounds)
        row += [replace(o, first=o.first + start, last=o.last + start) for o in found]
        left += why
        start += len(chain)
    return row, left


def _of(plan: Plan) -> tuple[list[Segment], list[Site]]:
    ways: list[Shortened] = [o.what for o in plan.options]
    return [s for w in ways for s in w.segments], [s for w in ways for s in w.removed]


def _figures(plan: Plan, chains: list[Chain], base: float, removed: list[Site]) -> list[Figure]:
    layers = sum(map(len, chains))
    acts = sum(p.site is not None for c in chains for p in c)
    gone = sum(len(s.layers) - (0 if isinstance(s.module, nn.Identity) else 1) for o in plan.options
               for s in o.what.segments)  # fmt: skip
    return [Figure("time by the tables", base, plan.time, unit="ms"), Figure("layers", layers, layers - gone),
            Figure("activations", acts, acts - len(removed)), Figure("importance", 0.0, plan.importance)]  # fmt: skip


def _changes(option: Option) -> list[Change]:
    """One line for each run that changes more than the folding of a norm."""
    way: Shortened = option.what
    made = []
    merged = [s for s in way.segments if len(s.layers) > 1 or way.dropped]
    for segment in merged:
        new = "identity" if isinstance(segment.module, nn.Identity) else describe(affine_in(segment))
        count = len(segment.layers)
        note = "with " + ", ".join(p.path for p in segment.layers[1:]) if count > 1 else ""
        note += (", " if note else "") + f"without {', '.join(way.dropped)}" if way.dropped else ""
        made.append(Change(segment.layers[0].path, f"{count} layer{'s' if count > 1 else ''}", new, note=note))
    made += [Change(s.name, s.label, "identity") for s in way.removed]
    return made

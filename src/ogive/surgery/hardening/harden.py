"""``harden``: bounds on the activations of a classifier, so that bit flips do not travel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import OgiveError, ParameterError, closest
from ogive.surgery.effect import Score, batches_of, called, conduct, rows_of
from ogive.surgery.hardening.bounds import PER, Bounded, bounded_below, function_at, grouped, observed
from ogive.surgery.hardening.campaign import Resilience, answers, labels_of, rates_of, resilience
from ogive.surgery.hardening.interval_search import tuned
from ogive.surgery.hardening.outputs import ends_on, hold, unbounded
from ogive.surgery.hardening.train_bounds import at_once, layer_by_layer
from ogive.surgery.modes import evaluating
from ogive.surgery.report import Change, Figure, Report
from ogive.surgery.rewire import rewire
from ogive.surgery.sites import Site, sites


@dataclass(frozen=True)
class _Method:
    """What the values do beyond a bound, how many bounds a layer has, and whether the last layer has its own."""

    form: str
    per: str
    last: str
    train: Callable[..., Any] | None = None


METHODS = {
    "ranger": _Method("saturate", "layer", "layer"),
    "ftclip": _Method("zero", "layer", "layer"),
    "fitact": _Method("smooth", "neuron", "neuron", at_once),
    "proact": _Method("smooth", "layer", "neuron", layer_by_layer),
}
# A neuron that the calibration data hardly moves would be cut on other data: no bound below this share of the layer's.
_SMALLEST = 0.1
_ROOM = 1.1  # the smooth bound halves the values at the bound itself, so it starts beyond the largest value


def harden(
    model: nn.Module,
    data: Any,
    labels: Tensor | None = None,
    *,
    method: str = "ranger",
    per: str = "method",
    outputs: bool = False,
    rates: Sequence[float] | str = "1e-6,1e-5,1e-4",
    repeats: int = 5,
    what: str = "weights",
    dtype: str = "float32",
    rounds: int = 2,
    steps: int = 60,
    lr: float = 0.01,
    weight: float = 0.1,
    drop: float = 0.01,
    score: Score | Mapping[str, Score] | None = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Put bounds on the values of a classifier's nonlinearities, whichever they are, against bit flips, in place.

    ``ranger``: values beyond the largest on the data become that largest. ``ftclip``: they become 0; thresholds are
    then tuned layer by layer. ``fitact``: ``y (1 - sigmoid(k (y - bound)))`` with a bound for each neuron, all trained
    with the weights frozen. ``proact``: one such bound a layer and one a neuron in the last, trained layer by layer
    from the last with distillation. A function not bounded below gets a lower bound too. Bounds are buffers: the
    ``state_dict`` has new keys for them, and a learned activation's parameters move under ``.function``. NaN becomes 0
    under all of them.

    Args:
        model: gives one row of scores an example.
        data: what the model is called with, a batch or a list or loader of batches; bounds come from it, and the
            figures are measured on it (:func:`resilience` measures on other data).
        labels: the right class of each example, in order; without it the model's own answers.
        method: ``ranger``, ``ftclip``, ``fitact`` or ``proact``.
        per: bounds for each ``layer``, ``channel`` or ``neuron``; ``method`` is the method's own choice.
        outputs: hold the results of layers and norms that no nonlinearity follows to the values of the data too; a
            network with linear bottlenecks needs it.
        rates: probabilities of a flip by bit for tuning and figures, rising.
        repeats: seeds for each rate.
        what: ``weights`` or ``activations``: where the flips are.
        dtype: how the memory holds the numbers, as of :func:`flip_bits`.
        rounds: of ftclip's interval search; 0 keeps the largest values on the data.
        steps: of training: of fitact in all, of proact for each layer.
        lr: of Adam, on factors of the bounds.
        weight: of the mean square of these factors in the loss, which makes bounds small.
        drop: clean accuracy that tuning and training may cost, 0 to 1.
        score: a function of the model, or several by name.
        time: measure a batch before and after, in turn.
        seed: of the flips.

    Raises:
        ParameterError: for an unknown method or an option that is none.
        OgiveError: when no site can be bounded, or the data never reaches one. The model is then as it was.

    Sources: Chen et al. 2021, "A low-cost fault corrector for deep neural networks through range restriction"
    (Ranger); Hoang et al. 2020, "FT-ClipAct"; Ghavami et al. 2022, "FitAct"; Mousavi et al. 2024, "ProAct"; interval
    search and k after github.com/hamidmousavi0/reliable-relu-toolbox.

    >>> _ = torch.manual_seed(0)
    >>> net, x = nn.Sequential(nn.Linear(8, 64), nn.GELU(), nn.Linear(64, 3)), torch.randn(200, 8)
    >>> report = harden(net, x, rates="1e-4,1e-3", repeats=8, time=False)
    >>> report.changes[0].after, report["agreement, no flips"].after
    ('gelu, 2.42', 1.0)
    >>> report["area under it, log rate"].after > report["area under it, log rate"].before
    True
    """
    plan = _plan(method, per, rounds, steps, lr, weight, drop)
    found_rates = rates_of(rates)
    batches = batches_of(data)
    found = list(sites(model, batches[0]))
    chosen, left = _chosen(found)
    if not chosen:
        why = "; ".join(f"{n}: {w}" for n, w in left[:4]) or "the model has no nonlinearity"
        raise OgiveError(f"harden: no site to put bounds on ({why})")
    own = answers(model, batches)
    right = own if labels is None else labels_of(labels, own)
    with evaluating(model):
        rows = [rows_of(called(model, b)) for b in batches]
    campaign: dict[str, Any] = {"rates": found_rates, "repeats": repeats, "what": what, "dtype": dtype, "seed": seed}
    unprotected = resilience(model, batches, right, **campaign)
    placed = _placed(model, chosen, batches, plan)
    ends = ends_on(model, unbounded(model, batches[0]), batches) if outputs else {}

    def put() -> Callable[[], None]:
        rewired, release = rewire(model, chosen, placed), hold(model, ends)

        def undo() -> None:
            release()
            rewired.undo()

        return undo

    notes = []
    with rewire(model, chosen, placed):  # bounds are fitted where they stand; the modules keep them
        if plan.train is not None and steps:
            kept = plan.train(model, rows.__getitem__, placed, batches, right, labels is not None, steps, lr, weight,
                              drop, seed)  # fmt: skip
            if not kept:
                notes.append(f"No trained bound kept the accuracy within drop={drop:g}; the bounds are {_ROOM:g} times "
                             "the largest values on the data.")  # fmt: skip
        elif method == "ftclip" and rounds:
            count = tuned(model, placed, batches, right, found_rates, repeats, rounds, what, dtype, drop, seed)
            notes.append(f"Thresholds tuned in {count} campaigns of {len(found_rates)} rates and {repeats} seeds.")

    def against_flips() -> list[Figure]:
        return _compared(unprotected, resilience(model, batches, right, **campaign), labels is not None)

    figures, undo = conduct(model, batches, put, score=score, time=time, more=against_flips)
    stored = sum(b.numel() for m in placed.values() for b in (m.high, m.low) if b is not None) + 2 * len(ends)
    total = sum(p.numel() for p in model.parameters())
    figures.append(Figure("bounds", 0.0, float(stored)))
    notes.append(f"{stored} bounds are {100 * stored / max(total, 1):.3g} % of the model's {total} parameters; "
                 "they are not hit by flips.")  # fmt: skip
    changes = [Change(s.name, s.label, _said(s.label, placed[s.name])) for s in chosen]
    changes += [Change(path, "result", f"{end.low:.3g} to {end.high:.3g}") for path, end in ends.items()]
    return Report("harden", tuple(changes), tuple(left), tuple(figures), tuple(notes), len(own), undo)


def _plan(method: str, per: str, rounds: int, steps: int, lr: float, weight: float, drop: float) -> _Method:
    if method not in METHODS:
        near = closest(str(method), list(METHODS), 1)[0]
        raise ParameterError(f"harden: method={method!r}; it is one of {', '.join(METHODS)} (did you mean {near!r}?)")
    if per not in (*PER, "method"):
        raise ParameterError(f"harden: per={per!r}; it is one of {', '.join(PER)}, or 'method' for the method's own")
    for name, count in (("rounds", rounds), ("steps", steps)):
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise ParameterError(f"harden: {name}={count!r}; it is a whole number from 0 on")
    if not 0.0 <= drop <= 1.0 or not lr > 0.0 or not weight >= 0.0:
        raise ParameterError(f"harden: lr={lr!r}, weight={weight!r}, drop={drop!r}; lr is positive, weight not "
                             "negative, drop within 0 to 1")  # fmt: skip
    plan = METHODS[method]
    return plan if per == "method" else _Method(plan.form, per, per, plan.train)


def _chosen(found: Sequence[Site]) -> tuple[list[Site], list[tuple[str, str]]]:
    """Sites that can be bounded; the others and why."""
    chosen, left = [], []
    for site in found:
        whole = site.kind == "module" and bool(site.module)
        if site.kind == "gate" or len(site.activation.inputs) != 1:
            left.append((site.name, "a gate of two inputs"))
        elif not whole and (not site.calls or site.calls[0].slot is None):
            left.append((site.name, "its input is not an argument of its call"))
        else:
            chosen.append(site)
    return chosen, left


def _placed(model: nn.Module, chosen: list[Site], batches: list[Any], plan: _Method) -> dict[str, Bounded]:
    """A bounded function for each site, at the values of the data."""
    seen = observed(model, chosen, batches)
    placed = {}
    for site in chosen:
        low, high, in_space = seen[site.name]
        per = plan.last if site is chosen[-1] else plan.per
        room = _ROOM if plan.form == "smooth" else 1.0
        upper = _roomy(grouped(high, per, in_space, True), room)
        lower = None if bounded_below(site.activation) else -_roomy(-grouped(low, per, in_space, False), room)
        placed[site.name] = Bounded(function_at(model, site), upper, lower, plan.form)
    return placed


def _roomy(bound: Tensor, room: float) -> Tensor:
    """Bounds of a layer, none of them below a share of the largest."""
    return torch.maximum(bound, _SMALLEST * bound.max().clamp_min(0.0)) * room


def _compared(unprotected: Resilience, protected: Resilience, labelled: bool) -> list[Figure]:
    name = "accuracy" if labelled else "agreement"
    figures = [Figure(f"{name}, no flips", unprotected.clean, protected.clean)]
    for i, rate in enumerate(unprotected.rates):
        low, high = protected.interval(i)
        figures.append(Figure(f"{name}, {rate:.0e}", unprotected.mean(i), protected.mean(i), low=low, high=high))
    return [*figures, Figure("area under it, log rate", unprotected.auc, protected.auc)]


def _said(label: str, module: Bounded) -> str:
    high = module.high
    text = f"{float(high.max()):.3g}" if high.numel() == 1 else f"{high.numel()} bounds"
    low = "" if module.low is None else f"{float(module.low.min()):.3g} to " if module.low.numel() == 1 else "±"
    return f"{label}, {low}{text}"

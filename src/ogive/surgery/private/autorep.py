"""``autorep``: keep the activations that matter most, up to a budget, and put polynomials in the place of the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError, OgiveError, ParameterError
from ogive.surgery.effect import Score, moved, outputs, scored, timed
from ogive.surgery.modes import Modes
from ogive.surgery.private.disparity import Groups, by_group
from ogive.surgery.private.mask_training import Loss, Plan, kept_of, train
from ogive.surgery.private.masks import Masked
from ogive.surgery.report import Change, Figure, Report
from ogive.surgery.rewire import rewire
from ogive.surgery.sites import Site, sites


def autorep(
    model: nn.Module,
    data: Any,
    labels: Tensor | None = None,
    *,
    budget: float = 0.5,
    per: str = "channel",
    replace: str = "dapa",
    degree: int = 2,
    masks: str = "learned",
    band: float = 0.05,
    steps: int = 300,
    batch: int = 64,
    lr: float = 1e-3,
    score_lr: float = 1e-2,
    distil: float = 0.5,
    loss: Loss | None = None,
    groups: Tensor | None = None,
    group_rate: float = 0.0,
    score: Score | Mapping[str, Score] | None = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Train a model to do with a budget of activations: ``y = m f(x) + (1 - m) P(x)`` at every site, m learned.

    For half of the steps the masks follow real scores with hysteresis, the price of an activation rises while there
    are more than a budget that falls from all to ``budget``; then the masks are fixed (the lowest scores go first if
    any are left to go) and the weights are trained on. P is fitted to the running mean and variance of each channel
    (Peng et al. 2023, *AutoReP*); ``replace="identity"`` is Selective Network Linearization's (Cho et al. 2022).

    Args:
        model: any module of one tensor input.
        data: inputs, a tensor or a list of tensors.
        labels: classes (whole numbers) or targets (floating point), one an example; None trains on the outputs of the
            model as it was.
        budget: the share of activations to keep, from 0 to 1.
        per: masks by ``channel`` (dimension 1) or by ``element``.
        replace: ``dapa``, ``linear`` (its degree 1) or ``identity``.
        degree: of the polynomials.
        masks: ``learned`` or ``random`` (the same training with masks drawn once, to compare).
        band: half the width of the hysteresis.
        steps, batch, lr, score_lr: of the training (Adam).
        distil: weight of the distance to the outputs before, beside the loss, in [0, 1].
        loss: of outputs and labels, one number an example; None takes cross entropy for classes, squares for targets.
        groups: a whole number from 0 for each example; the report then has the accuracy of each before and after.
        group_rate: above 0, groups whose loss is above the mean weigh more (:class:`GroupWeights`).
        score: a function of the model, or several by name: a number, or one for each example.
        time: measure a batch before and after, in turn.
        seed: of scores, masks and the order of the data.

    Raises:
        ParameterError: for options that cannot be.
        OgiveError: where there is no site, or training reaches NaN. The model is then as it was.

    >>> _ = torch.manual_seed(0)
    >>> model, x = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2)), torch.randn(256, 8)
    >>> report = autorep(model, x, (x[:, 0] * x[:, 1] > 0).long(), budget=0.25, steps=40, time=False)
    >>> report["activations kept"].after
    0.25
    """
    plan = Plan(budget, steps, lr, score_lr, batch, distil, group_rate, masks)
    _check(plan, groups)
    x = _joined(data, labels, groups)
    found = list(sites(model, x[: min(len(x), batch)]))
    wanted = [s for s in found if s.kind != "gate"]
    if not wanted:
        raise OgiveError("autorep: this model has no activation of one input on this data")
    left = [(s.name, "a gate of two inputs") for s in found if s.kind == "gate"]
    scores = dict(score) if isinstance(score, Mapping) else {} if score is None else {"score": score}
    before = outputs(model, [x])
    scored_before = {k: f(model) for k, f in scores.items()}
    groups_before = None if groups is None or labels is None else by_group(model, x, labels, groups)
    held = {k: v.detach().clone() for k, v in model.state_dict().items()}
    made = {s.name: Masked(s.activation, s.shape, per=per, replace=replace, degree=degree, band=band) for s in wanted}
    instead: dict[str, nn.Module] = dict(made)
    modes = Modes(model)
    wiring = rewire(model, found, instead)

    def back() -> None:
        wiring.undo()
        with torch.no_grad():
            for key, value in model.state_dict().items():
                value.copy_(held[key])
        modes.restore()

    try:
        train(model, list(made.values()), x, labels, before, groups, loss, plan, seed)
        modes.restore()
        figures = [Figure("activations kept", 1.0, kept_of(list(made.values())))]
        figures += moved(before, outputs(model, [x]))
        figures += [scored(k, scored_before[k], f(model)) for k, f in scores.items()]
        if groups_before is not None and labels is not None and groups is not None:
            figures += _group_figures(groups_before, by_group(model, x, labels, groups))
        if time:
            new = {k: v.detach().clone() for k, v in model.state_dict().items()}
            figures.append(_timed(model, x[:batch], back, found, instead))
            wiring = rewire(model, found, instead)
            model.load_state_dict(new)
            modes.restore()
    except BaseException:
        back()
        raise
    changes = []
    for site in wanted:
        module = made[site.name]
        share = float(module.mask.mean())
        what = f"{share:.0%} kept, {replace}" + (f" {degree}" if replace == "dapa" else "")
        changes.append(Change(site.name, site.label, what, math.nan))
    kept = kept_of(list(made.values()))
    notes = [f"Trained for {steps} steps; undo() gives the weights back too."]
    if kept < budget - 1e-9:
        notes.append(f"A mask decides for a whole channel, so {kept:.2%} is the most below {budget:.2%} it can keep.")
    return Report("autorep", tuple(changes), tuple(left), tuple(figures), tuple(notes), len(x), back)


def _check(plan: Plan, groups: Tensor | None) -> None:
    if not 0.0 <= plan.budget <= 1.0:
        raise ParameterError(f"autorep: budget={plan.budget!r}; it is the share of activations to keep, from 0 to 1")
    if plan.masks not in ("learned", "random"):
        raise ParameterError(f"autorep: masks={plan.masks!r}; it is learned or random")
    if type(plan.steps) is not int or plan.steps < 1 or type(plan.batch) is not int or plan.batch < 1:
        raise ParameterError(f"autorep: steps={plan.steps!r}, batch={plan.batch!r}; they take whole numbers from 1")
    if not 0.0 <= plan.distil <= 1.0:
        raise ParameterError(f"autorep: distil={plan.distil!r}; it takes a number from 0 to 1")
    if plan.group_rate and groups is None:
        raise ParameterError("autorep: group_rate is above 0 and there are no groups; give groups=")


def _joined(data: Any, labels: Tensor | None, groups: Tensor | None) -> Tensor:
    parts = [data] if isinstance(data, Tensor) else list(data) if isinstance(data, (list, tuple)) else []
    if not parts or not all(isinstance(p, Tensor) for p in parts):
        raise InputError(f"autorep: data={type(data).__name__}; it trains on a tensor of inputs, or a list of them")
    x = torch.cat(parts)
    for name, other in (("labels", labels), ("groups", groups)):
        if other is not None and len(other) != len(x):
            raise InputError(f"autorep: {len(x)} inputs and {len(other)} {name}; one for each is needed")
    return x


def _group_figures(before: Groups, after: Groups) -> list[Figure]:
    names = {r.name: r for r in after.rows}
    figures = [Figure(f"accuracy of group {r.name}", r.accuracy, names[r.name].accuracy) for r in before.rows]
    return [*figures, Figure("gap between groups", before.gap, after.gap)]


def _timed(
    model: nn.Module, x: Tensor, back: Callable[[], None], found: list[Site], instead: dict[str, nn.Module]
) -> Figure:
    back()

    def put() -> Callable[[], None]:
        return rewire(model, found, instead).undo

    return timed(model, x, put)

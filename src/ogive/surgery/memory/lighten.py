"""``lighten``: a saved-state policy at every site of a model, and norms that keep their output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import OgiveError, ParameterError
from ogive.kernels.saving import NAMES, saving
from ogive.layers.act import Act
from ogive.surgery.effect import Score, batches_of, conduct, examples_in
from ogive.surgery.memory.norms import Norm, foldable, norms_of, put_norms
from ogive.surgery.memory.scope import keep_nothing
from ogive.surgery.memory.step import Loss, compared, mean_square, peak, step, step_time
from ogive.surgery.report import Change, Figure, Report
from ogive.surgery.rewire import rewire
from ogive.surgery.samples import samples
from ogive.surgery.sites import Site, sites

_CALIBRATION = 4000  # inputs of a site that a few-bit code is fitted to
_FOLDED = "gain and offset folded into the linears after it"


def lighten(
    model: nn.Module,
    data: Any,
    *,
    policy: str | int = "y+bit",
    norms: bool = True,
    fold: bool = False,
    loss: Loss | None = None,
    score: Score | Mapping[str, Score] | None = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Keep less for backward at every nonlinearity and norm of a model, in place; values stay, gradients as stated.

    ``policy`` is one of :class:`ogive.saving`: ``"y+bit"`` (the output, which the next layer keeps anyway; the
    gradient is exact to rounding), ``"bits=k"`` (k bits an element, the step function fitted to the inputs that each
    site is given), ``"approx-bp"``, ``"mobiletl"``, ``"s2a"`` (published codes), ``"nothing"`` (outputs are computed
    again in backward), ``"x"`` (sites stay; norms alone). A site that a policy does not suit is left, with the reason.
    Keys of the ``state_dict`` stay, unless norms are folded.

    Args:
        model: any module; the step is measured in the mode it is in (``train()`` with dropout by the seed).
        data: what the model is called with, a batch or a list or loader of batches; the step is of the first.
        policy: see above; a number of bits 1 to 8 is ``bits=k``.
        norms: LayerNorm and RMSNorm keep their output in place of their input.
        fold: where a norm feeds linears alone, multiply its gain and offset into them, as the paper does. Norms and
            linears then train as other parameters than before.
        loss: one number from the model, to differentiate; without it the mean square of its first output.
        score: a function of the model, or several by name.
        time: measure a step before and after, in turn.
        seed: of dropout and of the sample of inputs.

    Raises:
        ParameterError: for an unknown policy.
        OgiveError: when nothing can change, nothing trains, or a site cannot be exchanged. The model is then as it was.

    Sources: "y+bit": this library's; few bits: Novikov et al. 2023, "Few-Bit Backward"; approx-bp and norms: Yang et
    al. 2024, "Reducing Fine-Tuning Memory Overhead by Approximate and Memory-Sharing Backpropagation".

    >>> mlp = nn.Sequential(nn.Linear(8, 64), nn.LayerNorm(64), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 2))
    >>> report = lighten(mlp, torch.randn(128, 8), time=False)
    >>> kept = report["kept for backward"]
    >>> [c.after for c in report.changes], round(kept.after / kept.before, 2)
    (['gelu, y+bit', 'MSLayerNorm'], 0.51)
    """
    chosen = _policy(policy)
    batches = batches_of(data)
    objective = mean_square(batches[0]) if loss is None else loss
    found = list(sites(model, batches[0]))
    suited, left = _suited(found, chosen, model)
    shared: dict[str, Norm] = {}
    if norms:
        shared, spared = norms_of(model)
        left += spared
    first, most = step(model, batches[0], objective, seed), peak(model, objective, seed)
    lost = _learned(model, suited, first.gradient, batches[0], objective, seed)
    left += [(s.name, "a parameter is learned in it, whose gradient needs x") for s in suited if s.name in lost]
    suited = [s for s in suited if s.name not in lost]
    if not suited and not shared:
        why = "; ".join(f"{name}: {reason}" for name, reason in left[:4]) or "the model has no nonlinearity and no norm"
        raise OgiveError(f"lighten: nothing to change ({why})")
    instead = _acts(model, suited, chosen, batches, seed)
    olds = {path: type(model.get_submodule(path)).__name__ for path in shared}
    folds = foldable(model, batches[0], shared) if fold and shared else {}

    def put() -> Callable[[], None]:
        away: list[Callable[[], None]] = []

        def undo() -> None:
            while away:
                away.pop()()

        try:
            away.append(put_norms(model, shared, folds))
            away.append(rewire(model, suited, instead).undo)
            if chosen.policy.name == "nothing":
                away.append(keep_nothing(model))
        except BaseException:
            undo()
            raise
        return undo

    def kept() -> list[Figure]:
        after = step(model, batches[0], objective, seed)
        size = Figure("kept for backward", first.kept / 2**20, after.kept / 2**20, unit="MiB")
        held = Figure("peak of a step", most / 2**20, peak(model, objective, seed) / 2**20, unit="MiB")
        return [size, held, *compared(first, after)]

    figures, undo = conduct(model, batches, put, score=score, time=False, more=kept)
    if time:
        undo()
        figures.append(step_time(model, objective, put, seed))
        undo = put()
    changes = [Change(s.name, s.label, f"{s.label}, {policy_text(chosen)}") for s in suited]
    changes += [Change(path, olds[path], type(new).__name__, note=_FOLDED if path in folds else "")
                for path, new in shared.items()]  # fmt: skip
    return Report("lighten", tuple(changes), tuple(left), tuple(figures), _notes(model, shared, folds, fold),
                  examples_in(batches), undo)  # fmt: skip


def policy_text(chosen: saving) -> str:
    """``bits=2`` without the inputs it was fitted to."""
    return f"bits={chosen.policy.bits}" if chosen.policy.name == "bits" else chosen.policy.name


def _policy(policy: str | int) -> saving:
    """The policy that the user wrote, also as text with bits."""
    wrote = policy
    if isinstance(policy, str):
        text = policy.replace(" ", "").removeprefix("bits=")
        policy = int(text) if text.isdigit() else policy
    if not isinstance(policy, bool) and isinstance(policy, int) and 1 <= policy <= 8:
        return saving(bits=policy)
    if policy not in NAMES:
        raise ParameterError(f"lighten: policy={wrote!r}; it is one of {', '.join(NAMES)}, or bits=1 to bits=8")
    return saving(policy)


def _suited(found: list[Site], chosen: saving, model: nn.Module) -> tuple[list[Site], list[tuple[str, str]]]:
    """The sites where the policy applies; the others and why."""
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    suited, left = [], []
    modules = dict(model.named_modules())
    for site in found:
        module = modules.get(site.module.partition("#")[0])
        whole = site.kind == "module" and module is not None
        if chosen.policy.name == "x":
            left.append((site.name, "policy x keeps the input, as ever"))
        elif site.kind == "gate" or len(site.activation.inputs) != 1:
            left.append((site.name, "a gate: its gradient needs both inputs"))
        elif not whole and (not site.calls or site.calls[0].slot is None):
            left.append((site.name, "its input is not an argument of its call"))
        elif whole and module is not None and any(p.requires_grad for p in module.parameters()):
            left.append((site.name, "a parameter is learned in it, whose gradient needs x"))
        elif chosen.policy.name != "nothing" and (why := chosen.details(site.activation, dtype)["why_not"]):
            left.append((site.name, str(why)))
        else:
            suited.append(site)
    return suited, left


def _learned(
    model: nn.Module, suited: list[Site], before: Mapping[str, Tensor | None], batch: Any, loss: Loss, seed: int
) -> set[str]:
    """Sites in whose code a parameter is learned: it has a gradient, and none once the formula stands there."""
    if not suited:
        return set()
    with rewire(model, suited, {s.name: Act(s.activation) for s in suited}):
        after = step(model, batch, loss, seed).gradient
    lost = [name for name, g in before.items() if g is not None and after.get(name) is None]
    owners = {name.rpartition(".")[0] for name in lost}
    at = {s.name for s in suited if owners & {c.owner.partition("#")[0] for c in s.calls} or s.module in owners}
    if lost and not at:
        raise OgiveError(f"lighten: {lost[0]} has no gradient once the activations are exchanged, and no site owns it; "
                         "a function of it is computed inside an activation")  # fmt: skip
    return at


def _acts(model: nn.Module, suited: list[Site], chosen: saving, batches: list[Any], seed: int) -> dict[str, nn.Module]:
    """What goes to each site. A few-bit code is fitted to the inputs of its own site."""
    if chosen.policy.name == "nothing":
        return {s.name: Act(s.activation) for s in suited}
    if chosen.policy.name != "bits":
        return {s.name: Act(s.activation, saving=chosen) for s in suited}
    given = samples(model, suited, batches, seed) if suited else {}
    few = {name: x[:: max(len(x) // _CALIBRATION, 1)] for name, x in given.items()}
    return {s.name: Act(s.activation, saving=saving(bits=chosen.policy.bits, sample=few[s.name])) for s in suited}


def _notes(model: nn.Module, shared: dict[str, Norm], folds: dict[str, Any], fold: bool) -> tuple[str, ...]:
    mode = "training" if model.training else "evaluation"
    notes = [f"The step was measured in {mode} mode; parameters, buffers and the batch are not counted as kept."]
    if fold and len(folds) < len(shared):
        notes.append(f"{len(shared) - len(folds)} norms keep their gain and offset: what they give goes elsewhere than "
                     "into linears of its own.")  # fmt: skip
    return tuple(notes)

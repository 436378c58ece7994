"""``distil``: exchange nonlinearities one after the other and train the weights around each to give what they gave."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError, OgiveError, ParameterError, closest
from ogive.surgery.effect import Score, batches_of, moved, outputs, scored, timed
from ogive.surgery.follow import arguments
from ogive.surgery.modes import Modes
from ogive.surgery.provenance import tensors_in
from ogive.surgery.refit import FITS
from ogive.surgery.replace import Rules, replacement, wanted_by
from ogive.surgery.report import Change, Figure, Report
from ogive.surgery.rewire import rewire
from ogive.surgery.samples import samples
from ogive.surgery.sites import Site, sites

ORDERS = ("one by one", "all at once")
TRAINS = ("around", "all")


def distil(
    model: nn.Module,
    data: Any,
    rules: Rules,
    *,
    steps: int = 100,
    lr: float = 1e-3,
    order: str = "one by one",
    train: str = "around",
    fit: str = "keep",
    score: Score | Mapping[str, Score] | None = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Swap activations site after site, training the weights each time to give what the model gave before, in place.

    The loss is the mean square distance, relative to the mean square, of what the next sites are given and of the
    outputs, between the model and the one it was: no labels. Normalisations keep their statistics and dropout is off.

    Args:
        model: any module with parameters.
        data: what the model is called with, or a list or loader of it; one batch is one step, in a random order.
        rules: which function goes where, as of :func:`ogive.swap`.
        steps: training steps a site; all at once makes as many in all.
        lr: of Adam; it falls to 0 along a cosine for each site.
        order: ``one by one`` in order of execution, or ``all at once``.
        train: ``around``: the weights (and biases) before and after the sites exchanged so far their biases;
            ``all``: every parameter.
        fit: of the new function before training, as of :func:`ogive.swap`.
        score: a function of the model, or several by name.
        time: measure a batch before and after, in turn.
        seed: of the order of batches and the sample of inputs.

    Raises:
        ParameterError: for an order, train or fit that does not exist, or steps and lr out of range.
        OgiveError: when no site fits the rules, or the training gives NaN. The model is then as it was.

    Source: Tabani et al. 2024, Faster Inference of Integer SWIN Transformer by Removing the GELU Activation, which
    exchanges GELU for ReLU layer by layer with distillation.

    >>> _ = torch.manual_seed(0)
    >>> mlp, x = nn.Sequential(nn.Linear(4, 32), nn.GELU(), nn.Linear(32, 2)), torch.randn(256, 4)
    >>> report = distil(mlp, x, {"gelu": "relu"}, steps=60, lr=1e-2, time=False)
    >>> report["relative change"].after < 0.5 * report["relative change, untrained"].after, report.undo(), mlp[1]
    (True, None, GELU(approximate='none'))
    """
    for name, value, known in (("order", order, ORDERS), ("train", train, TRAINS), ("fit", fit, FITS)):
        if value not in known:
            near = closest(str(value), known, 1)[0]
            raise ParameterError(f"distil: {name}={value!r}; it is one of {', '.join(known)} (did you mean {near!r}?)")
    if not (isinstance(steps, int) and steps >= 1 and lr > 0.0):
        raise ParameterError(f"distil: steps={steps!r}, lr={lr!r}; it takes one step and more, and a rate over 0")
    batches = batches_of(data)
    found = list(sites(model, batches[0]))
    wanted, left = wanted_by(found, rules, dict(model.named_modules()))
    inputs = samples(model, list(wanted), batches, seed)
    scores = dict(score) if isinstance(score, Mapping) else {} if score is None else {"score": score}
    before = outputs(model, batches)
    scored_before = {k: f(model) for k, f in scores.items()}
    instead, changes = {}, []
    for site, new in wanted.items():
        made = replacement(site, new, inputs[site.name], fit)
        instead[site.name] = made.module
        changes.append(made.change)
    teacher = copy.deepcopy(model)
    kept = {name: p.detach().clone() for name, p in model.named_parameters()}
    names = list(instead)
    parts = [names] if order == "all at once" else [[n] for n in names]
    per_part = steps * len(names) if order == "all at once" else steps
    watched = [
        s for s in found if s.kind != "gate" and (s.kind == "module" or (s.calls and s.calls[0].slot is not None))
    ]
    undo_swap: Callable[[], None] = lambda: None  # noqa: E731

    def put() -> Callable[[], None]:
        return rewire(model, [s for s in found if s.name in instead], instead).undo

    def undo() -> None:
        undo_swap()
        _restore(model, kept)

    losses = []
    try:
        undo_swap = put()
        untrained = moved(before, outputs(model, batches))[1]
        undo_swap()
        done: list[str] = []
        for part in parts:
            done += part
            loss = _trained(_Run(
                model, teacher, watched, {n: instead[n] for n in done}, _around(model, wanted, done, train),
                batches, per_part, lr, random.Random(seed),
            ))  # fmt: skip
            losses.append(loss)
        undo_swap = put()
        figures: list[Figure] = moved(before, outputs(model, batches))
        figures.append(Figure("relative change, untrained", 0.0, untrained.after, low=untrained.low,
                              high=untrained.high))  # fmt: skip
        figures += [scored(k, scored_before[k], f(model)) for k, f in scores.items()]
        if time:
            undo_swap()
            figures.append(timed(model, batches[0], put))
            undo_swap = put()
    except BaseException:
        undo()
        raise
    losses *= len(names) if len(parts) == 1 else 1
    changes = [Change(c.site, c.before, c.after, c.error, f"last loss {loss:.3g}") for c, loss in zip(changes, losses)]
    note = f"{order}, {per_part} steps for each of {len(parts)} parts, {train} weights trained, lr {lr:g}."
    return Report("distil", tuple(changes), tuple(left), tuple(figures), (note,), len(before), undo)


def _restore(model: nn.Module, kept: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in kept:
                parameter.copy_(kept[name])


def _around(model: nn.Module, wanted: Mapping[Site, Any], done: list[str], train: str) -> list[nn.Parameter]:
    """The parameters to train: all, or those of the modules whose weights feed the sites or are fed by them."""
    named = dict(model.named_parameters())
    if train == "all":
        return [p for p in named.values() if p.is_floating_point()]
    near = {w for s in wanted if s.name in done for w in (*s.fed_by, *s.feeds)}
    owners = {w.rpartition(".")[0] for w in near if w in named}
    chosen = [p for name, p in named.items() if name.rpartition(".")[0] in owners and p.is_floating_point()]
    if not chosen:
        raise InputError(f"distil: no parameters around {', '.join(done[:4])}; use train='all'")
    return chosen


class _Run:
    """What one part of the training is given."""

    def __init__(
        self, model: nn.Module, teacher: nn.Module, watched: list[Site], instead: dict[str, nn.Module],
        train: list[nn.Parameter], batches: list[Any], steps: int, lr: float, rng: random.Random,
    ) -> None:  # fmt: skip
        self.model, self.teacher, self.watched, self.instead = model, teacher, watched, instead
        self.train, self.batches, self.steps, self.lr, self.rng = train, batches, steps, lr, rng


def _trained(run: _Run) -> float:
    """Train; the last loss. Raises OgiveError for NaN."""
    asked = [(p, p.requires_grad, p.grad) for p in run.model.parameters()]
    modes = Modes(run.model)
    own = [p for m in run.instead.values() for p in m.parameters()]
    seen: tuple[dict[str, Tensor], dict[str, Tensor]] = ({}, {})
    loss = torch.zeros(())
    run.model.eval()
    run.teacher.eval()
    try:
        for p, _, _ in asked:
            p.requires_grad_(False)
            p.grad = None
        trained = [*run.train, *own]
        for p in trained:
            p.requires_grad_(True)
        optimiser = torch.optim.Adam(trained, lr=run.lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, run.steps)
        with (
            rewire(run.teacher, run.watched, {}, seen[0].__setitem__),
            rewire(run.model, run.watched, run.instead, seen[1].__setitem__),
        ):
            for step in range(run.steps):
                if step % len(run.batches) == 0:
                    order = run.rng.sample(range(len(run.batches)), len(run.batches))
                batch = run.batches[order[step % len(run.batches)]]
                loss = _loss(run, batch, seen)
                if not bool(torch.isfinite(loss)):
                    raise OgiveError(f"distil: the loss is {float(loss.detach())} after {step} steps; use a smaller lr "
                                     f"than {run.lr:g}")  # fmt: skip
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                for found in seen:
                    found.clear()
    finally:
        for p, want, grad in asked:
            p.requires_grad_(want)
            p.grad = grad
        modes.restore()
    return float(loss.detach())


def _loss(run: _Run, batch: Any, seen: tuple[dict[str, Tensor], dict[str, Tensor]]) -> Tensor:
    """The mean relative square distance over hidden states and outputs."""
    args, kwargs = arguments(batch)
    with torch.no_grad():
        wanted = _first(run.teacher(*args, **kwargs))
    made = _first(run.model(*args, **kwargs))
    pairs = [(made, wanted)]
    pairs += [(x, seen[0][n]) for n, x in seen[1].items() if n in seen[0] and x.requires_grad]
    parts = [(a.float() - b.float()).square().mean() / b.float().square().mean().clamp_min(1e-12) for a, b in pairs]
    return torch.stack(parts).mean()


def _first(output: Any) -> Tensor:
    found = [t for t in tensors_in(output if isinstance(output, (tuple, list, Mapping)) else (output,))
             if t.is_floating_point()]  # fmt: skip
    if not found:
        raise InputError("distil: the model returns no floating tensor to match")
    return found[0]

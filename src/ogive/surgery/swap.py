"""``swap``: other nonlinearities in a model that exists, by rule, fitted to what each site is given."""

from __future__ import annotations

import fnmatch
import random
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ogive.activation import Activation
from ogive.derive.trace import trace
from ogive.errors import InputError, OgiveError, ParameterError, closest
from ogive.layers.act import Act
from ogive.lookup import get
from ogive.surgery.effect import Score, batches_of, called, conduct, examples_in
from ogive.surgery.formulas import X, nonlinearity
from ogive.surgery.refit import FITS, Fitted, fitted
from ogive.surgery.report import Change, Report
from ogive.surgery.rewire import rewire
from ogive.surgery.sites import Site, sites

Rules = Any  # a mapping, a function of a site, or one activation for all
_SAMPLE = 20_000


def swap(
    model: nn.Module,
    rules: Rules,
    data: Any = None,
    *,
    fit: str = "keep",
    at_least: float | None = None,
    score: Score | Mapping[str, Score] | None = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Put other activations in the place of a model's own, in place; the report's ``undo()`` takes them away.

    ``rules`` says what stands where. A mapping goes by its first key that fits a site: a function's name
    (``"gelu"``), a pattern of site names (``"encoder.*"``), a module class; its value is an activation (anything
    :func:`ogive.get` takes), a module of one input, or None for "leave it". A function is called with each
    :class:`~ogive.surgery.sites.Site` and returns such a value. Anything else is one activation for every site.

    Keys of the ``state_dict`` stay, unless what is put in has parameters to learn.

    Args:
        model: any module; functions and operators in its code are sites too when there is data.
        rules: what stands where; on a command line ``gelu=hardswish,encoder.*=keep`` or one activation for all.
        data: what the model is called with (a tensor, a tuple, a dict) or a list or loader of it. The first batch
            shows the sites. Without data only activation modules are found and nothing is measured.
        fit: ``keep`` takes the new function as it is; ``refit`` fits ``gamma f(alpha x + beta) + delta`` to the old
            one by least squares on what the site is given; ``hermite`` matches mean and mean slope.
        at_least: the mean cosine to the outputs before that must be kept; below it the model is put back.
        score: a function of the model, or several by name: a number, or one for each example.
        time: measure a batch before and after, in turn.
        seed: of the sample of inputs.

    Raises:
        OgiveError: when no site fits the rules (the sites there are are listed), a site cannot be exchanged, the new
            function gives NaN on the data, or ``at_least`` is not reached. The model is then as it was.

    >>> mlp = nn.Sequential(nn.Linear(4, 64), nn.GELU(), nn.Linear(64, 2))
    >>> report = swap(mlp, {"gelu": "golu"})
    >>> mlp[1], report.undo(), mlp[1]
    (Act(golu, alpha=1, beta=1, gamma=1), None, GELU(approximate='none'))
    """
    if fit not in FITS:
        near = closest(str(fit), FITS, 1)[0]
        raise ParameterError(f"swap: fit={fit!r}; it is one of {', '.join(FITS)} (did you mean {near!r}?)")
    if fit != "keep" and data is None:
        raise InputError(f"swap: fit={fit!r} needs data to fit on")
    if at_least is not None and data is None:
        raise InputError(f"swap: at_least={at_least!r} needs data to compare outputs on")
    batches = [] if data is None else batches_of(data)
    found = list(sites(model, batches[0])) if batches else modules_of(model)
    wanted, left = _wanted(found, rules, dict(model.named_modules()))
    names = [s.name for s in wanted]
    notes = []
    if not batches:
        notes.append("Found among modules only: give data to see functions in the code and to measure the effect.")
    inputs = samples(model, list(wanted), batches, seed) if batches else {}
    changes, instead = [], {}
    for site, new in wanted.items():
        module, change = _made(site, new, inputs.get(site.name), fit)
        instead[site.name] = module
        changes.append(change)

    def put() -> Callable[[], None]:
        return rewire(model, [s for s in found if s.name in names], instead).undo

    figures, undo = conduct(model, batches, put, score=score, time=time)
    report = Report("swap", tuple(changes), tuple(left), tuple(figures), tuple(notes), examples_in(batches), undo)
    if at_least is not None and not report["cosine to before"].after >= at_least:
        undo()
        raise OgiveError(
            f"swap: the outputs keep a mean cosine of {report['cosine to before'].after:.4g} where at_least="
            f"{at_least:g} was asked; the model was put back" + ("" if fit != "keep" else "; try fit='refit'")
        )
    return report


def modules_of(model: nn.Module) -> list[Site]:
    """Sites that need no run: modules without children whose code is an activation's formula."""
    found = []
    for name, module in model.named_modules():
        if not name or any(module.children()):
            continue
        try:
            act = trace(module)
        except OgiveError:
            continue
        if len(act.inputs) == 1 and not act.params:
            act, label, _ = nonlinearity(act.expr.substitute({act.inputs[0]: X}), {})
            found.append(Site(name, "module", label or str(act), act, name, (), False, (), (), (), float("nan")))
    return found


def _wanted(
    found: list[Site], rules: Rules, modules: Mapping[str, nn.Module]
) -> tuple[dict[Site, Any], list[tuple[str, str]]]:
    """What goes where, and what stays and why. Raises OgiveError when nothing would change."""
    wanted: dict[Site, Any] = {}
    left: list[tuple[str, str]] = []
    used: set[Any] = set()
    for site in found:
        if site.kind == "gate":
            left.append((site.name, "a gate of two inputs"))
            continue
        if isinstance(rules, Mapping):
            key = next((k for k in rules if _fits(k, site, modules)), None)
            used.add(key)
            new = None if key is None else rules[key]
            why = "no rule fits it" if key is None else f"the rule {key!r} leaves it"
        elif callable(rules) and not isinstance(rules, (Activation, nn.Module)):
            new, why = rules(site), "the rule leaves it"
        else:
            new, why = rules, ""
        if new is None:
            left.append((site.name, why))
        else:
            wanted[site] = new
    if not wanted:
        there = ", ".join(sorted({f"{s.name} ({s.label})" for s in found})[:8]) or "none"
        raise OgiveError(f"swap: no site fits {rules!r}; the model's sites: {there}")
    if isinstance(rules, Mapping):
        idle = [k for k in rules if k not in used]
        left += [(str(k), "no site fits this rule, or an earlier rule took it") for k in idle]
    return wanted, left


def _fits(key: Any, site: Site, modules: Mapping[str, nn.Module]) -> bool:
    if isinstance(key, type):
        return isinstance(modules.get(site.module.partition("#")[0]), key) and site.kind == "module"
    if not isinstance(key, str):
        raise InputError(f"swap: the rule {key!r} is no name, no pattern and no module class")
    names = (site.name, site.label, site.activation.name or "", *(site.activation.aliases or ()))
    return any(fnmatch.fnmatchcase(n, key) for n in names)


def samples(model: nn.Module, found: list[Site], batches: list[Any], seed: int) -> dict[str, Tensor]:
    """Inputs of each site over the batches: up to 20,000 values each, float64, drawn evenly."""
    rng = random.Random(seed)
    kept: dict[str, list[Tensor]] = {}
    share = max(_SAMPLE // len(batches), 1)

    def see(name: str, x: Tensor) -> None:
        flat = x.detach().flatten()
        if flat.numel() > share:
            flat = flat[torch.tensor([rng.randrange(flat.numel()) for _ in range(share)], device=flat.device)]
        kept.setdefault(name, []).append(flat.double().cpu())

    training = model.training
    model.eval()
    try:
        with rewire(model, found, {}, see):
            for batch in batches:
                called(model, batch)
    finally:
        model.train(training)
    joined = {name: torch.cat(parts) for name, parts in kept.items()}
    for name, x in joined.items():
        if not bool(torch.isfinite(x).all()):
            bad = int((~torch.isfinite(x)).sum())
            raise OgiveError(
                f"{name} is given {bad} values that are not finite on this data; clean the data or the model"
            )
    missing = [s.name for s in found if s.name not in joined]
    if missing:
        raise OgiveError(f"this data never reaches {missing[0]}; leave it out by a rule or give data that does")
    return joined


def _made(site: Site, new: Any, x: Tensor | None, fit: str) -> tuple[nn.Module, Change]:
    """The module that goes in, and the line of the report."""
    if isinstance(new, nn.Module) and not isinstance(new, Act):
        error = float("nan")
        if x is not None:
            old = site.activation(x)
            with torch.no_grad():
                made = new(x.float()).double()
            error = float((made - old).square().mean().sqrt() / old.square().mean().sqrt())
        return new, Change(site.name, site.label, type(new).__name__, error, site.note)
    act = get(new)
    if len(act.inputs) != 1:
        raise InputError(f"swap: {act.label} is a gate of {len(act.inputs)} inputs; {site.name} has one")
    if x is None:
        return (new if isinstance(new, Act) else Act(act)), Change(site.name, site.label, act.label)
    best: Fitted = fitted(act, site.activation, x, fit)
    note = site.note
    if fit != "keep":
        note = f"alpha {best.alpha:.4g}, beta {best.beta:.4g}, gamma {best.gamma:.4g}, delta {best.delta:.4g}"
    module = new if isinstance(new, Act) and fit == "keep" else Act(best.activation)
    label = act.label if fit == "keep" else f"{act.label}, fitted"
    return module, Change(site.name, site.label, label, best.error, note)

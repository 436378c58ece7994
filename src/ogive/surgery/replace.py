"""Which rule fits which site, and the module that goes in there."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ogive.activation import Activation
from ogive.errors import InputError, OgiveError
from ogive.layers.act import Act
from ogive.lookup import get
from ogive.surgery.refit import Fitted, fitted
from ogive.surgery.report import Change
from ogive.surgery.sites import Site

Rules = Any  # a mapping, a function of a site, or one activation for all


@dataclass(frozen=True)
class Replacement:
    """The module that goes in, its line of the report, the fit it was made from and the function without it (None: it
    was taken as it is)."""

    module: nn.Module
    change: Change
    fit: Fitted | None = None
    plain: Activation | None = None


def wanted_by(
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
        raise OgiveError(f"no site fits {rules!r}; the model's sites: {there}")
    if isinstance(rules, Mapping):
        idle = [k for k in rules if k not in used]
        left += [(str(k), "no site fits this rule, or an earlier rule took it") for k in idle]
    return wanted, left


def _fits(key: Any, site: Site, modules: Mapping[str, nn.Module]) -> bool:
    if isinstance(key, type):
        return isinstance(modules.get(site.module.partition("#")[0]), key) and site.kind == "module"
    if not isinstance(key, str):
        raise InputError(f"the rule {key!r} is no name, no pattern and no module class")
    names = (site.name, site.label, site.activation.name or "", *(site.activation.aliases or ()))
    return any(fnmatch.fnmatchcase(n, key) for n in names)


def replacement(site: Site, new: Any, x: Tensor | None, fit: str) -> Replacement:
    """What goes in, fitted to the inputs ``x`` of the site."""
    if isinstance(new, nn.Module) and not isinstance(new, Act):
        error = float("nan")
        if x is not None:
            old = site.activation(x)
            with torch.no_grad():
                made = new(x.float()).double()
            error = float((made - old).square().mean().sqrt() / old.square().mean().sqrt())
        return Replacement(new, Change(site.name, site.label, type(new).__name__, error, site.note))
    act = get(new)
    if len(act.inputs) != 1:
        raise InputError(f"{act.label} is a gate of {len(act.inputs)} inputs; {site.name} has one")
    if x is None:
        return Replacement(new if isinstance(new, Act) else Act(act), Change(site.name, site.label, act.label))
    best: Fitted = fitted(act, site.activation, x, fit)
    note = site.note
    if fit != "keep":
        note = f"alpha {best.alpha:.4g}, beta {best.beta:.4g}, gamma {best.gamma:.4g}, delta {best.delta:.4g}"
    if fit == "keep":
        module = new if isinstance(new, Act) else Act(act)
        return Replacement(module, Change(site.name, site.label, act.label, best.error, note))
    change = Change(site.name, site.label, f"{act.label}, fitted", best.error, note)
    return Replacement(Act(best.activation), change, best, act)

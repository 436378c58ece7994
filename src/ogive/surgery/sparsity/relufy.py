"""Relufication: rectifiers in the place of smooth activations, and after the norms that feed linears."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ogive.activation import Activation, Param
from ogive.errors import InputError, OgiveError, ParameterError
from ogive.expr import var
from ogive.layers.act import Act
from ogive.lookup import get
from ogive.surgery.effect import batches_of
from ogive.surgery.graph import Node
from ogive.surgery.refit import error_of
from ogive.surgery.report import Change, Report
from ogive.surgery.rewire import rewire
from ogive.surgery.sites import Site
from ogive.surgery.sparsity.blocks import Blocks, feed_forwards
from ogive.surgery.sparsity.calibrate import site_inputs
from ogive.surgery.sparsity.conduct import Scores, conduct
from ogive.surgery.sparsity.gates import exchangeable, is_rectifier


class RectifiedOutput:
    """A forward hook: ``max(y, 0)`` of what a module returns."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        return torch.relu(output)


def relufy(
    model: nn.Module,
    data: Any,
    *,
    stage: int = 1,
    shift: float = 0.0,
    act: Any = "relu",
    both: bool = False,
    score: Scores = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Put ``relu(x - shift)`` in the place of every nonlinearity that is no rectifier (ReLU Strikes Back).

    The model is not what it was before: it wants fine-tuning, which the report's perplexity or cosine shows. ``stage``
    2 also rectifies what each norm gives when linears alone take it, so that their inputs are sparse too; a norm whose
    result also goes round them, or into the read-out, is left.

    Args:
        model: changed in place; the keys of its ``state_dict`` stay.
        data: what the model is called with, a batch or a list or loader of batches.
        stage: 1 or 2.
        shift: where the rectifier starts, finite; above 0 more is zero.
        act: another rectifier, proved to be one: ``"relu2"`` for the squared one.
        both: of gated blocks, put the rectifier after the up projection too (dReLU).
        score, time, seed: as of :func:`ogive.swap`.

    Raises:
        ParameterError: for another stage, a shift that is not finite, an act that is no rectifier.
        OgiveError: when nothing is there to change.

    Sources: Mirzadeh et al. 2023, "ReLU Strikes Back: Exploiting Activation Sparsity in Large Language Models"; dReLU:
    Song et al. 2024, "Turbo Sparse"; relu^2 in LLMs: Zhang et al. 2024, "ReLU^2 Wins".

    >>> _ = torch.manual_seed(0)
    >>> mlp = nn.Sequential(nn.Linear(4, 64), nn.GELU(), nn.Linear(64, 2))
    >>> report = relufy(mlp, torch.randn(500, 4), time=False)
    >>> mlp[1], round(report["zeros into down projections"].after, 1)
    (Act(relu), 0.5)
    """
    if stage not in (1, 2) or isinstance(stage, bool):
        raise ParameterError(f"relufy: stage={stage!r}; it is 1 (activations) or 2 (norms too)")
    if isinstance(shift, bool) or not isinstance(shift, (int, float)) or not math.isfinite(shift):
        raise ParameterError(f"relufy: shift={shift!r}; it takes a finite number")
    new = shifted(get(act), float(shift))
    batches = batches_of(data)
    blocks = feed_forwards(model, batches[0])
    chosen, left = _chosen(blocks)
    norms: dict[str, str] = {}
    if stage == 2:
        norms, spared = norms_into_linears(model, blocks.graph.of_kind("norm"))
        left += spared
    ups = [b.up for b in blocks if both and b.gate is not None and not b.fused]
    left += [(b.name, "gate and up are one projection, so both=True cannot rectify up alone")
             for b in blocks if both and b.fused]  # fmt: skip
    if not (chosen or norms or ups):
        why = "; ".join(f"{name}: {reason}" for name, reason in left[:4]) or "the model has no nonlinearity"
        raise OgiveError(f"relufy: nothing to change ({why})")
    values = site_inputs(model, chosen, batches, seed) if chosen else {}
    label = get(act).label if shift == 0.0 else f"{get(act).label}(x - {shift:g})".replace("- -", "+ ")
    changes = [Change(s.name, s.label, label, error_of(new, s.activation(x), x))
               for s in chosen for x in [values[s.name].double()]]  # fmt: skip
    changes += [Change(path, norm, f"relu({norm})") for path, norm in norms.items()]
    changes += [Change(path, "linear", "relu(linear)") for path in ups]
    instead: dict[str, nn.Module] = {s.name: Act(new) for s in chosen}

    def put() -> Callable[[], None]:
        done = rewire(model, [s for s in blocks.sites if s.name in instead], instead)
        hooks: list[RemovableHandle] = []

        def undo() -> None:
            while hooks:
                hooks.pop().remove()
            done.undo()

        try:
            for path in (*norms, *ups):
                hooks.append(model.get_submodule(path).register_forward_hook(RectifiedOutput()))
        except BaseException:
            undo()
            raise
        return undo

    return conduct("relufy", model, batches, blocks, put, changes, left, score=score, time=time)


def shifted(act: Activation, shift: float) -> Activation:
    """``f(x - shift)`` of a rectifier. Raises ParameterError for what is no rectifier of one input.

    >>> shifted(get("relu"), 1.0)(torch.tensor([0.5, 3.0]))
    tensor([0., 2.])
    """
    if len(act.inputs) != 1:
        raise InputError(f"relufy: {act.label} is a gate of {len(act.inputs)} inputs; a rectifier has one")
    if not is_rectifier(act):
        raise ParameterError(f"relufy: {act.label} is not 0 on a half-line and nowhere negative, so it makes no zeros")
    if shift == 0.0:
        return act
    (name,) = act.inputs
    moved = act.expr.substitute({name: var(name) - var("shift")})
    params = {**act.params, "shift": Param(shift)}
    return Activation(moved, act.inputs, params)


def _chosen(blocks: Blocks) -> tuple[list[Site], list[tuple[str, str]]]:
    """Sites between linears that are no rectifiers; the others and why."""
    chosen, left = [], []
    for site in blocks.sites:
        if site.kind == "gate":
            left.append((site.name, "a function of two inputs"))
        elif not exchangeable(site):
            left.append((site.name, "its input is not an argument of its call"))
        elif is_rectifier(site.activation):
            left.append((site.name, f"{site.label} is a rectifier already"))
        elif not site.feeds:
            left.append((site.name, "no linear map follows"))
        else:
            chosen.append(site)
    return chosen, left


def norms_into_linears(model: nn.Module, nodes: list[Node]) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Modules of normalisation whose results go into linears alone, by path; the others and why."""
    modules = dict(model.named_modules())
    found: dict[str, str] = {}
    left: dict[str, str] = {}
    for node in nodes:
        path = node.owner.partition("#")[0]
        last, users = node, _users(node)
        while len(users) == 1 and users[0].kind == "scale" and users[0].owner == node.owner:  # its gain and offset
            last, users = users[0], _users(users[0])
        label = type(modules[path]).__name__ if path in modules else "norm"
        if not path or path not in modules or any(modules[path].children()) or _outside(last, path):
            left[node.owner or "norm"] = "the normalisation is no module of its own"
        elif not users or any(u.kind != "linear" for u in users):
            left[path] = "its result also goes elsewhere than into linears"
        elif not any(_followed(u) for u in users):
            left[path] = "it feeds the read-out"
        else:
            found[path] = label
    return {p: v for p, v in found.items() if p not in left}, list(left.items())


def _outside(node: Node, path: str) -> bool:
    return node.owner.partition("#")[0] != path


def _users(node: Node) -> list[Node]:
    """What takes the values, other shapes aside."""
    found: list[Node] = []
    stack = list(node.children)
    while stack:
        at = stack.pop()
        if at.kind == "pass":
            stack.extend(at.children)
        else:
            found.append(at)
    return found


def _followed(node: Node) -> bool:
    seen, stack = set(), list(node.children)
    while stack:
        at = stack.pop()
        if at.kind == "linear":
            return True
        if at.index not in seen:
            seen.add(at.index)
            stack.extend(at.children)
    return False

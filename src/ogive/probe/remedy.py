"""What would mend a signal: initialisations and tailored activations, tried on a copy of the model and measured."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from ogive.activation import Activation
from ogive.derive.tailor import tailoring
from ogive.errors import OgiveError
from ogive.layers.act import Act
from ogive.probe.measurement import run
from ogive.probe.verdict import Break, breaks
from ogive.surgery.initialise import init_
from ogive.surgery.lsuv import lsuv_
from ogive.surgery.network import network_of
from ogive.surgery.sites import sites


@dataclass(frozen=True)
class Remedy:
    """``call`` (``name`` for short) was tried on a copy.

    Measured then: the last layer's mean square and correlation, the gradient's norm at the first layer over that at
    the last, and what still breaks. ``failed`` is the reason when it could not run.
    """

    name: str
    call: str
    square: float
    correlation: float
    gradient: float
    breaks: tuple[Break, ...]
    failed: str = ""

    @property
    def mends(self) -> bool:
        """Whether nothing breaks any more."""
        return not self.failed and not self.breaks

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self) | {"mends": self.mends}


def remedies(model: nn.Module, example: Any, seed: int = 0) -> Iterator[Remedy]:
    """Try ``init_`` in three ways, ``lsuv_``, and tailored activations; the model stays as it is."""
    tried: dict[str, Callable[[nn.Module], Any]] = {
        "init_(model, x)": lambda m: init_(m, example, check=False, generator=_generator(seed)),
        "init_(model, x, bias='stable')": lambda m: init_(
            m, example, bias="stable", check=False, generator=_generator(seed)
        ),
        "init_(model, x, rule='vi3nr')": lambda m: init_(
            m, example, rule="vi3nr", check=False, generator=_generator(seed)
        ),
        "lsuv_(model, x)": lambda m: lsuv_(m, example, generator=_generator(seed)),
    }
    for call, change in tried.items():
        yield _tried(call, model, example, seed, change)
    yield _tried("tailored activations", model, example, seed, lambda m: _tailor(m, example, seed))


def _tried(call: str, model: nn.Module, example: Any, seed: int, change: Callable[[nn.Module], Any]) -> Remedy:
    try:
        mine = copy.deepcopy(model)
        done = change(mine)
        found = run(mine, example, seed)
    except (OgiveError, RuntimeError, TypeError) as error:
        return Remedy(call, call, math.nan, math.nan, math.nan, (), str(error).splitlines()[0])
    first, last = found.seen[0], found.seen[-1]
    ratio = first.gradient / last.gradient if last.gradient > 0.0 else math.nan
    return Remedy(call, done if isinstance(done, str) else call, last.square, last.correlation, ratio,
                  breaks(found, names_of(found.seen)))  # fmt: skip


def names_of(seen: Any) -> tuple[str, ...]:
    """A name for every linear map: its weight's without the ending, ``#2`` for its second use."""
    used: dict[str, int] = {}
    names = []
    for one in seen:
        weight = one.node.weight
        name = (weight.name if weight is not None else "") or one.node.owner or one.node.op
        name = name.removesuffix(".weight") or name
        used[name] = used.get(name, 0) + 1
        names.append(name if used[name] == 1 else f"{name}#{used[name]}")
    return tuple(names)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _tailor(model: nn.Module, example: Any, seed: int) -> str:
    """Replace every activation module by its tailored form, then draw orthogonal weights; returns the calls."""
    network = network_of(model, example)
    there = sites(model, example)
    code = [s.name for s in there if s.kind != "module"]
    if code:
        raise OgiveError(f"{code[0]} is a call, so the model's code has to change: ogive.tailor gives the activation")
    made: dict[str, tuple[Activation, str]] = {}
    for site in there:
        key = str(site.activation.fixed())
        if key not in made:
            made[key] = _tailored(site.activation, network)
        parent, _, last = site.module.rpartition(".")
        setattr(model.get_submodule(parent), last, Act(made[key][0]))
    init_(model, example, distribution="orthogonal", check=False, generator=_generator(seed))
    kinds = dict.fromkeys(how for _, how in made.values())
    return (f"f = tailor(f, {' or '.join(kinds)}, graph=network_of(model, x)) for each f, "
            "then init_(model, x, distribution='orthogonal')")  # fmt: skip


def _tailored(act: Activation, network: Any) -> tuple[Activation, str]:
    problem: OgiveError | None = None
    ways: tuple[tuple[str, dict[str, Any]], ...] = (("dks", {}), ("tat", {}), ("dks", {"slope": None}))
    for method, options in ways:
        try:
            found = tailoring(act, method, graph=network, **options)
        except OgiveError as error:
            problem = problem or error
        else:
            return found.activation, f"{method!r}" + "".join(f", {k}={v}" for k, v in options.items())
    assert problem is not None
    raise problem

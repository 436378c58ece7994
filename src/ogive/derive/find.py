"""Recognising a function: is it in the catalogue, perhaps with other parameters, scaled or shifted?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ogive.derive.recognition.candidates import table
from ogive.derive.recognition.explain import (
    TOLERANCE,
    Fits,
    by_formula,
    identical,
    other_parameters,
    rescaled,
    straight,
)
from ogive.derive.recognition.explanation import Explanation, written_alike
from ogive.derive.recognition.fit import Transform
from ogive.derive.recognition.jumps import by_jumps
from ogive.derive.recognition.target import NEAR, Target
from ogive.errors import ParameterError
from ogive.expr import number_text
from ogive.lookup import get
from ogive.references import cited
from ogive.rewrite import simplify

KINDS = ("identical", "same formula with other parameters", "rescaled", "near")


@dataclass(frozen=True)
class Match:
    """One entry that explains a function, or comes near: ``c*f(a*x + b) + d*x + e`` with f the entry at
    ``parameters``. ``gap`` is the largest difference for |x| <= 8."""

    name: str
    kind: str
    parameters: Mapping[str, float]
    transform: Transform
    gap: float
    cited: str

    @property
    def exact(self) -> bool:
        """Whether it is the function (to ``tol``), not one that comes near."""
        return self.kind != "near"

    @property
    def text(self) -> str:
        """As a sentence would say it: ``swish with beta = 1.5 (Ramachandran et al. 2017)``."""
        said = self.name
        if self.parameters:
            said += " with " + ", ".join(f"{k} = {number_text(v)}" for k, v in self.parameters.items())
        if self.transform.changed:
            said += f", rescaled: {self.transform.text(self.name)}"
        return said + (f" ({self.cited})" if self.cited else "")

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return {"name": self.name, "kind": self.kind, "exact": self.exact,
                "parameters": dict(self.parameters), "gap": self.gap,
                "transform": dict(vars(self.transform)), "cited": self.cited, "text": self.text}  # fmt: skip


@dataclass(frozen=True)
class Found:
    """What :func:`find` says of ``target``: explanations first, simplest first, then the nearest entries."""

    target: str
    matches: tuple[Match, ...] = field(default=())

    @property
    def best(self) -> Match | None:
        """The simplest explanation, None when the function is not in the catalogue."""
        return self.matches[0] if self.matches and self.matches[0].exact else None

    @property
    def near(self) -> tuple[Match, ...]:
        """The entries that come nearest without being the function."""
        return tuple(m for m in self.matches if not m.exact)

    def __bool__(self) -> bool:
        return self.best is not None

    def __repr__(self) -> str:
        if self.best is not None:
            lines = [f"{self.target}: published as {self.best.text}"]
            lines += [f"  also {m.text}" for m in self.matches[1:] if m.exact]
        else:
            lines = [f"{self.target}: not in the catalogue"]
        lines += [f"  near {m.text}, at most {m.gap:.2g} away for |x| <= 8" for m in self.near]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The target, whether it was found, and the matches, ready for JSON."""
        return {"target": self.target, "found": bool(self), "matches": [m.to_dict() for m in self.matches]}


def find(spec: Any, *, tol: float = TOLERANCE, k: int = 5) -> Found:
    """The published activations that ``spec`` is, or is up to parameters, or up to ``c*f(a*x + b) + d*x + e``.

    ``spec`` is a formula, a name, an Activation, a Python function of a tensor or an ``nn.Module``, which is
    evaluated in float64 (a module in evaluation mode). ``tol`` is the largest difference, relative to
    1 + |y|, that counts as the same function; ``k`` is how many matches to return at most. The simplest
    explanation comes first: fewest numbers to choose, then the entry that others declare themselves to be.
    The forward map decides; declared backwards are compared only to break ties.

    Raises :class:`~ogive.errors.InputError` for what is not a function of one number at a time.

    >>> find("x * sigmoid(1.5 * x)").best.parameters
    {'beta': 1.5}
    >>> find("x*tanh(exp(x))*sigmoid(-x)")  # doctest: +ELLIPSIS
    x*tanh(exp(x))*sigmoid(-x): not in the catalogue...
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ParameterError(f"find: k={k!r}; it takes a whole number from 1")
    if isinstance(tol, bool) or not isinstance(tol, (int, float)) or not 0.0 < tol < 1.0:
        raise ParameterError(f"find: tol={tol!r}; it takes a number between 0 and 1")
    target = Target(spec)
    if target.act is not None and len(target.act.inputs) == 2:
        return Found(target.label, tuple(_gates(target))[:k])
    same = identical(target, tol)
    found = [_match(e, "identical") for e in same]
    nearby: list[Explanation] = []
    if not found and target.fittable:
        told, nearby = _explained(target, tol)
        first = {e.name: e for e in reversed(told)}  # one explanation per entry, the simplest
        found = [_match(e, KINDS[2] if e.how.changed else KINDS[1]) for e in told if first[e.name] is e]
    names = {m.name for m in found}
    near: dict[str, Explanation] = {}
    if len(found) < k:
        for e in sorted([*nearby, *_defaults(target)], key=lambda e: e.gap):
            if e.name not in names and e.gap < math.inf:
                near.setdefault(e.name, e)
            if len(near) + len(found) >= k:
                break
    found += [_match(e, "near") for e in near.values()]
    return Found(target.label, tuple(found[:k]))


def _explained(target: Target, tol: float) -> tuple[list[Explanation], list[Explanation]]:
    """Explanations with parameters, scalings or both, the simplest first; and near fits."""
    line = straight(target, tol)
    if line is not None:
        return [line], []
    told = by_formula(target, tol)
    near: list[Explanation] = []
    if not told:
        jumps = target.jumps()
        if len(jumps):
            told += by_jumps(target, jumps, tol)
        if not told or not len(jumps):
            for fits in _stages(target, tol, told):
                told += fits.exact
                near += fits.near
                if any(e.complexity == 1 for e in told):
                    break
    told += [twin for e in tuple(told) for twin in written_alike(e)]
    return sorted(told, key=lambda e: e.rank), near


def _stages(target: Target, tol: float, told: list[Explanation]) -> Iterator[Fits]:
    """The searches by fitting, little effort on the likely ones first; it ends where something is told. A function
    whose formula is known has been compared by its formula before, so less is tried."""
    yield other_parameters(target, tol, 0, told)
    yield rescaled(target, tol, 0, False)
    if not told:
        if target.act is None:
            yield other_parameters(target, tol, 1)
        yield rescaled(target, tol, 1, False)
    if not told:
        yield rescaled(target, tol, 2, True)


def _defaults(target: Target) -> list[Explanation]:
    """Every entry as published, with its distance; of those that are one function, the first."""
    t = table()
    with np.errstate(all="ignore"):
        far = np.abs(t.check - target.check)[:, : len(NEAR)].max(1)
    far = np.nan_to_num(far, nan=math.inf)
    standing = [i for i in np.argsort(far) if t.first[i] == i][:24]
    return [Explanation(t.rows[i], {}, Transform(), float(far[i])) for i in standing]


def _match(e: Explanation, kind: str) -> Match:
    act = get(e.name)
    return Match(e.name, kind, e.parameters, e.how, e.gap, "; ".join(cited(c) for c in act.cite))


def _gates(target: Target) -> Iterable[Match]:
    """Two-input entries with the same formula or the same values; gates are compared as they are."""
    import torch

    from ogive.catalogue import entries

    assert target.act is not None
    generator = torch.Generator().manual_seed(0)
    x, y = 4.0 * torch.randn(2, 4096, generator=generator, dtype=torch.float64)
    z = np.asarray(target.act(x, y).numpy())
    mine = simplify(target.act.fixed().written)
    for name, act in entries().items():
        if len(act.inputs) != 2:
            continue
        theirs = act.fixed().written.substitute({})
        value = np.asarray(act(x, y).numpy())
        if simplify(theirs) is mine or float(np.abs(value - z).max()) <= TOLERANCE * (1.0 + float(np.abs(z).max())):
            yield Match(name, "identical", {}, Transform(), float(np.abs(value - z).max()),
                        "; ".join(cited(c) for c in act.cite))  # fmt: skip

"""Everything known of one activation, on one sheet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from ogive import catalogue
from ogive.activation import Activation
from ogive.derive.calculus import derivative
from ogive.derive.find import Match, find
from ogive.derive.gain import Gain, gain
from ogive.derive.latex import latex
from ogive.derive.limits import Limits, limits
from ogive.derive.observed import Observed, breaks, observe
from ogive.errors import OgiveError
from ogive.lookup import get
from ogive.references import Reference, references


@dataclass(frozen=True)
class ParameterFacts:
    """A parameter: its default, the interval it lives in ("" for all numbers), and advice for learning it."""

    name: str
    default: float
    interval: str
    share: str
    decay: bool
    note: str


@dataclass(frozen=True, repr=False)
class Description:
    """What :func:`describe` found; its text is an 80-column sheet.

    ``derivatives`` holds the text and the LaTeX of f' and f''; ``surrogate`` the declared backward, or None.
    ``limits``, ``gain`` and ``observed`` are None for gates of two inputs and where ``missing`` says why.
    ``kinks`` and ``jumps`` lie in [-64, 64]. ``saved_bytes`` is what backward keeps for an element of
    float32, measured. ``operations`` counts primitives of f and f'. ``same_as`` is the entry this one equals
    at its default parameters, ``equals`` are the entries that say so of this one. ``published_as`` is the
    entry that a nameless formula turns out to be (:func:`ogive.find`).
    """

    activation: Activation
    formula: str
    latex: str
    derivatives: tuple[tuple[str, str], ...]
    surrogate: str | None
    citations: tuple[Reference, ...]
    parameters: tuple[ParameterFacts, ...]
    limits: Limits | None
    gain: Gain | None
    observed: Observed | None
    kinks: tuple[float, ...]
    jumps: tuple[float, ...]
    saved_bytes: float
    operations: tuple[int, int]
    equals: tuple[str, ...]
    published_as: Match | None = None
    missing: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values; infinities become "inf" and "-inf", NaN becomes None."""
        act = self.activation
        plain: dict[str, Any] = {
            "name": act.name, "aliases": list(act.aliases), "family": act.family, "note": act.note,
            "inputs": list(act.inputs), "formula": self.formula, "latex": self.latex,
            "derivatives": [
                {"order": i + 1, "formula": text, "latex": tex} for i, (text, tex) in enumerate(self.derivatives)
            ],
            "surrogate": self.surrogate, "citations": [r.to_dict() for r in self.citations],
            "parameters": [asdict(p) for p in self.parameters],
            "limits": self.limits and self.limits.to_dict(), "gain": self.gain and self.gain.to_dict(),
            "observed": self.observed and self.observed.to_dict(),
            "kinks": list(self.kinks), "jumps": list(self.jumps), "saved_bytes_per_element": self.saved_bytes,
            "operations": {"f": self.operations[0], "derivative": self.operations[1]},
            "same_as": act.same_as, "equals": list(self.equals),
            "published_as": self.published_as and self.published_as.to_dict(),
            "exceptions": dict(act.exceptions),
            "missing": dict(self.missing),
        }  # fmt: skip
        result: dict[str, Any] = _json(plain)
        return result

    def __str__(self) -> str:
        from ogive.derive.sheet import sheet

        return sheet(self)

    __repr__ = __str__


def describe(spec: Any) -> Description:
    """Formula, source, derivatives, limits, shape, gain and cost of one activation.

    ``spec`` is a name, a formula, an activation or a module with one. Range, parity and monotonicity are
    sampled on [-50, 50], not certified. Raises :class:`~ogive.errors.UnknownName` and
    :class:`~ogive.errors.FormulaError`.

    >>> sheet = describe("relu")
    >>> sheet.kinks, sheet.observed.monotone, sheet.saved_bytes
    ((0.0,), 'nondecreasing', 4.0)
    """
    act = get(spec)
    missing: dict[str, str] = {}

    def attempt(what: str, make: Any) -> Any:
        if len(act.inputs) != 1:
            return None
        try:
            return make(act)
        except OgiveError as error:
            missing[what] = str(error)
            return None

    true = replace(act, backward=None)
    slope, bend = derivative(true), derivative(true, 2)
    kinks, jumps = attempt("breaks", breaks) or ((), ())
    observed = attempt("observed", observe)
    search = act.name is None and observed is not None and observed.defined
    known = references()
    return Description(
        activation=act,
        formula=str(act),
        latex=latex(act),
        derivatives=tuple((str(d), latex(d)) for d in (slope, bend)),
        surrogate=None if act.backward is None else str(act.backward),
        citations=tuple(known.get(key) or Reference(key, (), None, key) for key in act.cite),
        parameters=tuple(
            ParameterFacts(k, act.defaults[k], p.interval, p.share, p.decay, p.note) for k, p in act.params.items()
        ),
        limits=attempt("limits", limits),
        gain=attempt("gain", gain),
        observed=observed,
        kinks=kinks,
        jumps=jumps,
        saved_bytes=saved_bytes(act),
        operations=(len(act.form.program.steps), len(slope.form.program.steps)),
        equals=tuple(sorted(str(e.name) for e in catalogue.entries().values() if act.name and e.same_as == act.name)),
        published_as=attempt("search", lambda a: find(a).best) if search else None,
        missing=missing,
    )


def saved_bytes(act: Activation) -> float:
    """Bytes that backward keeps for each float32 element, measured on a tensor of 256."""
    kept: dict[int, int] = {}

    def pack(t: torch.Tensor) -> torch.Tensor:
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.inference_mode(False), torch.enable_grad():
        inputs = [torch.linspace(-1.0, 1.0, 256, dtype=torch.float32, requires_grad=True) for _ in act.inputs]
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            act(*inputs)
    return sum(kept.values()) / 256


def _json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value

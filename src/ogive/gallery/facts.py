"""What the index, the map and the comparison know of an entry: derived, small, ready for JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ogive.activation import Activation
from ogive.derive.calculus import derivative
from ogive.derive.describe import Description
from ogive.derive.observed import breaks, values
from ogive.errors import OgiveError
from ogive.gallery.picture import spark
from ogive.kernels.canonical import canonical, cost
from ogive.references import family_name

SMOOTHNESS = ("jumps", "continuous, with kinks", "continuous slope", "continuous curvature")


@dataclass(frozen=True)
class Record:
    """One entry as the index sees it.

    ``smooth`` counts what is continuous on [-64, 64]: 0 nothing, 1 f, 2 also f', 3 also f''; None for gates.
    ``cost`` is that of f in exponentials (:func:`ogive.kernels.canonical.cost`), ``saved`` what backward keeps
    of a float32 element in bytes. ``ends`` says which sides are unbounded: "", "below", "above", "both" or
    "unknown". ``spark`` is the small picture. ``kind`` is "entry" or "card".
    """

    name: str
    aliases: tuple[str, ...]
    family: str
    year: int | None
    authors: tuple[str, ...]
    source: str
    formula: str
    note: str
    inputs: int
    params: tuple[str, ...]
    monotone: str | None
    bounded: bool
    ends: str
    smooth: int | None
    zero: bool
    parity: str | None
    low: float | None
    high: float | None
    gain: float | None
    cost: float
    operations: int
    saved: float
    spark: str
    kind: str = "entry"

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Record:
        """The record that ``to_dict`` wrote. Raises TypeError for fields of another version."""
        lists = {k: tuple(stored[k]) for k in ("aliases", "authors", "params")}
        return cls(**{**stored, **lists})


def record(d: Description) -> Record:
    """What the index needs of a description."""
    act, seen = d.activation, d.observed
    first = d.citations[0] if d.citations else None
    zero = d.limits is not None and d.limits.continuous and d.limits.value == 0.0
    return Record(
        name=act.label,
        aliases=act.aliases,
        family=act.family or "other",
        year=min((r.year for r in d.citations if r.year is not None), default=None),
        authors=tuple(dict.fromkeys(family_name(a) for r in d.citations for a in r.authors)),
        source=first.short if first else "",
        formula=d.formula,
        note=act.note,
        inputs=len(act.inputs),
        params=tuple(act.params),
        monotone=seen.monotone if seen else None,
        bounded=bounded(d),
        ends=_ends(d),
        smooth=smoothness(act) if seen else None,
        zero=zero,
        parity=seen.parity if seen else None,
        low=_number(seen.low) if seen else None,
        high=_number(seen.high) if seen else None,
        gain=_number(d.gain.forward) if d.gain else None,
        cost=round(cost(canonical(act.expr)), 2),
        operations=d.operations[0],
        saved=d.saved_bytes,
        spark=spark(act),
    )


def bounded(d: Description) -> bool:
    """Whether f stays finite: limits at both ends, or, where it oscillates, no growth out to 1e6 (sampled)."""
    if d.observed is None or d.limits is None or not d.observed.defined:
        return False
    ends = (d.limits.minus.value, d.limits.plus.value)
    if any(v is not None and math.isinf(v) for v in ends):
        return False
    near = max(abs(d.observed.low), abs(d.observed.high))
    if not math.isfinite(near) or near > 1e9:  # a pole
        return False
    if None not in ends:
        return True
    far = np.geomspace(60.0, 1e6, 4001)
    y = np.abs(values(d.activation, np.concatenate([-far, far])))
    return bool((y <= 1.05 * near + 1e-9).all())


def _ends(d: Description) -> str:
    """On which sides f is unbounded, from its limits at both ends."""
    if d.limits is None or d.observed is None:
        return "unknown"
    if bounded(d):
        return ""
    values_ = (d.limits.minus.value, d.limits.plus.value)
    below, above = (
        -math.inf in values_ or math.isinf(d.observed.low),
        math.inf in values_ or math.isinf(d.observed.high),
    )
    return {(True, True): "both", (True, False): "below", (False, True): "above"}.get((below, above), "unknown")


def shape(facts: Record) -> str:
    """The class that colours an entry on the map."""
    if facts.bounded:
        if facts.monotone:
            return "from level to level"
        return "bump or wave, even" if facts.parity == "even" else "bounded, not monotone"
    if facts.parity == "even":
        return "even, unbounded"
    if facts.ends in ("above", "below"):
        return "one side bounded, monotone" if facts.monotone else "one side bounded, with a dip"
    return "unbounded, monotone" if facts.monotone else "unbounded, not monotone"


SHAPES = (
    "one side bounded, monotone", "one side bounded, with a dip", "from level to level", "unbounded, monotone",
    "bump or wave, even", "bounded, not monotone", "even, unbounded", "unbounded, not monotone",
)  # fmt: skip


def smoothness(act: Activation) -> int:
    """How many of f, f' and f'' are continuous on [-64, 64], as far as breaks found from the formula tell."""
    true = Activation(act.written, act.inputs, act.params, act.name)
    try:
        kinks, jumps = breaks(true)
        if jumps:
            return 0
        if kinks:
            return 1
        bends, _ = breaks(derivative(true))
    except OgiveError:
        return 0
    return 2 if bends else 3


def _number(value: float | None) -> float | None:
    """Six digits for a reader; nothing where there is no finite number."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None

"""What :func:`ogive.certify.subderivative.check_ad` found, sweep by sweep."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Kink:
    """A float where the slope jumps from ``left`` to ``right`` and autograd says ``got``; ``convention`` is the side
    it takes: left, right, mean, between or outside."""

    x: float
    left: float
    right: float
    got: float
    convention: str


@dataclass(frozen=True)
class Sweep:
    """All numbers of a 16-bit ``points_of`` dtype, computed in ``dtype`` one ``way``.

    ``kinks`` and ``jumps`` count floats where the slope or the value jumps, ``undefined`` those where no slope exists,
    ``balls`` those that ball arithmetic decided. ``outside`` counts results that are no subderivative; ``x``, ``got``,
    ``low`` and ``high`` are the worst of them. ``rough`` counts slopes of formulas in float32 that miss the accuracy of
    the certificates by rounding only, by less than 16 times what they allow. At a jump no subderivative exists: the
    result is held against the slopes of the two sides, and ``strays`` counts what is not between them.
    """

    points_of: str
    dtype: str
    way: str
    points: int
    kinks: int
    jumps: int
    undefined: int
    balls: int
    outside: int
    rough: int
    strays: int
    conventions: tuple[tuple[str, int], ...]
    listed: tuple[Kink, ...]
    x: float = math.nan
    got: float = math.nan
    low: float = math.nan
    high: float = math.nan
    excepted: str = ""

    @property
    def holds(self) -> bool:
        """Whether every result is a subderivative, or the entry declares why it is not."""
        return self.outside == 0 or bool(self.excepted)


@dataclass(frozen=True, eq=False)
class Subderivatives:
    """What autograd returned on every sweep. ``surrogate`` says that the entry declares another backward: then that
    function is what the results are held against. ``left`` says which dtypes the code does not take."""

    label: str
    reference: str
    surrogate: bool
    sweeps: tuple[Sweep, ...]
    left: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether there is a sweep and every one holds."""
        return bool(self.sweeps) and all(s.holds for s in self.sweeps)

    @property
    def kinks(self) -> tuple[Kink, ...]:
        """The kinks nearest to 0 with the convention taken there, from the first sweep that has any."""
        return next((s.listed for s in self.sweeps if s.listed), ())

    @property
    def conventions(self) -> dict[str, int]:
        """How often each convention was taken, over all sweeps."""
        total: Counter[str] = Counter()
        for s in self.sweeps:
            total.update(dict(s.conventions))
        return dict(total)

    def __repr__(self) -> str:
        bad = sum(s.outside for s in self.sweeps if not s.holds)
        kinks = max((s.kinks for s in self.sweeps), default=0)
        end = f"{bad} outside" if bad else ("surrogate" if self.surrogate else "passes")
        many = "1 kink" if kinks == 1 else f"{kinks} kinks"
        many += f" ({'/'.join(self.conventions)})" if self.conventions else ""
        room = 80 - len(f"Subderivatives(: {many}, {end})")
        label = self.label if len(self.label) <= room else self.label[: max(room - 3, 1)] + "..."
        return f"Subderivatives({label}: {many}, {end})"

    def __str__(self) -> str:
        lines = [repr(self), f"  against    {self.reference}"]
        lines += [f"  x = {k.x:<12.6g} {k.left:.6g} | {k.right:.6g}: {k.got:.6g} ({k.convention})" for k in self.kinks]
        lines += [f"  not run    {why}" for why in self.left]
        for s in self.sweeps:
            if s.outside:
                why = f" (declared: {s.excepted})" if s.excepted else ""
                lines.append(f"  {s.dtype} ({s.way}): {s.outside} of {s.points} outside{why}")
                lines.append(f"    worst x = {s.x:.9g}: got {s.got:.9g}, from {s.low:.9g} to {s.high:.9g}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON (text for what is not finite)."""
        plain = _plain({**asdict(self), "passed": self.passed})
        assert isinstance(plain, dict)
        return plain


def _plain(v: Any) -> Any:
    if isinstance(v, dict):
        return {k: _plain(u) for k, u in v.items()}
    if isinstance(v, (list, tuple)):
        return [_plain(u) for u in v]
    return str(v) if isinstance(v, float) and not math.isfinite(v) else v

"""What a check found."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

ORDERS = ("value", "first", "second")  # laws by derivative order; what an entry may be excepted from
WORDS = {"value": "f", "first": "f'", "second": "f''"}


@dataclass(frozen=True)
class Finding:
    """One law on one way of computing: the worst input, how bad, and, where it fails, why."""

    law: str  # value, first, second, nan, infinity, kept
    dtype: str
    way: str  # compiled, eager, or code
    units: float = 0.0
    bound: float = 0.0
    x: float = math.nan
    got: float = math.nan
    want: float = math.nan
    beyond: int = 0
    points: int = 0
    excepted: str = ""
    why: str = ""

    @property
    def holds(self) -> bool:
        """Whether the worst input is within the bound."""
        return self.units <= self.bound

    @property
    def text(self) -> str:
        """One line: the law, the worst input, what came and what is true."""
        what = f"{WORDS.get(self.law, self.law)} {self.dtype}" + (f" ({self.way})" if self.way != "code" else "")
        if self.law == "kept":
            return f"keeps {self.got:g} bytes per element for backward, where {self.want:g} do"
        off = "not a number" if math.isnan(self.got) else f"{self.units:.3g} units off"
        if math.isinf(self.units) and not math.isnan(self.got):
            off = "lost"
        many = f", {self.beyond} of {self.points} inputs" if self.beyond > 1 else ""
        return f"{what} at x = {self.x:.9g}: got {self.got:.9g}, exact {self.want:.9g} ({off}{many})"


@dataclass(frozen=True)
class Certificate:
    """Every law a subject was held to. ``reference`` says against what; ``formula`` is empty for code that has none.

    ``stable`` is the form Ogive's rewriting proposes when code fails and another form of it does not.
    """

    label: str
    formula: str
    reference: str
    digest: str
    findings: tuple[Finding, ...] = ()
    stable: str = ""
    note: str = ""

    @property
    def failures(self) -> tuple[Finding, ...]:
        """What does not hold and is not a declared exception."""
        return tuple(f for f in self.findings if not f.holds and not f.excepted)

    @property
    def exceptions(self) -> tuple[Finding, ...]:
        """What does not hold and was declared not to."""
        return tuple(f for f in self.findings if not f.holds and f.excepted)

    @property
    def passed(self) -> bool:
        """Whether every law holds, declared exceptions aside."""
        return not self.failures

    def worst(self, law: str, dtype: str) -> float:
        """The largest error of ``law`` in ``dtype`` over all ways, in units."""
        return max((f.units for f in self.findings if (f.law, f.dtype) == (law, dtype)), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON (no infinity, no NaN)."""
        return {**asdict(self), "passed": self.passed,
                "findings": [{k: _plain(v) for k, v in asdict(f).items()} | {"holds": f.holds} for f in self.findings],
                }  # fmt: skip

    def __str__(self) -> str:
        lines = [f"{self.label}: {'passes' if self.passed else 'FAILS'}"]
        if self.formula and self.formula != self.label:
            lines.append(f"  formula    {self.formula}")
        lines.append(f"  against    {self.reference}")
        if self.note:
            lines.append(f"  note       {self.note}")
        dtypes = list(dict.fromkeys(f.dtype for f in self.findings if f.law in ORDERS))
        if dtypes:
            lines.append("  worst      " + "".join(f"{d:>12}" for d in dtypes) + "   ulp")
            for law in ORDERS:
                row = [self.worst(law, d) for d in dtypes]
                lines.append(f"    {WORDS[law]:<9}" + "".join(f"{_units(u):>12}" for u in row))
        for f, others in _grouped(self.failures):
            lines += _entry("FAILS", f.text + (f"; likewise {others}" if others else ""))
            lines += _entry("", f.why) if f.why else []
        for f, others in _grouped(self.exceptions):
            lines += _entry("excepted", f"{f.text}{f'; likewise {others}' if others else ''}: {f.excepted}")
        lines += _entry("instead", self.stable) if self.stable else []
        return "\n".join(lines)


_FIRST = ("float32", "bfloat16", "float16", "float64")  # the dtype told in full


def _grouped(findings: Iterable[Finding]) -> Iterator[tuple[Finding, str]]:
    """One finding of each law and the other dtypes and ways it fails in."""
    laws: dict[tuple[str, bool], list[Finding]] = {}
    for f in findings:
        laws.setdefault((f.law, f.law == "infinity" and f.x > 0), []).append(f)
    for group in laws.values():
        group.sort(key=lambda f: _FIRST.index(f.dtype) if f.dtype in _FIRST else len(_FIRST))
        others = dict.fromkeys(f.dtype for f in group if f.dtype != group[0].dtype)
        yield group[0], ", ".join(others)


def _entry(head: str, text: str) -> list[str]:
    """A line of the sheet, wrapped to 80 columns under its head."""
    wrapped = textwrap.wrap(text, 80 - 13, break_long_words=False, break_on_hyphens=False) or [""]
    return [f"  {head:<11}{wrapped[0]}", *(f"{'':13}{line}" for line in wrapped[1:])]


def _units(u: float) -> str:
    return "lost" if math.isinf(u) else f"{u:.2g}"


def _plain(v: Any) -> Any:
    return v if not isinstance(v, float) or math.isfinite(v) else str(v)

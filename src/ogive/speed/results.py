"""What a run of `ogive speed` found: rows of times, bytes kept, what could not be timed; and its JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

SCHEMA = 1


@dataclass(frozen=True)
class Row:
    """One contender in one group. ``multiple`` is seconds over the floor's; ``floor`` names what was the floor;
    ``primitives`` counts the operations of the formula for one element. Trouble is "", "noisy" or "preempted",
    of the row or of its floor."""

    function: str
    dtype: str
    size: int
    direction: str
    contender: str
    output: str
    timed: str
    seconds: float
    floor: str
    floor_seconds: float
    multiple: float
    primitives: int
    noise: float
    rounds: int
    discarded: int
    trouble: str = ""

    @property
    def elements(self) -> str:
        """The size for a reader.

        >>> short(20_000_000)
        '2e7'
        """
        return short(self.size)


def short(size: int) -> str:
    """A size as people write it: 100, 1e6, 2e7."""
    text = f"{size:e}"
    mantissa, _, power = text.partition("e")
    digits = mantissa.rstrip("0").rstrip(".")
    return f"{digits}e{int(power)}" if size >= 10_000 and len(digits) <= 3 else str(size)


@dataclass(frozen=True)
class Saved:
    """What autograd keeps for backward: bytes an element beyond inputs and output, and whether it keeps the
    output as well (which the next layer usually keeps anyway)."""

    function: str
    dtype: str
    contender: str
    bytes: float
    output: bool


@dataclass(frozen=True)
class Machine:
    """Where it ran. ``peak`` is the operations a second of a float32 matrix product, a roof over all formulas."""

    device: str
    name: str
    threads: int
    capability: str
    torch: str
    ogive: str
    peak: float


@dataclass(frozen=True)
class Report:
    """All of one run; ``skipped`` says what could not be timed and why; ``stopped``: the user ended it early."""

    machine: Machine
    rows: tuple[Row, ...]
    saved: tuple[Saved, ...] = ()
    skipped: tuple[str, ...] = ()
    stopped: bool = False
    command: str = ""
    _index: dict[tuple[Any, ...], Row] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for r in self.rows:
            self._index[r.function, r.dtype, r.size, r.direction, r.contender, r.output] = r

    def row(self, function: str, dtype: str, size: int, direction: str, contender: str, output: str) -> Row | None:
        """The row of one contender, None where there is none."""
        return self._index.get((function, dtype, size, direction, contender, output))

    def best(self, function: str, dtype: str, size: int, direction: str, contender: str = "ogive") -> Row | None:
        """The row into a given tensor where there is one, else the one that allocates."""
        at = (function, dtype, size, direction, contender)
        return self.row(*at, "preallocated") or self.row(*at, "fresh")

    def faster(self, function: str, dtype: str, size: int, direction: str, contender: str) -> float | None:
        """How many times as long ``contender`` takes as Ogive, both writing to the same kind of place: given
        tensors if both can, else fresh ones."""
        at = (function, dtype, size, direction)
        for output in ("preallocated", "fresh"):
            mine, other = self.row(*at, "ogive", output), self.row(*at, contender, output)
            if mine is not None and other is not None:
                return other.seconds / mine.seconds
        return None

    def functions(self) -> list[str]:
        """The functions in the order they were timed."""
        return list(dict.fromkeys(r.function for r in self.rows))

    def panels(self) -> list[tuple[str, int]]:
        """Pairs of dtype and size in the order they were timed."""
        return sorted(dict.fromkeys((r.dtype, r.size) for r in self.rows), key=lambda p: p[1])

    def kept(self, function: str, dtype: str, contender: str = "ogive") -> Saved | None:
        """What autograd keeps, None where it was not measured."""
        match = (s for s in self.saved if (s.function, s.dtype, s.contender) == (function, dtype, contender))
        return next(match, None)

    def to_dict(self) -> dict[str, Any]:
        """Numbers and text only; ``schema`` counts changes of the layout, ``targets`` are the shares of this run."""
        from ogive.speed.targets import shares

        return {
            "schema": SCHEMA, "command": self.command, "machine": asdict(self.machine),
            "rows": [asdict(r) for r in self.rows], "saved": [asdict(s) for s in self.saved],
            "skipped": list(self.skipped), "stopped": self.stopped, "targets": [s.to_dict() for s in shares(self)],
        }  # fmt: skip

    def save(self, path: str | Path) -> Path:
        """Write it as JSON."""
        target = Path(path)
        target.write_text(json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return target


def worst_trouble(*troubles: str) -> str:
    """The most serious of some troubles."""
    return next((t for t in ("preempted", "noisy") if t in troubles), "")

"""The aims of the kernels as ratios, and the share of functions inside each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ogive.speed.results import Report, Row

# A function, what tells its measurements apart, and the value.
Found = Iterator[tuple[str, str, float]]


@dataclass(frozen=True)
class Share:
    """How many functions of ``of`` meet a target at least and as aimed; ``worst`` names the farthest off.

    ``most`` says the direction: True where values must be no larger than the bounds."""

    title: str
    unit: str
    most: bool
    least: float
    aim: float
    of: int
    within: int
    aimed: int
    worst: tuple[tuple[str, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def _multiples(report: Report, dtypes: tuple[str, ...], size: int, direction: str) -> Found:
    rows = {(r.function, r.dtype) for r in report.rows if r.dtype in dtypes and r.size == size}
    for function, dtype in sorted(rows):
        row = report.best(function, dtype, size, direction)
        if row is not None and "+" not in row.floor and (direction, row.floor) != ("forward", "add"):  # scalar
            yield function, "" if len(dtypes) == 1 else dtype, row.multiple


def _against(report: Report, contender: str, direction: str, smallest: int = 1000, only: str = "") -> Found:
    for r in _once(report.rows):
        if r.direction != direction or r.size < smallest or (only and r.function != only):
            continue
        ratio = report.faster(r.function, r.dtype, r.size, direction, contender)
        if ratio is not None:
            yield r.function, f"{r.dtype} {r.elements}", ratio


def _every(report: Report, contender: str) -> Found:
    for direction in ("forward", "backward", "both"):
        for function, where, ratio in _against(report, contender, direction):
            yield function, f"{where} {direction}", ratio


def _overhead(report: Report) -> Found:
    for r in _once(report.rows):
        if r.size == 100 and r.direction == "both":
            ratio = report.faster(r.function, r.dtype, 100, "both", "native")
            if ratio is not None:
                yield r.function, r.dtype, 1.0 / ratio


def _once(rows: tuple[Row, ...]) -> Iterator[Row]:
    yield from {(r.function, r.dtype, r.size, r.direction): r for r in rows}.values()


def _share(title: str, unit: str, most: bool, least: float, aim: float, found: Found) -> Share | None:
    """Of single measurements to functions: one is inside when all its measurements are."""
    values = list(found)
    if not values:
        return None
    by: dict[str, list[float]] = {}
    for function, _, value in values:
        by.setdefault(function, []).append(value)
    inside: Callable[[float, float], bool] = (lambda v, b: v <= b) if most else (lambda v, b: v >= b)
    within = sum(all(inside(v, least) for v in vs) for vs in by.values())
    aimed = sum(all(inside(v, aim) for v in vs) for vs in by.values())
    missed = [(f"{f} {where}".strip(), value) for f, where, value in values if not inside(value, aim)]
    missed.sort(key=lambda lv: -lv[1] if most else lv[1])
    return Share(title, unit, most, least, aim, len(by), within, aimed, tuple(missed[:5]))


def shares(report: Report) -> list[Share]:
    """The targets that ``report`` has measurements for, in the order of the list below."""
    cuda = report.machine.device == "cuda"
    half = ("bfloat16", "float16")
    m, a = _multiples, _against
    made: list[Share | None] = []
    if cuda:
        size = max((r.size for r in report.rows if r.dtype == "bfloat16"), default=0)
        for direction, floor in (("forward", "copy_"), ("backward", "add")):
            found = m(report, ("bfloat16",), size, direction)
            made.append(_share(f"bfloat16 {direction}", floor, True, 1 / 0.88, 1 / 0.93, found))
    else:
        made += [
            _share("float32 forward, 1e6", "copy_", True, 2.5, 1.5, m(report, ("float32",), 1_000_000, "forward")),
            _share("float32 forward, 2e7", "copy_", True, 1.5, 1.1, m(report, ("float32",), 20_000_000, "forward")),
            _share("float32 backward, 1e6", "add", True, 3.0, 2.0, m(report, ("float32",), 1_000_000, "backward")),
            _share("float32 backward, 2e7", "add", True, 2.0, 1.2, m(report, ("float32",), 20_000_000, "backward")),
            _share("16-bit forward, 1e6", "copy_", True, 3.0, 2.0, m(report, half, 1_000_000, "forward")),
            _share("16-bit forward, 2e7", "copy_", True, 3.0, 2.0, m(report, half, 20_000_000, "forward")),
        ]
    made += [
        _share("against torch native", "times", False, 1 / 1.05, 1.0, _every(report, "native")),
        *(
            _share(f"{name} against native", "times", False, 1 / 1.05, aim, a(report, "native", "forward", only=name))
            for name, aim in (("mish", 10.0), ("gelu_tanh", 4.5), ("silu", 1.4))
        ),
        _share("against torch.compile", "times", False, 1.0, 2.0, _every(report, "compiled")),
        _share("forward + backward, eager", "times", False, 3.0, 6.0, a(report, "eager", "both")),
        _share("SwiGLU fwd + bwd, eager", "times", False, 1.9, 2.5, a(report, "eager", "both", only="swiglu")),
        _share("overhead at 100 elements", "native", True, 2.5, 1.5, _overhead(report)),
        _share("bytes kept beyond x", "bytes", True, 0.0, 0.0, iter(
            [(s.function, s.dtype, s.bytes) for s in report.saved if s.contender == "ogive"]
        )),
    ]  # fmt: skip
    return [s for s in made if s is not None]


def geometric_mean(report: Report, contender: str) -> float | None:
    """The geometric mean of how many times as long ``contender`` takes; None without a measurement."""
    ratios = [ratio for _, _, ratio in _every(report, contender)]
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None

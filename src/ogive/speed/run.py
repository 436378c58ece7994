"""A run: every function, dtype, size and direction in turn, until done or until the user has seen enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ogive.activation import Activation
from ogive.errors import InputError, closest
from ogive.speed.cases import DIRECTIONS, Case, Operands, compiled_textbook
from ogive.speed.formulas import TWELVE, subject
from ogive.speed.machine import machine, threads
from ogive.speed.measure import interleaved, sampler_for
from ogive.speed.results import Report, Row, Saved, worst_trouble
from ogive.speed.saved import first_line, kept

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}
LARGEST = 2**31
_FLOOR = "floor"


@dataclass(frozen=True)
class Request:
    """What to time: checked specs, dtypes by name, sizes in elements, directions.

    ``threads`` 0 means all processors; ``seconds`` is the measuring time of one group's pass; ``compile``
    adds torch.compile of the textbook formula (seconds for each function, dtype and size)."""

    specs: tuple[str, ...] = TWELVE
    dtypes: tuple[str, ...] = ("float32", "bfloat16", "float16")
    sizes: tuple[int, ...] = (100, 1_000_000, 20_000_000)
    directions: tuple[str, ...] = DIRECTIONS
    device: str = "cpu"
    threads: int = 1
    compile: bool = False
    seconds: float = 0.5

    def __post_init__(self) -> None:
        for what, given, known in (("dtype", self.dtypes, DTYPES), ("direction", self.directions, DIRECTIONS)):
            for value in given:
                if value not in known:
                    near = closest(value, known, 1)[0]
                    raise InputError(f"{what} {value!r}: it takes {', '.join(known)}; did you mean {near!r}?")
        for size in self.sizes:
            if not 1 <= size < LARGEST:
                raise InputError(f"size {size}: it takes from 1 to {LARGEST - 1} elements")
        for what, empty in (("function", self.specs), ("dtype", self.dtypes), ("size", self.sizes)):
            if not empty:
                raise InputError(f"no {what} is left to time")
        if self.threads < 0:
            raise InputError(f"threads {self.threads}: it takes a number of threads, or 0 for all")
        if not 0 < self.seconds <= 3600:
            raise InputError(f"seconds {self.seconds:g}: it takes a time of up to an hour for each group")
        self.where()
        for spec in self.specs:
            subject(spec)

    def where(self) -> torch.device:
        """The device, which must be there. Raises InputError."""
        kind, _, number = self.device.partition(":")
        if kind not in ("cpu", "cuda") or (number and not number.isdigit()) or (kind == "cpu" and number):
            raise InputError(f"device {self.device!r}: it takes cpu, cuda or cuda:0, cuda:1 ...")
        if kind == "cuda":
            count = torch.cuda.device_count() if torch.cuda.is_available() else 0
            if not count:
                raise InputError(
                    f"device {self.device!r}: this torch ({torch.__version__}) sees no CUDA device; use cpu"
                )
            if int(number or 0) >= count:
                raise InputError(f"device {self.device!r}: there are {count} CUDA devices, cuda:0 to cuda:{count - 1}")
        return torch.device(self.device)

    @property
    def groups(self) -> int:
        """How many groups there are to time."""
        return len(self.specs) * len(self.dtypes) * len(self.sizes) * len(self.directions)


Watch = Callable[[str, "Row | None"], None]


def run(request: Request, watch: Watch = lambda what, row: None, command: str = "") -> Report:
    """Time all of ``request``; an interrupt (Ctrl-C) ends it and keeps what was measured.

    ``watch(what, None)`` is called before each group and ``watch(what, row)`` with every finished row.
    """
    rows: list[Row] = []
    saved: list[Saved] = []
    skipped: list[str] = []
    stopped = False
    device = request.where()
    with threads(request.threads) as count:
        where = machine(device, count)
        try:
            _all(request, device, rows, saved, skipped, watch)
        except KeyboardInterrupt:
            stopped = True
    return Report(where, tuple(rows), tuple(saved), tuple(dict.fromkeys(skipped)), stopped, command)


def _all(
    request: Request, device: torch.device, rows: list[Row], saved: list[Saved], skipped: list[str], watch: Watch
) -> None:
    acts = list({act.label: act for act in map(subject, request.specs)}.values())  # a name and its alias once
    for act in acts:
        for dtype in request.dtypes:
            saved += kept(act, dtype, DTYPES[dtype], device, skipped)
    for size in sorted(set(request.sizes)):
        for dtype in request.dtypes:
            operands = Operands.make(size, DTYPES[dtype], device)
            for act in acts:
                built = compiled_textbook(act) if request.compile else None
                case = Case(act, operands, built)
                for direction in request.directions:
                    watch(f"{act.label} {dtype} {direction}", None)
                    for row in group(case, dtype, size, direction, request.seconds, skipped):
                        rows.append(row)
                        watch(act.label, row)
                if built is not None:
                    torch._dynamo.reset()


def group(case: Case, dtype: str, size: int, direction: str, seconds: float, skipped: list[str]) -> list[Row]:
    """The rows of one group; a contender that fails is left out and said in ``skipped``."""
    label = case.act.label
    floor, text = case.floor(direction)
    runs: dict[str, Callable[[], object]] = {_FLOOR: floor}
    found = {}
    for c in case.contenders(direction):
        try:
            c.run()
        except Exception as problem:  # whatever a compiler or a missing kernel raises: the others can still be timed
            skipped.append(f"{label}, {dtype}, {direction}, {c.name}: {first_line(problem)}")
            continue
        found[f"{c.name} {c.output}"] = c
        runs[f"{c.name} {c.output}"] = c.run
    timings = interleaved(runs, sampler_for(case.on.out.device), seconds)
    base = timings[_FLOOR]
    primitives = _primitives(case.act, direction)
    return [
        Row(label, dtype, size, direction, c.name, c.output, c.timed, timings[key].seconds, text, base.seconds,
            timings[key].seconds / base.seconds, primitives, timings[key].noise, timings[key].rounds,
            timings[key].discarded, worst_trouble(timings[key].trouble, base.trouble))
        for key, c in found.items()
    ]  # fmt: skip


def _primitives(act: Activation, direction: str) -> int:
    form = act.form
    forward = len(form.program.steps)
    backward = sum(len(form.vjp(i).program.steps) for i in range(len(act.inputs)))
    return {"forward": forward, "backward": backward, "both": forward + backward}[direction]

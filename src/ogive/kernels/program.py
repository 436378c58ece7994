"""A tree as a straight-line program on tensors, with the hazards of floating point found beforehand.

Two hazards survive a stable formula. Inside a product of a chain rule one factor can overflow where another
has already vanished (exp(x) * sech2(exp(x)) at 1000 is inf * 0), and at x = +-inf an indeterminate form
arises where the limit exists (-inf * sigmoid(-inf)). Both are found once per formula by running it on a probe
that spans the doubles; only the products and ends that need it pay for the cure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ogive.expr import Expr
from ogive.ops import OPS
from ogive.stable import mul_saturated

# The stand-in for infinity: far enough to reach the limit, near enough that its powers stay finite.
FAR = 1e60
_FAR = {torch.float64: FAR, torch.float32: 1e12, torch.bfloat16: 1e12, torch.float16: 1e3}
_ROUND_FAR_TO_INF = (torch.float32, torch.bfloat16, torch.float16)


_numbers: dict[tuple[float, torch.dtype, torch.device], Tensor] = {}


def number(value: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """``value`` as a 0-d tensor, kept: making one costs as much as adding two small tensors."""
    key = (value, dtype, device)
    found = _numbers.get(key)
    if found is None or torch._C._len_torch_dispatch_stack():  # under a mode, its own kind of tensor
        found = torch.tensor(value, dtype=dtype, device=device)
        if type(found) is Tensor and not found.is_inference() and len(_numbers) < 4096:
            _numbers[key] = found
    return found


@dataclass(frozen=True)
class Step:
    """One primitive: reads slots, appends one; ``drop`` lists the slots nobody reads later."""

    name: str
    run: Callable[..., Any]
    reads: tuple[int, ...]
    extra: tuple[int, ...]
    drop: tuple[int, ...]


@dataclass(frozen=True)
class Program:
    """``steps`` over slots laid out as constants, then inputs, then results. ``far`` says for +inf and -inf
    whether the input is replaced by +-FAR to reach the limit."""

    names: tuple[str, ...]
    constants: tuple[float, ...]
    steps: tuple[Step, ...]
    result: int
    far: tuple[bool, bool] = (False, False)
    propagate_nan: bool = False

    def run(self, inputs: Sequence[Tensor], dtype: torch.dtype, final: torch.dtype | None = None) -> Tensor:
        """Evaluate on tensors already in ``dtype``, broadcast together; ``final`` is what the caller rounds to."""
        x = inputs[0] if inputs else None
        if x is not None and any(self.far):
            inf, far = float("inf"), _FAR[dtype]
            near = torch.nan_to_num(
                x, nan=float("nan"), posinf=far if self.far[0] else inf, neginf=-far if self.far[1] else -inf
            )
            inputs = (near, *inputs[1:])
        y = self.run_steps(inputs, dtype)
        if x is not None:
            if any(self.far) and not (dtype == torch.float64 and final in _ROUND_FAR_TO_INF):
                huge = torch.logical_and(torch.isinf(x), torch.abs(y) > _FAR[dtype] ** 0.5)
                y = torch.where(huge, y * float("inf"), y)
            if self.propagate_nan:
                y = torch.where(torch.isnan(x), x, y)
        return y

    def run_steps(
        self, inputs: Sequence[Tensor], dtype: torch.dtype, watch: Callable[..., None] | None = None
    ) -> Tensor:
        slots: list[Any] = [*self.constants, *inputs]
        device = inputs[0].device if inputs else torch.device("cpu")
        for step in self.steps:
            args = [slots[i] for i in step.reads]
            if step.name == "where":  # two numbers alone would come out in the default dtype
                args[1:] = [a if isinstance(a, Tensor) else number(a, dtype, device) for a in args[1:]]
            value = step.run(*args, *step.extra)
            if watch is not None:
                watch(len(slots), args, value)
            slots.append(value)
            for i in step.drop:
                slots[i] = None
        y = slots[self.result]
        return y if isinstance(y, Tensor) else torch.full_like(inputs[0], y)


def _lay_out(expr: Expr, names: tuple[str, ...]) -> Program:
    nodes = list(expr.walk())
    folded: dict[Expr, float] = {}
    for n in nodes:  # subtrees of constants are numbers
        if n.op == "const":
            folded[n] = float(n.data)  # type: ignore[arg-type]
        elif n.args and all(a in folded for a in n.args) and n.op not in ("gt", "ge", "where"):
            extra = () if n.data is None else (n.data,)
            wide = [torch.tensor(folded[a], dtype=torch.float64) for a in n.args]
            folded[n] = float(OPS[n.op].torch(*wide, *extra).item())
    work = [n for n in nodes if n.args and n not in folded]
    used = {a for n in work for a in n.args} | {expr}
    constants = [n for n in nodes if n in folded and n in used]
    slot: dict[Expr, int] = {n: i for i, n in enumerate(constants)}
    for i, name in enumerate(names):
        slot[Expr("var", (), name)] = len(constants) + i
    base = len(constants) + len(names)
    for i, n in enumerate(work):
        slot[n] = base + i
    last: dict[int, int] = {}
    for i, n in enumerate(work):
        for a in n.args:
            last[slot[a]] = i
    steps = tuple(
        Step(
            n.op,
            OPS[n.op].torch,
            tuple(slot[a] for a in n.args),
            () if n.data is None else (int(n.data),),
            tuple({slot[a] for a in n.args if last[slot[a]] == i and slot[a] >= base}),
        )
        for i, n in enumerate(work)
    )
    return Program(names, tuple(folded[n] for n in constants), steps, slot[expr])


def _probe() -> Tensor:
    decades = torch.tensor([10.0**k for k in range(-300, 301, 4)], dtype=torch.float64)
    near = torch.linspace(0.0, 800.0, 1601, dtype=torch.float64)
    last = torch.tensor([1e304, 1e307, 1.7e308], dtype=torch.float64)  # float32 meets its own end at 3e38
    half = torch.cat([near, decades, last])
    return torch.cat([half, -half])


@lru_cache(maxsize=4096)
def compile_program(expr: Expr, names: tuple[str, ...], defaults: tuple[float, ...]) -> Program:
    """The program of ``expr`` over ``names``; ``defaults`` are the values the probe gives to all but the first."""
    # A fresh thread has none of the caller's modes: autocast, default device, fake tensors, transforms.
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(_compile, expr, names, defaults).result()


def _compile(expr: Expr, names: tuple[str, ...], defaults: tuple[float, ...]) -> Program:
    program = _lay_out(expr, names)
    if not names:
        return program
    others = [torch.tensor(v, dtype=torch.float64) for v in defaults]
    base = len(program.constants) + len(names)
    hazards: set[int] = set()

    def watch(slot: int, args: Sequence[Any], value: Tensor) -> None:
        if program.steps[slot - base].name == "mul":
            clean = [~torch.isnan(a) if isinstance(a, Tensor) else torch.tensor(True) for a in args]
            if bool((torch.isnan(value) & clean[0] & clean[1]).any()):
                hazards.add(slot - base)

    # A guarded product changes what later products see: repeat until no new hazard appears.
    while True:
        known = len(hazards)
        program.run_steps([_probe(), *others], torch.float64, watch)
        if len(hazards) == known:
            break
        program = replace(
            program,
            steps=tuple(replace(s, run=mul_saturated) if i in hazards else s for i, s in enumerate(program.steps)),
        )
    far, nan = _ends(program, others)
    return replace(program, far=far, propagate_nan=nan)


def _ends(program: Program, others: list[Tensor]) -> tuple[tuple[bool, bool], bool]:
    inf = float("inf")
    ends = torch.tensor([inf, -inf, float("nan")], dtype=torch.float64)
    at = program.run_steps([ends, *others], torch.float64).expand(3)
    broken = [bool(torch.isnan(at[i])) for i in (0, 1)]
    far = [False, False]
    if any(broken):
        for i, s in ((0, 1.0), (1, -1.0)):
            path = torch.tensor([s * 1e15, s * 1e30, s * 3.7e45, s * FAR], dtype=torch.float64)
            v = program.run_steps([path, *others], torch.float64).expand(4)
            step = program.run_steps([1.37 * path, *others], torch.float64).expand(4) / v
            # a power law grows or fades by the same factor over every such step; x*sin(x) does not
            grows = bool(
                (v[1:].abs() > 1e3 * v[:-1].abs()).all() and (step - step[0]).abs().max() < 1e-3 * step[0].abs()
            )
            fades = bool(
                (v[1:].abs() < 1e-3 * v[:-1].abs()).all() and (step - step[0]).abs().max() < 1e-3 * step[0].abs()
            )
            settles = bool((v[2:] - v[1:-1]).abs().max() <= 1e-9 * v.abs().max())
            far[i] = grows or fades or (settles and bool(torch.isfinite(v).all()))
    return (far[0], far[1]), not bool(torch.isnan(at[2]))

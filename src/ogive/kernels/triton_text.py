"""The text of a Triton kernel for one or several programs over the same inputs.

One flat pass: every program instance takes BLOCK consecutive elements in storage order, loads each input once,
runs the straight-line programs in float32 (float64 for doubles) and stores each result. What a program holds is
numbers and operations; names are generated here, so no text of a formula's author reaches the compiler.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from ogive.kernels.program import FAR, Program, Step
from ogive.stable import mul_saturated


@dataclass(frozen=True)
class Layout:
    """What a kernel is made for: one of "data" (a full tensor), "scalar" (one number), "channel" (one number per
    channel) for every input; ``double`` arithmetic; ``exact`` float32 digits, or those of 16 bits."""

    kinds: tuple[str, ...]
    double: bool = False
    exact: bool = True


# One line per primitive; {e} is whether the result needs all digits of float32.
_TEXT: dict[str, str] = {
    "add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}", "div": "{0} / {1}", "neg": "-{0}",
    "abs": "tl.abs({0})", "floor": "tl.floor({0})", "gt": "{0} > {1}", "ge": "{0} >= {1}",
    "where": "tl.where({0}, {1}, {2})", "sqrt": "tl.sqrt({0})", "sin": "tl.sin({0})", "cos": "tl.cos({0})",
    "erf": "tl.erf({0})", "sign": "m.sign({0})", "round": "m.nearest({0})", "maximum": "m.most({0}, {1})",
    "minimum": "m.least({0}, {1})", "log": "m.log({0})", "log1p": "m.log1p({0})",
    **{k: f"m.{k}({{0}}, {{e}})" for k in ("exp", "expm1", "sigmoid", "sech2", "softplus", "tanh", "sinh", "cosh",
                                           "logcosh", "tanhshrink")},
    **{k: f"s.{k}({{0}}, {{e}})" for k in ("erfc", "Phi", "phi")},
    **{k: f"s.{k}({{0}})" for k in ("tan", "atan", "hypot1", "asinh", "hypotm1", "isru", "sqp", "sqp1")},
    "softsign": "{0} / (1.0 + tl.abs({0}))", "xlogy": "s.xlogy({0}, {1})", "pow": "s.power({0}, {1})",
}  # fmt: skip


def number_text(value: float, double: bool) -> str:
    """``value`` as the compute type has it, in the shortest decimal that reads back."""
    if not double:
        try:
            value = struct.unpack("f", struct.pack("f", value))[0]
        except OverflowError:
            value = math.copysign(math.inf, value)
    return repr(value) if math.isfinite(value) else f'float("{value}")'


def source(programs: Sequence[Program], layout: Layout) -> str:
    """The module that computes ``programs``, which have the same inputs; its kernel is called ``kernel``.

    The kernel takes the outputs, the inputs, per channel-wise input the distance between channels and their
    number, then the range of elements.
    """
    wide = "tl.float64" if layout.double else "tl.float32"
    shape = [f"inner{i}, size{i}" for i, kind in enumerate(layout.kinds) if kind == "channel"]
    pointers = [f"o{i}" for i in range(len(programs))] + [f"p{i}" for i in range(len(layout.kinds))]
    signature = ", ".join([*pointers, *shape, "start", "end", "BLOCK: tl.constexpr", "WIDE: tl.constexpr"])
    body = [
        "first = tl.program_id(0)",
        "if WIDE:",
        "    first = first.to(tl.int64)",
        "at = start + first * BLOCK + tl.arange(0, BLOCK)",
        "keep = at < end",
    ]
    for i, kind in enumerate(layout.kinds):
        where = {"data": f"p{i} + at, mask=keep, other=0.0", "scalar": f"p{i}"}.get(
            kind, f"p{i} + (at // inner{i}) % size{i}, mask=keep, other=0.0"
        )
        body.append(f"x{i} = tl.load({where}).to({wide})")
    for k, program in enumerate(programs):
        lines, result = _lines(program, f"{'abcdefgh'[k]}", layout, wide)
        body += [*lines, f"tl.store(o{k} + at, ({result}).to(o{k}.dtype.element_ty), mask=keep)"]
    text = "\n".join("    " + line for line in body)
    imports = ["import triton", "import triton.language as tl", "from ogive.kernels import triton_math as m",
               "from ogive.kernels import triton_special as s"]  # fmt: skip
    return "\n".join([*imports, "", "", "@triton.jit", f"def kernel({signature}):", text, ""])


def _lines(program: Program, tag: str, layout: Layout, wide: str) -> tuple[list[str], str]:
    """The body of one program and the name of its result."""
    lines: list[str] = []
    slots = [f"{tag}k{i}" for i in range(len(program.constants))]
    for name, value in zip(slots, program.constants):
        lines.append(f"{name} = tl.full([], {number_text(value, layout.double)}, {wide})")
    inputs = [f"x{i}" for i in range(len(layout.kinds))]
    spread = {f"x{i}" for i, kind in enumerate(layout.kinds) if kind != "scalar"}
    far = FAR if layout.double else 1e12
    if any(program.far):
        for side, sign in zip(program.far, ("", "-")):
            if side:
                before = inputs[0] if inputs[0] == "x0" else f"{tag}far"
                lines.append(f'{tag}far = tl.where({before} == float("{sign}inf"), {sign}{far!r}, {before})')
                inputs = [f"{tag}far", *inputs[1:]]
        if "x0" in spread:
            spread.add(f"{tag}far")
    slots += inputs
    for i, step in enumerate(program.steps):
        name = f"{tag}{i}"
        args = [slots[r] for r in step.reads]
        if spread & set(args):
            spread.add(name)
        lines += _step(step, name, args, program, layout)
        slots.append(name)
    result = slots[program.result]
    if any(program.far):  # at infinity a power law has reached infinity or zero
        lines += [
            f'{tag}end = tl.abs(x0) == float("inf")',
            f'{tag}huge = tl.where({tag}end & (tl.abs({result}) > {far**0.5!r}), {result} * float("inf"), {result})',
            f"{tag}lim = tl.where({tag}end & (tl.abs({result}) < {far**-0.5!r}), {result} * 0.0, {tag}huge)",
        ]
        spread.add(f"{tag}lim")
        result = f"{tag}lim"
    if program.propagate_nan:
        lines.append(f"{tag}nan = tl.where(x0 != x0, x0, {result})")
        spread.add(f"{tag}nan")
        result = f"{tag}nan"
    return lines, result if result in spread else f"tl.zeros([BLOCK], {wide}) + {result}"


def _step(step: Step, name: str, args: list[str], program: Program, layout: Layout) -> list[str]:
    if step.run is mul_saturated:
        return [f"{name} = m.times({args[0]}, {args[1]})"]
    if step.name == "sinc":
        return _sinc(name, args[0], step.extra[0])
    if step.name == "pow":
        at = step.reads[1]
        exponent = program.constants[at] if at < len(program.constants) else math.nan
        if exponent == 0.5:
            return [f"{name} = tl.sqrt({args[0]})"]
        if exponent.is_integer() and 1 <= abs(exponent) <= 16:
            return _whole_power(name, args[0], int(exponent))
    return [f"{name} = " + _TEXT[step.name].format(*args, e=layout.exact)]


def _whole_power(name: str, base: str, exponent: int) -> list[str]:
    # square and multiply: the bits of the exponent from the top
    lines, current = [], base
    for k, bit in enumerate(bin(abs(exponent))[3:]):
        lines.append(f"{name}_{k} = {current} * {current}" + (f" * {base}" if bit == "1" else ""))
        current = f"{name}_{k}"
    return [*lines, f"{name} = 1.0 / {current}" if exponent < 0 else f"{name} = {current}"]


def _sinc(name: str, x: str, order: int) -> list[str]:
    """Derivatives of sin(x)/x as :func:`ogive.stable.sinc` takes them: a series near 0, a recurrence beyond."""
    edge = 2.0 + order
    parity = order % 2
    first = (order + parity) // 2
    lines = [f"{name}n = m.least(m.most({x}, {-edge!r}), {edge!r})", f"{name}t = {name}n * {name}n", f"{name}p = 0.0"]
    for k in range(first + 18 + 2 * order, first - 1, -1):
        c = (-1) ** k * math.factorial(2 * k) / (math.factorial(2 * k - order) * math.factorial(2 * k + 1))
        lines.append(f"{name}p = {name}p * {name}t + {c!r}")
    if parity:
        lines.append(f"{name}p = {name}p * {name}n")
    lines.append(f"{name}b = tl.where(tl.abs({x}) < {edge!r}, {edge!r}, {x})")
    lines += [f"{name}s = tl.sin({name}b)", f"{name}c = tl.cos({name}b)", f"{name}v = {name}s / {name}b"]
    turns = (f"{name}s", f"{name}c", f"-{name}s", f"-{name}c")
    for n in range(1, order + 1):
        lines.append(f"{name}v = ({turns[n % 4]} - {n}.0 * {name}v) / {name}b")
    return [*lines, f"{name} = tl.where(tl.abs({x}) < {edge!r}, {name}p, {name}v)"]

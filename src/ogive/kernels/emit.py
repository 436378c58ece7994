"""Programs to C: one loop over the elements, one statement per primitive, shared by all its results.

Every identifier is generated and every constant is printed in hexadecimal, exactly; no text of a user gets
here. Arithmetic is double and rounds once per result, or float where the formula allows it (a *narrow* Form).
The layout (which inputs are arrays and of what dtype, which are scalars; which results are stored, which summed)
is part of the text, so the loop has no branches. Pointers are not `restrict`: a result may be written over its
input, and a compiler that was told otherwise reads the input again after it wrote.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ogive.kernels.program import FAR, Program
from ogive.ops import OPS
from ogive.stable import mul_saturated

NAMES = {torch.float64: "f64", torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}
_C = {"f64": "double", "f32": "float", "bf16": "og_bf16", "f16": "og_f16"}
_POWERS = {2.0: "ox_square{s}({0})", 3.0: "ox_cube{s}({0})", -1.0: "1 / {0}", -2.0: "1 / ox_square{s}({0})",
           -3.0: "1 / ox_cube{s}({0})"}  # fmt: skip
# What one primitive costs, in operations on a vector: for choosing between a formula and its fit.
_COST = {"div": 5, "sqrt": 6, "floor": 1, "round": 1}
_PLAIN = {"add", "sub", "mul", "neg", "abs", "sign", "maximum", "minimum", "gt", "ge", "where", *_COST}


@dataclass(frozen=True)
class Layout:
    """``inputs``: a dtype name for an array, ``""`` for a scalar. ``results``: a dtype name for a stored array,
    ``"sum"`` for a total. ``narrow``: float arithmetic."""

    inputs: tuple[str, ...]
    results: tuple[str, ...]
    narrow: bool = False


def cost(program: Program) -> int:
    """Vector operations of a program of plain arithmetic; 99 for each primitive that is a function."""
    total = 0
    for step in program.steps:
        if step.name == "pow":
            exponent = _constant(program, step.reads[1])
            total += {2.0: 1, 3.0: 2, -1.0: 5, -2.0: 6, -3.0: 7}.get(exponent, 99)
        else:
            total += _COST.get(step.name, 1) if step.name in _PLAIN else 99
    return total + 3 * any(program.far)


def printable(program: Program) -> bool:
    """Whether C has all its primitives: sinc is written to its fourth derivative."""
    return all(step.name != "sinc" or step.extra[0] <= 4 for step in program.steps)


def _constant(program: Program, slot: int) -> float:
    return program.constants[slot] if slot < len(program.constants) else math.nan


def _exact(program: Program) -> bool:
    """Whether every step gives one of its arguments or a short constant, so that nothing is left to round."""
    short = all(float(c * 128).is_integer() and abs(c) <= 128 for c in program.constants)
    return short and all(OPS[step.name].facts.rounds == 0 for step in program.steps)


def _number(value: float, suffix: str) -> str:
    if math.isinf(value):
        return "-__builtin_inf()" if value < 0 else "__builtin_inf()"
    if math.isnan(value):
        return '__builtin_nan("")'
    text = float(value).hex() + suffix
    return f"({text})" if value < 0 else text


def kernel_text(programs: tuple[Program, ...], layout: Layout) -> str:
    """The C of one kernel named ``og_run`` that computes all ``programs``, which share their inputs."""
    kind, s = ("float", "f") if layout.narrow else ("double", "")
    rounded = not layout.narrow and "f64" not in layout.results
    head = ["#define OG_MEDIUM"] if rounded else []
    head += ['#include "kernel.h"'] + ([] if layout.narrow else ['#include "functions.h"'])
    head += ["OG_EXPORT void og_run(const void *data, const void *const *in, const double *scalar, void *const *out,",
             "                      double *sum, long n) {"]  # fmt: skip
    arrays = [k for k, dtype in enumerate(layout.inputs) if dtype]
    for k, dtype in enumerate(layout.inputs):
        if dtype:
            head.append(f"  const {_C[dtype]} *a{k} = in[{arrays.index(k)}];")
        else:
            head.append(f"  const {kind} x{k} = scalar[{k - sum(j < k for j in arrays)}];")
    stored = [r for r, result in enumerate(layout.results) if result != "sum"]
    summed = [r for r, result in enumerate(layout.results) if result == "sum"]
    head += [f"  {_C[layout.results[r]]} *y{r} = out[{i}];" for i, r in enumerate(stored)]
    head += [f"  double s{r} = 0.0;" for r in summed]
    foot = [f"  sum[{i}] += s{r};" for i, r in enumerate(summed)]
    work = [_statements(program, r, kind, s) for r, program in enumerate(programs)]
    lines = [line for _, some in work for line in some]
    loads = [f"const {kind} x{k} = og_load_{layout.inputs[k]}(a{k}[i]);" for k in arrays]
    ends = [f"y{r}[i] = og_store_{layout.results[r]}({work[r][0]});" for r in stored]
    ends += [f"s{r} += {work[r][0]};" for r in summed]
    reduction = f" reduction(+ : {', '.join(f's{r}' for r in summed)})" if summed else ""
    pairs = layout.narrow and not summed and {layout.inputs[k] for k in arrays} | set(layout.results) == {"bf16"}
    first = _pairs(programs, work, arrays, stored) if pairs else ["  const long done = 0;"]
    loop = [f"#pragma omp simd{reduction}", "  for (long i = done; i < n; i++) {"]
    loop += [*(f"    {line}" for line in (*loads, *lines, *ends)), "  }"]
    return "\n".join([*head, *first, *loop, *foot, "}", ""])


def _pairs(
    programs: tuple[Program, ...], work: list[tuple[str, list[str]]], arrays: list[int], stored: list[int]
) -> list[str]:
    """The loop over pairs of bfloat16 numbers in one word: the odd one lies where its float does, the even one a
    shift below, so nothing is widened or narrowed. relu at 1e6: 182 us one by one."""
    loop = ["  const long done = n & ~1L;", "#pragma omp simd", "  for (long i = 0; i < done; i += 2) {"]
    loop += [f"    const uint32_t p{k} = *(const og_pair *)(a{k} + i);" for k in arrays]
    loop += [f"    uint32_t low{r}, high{r};" for r in stored]
    for half, load in (("low", "p{k} << 16"), ("high", "p{k} & 0xffff0000u")):
        body = [f"const float x{k} = og_single({load.format(k=k)});" for k in arrays]
        body += [line for _, some in work for line in some]
        for r in stored:
            value = (
                f"og_word({work[r][0]})" if _exact(programs[r]) else f"((uint32_t)og_store_bf16({work[r][0]}) << 16)"
            )
            body.append(f"{half}{r} = {value}{' >> 16' if half == 'low' else ' & 0xffff0000u'};")
        loop += ["    {", *(f"      {line}" for line in body), "    }"]
    return [*loop, *(f"    *(og_pair *)(y{r} + i) = low{r} | high{r};" for r in stored), "  }"]


def _statements(program: Program, r: int, kind: str, s: str) -> tuple[str, list[str]]:
    """(name of the result, statements) of one program; ``r`` keeps the names of several apart."""
    base = len(program.constants)
    lines: list[str] = []
    slots = [_number(c, s) for c in program.constants] + [f"x{k}" for k in range(len(program.names))]
    if any(program.far):
        near = "x0"
        for reached, far in zip(program.far, (FAR, -FAR)):
            if reached:
                limit = "__builtin_inf()" if far > 0 else "-__builtin_inf()"
                near = f"(x0 == {limit} ? {_number(far, s)} : {near})"
        lines.append(f"const {kind} n{r} = {near};")
        slots[base] = f"n{r}"
    for k, step in enumerate(program.steps):
        reads = [slots[i] for i in step.reads]
        template = OPS[step.name].kernel
        if step.run is mul_saturated:
            template = "ox_mulsat{s}({0}, {1})"
        elif step.name == "pow":
            template = _POWERS.get(_constant(program, step.reads[1]), template)
        data = step.extra[0] if step.extra else ""
        name = f"v{r}_{k}"
        # as wide as the numbers it chooses between, or gcc does not vectorise the choice
        to = ("int32_t" if s else "int64_t") if step.name in ("gt", "ge") else kind
        lines.append(f"const {to} {name} = {template.format(*reads, s=s, data=data)};")
        slots.append(name)
    value = slots[program.result]
    if any(program.far):
        lines.append(
            f"const {kind} h{r} = x0 - x0 != 0 && x0 == x0 && ox_abs{s}({value}) > {_number(FAR**0.5, s)} "
            f"? {value} * __builtin_inf() : {value};"
        )
        value = f"h{r}"
    if program.propagate_nan:
        lines.append(f"const {kind} w{r} = x0 != x0 ? x0 : {value};")
        value = f"w{r}"
    return value, lines

"""Programs to C: one loop over the elements, one statement per primitive, shared by all its results.

Every identifier is generated and every constant is printed in hexadecimal, exactly; no text of a user gets
here. Arithmetic is double and rounds once per result, or float where the formula allows it (a *narrow* Form).
The layout (which inputs are arrays and of what dtype, which are scalars; which results are stored, summed or
added to an array) is part of the text, so the loop has no branches.
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
    ``"sum"`` for a total, ``"acc"`` for a double array that is added to. ``narrow``: float arithmetic."""

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
    body: list[str] = []
    arrays = scalars = 0
    for k, dtype in enumerate(layout.inputs):
        if dtype:
            head.append(f"  const {_C[dtype]} *restrict a{k} = in[{arrays}];")
            body.append(f"const {kind} x{k} = og_load_{dtype}(a{k}[i]);")
            arrays += 1
        else:
            head.append(f"  const {kind} x{k} = scalar[{scalars}];")
            scalars += 1
    stores = sums = 0
    foot: list[str] = []
    reduced: list[str] = []
    for r, (program, result) in enumerate(zip(programs, layout.results)):
        value, lines = _statements(program, r, kind, s)
        body += lines
        if result == "sum":
            head.append(f"  double s{r} = 0.0;")
            body.append(f"s{r} += {value};")
            foot.append(f"  sum[{sums}] += s{r};")
            reduced.append(f"s{r}")
            sums += 1
            continue
        to = "double" if result == "acc" else _C[result]
        head.append(f"  {to} *restrict y{r} = out[{stores}];")
        body.append(f"y{r}[i] += {value};" if result == "acc" else f"y{r}[i] = og_store_{result}({value});")
        stores += 1
    reduction = f" reduction(+ : {', '.join(reduced)})" if reduced else ""
    loop = [f"#pragma omp simd{reduction}", "  for (long i = 0; i < n; i++) {"]
    loop += [*(f"    {line}" for line in body), "  }"]
    return "\n".join([*head, *loop, *foot, "}", ""])


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
        to = "int" if step.name in ("gt", "ge") else kind
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

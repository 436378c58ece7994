"""The C text of a fixed-point table."""

from __future__ import annotations

import numpy as np

from ogive.derive.emit.fixed import Fixed, Piece, pieces, worst
from ogive.derive.emit.for_c import RESERVED
from ogive.derive.emit.request import Request

_WIDTHS = (8, 16, 32, 64)


def _width(low: int, high: int) -> int:
    return next(w for w in _WIDTHS if -(2 ** (w - 1)) <= low and high < 2 ** (w - 1))


def _rows(piece: Piece) -> list[str]:
    rows = ["{" + ", ".join(map(_integer, row)) + "}" for row in piece.table.tolist()]
    lines, current = [], "   "
    for row in rows:
        if len(current) + len(row) > 108:
            lines.append(current)
            current = "   "
        current += f" {row},"
    return [*lines, current]


def _integer(value: int) -> str:
    if -(2**31) < value < 2**31:
        return str(value)
    return f"INT64_C({value})"


def write(request: Request, fixed: Fixed) -> str:
    """A C function from input code to output code."""
    name = request.function_name(RESERVED, "C")
    made, y = pieces(request, fixed)
    error, code = worst(made, y, fixed)
    first, last = fixed.codes
    out_bits = fixed.fraction if fixed.out_fraction is None else fixed.out_fraction
    kind = f"int{_width(-(2 ** (fixed.word - 1)), 2 ** (fixed.word - 1) - 1)}_t"
    numbers = sum(p.table.size for p in made)
    out = f"Q{fixed.word - 1 - out_bits}.{out_bits}"
    interval = f"input from {first / fixed.scale:g} to {last / fixed.scale:g}; others are taken to the nearer end."
    note = f"Fixed point: input {fixed.notation}, output {out}, words of {fixed.word} bits, {interval}"
    measured = (f"Largest error over all {len(y)} inputs: {error:.4f} of the last place "
                f"({error / fixed.out_scale:.4g}), at input code {code} (x = {code / fixed.scale:g}). "
                f"{numbers} numbers in the table.")  # fmt: skip
    lines = [f"// {line}" for line in [*request.heading(note)[:-1], measured, request.heading("")[-1]]]
    lines += ["#include <stdint.h>", ""]
    for k, piece in enumerate(made):
        table = piece.table
        if table.size == 1:
            continue
        width = max(16, _width(int(table.min()), int(table.max())))
        lines += [
            f"static const int{width}_t {name}_table{k}[{table.shape[0]}][{table.shape[1]}] = {{",
            *_rows(piece),
            "};",
        ]
    if any(p.bits for p in made):
        # C leaves the right shift of a negative number to the compiler
        lines += ["", f"static int64_t {name}_down(int64_t v, int bits) {{",
                  "    return v >= 0 ? v >> bits : -((-v - 1) >> bits) - 1;", "}"]  # fmt: skip
    lines += ["", f"{kind} {name}({kind} x) {{", "    int64_t at = x, y;"]
    if first > -(2 ** (fixed.word - 1)) or fixed.word not in _WIDTHS:
        lines.append(f"    if (at < {first}) at = {first};")
    if last < 2 ** (fixed.word - 1) - 1 or fixed.word not in _WIDTHS:
        lines.append(f"    if (at > {last}) at = {last};")
    for k, piece in enumerate(made):
        test = f"if (at <= {piece.last}) " if k < len(made) - 1 else ""
        lines.append(f"    {'' if k == 0 else 'else '}{test}{{")
        lines += [f"        {line}" for line in _piece(piece, name, k)]
        lines.append("    }")
    top = 2 ** (fixed.word - 1)
    got = np.concatenate([p.evaluate() for p in made])
    if got.max() > top - 1:
        lines.append(f"    if (y > {top - 1}) y = {top - 1};")
    if got.min() < -top:
        lines.append(f"    if (y < -{top}) y = -{top};")
    return "\n".join([*lines, f"    return ({kind})y;", "}", ""])


def _piece(piece: Piece, name: str, k: int) -> list[str]:
    degree = piece.table.shape[1] - 1
    origin = f"at - {_integer(piece.first)}" if piece.first >= 0 else f"at + {_integer(-piece.first)}"
    if piece.table.size == 1:
        return [f"y = {_integer(int(piece.table[0, 0]))};"]
    row = f"{name}_table{k}[{f'({origin}) >> {piece.shift}' if len(piece.table) > 1 else '0'}]"
    if degree == 0:
        return [f"y = {row}[0];"]
    mask = (1 << piece.shift) - 1
    terms = f"(int64_t){row}[{degree}] * r"
    for i in range(degree - 1, 0, -1):
        terms = f"({terms} + {row}[{i}]) * r"
    return [f"const int64_t r = ({origin}) & {mask};",
            f"y = {name}_down({terms} + {row}[0] + {(1 << piece.bits) >> 1}, {piece.bits});"]  # fmt: skip

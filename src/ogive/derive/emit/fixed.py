"""Fixed point: a table of short polynomials over the whole interval, read in integer arithmetic, with its error.

Between two break points of the formula the input codes are cut into segments of 2^s codes; in each the output is a
polynomial of degree 0, 1 or 2 in the position within the segment, with integer coefficients. Every input of the
interval is computed here with the same integer arithmetic as in the emitted C, so the error in the text is the largest
there is, not an estimate.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from ogive.breaks import breakpoints
from ogive.derive.emit.request import Request, form_of
from ogive.errors import InputError

MOST = 1 << 22  # inputs that are computed one by one
_LONGEST = 16  # bits of a segment; fewer where the word and the position's powers would not fit 64 bits


@dataclass(frozen=True)
class Fixed:
    """A signed number of ``word`` bits, ``fraction`` of them after the point, for input and (``out_fraction``) output.

    ``low`` and ``high`` bound the input, by default all the word holds; other inputs are taken to the nearer end.
    ``degree`` is that of the polynomials, ``error`` the goal in units of the output's last place, ``entries`` the
    most numbers the table may have.
    """

    word: int = 16
    fraction: int = 12
    out_fraction: int | None = None
    low: float | None = None
    high: float | None = None
    degree: int = 1
    error: float = 1.0
    entries: int = 4096

    def __post_init__(self) -> None:
        for key, least, most in (("word", 4, 32), ("degree", 0, 2), ("entries", 4, 65536)):
            value = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                raise InputError(f"fixed point: {key}={value!r}; it takes a whole number from {least} to {most}")
        for key in ("fraction", "out_fraction"):
            value = getattr(self, key)
            if value is not None and (not isinstance(value, int) or not 0 <= value < self.word):
                raise InputError(f"fixed point: {key}={value!r}; a word of {self.word} bits takes 0 to {self.word - 1}")
        if not self.error >= 0.5:
            raise InputError(f"fixed point: error={self.error!r}; rounding alone is 0.5 of the last place")
        first, last = self.codes
        if not first < last:
            raise InputError(f"fixed point: the interval from {self.low} to {self.high} has no two inputs")
        if last - first >= MOST:
            raise InputError(
                f"fixed point: the interval has {last - first + 1} inputs; at most {MOST} are measured; "
                "choose a shorter interval (low, high) or fewer fraction bits"
            )

    @property
    def scale(self) -> float:
        """One input unit in codes."""
        return 2.0**self.fraction

    @property
    def out_scale(self) -> float:
        """One output unit in codes."""
        return 2.0 ** (self.fraction if self.out_fraction is None else self.out_fraction)

    @property
    def codes(self) -> tuple[int, int]:
        """The first and the last input code."""
        top = 2 ** (self.word - 1)
        ends = []
        for key, value, default in (("low", self.low, -top), ("high", self.high, top - 1)):
            code = default if value is None else round(value * self.scale)
            if value is not None and not (math.isfinite(value) and -top <= code <= top - 1):
                raise InputError(
                    f"fixed point: {key}={value!r} does not fit {self.notation}, which holds "
                    f"{-top / self.scale:g} to {(top - 1) / self.scale:g}; take fewer fraction bits or a longer word"
                )
            ends.append(code)
        return ends[0], ends[1]

    @property
    def notation(self) -> str:
        """The format as Qm.n."""
        return f"Q{self.word - 1 - self.fraction}.{self.fraction}"

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Piece:
    """Codes ``first`` to ``last``, segments of 2^``shift`` codes; ``table[k]`` are the coefficients of segment k, the
    constant first, all with ``bits`` further fraction bits, which the last step rounds away."""

    first: int
    last: int
    shift: int
    bits: int
    table: np.ndarray

    def evaluate(self) -> np.ndarray:
        """The outputs at all codes of the piece, in the integer arithmetic of the text."""
        at = np.arange(self.last - self.first + 1, dtype=np.int64)
        rows, r = self.table[at >> self.shift], at & ((1 << self.shift) - 1)
        total = np.zeros_like(at)
        for i in range(rows.shape[1] - 1, 0, -1):
            total = (total + rows[:, i]) * r
        return (total + rows[:, 0] + ((1 << self.bits) >> 1)) >> self.bits


def values(request: Request, fixed: Fixed) -> np.ndarray:
    """The exact outputs, in output codes, at all inputs of the interval. Raises InputError where one does not fit."""
    act = request.act
    if len(act.inputs) != 1:
        raise InputError(f"fixed point of {act.label}: a table has one input; the formula has {len(act.inputs)}")
    first, last = fixed.codes
    x = torch.arange(first, last + 1, dtype=torch.float64) / fixed.scale
    others = [torch.tensor(v, dtype=torch.float64) for v in act.defaults.values()]
    y = form_of(request).program.run([x, *others], torch.float64).expand(x.shape).numpy() * fixed.out_scale
    top = 2 ** (fixed.word - 1)
    bad = ~(np.isfinite(y) & (np.round(y) >= -top) & (np.round(y) <= top - 1))
    if bad.any():
        k = int(np.argmax(bad))
        worst = float(np.nanmax(np.abs(y[np.isfinite(y)]), initial=0.0)) / fixed.out_scale
        what = f"reaches {worst:.6g} in magnitude" if np.isfinite(y[bad]).all() else "is not finite everywhere"
        raise InputError(
            f"fixed point of {request.label or act.label}: at x = {float(x[k]):g} the value "
            f"{y[k] / fixed.out_scale:g} does not fit {-top / fixed.out_scale:g} to {(top - 1) / fixed.out_scale:g}; "
            f"over the interval the function {what}. "
            "Take fewer out_fraction bits, a longer word or a shorter interval"
        )
    return np.asarray(y)


def _fitted(y: np.ndarray, first: int, shift: int, degree: int) -> Piece:
    """Polynomials through the ends (and the middle) of each segment, shifted to halve the largest error."""
    n, length = len(y), 1 << shift
    count = -(-n // length)
    degree = min(degree, shift) if shift < 2 else degree
    bits = 0 if degree == 0 else degree * shift + 3  # a rounded coefficient moves no output by more than 1/16
    padded = np.concatenate([y, np.full(count * length - n, y[-1])]).reshape(count, length)
    r = np.arange(length, dtype=np.float64)
    sizes = np.full(count, length)
    sizes[-1] = n - (count - 1) * length
    rows = np.zeros((count, degree + 1), dtype=np.int64)
    for group in {length, int(sizes[-1])}:
        where = sizes == group
        part = padded[where][:, :group]
        power = min(degree, group - 1)
        basis = np.polynomial.chebyshev.chebpts1(power + 1) * (group - 1) / 2 + (group - 1) / 2
        at = np.clip(np.round(basis).astype(int), 0, group - 1)
        at = np.unique(at)
        power = len(at) - 1
        coefficients = np.linalg.solve(np.vander(at.astype(float), power + 1, increasing=True), part[:, at].T).T
        for i in range(1, power + 1):
            rows[where, i] = np.round(coefficients[:, i] * 2.0**bits).astype(np.int64)
        slopes = sum(rows[where, i][:, None] * r[None, :group] ** i for i in range(1, degree + 1)) / 2.0**bits
        rest = part - slopes
        rows[where, 0] = np.round((rest.max(axis=1) + rest.min(axis=1)) * 2.0 ** (bits - 1)).astype(np.int64)
    return Piece(first, first + n - 1, shift, bits, rows)


def _shortest(y: np.ndarray, first: int, fixed: Fixed, budget: int) -> Piece:
    """The piece with the fewest segments that meets the goal, or the best one within ``budget`` numbers."""
    best: tuple[float, Piece] | None = None
    longest = min(_LONGEST, (56 - fixed.word) // max(fixed.degree, 1), max(len(y) - 1, 0).bit_length())
    for shift in range(longest, -1, -1):
        piece = _fitted(y, first, shift, fixed.degree)
        if best is not None and piece.table.size > budget:
            break
        error = float(np.max(np.abs(piece.evaluate() - y)))
        if best is None or error < best[0]:
            best = error, piece
        if error <= fixed.error:
            break
    assert best is not None
    return best[1]


def pieces(request: Request, fixed: Fixed) -> tuple[list[Piece], np.ndarray]:
    """The table, cut at the break points of the formula, and the exact values it stands for."""
    y = values(request, fixed)
    first, last = fixed.codes
    act = request.act
    found = breakpoints(act.expr, act.inputs[0], act.defaults)
    cuts = {first}
    for b in found:
        code = b * fixed.scale
        # a break at a code belongs to neither side: the value there is a segment of its own if there is a jump
        for cut in (math.ceil(code), math.floor(code) + 1):
            if first < cut <= last:
                cuts.add(cut)
    bounds = [*sorted(cuts), last + 1]
    if len(bounds) > 65:
        bounds = [first, last + 1]
    budget = max(4, fixed.entries // (len(bounds) - 1))
    made = [_shortest(y[a - first : b - first], a, fixed, budget) for a, b in pairwise(bounds)]
    return made, y


def worst(made: list[Piece], y: np.ndarray, fixed: Fixed) -> tuple[float, int]:
    """The largest error over all inputs, in units of the output's last place, and the input code that has it."""
    top = 2 ** (fixed.word - 1)
    got = np.clip(np.concatenate([p.evaluate() for p in made]), -top, top - 1)
    error = np.abs(got - y)
    k = int(np.argmax(error))
    return float(error[k]), fixed.codes[0] + k

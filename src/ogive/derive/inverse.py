"""The inverse of a formula on one of its monotone branches, correct to the last bit, differentiable to any order."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.derive.branches import Branch, Branches, branches
from ogive.derive.log_slope import log_abs_slope
from ogive.derive.solving.bracketed import solve, ulp
from ogive.derive.solving.implicit import Implicit
from ogive.derive.solving.precise_formula import Sharp
from ogive.derive.solving.start_table import StartTable
from ogive.derive.solving.undo import stretch, undo
from ogive.errors import InputError, ParameterError
from ogive.expr import Expr
from ogive.kernels import result_dtype
from ogive.lookup import get

OUTSIDE = ("error", "nan", "clamp")
_BLOCK = 16_384  # doubles whose temporaries stay in the second-level cache


def inverse(
    spec: Any,
    branch: int | None = None,
    *,
    at: float | None = None,
    outside: str = "error",
    turn: int = 0,
    **params: Any,
) -> Inverse:
    """The inverse ``x = g(y)`` of f on one branch, so that ``f(g(y)) = y``.

    Args:
        spec: a name, a formula in x, an Activation, an ``ogive.Act``.
        branch: the number of the branch in :func:`ogive.branches`; not needed where f is monotone on the whole line.
        at: a point of the branch instead of its number.
        outside: what a y outside the image gives: ``"error"``, ``"nan"``, or ``"clamp"``, the end of the domain.
        turn: of a periodic function, which period the branch begins in.
        **params: numbers, or tensors of one element, which then receive gradients.

    In float64 the result is within 1 unit in the last place of the exact one, in float32 within 1, in 16-bit dtypes
    rounded once; where \\|y\\| is subnormal only to what doubles resolve. A y equal to a limit that f does not reach
    gives the end of the domain, mostly an infinity. Gradients of every order come from the implicit function theorem.
    A declared surrogate is not followed: this inverts the function.

    Raises:
        InputError: where f is constant or not monotone and no branch is named; for a gate of two inputs; when called,
            for a y outside the image.
        ParameterError: for a parameter, branch or option that does not exist.

    >>> inverse("softplus")
    Inverse(softplus rises on (-inf, inf), image (0, inf): x = y + log(-expm1(-y)))
    >>> float(inverse("silu", at=2.0)(1.0))
    1.27846454276...
    """
    act = get(spec)
    if outside not in OUTSIDE:
        raise ParameterError(f"inverse of {act.label}: outside={outside!r}; it is 'error', 'nan' or 'clamp'")
    numbers, tensors = _split(act, params)
    found = branches(act, turn, **numbers)
    return Inverse(act, {**act.defaults, **numbers}, _choose(found, branch, at), outside, tensors)


def _split(act: Activation, params: dict[str, Any]) -> tuple[dict[str, float], dict[str, Tensor]]:
    numbers: dict[str, float] = {}
    tensors: dict[str, Tensor] = {}
    for key, value in params.items():
        if isinstance(value, Tensor):
            if value.numel() != 1:
                raise ParameterError(
                    f"inverse of {act.label}: parameter {key} has {value.numel()} values, which make several "
                    "functions; invert one at a time"
                )
            tensors[key], value = value, float(value.detach())
        numbers[key] = value
    return {k: v for k, v in act.settle(numbers).items() if k in numbers}, tensors


def _choose(found: Branches, branch: int | None, at: float | None) -> Branch:
    name = f"inverse of {found.activation}"
    if at is not None:
        if branch is not None:
            raise ParameterError(f"{name}: branch={branch!r} and at={at!r}; give one of the two")
        for b in found:
            if b.lo <= at <= b.hi:
                return b
        flat = next((f for f in found.flats if f.lo <= at <= f.hi), None)
        if flat is not None:
            raise InputError(f"{name} at {at:g}: it {flat}, so there is no inverse")
        raise InputError(f"{name} at {at:g}: no branch holds this point; {_listed(found)}")
    if branch is None:
        if found.bijective:
            return found[0]
        raise InputError(f"{name}: {_listed(found)}")
    if not isinstance(branch, int) or isinstance(branch, bool) or not -len(found) <= branch < len(found):
        raise ParameterError(f"{name}: branch={branch!r}; {_listed(found)}")
    return found[branch]


def _listed(found: Branches) -> str:
    shown = [f"branch {i} {b}" for i, b in enumerate(found)][:6]
    if len(found) > 6:
        shown.append(f"and {len(found) - 6} more")
    reasons = [f"it {f}, so there is no inverse there" for f in found.flats][:2]
    reasons += [f"its slope is not settled on [{lo:g}, {hi:g}]" for lo, hi in found.unproved][:2]
    if not found.branches:
        return "; ".join(reasons) or "it is monotone nowhere"
    choose = "choose one with branch= or at=: " if len(found) > 1 or reasons else ""
    return "; ".join([*reasons, choose + ", ".join(shown)])


@dataclass(frozen=True)
class Inverse:
    """One inverse: call it on tensors of any shape, or on a number. Made by :func:`inverse`."""

    activation: Activation
    params: dict[str, float]
    branch: Branch
    outside: str = "error"
    tensors: dict[str, Tensor] = field(default_factory=dict)

    @cached_property
    def _sharp(self) -> Sharp:
        return Sharp(self.activation.with_params(**self.params))

    @cached_property
    def _table(self) -> StartTable:
        return StartTable(self._sharp, self.branch)

    @cached_property
    def formula(self) -> Activation | None:
        """The inverse as a formula in y at these parameters, where the operations can be undone one by one; it is
        only as accurate as its own operations."""
        sharp, b = self._sharp, self.branch
        # exact break points before the slivers around them
        cuts = _apart([k for k in (*sharp.act.breakpoints(), *b.knots) if b.lo < k < b.hi and abs(k) < 1e4], b)
        if len(cuts) > 24:
            return None
        ends = sorted({b.lo, b.hi, *cuts})
        expr = undo(sharp.act.expr, sharp.name, [stretch(p, q) for p, q in itertools.pairwise(ends)])
        if expr is None or not self._confirmed(expr):
            return None
        return Activation(expr, ("y",))

    def _confirmed(self, expr: Expr) -> bool:
        x = self._table.x
        x = x[(x.abs() < 1e4) & ((x.abs() > 1e-4) | (x == 0))][::7]
        y = self._sharp.value(x)
        inside = (y > self.branch.low) & (y < self.branch.high) & torch.isfinite(y)
        x, y = x[inside], y[inside]
        back = Activation(expr, ("y",))(y)
        # what one unit in y moves, with room for the formula's own rounding
        slack = 1e-9 * (1.0 + x.abs()) + 64.0 * ulp(y) / self._sharp.slope(x).abs()
        return bool(((back - x).abs() <= slack).all()) and len(x) > 0

    @cached_property
    def log_slope(self) -> Activation:
        """``log|f'(x)|`` as a formula in x, with the parameters of f."""
        return log_abs_slope(self.activation)

    def log_abs_slope(self, x: Tensor) -> Tensor:
        """``log|f'(x)|`` at points of the domain: what this direction of a flow adds to its log-determinant."""
        act = self.log_slope
        given = {k: self.tensors.get(k, v) for k, v in self.params.items() if k in act.params}
        result: Tensor = act(x, **given)
        return result

    def with_log_slope(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """``x = g(y)`` and ``log|g'(y)| = -log|f'(x)|``."""
        x = self(y)
        return x, -self.log_abs_slope(x)

    def __call__(self, y: Any) -> Any:
        """``x`` in the domain with ``f(x) = y``; the dtype and shape of ``y``. NaN gives NaN."""
        if isinstance(y, (int, float)) and not isinstance(y, bool):
            return float(self(torch.tensor(float(y), dtype=torch.float64)))
        result_dtype(f"inverse of {self.activation.label}", (y,))
        values = tuple(self.tensors.get(k, v) for k, v in self.params.items())
        return Implicit.apply(self, y, *values)

    # What Implicit asks for.
    def solve(self, y: Tensor) -> Tensor:
        """``x`` with ``f(x) = y``, without gradients."""
        flat = y.detach().to(device="cpu", dtype=torch.float64).reshape(-1)
        out = torch.empty_like(flat)
        late: list[Tensor] = []
        for start in range(0, flat.numel(), _BLOCK):
            part = slice(start, start + _BLOCK)
            out[part], left = self._block(flat[part], y.dtype)
            late.append(left)
        rest = torch.cat(late) if late else flat.bool()
        if bool(rest.any()):
            if y.dtype == torch.float64:
                for start in range(0, flat.numel(), _BLOCK):
                    part = slice(start, start + _BLOCK)
                    here = rest[part]
                    out[part][here] = self._sharply(flat[part][here], out[part][here])
            else:
                out[rest] = self._carefully(flat[rest])
        return out.reshape(y.shape).to(device=y.device, dtype=y.dtype)

    def _block(self, y: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The solution for most values, and where more is to be done."""
        b = self.branch
        x = torch.full_like(y, math.nan)
        first, last = (b.lo, b.hi) if b.rising else (b.hi, b.lo)
        (low, high), (has_low, has_high) = (b.low, b.high), b.attained
        # A value that f itself has rounded into the dtype is at most one unit beyond a limit that is reached, and no
        # unit beyond the limit in that dtype where it is not.
        floor, ceiling = _edge(low, -math.inf, has_low, dtype), _edge(high, math.inf, has_high, dtype)
        under, over = y < floor, y > ceiling
        if self.outside == "error" and bool((under | over).any()):
            wrong = float(y[under | over][0])
            raise InputError(
                f"inverse of {self.activation.label}: y = {wrong:.17g} is outside the image of the branch, which {b}; "
                "outside='nan' or 'clamp' lets such values pass"
            )
        if self.outside == "clamp":
            x[under], x[over] = first, last
        t = self._table
        # the values at the outermost doubles of the domain, as two doubles: what lies beyond gives the end
        at_low = (y < t.y[0]) | ((y == t.y[0]) & (t.rest[0] >= 0))
        at_high = (y > t.y[-1]) | ((y == t.y[-1]) & (t.rest[-1] <= 0))
        fine = ~(under | over | torch.isnan(y))
        x[fine & at_low], x[fine & at_high] = first, last
        inner = fine & ~at_low & ~at_high
        late = torch.zeros_like(inner)
        if bool(inner.any()):
            x[inner], left = self._quickly(y[inner])
            late[inner] = True if dtype == torch.float64 else left
        return x, late

    def _quickly(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Two steps of Newton's method in doubles from the first guess, and where they are not enough for 40 bits."""
        sharp = self._sharp
        if self.formula is not None:
            x = self.formula(y)
        else:
            x = self._table.guess(y)
            x = x - (sharp.value(x) - y) / sharp.slope(x)
        slope = sharp.slope(x)
        step = (sharp.value(x) - y) / slope
        # Newton squares the relative error; and what the rounding of f moves x by must be below the wanted digits.
        done = (torch.abs(step) <= 2.0**-24 * torch.abs(x)) & ~_noisy(y, x, slope)
        return x - step, ~done

    def _plainly(self, y: Tensor, lo: Tensor, hi: Tensor) -> Tensor:
        """The bracketed method with f in doubles, where it can only wander once the rounding of f is reached."""
        sharp = self._sharp
        guess = torch.clamp(self._table.guess(y), lo, hi)
        return solve(lambda x, y: sharp.value(x) - y, sharp.slope, y, guess, lo, hi, rising=self.branch.rising,
                     close=lambda x, r, step: torch.abs(step) <= 2.0**-28 * torch.abs(x), rounds=40)  # fmt: skip

    def _carefully(self, y: Tensor) -> Tensor:
        """What float32 needs where two steps did not do."""
        lo, hi = self._table.bracket(y)
        x = self._plainly(y, lo, hi)
        noisy = _noisy(y, x, self._sharp.slope(x))
        if bool(noisy.any()):
            x[noisy] = self._sharply(y[noisy], x[noisy])
        return x

    def _sharply(self, y: Tensor, x: Tensor) -> Tensor:
        """To the last bit of a double from a good guess: f in twice double precision."""
        sharp = self._sharp
        lo, hi = self._table.bracket(y)
        off = ~((x >= lo) & (x <= hi) & (torch.abs(sharp.value(x) - y) <= 1e-6 * torch.abs(y)))
        if bool(off.any()):
            x = x.clone()
            x[off] = self._plainly(y[off], lo[off], hi[off])

        def settled(x: Tensor, r: Tensor, step: Tensor) -> Tensor:
            # The next step would be about this one times the relative change of the slope.
            s, after = sharp.slope(x), sharp.slope(x - step)
            return torch.abs(step * (after - s)) <= 2.0**-5 * torch.abs(s) * ulp(x)

        return solve(lambda x, y: (sharp.wide(x) - y).hi, sharp.slope, y, x, lo, hi, rising=self.branch.rising,
                     close=settled)  # fmt: skip

    def __repr__(self) -> str:
        changed = "".join(f", {k}={v:g}" for k, v in self.params.items() if v != self.activation.defaults[k])
        how = f"x = {self.formula.written}" if self.formula is not None else "by Newton's method"
        return f"Inverse({self.activation.label}{changed} {self.branch}: {how})"

    def to_dict(self) -> dict[str, Any]:
        """What it inverts, where, and its formula as text."""
        formula = None if self.formula is None else str(self.formula.written)
        return {"activation": self.activation.label, "params": dict(self.params), "branch": self.branch.to_dict(),
                "outside": self.outside, "formula": formula}  # fmt: skip


def _noisy(y: Tensor, x: Tensor, slope: Tensor) -> Tensor:
    """Where the rounding of f in doubles, some 64 units, may move x by more than 2**-30 of itself."""
    return ~(2.0**-46 * torch.abs(y) <= torch.abs(slope) * torch.abs(x) * 2.0**-30)


def _edge(end: float, way: float, attained: bool, dtype: torch.dtype) -> float:
    if not math.isfinite(end):
        return end
    near = torch.tensor(end, dtype=torch.float64).to(dtype)
    if attained:
        near = torch.nextafter(near, torch.full_like(near, way))
    return float(near)


def _apart(cuts: list[float], b: Branch) -> list[float]:
    """The first of each group of cuts that are a few doubles apart (such as the two ends of a sliver)."""
    kept = [e for e in (b.lo, b.hi) if math.isfinite(e)]
    ends = len(kept)
    for c in cuts:
        if all(abs(c - o) > 1e-9 * max(abs(c), abs(o)) + 1e-150 for o in kept):
            kept.append(0.0 if abs(c) < 1e-150 else c)
    return kept[ends:]

"""Holding one subject to every law."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.certify.accuracy import SIXTEEN, Truth, Worst, compare, derivatives, every, grid, sensitivity, truth
from ogive.certify.certificate import ORDERS, Certificate, Finding
from ogive.certify.digest import digest
from ogive.certify.subject import Subject, subject
from ogive.certify.why import why
from ogive.derive.limits import limits
from ogive.errors import OgiveError, ParameterError
from ogive.kernels import native

# Units in the last place: of the dtype itself below 32 bits, condition-aware above. Formulas are computed as a whole
# and held to the laws; code that rounds after every operation is given the room such code needs.
OURS = {torch.bfloat16: 1.0, torch.float16: 1.0, torch.float32: 2.0, torch.float64: 64.0}
CODE = {torch.bfloat16: 16.0, torch.float16: 16.0, torch.float32: 64.0, torch.float64: 64.0}
# An exception gives up relative accuracy in a tail or at a zero, never more than this beside 1. A fitted polynomial in
# float32 is good to about 2^-30 of its terms there, so a zero made by cancellation keeps that.
EXCEPTED = {torch.bfloat16: 1e-12, torch.float16: 1e-12, torch.float32: 2.0**-28, torch.float64: 1e-12}
_CODE_FLOOR = 1.0  # and an error in a tail is held against 1, not against the tail


def check(spec: Any, *, points: int | None = None, ulp: float | None = None, tails: bool = False) -> Certificate:
    """Hold a formula or code to the laws: value and two derivatives on every 16-bit input and dense wide grids
    against exact arithmetic, NaN only for NaN, the right limits at both infinities, at most its input kept.

    Args:
        spec: a name, a formula in x, an activation, ``"pkg.module:callable"``, a function or an ``nn.Module``.
        points: inputs per dtype; None for every finite 16-bit number and 4000 wide ones.
        ulp: the error allowed in units in the last place; None for the laws of the catalogue (1, 1, 2 and 64 for
            bfloat16, float16, float32, float64), or 16, 16, 64 and 64 for code that rounds at every step.
        tails: hold code, too, to relative accuracy where its value is below 1.

    Raises:
        InputError: for what is not one function of one number, with the reason.

    >>> check("x*sigmoid(x)", points=50).passed  # needs python-flint
    True
    """
    if points is not None and (isinstance(points, bool) or not isinstance(points, int) or points < 1):
        raise ParameterError(f"check: points={points!r}; it takes a whole number from 1")
    if ulp is not None and not (isinstance(ulp, (int, float)) and ulp > 0):
        raise ParameterError(f"check: ulp={ulp!r}; it takes a number above 0")
    what = subject(spec)
    if what.act is None:
        from ogive.certify.alone import alone

        return alone(what, points)
    bounds = dict(OURS if what.run is None else CODE)
    bounds = bounds if ulp is None else dict.fromkeys(bounds, float(ulp))
    floor = 0.0 if what.run is None or tails else _CODE_FLOOR
    findings = list(_accuracy(what, what.act, bounds, points, floor))
    findings += _special(what, what.act)
    findings += _kept(what, what.act)
    if what.run is not None:
        findings = _declared([f if f.holds else _explained(what.act, f) for f in findings])
    made = Certificate(what.label, str(what.act), what.reference, digest(what.act), tuple(findings), note=what.note)
    return replace(made, stable=_instead(what, what.act, made)) if made.failures else made


def inputs(dtype: torch.dtype, points: int | None) -> Tensor:
    """Every finite 16-bit number, a grid of wide ones; ``points`` of them when not None."""
    if dtype not in SIXTEEN:
        return grid(dtype, 4000 if points is None else points)
    x = every(dtype)
    if points is None or points >= len(x):
        return x
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(7))[:points]]


def ways(what: Subject) -> Iterator[tuple[str, Callable[[Tensor], Any]]]:
    """The ways the subject is computed, each set up while it is yielded."""
    if what.run is not None:
        yield "code", what.run
        return
    assert what.act is not None
    for compiled in (True, False):
        if compiled and native.runtime() is None:
            continue
        before = native.enable(compiled)
        try:
            yield "compiled" if compiled else "eager", what.act
        finally:
            native.enable(before)


def _accuracy(
    what: Subject, act: Activation, bounds: dict[torch.dtype, float], points: int | None, floor: float
) -> Iterator[Finding]:
    # A declared surrogate is not the derivative.
    order = 0 if act.backward is not None else 2
    for dtype, bound in bounds.items():
        exact = truth(act, inputs(dtype, points), order)
        slack = sensitivity(act, exact.x, order)
        for way, run in ways(what):
            got = _computed(run, exact, order)
            for k, worst in enumerate(compare(exact, got, slack, bound, floor)):
                yield _finding(act, k, dtype, way, worst, bound)


def _computed(run: Callable[[Tensor], Any], exact: Truth, order: int) -> list[Tensor]:
    try:
        return derivatives(run, exact.x, order)
    except (RuntimeError, NotImplementedError, TypeError):  # a dtype or a second derivative torch does not have
        got = derivatives(run, exact.x, 0)
        return got if order == 0 else [*got, *(torch.full_like(got[0], math.nan) for _ in range(order))][: order + 1]


def _finding(act: Activation, k: int, dtype: torch.dtype, way: str, worst: Worst, bound: float) -> Finding:
    excepted = act.exceptions.get(ORDERS[k], "") if worst.units > bound else ""
    if excepted and not abs(worst.got - worst.want) <= EXCEPTED[dtype] * max(1.0, abs(worst.want)):
        excepted = ""
    return Finding(ORDERS[k], str(dtype)[6:], way, worst.units, bound, worst.x, worst.got, worst.want,
                   worst.beyond, worst.points, excepted)  # fmt: skip


def _special(what: Subject, act: Activation) -> list[Finding]:
    """NaN for NaN, no NaN at the zeros, the exact limits at the infinities, on every way and dtype."""
    ends = limits(act)
    found = []
    for way, run in ways(what):
        for dtype in OURS:
            x = torch.tensor([math.nan, math.inf, -math.inf], dtype=dtype)
            try:
                y = run(x.clone()).double().tolist()
            except (RuntimeError, NotImplementedError):
                continue  # a dtype this code does not have
            name, off = str(dtype)[6:], math.inf
            if not math.isnan(y[0]):
                found.append(Finding("nan", name, way, off, 0.0, math.nan, y[0], math.nan))
            for at, got, side in ((math.inf, y[1], ends.plus), (-math.inf, y[2], ends.minus)):
                want = side.value
                if want is None:
                    continue
                room = 2 * torch.finfo(dtype).eps * (1.0 + abs(want)) if math.isfinite(want) else 0.0
                if got == want or abs(got - want) <= room:
                    continue
                if math.isinf(want) and abs(got) == torch.finfo(dtype).max:
                    continue
                found.append(Finding("infinity", name, way, off, 0.0, at, got, want))
    return found or [Finding("nan", "all", "all", 0.0, 0.0), Finding("infinity", "all", "all", 0.0, 0.0)]


def _kept(what: Subject, act: Activation) -> list[Finding]:
    """Bytes kept for backward beyond those of the input: 4 an element in float32."""
    kept = kept_bytes(what.run or act)
    if what.run is not None:
        return []  # code keeps what it keeps; the note in the report of `ogive speed` says how much
    return [Finding("kept", "float32", "compiled", kept, 4.0, math.nan, kept, 4.0)]


def kept_bytes(run: Callable[[Tensor], Any]) -> float:
    """Bytes that backward keeps for each float32 element, measured on 256 of them."""
    storages: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        storages[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.inference_mode(False), torch.enable_grad():
        x = torch.linspace(-1.0, 1.0, 256, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            run(x)
    return sum(storages.values()) / 256


def _explained(act: Activation, f: Finding) -> Finding:
    if f.law not in ORDERS or not math.isfinite(f.x):
        return f
    return replace(f, why=why(act, ORDERS.index(f.law), f.x, getattr(torch, f.dtype), f.got))


def _declared(findings: list[Finding]) -> list[Finding]:
    """Says of a derivative that is finite, wrong and not explained by rounding what it must be."""
    right = {f.dtype for f in findings if f.law == "value" and f.holds}
    said = "f is right and its slope is another function's: the code declares a backward that is not its derivative"

    def other(f: Finding) -> bool:
        unexplained = f.law == "first" and not f.holds and not f.why and f.dtype in right
        return unexplained and math.isfinite(f.got) and abs(f.got - f.want) > 1e-2 * (1.0 + abs(f.want))

    return [replace(f, why=said) if other(f) else f for f in findings]


def _instead(what: Subject, act: Activation, made: Certificate) -> str:
    """Our form of failing code, with the proof that it holds where the code does not."""
    if what.run is None:
        return ""
    places = {f.dtype: [] for f in made.failures if f.law in ORDERS}  # type: ignore[var-annotated]
    for f in made.failures:
        if f.law in ORDERS and math.isfinite(f.x):
            places[f.dtype].append(f.x)
    plain = Activation(act.fixed().written)
    for name, at in places.items():
        dtype = getattr(torch, name)
        try:
            exact = truth(plain, torch.tensor(at or [0.0], dtype=dtype), 2)
        except OgiveError:
            return ""
        slack = sensitivity(plain, exact.x, 2)
        worst = compare(exact, derivatives(plain, exact.x, 2), slack, OURS[dtype])
        if max((w.units for w in worst), default=0.0) > OURS[dtype]:
            return ""
    return f'ogive.define("{plain.written}") is computed as {plain.expr} and holds at these inputs' if places else ""

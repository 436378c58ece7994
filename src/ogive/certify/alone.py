"""Code without a formula: held against its own float64 result."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ogive.certify.accuracy import Worst, derivatives, grid
from ogive.certify.certificate import ORDERS, Certificate, Finding
from ogive.certify.subject import Subject

_DTYPES = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
_REACH = 100.0


def alone(what: Subject, points: int | None) -> Certificate:
    """Value and first derivative for |x| <= 100 against the code's own float64 value and central differences of it.

    This finds what is not finite and what is grossly wrong (beyond 64 units of rounding or 1e-4), not the last digits.
    """
    assert what.run is not None
    findings = []
    for dtype in _DTYPES:
        x = grid(dtype, 500 if points is None else points)
        x = x[x.abs() <= _REACH]
        wide = x.double()
        step = 1e-6 * (1.0 + wide.abs())
        with torch.no_grad():
            value = what.run(wide.clone()).double()
            left, right = what.run(wide - step).double(), what.run(wide + step).double()
        slope = (right - left) / (2.0 * step)
        # Where the one-sided quotients differ there is a kink, and any slope between them will do.
        kink = ((right - value) / step - (value - left) / step).abs() > 1e-2 * (1.0 + slope.abs())
        try:
            got = derivatives(what.run, x, 1)
        except (RuntimeError, NotImplementedError):
            continue  # a dtype this code does not have
        eps = torch.finfo(dtype).eps
        room = [64 * eps * (1.0 + value.abs() + (wide * slope).abs()), (1e-4 + 64 * eps) * (1.0 + slope.abs())]
        skip = [~value.isfinite(), ~slope.isfinite() | kink]
        for k, want in enumerate((value, slope)):
            worst = _worst(x, got[k], want, room[k], skip[k])
            findings.append(Finding(ORDERS[k], str(dtype)[6:], "code", worst.units, 1.0, worst.x, worst.got,
                                    worst.want, worst.beyond, worst.points))  # fmt: skip
        lost = (~value.isfinite()).nonzero()
        if len(lost) and dtype == torch.float64:
            at = int(lost[0])
            findings.append(Finding("value", "float64", "code", math.inf, 1.0, float(x[at]), float(value[at]), math.nan,
                                    len(lost), len(x)))  # fmt: skip
    return Certificate(what.label, "", what.reference, "", tuple(findings), note=what.note)


def _worst(x: Tensor, got: Tensor, want: Tensor, room: Tensor, skip: Tensor) -> Worst:
    units = (got.double() - want).abs() / room
    units = torch.where(got.isfinite(), units, math.inf).masked_fill(skip, 0.0)
    i = int(units.argmax())
    beyond = int((units > 1.0).sum())
    return Worst(float(units[i]), float(x[i]), float(got[i]), float(want[i]), beyond, len(x))

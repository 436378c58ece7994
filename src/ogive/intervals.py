"""The primitives on boxes of float64, rounded outward: what a formula can be on a whole interval at once.

A sibling of :mod:`ogive.balls`: the same names, on boxes (:mod:`ogive.outward`). Every rule returns a box that holds
every value the primitive takes on the arguments. Library functions are torch's in float64, moved outward by the units
in :data:`ULPS`: at least twice the largest error seen on arguments over all doubles (tests/test_intervals.py repeats
the count). Where a primitive has no value (the logarithm of a negative number) its arguments are left out; if nothing
remains the box is the whole line.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ogive import stable
from ogive.outward import (
    EPS,
    LARGEST,
    OUT,
    Box,
    Mask,
    abs_,
    add,
    box,
    clamped,
    div,
    floor,
    ge,
    gt,
    hull,
    maximum,
    meet,
    minimum,
    mul,
    neg,
    reciprocal,
    round_,
    same_sign,
    sealed,
    sign,
    sizes,
    square,
    sub,
    where,
    widened,
)

# Units in the last place by which float64 results are moved outward.
ULPS: dict[str, int] = {
    "pow": 4, "sqrt": 1, "exp": 4, "expm1": 4, "log": 4, "log1p": 4, "sin": 4, "cos": 4, "tan": 4, "atan": 4, "sinh": 4,
    "cosh": 4, "tanh": 4,
    "asinh": 6, "sech2": 8, "logcosh": 10, "tanhshrink": 16, "sigmoid": 6, "softplus": 6, "erf": 4,
    "erfc": 8, "Phi": 10, "phi": 8, "softsign": 4, "hypot1": 4, "hypotm1": 8, "isru": 6, "sqp": 8, "sqp1": 14,
}  # fmt: skip


# Functions of one argument: computed by torch in float64, moved outward


def _computed(f: Callable[..., Any], x: Box) -> Box:
    return np.asarray(f(torch.from_numpy(np.array(x))).numpy())


def _rising(
    name: str, f: Callable[..., Any], at_zero: float, lo: float = -math.inf, hi: float = math.inf
) -> Callable[[Box], Box]:
    ulps = ULPS[name]

    def rule(a: Box) -> Box:
        y = clamped(widened(_computed(f, a), ulps), lo, hi)
        if at_zero == 0.0:
            y = same_sign(y, a)
        return np.where(a == 0.0, at_zero, y) if math.isfinite(at_zero) else y

    return rule


def _even(
    name: str, f: Callable[..., Any], at_zero: float, lo: float = 0.0, hi: float = math.inf, falls: bool = False
) -> Callable[[Box], Box]:
    ulps = ULPS[name]

    def rule(a: Box) -> Box:
        near, far = sizes(a)
        t = np.array([far, near] if falls else [near, far])
        y = clamped(widened(_computed(f, t), ulps), lo, hi)
        return np.where(t == 0.0, at_zero, y) if math.isfinite(at_zero) else y

    return rule


def _positive(f: Callable[[Box], Box], least: float) -> Callable[[Box], Box]:
    """``f`` on what a domain from ``least`` on leaves of the argument."""

    def rule(a: Box) -> Box:
        y = f(np.maximum(a, least))
        return np.where(a[1] < least, OUT * math.inf, y)

    return rule


def _phi(x: Any) -> Any:
    # x = h + l with h of 26 bits: h*h/2 is exact, so the exponential sees no rounding of its argument.
    h = (x * 134217729.0) - (x * 134217729.0 - x)
    big = torch.abs(x) > 40.0
    h = torch.where(big, x, h)
    tail = torch.where(big, torch.zeros_like(x), (x - h) * (x + h))
    return 0.3989422804014327 * (torch.exp(-0.5 * (h * h)) * torch.exp(-0.5 * tail))


def _Phi(x: Any) -> Any:
    # erfc(y)/2 at y = -x/sqrt(2), which is not a double: the rounding of y is put right to first order, by
    # (log erfc)' = -2/sqrt(pi) exp(-y^2)/erfc(y), bounded by 2y + 2 far out.
    y = x * -0.7071067811865476
    # the part of -x/sqrt(2) that y leaves out: the product's own rounding and that of the constant
    ch, cl = -0.70710676908493042, -1.2101617152815436e-08  # 26 bits and the rest of the constant's double
    t = x * 134217729.0
    xh = t - (t - x)
    xl = x - xh
    lost = ((xh * ch - y) + xh * cl + xl * ch) + xl * cl + x * 4.833646656726457e-17
    value = torch.special.erfc(y)
    rate = torch.where(y > 0.0, 1.1283791670955126 / torch.special.erfcx(torch.clamp(y, 0.0, 30.0)),
                       1.1283791670955126 * torch.exp(-(y * y)) / value)  # fmt: skip
    small = (torch.abs(x) < 39.0) & (value > 0.0)
    return 0.5 * torch.where(small, value * (1.0 - rate * lost), value)


def _sigmoid(x: Any) -> Any:
    # torch's underflows at -710, where exp(-x) overflows.
    t = torch.exp(-torch.abs(x))
    return torch.where(x < 0.0, t, torch.ones_like(t)) / (1.0 + t)


_HALF_PI, _INF = math.pi / 2, math.inf
exp = _rising("exp", torch.exp, 1.0, 0.0)
expm1 = _rising("expm1", torch.expm1, 0.0, -1.0)
log = _positive(_rising("log", torch.log, -_INF), 0.0)
log1p = _positive(_rising("log1p", torch.log1p, 0.0), -1.0)
sqrt = _positive(_rising("sqrt", torch.sqrt, 0.0, 0.0), 0.0)
atan = _rising("atan", torch.atan, 0.0, -1.5707963267948968, 1.5707963267948968)
sinh = _rising("sinh", torch.sinh, 0.0)
cosh = _even("cosh", torch.cosh, 1.0, 1.0)
tanh = _rising("tanh", torch.tanh, 0.0, -1.0, 1.0)
asinh = _rising("asinh", torch.asinh, 0.0)
sech2 = _even("sech2", stable.sech2, 1.0, 0.0, 1.0, falls=True)
logcosh = _even("logcosh", stable.logcosh, 0.0)
tanhshrink = _rising("tanhshrink", stable.tanhshrink, 0.0)
sigmoid = _rising("sigmoid", _sigmoid, 0.5, 0.0, 1.0)
softplus = _rising("softplus", stable.softplus, _INF, 0.0)
erf = _rising("erf", torch.erf, 0.0, -1.0, 1.0)
Phi = _rising("Phi", _Phi, 0.5, 0.0, 1.0)
phi = _even("phi", _phi, _INF, 0.0, 0.39894228040143276, falls=True)
softsign = _rising("softsign", stable.softsign, 0.0, -1.0, 1.0)
hypot1 = _even("hypot1", stable.hypot1, 1.0, 1.0)
hypotm1 = _even("hypotm1", stable.hypotm1, 0.0)
isru = _rising("isru", stable.isru, 0.0, -1.0, 1.0)
sqp = _rising("sqp", stable.sqp, 1.0, 0.0)
sqp1 = _rising("sqp1", stable.sqp1, 1.0, 0.0, 2.0)
_erfc_up = _rising("erfc", torch.special.erfc, 1.0, 0.0, 2.0)


def erfc(a: Box) -> Box:
    return np.asarray(clamped(widened(_computed(torch.special.erfc, a[::-1]), ULPS["erfc"]), 0.0, 2.0))


def _holds(a: Box, first: float, step: float) -> Mask:
    """Whether some ``first + k*step`` may lie in the box; the rounding of the count is allowed for."""
    turns = (a - first) / step
    slack = 4.0 * EPS * (np.abs(turns) + 1.0)
    with np.errstate(invalid="ignore"):
        return np.asarray(~(np.floor(turns[1] + slack[1]) < np.ceil(turns[0] - slack[0])))


def _wave(name: str, f: Callable[..., Any], top: float, bottom: float) -> Callable[[Box], Box]:
    def rule(a: Box) -> Box:
        inside = np.clip(a, -LARGEST, LARGEST)
        y = _computed(f, inside)
        y = clamped(widened(np.array([np.minimum(y[0], y[1]), np.maximum(y[0], y[1])]), ULPS[name]), -1.0, 1.0)
        if name == "sin":
            y = np.where((a[0] == 0.0) & (a[1] == 0.0), 0.0, y)
        y[1] = np.where(_holds(a, top, math.tau), 1.0, y[1])
        y[0] = np.where(_holds(a, bottom, math.tau), -1.0, y[0])
        return y

    return rule


sin = _wave("sin", torch.sin, _HALF_PI, -_HALF_PI)
cos = _wave("cos", torch.cos, 0.0, math.pi)


def tan(a: Box) -> Box:
    y = widened(_computed(torch.tan, np.clip(a, -LARGEST, LARGEST)), ULPS["tan"])
    y = np.where(a == 0.0, 0.0, y)
    return np.where(_holds(a, _HALF_PI, math.pi), OUT * math.inf, y)


def sinc(a: Box, order: int = 0) -> Box:
    """The ``order``-th derivative of sin(x)/x, the integral over t in [0, 1] of t^n cos(x t + n pi/2): at most
    1/(n+1), and by parts at most 2/|x|. So on a box it is within half a width times the next one's bound of its
    value in the middle."""
    near, _ = sizes(a)
    with np.errstate(divide="ignore"):
        far = 2.0 * (1.0 + 4.0 * EPS) / near
    bound = np.minimum(1.0 / (order + 1), far) * (1.0 + 4.0 * EPS)
    rate = np.minimum(1.0 / (order + 2), far) * (1.0 + 4.0 * EPS)
    mid = np.clip(0.5 * a[0] + 0.5 * a[1], -LARGEST, LARGEST)
    value = _computed(lambda t: stable.sinc(t, order), mid)
    half = np.maximum(a[1] - mid, mid - a[0]) * (1.0 + 4.0 * EPS)
    with np.errstate(invalid="ignore"):
        reach = rate * half + 64.0 * EPS * bound
    y = sealed(value + OUT * (reach + 4.0 * EPS * np.abs(value)))
    return np.asarray(np.minimum(np.maximum(y, -bound), bound))


# Powers


def _whole_power(a: Box, n: int) -> Box:
    if n < 0:
        return reciprocal(_whole_power(a, -n))
    if n == 0:
        return np.ones_like(a)
    if n == 1:
        return a
    if n == 2:
        return square(a)
    even = n % 2 == 0
    base = np.array(sizes(a)) if even else a
    y = widened(np.power(base, float(n)), ULPS["pow"])
    y = np.where(np.abs(base) <= 1.0, np.where((base == 0.0) | (np.abs(base) == 1.0), base, y), y)
    return np.maximum(y, 0.0) if even else same_sign(y, base)


def power(a: Box, b: Box) -> Box:
    """``a**b``: whole exponents on the whole line, others on a >= 0."""
    n = float(b[0, 0])
    if b.shape[1] == 1 and b[0, 0] == b[1, 0]:
        if n.is_integer() and abs(n) <= 2**20:
            return _whole_power(a, int(n))
        if n == 0.5:
            return sqrt(a)
        base = np.maximum(a, 0.0)
        y = np.power(base if n > 0 else base[::-1], n)
        y = np.where(np.isnan(y), math.inf, y)
        y = np.where(((base if n > 0 else base[::-1]) == 0.0) & (n > 0), 0.0, np.maximum(widened(y, ULPS["pow"]), 0.0))
    else:
        base = np.maximum(a, 0.0)
        p = np.array([np.power(base[i], b[j]) for i in (0, 1) for j in (0, 1)])
        y = np.maximum(widened(np.array([p.min(0), p.max(0)]), ULPS["pow"]), 0.0)
        whole = (b[0] == b[1]) & (b[0] == np.floor(b[0])) & (a[0] < 0.0)
        y = np.where(whole, np.array([[-math.inf], [math.inf]]), y)
    return np.where(a[1] < 0.0, np.array([[-math.inf], [math.inf]]), y)


def xlogy(a: Box, b: Box) -> Box:
    return mul(a, log(b))


RULES: dict[str, Callable[..., Box]] = {
    "add": add, "sub": sub, "mul": mul, "div": div, "neg": neg, "pow": power, "xlogy": xlogy, "abs": abs_, "sign": sign,
    "floor": floor, "round": round_, "maximum": maximum, "minimum": minimum, "gt": gt, "ge": ge, "where": where,
    "sqrt": sqrt, "exp": exp, "expm1": expm1, "log": log, "log1p": log1p, "sin": sin, "cos": cos, "tan": tan,
    "atan": atan, "sinh": sinh, "cosh": cosh, "tanh": tanh, "asinh": asinh, "sech2": sech2, "logcosh": logcosh,
    "tanhshrink": tanhshrink, "sigmoid": sigmoid, "softplus": softplus, "erf": erf, "erfc": erfc, "Phi": Phi,
    "phi": phi, "softsign": softsign, "hypot1": hypot1, "hypotm1": hypotm1, "isru": isru, "sqp": sqp, "sqp1": sqp1,
    "sinc": sinc,
}  # fmt: skip

__all__ = [
    "EPS",
    "LARGEST",
    "OUT",
    "RULES",
    "ULPS",
    "Box",
    "Mask",
    "Phi",
    "abs_",
    "add",
    "asinh",
    "atan",
    "box",
    "clamped",
    "cos",
    "cosh",
    "div",
    "erf",
    "erfc",
    "exp",
    "expm1",
    "floor",
    "ge",
    "gt",
    "hull",
    "hypot1",
    "hypotm1",
    "isru",
    "log",
    "log1p",
    "logcosh",
    "maximum",
    "meet",
    "minimum",
    "mul",
    "neg",
    "phi",
    "power",
    "reciprocal",
    "round_",
    "same_sign",
    "sealed",
    "sech2",
    "sigmoid",
    "sign",
    "sin",
    "sinc",
    "sinh",
    "sizes",
    "softplus",
    "softsign",
    "sqp",
    "sqp1",
    "sqrt",
    "square",
    "sub",
    "tan",
    "tanh",
    "tanhshrink",
    "where",
    "widened",
    "xlogy",
]  # fmt: skip

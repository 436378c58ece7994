"""Planes below and above a gate f(x, y) on boxes.

A gate is read as a sum of products F(x) H(y). With z = H(y) in [p, q] the function F(x) z is straight in z, so above
any plane ``a x + b z + c`` it is decided at z = p and z = q alone, where it is F scaled:

    c = max(A(p) - b p, A(q) - b q),    A(h) = sup over x of (h F(x) - a x).

At the middle of [p, q] the plane is least for b = (A(q) - A(p)) / (q - p), where its height is the mean of A(p) and
A(q); what remains is convex in a, its slope is known from where the two suprema are taken, and halving finds the
least. The plane is then the lowest that there is at the centre of the box: F(x) z has no concave hull below it. H
itself is replaced by its line above or below, whichever b asks for, unless it is y. McCormick's planes for x y come
out as a special case. As for one input, no choice of a and b can make a plane unsound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.derive.bounds import _height, bounds
from ogive.derive.image import BLOCK, extremes, image, pair
from ogive.derive.lines.outline import Outline, outline
from ogive.derive.lines.rounding import EPS, up
from ogive.errors import FormulaError, InputError
from ogive.expr import Expr, const, value_of
from ogive.lookup import get

HALVINGS = 26


@dataclass(frozen=True, eq=False)
class Planes:
    """``lower_x x + lower_y y + lower_intercept <= f(x, y) <= upper_x x + upper_y y + upper_intercept`` on each box, in
    real arithmetic."""

    lower_x: Tensor
    lower_y: Tensor
    lower_intercept: Tensor
    upper_x: Tensor
    upper_y: Tensor
    upper_intercept: Tensor

    def lower(self, x: Tensor, y: Tensor) -> Tensor:
        """The lower plane at (x, y), in the rounding of its dtype."""
        return self.lower_x * x + self.lower_y * y + self.lower_intercept

    def upper(self, x: Tensor, y: Tensor) -> Tensor:
        """The upper plane at (x, y), in the rounding of its dtype."""
        return self.upper_x * x + self.upper_y * y + self.upper_intercept

    def __repr__(self) -> str:
        return f"Planes({tuple(self.lower_x.shape)}, {str(self.lower_x.dtype).removeprefix('torch.')})"

    def to_dict(self) -> dict[str, Any]:
        """All fields as lists, ready for JSON."""
        return {k: getattr(self, k).tolist() for k in self.__dataclass_fields__}


def gate_image(
    spec: Any, x_lo: Tensor, x_hi: Tensor, y_lo: Tensor, y_hi: Tensor, **params: float
) -> tuple[Tensor, Tensor]:
    """Least and greatest value of a gate on boxes ``[x_lo, x_hi] x [y_lo, y_hi]``, rounded outward.

    Exact for a product F(x) H(y); for a sum of products the sum of their images. Arguments and errors as for
    :func:`planes`.

    >>> import torch
    >>> low, high = gate_image("bilinear", *(torch.tensor(v) for v in (-1.0, 2.0, -3.0, 1.0)))
    >>> round(float(low), 5), round(float(high), 5)
    (-6.0, 3.0)
    """
    _, terms, boxes = _read(spec, x_lo, x_hi, y_lo, y_hi, params)
    total = [torch.zeros_like(boxes[0], dtype=torch.float64) for _ in range(2)]
    for f, h in terms:
        (a, b), (c, d) = _factor(f, boxes[:2]), _factor(h, boxes[2:])
        corners = torch.nan_to_num(
            torch.stack([a * c, a * d, b * c, b * d]), nan=0.0, posinf=torch.inf, neginf=-torch.inf
        )
        size = 4.0 * EPS * corners.abs().amax(0)
        total = [total[0] + corners.amin(0) - size, total[1] + corners.amax(0) + size]
    rest = 4.0 * EPS * torch.maximum(total[0].abs(), total[1].abs()) * (len(terms) > 1)
    return -up(rest - total[0], boxes[0].dtype), up(total[1] + rest, boxes[0].dtype)


def _factor(f: Activation, ends: list[Tensor]) -> tuple[Tensor, Tensor]:
    lo, hi = (t.double() for t in ends)
    number = value_of(f.written)
    if number is not None:
        return torch.full_like(lo, number), torch.full_like(lo, number)
    return (lo, hi) if _straight(f) else image(f, lo, hi)


def planes(spec: Any, x_lo: Tensor, x_hi: Tensor, y_lo: Tensor, y_hi: Tensor, **params: float) -> Planes:
    """The planes below and above a gate of two inputs that are tightest at the centre of each box.

    ``spec`` is a gate of the catalogue or a formula in x and y that is a sum of products of a function of x and one
    of y. The four ends are finite float32 or float64 tensors that broadcast, ``params`` are numbers. The planes are
    optimal for a single product with y or x itself as one factor (swiglu, geglu, reglu, bilinear, glu); where both
    factors are curved, or products are added, they are sound and not always the tightest.

    Raises :class:`~ogive.errors.FormulaError` for a gate that is no sum of products and
    :class:`~ogive.errors.InputError` for other inputs.

    >>> import torch
    >>> p = planes("bilinear", *(torch.tensor([v]) for v in (0.0, 2.0, 1.0, 3.0)))
    >>> round(float(p.upper(torch.tensor(1.0), torch.tensor(2.0))), 5)
    3.0
    """
    act, terms, boxes = _read(spec, x_lo, x_hi, y_lo, y_hi, params)
    if not all(bool(torch.isfinite(t).all()) for t in boxes):
        raise InputError(f"planes of {act.label}: an end is not finite; planes take bounded boxes")
    dtype, shape = boxes[0].dtype, boxes[0].shape
    made = []
    with torch.no_grad():
        flat = [t.detach().reshape(-1).double() for t in boxes]
        for sign in (-1, 1):
            parts = []
            for i in range(0, max(len(flat[0]), 1), BLOCK):
                box = [t[i : i + BLOCK] for t in flat]
                a, b, c = (torch.zeros_like(box[0]) for _ in range(3))
                for f, h in terms:
                    one = _above(f, h, sign, box)
                    a, b, c = a + one[0], b + one[1], c + one[2]
                parts.append(_narrowed(a, b, c, box, dtype, len(terms)))
            made += [sign * torch.cat(t).reshape(shape) for t in zip(*parts)]
    return Planes(*made)


def _narrowed(a: Tensor, b: Tensor, c: Tensor, box: list[Tensor], dtype: torch.dtype, terms: int) -> tuple[Tensor, ...]:
    """Slopes rounded to ``dtype``, the intercept raised by what that and the sums may cost."""
    small_a, small_b = a.to(dtype), b.to(dtype)
    for exact, small, lo, hi in ((a, small_a, *box[:2]), (b, small_b, *box[2:])):
        off = exact - small.double()
        c = c + torch.maximum(off * lo, off * hi)
        c = c + 4.0 * EPS * terms * exact.abs() * torch.maximum(lo.abs(), hi.abs())
    return small_a, small_b, up(c + 4.0 * EPS * (terms + 2) * c.abs(), dtype)


def _above(f: Activation, h: Activation, sign: int, box: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """``a x + b y + c`` above ``sign * F(x) H(y)``, in float64."""
    if value_of(f.written) is not None:  # read() has moved the number into H
        lines = bounds(h, *box[2:])
        slope, height = (
            (lines.upper_slope, lines.upper_intercept) if sign == 1 else (-lines.lower_slope, -lines.lower_intercept)
        )
        return torch.zeros_like(slope), slope, height
    if value_of(h.written) is not None or (_straight(f) and not _straight(h)):
        a, b, c = _above(h, f, sign, [*box[2:], *box[:2]])
        return b, a, c
    cpu = box[0].device
    shape, inner = outline(f, "planes", {}, cpu), outline(h, "planes", {}, cpu)
    low, high = box[2:] if _straight(h) else extremes(inner, *box[2:])[:2]
    p, q = (low, high) if sign == 1 else (-high, -low)
    a = _slope(f, shape, box[0], box[1], p, q)
    at_p, _ = _scaled(shape, box[0], box[1], p, a)
    at_q, _ = _scaled(shape, box[0], box[1], q, a)
    b = torch.nan_to_num((at_q - at_p) / (q - p), nan=0.0, posinf=0.0, neginf=0.0)
    c = torch.maximum(at_p - b * p, at_q - b * q)
    c = c + 4.0 * EPS * (at_p.abs() + at_q.abs() + (b * p).abs() + (b * q).abs())
    b = b * sign  # of z = H(y) itself
    if _straight(h):
        return a, b, c
    lines = bounds(h, *box[2:])
    above = b > 0.0
    slope = torch.where(above, lines.upper_slope, lines.lower_slope)
    height = torch.where(above, lines.upper_intercept, lines.lower_intercept)
    lift = torch.where(b == 0.0, torch.zeros_like(b), b * height)
    steep = torch.where(b == 0.0, torch.zeros_like(b), b * slope)
    rest = 4.0 * EPS * (lift.abs() + steep.abs() * torch.maximum(box[2].abs(), box[3].abs()) + c.abs())
    return a, steep, c + lift + rest


def _slope(f: Activation, shape: Outline, l: Tensor, u: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """The slope in x of the plane that is lowest at the centre, by halving between the best slopes for p F and q F."""
    middle = 0.5 * l + 0.5 * u
    lines = bounds(f, l, u)
    ends = [torch.where(h > 0.0, h * lines.upper_slope, h * lines.lower_slope) for h in (p, q)]
    low, high = torch.minimum(*ends), torch.maximum(*ends)
    for _ in range(HALVINGS):
        a = 0.5 * low + 0.5 * high
        _, x_p = _scaled(shape, l, u, p, a)
        _, x_q = _scaled(shape, l, u, q, a)
        steeper = x_p + x_q > 2.0 * middle  # the sum still falls with a
        low, high = torch.where(steeper, a, low), torch.where(steeper, high, a)
    return torch.nan_to_num(0.5 * low + 0.5 * high, nan=0.0, posinf=0.0, neginf=0.0)


def _scaled(shape: Outline, l: Tensor, u: Tensor, h: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    """A bound of ``sup (h F(x) - a x)``, rounded up, and where it is taken."""
    size = h.abs()
    steep = a / size
    tame = torch.isfinite(steep) & (steep.abs() < 1e12)
    slope = torch.where(tame, steep, 0.0)
    most, x = torch.zeros_like(a), torch.zeros_like(a)
    for sign in (1, -1):
        some = (torch.sign(h) * sign > 0.0) if sign == 1 else (h <= 0.0)
        index = some.nonzero().squeeze(1)
        if len(index):
            height, at, _, _ = _height(shape, sign, l[index], u[index], slope[index])
            most[index], x[index] = torch.where(h[index] == 0.0, torch.zeros_like(height), size[index] * height), at
    far = torch.where(tame, 0.0, torch.maximum(-a * l, -a * u))
    x = torch.where(tame, x, torch.where(a > 0.0, l, u))
    # the slope a / |h| was rounded: |h| times it differs from a by an eps of a
    slip = 4.0 * EPS * (most.abs() + far.abs() + a.abs() * torch.maximum(l.abs(), u.abs()))
    return most + far + slip, x


def _straight(act: Activation) -> bool:
    return act.written.op == "var"


def _read(
    spec: Any, x_lo: Any, x_hi: Any, y_lo: Any, y_hi: Any, params: Mapping[str, Any]
) -> tuple[Activation, list[tuple[Activation, Activation]], list[Tensor]]:
    act = get(spec)
    if len(act.inputs) != 2:
        raise InputError(f"planes of {act.label}: it takes {len(act.inputs)} input; ask bounds() about it")
    values = act.settle(params)
    x, y = act.inputs
    xs, ys = pair(act.label, x_lo, x_hi), pair(act.label, y_lo, y_hi)
    boxes = list(torch.broadcast_tensors(*xs, *ys))
    if xs[0].dtype != ys[0].dtype:
        raise InputError(f"planes of {act.label}: {x} is {xs[0].dtype} and {y} is {ys[0].dtype}; they take one dtype")
    expr = act.expr.substitute({k: const(float(v)) for k, v in values.items()})
    terms = []
    for f, h in separated(expr, x, y):
        if value_of(f) is not None:
            f, h = const(1.0), f * h
        elif value_of(h) is not None:
            f, h = f * h, const(1.0)
        terms.append((Activation(f, (x,)), Activation(h, (y,))))
    return act, terms, boxes


def separated(expr: Expr, x: str, y: str) -> list[tuple[Expr, Expr]]:
    """``expr`` as a sum of F(x) H(y), a list of pairs. Raises :class:`~ogive.errors.FormulaError` where it is none.

    >>> from ogive.parse import parse
    >>> [(str(f), str(h)) for f, h in separated(parse("x*sigmoid(x)*y - x", ("x", "y")), "x", "y")]
    [('x*sigmoid(x)', 'y'), ('x', '-1')]
    """
    one = const(1.0)
    free = expr.variables()
    if y not in free:
        return [(expr, one)]
    if x not in free:
        return [(one, expr)]
    args = expr.args
    if expr.op in ("add", "sub"):
        left, right = (separated(a, x, y) for a in args)
        return left + (right if expr.op == "add" else [_negated(*t) for t in right])
    if expr.op == "neg":
        return [_negated(*t) for t in separated(args[0], x, y)]
    if expr.op == "mul":
        left, right = (separated(a, x, y) for a in args)
        return [(f * g, h * k) for f, h in left for g, k in right]
    if expr.op == "div":
        below = separated(args[1], x, y)
        if len(below) == 1:
            return [(f / below[0][0], h / below[0][1]) for f, h in separated(args[0], x, y)]
    raise FormulaError(
        f"'{expr}' is no sum of products of a function of {x} and one of {y}; planes are derived for those alone"
    )


def _negated(f: Expr, h: Expr) -> tuple[Expr, Expr]:
    return (f, -h) if value_of(f) == 1.0 or f.op == "var" else (-f, h)

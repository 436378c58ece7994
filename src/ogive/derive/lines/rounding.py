"""f, f' and f'' in float64, and how far rounding may have moved them.

The allowance is a sum of two. One is what law 1 (``ogive.certify``) holds every float64 result to, compiled or not:
64 units of ``eps (|f| + |x f'| + s)``, where s sums ``|p df/dp|`` over the parameters and the long constants p, and 64
of the smallest normal numbers; it is measured against ball arithmetic on 4000 points up to 3e38. The other follows
rounding through the formula, operation by operation, to first order: sums, products and quotients round once, a
library function errs by the units of :data:`ogive.intervals.ULPS`, and what an argument errs by is multiplied by the
slope; four times the result is allowed, because compiled kernels use polynomials of their own. It grows where a
formula cancels, which the first does not see.

That float64 code stays within this between the points it was measured on is what bounds assume, and all that they do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.derive.solving.bracketed import middle
from ogive.diff import differentiate
from ogive.expr import Expr, const, rebuild, value_of, var, where
from ogive.intervals import ULPS
from ogive.kernels import Form, evaluate
from ogive.ops import OPS
from ogive.rewrite import simplify

UNITS = 64.0
FOLLOWED = 4.0
EPS = torch.finfo(torch.float64).eps
TINY = UNITS * torch.finfo(torch.float64).smallest_normal
BIG = torch.finfo(torch.float64).max
COMPILED_FROM = 2048  # elements; below this a kernel's first call costs more than it saves


@dataclass(frozen=True)
class Rounded:
    """One formula with its parameters as numbers; every method takes and gives float64 tensors."""

    forms: tuple[Form, ...]  # f, f', f'', the spreads of f and f', what follows from rounding f and f'
    numbers: tuple[float, ...]
    compiled: set[int] = field(default_factory=set, compare=False, repr=False)

    def value(self, x: Tensor) -> Tensor:
        """f(x), as computed."""
        return self._run(0, x)

    def slope(self, x: Tensor) -> Tensor:
        """f'(x), as computed."""
        return self._run(1, x)

    def bend(self, x: Tensor) -> Tensor:
        """f''(x), as computed; used to steer, never in a bound."""
        return self._run(2, x)

    def value_error(self, x: Tensor, f: Tensor) -> Tensor:
        """How far the computed f(x) may lie from the true one."""
        return _allowance(f, self._run(3, x), self._run(5, x))

    def slope_error(self, x: Tensor, d: Tensor) -> Tensor:
        """How far the computed f'(x) may lie from the true one."""
        return _allowance(d, self._run(4, x), self._run(6, x))

    def _run(self, i: int, x: Tensor) -> Tensor:
        form = self.forms[i]
        number = value_of(form.expr)
        if number is not None:
            return torch.full_like(x, number)
        if x.numel() >= COMPILED_FROM or i in self.compiled:
            self.compiled.add(i)
            return evaluate(form, torch.float64, False, (x, *self.numbers))
        wide = [torch.tensor(v, dtype=torch.float64, device=x.device) for v in self.numbers]
        y = form.program.run([x, *wide], torch.float64).expand_as(x)
        return y.clone() if y is x else y


def rounded(act: Activation, values: Mapping[str, float]) -> Rounded:
    """The float64 code of ``act`` at the parameters ``values``; a declared surrogate is not followed."""
    x = act.inputs[0]
    names, numbers = (x, *values), tuple(values.values())
    orders = [act.expr]
    for _ in range(2):
        orders.append(differentiate(orders[-1], x))
    exprs = [*orders, *(_spread(e, names) for e in orders[:2]), *(_followed(e) for e in orders[:2])]
    return Rounded(tuple(Form(e, names, numbers, derived=i > 0) for i, e in enumerate(exprs)), numbers)


def _spread(expr: Expr, names: tuple[str, ...]) -> Expr:
    """``|x df/dx| + sum |p df/dp|`` over parameters and over constants that are not short binary fractions."""
    knobs: dict[str, Expr] = {name: var(name) for name in names}

    def leaf(n: Expr) -> Expr:
        value = value_of(n)
        if value is None or (value * 256).is_integer():
            return n
        knobs.setdefault(f"c{value!r}'", n)  # a name no formula can contain
        return var(f"c{value!r}'")

    opened = expr.map(leaf, rebuild)
    total = const(0.0)
    for name, knob in knobs.items():
        total = total + abs(knob * differentiate(opened, name).substitute(knobs))
    return simplify(total)


def _followed(expr: Expr) -> Expr:
    """What rounding every operation may move the result by, in units of eps and to first order, as a formula."""
    zero = const(0.0)
    error: dict[Expr, Expr] = {}
    for n in expr.walk():
        inner = [error[a] for a in n.args]
        if not n.args or n.op in ("gt", "ge", "sign", "floor", "round"):  # jumps are boxes, whatever side is taken
            error[n] = zero
        elif n.op == "where":
            error[n] = where(n.args[0], inner[1], inner[2])
        elif n.op in ("maximum", "minimum"):
            error[n] = Expr("maximum", (inner[0], inner[1])) if any(e is not zero for e in inner) else zero
        else:
            total = zero
            for partial, e in zip(OPS[n.op].diff(n), inner):
                if partial is not None and e is not zero:
                    total = total + (e if abs(value_of(partial) or 0.0) == 1.0 else abs(partial) * e)
            error[n] = total + _units(n) * abs(n) if _units(n) else total
    return simplify(error[expr])


def _units(n: Expr) -> float:
    if n.op in ("neg", "abs"):
        return 0.0
    if n.op in ("mul", "div"):  # by a power of two: exact
        factors = [value_of(a) for a in (n.args if n.op == "mul" else n.args[1:])]
        return 0.0 if any(f is not None and abs(math.frexp(f)[0]) == 0.5 for f in factors) else 1.0
    return float(ULPS.get(n.op, 1 if n.op in ("add", "sub") else 16))


def _allowance(y: Tensor, spread: Tensor, followed: Tensor) -> Tensor:
    # 0 * inf, as of x f' for sqrt at 0, is no number: there the result is exact (0), and |f| stands for it.
    total = torch.nan_to_num(spread, nan=0.0, posinf=math.inf).add_(y.abs()).mul_(UNITS * EPS).add_(TINY)
    return total.add_(torch.nan_to_num(followed, nan=0.0, posinf=math.inf), alpha=FOLLOWED * EPS)


def up(x: Tensor, dtype: torch.dtype) -> Tensor:
    """``x`` in ``dtype``, never below it."""
    y = x.to(dtype)
    if dtype == x.dtype:
        return y
    return torch.where(y.to(x.dtype) < x, torch.nextafter(y, torch.full_like(y, math.inf)), y)


def bisect(holds: Callable[[Tensor], Tensor], lo: Tensor, hi: Tensor) -> Tensor:
    """Where ``holds`` turns from false (left) to true, to neighbouring doubles: 64 halvings in their order."""
    for _ in range(64):
        mid = middle(lo, hi)
        right = holds(mid)
        lo, hi = torch.where(right, lo, mid), torch.where(right, mid, hi)
    return hi

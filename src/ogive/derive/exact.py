"""Exact values and derivatives by ball arithmetic on the formula as it was written (extra ``certify``)."""

from __future__ import annotations

from typing import Any

from ogive.activation import Activation
from ogive.balls import Undecided
from ogive.errors import OgiveError
from ogive.expr import Expr
from ogive.lookup import get
from ogive.ops import OPS

PRECISIONS = (96, 192, 384, 1536, 6144)


def exact(spec: Any, x: float, order: int = 2, bits: int = 64, **params: float) -> list[Any]:
    """``f(x), f'(x), ..., f^(order)(x)`` as flint balls with at least ``bits`` correct bits each.

    The balls come from a Taylor series over the written formula and share no code with the tensor path or the
    symbolic derivatives. A derivative at a kink follows the table's convention. A declared surrogate is not
    followed: this is the function. Raises :class:`OgiveError` without python-flint, or where no precision
    decides (a pole, say).

    >>> [round(float(v), 12) for v in exact("x*sigmoid(x)", 1.0, 1)]  # needs python-flint
    [0.73105857863, 0.927670511871]
    """
    act = get(spec)
    return Oracle(act, order, bits, **params)(x)


class Oracle:
    """:func:`exact` for one activation at many points."""

    def __init__(self, act: Activation, order: int = 2, bits: int = 64, **params: float) -> None:
        try:
            import flint
        except ImportError:
            raise OgiveError("exact values need python-flint: pip install 'ogive[certify]'") from None
        self.flint = flint
        self.act, self.order, self.bits = act, order, bits
        self.values = {k: float(v) for k, v in act.settle(params).items()}

    def __call__(self, x: float, *others: float) -> list[Any]:
        # The input must be finite; limits are another matter.
        before = self.flint.ctx.prec
        try:
            for prec in PRECISIONS:
                self.flint.ctx.prec = prec
                try:
                    got = self._series(x, others)
                except (Undecided, ValueError, ZeroDivisionError):  # flint: a ball over a pole
                    continue
                if all(self._sharp(v) for v in got):
                    return got
        finally:
            self.flint.ctx.prec = before
        raise OgiveError(f"{self.act.label} at x = {x!r}: no precision up to {PRECISIONS[-1]} bits decides the value")

    def _sharp(self, v: Any) -> bool:
        if not v.is_finite():
            return False
        mid, rad = abs(v.mid()), v.rad()
        # Below 2**-1200 nothing a double can hold depends on the digits.
        return bool(rad == 0 or rad * (self.flint.arb(2) ** self.bits) < mid or mid + rad < self.flint.arb(2) ** -1200)

    def _series(self, x: float, others: tuple[float, ...]) -> list[Any]:
        flint, length = self.flint, self.order + 1
        given = {**self.values, **dict(zip(self.act.inputs[1:], others))}
        value: dict[Expr, Any] = {}

        def of(n: Expr) -> Any:
            # On demand, so that the branch not taken is never evaluated: it may have a pole here.
            if n not in value:
                if n.op == "const":
                    value[n] = flint.arb_series([float(n.data)], prec=length)  # type: ignore[arg-type]
                elif n.op == "var" and n.data == self.act.inputs[0]:
                    value[n] = flint.arb_series([x, 1], prec=length)
                elif n.op == "var":
                    value[n] = flint.arb_series([given[str(n.data)]], prec=length)
                elif n.op == "where":
                    value[n] = of(n.args[1] if of(n.args[0]) else n.args[2])
                else:
                    extra = () if n.data is None else (int(n.data),)
                    value[n] = OPS[n.op].exact(*map(of, n.args), *extra)
            return value[n]

        series = of(self.act.written)
        fact = 1
        out = []
        for k in range(length):
            fact *= max(k, 1)
            out.append(series[k] * fact)
        return out

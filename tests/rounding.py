"""How far the rounding of a formula's own operations can move its value: what arithmetic in one precision may lose.

Every operation rounds its result v by eps |v|/2, which moves the formula by |df/dv| times that; to first order the
moves add up. A result v between zero and the normal numbers may be lost whole, and one beyond the largest number is
infinite. An error within a few times this bound says that a text computes the formula it was made from; how good the
formula itself is in a precision is another question, answered by the law of condition-aware units in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ogive.expr import Expr, var
from ogive.kernels.program import Program, compile_program
from ogive.ops import OPS


@dataclass(frozen=True)
class Rounding:
    """``noise`` times eps and ``flushed`` times the smallest normal number bound the error. ``over``: a result on the
    way is finite but beyond ``top``, or two computed numbers that are compared differ by their rounding in float32."""

    noise: Tensor
    flushed: Tensor
    over: Tensor

    def bound(self, dtype: type) -> Tensor:
        """The error that rounding once an operation explains."""
        info = np.finfo(dtype)
        return float(info.eps) * self.noise + float(info.smallest_normal) * self.flushed


@lru_cache(maxsize=1024)
def _partials(op: str, arity: int, data: object) -> tuple[Program | None, ...]:
    names = tuple(f"v{i}" for i in range(arity))
    node = Expr(op, tuple(var(n) for n in names), data)
    return tuple(
        None if p is None else compile_program(p, names, (0.5,) * (arity - 1)) for p in OPS[op].diff(node)
    )  # fmt: skip


def _tied(n: Expr, value: dict[Expr, Tensor]) -> Tensor:
    """Whether the order of two numbers, not both of them given, is decided by their rounding in float32."""
    pair = n.args[0].args if n.op in ("abs", "sign") and n.args[0].op in ("add", "sub") else n.args
    if n.op not in ("abs", "sign", "gt", "ge", "maximum", "minimum") or len(pair) < 2 or not any(a.args for a in pair):
        return torch.tensor(False)
    a, b = (value[p] for p in pair)
    b = -b if pair is not n.args and n.args[0].op == "add" else b
    return ((a - b).abs() <= 5e-7 * torch.minimum(a.abs(), b.abs())) & (a != 0.0)


def rounding(expr: Expr, names: Sequence[str], values: Sequence[Tensor | float], top: float = 3.4e38) -> Rounding:
    """The bound for ``expr`` at float64 ``values`` of ``names``."""
    wide = dict(zip(names, (torch.as_tensor(v, dtype=torch.float64) for v in values)))
    shape = torch.broadcast_shapes(*(v.shape for v in wide.values()))
    nodes = list(expr.walk())
    value: dict[Expr, Tensor] = {}
    for n in nodes:
        if n.op == "var":
            value[n] = wide[str(n.data)]
        elif n.op == "const":
            value[n] = torch.tensor(float(n.data), dtype=torch.float64)  # type: ignore[arg-type]
        else:
            extra = () if n.data is None else (n.data,)
            value[n] = OPS[n.op].torch(*(value[a] for a in n.args), *extra)
    zero = torch.zeros(shape, dtype=torch.float64)
    slope = dict.fromkeys(nodes, zero)
    slope[expr] = zero + 1.0
    noise, flushed, over = zero, zero, zero > 1.0
    for n in reversed(nodes):
        v, here = value[n], slope[n].abs()
        over = over | _tied(n, value)
        if v.dtype == torch.bool:
            continue
        noise = noise + (v * here).nan_to_num(0.0, 0.0, 0.0).abs()
        flushed = flushed + here
        over = over | (torch.isfinite(v) & (v.abs() > top))
        if n.op == "where":
            test, a, b = n.args
            slope[a] = slope[a] + torch.where(value[test], slope[n], 0.0)
            slope[b] = slope[b] + torch.where(value[test], 0.0, slope[n])
            continue
        if not n.args:
            continue
        inner = [value[a] for a in n.args]
        for a, partial in zip(n.args, _partials(n.op, len(n.args), n.data)):
            if partial is not None:
                there = partial.run([i.expand(shape).contiguous() for i in inner], torch.float64)
                if n.op in ("sin", "cos", "sinc"):  # an argument off by a good part of a period: no first order
                    size = inner[0].abs()
                    turned = (1.2e-7 * size).clamp_max(1.0)
                    there = there.abs() + (turned / size.clamp_min(1.0) if n.op == "sinc" else turned)
                slope[a] = slope[a] + (there * slope[n]).nan_to_num(0.0, 0.0, 0.0)
    return Rounding(noise.expand(shape), flushed.expand(shape), over.expand(shape))

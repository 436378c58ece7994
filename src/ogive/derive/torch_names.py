"""torch's elementwise operations as formulas, under the names torch gives them.

Parameter names and defaults are torch's. ``softplus`` is the mathematical one: torch's switch to the identity
above its threshold differs by less than its float32 rounding at the default.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ogive import ops
from ogive.expr import Expr, as_expr

Formula = Callable[..., Any]


def _truth(c: Any) -> Any:
    """A condition as 1 or 0, a number as it is."""
    return ops.where(c, 1.0, 0.0) if isinstance(c, Expr) and c.op in ("gt", "ge") else c


def _values(f: Callable[..., Any]) -> Formula:
    """``f`` with conditions among its arguments turned into numbers."""
    return lambda *args, **kwargs: f(*(_truth(a) for a in args), **kwargs)


def _condition(c: Any) -> Any:
    """Something to choose by: a condition, or a number that is not zero."""
    return c if isinstance(c, Expr) and c.op in ("gt", "ge") else as_expr(abs(c)) > 0


def _with_alpha(sign: float) -> Formula:
    return lambda a, b, alpha=1.0: as_expr(a) + sign * alpha * as_expr(b)


def _clamp(x: Any, min: Any = None, max: Any = None) -> Any:
    low = x if min is None else ops.maximum(x, min)
    return low if max is None else ops.minimum(low, max)


def _gelu(x: Any, approximate: str = "none") -> Any:
    if approximate == "tanh":
        return 0.5 * x * (1 + ops.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return x * ops.Phi(x)


def _elu(x: Any, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Any:
    return scale * ops.where(x > 0, x, alpha * ops.expm1(input_scale * x))


def _division(a: Any, b: Any, rounding_mode: str | None = None) -> Any:
    quotient = as_expr(a) / as_expr(b)
    if rounding_mode == "floor":
        return ops.floor(quotient)
    return _trunc(quotient) if rounding_mode == "trunc" else quotient


def _trunc(x: Any) -> Any:
    return ops.sign(x) * ops.floor(abs(x))


_SELU = (1.6732632423543772848170429916717, 1.0507009873554804934193349852946)

_DIRECT = ("abs", "sign", "floor", "round", "sqrt", "exp", "expm1", "log", "log1p", "sin", "cos", "tan", "sinh", "cosh",
           "tanh", "atan", "asinh", "sigmoid", "softsign", "erf", "erfc", "maximum", "minimum", "tanhshrink", "relu",
           "logsigmoid", "neg")  # fmt: skip

FORMULAS: dict[str, Formula] = {
    **{name: _values(ops.FUNCTIONS.get(name) or ops.OPS[name]) for name in _DIRECT},
    # arithmetic
    "add": _values(_with_alpha(1.0)), "sub": _values(_with_alpha(-1.0)), "subtract": _values(_with_alpha(-1.0)),
    "rsub": _values(lambda a, b: as_expr(b) - as_expr(a)),
    "mul": _values(lambda a, b: as_expr(a) * as_expr(b)), "multiply": _values(lambda a, b: as_expr(a) * as_expr(b)),
    "div": _values(_division), "divide": _values(_division), "true_divide": _values(_division),
    "floor_divide": _values(lambda a, b: _division(a, b, "floor")),
    "pow": _values(lambda a, b: as_expr(a) ** as_expr(b)),
    "float_power": _values(lambda a, b: as_expr(a) ** as_expr(b)),
    "negative": _values(lambda x: -x), "positive": _values(lambda x: x), "absolute": _values(lambda x: abs(x)),
    "square": _values(lambda x: x * x), "reciprocal": _values(lambda x: 1.0 / x),
    "rsqrt": _values(lambda x: 1.0 / ops.sqrt(x)),
    "addcmul": _values(lambda x, a, b, value=1.0: x + value * a * b),
    "addcdiv": _values(lambda x, a, b, value=1.0: x + value * a / b),
    "lerp": _values(lambda a, b, w: a + w * (as_expr(b) - as_expr(a))),
    "exp2": _values(lambda x: ops.exp(math.log(2.0) * x)), "log2": _values(lambda x: ops.log(x) / math.log(2.0)),
    "log10": _values(lambda x: ops.log(x) / math.log(10.0)),
    "logaddexp": _values(lambda a, b: b + ops.softplus(a - as_expr(b))),
    "xlogy": _values(lambda a, b: Expr("xlogy", (as_expr(a), as_expr(b)))),
    "arctan": _values(ops.atan), "arcsinh": _values(ops.asinh), "expit": _values(ops.sigmoid),
    "atanh": _values(lambda x: 0.5 * ops.log((1 + x) / (1 - x))),
    "sinc": _values(lambda x: ops.sinc(math.pi * x)), "ndtr": _values(ops.Phi), "sgn": _values(ops.sign),
    "ceil": _values(lambda x: -ops.floor(-x)), "trunc": _values(_trunc), "fix": _values(_trunc),
    "ones_like": lambda x: 1.0, "zeros_like": lambda x: 0.0, "full_like": lambda x, fill_value: fill_value,
    # choices
    "gt": lambda a, b: as_expr(a) > as_expr(b), "ge": lambda a, b: as_expr(a) >= as_expr(b),
    "lt": lambda a, b: as_expr(a) < as_expr(b), "le": lambda a, b: as_expr(a) <= as_expr(b),
    "greater": lambda a, b: as_expr(a) > as_expr(b), "less": lambda a, b: as_expr(a) < as_expr(b),
    "logical_and": lambda a, b: ops.where(_condition(a), _truth(b), 0.0),
    "logical_or": lambda a, b: ops.where(_condition(a), 1.0, _truth(b)),
    "logical_not": lambda a: ops.where(_condition(a), 0.0, 1.0),
    "where": lambda c, a, b: ops.where(_condition(c), _truth(a), _truth(b)),
    "masked_fill": lambda x, mask, value: ops.where(_condition(mask), value, x),
    "max": _values(ops.maximum), "min": _values(ops.minimum),
    "fmax": _values(ops.maximum), "fmin": _values(ops.minimum),
    "clamp": _values(_clamp), "clip": _values(_clamp),
    "clamp_min": _values(lambda x, min: ops.maximum(x, min)), "clamp_max": _values(lambda x, max: ops.minimum(x, max)),
    "heaviside": _values(lambda x, values: ops.where(x > 0, 1.0, ops.where(x >= 0, values, 0.0))),
    # activations
    "relu6": lambda x: ops.clip(x, 0, 6),
    "hardtanh": lambda x, min_val=-1.0, max_val=1.0: ops.clip(x, min_val, max_val),
    "leaky_relu": lambda x, negative_slope=0.01: ops.where(x > 0, x, negative_slope * x),
    "prelu": lambda x, weight: ops.where(x > 0, x, weight * x),
    "rrelu": lambda x, lower=1 / 8, upper=1 / 3: ops.where(x > 0, x, (lower + upper) / 2 * x),
    "elu": _elu, "selu": lambda x: _elu(x, *_SELU),
    "celu": lambda x, alpha=1.0: ops.maximum(x, 0.0) + ops.minimum(alpha * ops.expm1(x / alpha), 0.0),
    "gelu": _gelu, "silu": lambda x: x * ops.sigmoid(x), "mish": lambda x: x * ops.tanh(ops.softplus(x)),
    "softplus": lambda x, beta=1.0, threshold=20.0: ops.softplus(beta * x) / beta,
    "log_sigmoid": ops.log_sigmoid, "hardsigmoid": lambda x: ops.clip(x + 3, 0, 6) / 6,
    "hardswish": lambda x: x * ops.clip(x + 3, 0, 6) / 6,
    "hardshrink": lambda x, lambd=0.5: ops.where(abs(x) > lambd, x, 0.0),
    "softshrink": lambda x, lambd=0.5: ops.where(x > lambd, x - lambd, ops.where(x < -lambd, x + lambd, 0.0)),
    "threshold": lambda x, threshold, value: ops.where(x > threshold, x, value),
    "dropout": lambda x, p=0.5: x, "identity": lambda x: x,
}  # fmt: skip

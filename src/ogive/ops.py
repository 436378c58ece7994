"""The table of primitives: what each one is, for the tree, for torch, for ball arithmetic and for print.

One row states everything about a primitive. ``diff`` gives the partial derivatives as expressions, ``torch``
computes on tensors (a number may stand for a constant argument), ``exact`` computes on Taylor series with
rigorous error balls, ``latex`` and ``kernel`` print; a row that says nothing of ``kernel`` is
a function of kernels/c/functions.h. The column for intervals is part of the row and empty until somebody fills it.
The functions below the table make every row callable on trees, tensors, numbers.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ogive import balls as ex
from ogive import stable
from ogive.errors import FormulaError, InputError
from ogive.expr import Expr, as_expr, const, rebuild
from ogive.expr import where as where_expr

Partials = tuple["Expr | None", ...]


@dataclass(frozen=True)
class Facts:
    """What holds of the primitive as a function of its one argument (None: not said)."""

    parity: str | None = None  # "odd" | "even"
    monotone: str | None = None  # "up" | "down"
    range: tuple[float, float] | None = None
    breaks: bool = False  # a kink or jump where the arguments meet (or the argument is zero)
    rounds: int = 2  # of the torch result: 0 exact, 1 correctly rounded, 2 anything else


@dataclass(frozen=True)
class Op:
    """One primitive. ``diff(node)`` returns one partial per argument, None where it is zero."""

    name: str
    arity: int
    diff: Callable[[Expr], Partials]
    torch: Callable[..., Any]
    exact: Callable[..., Any]
    latex: str  # a template over {0}, {1}, ... ; {data} for a static order
    facts: Facts = field(default_factory=Facts)
    interval: Callable[..., Any] | None = None
    kernel: str = ""  # C, a template over {0}, {1}, ...; {s} is the suffix of the precision, {data} a static order

    def __call__(self, *args: Any, data: int | None = None) -> Any:
        """Build a node when any argument is a tree, compute when tensors or numbers."""
        if len(args) != self.arity:
            raise FormulaError(f"{self.name} takes {self.arity} argument(s), got {len(args)}")
        if any(isinstance(a, Expr) for a in args):
            nodes = tuple(as_expr(a) for a in args)
            return rebuild(Expr(self.name, (), data), nodes) if nodes else None
        extra = () if data is None else (data,)
        if any(isinstance(a, Tensor) for a in args):
            return self.torch(*args, *extra)
        if all(isinstance(a, (int, float)) for a in args):
            wide = [torch.tensor(float(a), dtype=torch.float64) for a in args]
            return self.torch(*wide, *extra).item()
        raise InputError(f"{self.name} works on formulas, tensors and numbers; got {args!r}")


OPS: dict[str, Op] = {}


def _row(
    name: str, arity: int, diff: Callable[[Expr], Partials], torch_: Callable[..., Any],
    exact: Callable[..., Any], latex: str, kernel: str = "", **facts: Any,
) -> Op:  # fmt: skip
    kernel = kernel or f"og_{name}({', '.join(f'{{{i}}}' for i in range(arity))})"
    op = OPS[name] = Op(name, arity, diff, torch_, exact, latex, Facts(**facts), kernel=kernel)
    return op


def _one(d: Callable[[Expr, Expr], Expr]) -> Callable[[Expr], Partials]:
    """The derivative of a unary primitive from (argument, node)."""
    return lambda n: (d(n.args[0], n),)


def _zero(n: Expr) -> Partials:
    return (None,) * len(n.args)


def _choice(op: str) -> Callable[[Expr], Partials]:
    # At a tie the derivative is the second argument's: maximum(x, 0)' = 0 at 0, as torch has it.
    def diff(n: Expr) -> Partials:
        a, b = n.args
        cond = Expr("gt", (a, b) if op == "maximum" else (b, a))
        return (where_expr(cond, const(1.0), const(0.0)), where_expr(cond, const(0.0), const(1.0)))

    return diff


def _where_diff(n: Expr) -> Partials:
    cond = n.args[0]
    return (None, where_expr(cond, const(1.0), const(0.0)), where_expr(cond, const(0.0), const(1.0)))


def _pow_diff(n: Expr) -> Partials:
    a, b = n.args
    d_exponent = None if b.op == "const" else Expr("xlogy", (n, a))  # a**b log a, with 0 log 0 = 0
    return (b * a ** (b - 1.0), d_exponent)


def _fn(name: str) -> Callable[..., Any]:
    return lambda *a: Expr(name, tuple(as_expr(v) for v in a))


_sech2, _sigmoid, _hypot1 = _fn("sech2"), _fn("sigmoid"), _fn("hypot1")

# fmt: off
# Arithmetic
_row("add", 2, lambda n: (const(1.0), const(1.0)), operator.add, ex.add, "{0} + {1}", rounds=1,
     kernel="{0} + {1}")
_row("sub", 2, lambda n: (const(1.0), const(-1.0)), operator.sub, ex.sub, "{0} - {1}", rounds=1,
     kernel="{0} - {1}")
_row("mul", 2, lambda n: (n.args[1], n.args[0]), operator.mul, ex.mul, r"{0} \, {1}", rounds=1,
     kernel="{0} * {1}")
_row("div", 2, lambda n: (1.0 / n.args[1], -(n / n.args[1])), stable.div, ex.div, r"\frac{{{0}}}{{{1}}}", rounds=1,
     kernel="{0} / {1}")
_row("neg", 1, lambda n: (const(-1.0),), torch.neg, ex.neg, "-{0}", parity="odd", monotone="down", rounds=0,
     kernel="-{0}")
_row("pow", 2, _pow_diff, stable.power, ex.power, "{0}^{{{1}}}")
_row("xlogy", 2, lambda n: (_fn("log")(n.args[1]), n.args[0] / n.args[1]), stable.xlogy, ex.xlogy, r"{0} \log {1}")
# Piecewise
_row("abs", 1, _one(lambda a, n: _fn("sign")(a)), torch.abs, ex.abs_, r"\left|{0}\right|", parity="even",
     range=(0.0, math.inf), breaks=True, rounds=0,
     kernel="ox_abs{s}({0})")
_row("sign", 1, _zero, torch.sign, ex.sign, r"\operatorname{{sign}}({0})", parity="odd", monotone="up",
     range=(-1.0, 1.0), breaks=True, rounds=0,
     kernel="ox_sign{s}({0})")
_row("floor", 1, _zero, torch.floor, ex.floor, r"\lfloor {0} \rfloor", monotone="up", breaks=True, rounds=0,
     kernel="ox_floor{s}({0})")
_row("round", 1, _zero, torch.round, ex.round_, r"\operatorname{{round}}({0})", parity="odd", monotone="up",
     breaks=True, rounds=0,
     kernel="ox_round{s}({0})")
_row("maximum", 2, _choice("maximum"), stable.maximum, ex.maximum, r"\max({0}, {1})", breaks=True, rounds=0,
     kernel="ox_max{s}({0}, {1})")
_row("minimum", 2, _choice("minimum"), stable.minimum, ex.minimum, r"\min({0}, {1})", breaks=True, rounds=0,
     kernel="ox_min{s}({0}, {1})")
_row("gt", 2, _zero, operator.gt, ex.gt, "{0} > {1}", breaks=True, rounds=0,
     kernel="{0} > {1}")
_row("ge", 2, _zero, operator.ge, ex.ge, r"{0} \ge {1}", breaks=True, rounds=0,
     kernel="{0} >= {1}")
_row("where", 3, _where_diff, stable.where, ex.where,
     r"\begin{{cases}} {1} & {0} \\ {2} & \text{{otherwise}} \end{{cases}}", rounds=0,
     kernel="ox_select{s}({0}, {1}, {2})")
# Powers, exponentials, logarithms
_row("sqrt", 1, _one(lambda a, n: 0.5 / n), torch.sqrt, ex.sqrt, r"\sqrt{{{0}}}", monotone="up", range=(0.0, math.inf),
     kernel="ox_sqrt{s}({0})")
_row("exp", 1, _one(lambda a, n: n), torch.exp, ex.exp, "e^{{{0}}}", monotone="up", range=(0.0, math.inf))
_row("expm1", 1, _one(lambda a, n: _fn("exp")(a)), torch.expm1, ex.expm1, r"(e^{{{0}}} - 1)", monotone="up",
     range=(-1.0, math.inf))
_row("log", 1, _one(lambda a, n: 1.0 / a), torch.log, ex.log, r"\log({0})", monotone="up")
_row("log1p", 1, _one(lambda a, n: 1.0 / (1.0 + a)), torch.log1p, ex.log1p, r"\log(1 + {0})", monotone="up")
# Circular and hyperbolic
_row("sin", 1, _one(lambda a, n: _fn("cos")(a)), torch.sin, ex.sin, r"\sin({0})", parity="odd", range=(-1.0, 1.0))
_row("cos", 1, _one(lambda a, n: -_fn("sin")(a)), torch.cos, ex.cos, r"\cos({0})", parity="even", range=(-1.0, 1.0))
_row("tan", 1, _one(lambda a, n: 1.0 + n * n), torch.tan, ex.tan, r"\tan({0})", parity="odd")
_row("atan", 1, _one(lambda a, n: 1.0 / (1.0 + a * a)), torch.atan, ex.atan, r"\arctan({0})", parity="odd",
     monotone="up", range=(-math.pi / 2, math.pi / 2))
_row("sinh", 1, _one(lambda a, n: _fn("cosh")(a)), torch.sinh, ex.sinh, r"\sinh({0})", parity="odd", monotone="up")
_row("cosh", 1, _one(lambda a, n: _fn("sinh")(a)), torch.cosh, ex.cosh, r"\cosh({0})", parity="even",
     range=(1.0, math.inf))
_row("tanh", 1, _one(lambda a, n: _sech2(a)), torch.tanh, ex.tanh, r"\tanh({0})", parity="odd", monotone="up",
     range=(-1.0, 1.0))
_row("asinh", 1, _one(lambda a, n: 1.0 / _hypot1(a)), torch.asinh, ex.asinh, r"\operatorname{{asinh}}({0})",
     parity="odd", monotone="up")
_row("sech2", 1, _one(lambda a, n: -2.0 * (_fn("tanh")(a) * n)), stable.sech2, ex.sech2,
     r"\operatorname{{sech}}^2({0})", parity="even", range=(0.0, 1.0))
_row("logcosh", 1, _one(lambda a, n: _fn("tanh")(a)), stable.logcosh, ex.logcosh, r"\log\cosh({0})",
     parity="even", range=(0.0, math.inf))
_row("tanhshrink", 1, _one(lambda a, n: _fn("tanh")(a) ** 2.0), stable.tanhshrink, ex.tanhshrink,
     r"({0} - \tanh {0})", parity="odd", monotone="up")
# Logistic. sigmoid' is a quarter of sech2 of the half: s(1 - s) would cancel where s is near 1.
_row("sigmoid", 1, _one(lambda a, n: 0.25 * _sech2(0.5 * a)), torch.sigmoid, ex.sigmoid, r"\sigma({0})",
     monotone="up", range=(0.0, 1.0))
_row("softplus", 1, _one(lambda a, n: _sigmoid(a)), stable.softplus, ex.softplus,
     r"\operatorname{{softplus}}({0})", monotone="up", range=(0.0, math.inf))
# Normal distribution
_row("erf", 1, _one(lambda a, n: (2.0 / math.sqrt(math.pi)) * _fn("exp")(-(a * a))), torch.erf, ex.erf,
     r"\operatorname{{erf}}({0})", parity="odd", monotone="up", range=(-1.0, 1.0))
_row("erfc", 1, _one(lambda a, n: (-2.0 / math.sqrt(math.pi)) * _fn("exp")(-(a * a))), torch.erfc, ex.erfc,
     r"\operatorname{{erfc}}({0})", monotone="down", range=(0.0, 2.0))
_row("Phi", 1, _one(lambda a, n: _fn("phi")(a)), stable.Phi, ex.Phi, r"\Phi({0})", monotone="up", range=(0.0, 1.0))
_row("phi", 1, _one(lambda a, n: -(a * n)), stable.phi, ex.phi, r"\varphi({0})", parity="even",
     range=(0.0, 1.0 / math.sqrt(2.0 * math.pi)))
# Algebraic sigmoids: the quotient rule would cancel in their tails, so their derivatives are stated.
_row("softsign", 1, _one(lambda a, n: (1.0 + abs(a)) ** -2.0), stable.softsign, ex.softsign,
     r"\operatorname{{softsign}}({0})", parity="odd", monotone="up", range=(-1.0, 1.0))
_row("hypot1", 1, _one(lambda a, n: _fn("isru")(a)), stable.hypot1, ex.hypot1, r"\sqrt{{1 + {0}^2}}",
     parity="even", range=(1.0, math.inf))
_row("hypotm1", 1, _one(lambda a, n: _fn("isru")(a)), stable.hypotm1, ex.hypotm1, r"(\sqrt{{1 + {0}^2}} - 1)",
     parity="even", range=(0.0, math.inf))
_row("isru", 1, _one(lambda a, n: _hypot1(a) ** -3.0), stable.isru, ex.isru,
     r"\frac{{{0}}}{{\sqrt{{1 + {0}^2}}}}", parity="odd", monotone="up", range=(-1.0, 1.0))
_row("sqp", 1, _one(lambda a, n: _fn("sqp1")(a)), stable.sqp, ex.sqp, r"({0} + \sqrt{{1 + {0}^2}})",
     monotone="up", range=(0.0, math.inf))
_row("sqp1", 1, _one(lambda a, n: _hypot1(a) ** -3.0), stable.sqp1, ex.sqp1,
     r"(1 + \frac{{{0}}}{{\sqrt{{1 + {0}^2}}}})", monotone="up", range=(0.0, 2.0))
# sin(x)/x and its derivatives, by static order
_row("sinc", 1, _one(lambda a, n: Expr("sinc", (a,), int(n.data or 0) + 1)), stable.sinc, ex.sinc,
     r"\operatorname{{sinc}}({0})",
     kernel="og_sinc{data}({0})")
# fmt: on

pi, e = math.pi, math.e

add, sub, mul, div, neg = OPS["add"], OPS["sub"], OPS["mul"], OPS["div"], OPS["neg"]
sign, floor, maximum, minimum, where = (OPS[k] for k in ("sign", "floor", "maximum", "minimum", "where"))
sqrt, exp, expm1, log, log1p = (OPS[k] for k in ("sqrt", "exp", "expm1", "log", "log1p"))
sin, cos, tan, sinh, cosh, atan, asinh = (OPS[k] for k in ("sin", "cos", "tan", "sinh", "cosh", "atan", "asinh"))
tanh, sech2, logcosh, tanhshrink = (OPS[k] for k in ("tanh", "sech2", "logcosh", "tanhshrink"))
sigmoid, softplus, erf, erfc, Phi, phi = (OPS[k] for k in ("sigmoid", "softplus", "erf", "erfc", "Phi", "phi"))
softsign, hypot1, hypotm1, isru, sqp = (OPS[k] for k in ("softsign", "hypot1", "hypotm1", "isru", "sqp"))
round = OPS["round"]
abs = OPS["abs"]
pow = OPS["pow"]


def sinc(x: Any) -> Any:
    """``sin(x)/x``, 1 at 0 (not the normalised ``sin(pi x)/(pi x)``)."""
    return OPS["sinc"](x, data=0)


def relu(x: Any) -> Any:
    """``max(x, 0)``."""
    return maximum(x, 0.0)


def log_sigmoid(x: Any) -> Any:
    """``log(sigmoid(x)) = -softplus(-x)``."""
    return -softplus(-x)


def clip(x: Any, lo: Any, hi: Any) -> Any:
    """``min(max(x, lo), hi)``."""
    return minimum(maximum(x, lo), hi)


# What a formula may call: every row that is a function of its arguments, the compositions above, and the
# spellings people use for them.
_HIDDEN = {"gt", "ge", "add", "sub", "mul", "div", "neg", "xlogy", "sinc", "sqp1"}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{k: v for k, v in OPS.items() if k not in _HIDDEN},
    "sinc": sinc, "relu": relu, "log_sigmoid": log_sigmoid, "clip": clip,
    "max": maximum, "min": minimum, "clamp": clip, "arctan": atan, "arcsinh": asinh, "logsigmoid": log_sigmoid,
    "square": lambda x: x * x, "rsqrt": lambda x: 1.0 / sqrt(x),
}  # fmt: skip
CONSTANTS: dict[str, float] = {"pi": math.pi, "e": math.e}

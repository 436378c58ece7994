"""Published functions made hard to recognise, and functions nobody published, drawn with a fixed seed.

A disguise moves the parameters of an entry, scales and shifts it, ``c*f(a*x + b) + d*x + e``, rewrites its algebra
(sigmoid by tanh, relu by abs, powers by products, sums the other way round) and hands it over as a formula, a
function of tensors or a module. Each is checked to be the function it was made from.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ogive.activation import Activation
from ogive.catalogue import entries
from ogive.derive.find import Found
from ogive.derive.relations import relations
from ogive.errors import OgiveError
from ogive.expr import Expr, as_expr, rebuild, to_text, value_of, var
from ogive.ops import OPS

GRID = torch.cat(
    [torch.linspace(-9.7, 9.9, 331, dtype=torch.float64), torch.tensor([-40.3, 37.1], dtype=torch.float64)]
)


@dataclass(frozen=True)
class Disguise:
    """``target`` is ``entry`` after ``done``, a list of what was done to it."""

    entry: str
    target: Any
    done: tuple[str, ...]

    def __call__(self, x: Tensor) -> Tensor:
        from ogive import get

        return get(self.target)(x) if isinstance(self.target, str) else self.target(x)


def _f(op: str, *args: Expr) -> Expr:
    return Expr(op, args)


def _half(e: Expr) -> Expr:
    return 0.5 * e


# Other ways to write a primitive; None where there is nothing to do.
SPELLINGS: dict[str, tuple[Callable[..., Expr | None], ...]] = {
    "sigmoid": (
        lambda u: _half(1.0 + _f("tanh", _half(u))),
        lambda u: 1.0 / (1.0 + _f("exp", -u)),
        lambda u: 1.0 - 1.0 / (1.0 + _f("exp", u)),
    ),
    "tanh": (
        lambda u: 2.0 * _f("sigmoid", 2.0 * u) - 1.0,
        lambda u: 1.0 - 2.0 / (1.0 + _f("exp", 2.0 * u)),
    ),
    "softplus": (lambda u: _f("log", 1.0 + _f("exp", u)), lambda u: -_f("log", _f("sigmoid", -u))),
    "maximum": (lambda u, v: _half(u + v + abs(u - v)), lambda u, v: _f("where", u > v, u, v)),
    "minimum": (lambda u, v: _half(u + v - abs(u - v)), lambda u, v: -_f("maximum", -u, -v)),
    "abs": (lambda u: _f("maximum", u, -u), lambda u: _f("sqrt", u * u)),
    "erf": (lambda u: 1.0 - _f("erfc", u), lambda u: 2.0 * _f("Phi", math.sqrt(2.0) * u) - 1.0),
    "Phi": (lambda u: _half(1.0 + _f("erf", u / math.sqrt(2.0))),),
    "exp": (lambda u: 1.0 / _f("exp", -u), lambda u: _f("expm1", u) + 1.0),
    "expm1": (lambda u: _f("exp", u) - 1.0,),
    "log1p": (lambda u: _f("log", u + 1.0),),
    "sech2": (lambda u: 1.0 - _f("tanh", u) ** 2.0,),
    "softsign": (lambda u: u / (1.0 + abs(u)),),
    "hypot1": (lambda u: _f("sqrt", u * u + 1.0),),
    "isru": (lambda u: u / _f("sqrt", 1.0 + u * u),),
    "sin": (lambda u: _f("cos", u - math.pi / 2.0),),
    "cos": (lambda u: 1.0 - 2.0 * _f("sin", _half(u)) ** 2.0,),
    "add": (lambda u, v: v + u,),
    "mul": (lambda u, v: v * u,),
    "sub": (lambda u, v: -v + u, lambda u, v: -(v - u)),
    "div": (lambda u, v: u * v**-1.0,),
    "pow": (lambda u, v: u * u if value_of(v) == 2.0 else u * u * u if value_of(v) == 3.0 else None,),
}


def respelt(expr: Expr, chance: np.random.Generator, share: float = 0.6) -> Expr:
    """The same function, with some of its primitives written in other ways."""

    def build(node: Expr, args: tuple[Expr, ...]) -> Expr:
        ways = SPELLINGS.get(node.op)
        if ways and chance.random() < share:
            other = ways[chance.integers(len(ways))](*args)
            if other is not None:
                return other
        return rebuild(node, args)

    return expr.map(lambda leaf: leaf, build)


class Wrapped(nn.Module):
    """A tree run by torch's functions, its numbers parameters of the module."""

    def __init__(self, expr: Expr) -> None:
        super().__init__()
        self.expr = expr
        numbers = [float(n.data) for n in expr.walk() if n.op == "const"]  # type: ignore[arg-type]
        self.numbers = nn.Parameter(torch.tensor(numbers, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        value: dict[Expr, Any] = {}
        numbers = iter(self.numbers)
        for n in self.expr.walk():
            if n.op == "const":
                value[n] = next(numbers)
            elif n.op == "var":
                value[n] = x
            else:
                value[n] = _torch(n, [value[a] for a in n.args])
        result: Tensor = value[self.expr]
        return result


_NATIVE: dict[str, Callable[..., Tensor]] = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.true_divide, "neg": torch.neg,
    "maximum": torch.maximum, "minimum": torch.minimum, "where": torch.where, "sigmoid": torch.special.expit,
    "softsign": nn.functional.softsign, "erf": torch.special.erf,
    "softplus": lambda u: torch.logaddexp(u, torch.zeros_like(u)),
}  # fmt: skip


def _torch(node: Expr, args: list[Any]) -> Tensor:
    extra = () if node.data is None else (node.data,)
    return (_NATIVE.get(node.op) or OPS[node.op].torch)(*args, *extra)


def _moved(act: Activation, chance: np.random.Generator) -> dict[str, float]:
    """Other values of the parameters, inside their constraints."""
    values = {}
    for name, p in act.params.items():
        old = float(p.default or 0.0)
        new = old * math.exp(chance.uniform(-0.7, 0.7)) if old else chance.uniform(-0.7, 0.7)
        new = float(f"{new:.3g}")
        values[name] = new if p.admits(new) else old
    return values


def _signed(chance: np.random.Generator, spread: float) -> float:
    return float(f"{math.exp(chance.uniform(-spread, spread)) * chance.choice([1.0, -1.0]):.3g}")


def _decided(node: Expr, args: tuple[Expr, ...]) -> Expr:
    """A choice between numbers, made."""
    if node.op == "where" and args[0].op in ("gt", "ge"):
        u, v = (value_of(a) for a in args[0].args)
        if u is not None and v is not None:
            return args[1] if (u > v or (u == v and args[0].op == "ge")) else args[2]
    return rebuild(node, args)


def _draw(act: Activation, chance: np.random.Generator) -> Disguise | None:
    done = []
    params = {k: as_expr(v) for k, v in act.defaults.items()}
    move = bool(params) and chance.random() < 0.6
    if move:
        params = {k: as_expr(v) for k, v in _moved(act, chance).items()}
        done.append("parameters moved")
    plain = act.written.substitute(params).map(lambda leaf: leaf, _decided)
    x = var(act.inputs[0])
    expr = plain
    if not move or chance.random() < 0.25:
        a, b = _signed(chance, 0.8), round(float(chance.uniform(-1.5, 1.5)), 2)
        c, e = _signed(chance, 1.0), round(float(chance.uniform(-1.0, 1.0)), 2)
        d = round(float(chance.uniform(-0.8, 0.8)), 2) if chance.random() < 0.3 else 0.0
        some = chance.random(4) < 0.7
        a, b, c, e = a if some[0] else 1.0, b if some[1] else 0.0, c if some[2] else 1.0, e if some[3] else 0.0
        expr = c * expr.substitute({act.inputs[0]: a * x + b}) + d * x + e
        done.append("rescaled")
    straight = expr
    if chance.random() < 0.7:
        expr = respelt(expr, chance).map(lambda leaf: leaf, _decided)
        done.append("rewritten")
    expr, straight = (t.substitute({act.inputs[0]: var("x")}) for t in (expr, straight))
    form = ("formula", "function", "module")[chance.integers(3)]
    target: Any = to_text(expr) if form == "formula" else Wrapped(expr)
    if form == "function":
        target = _function(target)
    made = Disguise(str(act.name), target, (*done, form))
    return made if _faithful(made, straight) else None


def _function(run: nn.Module) -> Callable[[Tensor], Tensor]:
    def f(x: Tensor) -> Tensor:  # asks for shapes, so that its formula cannot be read off: only its values tell
        return run(x).reshape(x.shape)

    return f


def _faithful(made: Disguise, straight: Expr) -> bool:
    """Whether the disguise is a function with values, not a straight line, and the one it was made from."""
    try:
        with torch.no_grad():
            y = Wrapped(straight)(GRID)
            z = made(GRID)
    except OgiveError:
        return False
    if not bool(torch.isfinite(y).all()):
        return False
    line = torch.stack([torch.ones_like(GRID), GRID], 1)[:-2]
    rest = y[:-2] - line @ torch.linalg.lstsq(line, y[:-2, None]).solution[:, 0]
    if float(rest.abs().max()) < 1e-3 * (1.0 + float(y[:-2].abs().max())):
        return False
    return float(((y - z).abs() / (1.0 + y.abs())).nan_to_num(nan=math.inf).max()) < 1e-11


def disguises(n: int = 200, seed: int = 0) -> list[Disguise]:
    """``n`` disguised entries, each of another entry while there are enough."""
    chance = np.random.default_rng(seed)
    pool = [a for a in entries().values() if len(a.inputs) == 1]
    pool = [pool[i] for i in chance.permutation(len(pool))]
    found: list[Disguise] = []
    for act in (act for _ in range(8) for act in pool):
        made = _draw(act, chance)
        if made is not None:
            found.append(made)
        if len(found) == n:
            break
    return found


_OUTER = ("tanh({})", "sigmoid({})", "softplus({})", "erf({})", "atan({})", "abs({})", "max({}, 0)", "sin({})",
          "exp(-({})**2)", "log(1 + ({})**2)", "({})/(1 + abs({}))", "sqrt(1 + ({})**2)")  # fmt: skip
_INNER = ("{a}*x", "{a}*x + {b}*sin({c}*x)", "x**2*{b} + {a}*x", "x + {b}*tanh({c}*x)**2", "{a}*abs(x) - {b}*x*cos({c}*x)",
          "{b}*x*x/(1 + abs(x)) + {a}")  # fmt: skip


def novel(n: int = 100, seed: int = 1) -> list[str]:
    """``n`` random formulas: a product and a sum of unlike functions of unlike arguments."""
    chance = np.random.default_rng(seed)

    def piece() -> str:
        numbers = {k: f"{math.exp(chance.uniform(-0.7, 0.7)):.3g}" for k in "abc"}
        inner = _INNER[chance.integers(1, len(_INNER))].format(**numbers)
        return _OUTER[chance.integers(len(_OUTER))].replace("{}", inner)

    found: list[str] = []
    while len(found) < n:
        text = f"x*{piece()}*{piece()} + {math.exp(chance.uniform(-1.0, 0.5)):.3g}*{piece()}"
        found.append(text)
    return found


def recognised(made: Disguise, found: Found, by_name: bool = False) -> bool:
    """Whether an exact match is the function. ``by_name``: and names the entry, or one that is the same or contains
    it; without, a scaled copy of the entry will do (tanh for a disguised bipolar_sigmoid)."""
    kin = {r.other for r in relations(made.entry) if r.kind in ("same as", "contained in")}
    x = GRID[:-2]
    with torch.no_grad():
        y = made(x)
    for m in found.matches:
        if m.exact and (not by_name or m.name == made.entry or m.name in kin):
            f, how = entries()[m.name].with_params(**m.parameters), m.transform
            z = how.c * f(how.a * x + how.b) + how.d * x + how.e
            if float(((y - z).abs() / (1.0 + y.abs())).max()) < 1e-7:
                return True
    return False

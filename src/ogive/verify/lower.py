"""From formulas of several signals to steps: sums and scales stay linear, products become products, what depends on one
signal stays one formula."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.breaks import affine
from ogive.errors import InputError
from ogive.expr import Expr, const, rebuild, value_of, var
from ogive.kernels.program import compile_program
from ogive.verify.formula import Formula
from ogive.verify.linear import Scaled, Weights

X = var("x")
_ONE, _ZERO = const(1.0), const(0.0)
_GROUPS = 4096  # distinct functions that one step may be made of


@lru_cache(maxsize=1024)
def activation(expr: Expr) -> Activation:
    """One object for one formula, so that what is proved of it is proved once."""
    return Activation(expr)


@dataclass(frozen=True)
class Parts:
    """``outer_a core(inner_a x + inner_b) + outer_b``, the tensors of a formula in the affine parts if possible."""

    inner: tuple[Expr, Expr]
    core: Expr
    outer: tuple[Expr, Expr]


def parts(expr: Expr) -> Parts:
    """Take the tensors that a formula is scaled or shifted by out of it, from the outside and from the inside."""
    a, b, core = _ONE, _ZERO, expr
    while tensors(core) and core.op in ("add", "sub", "mul", "div", "neg"):
        if core.op == "neg":
            a, core = -a, core.args[0]
            continue
        left, right = core.args
        if "x" in left.variables() and "x" in right.variables():
            break
        inside, other = (left, right) if "x" in left.variables() else (right, left)
        if core.op == "add":
            b = b + a * other
        elif core.op == "sub":
            a, b = (a, b - a * other) if inside is left else (-a, b + a * other)
        elif core.op == "mul":
            a = a * other
        elif inside is left:
            a = a / other
        else:
            break
        core = inside
    whole = _largest_affine(core)
    if len(whole) == 1 and tensors(whole[0]):  # x stands in it and nowhere else
        return Parts(affine(whole[0], "x") or (_ONE, _ZERO), _replaced(core, whole[0]), (a, b))
    return Parts((_ONE, _ZERO), core, (a, b))


def tensors(expr: Expr) -> list[str]:
    """Names of the tensors in a formula."""
    return sorted(v for v in expr.variables() if v.startswith("p"))


def _largest_affine(expr: Expr) -> list[Expr]:
    found: dict[Expr, None] = {}
    stack, seen = [expr], set()
    while stack:
        node = stack.pop()
        if node in seen or "x" not in node.variables():
            continue
        seen.add(node)
        if affine(node, "x") is not None:
            found[node] = None
        else:
            stack.extend(node.args)
    return list(found)


def _replaced(expr: Expr, old: Expr) -> Expr:
    new: dict[Expr, Expr] = {}
    for node in expr.walk():
        new[node] = X if node is old else rebuild(node, tuple(new[a] for a in node.args)) if node.args else node
    return new[expr]


def evaluated(expr: Expr, values: Mapping[str, Tensor]) -> Tensor | float:
    """The value of a formula without signals: a number, or a tensor in float64."""
    known = value_of(expr)
    if known is not None:
        return known
    if expr.op == "var":
        return values[str(expr.data)].detach().double()
    names = tuple(sorted(expr.variables()))
    if not names:  # a number that the tree does not fold, such as exp(1.7)
        return float(compile_program(expr, ("x",), ()).run([torch.zeros(1, dtype=torch.float64)], torch.float64)[0])
    run = compile_program(expr, names, tuple(0.7 for _ in names[1:]))
    return run.run([values[n].detach().double() for n in names], torch.float64)


def scaled(name: str, line: tuple[Expr, Expr], values: Mapping[str, Tensor]) -> Scaled:
    """The step ``a x + b``."""
    a, b = (evaluated(e, values) for e in line)
    doubt = float(sum(bool(n.args) for e in line for n in e.walk())) * 4.0
    offset: Weights | None = None
    if isinstance(b, Tensor) or b != 0.0:
        fixed = torch.as_tensor(b, dtype=torch.float64)
        offset = fixed.to
    return Scaled(name, [a.to if isinstance(a, Tensor) else a], offset, doubt)


def formula(name: str, expr: Expr, values: Mapping[str, Tensor], shape: tuple[int, ...]) -> Formula:
    """The step of one formula, or of one for every distinct set of values of its tensors."""
    names = tensors(expr)
    if not names:
        return Formula(name, [(activation(expr), None)])
    table = torch.stack([values[n].detach().double().expand(shape).flatten() for n in names], 1)
    rows, which = table.unique(dim=0, return_inverse=True)
    if len(rows) > _GROUPS:
        raise InputError(f"verify: {name} has {len(rows)} different values of its parameters, each a function of its "
                         f"own; at most {_GROUPS} are followed")  # fmt: skip
    groups = [
        (
            activation(expr.substitute({n: const(float(v)) for n, v in zip(names, row)})),
            (which == i).nonzero().flatten(),
        )
        for i, row in enumerate(rows)
    ]
    made = Formula(name, groups)
    made.dims = len(shape)
    return made

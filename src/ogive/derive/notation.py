"""How a formula's letters and rows are written by hand: symbols, and the stable rows spelled out."""

from __future__ import annotations

import math
import re

from ogive import expr as tree
from ogive.derive.recognition.constants import recognised
from ogive.expr import Expr, const
from ogive.ops import OPS

_SMALL = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon "
_SMALL += "phi chi psi"
_GREEK = frozenset(f"{_SMALL} omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega".split())
_SPELLED = {"lam": "\\lambda", "lambd": "\\lambda", "lambda_": "\\lambda", "eps": "\\varepsilon"}
_LETTERS = dict(zip("αβγδεζηθικλμνξπρστυφχψ", _SMALL.split())) | {
    "ω": "omega",
    "ε": "varepsilon",
    "φ": "varphi",
}
_LETTERS |= dict(zip("ΓΔΘΛΞΠΣΦΨΩ", ("Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Phi", "Psi", "Omega")))


def symbol(name: str) -> str:
    """A variable's name in LaTeX.

    >>> symbol("beta"), symbol("p1"), symbol("alpha_n"), symbol("negative_slope")
    ('\\\\beta', 'p_1', '\\\\alpha_n', '\\\\mathrm{negative\\\\_slope}')
    """
    if name in _SPELLED:
        return _SPELLED[name]
    if name in _GREEK:
        return f"\\{name}"
    if len(name) == 1:
        return f"\\{_LETTERS[name]}" if name in _LETTERS else name if name.isalnum() else _roman(name)
    parts = re.fullmatch(r"(.+?)_?(\d+)", name) or re.fullmatch(r"([^_]+)_([^_]+)", name)
    if parts:
        base, index = parts.groups()
        base = base.rstrip("_")
        if len(base) == 1 or base in _GREEK or base in _SPELLED:
            shown = index if len(index) == 1 or index.isdigit() else symbol(index)
            return f"{symbol(base)}_{shown}" if len(shown) == 1 else f"{symbol(base)}_{{{shown}}}"
    return _roman(name)


def _roman(name: str) -> str:
    safe = "".join(c if c.isalnum() else "\\_" if c == "_" else f"{{{ord(c)}}}" for c in name)
    return f"\\mathrm{{{safe}}}"


def spell_out(expr: Expr) -> Expr:
    """The tree with expm1, hypot1, sech2 and their like as what they stand for, and log(1) as 0."""
    one = const(1.0)

    def build(n: Expr, args: tuple[Expr, ...]) -> Expr:
        u = args[0]
        if len(args) == 1 and u.op == "const" and n.data is None:  # log(1) is 0, log(3) stays
            value = OPS[n.op](u.data)
            if math.isfinite(value) and recognised(abs(value)):
                return const(value)
        root = Expr("sqrt", (Expr("add", (one, tree.power(u, const(2.0)))),)) if len(args) == 1 else u
        stands_for = {
            "expm1": lambda: tree.sub(Expr("exp", (u,)), one),
            "log1p": lambda: Expr("log", (tree.add(one, u),)),
            "hypot1": lambda: root,
            "hypotm1": lambda: tree.sub(root, one),
            "isru": lambda: tree.div(u, root),
            "sqp": lambda: tree.add(u, root),
            "sqp1": lambda: tree.add(one, tree.div(u, root)),
            "tanhshrink": lambda: tree.sub(u, Expr("tanh", (u,))),
            "sech2": lambda: Expr("pow", (Expr("sech", (u,)), const(2.0))),
            "logcosh": lambda: Expr("log", (Expr("cosh", (u,)),)),
            "xlogy": lambda: tree.mul(u, Expr("log", (args[-1],))),
        }.get(n.op)
        return stands_for() if stands_for else tree.rebuild(n, args)

    return expr.map(lambda leaf: leaf, build)

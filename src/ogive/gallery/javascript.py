"""A tree as JavaScript: straight-line code over generated identifiers and the primitives of assets/math.js.

Nothing that a user wrote reaches the code: variables become ``x`` and ``p[i]``, constants are printed from
doubles, operations are looked up. So a page's functions are plain script files, and no page needs eval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ogive.errors import FormulaError
from ogive.expr import Expr, number_text

LONGEST = 4000

_INFIX = {"add": "{0}+{1}", "sub": "{0}-{1}", "div": "{0}/{1}", "gt": "{0}>{1}", "ge": "{0}>={1}"}
_NATIVE = {
    "neg": "-{0}", "where": "{0}?{1}:{2}", "abs": "Math.abs({0})", "sign": "Math.sign({0})",
    "floor": "Math.floor({0})", "maximum": "Math.max({0},{1})", "minimum": "Math.min({0},{1})",
    **{k: f"Math.{k}({{0}})" for k in (
        "sqrt", "exp", "expm1", "log", "log1p", "sin", "cos", "tan", "atan", "sinh", "cosh", "tanh", "asinh")},
    "asin": "Math.asin({0})", "acos": "Math.acos({0})", "acosh": "Math.acosh({0})", "atanh": "Math.atanh({0})",
}  # fmt: skip
# Functions of assets/math.js.
OWN = (
    "pow", "xlogy", "round", "sech2", "logcosh", "tanhshrink", "sigmoid", "softplus", "erf", "erfc", "Phi", "phi",
    "softsign", "hypot1", "hypotm1", "isru", "sqp", "sqp1",
)  # fmt: skip


def printable(op: str) -> bool:
    """Whether the gallery's script can compute the primitive ``op``."""
    return op in _INFIX or op in _NATIVE or op in OWN or op in ("mul", "sinc", "const", "var")


def function(expr: Expr, inputs: Sequence[str], params: Sequence[str]) -> str:
    """``expr`` as a JavaScript function of the number x and the array p of parameters.

    A second input comes first in p. Raises :class:`~ogive.errors.FormulaError` for a primitive that
    assets/math.js lacks and for more than 4000 operations.

    >>> from ogive.parse import parse
    >>> function(parse("x*sigmoid(beta*x)", ("x", "beta")), ("x",), ("beta",))
    '(x,p)=>{const a=M.mul(p[0],x),b=M.sigmoid(a),c=M.mul(x,b);return c}'
    """
    names = {inputs[0]: "x"} | {name: f"p[{i}]" for i, name in enumerate((*inputs[1:], *params))}
    text: dict[Expr, str] = {}
    steps: list[str] = []
    for node in expr.walk():
        if node.op == "const":
            text[node] = _number(float(node.data))  # type: ignore[arg-type]
        elif node.op == "var":
            text[node] = names[str(node.data)]
        else:
            name = _identifier(len(steps))
            steps.append(f"{name}={_call(node, text)}")
            text[node] = name
        if len(steps) > LONGEST:
            raise FormulaError(f"the formula is too long for the page's script: over {LONGEST} operations")
    head = f"const {','.join(steps)};" if steps else ""
    return f"(x,p)=>{{{head}return {text[expr]}}}"


def _number(value: float) -> str:
    """A literal that cannot run into a sign before it."""
    return number_text(value) if value >= 0 else f"({number_text(value)})"


def _identifier(i: int) -> str:
    """a, b, ..., z, a1, b1, ...: p, x, and M are taken."""
    letters = "abcdefghijklmnoqrstuvwyz"
    turn, at = divmod(i, len(letters))
    return letters[at] + (str(turn) if turn else "")


def _call(node: Expr, text: Mapping[Expr, str]) -> str:
    args = [text[a] for a in node.args]
    if node.op == "mul":
        known = any(a.op == "const" for a in node.args)
        return f"{args[0]}*{args[1]}" if known else f"M.mul({args[0]},{args[1]})"
    if node.op == "sinc":
        return f"M.sinc({args[0]},{int(node.data or 0)})"
    template = _INFIX.get(node.op) or _NATIVE.get(node.op)
    if template is not None:
        return template.format(*args)
    if node.op in OWN:
        return f"M.{node.op}({','.join(args)})"
    raise FormulaError(f"the page's script has no function {node.op!r}, so this formula is shown without sliders")

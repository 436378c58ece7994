"""Reading a formula from a string: Python's own grammar against a whitelist, never evaluated."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ogive.errors import FormulaError, closest
from ogive.expr import Expr, as_expr, const, var
from ogive.ops import CONSTANTS, FUNCTIONS

MAX_LENGTH = 10_000
MAX_NESTING = 100

_BINARY: dict[type[ast.operator], Callable[[Expr, Expr], Expr]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: a**b,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Expr, Expr], Expr]] = {
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
}
_INTERNAL = {"sinc": 2, "sqp1": 1}  # rows that only printing back produces


def _excerpt(text: str, start: int, end: int) -> str:
    """The formula on one line with the offending part underlined, cut to a window around it."""
    left = max(0, start - 50)
    line = text[left : left + 100]
    return f"\n  {line}\n  {' ' * (start - left)}{'^' * max(1, min(end, left + 100) - start)}"


class _Reader:
    def __init__(self, text: str, names: Collection[str] | None, functions: Mapping[str, Callable[..., Any]]) -> None:
        self.text, self.names, self.functions = text, names, functions

    def fail(self, node: ast.AST, message: str) -> FormulaError:
        start = getattr(node, "col_offset", 0)
        end = getattr(node, "end_col_offset", None) or start + 1
        return FormulaError(message + _excerpt(self.text, start, end))

    def read(self, node: ast.expr) -> Expr:
        if isinstance(node, ast.Constant):
            if isinstance(node.value, bool) or not isinstance(node.value, (int, float)):
                raise self.fail(node, f"a formula is made of numbers; got {node.value!r}")
            try:
                return const(float(node.value))
            except (OverflowError, FormulaError):
                raise self.fail(node, "this number is too large for a double") from None
        if isinstance(node, ast.Name):
            return self.name(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            value = self.read(node.operand)
            return -value if isinstance(node.op, ast.USub) else value
        if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            return self.build(node, _BINARY[type(node.op)], self.read(node.left), self.read(node.right))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitXor):
            raise self.fail(node, "'^' is not a power in Python; write '**'")
        if isinstance(node, ast.Compare):
            if len(node.ops) != 1 or type(node.ops[0]) not in _COMPARE:
                raise self.fail(node, "compare two things with >, >=, < or <=; nest where() for more cases")
            return _COMPARE[type(node.ops[0])](self.read(node.left), self.read(node.comparators[0]))
        if isinstance(node, ast.IfExp):
            return self.build(node, FUNCTIONS["where"], *(self.read(n) for n in (node.test, node.body, node.orelse)))
        if isinstance(node, ast.Call):
            return self.call(node)
        what = {
            ast.Attribute: "attribute access is not part of a formula",
            ast.Subscript: "indexing is not part of a formula",
            ast.BoolOp: "'and'/'or' are not part of a formula; nest where()",
            ast.Lambda: "a formula is an expression in x; write its body alone",
        }.get(type(node), f"'{type(node).__name__}' is not part of a formula")
        raise self.fail(node, what)

    def name(self, node: ast.Name) -> Expr:
        if node.id in CONSTANTS and (self.names is None or node.id not in self.names):
            return const(CONSTANTS[node.id])
        if self.names is None or node.id in self.names:
            return var(node.id)
        if node.id in self.functions:
            raise self.fail(node, f"'{node.id}' is a function; write '{node.id}(...)'")
        near = closest(node.id, [*self.names, *CONSTANTS])
        raise self.fail(
            node,
            f"unknown name '{node.id}' (known here: {', '.join(near)}); "
            f"a parameter needs a default: define(..., params={{'{node.id}': 1.0}})",
        )

    def call(self, node: ast.Call) -> Expr:
        if not isinstance(node.func, ast.Name):
            raise self.fail(node.func, "only plain functions can be called, like tanh(x)")
        name = node.func.id
        if node.keywords or any(isinstance(a, ast.Starred) for a in node.args):
            raise self.fail(node, f"{name} takes plain positional arguments")
        if name in _INTERNAL and len(node.args) == _INTERNAL[name]:
            data = None
            if name == "sinc":
                order = node.args[1]
                if not (isinstance(order, ast.Constant) and isinstance(order.value, int) and 0 <= order.value <= 20):
                    raise self.fail(order, "the order of sinc is an integer from 0 to 20")
                data = order.value
            return Expr(name, (self.read(node.args[0]),), data)
        function = self.functions.get(name)
        if function is None:
            near = ", ".join(closest(name, self.functions))
            raise self.fail(node.func, f"unknown function '{name}'; the closest are {near}")
        return self.build(node, function, *(self.read(a) for a in node.args))

    def build(self, node: ast.AST, make: Callable[..., Any], *args: Expr) -> Expr:
        try:
            return as_expr(make(*args))
        except FormulaError as error:
            raise self.fail(node, str(error)) from None
        except TypeError:
            name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else "this"
            raise self.fail(node, f"{name} does not take {len(args)} argument(s)") from None


def _nesting(text: str) -> int:
    depth = deepest = 0
    for ch in text:
        if ch in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif ch in ")]}":
            depth -= 1
    return deepest


def parse(
    text: str, names: Collection[str] | None = None, functions: Mapping[str, Callable[..., Any]] | None = None
) -> Expr:
    """Read ``text`` as a formula over ``names`` (None: any name is a variable) and the op table's functions.

    ``functions`` adds callables (an activation may be called by name). Raises :class:`FormulaError` that
    underlines the offending part. Nothing is evaluated.

    >>> str(parse("x * sigmoid(1.5 * x)"))
    'x*sigmoid(1.5*x)'
    """
    if not isinstance(text, str):
        raise FormulaError(f"a formula is a string; got {type(text).__name__}")
    if len(text) > MAX_LENGTH:
        raise FormulaError(f"the formula has {len(text)} characters; at most {MAX_LENGTH} are read")
    if _nesting(text) > MAX_NESTING:
        raise FormulaError(f"the formula nests {_nesting(text)} brackets deep; at most {MAX_NESTING} are read")
    flat = " ".join(text.split())
    if not flat:
        raise FormulaError("the formula is empty; write something like 'x*sigmoid(x)'")
    try:
        body = ast.parse(flat, mode="eval").body
        return _Reader(flat, names, {**FUNCTIONS, **(functions or {})}).read(body)
    except SyntaxError as error:
        at = max(0, (error.offset or 1) - 1)
        raise FormulaError(f"cannot read the formula: {error.msg}" + _excerpt(flat, at, at + 1)) from None
    except (RecursionError, MemoryError, ValueError) as error:
        if isinstance(error, FormulaError):
            raise
        raise FormulaError(f"the formula is nested too deeply to read: {flat[:60]}...") from None

"""One printer for every language that has functions and infix arithmetic.

A :class:`Language` is a table: how a number, an operation, an assignment and a function are written. Nothing of a
user's text is copied: names go through :mod:`ogive.derive.emit.names`, numbers through ``number``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ogive.derive.emit.body import short_power
from ogive.derive.emit.definitions import definition
from ogive.derive.emit.names import Names
from ogive.expr import Expr, value_of, where

# How tightly the outermost operation of a piece of text binds.
CHOICE, COMPARE, SUM, PRODUCT, SIGN, ATOM = range(6)
Piece = tuple[str, int]
Template = str | Callable[[Expr, Sequence[str]], str]
FLAGS = frozenset({"gt", "ge", "eq", "isnan", "isinf"})
_INFIX = {"add": ("{0} + {1}", SUM), "sub": ("{0} - {1}", SUM), "mul": ("{0} * {1}", PRODUCT),
          "div": ("{0} / {1}", PRODUCT), "gt": ("{0} > {1}", COMPARE), "ge": ("{0} >= {1}", COMPARE),
          "eq": ("{0} == {1}", COMPARE)}  # fmt: skip
_WIDEST = 84


@dataclass(frozen=True)
class Language:
    """A target's table. ``calls`` writes an operation, with its arguments at {0}, {1}, ...; an operation that is
    neither infix nor there is printed as a helper function from its definition. ``let`` and ``let_flag`` assign,
    ``function`` (name, arguments, statements, result) writes a helper."""

    title: str
    comment: str
    reserved: frozenset[str]
    number: Callable[[float], str]
    calls: Mapping[str, Template]
    function: Callable[[str, Sequence[str], Sequence[str], str], list[str]]
    let: str = "{0} = {1}"
    let_flag: str = "{0} = {1}"
    as_number: str = "float({0})"
    infix: Mapping[str, tuple[str, int]] = field(default_factory=lambda: _INFIX)
    written: Mapping[str, Sequence[str]] = field(default_factory=dict)  # helpers by hand, {0} is their name
    choice: bool = False  # `where` is written c ? a : b
    longest_power: int = 4


class Printer:
    """Prints trees of one text: statements of a function, and the helper functions that they call."""

    def __init__(self, language: Language, prefix: str, names: Names) -> None:
        self.language, self.prefix, self.names = language, prefix, names
        self._called: dict[tuple[str, object], str] = {}
        self.helpers: list[list[str]] = []

    def statements(self, expr: Expr, spelled: Mapping[str, str], names: Names) -> tuple[list[str], str]:
        """The statements that compute ``expr`` and the text of its value; ``spelled`` gives the variables' names,
        ``names`` hands out those of intermediate results."""
        expr = self._lowered(expr)
        uses: dict[Expr, int] = {}
        for n in expr.walk():
            for a in n.args:
                uses[a] = uses.get(a, 0) + 1
        lines: list[str] = []
        pieces: dict[Expr, Piece] = {}
        for n in expr.walk():
            text, level = self._piece(n, pieces, spelled)
            if n.args and n is not expr and (uses.get(n, 0) > 1 or len(text) > _WIDEST):
                name = names.next()
                lines.append((self.language.let_flag if n.op in FLAGS else self.language.let).format(name, text))
                text, level = name, ATOM
            pieces[n] = text, level
        return lines, self._number(expr, pieces)

    def _lowered(self, expr: Expr) -> Expr:
        """Powers and choices of the larger in the operations that the language has."""
        calls = self.language.calls

        def build(n: Expr, args: tuple[Expr, ...]) -> Expr:
            if n.op == "pow" and value_of(args[1]) is not None:
                short = short_power(args[0], float(args[1].data), self.language.longest_power)  # type: ignore[arg-type]
                return Expr("pow", args) if short is None else short
            if n.op in ("maximum", "minimum") and n.op not in calls:
                a, b = args if args[0].op == "const" else args[::-1]
                if a.op == "const":  # a NaN fails the comparison and comes through
                    return where(Expr("gt", (a, b) if n.op == "maximum" else (b, a)), a, b)
            return Expr(n.op, args, n.data)

        return expr.map(lambda leaf: leaf, build)

    def _piece(self, n: Expr, pieces: Mapping[Expr, Piece], spelled: Mapping[str, str]) -> Piece:
        if n.op == "const":
            text = self.language.number(float(n.data))  # type: ignore[arg-type]
            return text, SIGN if text.startswith("-") else ATOM
        if n.op == "var":
            return spelled[str(n.data)], ATOM
        if n.op == "where":
            cond = pieces[n.args[0]][0] if n.args[0].op in FLAGS else self._truth(n.args[0], pieces)
            branches = [self._as_number(a, pieces) for a in n.args[1:]]
            if not self.language.choice:
                parts = [cond, *(text for text, _ in branches)]
                return (self._call(n, parts) if n.op in self.language.calls else self._call_helper(n, parts)), ATOM
            yes, no = (text if level > CHOICE else f"({text})" for text, level in branches)
            return f"{cond if pieces[n.args[0]][1] == ATOM else f'({cond})'} ? {yes} : {no}", CHOICE
        if n.op in self.language.calls:
            return self._call(n, [self._number(a, pieces) for a in n.args]), ATOM
        if n.op == "neg":
            text, level = self._as_number(n.args[0], pieces)
            return "-" + (text if level > SIGN else f"({text})"), SIGN
        if n.op in self.language.infix:
            template, level = self.language.infix[n.op]
            left, right = (self._as_number(a, pieces) for a in n.args)
            tight = level in (COMPARE,)
            lhs = f"({left[0]})" if left[1] < level or (tight and left[1] <= level) else left[0]
            rhs = f"({right[0]})" if right[1] <= level or right[0].startswith("-") else right[0]
            return template.format(lhs, rhs), level
        return self._call_helper(n, [self._number(a, pieces) for a in n.args]), ATOM

    def _as_number(self, n: Expr, pieces: Mapping[Expr, Piece]) -> Piece:
        return (self.language.as_number.format(pieces[n][0]), ATOM) if n.op in FLAGS else pieces[n]

    def _number(self, n: Expr, pieces: Mapping[Expr, Piece]) -> str:
        return self._as_number(n, pieces)[0]

    def _truth(self, n: Expr, pieces: Mapping[Expr, Piece]) -> str:
        text, level = pieces[n]
        return f"{text if level > COMPARE else f'({text})'} > {self.language.number(0.0)}"

    def _call(self, n: Expr, parts: Sequence[str]) -> str:
        template = self.language.calls[n.op]
        return template(n, parts) if callable(template) else template.format(*parts)

    def _call_helper(self, n: Expr, parts: Sequence[str]) -> str:
        return f"{self._helper(n)}({', '.join(parts)})"

    def _helper(self, n: Expr) -> str:
        key = (n.op, n.data)
        if key not in self._called and n.op in self.language.written:
            name = self._called[key] = self.names.of(f"{self.prefix}_{n.op}")
            self.helpers.append([line.replace("{0}", name) for line in self.language.written[n.op]])
        elif key not in self._called:
            args, tree = definition(n.op, None if n.data is None else int(n.data))
            name = self.names.of(f"{self.prefix}_{n.op}{'' if n.data is None else n.data}")
            self._called[key] = name
            inner = Names(self.language.reserved)
            spelled = {a: inner.of(a) for a in args}
            lines, value = self.statements(tree, spelled, inner)
            self.helpers.append(self.language.function(name, list(spelled.values()), lines, value))
        return self._called[key]

"""A formula as LaTeX, with the fewest parentheses that keep its meaning.

Arithmetic is regrouped for the eye before it is printed: products become one coefficient, one numerator and
one denominator, equal factors become powers, negative terms become subtractions, nested choices become one
``cases`` block, and the stable rows of the op table (expm1, hypot1, sech2, ...) become what they stand for.
Every other primitive is printed by its own template.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from ogive import expr as tree
from ogive.derive.notation import spell_out, symbol
from ogive.derive.recognition.constants import closed_form, recognised
from ogive.errors import FormulaError, ParameterError
from ogive.expr import Expr, const, value_of
from ogive.lookup import get
from ogive.ops import OPS

# How tightly the outermost operation of a piece of text binds.
RELATION, SUM, PRODUCT, FRACTION, POWER, ATOM = range(6)
Piece = tuple[str, int]
Factor = tuple[Expr, float]  # base and constant exponent

DEEPEST, LONGEST = 150, 5000
_POWERED = frozenset({"sin", "cos", "tan", "sinh", "cosh", "tanh", "sech"})  # f^2(u) is read as f(u)^2
_HEADS = {"sech": "\\operatorname{sech}", "asin": "\\arcsin"}


def latex(spec: Any, *, params: str = "symbols") -> str:
    """The formula of ``spec`` in LaTeX, without a leading ``f(x) =``.

    Args:
        spec: a name, a formula, an activation.
        params: "symbols" keeps parameters as letters, "values" writes their defaults.

    Constants are named where they are recognised (sqrt(2/pi)) and otherwise shown to six digits. Raises
    :class:`~ogive.errors.ParameterError` for another value of ``params`` and
    :class:`~ogive.errors.FormulaError` for a formula of more than 5000 operations.

    >>> latex("golu")
    '\\\\alpha x e^{-\\\\beta e^{-\\\\gamma x}}'
    >>> latex("golu", params="values")
    'x e^{-e^{-x}}'
    """
    act = get(spec)
    if params not in ("symbols", "values"):
        raise ParameterError(f"latex of {act.name or 'a formula'}: params={params!r}; it takes 'symbols' or 'values'")
    return expression(act.fixed().written if params == "values" else act.written, act.inputs)


def expression(expr: Expr, inputs: Sequence[str] = ("x",)) -> str:
    """A bare tree in LaTeX; ``inputs`` are the variables that are not parameters."""
    size: dict[Expr, tuple[int, int]] = {}
    for n in expr.walk():
        below = [size[a] for a in n.args]
        size[n] = (1 + sum(s for s, _ in below), 1 + max((d for _, d in below), default=0))
    operations, depth = size[expr]
    if operations > LONGEST or depth > DEEPEST:
        raise FormulaError(
            f"the formula is too long to print: {operations} operations, {depth} deep (at most {LONGEST} and {DEEPEST})"
        )
    return _Printer(inputs).show(spell_out(expr))[0]


def _tall(text: str) -> bool:
    return any(mark in text for mark in ("\\frac", "\\sqrt", "\\begin", "\\left"))


def _paren(text: str, after: str = "") -> str:
    return f"{after}\\left({text}\\right)" if _tall(text) else f"({text})"


class _Printer:
    def __init__(self, inputs: Sequence[str]) -> None:
        self.inputs = frozenset(inputs)
        self.done: dict[tuple[Expr, bool], Piece] = {}

    def show(self, n: Expr, inline: bool = False) -> Piece:
        """The text of a node and how tightly it binds; ``inline`` is for exponents."""
        key = (n, inline)
        if key not in self.done:
            self.done[key] = self._show(n, inline)
        return self.done[key]

    def _show(self, n: Expr, inline: bool) -> Piece:
        if n.op == "var":
            return symbol(str(n.data)), ATOM
        if n.op in ("add", "sub") or (n.op == "neg" and n.args[0].op in ("add", "sub")):
            return self.sum(n, inline)
        if n.op == "sqrt" and n.args[0].op == "const":
            return f"\\sqrt{{{self.show(n.args[0])[0]}}}", ATOM
        if n.op in ("const", "neg", "mul", "div", "pow", "sqrt"):
            sign, text, level = self.term(n, inline)
            return (f"-{text}", min(level, SUM)) if sign < 0 else (text, level)
        if n.op == "exp":
            return self.exponential(n.args[0])
        if n.op in ("gt", "ge"):
            return f"\\left[{self.relation(n)}\\right]", ATOM  # a condition used as a number
        if n.op == "where":
            return self.cases(n), RELATION
        if n.op == "abs":
            inner = self.show(n.args[0])[0]
            return (f"\\left|{inner}\\right|" if _tall(inner) or "|" in inner else f"|{inner}|"), ATOM
        if len(n.args) == 1:
            head = self.head(n)
            if head is not None:
                return head + _paren(self.show(n.args[0])[0], "\\!"), ATOM
        listed = [self.show(a)[0] for a in n.args]
        text = OPS[n.op].latex.format(*listed, data=n.data)
        if any(map(_tall, listed)) and text.endswith(")"):
            text = re.sub(r"^(\\[a-z]+)\((.*)\)$", r"\1\\!\\left(\2\\right)", text)
        return text, ATOM

    def head(self, n: Expr) -> str | None:
        """What stands before the parenthesis, None for a primitive that is not written as f(u)."""
        if n.op in _HEADS:
            return _HEADS[n.op]
        template = OPS[n.op].latex
        if not template.endswith("({0})"):
            return None
        mark = "" if not n.data else "'" * int(n.data) if int(n.data) < 3 else f"^{{({n.data})}}"
        return template[:-5].format() + mark

    # Sums

    def sum(self, n: Expr, inline: bool) -> Piece:
        terms: list[tuple[int, Expr]] = []
        stack = [(1, n)]
        while stack:
            sign, node = stack.pop()
            if node.op in ("add", "sub"):
                stack.append((sign if node.op == "add" else -sign, node.args[1]))
                stack.append((sign, node.args[0]))
            elif node.op == "neg":
                stack.append((-sign, node.args[0]))
            else:
                terms.append((sign, node))
        numbers = [s * float(t.data) for s, t in terms if t.op == "const"]  # type: ignore[arg-type]
        if len(numbers) > 1:
            place = next(i for i, (_, t) in enumerate(terms) if t.op == "const")
            rest = [(s, t) for s, t in terms if t.op != "const"]
            total = sum(numbers)
            terms = rest[:place] + ([(1, const(total))] if total else []) + rest[place:]
        pieces: list[tuple[int, str]] = []
        for sign, node in terms:
            s, text, level = self.term(node, inline)
            pieces.append((sign * s, _paren(text) if level <= SUM else text))
        if not pieces:
            return "0", ATOM
        if len(pieces) == 1:
            return ("-" if pieces[0][0] < 0 else "") + pieces[0][1], SUM
        if pieces[0][0] < 0:  # 1 - x, not -x + 1
            first = next((i for i, (s, _) in enumerate(pieces) if s > 0), 0)
            pieces.insert(0, pieces.pop(first))
        text = ("-" if pieces[0][0] < 0 else "") + pieces[0][1]
        for s, piece in pieces[1:]:
            text += (" + " if s > 0 else " - ") + piece
        return text, SUM

    # Products

    def term(self, n: Expr, inline: bool) -> tuple[int, str, int]:
        """A product as (sign, text without the sign, level)."""
        if n.op not in ("const", "neg", "mul", "div", "pow", "sqrt"):
            return (1, *self.show(n, inline))
        sign, over, under, numbers = self.factors(n)
        value = 1.0
        for v, side in numbers:
            value = value * v if side > 0 else value / v
        if value == 0.0:
            return 1, "0", ATOM
        sign, value = (-sign, -value) if value < 0 else (sign, value)
        if len(numbers) < 2 or recognised(value):
            head, foot = closed_form(value)
        else:
            sides = [(closed_form(abs(v)), side) for v, side in numbers]
            head = " \\cdot ".join(filter(None, (f[0] if s > 0 else f[1] for f, s in sides)))
            foot = " \\cdot ".join(filter(None, (f[1] if s > 0 else f[0] for f, s in sides)))
        if not under and not foot:
            text, level = self.join(head, over)
            return (sign, _paren(text), PRODUCT) if sign < 0 and level <= SUM else (sign, text, level)
        return (sign, *self.fraction(head, over, foot, under, inline))

    def fraction(self, head: str, over: list[Factor], foot: str, under: list[Factor], inline: bool) -> Piece:
        simple = [f for f in over if f[0].op == "var"]
        rest = [f for f in over if f[0].op != "var"]
        lone = len(rest) == 1 and not simple and (bool(under) or (not head and rest[0][0].op in ("add", "sub")))
        if lone or any(self.data(b) for b, _ in under):
            simple, rest = over, []  # all of it above the line
        top, top_level = self.join(head, simple)
        bottom, _ = self.join(foot, under)
        plain = re.fullmatch(r"\\?\w+", bottom) is not None and "\\frac" not in top and top_level > SUM
        if inline and plain and not rest:
            text, level = f"{top}/{bottom}", PRODUCT
        else:
            text, level = f"\\frac{{{top}}}{{{bottom}}}", FRACTION
        if not rest:
            return text, level
        tail, tail_level = self.join("", rest, alone=False)
        return f"{text} {tail}", tail_level

    def data(self, n: Expr) -> bool:
        return not self.inputs.isdisjoint(n.variables())

    def factors(self, n: Expr) -> tuple[int, list[Factor], list[Factor], list[tuple[float, int]]]:
        """Sign, factors above and below the line (exponents positive), and the constants with their side."""
        sign = 1
        numbers: list[tuple[float, int]] = []
        powers: dict[tuple[Expr, bool], float] = {}
        stack: list[tuple[Expr, float]] = [(n, 1.0)]
        while stack:
            node, e = stack.pop()
            c = value_of(node.args[1]) if node.op == "pow" else None
            if node.op == "const" and e.is_integer():
                numbers.append((float(node.data) ** abs(e), 1 if e > 0 else -1))  # type: ignore[arg-type]
            elif node.op == "neg" and e.is_integer():
                sign = -sign if e % 2 else sign
                stack.append((node.args[0], e))
            elif node.op in ("mul", "div") and (abs(e) == 1.0 or (e.is_integer() and self.monomial(node))):
                stack.append((node.args[1], e if node.op == "mul" else -e))
                stack.append((node.args[0], e))
            elif c is not None and (e.is_integer() or node.args[0].op == "sqrt"):
                stack.append((node.args[0], e * c))
            elif node.op == "sqrt":
                stack.append((node.args[0], e * 0.5)) if node.args[0].op != "const" else self.gather(powers, node, e)
            else:
                self.gather(powers, node, e)
        merged: dict[Expr, list[float]] = {}
        for (base, _), e in powers.items():
            merged.setdefault(base, []).append(e)
        over: list[Factor] = []
        under: list[Factor] = []
        for base, exponents in merged.items():
            if not self.data(base):  # parameters cancel, the input does not: x/x stays
                exponents = [sum(exponents)]
            for e in exponents:
                if e:
                    (over if e > 0 else under).append((base, abs(e)))
        return sign, self.ordered(over), self.ordered(under), numbers

    @staticmethod
    def gather(powers: dict[tuple[Expr, bool], float], base: Expr, e: float) -> None:
        powers[base, e > 0] = powers.get((base, e > 0), 0.0) + e

    @staticmethod
    def monomial(n: Expr) -> bool:
        """Whether a power of the product is better written factor by factor: (a x)^2 as a^2 x^2."""
        return all(m.op in ("mul", "div", "sqrt", "var", "const") for m in n.walk())

    def ordered(self, factors: list[Factor]) -> list[Factor]:
        def rank(f: Factor) -> int:
            return 2 * self.data(f[0]) + (f[0].op != "var")  # parameters, then the input, then the rest

        return sorted(factors, key=rank)

    def join(self, head: str, factors: list[Factor], alone: bool = True) -> Piece:
        """Factors side by side; a dot only where juxtaposition would read as one number."""
        shown = [self.power(b, e) for b, e in factors]
        if not shown:
            return (head or "1"), (PRODUCT if "\\cdot" in head else FRACTION if "frac" in head else ATOM)
        if len(shown) == 1 and not head and alone:
            return shown[0]
        text = head
        for i, (piece, level) in enumerate(shown):
            last = i == len(shown) - 1
            wrapped = _paren(piece) if level == SUM or (level == RELATION and not last) else piece
            if not text:
                text = wrapped
            elif wrapped[0].isdigit():
                text += f" \\cdot {wrapped}"
            else:
                words = wrapped.startswith("\\mathrm") or (text.endswith("}") and "\\mathrm" in text[-24:])
                text += (" \\, " if words else " ") + wrapped
        return text, RELATION if shown[-1][1] == RELATION else PRODUCT

    # Powers

    def power(self, base: Expr, e: float) -> Piece:
        if e == 1.0 and base.op == "pow":
            return self.raised(base.args[0], self.show(base.args[1], inline=True)[0])
        if e == 1.0:
            return self.show(base)
        if e == 0.5:
            return f"\\sqrt{{{self.show(base)[0]}}}", ATOM
        if base.op == "exp":
            return self.exponential(tree.mul(const(e), base.args[0]))
        ratio = Fraction(e).limit_denominator(12)
        exact = abs(float(ratio) - e) < 1e-12 and ratio.denominator > 1
        exponent = f"{ratio.numerator}/{ratio.denominator}" if exact else self.show(const(e), inline=True)[0]
        if base.op in _POWERED and e.is_integer():
            return f"{self.head(base)}^{_braced(exponent)}" + _paren(self.show(base.args[0])[0], "\\!"), ATOM
        return self.raised(base, exponent)

    def raised(self, base: Expr, exponent: str) -> Piece:
        text, level = self.show(base)
        if level < ATOM or (text[0].isdigit() and not text.replace(".", "").isdigit()):
            text = _paren(text)
        return f"{text}^{_braced(exponent)}", POWER

    def exponential(self, u: Expr) -> Piece:
        text, _ = self.show(u, inline=True)
        if "\\frac" in text or "\\begin" in text or len(text) > 60:
            return "\\exp" + _paren(self.show(u)[0], "\\!"), ATOM
        return f"e^{_braced(text)}", POWER

    # Choices

    def relation(self, n: Expr) -> str:
        """A condition, with the side that holds the input on the left."""
        a, b = n.args
        marks = (">", "\\geq")
        if not self.data(a) and self.data(b):
            a, b, marks = b, a, ("<", "\\leq")
        return f"{self.show(a)[0]} {marks[n.op == 'ge']} {self.show(b)[0]}"

    def cases(self, n: Expr) -> str:
        rows: list[tuple[Expr, str]] = []
        node = n
        while node.op == "where":
            cond, yes, no = node.args
            conditions = [self.relation(cond)]
            while yes.op == "where" and yes.args[2] is no:  # the same way out: both conditions at once
                conditions.append(self.relation(yes.args[0]))
                yes = yes.args[1]
            rows.append((yes, " \\text{ and } ".join(conditions)))
            node = no
        lines = [f"{self.show(value)[0]} & {cond}" for value, cond in rows]
        lines.append(f"{self.show(node)[0]} & \\text{{otherwise}}")
        return "\\begin{cases} " + " \\\\ ".join(lines) + " \\end{cases}"


def _braced(text: str) -> str:
    return text if len(text) == 1 else f"{{{text}}}"

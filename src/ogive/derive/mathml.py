"""A formula as MathML, which browsers show without a library.

There is one printer of formulas, :mod:`ogive.derive.latex`, which regroups arithmetic for the eye. What it
prints is a small language (fractions, roots, scripts, delimiters, cases, upright words), and this module
reads that language. A command it does not know is an error, not a gap in the formula.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from ogive.derive.latex import expression, latex
from ogive.errors import FormulaError
from ogive.expr import Expr

_LETTERS = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi "
_LETTERS += "psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega varepsilon varphi"
_GREEK = dict(zip(_LETTERS.split(), "αβγδϵζηθικλμνξπρστυϕχψωΓΔΘΛΞΠΣΥΦΨΩεφ"))
_NAMES = "sin cos tan sinh cosh tanh sech arctan arcsin arccos log exp max min gcd sup inf"
_FUNCTIONS = frozenset(_NAMES.split())
_MARKS = {"cdot": "⋅", "geq": "≥", "ge": "≥", "leq": "≤", "le": "≤", "neq": "≠", "times": "×", "pm": "±", "in": "∈"}
_FENCES = {"lfloor": "⌊", "rfloor": "⌋", "lceil": "⌈", "rceil": "⌉", "{": "{", "}": "}", "|": "|", "lvert": "|"}
_SPACES = {",": "0.1667em", ";": "0.2778em", "quad": "1em", ":": "0.2222em", " ": "0.25em"}
_OPERATORS = {"-": "−", "+": "+", ">": "&gt;", "<": "&lt;", "=": "=", ",": ",", "/": "/", "*": "∗"}
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\d+(?:\.\d+)?|\.\d+|\S", re.DOTALL)
_WORDS = _FUNCTIONS | {"operatorname"}
_APPLY = "<mo>&#x2061;</mo>"
_DEEPEST = 400


def mathml(spec: Any, *, params: str = "symbols", display: bool = True) -> str:
    """The formula of ``spec`` as a ``<math>`` element, without a leading ``f(x) =``.

    Args:
        spec: a name, a formula, an activation.
        params: "symbols" keeps parameters as letters, "values" writes their defaults.
        display: a formula on a line of its own (True) or inside a sentence.

    The LaTeX text stands in the element as ``alttext``. Raises as :func:`ogive.derive.latex.latex` does.

    >>> mathml("square", display=False)
    '<math alttext="x^2"><mrow><msup><mi>x</mi><mn>2</mn></msup></mrow></math>'
    """
    return of_latex(latex(spec, params=params), display=display)


def of_tree(expr: Expr, inputs: Sequence[str] = ("x",), *, display: bool = True) -> str:
    """A bare tree as a ``<math>`` element; ``inputs`` are the variables that are not parameters."""
    return of_latex(expression(expr, inputs), display=display)


def of_latex(text: str, *, display: bool = True) -> str:
    """A ``<math>`` element from what :func:`ogive.derive.latex.latex` prints.

    Raises :class:`~ogive.errors.FormulaError` for a command that printer does not use.

    >>> of_latex(r"\\frac{x}{2}", display=False)
    '<math alttext="\\\\frac{x}{2}"><mrow><mfrac><mi>x</mi><mn>2</mn></mfrac></mrow></math>'
    """
    reader = _Reader(text)
    body = reader.row(())
    if reader.at < len(text):
        raise FormulaError(f"MathML of {text!r}: nothing opened what closes at {text[reader.at :][:20]!r}")
    head = ' display="block"' if display else ""
    return f'<math{head} alttext="{escape(text, quote=True)}"><mrow>{body}</mrow></math>'


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth = text, 0, 0

    def peek(self) -> str:
        """The next token, empty at the end."""
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        found = _TOKEN.match(self.text, self.at)
        return found[0] if found else ""

    def take(self) -> str:
        token = self.peek()
        self.at += len(token)
        return token

    def expect(self, token: str) -> None:
        got = self.take()
        if got != token:
            raise FormulaError(f"MathML of {self.text!r}: expected {token!r}, got {got!r}")

    def raw(self) -> str:
        """What stands in braces, as it is, TeX's escapes undone."""
        self.expect("{")
        start, depth = self.at, 1
        while depth:
            if self.at >= len(self.text):
                raise FormulaError(f"MathML of {self.text!r}: a brace never closes")
            depth += {"{": 1, "}": -1}.get(self.text[self.at], 0)
            self.at += 1
        inner = re.sub(r"\{(\d+)\}", lambda m: chr(int(m[1])), self.text[start : self.at - 1])
        return escape(inner.replace("\\_", "_"), quote=False)

    def row(self, ends: tuple[str, ...]) -> str:
        """Atoms with their scripts until one of ``ends``, which is left."""
        self.depth += 1
        if self.depth > _DEEPEST:
            raise FormulaError("MathML: the formula is nested too deeply to print")
        parts: list[str] = []
        while (token := self.peek()) and token not in ends and token not in ("}", "\\right", "\\end"):
            name = token.removeprefix("\\")
            if name in _WORDS and parts and not parts[-1].endswith("</mo>"):
                parts.append('<mspace width="0.1667em"/>')  # TeX's thin space before the name of a function
            parts.append(self.scripted())
        self.depth -= 1
        return "".join(parts)

    def group(self) -> str:
        """One argument: a braced row or a single atom."""
        if self.peek() != "{":
            return self.atom()
        self.take()
        body = self.row(())
        self.expect("}")
        return body if _single(body) else f"<mrow>{body}</mrow>"

    def scripted(self) -> str:
        base = self.atom()
        lower = upper = ""
        primes = ""
        while (mark := self.peek()) in ("^", "_", "'"):
            self.take()
            if mark == "'":
                primes += "′"
            elif mark == "^":
                upper = self.group()
            else:
                lower = self.group()
        if primes:
            upper = f"<mrow><mo>{primes}</mo>{upper}</mrow>" if upper else f"<mo>{primes}</mo>"
        if lower and upper:
            base = f"<msubsup>{base}{lower}{upper}</msubsup>"
        elif lower or upper:
            base = f"<msub>{base}{lower}</msub>" if lower else f"<msup>{base}{upper}</msup>"
        if self.peek() == "\\!":  # f(u): the printer closes the gap before the parenthesis
            self.take()
            return base + _APPLY
        return base

    def atom(self) -> str:
        token = self.take()
        if token == "{":
            body = self.row(())
            self.expect("}")
            return f"<mrow>{body}</mrow>"
        if token[0].isdigit() or (token[0] == "." and len(token) > 1):
            return f"<mn>{token}</mn>"
        if token.isalpha():
            return f"<mi>{token}</mi>"
        if token in _OPERATORS:
            return f"<mo>{_OPERATORS[token]}</mo>"
        if token in ("(", ")", "[", "]", "|"):
            return f'<mo stretchy="false">{token}</mo>'
        return self.command(token.removeprefix("\\"), token)

    def command(self, name: str, token: str) -> str:
        if name in _GREEK:
            upright = ' mathvariant="normal"' if name[0].isupper() else ""
            return f"<mi{upright}>{_GREEK[name]}</mi>"
        if name in _FUNCTIONS:
            return f"<mi>{name}</mi>" + (_APPLY if self.peek() not in ("^", "_", "\\!") else "")
        if name in ("operatorname", "mathrm"):
            word = self.raw()
            plain = ' mathvariant="normal"' if len(word) == 1 else ""
            return f"<mi{plain}>{word}</mi>"
        if name == "text":
            return f"<mtext>{self.raw().replace(' ', '&#xA0;')}</mtext>"
        if name == "frac":
            return f"<mfrac>{self.group()}{self.group()}</mfrac>"
        if name == "sqrt":
            return f"<msqrt>{self.group()}</msqrt>"
        if name in _MARKS:
            return f"<mo>{_MARKS[name]}</mo>"
        if name in _FENCES:
            return f'<mo stretchy="false">{_FENCES[name]}</mo>'
        if name in _SPACES:
            return f'<mspace width="{_SPACES[name]}"/>'
        if name == "!":
            return ""
        if name == "left":
            return self.fenced()
        if name == "begin":
            return self.cases()
        raise FormulaError(f"MathML of {self.text!r}: {token!r} is not part of what the LaTeX printer writes")

    def fence(self) -> str:
        token = self.take()
        shown = _FENCES.get(token.removeprefix("\\"), token)
        return "" if shown == "." else f'<mo stretchy="true">{shown}</mo>'

    def fenced(self) -> str:
        opened = self.fence()
        body = self.row(())
        self.expect("\\right")
        return f"<mrow>{opened}{body}{self.fence()}</mrow>"

    def cases(self) -> str:
        if self.raw() != "cases":
            raise FormulaError(f"MathML of {self.text!r}: of environments only cases is known")
        rows: list[str] = []
        cells: list[str] = []
        while True:
            cells.append(f"<mtd>{self.row(('&', chr(92) * 2))}</mtd>")
            mark = self.take()
            if mark == "&":
                continue
            rows.append(f"<mtr>{''.join(cells)}</mtr>")
            cells = []
            if mark == "\\end":
                break
            if mark != "\\\\":
                raise FormulaError(f"MathML of {self.text!r}: a case ends with {mark!r}")
        self.raw()
        table = f'<mtable class="cases" columnalign="left">{"".join(rows)}</mtable>'
        return f'<mrow><mo stretchy="true" symmetric="true">{{</mo>{table}</mrow>'


def _single(body: str) -> bool:
    """Whether ``body`` is one element already."""
    found = re.match(r"<(\w+)[^>]*>", body)
    if not found or body.endswith("/>"):
        return False
    tag, depth = found[1], 0
    for m in re.finditer(rf"<(/?){tag}\b[^>]*>", body):
        depth += -1 if m[1] else 1
        if depth == 0:
            return m.end() == len(body)
    return False

"""A reader for the LaTeX that Ogive prints: an independent evaluator by recursive descent.

It knows the notation a mathematician reads (juxtaposition is a product, f^2(u) is a square, the first true
case counts) and nothing of the package.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

_TOKEN = re.compile(
    r"\s+|\\!|\\,"
    r"|(?P<text>\\text\{[^}]*\})|(?P<named>\\(?:operatorname|mathrm)\{(?:\\_|[^}])*\}'*(?:_\{?\w+\}?)?)"
    r"|(?P<row>\\\\)|(?P<env>\\(?:begin|end)\{cases\})|(?P<bar>\\(?:left|right)\|)"
    r"|(?P<side>\\(?:left|right)(?=[(\[)\]]))"
    r"|(?P<command>\\[A-Za-z]+(?:_\w(?!\w)|_\{[^}]*\})?)|(?P<number>\d+(?:\.\d+)?)"
    r"|(?P<letter>[A-Za-z](?:_\w|_\{[^}]*\})?)|(?P<mark>[-+/^(){}\[\]|&,<>])"
)
Functions = Mapping[str, Callable[..., float]]


def _softplus(u: float) -> float:
    return max(u, 0.0) + math.log1p(math.exp(-abs(u)))


def _sinc(u: float) -> float:
    return math.sin(u) / u if u else 1.0


FUNCTIONS: Functions = {
    "\\sin": math.sin, "\\cos": math.cos, "\\tan": math.tan, "\\sinh": math.sinh, "\\cosh": math.cosh,
    "\\tanh": math.tanh, "\\arctan": math.atan, "\\log": math.log, "\\exp": math.exp,
    "\\max": max, "\\min": min,
    "\\log\\cosh": lambda u: math.log(math.cosh(u)),
    "\\sigma": lambda u: 1.0 / (1.0 + math.exp(-u)), "\\Phi": lambda u: 0.5 * math.erfc(-u / math.sqrt(2.0)),
    "\\varphi": lambda u: math.exp(-0.5 * u * u) / math.sqrt(2.0 * math.pi),
    "sech": lambda u: 1.0 / math.cosh(u) if abs(u) < 700 else 0.0, "asinh": math.asinh, "softplus": _softplus, "erf": math.erf,
    "erfc": math.erfc, "softsign": lambda u: u / (1.0 + abs(u)), "sinc": _sinc,
    "sign": lambda u: (u > 0) - (u < 0), "round": round,
    "sinc'": lambda u: math.cos(u) / u - math.sin(u) / u**2,
    "sinc''": lambda u: -math.sin(u) / u - 2 * math.cos(u) / u**2 + 2 * math.sin(u) / u**3,
}  # fmt: skip


class Reader:
    """``Reader(text, {"x": 1.0, r"\\beta": 2.0}).value()``."""

    def __init__(self, text: str, values: Mapping[str, float]) -> None:
        self.tokens: list[str] = []
        at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            assert found, f"not LaTeX this reader knows: {text[at : at + 30]!r} in {text!r}"
            at = found.end()
            kind, token = found.lastgroup, found.group()
            if kind == "named":
                token = re.sub(r"^\\operatorname\{(.*?)\}", r"\1", token)
            if kind is not None and kind != "side":
                self.tokens.append(token)
        self.values = {"\\pi": math.pi, "e": math.e, **values}
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, expected: str | None = None) -> str:
        token = self.peek()
        assert token and (expected is None or token == expected), f"wanted {expected!r}, got {token!r} in {self.tokens}"
        self.at += 1
        return token

    def value(self) -> float:
        result = self.sum()
        assert not self.peek(), f"left over: {self.tokens[self.at :]}"
        return result

    def sum(self) -> float:
        total = 0.0
        sign = 1.0
        if self.peek() == "-":
            self.take()
            sign = -1.0
        while True:
            total += sign * self.product()
            if self.peek() not in ("+", "-"):
                return total
            sign = 1.0 if self.take() == "+" else -1.0

    def product(self) -> float:
        result = self.power()
        while True:
            token = self.peek()
            if token == "/":
                self.take()
                result /= self.power()
            elif token == "\\cdot":
                self.take()
                result *= self.power()
            elif self.starts(token):
                result *= self.power()
            else:
                return result

    def starts(self, token: str) -> bool:
        if token == "|":
            return self.bars == 0
        closing = (
            "",
            "+",
            "-",
            ")",
            "}",
            "]",
            ",",
            "&",
            "\\\\",
            "\\right|",
            "\\rfloor",
            "<",
            ">",
            "\\geq",
            "\\leq",
            "\\end{cases}",
        )
        return token not in closing and not token.startswith("\\text") and token != "^"

    bars = 0

    def power(self) -> float:
        base = self.base()
        if self.peek() == "^":
            self.take()
            e = self.group()
            try:
                return base**e
            except (ZeroDivisionError, OverflowError):
                return math.nan
        return base

    def group(self) -> float:
        if self.peek() == "{":
            self.take()
            result = self.sum()
            self.take("}")
            return result
        return self.base()

    def base(self) -> float:
        token = self.take()
        if token[0].isdigit():
            return float(token)
        if token in ("(", "["):
            result = self.sum() if token == "(" else float(self.condition())
            self.take(")" if token == "(" else "]")
            return result
        if token in ("|", "\\left|"):
            self.bars, outer = 1 if token == "|" else 0, self.bars
            result = abs(self.sum())
            self.take("|" if token == "|" else "\\right|")
            self.bars = outer
            return result
        if token == "\\frac":
            over, under = self.group(), self.group()
            return over / under if under else math.nan
        if token == "\\sqrt":
            inside = self.group()
            return math.sqrt(inside) if inside >= 0 else math.nan
        if token == "\\lfloor":
            result = float(math.floor(self.sum()))
            self.take("\\rfloor")
            return result
        if token == "\\begin{cases}":
            return self.cases()
        if token == "\\log" and self.peek() == "\\cosh":
            token += self.take()
        if token in FUNCTIONS and token not in self.values and (self.peek() in ("(", "^") or token == "\\log"):
            return self.call(token)
        assert token in self.values, f"unknown symbol {token!r} (known: {sorted(self.values)})"
        return self.values[token]

    def call(self, name: str) -> float:
        exponent = 1.0
        if self.peek() == "^":
            self.take()
            exponent = self.group()
        if self.peek() == "(":
            self.take()
            args = [self.sum()]
            while self.peek() == ",":
                self.take()
                args.append(self.sum())
            self.take(")")
        else:
            args = [self.base()]
        try:
            return float(FUNCTIONS[name](*args)) ** exponent
        except (ValueError, ZeroDivisionError, OverflowError):
            return math.nan  # a branch that is not taken

    def condition(self) -> bool:
        left = self.sum()
        sign = self.take()
        right = self.sum()
        holds = {">": left > right, "<": left < right, "\\geq": left >= right, "\\leq": left <= right}[sign]
        if self.peek() == "\\text{ and }":
            self.take()
            return self.condition() and holds
        return holds

    def cases(self) -> float:
        chosen: float | None = None
        while True:
            value = self.sum()
            self.take("&")
            if self.peek() == "\\text{otherwise}":
                self.take()
                holds = True
            else:
                holds = self.condition()
            if holds and chosen is None:
                chosen = value
            if self.take() == "\\end{cases}":
                assert chosen is not None
                return chosen

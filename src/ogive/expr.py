"""The expression tree: immutable, hash-consed nodes and the arithmetic sugar that builds them.

Two structurally equal expressions are the same object, so equality is identity, common subexpressions are
shared without being looked for, and any dictionary keyed by an expression is a cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any, Union
from weakref import WeakValueDictionary

from ogive.errors import FormulaError

Operand = Union["Expr", float, int]

_interned: WeakValueDictionary[tuple[Any, ...], Expr] = WeakValueDictionary()


class Expr:
    """One node: ``op`` applied to ``args``; ``data`` is the value of a constant, the name of a variable, or
    the static order of an operation that has one."""

    __slots__ = ("__weakref__", "args", "data", "op")

    op: str
    args: tuple[Expr, ...]
    data: float | int | str | None

    def __new__(cls, op: str, args: tuple[Expr, ...] = (), data: float | int | str | None = None) -> Expr:
        key = (op, args, data)
        found = _interned.get(key)
        if found is None:
            found = object.__new__(cls)
            object.__setattr__(found, "op", op)
            object.__setattr__(found, "args", args)
            object.__setattr__(found, "data", data)
            _interned[key] = found
        return found

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"an expression is immutable: cannot set {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return (Expr, (self.op, self.args, self.data))

    def __copy__(self) -> Expr:
        return self

    def __deepcopy__(self, memo: object) -> Expr:
        return self

    # Arithmetic. Folding happens in the constructors below, never later.
    def __add__(self, other: Operand) -> Expr:
        return add(self, as_expr(other))

    def __radd__(self, other: Operand) -> Expr:
        return add(as_expr(other), self)

    def __sub__(self, other: Operand) -> Expr:
        return sub(self, as_expr(other))

    def __rsub__(self, other: Operand) -> Expr:
        return sub(as_expr(other), self)

    def __mul__(self, other: Operand) -> Expr:
        return mul(self, as_expr(other))

    def __rmul__(self, other: Operand) -> Expr:
        return mul(as_expr(other), self)

    def __truediv__(self, other: Operand) -> Expr:
        return div(self, as_expr(other))

    def __rtruediv__(self, other: Operand) -> Expr:
        return div(as_expr(other), self)

    def __pow__(self, other: Operand) -> Expr:
        return power(self, as_expr(other))

    def __rpow__(self, other: Operand) -> Expr:
        return power(as_expr(other), self)

    def __neg__(self) -> Expr:
        return neg(self)

    def __pos__(self) -> Expr:
        return self

    def __abs__(self) -> Expr:
        return Expr("abs", (self,))

    def __round__(self, ndigits: None = None) -> Expr:
        return Expr("round", (self,))

    def __gt__(self, other: Operand) -> Expr:
        return Expr("gt", (self, as_expr(other)))

    def __ge__(self, other: Operand) -> Expr:
        return Expr("ge", (self, as_expr(other)))

    def __lt__(self, other: Operand) -> Expr:
        return Expr("gt", (as_expr(other), self))

    def __le__(self, other: Operand) -> Expr:
        return Expr("ge", (as_expr(other), self))

    def __bool__(self) -> bool:
        raise FormulaError(
            f"the formula asks whether '{self}' is true, which depends on the input; "
            "write where(condition, a, b) instead of `if`, `and` or `or`"
        )

    def __str__(self) -> str:
        return to_text(self)

    def __repr__(self) -> str:
        return f"Expr({to_text(self)})"

    def walk(self, known: Container[Expr] = ()) -> Iterator[Expr]:
        """Every distinct node once, arguments before the nodes that use them; not below ``known`` ones."""
        seen: set[int] = set()
        stack: list[tuple[Expr, bool]] = [(self, False)]
        while stack:
            node, ready = stack.pop()
            if ready:
                yield node
            elif id(node) not in seen and node not in known:
                seen.add(id(node))
                stack.append((node, True))
                stack.extend((a, False) for a in reversed(node.args))

    def variables(self) -> frozenset[str]:
        """Names of the variables the expression depends on."""
        return frozenset(str(n.data) for n in self.walk() if n.op == "var")

    def map(self, leaf: Callable[[Expr], Expr], build: Callable[[Expr, tuple[Expr, ...]], Expr]) -> Expr:
        """Rebuild bottom-up: ``leaf`` maps leaves, ``build(node, new_args)`` the rest."""
        new: dict[Expr, Expr] = {}
        for node in self.walk():
            new[node] = build(node, tuple(new[a] for a in node.args)) if node.args else leaf(node)
        return new[self]

    def substitute(self, values: Mapping[str, Expr]) -> Expr:
        """Replace variables by expressions, all at once."""
        return self.map(lambda n: values.get(str(n.data), n) if n.op == "var" else n, rebuild)


def const(value: float) -> Expr:
    """The constant ``value``, a finite real number."""
    value = float(value)
    if not math.isfinite(value):
        raise FormulaError(f"a formula cannot contain the constant {value!r}: only finite numbers")
    return Expr("const", (), value + 0.0)  # -0.0 + 0.0 = 0.0: one zero


def var(name: str) -> Expr:
    """The variable ``name``."""
    return Expr("var", (), name)


def as_expr(value: Operand) -> Expr:
    """An expression as it is, a number as a constant; anything else is refused."""
    if isinstance(value, Expr):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return const(value)
    raise FormulaError(f"a formula is made of numbers, variables and operations; got {value!r}")


def value_of(node: Expr) -> float | None:
    """The value of a constant node, else None."""
    return node.data if node.op == "const" else None  # type: ignore[return-value]


def add(a: Expr, b: Expr) -> Expr:
    u, v = value_of(a), value_of(b)
    if u is not None and v is not None:
        return const(u + v)
    if u == 0.0:
        return b
    if v == 0.0:
        return a
    if b.op == "neg":
        return sub(a, b.args[0])
    if a.op == "neg":
        return sub(b, a.args[0])
    if v is not None and v < 0.0:
        return sub(a, const(-v))
    scale = value_of(b.args[0]) if b.op == "mul" else None
    if scale is not None and scale < 0.0:
        return sub(a, mul(const(-scale), b.args[1]))
    if a is b:
        return mul(const(2.0), a)
    return Expr("add", (a, b))


def sub(a: Expr, b: Expr) -> Expr:
    u, v = value_of(a), value_of(b)
    if u is not None and v is not None:
        return const(u - v)
    if v == 0.0:
        return a
    if u == 0.0:
        return neg(b)
    if a is b:
        return const(0.0)
    if b.op == "neg":
        return add(a, b.args[0])
    if v is not None and v < 0.0:
        return add(a, const(-v))
    return Expr("sub", (a, b))


def neg(a: Expr) -> Expr:
    u = value_of(a)
    if u is not None:
        return const(-u)
    if a.op == "neg":
        return a.args[0]
    if a.op == "mul" and value_of(a.args[0]) is not None:
        return mul(const(-value_of(a.args[0])), a.args[1])  # type: ignore[operator]
    return Expr("neg", (a,))


def mul(a: Expr, b: Expr) -> Expr:
    u, v = value_of(a), value_of(b)
    if u is not None and v is not None:
        return const(u * v)
    if v is not None:  # constants stand on the left
        a, b, u, v = b, a, v, u
    if u == 0.0:
        return const(0.0)
    if u == 1.0:
        return b
    if u == -1.0:
        return neg(b)
    if u is not None and b.op == "mul":
        w = value_of(b.args[0])
        if w is not None:
            return mul(const(u * w), b.args[1])
    if b.op == "neg":
        return neg(mul(a, b.args[0]))
    if a.op == "neg":
        return neg(mul(a.args[0], b))
    if u is None and b.op == "mul" and value_of(b.args[0]) is not None:
        return mul(b.args[0], mul(a, b.args[1]))
    if u is None and a.op == "mul" and value_of(a.args[0]) is not None:
        return mul(a.args[0], mul(a.args[1], b))
    # The two masks of a piecewise derivative: a 0/1 choice times a factor is a choice of that factor, so
    # that an overflowing factor on the other side of the break is never multiplied by zero.
    for mask, other in ((a, b), (b, a)):
        if mask.op == "where" and value_of(other) is None and 0.0 in (value_of(mask.args[1]), value_of(mask.args[2])):
            cond, yes, no = mask.args
            return where(cond, mul(yes, other), mul(no, other))
    return Expr("mul", (a, b))


def div(a: Expr, b: Expr) -> Expr:
    u, v = value_of(a), value_of(b)
    if v == 0.0:
        raise FormulaError(f"the formula divides '{a}' by zero")
    if u is not None and v is not None:
        return const(u / v)
    if u == 0.0:
        return const(0.0)
    if u is not None and u < 0.0:
        return neg(div(const(-u), b))
    if v == 1.0:
        return a
    if v is not None and math.frexp(v)[0] in (0.5, -0.5):  # a power of two: exact as a factor
        return mul(const(1.0 / v), a)
    if b.op == "neg":
        return neg(div(a, b.args[0]))
    if a.op == "neg":
        return neg(div(a.args[0], b))
    return Expr("div", (a, b))


def power(a: Expr, b: Expr) -> Expr:
    u, v = value_of(a), value_of(b)
    if v == 1.0:
        return a
    if v == 0.0:
        return const(1.0)
    if v is not None and abs(v) > 1024:
        raise FormulaError(f"the exponent {v:g} in '({a}) ** {v:g}' is beyond +-1024")
    if b.op == "pow" and b.args[1].op == "pow":
        raise FormulaError(f"'{a} ** {b}' is a power tower of more than three storeys; such formulas are refused")
    if u is not None and v is not None:
        try:
            return const(u**v)
        except (OverflowError, ZeroDivisionError, TypeError, FormulaError):
            raise FormulaError(f"'{u:g} ** {v:g}' is not a finite real number") from None
    if v is not None and a.op == "pow" and v.is_integer() and (value_of(a.args[1]) or 0.5).is_integer():
        return power(a.args[0], const(v * value_of(a.args[1])))  # type: ignore[operator]
    return Expr("pow", (a, b))


def where(cond: Expr, a: Expr, b: Expr) -> Expr:
    """``a`` where ``cond`` holds, else ``b``; decided at once between two constants."""
    if cond.op in ("gt", "ge"):
        u, v = (value_of(n) for n in cond.args)
        if u is not None and v is not None:
            return a if u > v or (u == v and cond.op == "ge") else b
    return a if a is b else Expr("where", (cond, a, b))


_CONSTRUCTORS: dict[str, Callable[..., Expr]] = {
    "add": add, "sub": sub, "neg": neg, "mul": mul, "div": div, "pow": power, "where": where,
}  # fmt: skip


def rebuild(node: Expr, args: tuple[Expr, ...]) -> Expr:
    """The operation of ``node`` on new arguments, folded again."""
    if args == node.args:
        return node
    make = _CONSTRUCTORS.get(node.op)
    return make(*args) if make else Expr(node.op, args, node.data)


# Printing back: the text parses to the same tree.
_INFIX = {"add": (" + ", 1), "sub": (" - ", 1), "mul": ("*", 2), "div": ("/", 2), "pow": ("**", 4)}
_COMPARE = {"gt": " > ", "ge": " >= "}


def number_text(value: float) -> str:
    """Shortest text that reads back as the same double; integers without a point."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e16 else repr(value)


def to_text(expr: Expr) -> str:
    """The formula as a string that :func:`ogive.parse.parse` reads back."""
    text: dict[Expr, tuple[str, int]] = {}
    for node in expr.walk():
        parts = [text[a] for a in node.args]
        if node.op == "const":
            v = float(node.data)  # type: ignore[arg-type]
            text[node] = (number_text(v), 5 if v >= 0 else 3)
        elif node.op == "var":
            text[node] = (str(node.data), 5)
        elif node.op in _INFIX:
            sign, level = _INFIX[node.op]
            left, right = parts
            # pow binds to the right, the others to the left
            wrap_left = left[1] < level or (node.op == "pow" and left[1] <= level)
            wrap_right = right[1] < level or (node.op in ("sub", "div", "add", "mul") and right[1] == level)
            lhs = f"({left[0]})" if wrap_left else left[0]
            rhs = f"({right[0]})" if wrap_right else right[0]
            text[node] = (f"{lhs}{sign}{rhs}", level)
        elif node.op == "neg":
            # -a*b reads back as -(a*b): the constructors move a sign outside a product
            inner = f"({parts[0][0]})" if parts[0][1] < 2 else parts[0][0]
            text[node] = (f"-{inner}", min(3, parts[0][1]))
        elif node.op in _COMPARE:
            text[node] = (f"{parts[0][0]}{_COMPARE[node.op]}{parts[1][0]}", 0)
        else:
            listed = [p[0] for p in parts] + ([] if node.data is None else [str(node.data)])
            text[node] = (f"{node.op}({', '.join(listed)})", 5)
    return text[expr][0]

"""Ordered rewrite rules: what people write becomes the stable primitive that computes the same number.

A rule is (pattern, replacement, why). Patterns are formulas over the metavariables ``u`` and ``v``, read by
the same constructors as any formula; ``a`` and ``b`` in a pattern match constants. Sums and products match
in either order. Rules apply bottom-up until nothing changes. The mathematics of an expression never changes:
the laws compare the rewritten form with exact arithmetic on the formula as it was written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ogive.expr import Expr, const, mul, power, rebuild, value_of, var, where

Binding = dict[str, Expr]


@dataclass(frozen=True)
class Rule:
    """``pattern`` becomes ``build(binding)``; ``why`` says what is gained."""

    pattern: Expr
    build: Callable[[Binding], Expr]
    why: str


def _f(name: str, *args: Expr) -> Expr:
    return Expr(name, args)


_u, _v, _a, _b = var("u"), var("v"), var("#a"), var("#b")  # '#': matches constants only
_one, _two = const(1.0), const(2.0)


def _exp(u: Expr) -> Expr:
    return _f("exp", u)


def _raw(op: str, *args: Expr) -> Expr:
    return Expr(op, args)  # patterns are built unfolded


RULES: tuple[Rule, ...] = (
    # logarithms and exponentials
    Rule(_f("log", _raw("add", _one, _exp(_u))), lambda m: _f("softplus", m["u"]), "exp overflows"),
    Rule(_f("log", _raw("add", _one, _u)), lambda m: _f("log1p", m["u"]), "1 + u loses u near 0"),
    Rule(_f("log1p", _exp(_u)), lambda m: _f("softplus", m["u"]), "exp overflows"),
    Rule(_f("log", _f("sigmoid", _u)), lambda m: -_f("softplus", -m["u"]), "sigmoid underflows"),
    Rule(_f("log", _f("cosh", _u)), lambda m: _f("logcosh", m["u"]), "cosh overflows"),
    Rule(_raw("sub", _exp(_u), _one), lambda m: _f("expm1", m["u"]), "cancels near 0"),
    Rule(_raw("sub", _one, _exp(_u)), lambda m: -_f("expm1", m["u"]), "cancels near 0"),
    Rule(_raw("add", _one, _f("expm1", _u)), lambda m: _exp(m["u"]), "the 1 undoes itself"),
    # the logistic function in its disguises
    Rule(_raw("div", _exp(_u), _raw("add", _one, _exp(_u))), lambda m: _f("sigmoid", m["u"]), "inf/inf"),
    Rule(_raw("div", _v, _raw("add", _one, _exp(_u))), lambda m: m["v"] * _f("sigmoid", -m["u"]), "exp overflows"),
    Rule(_raw("sub", _one, _f("sigmoid", _u)), lambda m: _f("sigmoid", -m["u"]), "cancels in the tail"),
    Rule(_raw("add", _one, _f("tanh", _u)), lambda m: 2.0 * _f("sigmoid", 2.0 * m["u"]), "cancels in the tail"),
    Rule(_raw("sub", _one, _f("tanh", _u)), lambda m: 2.0 * _f("sigmoid", -2.0 * m["u"]), "cancels in the tail"),
    Rule(_raw("sub", _one, _raw("mul", _f("tanh", _u), _f("tanh", _u))), lambda m: _f("sech2", m["u"]),
         "cancels in both tails"),
    Rule(_raw("sub", _one, _raw("pow", _f("tanh", _u), _two)), lambda m: _f("sech2", m["u"]),
         "cancels in both tails"),
    Rule(_raw("div", _raw("sub", _exp(_u), _exp(_raw("neg", _u))), _raw("add", _exp(_u), _exp(_raw("neg", _u)))),
         lambda m: _f("tanh", m["u"]), "inf/inf"),
    Rule(_raw("sub", _u, _f("tanh", _u)), lambda m: _f("tanhshrink", m["u"]), "cancels near 0"),
    # the normal distribution
    Rule(_raw("add", _one, _f("erf", _u)), lambda m: _f("erfc", -m["u"]), "cancels in the tail"),
    Rule(_raw("sub", _one, _f("erf", _u)), lambda m: _f("erfc", m["u"]), "cancels in the tail"),
    Rule(_raw("sub", _one, _f("Phi", _u)), lambda m: _f("Phi", -m["u"]), "cancels in the tail"),
    # algebraic
    Rule(_raw("div", _u, _raw("add", _one, _f("abs", _u))), lambda m: _f("softsign", m["u"]),
         "its derivative by the quotient rule cancels"),
    Rule(_f("sqrt", _raw("add", _one, _raw("mul", _u, _u))), lambda m: _f("hypot1", m["u"]), "u*u overflows"),
    Rule(_f("sqrt", _raw("add", _one, _raw("pow", _u, _two))), lambda m: _f("hypot1", m["u"]), "u**2 overflows"),
    Rule(_raw("sub", _f("hypot1", _u), _one), lambda m: _f("hypotm1", m["u"]), "cancels near 0"),
    Rule(_raw("add", _u, _f("hypot1", _u)), lambda m: _f("sqp", m["u"]), "cancels for negative u"),
    Rule(_raw("div", _u, _f("hypot1", _u)), lambda m: _f("isru", m["u"]), "inf/inf"),
    # signs inside odd and even functions, so that one form serves both
    *(Rule(_f(f, _raw("neg", _u)), lambda m, f=f: -_f(f, m["u"]), "odd")  # type: ignore[misc]
      for f in ("sin", "tanh", "erf", "atan", "sinh", "asinh", "softsign", "isru", "sign", "tanhshrink", "tan")),
    *(Rule(_f(f, _raw("neg", _u)), lambda m, f=f: _f(f, m["u"]), "even")  # type: ignore[misc]
      for f in ("cos", "sech2", "phi", "abs", "cosh", "logcosh", "hypot1", "hypotm1")),
    # a chain of two powers of the same base
    Rule(_raw("mul", _u, _raw("pow", _u, _a)), lambda m: power(m["u"], const(1.0 + _number(m["#a"]))),
         "one power for two"),
    Rule(_raw("div", _raw("pow", _u, _v), _u), lambda m: power(m["u"], m["v"] - 1.0), "0/0 at 0"),
    Rule(_raw("mul", _raw("pow", _u, _a), _raw("pow", _u, _b)),
         lambda m: power(m["u"], const(_number(m["#a"]) + _number(m["#b"]))), "one power for two"),
)  # fmt: skip


def _number(node: Expr) -> float:
    value = value_of(node)
    assert value is not None
    return value


_COMMUTES = {"add", "mul"}


def match(pattern: Expr, node: Expr, bound: Binding) -> Binding | None:
    """The binding that makes ``pattern`` equal ``node``, extending ``bound``, or None."""
    if pattern.op == "var":
        name = str(pattern.data)
        if name in bound:
            return bound if bound[name] is node else None
        if name.startswith("#") and node.op != "const":
            return None
        return {**bound, name: node}
    if pattern.op != node.op or pattern.data != node.data or len(pattern.args) != len(node.args):
        return _match_constant_factor(pattern, node, bound)
    orders = [node.args]
    if node.op in _COMMUTES:
        orders.append(node.args[::-1])
    for args in orders:
        trial: Binding | None = bound
        for p, a in zip(pattern.args, args):
            trial = match(p, a, trial) if trial is not None else None
        if trial is not None:
            return trial
    return None


def _match_constant_factor(pattern: Expr, node: Expr, bound: Binding) -> Binding | None:
    # neg(u) is folded into a constant factor by the constructors: let the pattern -u match -3*w as u = 3*w.
    if pattern.op == "neg" and node.op == "mul":
        c = value_of(node.args[0])
        if c is not None and c < 0:
            return match(pattern.args[0], mul(const(-c), node.args[1]), bound)
    return None


# Rules by the operation at their root, each with the operations its arguments must have (a minus sign may be
# folded into a constant, so it is not asked for): most nodes are passed over without matching.
_BY_OP: dict[str, list[tuple[frozenset[str], Rule]]] = {}
for _rule in RULES:
    _needs = frozenset(a.op for a in _rule.pattern.args) - {"var", "neg"}
    _BY_OP.setdefault(_rule.pattern.op, []).append((_needs, _rule))


def _terms(expr: Expr) -> list[tuple[float, Expr]]:
    """A sum as (coefficient, term); the constant's term is 1."""
    if expr.op in ("add", "sub"):
        left, right = (_terms(a) for a in expr.args)
        return left + (right if expr.op == "add" else [(-c, t) for c, t in right])
    if expr.op == "neg":
        return [(-c, t) for c, t in _terms(expr.args[0])]
    if expr.op == "mul" and value_of(expr.args[0]) is not None:
        return [(_number(expr.args[0]), expr.args[1])]
    if expr.op == "const":
        return [(_number(expr), _one)]
    return [(1.0, expr)]


def collect(expr: Expr) -> Expr:
    """Like terms of a sum together: phi + (phi - x*x*phi) is 2*phi - x*x*phi, and (1 - x) - (1 + x) is -2*x,
    which no longer cancels. Constants that do not meet keep their place."""
    terms = _terms(expr)
    total: dict[Expr, float] = {}
    for c, t in terms:
        total[t] = total.get(t, 0.0) + c
    if len(total) == len(terms) and all(total.values()):
        return expr
    result: Expr | None = None
    for t, c in total.items():
        if c == 0.0:
            continue
        term = mul(const(c), t) if t is not _one else const(c)
        result = term if result is None else result + term
    return const(0.0) if result is None else result


def _factors(expr: Expr) -> list[Expr]:
    if expr.op == "mul":
        return _factors(expr.args[0]) + _factors(expr.args[1])
    return [expr]


def factor(expr: Expr) -> Expr:
    """Factors common to all terms of a sum, outside it: G*e*e - G*e is G*e*(e - 1), where the rules then see
    expm1. Fewer operations, and the difference is taken where it is exact."""
    terms = _terms(expr)
    if len(terms) < 2 or any(t is _one for _, t in terms):
        return expr
    lists = [_factors(t) for _, t in terms]
    common: list[Expr] = []
    for f in list(lists[0]):
        if all(f in rest for rest in lists):
            common.append(f)
            for rest in lists:
                rest.remove(f)
    if not common:
        return expr
    inner: Expr | None = None
    for (c, _), rest in zip(terms, lists):
        term = const(c)
        for f in rest:
            term = mul(term, f)
        inner = term if inner is None else inner + term
    assert inner is not None
    outer = common[0]
    for f in common[1:]:
        outer = mul(outer, f)
    return mul(outer, inner)


def _resolve(expr: Expr, cond: Expr, holds: bool) -> Expr:
    """``expr`` where ``cond`` is known: choices on the same condition are made."""

    def build(node: Expr, args: tuple[Expr, ...]) -> Expr:
        return args[1 if holds else 2] if node.op == "where" and args[0] is cond else rebuild(node, args)

    return expr.map(lambda leaf: leaf, build)


def _step(node: Expr) -> Expr:
    rules = _BY_OP.get(node.op)
    if rules:
        ops = {a.op for a in node.args}
        for needs, rule in rules:
            found = match(rule.pattern, node, {}) if needs <= ops else None
            if found is not None:
                return rule.build(found)
    if node.op in ("add", "sub"):
        return factor(collect(node))
    if node.op == "where":
        cond, yes, no = node.args
        return where(cond, _resolve(yes, cond, True), _resolve(no, cond, False))
    return node


_normal: dict[Expr, Expr] = {}  # every node ever simplified; emptied when a search has filled it
_NORMAL_LIMIT = 200_000


def simplify(expr: Expr) -> Expr:
    """Apply the rules bottom-up to a fixpoint; each distinct subtree is visited once, ever.

    >>> from ogive.parse import parse
    >>> str(simplify(parse("x*tanh(log(1 + exp(x)))")))
    'x*tanh(softplus(x))'
    """
    if len(_normal) > _NORMAL_LIMIT:
        _normal.clear()
    for node in expr.walk(known=_normal):
        built = rebuild(node, tuple(_normal[a] for a in node.args))
        stepped = _step(built) if built.args else built
        _normal[node] = built if stepped is built else simplify(stepped)
    return _normal[expr]

"""The cheapest accurate form of a formula: the same number with fewer transcendental functions.

The stable form of a formula names each function once (``tanh(softplus(x))``); what a machine should run is
algebra in one exponential that neither overflows nor cancels. Three passes: the table of
:mod:`ogive.kernels.lowerings`; halves, where both sides of ``where(x > 0, ...)`` use one
function of ``|x|``; and sharing, where every logistic function of one argument (sigmoid, softplus, sech2) is
written in ``t = exp(-|u|)``, so that a value and its derivatives pay for one exponential. Only primitives of
the table :data:`ogive.ops.OPS` appear, so every backend can run the result.
"""

from __future__ import annotations

from functools import lru_cache

from ogive.expr import Expr, const, mul, neg, rebuild, value_of, where
from ogive.kernels.lowerings import LOWERINGS, POLISH, PRODUCTS, Lowering, decay, positive
from ogive.rewrite import match

# Relative cost of one primitive beside an exponential. Arithmetic is a tenth, a division or a root 0.3, the
# compensated exponential and logarithm 1.3. A composite costs what :mod:`ogive.stable` computes for it:
# sech2 = abs + mul + exp + add + 2 mul + div, softplus = max + abs + neg + exp + log1p + add.
WEIGHTS: dict[str, float] = {
    **dict.fromkeys(("add", "sub", "mul", "neg", "abs", "sign", "floor", "round", "maximum", "minimum", "gt", "ge",
                     "where"), 0.1),
    "div": 0.3, "sqrt": 0.3, "exp": 1.0, "log": 1.0, "expm1": 1.3, "log1p": 1.3, "sin": 1.3, "cos": 1.3, "tan": 1.6,
    "atan": 1.6, "sinh": 1.6, "cosh": 1.6, "asinh": 2.0, "tanh": 2.1, "erf": 2.0, "erfc": 2.2, "sigmoid": 1.5,
    "sech2": 1.8, "softplus": 2.7, "logcosh": 6.0, "tanhshrink": 7.0, "Phi": 2.4, "phi": 1.3, "softsign": 0.5,
    "hypot1": 1.0, "hypotm1": 1.5, "isru": 1.3, "sqp": 1.6, "sqp1": 2.9, "pow": 2.5, "xlogy": 1.4, "sinc": 8.0,
}  # fmt: skip
_SHORT_POWERS = {2.0: 0.1, 3.0: 0.2, -1.0: 0.3, -2.0: 0.4, -3.0: 0.5, 0.5: 0.3}


def cost(*exprs: Expr) -> float:
    """The cost of evaluating ``exprs`` together, in exponentials; what they share is counted once.

    >>> from ogive.parse import parse
    >>> round(cost(parse("x*tanh(softplus(x))")), 1), round(cost(canonical(parse("x*tanh(softplus(x))"))), 1)
    (4.9, 2.6)
    """
    seen = {n for e in exprs for n in e.walk() if n.args}
    return sum(_weight(n) for n in seen)


def _weight(node: Expr) -> float:
    if node.op == "pow" and value_of(node.args[1]) in _SHORT_POWERS:
        return _SHORT_POWERS[value_of(node.args[1])]  # type: ignore[index]
    return WEIGHTS[node.op]


def _table(rules: tuple[Lowering, ...]) -> dict[str, list[Lowering]]:
    found: dict[str, list[Lowering]] = {}
    for rule in rules:
        found.setdefault(rule.pattern.op, []).append(rule)
    return found


_PRODUCTS, _LOWERINGS, _POLISH = _table(PRODUCTS), _table(LOWERINGS), _table(POLISH)


def _applied(node: Expr, rules: dict[str, list[Lowering]]) -> Expr:
    for rule in rules.get(node.op, ()):
        found = match(rule.pattern, node, {})
        if found is not None:
            return rule.build(found)
        if node.op == "mul":
            chosen = _in_product(node, rule)
            if chosen is not None:
                return chosen
    return node


def _factors(node: Expr) -> list[Expr]:
    return _factors(node.args[0]) + _factors(node.args[1]) if node.op == "mul" else [node]


def _in_product(node: Expr, rule: Lowering) -> Expr | None:
    # a rule for a product of two applies to any two factors of a longer one
    parts = _factors(node)
    if len(parts) < 3 or {"var"} & {a.op for a in rule.pattern.args}:
        return None
    for i, p in enumerate(parts):
        for q in parts[i + 1 :]:
            found = match(rule.pattern, Expr("mul", (p, q)), {})
            if found is not None:
                rest = [r for r in parts if r is not p and r is not q]
                result = rule.build(found)
                for r in rest:
                    result = mul(r, result)
                return result
    return None


def _rewritten(expr: Expr, rules: dict[str, list[Lowering]]) -> Expr:
    """``rules`` bottom-up until nothing changes."""

    def build(node: Expr, args: tuple[Expr, ...]) -> Expr:
        made = rebuild(node, args)
        after = _applied(made, rules) if made.args else made
        return after if after is made else _rewritten(after, rules)

    return expr.map(lambda leaf: leaf, build)


_CALLS = frozenset(k for k, w in WEIGHTS.items() if w >= 1.0)


def _halves(expr: Expr) -> Expr:
    """One function of ``|u|`` for the two sides of ``where(u > 0, ...)``, where that is cheaper."""

    def side(branch: Expr, u: Expr, to: Expr) -> Expr:
        def build(node: Expr, args: tuple[Expr, ...]) -> Expr:
            if node.op in _CALLS:
                args = tuple(a.map(lambda n: to if n is u else n, rebuild) for a in args)
            return rebuild(node, args)

        return branch.map(lambda leaf: leaf, build)

    def build(node: Expr, args: tuple[Expr, ...]) -> Expr:
        made = rebuild(node, args)
        if made.op != "where" or made.args[0].op not in ("gt", "ge") or value_of(made.args[0].args[1]) != 0.0:
            return made
        cond, yes, no = made.args
        u = cond.args[0]
        size = Expr("abs", (u,))
        if u.op != "var":
            return made
        folded = where(cond, side(yes, u, size), side(no, u, -size))
        return folded if cost(folded) < cost(made) else made

    return expr.map(lambda leaf: leaf, build)


def _key(node: Expr) -> Expr | None:
    """``u``, up to sign, where ``node`` is a logistic function of ``u``: sigmoid and softplus of it, sech2 of
    half of it, exp(-|u|)."""
    if node.op in ("sigmoid", "softplus"):
        u = node.args[0]
    elif node.op == "sech2":
        u = mul(const(2.0), node.args[0])
    elif node.op == "exp" and node is decay(_inside(node)):
        u = _inside(node)
    else:
        return None
    if u.op == "neg":
        return u.args[0]
    c = value_of(u.args[0]) if u.op == "mul" else None
    return mul(const(-c), u.args[1]) if c is not None and c < 0 else u


def _inside(node: Expr) -> Expr:
    # u of exp(-|u|) or exp(-c |v|); any other argument as it is
    a = node.args[0]
    if a.op == "neg" and a.args[0].op == "abs":
        return a.args[0].args[0]
    if a.op == "mul" and value_of(a.args[0]) is not None and a.args[1].op == "abs":
        return mul(neg(a.args[0]), a.args[1].args[0])
    return a


def _in_decay(node: Expr) -> Expr:
    """A logistic function in t = exp(-|u|). Two quotients, not two products with 1/(1 + t): that saves a division
    and loses up to a unit in the last place where a value and its slope cancel."""
    if node.op == "exp":
        return node
    u = mul(const(2.0), node.args[0]) if node.op == "sech2" else node.args[0]
    t = decay(u)
    if node.op == "softplus":  # log(1 + e^u) = max(u, 0) + log(1 + t)
        return Expr("maximum", (u, const(0.0))) + Expr("log1p", (t,))
    if node.op == "sech2":  # sech(u/2)^2 = 4t/(1 + t)^2
        return 4.0 * (t / ((1.0 + t) * (1.0 + t)))
    return where(positive(u), const(1.0), t) / (1.0 + t)


def canonical_all(exprs: tuple[Expr, ...]) -> tuple[Expr, ...]:
    """:func:`canonical` for expressions that are computed together: a value and its derivative, the gradients
    of a gate. What one kernel can share between them it shares."""
    lowered = tuple(_halves(_rewritten(_rewritten(e, _PRODUCTS), _LOWERINGS)) for e in exprs)
    groups: dict[Expr, set[Expr]] = {}
    for node in {n for e in lowered for n in e.walk()}:
        key = _key(node)
        if key is not None:
            groups.setdefault(key, set()).add(node)

    def build(node: Expr, args: tuple[Expr, ...]) -> Expr:
        key = _key(node)
        made = rebuild(node, args)
        if key is None or (made.op in ("sigmoid", "softplus") and len(groups[key]) < 2):
            return made
        return _in_decay(made)

    shared = tuple(e.map(lambda leaf: leaf, build) for e in lowered)
    after = tuple(_rewritten(e, _POLISH) for e in shared)
    return after if cost(*after) <= cost(*exprs) + 1e-9 else exprs


@lru_cache(maxsize=8192)
def canonical(expr: Expr) -> Expr:
    """``expr`` in the cheapest accurate form: the same function, in primitives of the table.

    Costs never rise (:func:`cost`). Meant for what executes; a derivative is taken from the stable form.

    >>> from ogive.parse import parse
    >>> str(canonical(parse("tanh(log1p(sigmoid(x)))"))), str(canonical(parse("hypot1(x)**-2")))
    ('sigmoid(x)*(sigmoid(x) + 2)/(sigmoid(x)*(sigmoid(x) + 2) + 2)', '1/(1 + x*x)')
    """
    return canonical_all((expr,))[0]

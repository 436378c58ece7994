"""The canonical form: the same function, cheaper, as accurate in float32, and finite where the function is."""

from __future__ import annotations

import math

import pytest
import torch

import ogive
from ogive.activation import Activation
from ogive.derive.exact import Oracle
from ogive.diff import differentiate
from ogive.errors import OgiveError
from ogive.expr import Expr, rebuild
from ogive.kernels.canonical import canonical, canonical_all, cost
from ogive.kernels.headroom import prepared, within_range
from ogive.kernels.lowerings import LOWERINGS, POLISH, PRODUCTS
from ogive.kernels.program import compile_program
from ogive.parse import parse
from tests.entries import ENTRIES, every_entry, every_scalar_entry

RULES = (*PRODUCTS, *LOWERINGS, *POLISH)
every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda r: str(r.pattern).replace("#", ""))
POINTS = (-17.3, -3.7, -1.0, -0.21, 0.0, 1e-3, 0.25, 2.0, 5.5, 31.0)


def pair(entry: Activation) -> tuple[Expr, Expr]:
    """The stable form of an entry and of its derivative by the first input."""
    return entry.expr, differentiate(entry.expr, entry.inputs[0])


def run(expr: Expr, entry: Activation, x: torch.Tensor) -> torch.Tensor:
    names, defaults = entry.form.names, entry.form.defaults
    others = [torch.tensor(v, dtype=x.dtype) for v in defaults]
    return compile_program(expr, names, defaults).run([x, *others], x.dtype).expand_as(x)


def scale(entry: Activation, expr: Expr, x: torch.Tensor) -> torch.Tensor:
    """|f| + |x f'| in float64: what one unit of rounding in x does to f, and f's own unit."""
    slope = run(differentiate(expr, entry.inputs[0]), entry, x)
    return torch.nan_to_num(run(expr, entry, x).abs() + (x * slope).abs(), nan=0.0, posinf=1e300)


@every_rule
def test_every_rule_keeps_the_value(rule):
    values = {"u": parse("0.3*x + 0.2"), "v": parse("x*x + 1"), **{f"#{k}": parse(n) for k, n in zip("abc", "357")}}
    left = rule.pattern.map(lambda n: values.get(str(n.data), n), lambda n, args: Expr(n.op, args, n.data))
    before, after = Oracle(Activation(left), 0), Oracle(Activation(rule.build(values)), 0)
    for at in POINTS:
        p, q = before(at)[0], after(at)[0]
        assert abs(p - q) <= 1e-17 * abs(p), (str(rule.pattern), at)


@every_rule
def test_every_rule_says_why_and_what_it_does_to_the_error(rule):
    assert rule.why and rule.accuracy


# Two constants of its polynomial are folded into one, in float64.
FOLDED = ("gelu_tanh",)


@every_entry
def test_exact_arithmetic_sees_no_difference(entry):
    """Balls on the canonical form meet balls on the stable form, value and derivative."""
    others = (0.7,) * (len(entry.inputs) - 1)
    for expr in pair(entry):
        form = canonical(expr)
        if form is expr:
            continue
        before, after = (Oracle(Activation(e, entry.inputs, entry.params), 1) for e in (expr, form))
        folded = 5e-16 if entry.name in FOLDED else 0.0
        seen = 0
        for at in POINTS:
            try:
                (p, slope), (q, _) = before(at, *others), after(at, *others)
            except OgiveError:  # no precision decides, for either form: a comparison of equal numbers
                continue
            seen += 1
            allowed = 4e-17 * abs(p) + folded * abs(at * slope) + 1e-100
            assert abs(p - q) <= allowed, f"{entry.name} at {at}: {p} and {q}"
        assert seen >= 7


# The slope of these is a difference that cancels in float64 itself; the entry says so.
CANCELS = [e.name for e in ENTRIES if "first" in e.exceptions]


@every_entry
def test_double_precision_agrees(entry):
    x = torch.cat([torch.linspace(-40, 40, 401, dtype=torch.float64) + 1e-3, torch.logspace(-9, 12, 50).double()])
    x = torch.cat([x, -x])
    for expr, cancels in zip(pair(entry), (False, entry.name in CANCELS)):
        a, b = run(expr, entry, x), run(prepared(expr, entry.form.names, entry.form.defaults), entry, x)
        near = x.abs() < 4 if cancels else x.abs() < 1e12
        # exp itself keeps no such digits among the subnormal numbers, which the slopes multiply
        error = ((a - b).abs() / (scale(entry, expr, x) + 1e-290))[near & torch.isfinite(a) & (a.abs() > 1e-290)]
        assert error.numel() == 0 or error.max() < 1e-12, f"{entry.name}: {error.max():.3g}"
        assert bool((torch.isfinite(b) | ~torch.isfinite(a)).all())


# A result below 1e-34 is a product of factors that float32 may have to keep below its normal numbers.
FLOOR = 1e-34


def units32(expr: Expr, run_as: Expr, entry: Activation, x: torch.Tensor) -> tuple[float, torch.Tensor]:
    """The worst error of ``run_as`` in float32, in eps (|f| + |x f'|), and where a finite value came out not finite."""
    true = run(expr, entry, x)
    got = run(run_as, entry, x.float()).double()
    fits = torch.isfinite(true) & (true.abs() <= torch.finfo(torch.float32).max)
    info = torch.finfo(torch.float32)
    error = (got - true).abs() / (info.eps * scale(entry, expr, x) + FLOOR)
    lost = fits & ~torch.isfinite(got)
    return float(torch.where(fits & ~lost, error, 0.0).max()), lost


@every_entry
def test_single_precision_is_as_accurate(entry):
    """Worst case over a grid with both far tails: 1.5 times the stable form's error, or two units; and nothing
    that was finite is lost."""
    tails = torch.logspace(-12, 30, 150, dtype=torch.float64)
    x = torch.cat([torch.linspace(-12, 12, 1201) + 1e-3, torch.linspace(-110, 110, 441), tails, -tails])
    x = x.float().double()
    for expr, cancels in zip(pair(entry), (False, entry.name in CANCELS)):
        form = prepared(expr, entry.form.names, entry.form.defaults)
        if form is expr:
            continue
        grid = x[x.abs() < 4] if cancels else x
        before, lost_before = units32(expr, expr, entry, grid)
        after, lost = units32(expr, form, entry, grid)
        assert after <= max(1.5 * before, 2.0), f"{entry.name}: {before:.3g} -> {after:.3g} units"
        assert not (lost & ~lost_before).any(), f"{entry.name} at {grid[lost & ~lost_before].tolist()}"


OVERFLOWED = ("siren", "morlet", "gabor", "hardswish", "aptx", "atlu", "squareplus")


@pytest.mark.parametrize("name", OVERFLOWED)
def test_nothing_overflows_before_the_result_does(name):
    entry = ogive.get(name)
    x = torch.tensor([3e38, -3e38, 1e38, -1e38, 1e37, -1e37], dtype=torch.float64)
    form = prepared(entry.expr, entry.form.names, entry.form.defaults)
    _, lost = units32(entry.expr, form, entry, x)
    _, stable_lost = units32(entry.expr, entry.expr, entry, x)
    assert not lost.any()
    assert stable_lost.any(), f"{name} needs no cure: take it off the list"


@every_entry
def test_never_costs_more(entry):
    for expr in (*pair(entry), *(entry.form.vjp(i).expr for i in range(len(entry.form.names)))):
        assert cost(canonical(expr)) <= cost(expr) + 1e-9, entry.name


@pytest.mark.parametrize(
    "name, value, slope",
    [("mish", 0.55, 0.5), ("gelu_tanh", 0.97, 0.75), ("tanhexp", 0.95, 0.95), ("silu", 1.0, 0.65), ("smish", 0.5, 0.4),
     ("lalu", 0.65, 0.7), ("pflu", 0.75, 0.55), ("rootsig", 0.4, 0.4), ("symlog", 0.6, 1.0), ("atlu", 1.0, 0.6),
     ("sigmoid", 1.0, 0.9), ("lecun_tanh", 1.0, 0.97), ("bipolar_sigmoid", 1.0, 0.95)],
)  # fmt: skip
def test_cost_of_value_and_slope(name, value, slope):
    """Share of the stable form's cost, at most."""
    for expr, share in zip(pair(ogive.get(name)), (value, slope)):
        assert cost(canonical(expr)) <= share * cost(expr) + 1e-9, (cost(expr), cost(canonical(expr)))


def calls(*exprs: Expr) -> list[str]:
    """Transcendental functions of the expressions, shared ones once."""
    names = ("exp", "expm1", "log", "log1p", "tanh", "sigmoid", "softplus", "sech2", "erf", "erfc", "sin", "cos")
    return sorted(n.op for n in {n for e in exprs for n in e.walk()} if n.op in names)


@pytest.mark.parametrize("name", ["silu", "mish", "gelu_tanh", "swish", "dsilu", "smish", "eanaf", "quick_gelu"])
def test_value_and_slope_share_one_exponential(name):
    entry = ogive.get(name)
    exprs = pair(entry)[:1] if name == "dsilu" else pair(entry)
    assert calls(*canonical_all(exprs)) == ["exp"]


def test_softplus_and_its_slope_share():
    x = parse("softplus(x)")
    assert calls(*canonical_all((x, differentiate(x, "x")))) == ["exp", "log1p"]
    assert str(canonical(x)) == "softplus(x)"  # alone it stays what it is


def test_two_sides_of_a_choice_share():
    assert calls(canonical(parse("where(x > 0, 1 - exp(-x)/2, exp(x)/2)"))) == ["exp"]
    assert calls(canonical(parse("where(x > 0, exp(-x), exp(2*x))"))) == ["exp", "exp"]


@every_scalar_entry
def test_canonical_is_stable_under_itself(entry):
    for expr in pair(entry):
        form = canonical(expr)
        assert cost(canonical(form)) <= cost(form) + 1e-9
        # what it returns is an ordinary tree: rebuilding it, as substitution does, changes no number
        rebuilt = form.map(lambda n: n, rebuild)
        x = torch.linspace(-9, 9, 61, dtype=torch.float64)
        torch.testing.assert_close(run(form, entry, x), run(rebuilt, entry, x), rtol=1e-13, atol=1e-300)


def test_within_range_orders_products_by_size():
    assert str(within_range(parse("3*(x*sigmoid(x))"), ("x",))) == "x*(sigmoid(x)*3)"
    assert (
        str(within_range(parse("x*minimum(maximum(x + 3, 0), 6)/6"), ("x",))) == "x*(minimum(maximum(x + 3, 0), 6)/6)"
    )
    assert within_range(parse("2*x*x"), ("x",)) is parse("2*x*x")


def test_an_infinite_argument_of_a_sine_stays_infinite():
    entry = ogive.get("siren")
    form = within_range(canonical(entry.expr), ("x",))
    x = torch.tensor([math.inf, -math.inf, math.nan])
    assert run(form, entry, x).isnan().all()

"""Compiled kernels against the float64 program, on every path: plans, shapes, layouts, gradients, bad input."""

from __future__ import annotations

import math

import pytest
import torch

import ogive
from ogive import catalogue
from ogive.kernels import compiled, evaluate, native, several, unary
from ogive.kernels.fit import SEGMENTS
from tests.entries import ONE_INPUT

SIXTEEN = [torch.bfloat16, torch.float16]
pytestmark = pytest.mark.skipif(native.runtime() is None, reason="no C compiler here")


def eager(f):
    """The same call without compiled kernels."""
    before = native.enable(False)
    try:
        return f()
    finally:
        native.enable(before)


def unit(value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    info = torch.finfo(dtype)
    return info.eps * 2.0 ** torch.floor(torch.log2(value.abs().clamp(info.smallest_normal, info.max)))


def same(got: torch.Tensor, want: torch.Tensor, units: float, dtype: torch.dtype) -> bool:
    """Within ``units`` in the last place, equal where not finite."""
    got, want = got.double(), want.double()
    close = (got - want).abs() <= units * unit(want, dtype)
    return bool((close | (got == want) | (got.isnan() & want.isnan())).all())


@pytest.mark.parametrize("dtype", SIXTEEN, ids=["bfloat16", "float16"])
@pytest.mark.parametrize("entry", ONE_INPUT, ids=[e.name for e in ONE_INPUT])
def test_every_sixteen_bit_code(entry, dtype):
    """All 65,536, infinities and NaN included: value and slope against the program rounded once."""
    x = torch.arange(65_536, dtype=torch.int32).to(torch.int16).view(dtype)
    numbers = tuple(entry.defaults.values())
    calls = [(entry.form, (x, *numbers))]
    if entry.form.depends[0]:
        calls.append((entry.form.vjp(0), (x, *numbers, torch.ones_like(x))))
    for form, args in calls:
        got = compiled.evaluate(form, dtype, args)
        want = eager(lambda form=form, args=args: evaluate(form, dtype, False, args))
        assert got is not None
        assert same(got, want, 1.0, dtype)


@pytest.mark.parametrize("name", ["silu", "gelu", "mish", "golu", "snake", "tanhexp"])
def test_what_a_fit_does_not_cover_is_the_formula(name):
    entry = ogive.get(name)
    numbers = tuple(entry.defaults.values())
    plan = unary.plan(entry.form, numbers, torch.float32)
    assert plan.kind == "fit" and 1 <= plan.fit.degree <= 10
    covered = [not math.isnan(c) for c in plan.fit.centre]
    assert sum(covered) > SEGMENTS // 2
    # far tails, infinities and NaN among ordinary values, at every position of a vector
    x = torch.randn(4099) * 3
    x[::7] = -11.3
    x[5::11] = 300.0
    x[3], x[1030], x[-1], x[-2] = math.inf, -math.inf, math.nan, -0.0
    got = entry(x)
    want = eager(lambda: entry(x))
    bound = 2e-7 * (want.abs() + (x * eager(lambda: slope(entry, x))).abs()) + 1e-44
    fine = ((got - want).abs() <= bound) | (got == want) | (got.isnan() & want.isnan())
    assert fine.all(), x[~fine][:5]


def slope(entry, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(entry(x), x, torch.ones_like(x))[0].nan_to_num()


def test_plans_of_the_catalogue():
    """Nearly everything that is not plain arithmetic is a fit in float32; what is not is generated."""
    every = catalogue.entries().values()
    kinds = [unary.plan(e.form, tuple(e.defaults.values()), torch.float32).kind for e in every if len(e.inputs) == 1]
    assert set(kinds) == {"fit", "generated"}
    assert kinds.count("fit") > 0.7 * len(kinds)
    assert unary.plan(catalogue.relu.form, (), torch.float32).kind == "generated"
    assert unary.plan(catalogue.relu.form, (), torch.float64).kind == "generated"
    assert unary.plan(catalogue.gabor.form, tuple(catalogue.gabor.defaults.values()), torch.bfloat16).kind == "table"


@pytest.mark.parametrize("shape,params", [
    ((1000,), ()), ((4, 8, 32, 3), (8, 1, 1)), ((64, 40), (40,)), ((7, 5), (7, 1)), ((30, 20), (30, 20)),
    ((3, 4, 5), (1, 4, 1)), ((2, 70_001), (1,)), ((2, 6, 700), (6, 1)),
])  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_learned_parameters_of_every_shape(shape, params, dtype):
    torch.manual_seed(1)
    x = torch.randn(shape).to(dtype).requires_grad_()
    beta = (torch.rand(params) + 0.5).requires_grad_()
    g = torch.randn(shape).to(dtype)

    def run():
        return torch.autograd.grad(catalogue.swish(x, beta=beta), (x, beta), g)

    made = several.gradients(catalogue.swish.form, (x.detach(), beta.detach()), g, [0, 1])
    assert made is not None
    for got, want in zip(run(), eager(run)):
        assert got.shape == want.shape and got.dtype == want.dtype
        torch.testing.assert_close(got, want, rtol=2e-5 if dtype != torch.bfloat16 else 1e-2, atol=1e-6)


@pytest.mark.parametrize("name", ["swiglu", "geglu", "reglu", "glu", "bilinear"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_gates_and_both_gradients(name, dtype):
    torch.manual_seed(2)
    x, y, g = (torch.randn(37, 130).mul(2).to(dtype) for _ in range(3))
    x[0, :5] = torch.tensor([-30.0, 30.0, -9.0, 0.0, -0.0])
    x.requires_grad_(), y.requires_grad_()
    gate = ogive.get(name)

    def run():
        value = gate(x, y)
        return (value, *torch.autograd.grad(value, (x, y), g))

    for got, want in zip(run(), eager(run)):
        rounding = {torch.float32: 6e-7, torch.float64: 1e-14, torch.bfloat16: 1e-2, torch.float16: 1.5e-3}[dtype]
        torch.testing.assert_close(got, want, rtol=rounding, atol=rounding / 10)


def test_halves_of_one_tensor():
    torch.manual_seed(3)
    for side in ("first", "second"):
        layer = ogive.GLU("silu", gate=side)
        whole = torch.randn(5, 33, 64, requires_grad=True)
        g = torch.randn(5, 33, 32)

        def run(layer=layer, whole=whole, g=g):
            value = layer(whole)
            return value, torch.autograd.grad(value, whole, g)[0]

        for got, want in zip(run(), eager(run)):
            torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-7)
    small = torch.randn(3, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(ogive.GLU("silu"), small)


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "sliced", "expanded", "0-d", "empty", "offset"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_layout(layout, dtype):
    x = torch.randn(4, 6, 10, 8).to(dtype)
    x = {
        "channels_last": lambda: x.to(memory_format=torch.channels_last), "transposed": lambda: x.transpose(0, 3),
        "sliced": lambda: x[:, ::2, 1:, ::3], "expanded": lambda: x[:1].expand(9, 6, 10, 8), "0-d": lambda: x[0, 0, 0, 0],
        "empty": lambda: x[:0], "offset": lambda: x.flatten()[3:],
    }[layout]()  # fmt: skip
    y = catalogue.gelu(x)
    assert y.shape == x.shape and y.dtype == dtype
    torch.testing.assert_close(
        y, eager(lambda: catalogue.gelu(x)), rtol=1e-2 if dtype == torch.bfloat16 else 1e-6, atol=1e-7
    )
    if layout == "channels_last":
        assert y.is_contiguous(memory_format=torch.channels_last)
    leaf = x.detach().clone().requires_grad_()
    catalogue.gelu(leaf).sum().backward()  # the upstream gradient is expanded
    assert leaf.grad.shape == leaf.shape


def test_threads_give_the_same_bits():
    x, beta = torch.randn(300_001), torch.tensor(1.3, requires_grad=True)
    before = torch.get_num_threads()
    try:
        values, sums = [], []
        for n in (1, 2):
            torch.set_num_threads(n)
            values.append(catalogue.mish(x))
            sums.append(torch.autograd.grad(catalogue.swish(x, beta=beta).sum(), beta)[0])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*values)
    torch.testing.assert_close(*sums)


def test_stores_past_the_cache_are_the_same_numbers():
    x = torch.randn(unary.STREAM + 4_099)
    assert torch.equal(catalogue.silu(x)[-5_000:], catalogue.silu(x[-5_000:].clone()))


class TestOut:
    def test_into_a_tensor_and_in_place(self):
        x = torch.randn(1000)
        want, y = catalogue.gelu(x), torch.empty(1000)
        assert catalogue.gelu(x, out=y) is y and torch.equal(y, want)
        version = x._version
        assert catalogue.gelu(x, out=x) is x and torch.equal(x, want) and x._version > version

    def test_an_overlap_gives_the_right_numbers(self):
        x = torch.randn(5000)
        want = catalogue.silu(x[:-1].clone())
        catalogue.silu(x[:-1], out=x[1:])
        assert torch.equal(x[1:], want)

    @pytest.mark.parametrize("make,says", [
        (lambda x: torch.empty(3), r"out is \(3,\).*\(10,\).*empty_like"),
        (lambda x: torch.empty(10, dtype=torch.float64), "float64"),
        (lambda x: torch.empty(1).expand(10), "expanded.*clone"),
        (lambda x: [0.0], "takes a tensor"),
        (lambda x: torch.empty(10, requires_grad=True), "no_grad"),
    ])  # fmt: skip
    def test_what_cannot_hold_it_is_refused(self, make, says):
        x = torch.randn(10)
        with pytest.raises(ogive.InputError, match=says):
            catalogue.gelu(x, out=make(x))

    def test_a_gradient_that_would_be_lost(self):
        x = torch.randn(10, requires_grad=True)
        with pytest.raises(ogive.InputError, match="no gradient"):
            catalogue.gelu(x, out=torch.empty(10))
        with torch.no_grad():
            catalogue.gelu(x, out=torch.empty(10))


@pytest.mark.parametrize("x,says", [
    (torch.arange(4), "floating-point.*int64"),
    (torch.eye(3).to_sparse(), "dense.*sparse_coo"),
    (torch.eye(3).to_sparse_csr(), "dense.*sparse_csr"),
])  # fmt: skip
def test_bad_input(x, says):
    with pytest.raises(ogive.InputError, match=says):
        catalogue.silu(x)
    with pytest.raises(ogive.InputError, match="meta"):
        catalogue.swiglu(torch.ones(2), torch.ones(2, device="meta"))


def test_higher_derivatives_and_forward_mode():
    x = torch.randn(20, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(catalogue.mish, x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(catalogue.mish, x)
    assert torch.func.vmap(torch.func.grad(lambda v: catalogue.mish(v)))(x.detach()).shape == (20,)

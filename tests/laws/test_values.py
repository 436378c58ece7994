"""Law 1: value, first and second derivative against exact arithmetic, in every floating dtype, by compiled
kernels (fits, tables, generated C) and by the eager program."""

from __future__ import annotations

import math

import pytest
import torch

from ogive import define
from ogive.certify.accuracy import compare, every, grid, measure, sensitivity, truth
from ogive.certify.run import EXCEPTED
from ogive.kernels import native
from tests.entries import every_scalar_entry

SIXTEEN = [torch.bfloat16, torch.float16]
# units in the last place: of the dtype itself below 32 bits, condition-aware above
BOUND = {torch.bfloat16: 1.0, torch.float16: 1.0, torch.float32: 2.0, torch.float64: 64.0}
LAWS = ("value", "first", "second")  # what an entry may be excepted from, by derivative order


@pytest.fixture(params=["compiled", "eager"])
def backend(request):
    if request.param == "compiled" and native.runtime() is None:
        pytest.skip("no C compiler here")
    before = native.enable(request.param == "compiled")
    yield request.param
    native.enable(before)


def hold(entry, x: torch.Tensor) -> None:
    failures = []
    for order, worst in enumerate(measure(entry, x)):
        if order and entry.backward is not None:
            break  # a declared surrogate is not the derivative
        bound = BOUND[x.dtype]
        if worst.units <= bound:
            continue
        if LAWS[order] in entry.exceptions:
            assert abs(worst.got - worst.want) <= EXCEPTED[x.dtype] * max(1.0, abs(worst.want)), (
                f"{entry.name}: {worst}"
            )
            continue
        failures.append(f"{entry.name} {LAWS[order]} {str(x.dtype)[6:]}: {worst} (bound {bound:g})")
    assert not failures, "\n".join(failures)


@every_scalar_entry
@pytest.mark.parametrize("dtype", SIXTEEN, ids=["bfloat16", "float16"])
def test_sixteen_bit_sample(entry, dtype, backend):
    x = every(dtype)
    keep = torch.randperm(len(x), generator=torch.Generator().manual_seed(len(entry.name)))[:120]
    hold(entry, x[keep])


@every_scalar_entry
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_wide_grid(entry, dtype, backend):
    hold(entry, grid(dtype, 60))


@pytest.mark.exhaustive
@every_scalar_entry
@pytest.mark.parametrize("dtype", SIXTEEN, ids=["bfloat16", "float16"])
def test_every_sixteen_bit_input(entry, dtype, backend):
    hold(entry, every(dtype))


@pytest.mark.exhaustive
@every_scalar_entry
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_dense_grid(entry, dtype, backend):
    hold(entry, grid(dtype, 4000))


@pytest.mark.exhaustive
@every_scalar_entry
def test_every_exception_is_needed(entry):
    if not entry.exceptions:
        return
    needed = set()
    for compiled in (True, False):  # by one of the two ways at least
        before = native.enable(compiled)
        for dtype in BOUND:
            x = every(dtype) if dtype in SIXTEEN else grid(dtype, 4000)
            for order, worst in enumerate(measure(entry, x)):
                if worst.units > BOUND[dtype]:
                    needed.add(LAWS[order])
        native.enable(before)
    unneeded = set(entry.exceptions) & set(LAWS) - needed
    assert not unneeded, f"{entry.name} declares exceptions it does not need: {sorted(unneeded)}"


@every_scalar_entry
def test_nan_gives_nan_and_zero_has_no_surprise(entry):
    for dtype in (*SIXTEEN, torch.float32, torch.float64):
        x = torch.tensor([math.nan, 0.0, -0.0], dtype=dtype)
        y = entry(x)
        assert y[0].isnan(), f"{entry.name} {dtype}: f(nan) = {y[0]}"
        assert not y[1:].isnan().any() and y[1] == y[2], f"{entry.name} {dtype}: f(0), f(-0) = {y[1:]}"


def test_the_measure_notices_float32_arithmetic():
    # A law that cannot fail is no law: mish in float32 arithmetic is beyond the bound somewhere.
    x = grid(torch.float32, 2000)
    mish = define("x*tanh(softplus(x))")
    naive = x * torch.tanh(torch.nn.functional.softplus(x))
    (worst,) = compare(truth(mish, x, 0), [naive], sensitivity(mish, x, 0), BOUND[torch.float32])
    assert worst.units > 2.0 and worst.beyond > 0

"""Few-bit codes are optimal, packed without gaps, and the same from compiled and from torch operations."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch

import ogive
from ogive.errors import InputError, ParameterError
from ogive.kernels import fewbit, packing, published
from ogive.kernels.fewbit import Code, Density, best_borders, cells_of, measured, optimal

NUMBERS = {name: tuple(ogive.get(name).defaults.values()) for name in ("gelu", "silu", "relu", "mish", "snake")}


def code(name, bits, density=None):
    return optimal(ogive.get(name).form, NUMBERS.get(name, ()), bits, density)


@pytest.mark.parametrize("steps", [2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_the_dynamic_programme_is_as_good_as_trying_everything(steps, seed):
    """On values in no order, where the quadrangle inequality fails."""
    draw = np.random.default_rng(seed)
    weights, values = draw.random(11), draw.normal(size=11)
    cells = cells_of(weights, values)

    def cost(borders):
        total = 0.0
        for i, j in zip((0, *borders), (*borders, 11)):
            w, v = weights[i:j], values[i:j]
            total += (w * (v - (w * v).sum() / w.sum()) ** 2).sum()
        return total

    found, claimed = best_borders(cells, range(12), steps)
    least = min(cost(b) for b in combinations(range(1, 11), steps - 1))
    assert cost(found) == pytest.approx(least, abs=1e-12)
    assert claimed == pytest.approx(least, abs=1e-12)


def test_fewer_steps_where_fewer_do():
    assert code("relu", 8) == Code((0.0,), (0.0, 1.0), 0.0)
    assert code("relu", 8).bits == 1
    hard = optimal(ogive.get("hardtanh").form, tuple(ogive.get("hardtanh").defaults.values()), 4)
    assert hard.borders == (-1.0, 1.0) and hard.levels == (0.0, 1.0, 0.0) and hard.bits == 2


# Relative errors under N(0, 1) that Lloyd-Max reaches on the values of f', of which a code of intervals can at
# best be as good: 1 and 2 bits of gelu .290 and .133, of silu .291 and .144, of mish .267 and .127.
@pytest.mark.parametrize(("name", "errors"), [
    ("gelu", (0.290, 0.1325, 0.0647, 0.0359)), ("silu", (0.291, 0.1442, 0.0714, 0.0354)),
    ("mish", (0.2666, 0.1266, 0.0614, 0.0307)),
])  # fmt: skip
def test_errors_of_known_functions(name, errors):
    for bits, expected in enumerate(errors, start=1):
        assert code(name, bits).error == pytest.approx(expected, rel=0.01)


def test_no_random_change_of_a_border_is_better():
    best = code("gelu", 3)
    draw = torch.Generator().manual_seed(0)
    form = ogive.get("gelu").form
    cells = fewbit.apart(fewbit.grid, form, (), Density())
    for _ in range(20):
        moved = torch.tensor(best.borders) + 0.05 * torch.randn(7, generator=draw)
        borders = np.searchsorted(cells.edges, moved.sort().values.numpy()).tolist()
        assert fewbit.steps_between(cells, borders).error > best.error


@pytest.mark.parametrize(
    "density",
    [Density(), Density(2.5), Density.like(torch.randn(5000, generator=torch.Generator().manual_seed(3)) ** 2 - 1)],
)
def test_the_error_claimed_is_the_error_met(density):
    """On inputs that the code has not seen."""
    draw = torch.Generator().manual_seed(11)
    x = torch.randn(200_000, generator=draw, dtype=torch.float64)
    x = x**2 - 1 if density.sample else density.sigma * x
    exact = ogive.derivative("silu")(x)
    made = code("silu", 3, density)
    assert float((exact - made.slope(x)).norm() / exact.norm()) == pytest.approx(made.error, rel=0.05)
    other = code("silu", 3, Density(0.1))
    assert float((exact - other.slope(x)).norm() / exact.norm()) > 1.5 * made.error


def test_more_bits_are_better():
    errors = [code("mish", bits).error for bits in range(1, 9)]
    assert all(b < 0.6 * a for a, b in pairwise(errors))


def test_published_codes():
    form = ogive.get("gelu").form
    made = published.approx_bp(form, ())
    assert len(made.borders) == 3 and made.levels[0] == 0.0 and made.levels[-1] == pytest.approx(1.0, abs=1e-5)
    assert made.error == pytest.approx(0.357, abs=0.002)  # worse than the best single bit
    # its integral is the three-ReLU stand-in of the paper, furthest from gelu at 0
    x = torch.linspace(-6, 6, 4001, dtype=torch.float64)
    integral = sum((b - a) * (x - c).clamp_min(0) for a, b, c in zip(made.levels, made.levels[1:], made.borders))
    off = (integral - ogive.get("gelu")(x)).abs()
    assert float(off.max()) == pytest.approx(0.156, abs=0.002) and abs(float(x[off.argmax()])) < 0.01
    assert "approx-bp" in published.approx_bp(ogive.get("mish").form, ())
    assert (
        published.approx_bp(ogive.get("swish").form, (1.0,)).borders
        == published.approx_bp(ogive.get("silu").form, ()).borders
    )
    assert isinstance(published.approx_bp(ogive.get("swish").form, (1.5,)), str)
    step = published.mobile_tl(ogive.get("hardswish").form, ())
    assert (step.borders, step.levels, step.bits) == ((0.0,), (0.0, 1.0), 1)
    assert isinstance(published.mobile_tl(form, ()), str)
    equal = published.s2a(form, ())
    assert equal.bits == 4 and code("gelu", 4).error < equal.error < code("gelu", 3).error


def test_a_fixed_code_is_measured_like_any():
    best = code("silu", 2)
    assert measured(ogive.get("silu").form, (), best) == pytest.approx(best.error, rel=1e-3)


def test_bad_input():
    with pytest.raises(ParameterError, match="1 to 8 bits"):
        code("gelu", 9)
    with pytest.raises(ParameterError, match="positive"):
        Density(0.0)
    with pytest.raises(InputError, match="sample"):
        Density.like([1.0, float("nan")])
    with pytest.raises(InputError, match="not finite"):
        optimal(ogive.define("exp(exp(exp(x)))").form, (), 2)


@pytest.fixture
def without_compiler(monkeypatch):
    monkeypatch.setattr(packing, "native", lambda t: None)


def _awkward(n, dtype):
    x = torch.randn(n).to(dtype)
    special = [0.0, -0.0, float("inf"), -float("inf"), float("nan"), 1e-30, -1e-30]
    x[: min(n, 7)] = torch.tensor(special[:n]).to(dtype)
    return x


@pytest.mark.parametrize("dtype", packing.DTYPES)
@pytest.mark.parametrize("bits", range(1, 9))
def test_packing_without_gaps(dtype, bits, monkeypatch):
    """Compiled and plain operations give the same bytes; the code is the number of borders passed."""
    levels = torch.randn(1 << bits, dtype=torch.float64 if dtype == torch.float64 else torch.float32)
    for n in (0, 1, 8, 13, 2049, 5000):
        cuts = tuple(sorted([*torch.randn((1 << bits) - 2, dtype=torch.float64).tolist(), 0.0]))
        x, g = _awkward(n, dtype), torch.randn(n).to(dtype)
        packed = packing.pack_counted(x, cuts, bits)
        scaled = packing.scale(g, packed, bits, levels)
        assert packed.dtype == torch.uint8 and packed.numel() == (n + 7) // 8 * bits
        with monkeypatch.context() as patch:
            patch.setattr(packing, "native", lambda t: None)
            assert torch.equal(packing.pack_counted(x, cuts, bits), packed)
            assert torch.equal(packing.scale(g, packed, bits, levels), scaled)
        passed = (x.double()[:, None] > torch.tensor(cuts, dtype=torch.float64)).sum(1)
        codes = packing.spread(packed, n, bits)
        known = ~torch.isnan(x)
        assert torch.equal(codes[known], passed[known])
        assert torch.equal(scaled, (g.to(levels.dtype) * levels[codes]).to(dtype))


def test_keys_keep_the_order_of_the_numbers():
    for dtype in (torch.bfloat16, torch.float16):
        x = packing.values(dtype)
        x = x[~torch.isnan(x)]
        ordered = x[packing.keys(x).argsort()].double()
        assert bool((ordered[1:] >= ordered[:-1]).all())
    assert packing.cut_keys((0.1,), torch.bfloat16).item() == packing.keys(torch.tensor(0.09960938).bfloat16()).item()
